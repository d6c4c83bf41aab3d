"""Figures of notebook 07: heads against perplexity."""

import math

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION, KIND_NAMES
from allatt.figures.panels import SEED_LINE, legend_below, perplexity_axis, pruning_curves, strip
from allatt.figures.style import COLORS, figure, look, new_figure


@figure("07_perplexity", alt=
        "Test perplexity of both models, left against the parameters of the body, right against its multiply-adds, "
        "as heads are removed; a shaded region marks sizes that Transformer-XL cannot reach.")
def perplexity_against_size(data: dict) -> Figure:
    """The paper's main result: test perplexity as heads are pruned, against the body's parameters and multiply-adds.

    Thin lines are seeds; marks are the means over seeds at each lambda. The floor is what a Transformer-XL without any head
    still has: its feed-forward. Pruning heads cannot bring it into the shaded region.
    """
    fig, axes = new_figure(columns=2, height=5, sharey=True)
    for ax, size in zip(axes, ("body_parameters", "body_multiply_adds"), strict=True):
        ax.axvspan(0, data["floor"][size], color=COLORS["feed-forward"], alpha=0.15, linewidth=0)
        pruning_curves(ax, data["models"], size, lambda p: math.exp(p["test_loss"]))
    axes[0].annotate("smaller than\nTransformer-XL's\nfeed-forward", (data["floor"]["body_parameters"] / 2, 0.04), fontsize=9,
                     xycoords=("data", "axes fraction"), ha="center", va="bottom")  # curves rise to the left, over it
    perplexity_axis(axes[0], "test perplexity (per token)")
    legend_below(fig, axes[0], columns=2)
    return fig


@figure("07_above_control", alt=
        "Two panels, a line per model: loss above the model's own control, against the share of heads removed and "
        "against the share of parameters removed.")
def loss_above_control(data: dict) -> Figure:
    """Loss of each model above its own control's, against the heads and the parameters removed.

    Thin lines are seeds; marks are the means over seeds at each lambda.
    """
    fig, axes = new_figure(columns=2, height=4.5, sharey=True)
    labels = {"sparsity": "heads removed (%)", "removed": "parameters of the body removed (%)"}
    for ax, (share, xlabel) in zip(axes, labels.items(), strict=True):
        ax.axhline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
        for kind, curves in data["models"].items():
            lines = [(points, SEED_LINE) for points in curves["seeds"]] if len(curves["seeds"]) > 1 else []
            for points, style in [*lines, (curves["mean"], {"label": KIND_NAMES[kind]})]:
                ordered = sorted(points, key=lambda p: p[share])
                ax.plot([100 * p[share] for p in ordered], [p["above"] for p in ordered], **look(kind, **style))
        ax.set(xlabel=xlabel, xlim=(-3, 103))
    axes[0].set_ylabel("test loss above the control's (nats per token)")
    axes[0].legend(loc="upper left")
    return fig


@figure("07_gains", alt=
        "Dots at several sparsities: how far All-attention's loss lies below Transformer-XL's at equal parameters, left "
        "as it is, right from each model's own control.")
def gains_at_equal_parameters(data: dict) -> Figure:
    """All-attention's loss below Transformer-XL's at equal parameters, as it is and relative to each model's own control."""
    fig, axes = new_figure(columns=2, height=4, sharex=True, sharey=True)
    for ax, (title, gains) in zip(axes, data["readings"].items(), strict=True):
        strip(ax, gains, COLORS[ALL_ATTENTION])
        ax.set(title=title, xlabel="gain of All-attention (nats per token)")
    axes[0].set_ylabel("heads removed from All-attention")
    return fig
