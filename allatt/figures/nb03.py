"""Figures of notebook 03: the two baselines."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from allatt.figures.panels import SEED_LINE
from allatt.figures.style import COLORS, figure, look, new_figure


@figure("03_learning_curves", alt=
        "Left: training loss of both models by tokens seen, with marks for their final validation loss. Right: the gap "
        "between both curves.")
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
        left.plot([1.02 * last / unit] * len(curves), data["valid"][kind],
                  **look(kind, fillstyle="none", linestyle="", label=f"{data['labels'][kind]}, validation at the end"))
    left.set(ylabel="training loss (nats per token)", title="Both models")
    left.legend()
    right.axhline(0, color=COLORS["control"], linestyle="--")
    _plot_seeds(right, [([tokens / unit for tokens in gap["tokens"]], gap["loss"]) for gap in data["gaps"]],
                {"color": COLORS["paper"]})
    right.set(ylabel="All-attention − Transformer-XL (nats per token)", title="Their difference")
    for ax in (left, right):
        ax.set(xlabel=f"tokens seen ({unit_name})", xlim=(0, 1.05 * last / unit))
    return fig


@figure("03_ladder", alt=
        "The gap between both unpruned models: left by the number of tokens at one size, right by size at one number of "
        "tokens.")
def gap_by_tokens_and_size(data: dict) -> Figure:
    """All-attention minus Transformer-XL, unpruned: by tokens at one size, and by size at the same number of tokens."""
    fig, axes = new_figure(columns=2, height=3.8, sharey=True)
    labels = {"tokens": "tokens of training", "body": "parameters of the body"}
    for ax, (what, label) in zip(axes, labels.items(), strict=True):
        ax.axhline(0, color=COLORS["control"], linestyle="--")
        for split, words, style in (("test", "test", {}), ("valid", "validation", {"fillstyle": "none", "linestyle": ":"})):
            ax.plot([rung[what] for rung in data[what]], [rung[split] for rung in data[what]],
                    **{"color": COLORS["paper"], "marker": "o", "label": f"{words} text"} | style)
        ax.set(xlabel=label, xscale="log", title=data["titles"][what])
        ax.set_xticks([rung[what] for rung in data[what]])
        ax.xaxis.set_major_formatter(EngFormatter(places=1, sep=""))
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("All-attention − Transformer-XL\n(nats per token)")
    axes[0].legend()
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
