"""Figures of notebook 07: heads against perplexity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from allatt.config import KIND_NAMES
from allatt.figures.panels import legend, strip
from allatt.figures.style import COLORS, figure, look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure("07_perplexity")
def perplexity_against_size(data: dict) -> Figure:
    """The paper's main result: test perplexity as heads are pruned, against the body's parameters and multiply-adds.

    Thin lines are seeds, marks the means over seeds at each lambda.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

    drawn, axes = new_figure(columns=2, height=5, sharey=True)
    worse = max(data["models"], key=lambda kind: max(p["test_loss"] for p in data["models"][kind]["mean"]))
    labels = {"body_parameters": "parameters of the body", "body_multiply_adds": "multiply-adds a token"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        for kind, series in data["models"].items():
            for points in series["seeds"] if len(series["seeds"]) > 1 else ():
                points = sorted(points, key=lambda p: p[what])
                ax.plot([p[what] for p in points], [math.exp(p["test_loss"]) for p in points],
                        **look(kind, marker="", linewidth=0.8, alpha=0.5))
            control, points = series["mean"][0], sorted(series["mean"], key=lambda p: p[what])
            ax.plot([p[what] for p in points], [math.exp(p["test_loss"]) for p in points], **look(kind, marker=""))
            for p in series["mean"][1:]:
                ax.plot(p[what], math.exp(p["test_loss"]), **look(kind, label=f"{KIND_NAMES[kind]}, pruned", linestyle=""))
                ax.annotate(f"{p['sparsity']:.0%}", (p[what], math.exp(p["test_loss"])), textcoords="offset points",
                            xytext=(5, 6) if kind == worse else (-5, -14), ha="left" if kind == worse else "right",
                            color=COLORS[kind], fontsize=9)
            for p, mark, label in ((control, "D", "control, λ = 0"), (series["baseline"], "o", "baseline")):
                ax.plot(p[what], math.exp(p["test_loss"]), **look(kind, linestyle="", fillstyle="none", marker=mark,
                                                                  markersize=9, label=f"{KIND_NAMES[kind]}, {label}"))
        ax.set(xlabel=xlabel, yscale="log", xlim=(0, None))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel("test perplexity (a token)")
    axes[0].yaxis.set_major_locator(MaxNLocator(7))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].yaxis.set_major_formatter("{x:.0f}")
    axes[0].margins(y=0.12)
    legend(drawn, axes[0], columns=2)
    return drawn


@figure("07_gains")
def gains_at_equal_parameters(data: dict) -> Figure:
    """How far All-attention's loss is below Transformer-XL's at equal parameters, as it is and from each one's control."""
    drawn, axes = new_figure(columns=2, height=4, sharex=True, sharey=True)
    for ax, (title, rows) in zip(axes, data["readings"].items(), strict=True):
        strip(ax, rows, COLORS["all-attention"])
        ax.set(title=title, xlabel="gain of All-attention (nats a token)")
    axes[0].set_ylabel("heads removed from All-attention")
    return drawn


@figure("07_above_control")
def loss_above_control(data: dict) -> Figure:
    """What pruning costs each model, measured from its own control, against the heads and the parameters removed."""
    drawn, axes = new_figure(columns=2, height=4.5, sharey=True)
    labels = {"sparsity": "heads removed (%)", "removed": "parameters of the body removed (%)"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        ax.axhline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
        for kind, series in data["models"].items():
            thin = [(points, {"marker": "", "linewidth": 0.8, "alpha": 0.5}) for points in series["seeds"]]
            for points, style in [*(thin if len(thin) > 1 else ()), (series["mean"], {"label": KIND_NAMES[kind]})]:
                ordered = sorted(points, key=lambda p: p[what])
                ax.plot([100 * p[what] for p in ordered], [p["above"] for p in ordered], **look(kind, **style))
        ax.set(xlabel=xlabel, xlim=(-3, 103))
    axes[0].set_ylabel("test loss above the control's (nats a token)")
    axes[0].legend(loc="upper left")
    return drawn
