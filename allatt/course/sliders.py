"""The sliders of notebook 04: a figure that is redrawn when one is moved.

They need Jupyter and ipywidgets. Elsewhere (papermill, a page without a kernel, no ipywidgets), `show` names the package; the
notebook's own figures take their place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any

import torch

from allatt.course import regression
from allatt.figures.style import drawing_functions, figure_style

NEEDED = 'Sliders: run this cell in Jupyter, with ipywidgets (pip install "ipywidgets>=8.1").'
POINTS = 20_000
"""Evenly spaced quantiles of the noise, instead of draws."""


def show(panel: Callable[[], Any]) -> Any:
    """The widgets that `panel()` makes, or one printed line where there can be none."""
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return print(NEEDED)
    return print(NEEDED) if "ALLATT_NOTEBOOK" in os.environ else panel()


def gate(a: float, beta: float) -> tuple[dict, str]:
    """Distribution of the hard concrete gate at this logit and temperature: data of figure 04_hard_concrete, and a sentence."""
    uniform = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    c = regression.stretched(torch.sigmoid((torch.logit(uniform) + a) / beta))
    zero, one = ((c == end).double().mean().item() for end in (0, 1))
    ends = torch.sigmoid(torch.tensor([-a, a], dtype=torch.float64) + beta / regression.DEFAULTS.beta * regression.EDGE)
    inside = torch.histc(c[(c > 0) & (c < 1)], bins=20, min=0, max=1) / POINTS
    data = {"logits": [a], "inside": [inside.tolist()], "zero": [zero], "one": [one],
            "expected_zero": [ends[0].item()], "expected_one": [ends[1].item()]}
    return data, (f"P(open) = P(c ≥ ½) = {(c >= 0.5).double().mean():.3f}; the penalty counts P(c &gt; 0) = {1 - zero:.3f}; "
                  f"a gradient flows in {1 - zero - one:.0%} of the steps")


def kept_features(logits: torch.Tensor, place: int, initial: float = 2.0) -> tuple[dict, str]:
    """The regression at one lambda, from the cached paths of all: data of figure 04_watching_gates_close, and a sentence."""
    kept, lam = logits[-1] >= 0, regression.LAMBDAS[place].item()
    data = {"worth": regression.WORTH.tolist(), "lambdas": regression.LAMBDAS.tolist(), "kept": kept.int().tolist(),
            "border": regression.kappa(initial),
            "example": {"lambda": lam, "steps": list(range(0, len(logits), 10)), "logits": logits[::10, place].tolist()}}
    return data, f"λ = {lam:.3f} keeps {int(kept[place].sum())} of {kept.shape[1]} features"


def gate_panel() -> Any:
    """Sliders for a and beta."""
    import ipywidgets as widgets

    look = {"continuous_update": False, "readout_format": ".2f"}
    return _panel("04_hard_concrete", gate, {
        "a": widgets.FloatSlider(1.0, min=-5, max=5, step=0.25, description="a", **look),
        "beta": widgets.FloatSlider(regression.DEFAULTS.beta, min=0.05, max=1.5, step=0.05, description="β", **look)})


def lambda_panel(logits: torch.Tensor) -> Any:
    """A slider for lambda over the rows of a finished training: nothing is trained when it moves."""
    import ipywidgets as widgets

    options = [(f"{lam:.3f}", place) for place, lam in enumerate(regression.LAMBDAS.tolist())]
    slider = widgets.SelectionSlider(options=options, value=6, description="λ", continuous_update=False)
    return _panel("04_watching_gates_close", lambda place: kept_features(logits, place), {"place": slider})


def _panel(figure: str, values: Callable[..., tuple[dict, str]], sliders: dict[str, Any]) -> Any:
    """Sliders, a sentence, and the figure of their values."""
    import ipywidgets as widgets

    sentence, picture = widgets.HTML(), widgets.Image(format="png", width=800)

    def redraw(_change: Any = None) -> None:
        data, sentence.value = values(**{name: slider.value for name, slider in sliders.items()})
        picture.value = _png(figure, data)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*sliders.values(), sentence, picture])


def _png(figure: str, data: dict) -> bytes:
    buffer = BytesIO()
    with figure_style():
        drawing_functions()[figure](data).savefig(buffer, format="png")
    return buffer.getvalue()
