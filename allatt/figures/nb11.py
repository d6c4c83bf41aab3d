"""Figure of notebook 11: controls."""

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import strip
from allatt.figures.style import COLORS, figure, new_figure


@figure("11_rivals")
def loss_and_layers_of_rivals(data: dict) -> Figure:
    """Models whose heads were selected in other ways: loss minus that of the learned gates, and kept heads by layer."""
    fig, (loss, layers) = new_figure(columns=2, height=4.4, width_ratios=(3, 2), sharey=True)
    strip(loss, data["loss"], COLORS[ALL_ATTENTION])
    loss.set(xlabel="test loss above that of the learned gates\n(nats a token)", title=f"As many heads, of {data['of']}")
    for y, lists in enumerate(data["layers"].values()):
        means = [sum(kept) / len(kept) for kept in zip(*lists, strict=True)]
        for layer, kept in enumerate(means, start=1):
            shade = kept / data["heads"]
            layers.fill_between([layer - 0.5, layer + 0.5], y - 0.38, y + 0.38, linewidth=1, edgecolor="white",
                                color=COLORS[ALL_ATTENTION], alpha=0.1 + 0.8 * shade)
            layers.text(layer, y, f"{kept:.1f}".removesuffix(".0"), ha="center", va="center", fontsize=9,
                        color="white" if shade > 0.5 else "black")
    layers.set(xlabel="layer", xticks=range(1, len(means) + 1), title="Heads kept (mean)")
    layers.grid(False)
    layers.tick_params(axis="y", length=0)
    return fig
