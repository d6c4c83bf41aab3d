"""Figure of notebook 03: the two baselines."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allatt.figures.panels import SEED_LINE
from allatt.figures.style import COLORS, figure, look, new_figure


@figure("03_learning_curves")
def learning_curves(data: dict) -> Figure:
    """Training loss of both baselines by tokens seen, their final validation loss, and the gap between the two.

    With several seeds, thin lines are seeds and thick lines their means.
    """
    fig, (left, right) = new_figure(columns=2, width_ratios=(3, 2))
    last = max(curve["tokens"][-1] for curves in data["curves"].values() for curve in curves)
    unit, unit_name = (1e6, "millions") if last >= 1e6 else (1e3, "thousands")
    for kind, curves in data["curves"].items():
        _plot_seeds(left, [([tokens / unit for tokens in curve["tokens"]], curve["loss"]) for curve in curves],
                    look(kind, marker="", label=data["labels"][kind]))
        left.plot([last / unit] * len(curves), data["valid"][kind], **look(kind, fillstyle="none", linestyle="", clip_on=False))
    left.plot([], [], **look("control", marker="o", linestyle="", fillstyle="none", label="validation, at the end"))
    left.set(ylabel="training loss (nats a token)", title="Both models")
    left.legend()
    right.axhline(0, color=COLORS["control"], linestyle="--")
    _plot_seeds(right, [([tokens / unit for tokens in gap["tokens"]], gap["loss"]) for gap in data["gaps"]],
                {"color": COLORS["paper"]})
    right.set(ylabel="All-attention − Transformer-XL (nats a token)", title="Their difference")
    for ax in (left, right):
        ax.set(xlabel=f"tokens seen ({unit_name})", xlim=(0, last / unit))
    return fig


def _plot_seeds(ax: Axes, seeds: list[tuple[list[float], list[float]]], style: dict) -> None:
    """Plot the (x, y) line of each seed; several seeds are thin lines, with their mean in `style`."""
    if len(seeds) == 1:
        ax.plot(*seeds[0], **style)
        return
    for x, y in seeds:
        ax.plot(x, y, **style | SEED_LINE | {"label": None})
    means = [sum(values) / len(values) for values in zip(*(y for _, y in seeds), strict=True)]
    ax.plot(seeds[0][0], means, **style)
