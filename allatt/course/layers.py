"""Data for the drawing of the layers, the map of the course."""

from dataclasses import replace

from allatt.config import ALL_ATTENTION, KIND_NAMES, TRANSFORMER_XL
from allatt.cost import count
from allatt.paper import scales


def paper_layers(kept: tuple[int, ...]) -> dict:
    """Data for figure 01_layers: a layer of each model at the paper's size, whole and with only these heads."""
    panels = []
    for kind in (TRANSFORMER_XL, ALL_ATTENTION):
        layer = replace(scales.model("paper", kind), layers=1)
        whole = count(layer)["parameters"]
        names = {"projections": "projections", "persistent": "persistent", "feed-forward": "feed_forward"}
        parts = {part: whole["parts"].get(name, 0) for part, name in names.items()}
        for heads in (tuple(range(layer.heads)), kept):
            body = count(replace(layer, kept=(heads,)))["parameters"]["body"]
            share = f": {body / whole['body']:.0%}" if body < whole["body"] else ""
            panels.append(parts | {
                "title": f"{len(heads)} of {layer.heads} heads" if share else KIND_NAMES[kind], "kept": heads,
                "below": f"{body / 1e6:.2f}M parameters{share}"})
    return {"heads": layer.heads, "panels": panels}
