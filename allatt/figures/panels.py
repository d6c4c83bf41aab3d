"""Panels and legends shared by the figures of several notebooks."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from allatt.config import KIND_NAMES
from allatt.figures.style import COLORS, look, new_figure

SEED_LINE = {"marker": "", "linewidth": 0.8, "alpha": 0.5}
"""Style of a single seed's line when a thick line shows the mean over seeds."""


def strip(ax: Axes, groups: dict[str, dict], color: str, zero: bool = True) -> None:
    """One row per named group, from top to bottom: a dot per seed and, with several seeds, their mean and its 95% interval.

    A group is {"values": [...], "interval": [mean, low, high, n]}, the interval from `stats.interval`, or None for dots alone;
    without values, its row stays empty. `zero` adds a line at 0.
    """
    if zero:
        ax.axvline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
    for y, group in enumerate(groups.values()):
        below = 0.22 if len(group["values"]) > 1 else 0
        if below and group["interval"]:
            mean, low, high, _ = group["interval"]
            ax.plot([low, high], [y, y], color=color, linewidth=2, solid_capstyle="butt")
            ax.plot(mean, y, color=color, marker="|", markersize=16, markeredgewidth=3)
        ax.plot(group["values"], [y + below] * len(group["values"]), color="#4D4D4D", marker="o", markersize=4.5,
                linestyle="", alpha=0.8)
    ax.set(yticks=range(len(groups)), yticklabels=groups, ylim=(len(groups) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)


def pruning_curves(ax: Axes, models: dict[str, dict], size: str, quality: Callable[[dict], float]) -> None:
    """For each model, `quality` of its points against their `size` as heads are pruned; lower quality values are better.

    `models` has for each kind the points of its "mean" over seeds (the control first), the points of each of its "seeds",
    and its "baseline"; `size` is "body_parameters" or "body_multiply_adds". Seeds are thin lines if there are several.
    """
    means = [sorted((p[size], quality(p)) for p in curves["mean"]) for curves in models.values()]
    labels: list[tuple[dict, bool]] = []
    for kind, curves in models.items():
        control, *pruned = curves["mean"]
        lines = [(points, SEED_LINE) for points in curves["seeds"]] if len(curves["seeds"]) > 1 else []
        for points, style in [*lines, (curves["mean"], {"marker": ""})]:
            ordered = sorted(points, key=lambda p: p[size])
            ax.plot([p[size] for p in ordered], list(map(quality, ordered)), **look(kind, **style))
        for p in pruned:
            ax.plot(p[size], quality(p), **look(kind, label=f"{KIND_NAMES[kind]}, pruned", linestyle="", clip_on=False))
        marks = [control, *(other["baseline"] for other in models.values())]
        new = _labels(pruned, marks, labels, size, quality, means)
        for p, above in new:
            ax.annotate(f"{p['sparsity']:.0%}", (p[size], quality(p)), textcoords="offset points",
                        xytext=(5, 6) if above else (-5, -14), ha="left" if above else "right", color=COLORS[kind], fontsize=9)
        labels += new
        for p, marker, label in ((control, "D", "control, λ = 0"), (curves["baseline"], "o", "baseline")):
            ax.plot(p[size], quality(p), **look(kind, linestyle="", fillstyle="none", marker=marker, markersize=9,
                                                label=f"{KIND_NAMES[kind]}, {label}"))
    names = {"body_parameters": "parameters of the body", "body_multiply_adds": "multiply-adds per token"}
    ax.set(xlabel=names[size], xlim=(0, None))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(y=0.12)


def _labels(points: list[dict], marks: list[dict], others: list[tuple[dict, bool]], size: str, quality: Callable[[dict], float],
            means: list[list[tuple[float, float]]]) -> list[tuple[dict, bool]]:
    """The points that get a label, the smallest first, and whether the label is above the point, where no other curve is.

    The rest are too near to a labeled point, to a mark, or to a label on the same side among `others`, the models before.
    """
    width, height = (max(places) - min(places) or 1 for places in zip(*sum(means, []), strict=True))
    chosen: list[tuple[dict, bool]] = []
    for p in sorted(points, key=lambda p: p[size]):
        above = all(quality(p) >= np.interp(p[size], *zip(*line, strict=True)) for line in means)
        near = [(q, 0.12) for q, _ in chosen] + [(q, 0.12) for q, side in others if side == above]
        near += [(mark, 0.2) for mark in marks if chosen]  # the smallest gets one beside any mark
        if all(abs(p[size] - q[size]) > room * width or abs(quality(p) - quality(q)) > 0.1 * height for q, room in near):
            chosen.append((p, above))
    return chosen


def pruning_curves_of_text(data: dict, quality: Callable[[dict], float]) -> tuple[Figure, Axes]:
    """A figure of `pruning_curves` against the parameters of the body, titled after the text."""
    fig, ax = new_figure(height=5)
    pruning_curves(ax, data["models"], "body_parameters", quality)
    seeds = max(len(curves["seeds"]) for curves in data["models"].values())
    ax.set_title(data["text"] + (f"; thick: mean of {seeds} seeds" if seeds > 1 else ""))
    legend_below(fig, ax, columns=2)
    return fig, ax


def perplexity_axis(ax: Axes, label: str) -> None:
    """Make the y axis logarithmic, with few ticks at round perplexities."""
    ax.set(ylabel=f"{label}, log scale", yscale="log")
    ax.yaxis.set_major_locator(MaxNLocator(7))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:.0f}")


def legend_below(fig: Figure, ax: Axes, columns: int) -> None:
    """One legend below all panels with the labels of `ax`, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    fig.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def attention_map(ax: Axes, share: Axes, head: dict, size: float = 8) -> AxesImage:
    """One head's attention token by token in `ax`, a row per query; in `share`, a bar per query, its persistent vectors' share.

    A head has "title", "tokens", "weights" (a row per query, a number per token; the future is left blank) and, if it is All-
    attention's, "share" (a number per query); otherwise `share` is switched off. `size` is the font size of the tokens.
    Colors go from 0 to 1 by the square root, the same in every map; the image that is returned is for a color bar.
    """
    places, tokens = range(len(head["tokens"])), head["tokens"]
    weights = np.ma.masked_where(np.triu(np.ones((len(tokens),) * 2), 1) > 0, head["weights"])
    image = ax.imshow(weights, norm=PowerNorm(0.5, 0, 1), aspect="auto", interpolation="nearest")
    ax.set_xticks(places, tokens, fontsize=size, rotation=90, parse_math=False)
    ax.set_yticks(places, tokens, fontsize=size, parse_math=False)
    ax.set_title(head["title"], fontsize=11)
    for axes in (ax, share):
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    if "share" not in head:
        share.set_axis_off()
        return image
    share.barh(places, [1] * len(tokens), color="#EDEDED")
    share.barh(places, head["share"], color=COLORS["persistent"])
    share.set_title("persistent", fontsize=size, loc="center")
    share.set(xlim=(0, 1), ylim=(len(tokens) - 0.5, -0.5), yticks=[])
    share.set_xticks([0, 1], ["0", "1"], fontsize=size)
    return image
