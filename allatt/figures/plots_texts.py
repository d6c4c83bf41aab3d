"""Drawing functions of the notebooks that leave subwords: characters (12), words (13).

Each makes a figure from its sidecar's data alone; `allatt.figures.plots` has all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from allatt.figures import COLORS, figure, look, new_figure
from allatt.figures.plots_results import NAMES, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@figure("12_characters")
def bits_against_size(data: dict) -> Figure:
    """Bits per character of both models as heads are pruned, against the parameters of the body."""
    drawn, ax = _against_size(data, lambda p: p["test_bits"])
    ax.set_ylabel("test, bits per character")
    return drawn


@figure("13_words")
def words_against_size(data: dict) -> Figure:
    """Perplexity a word of both models as heads are pruned, against the parameters of the body."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    drawn, ax = _against_size(data, lambda p: math.exp(p["test_loss"]))
    ax.set(ylabel="test perplexity (a word)", yscale="log")
    ax.yaxis.set_major_locator(MaxNLocator(7))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:.0f}")
    return drawn


def _against_size(data: dict, y: Callable[[dict], float]) -> tuple[Figure, Axes]:
    """A curve a model: its mean over seeds, with the share of heads that is gone; with several, every seed as a thin line."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    drawn, ax = new_figure(height=5)
    worse = max(data["models"], key=lambda kind: max(map(y, data["models"][kind]["mean"])))
    seeds = max(len(series["seeds"]) for series in data["models"].values())
    for kind, series in data["models"].items():
        control, *pruned = series["mean"]
        thin = look(kind, marker="", linewidth=0.8, alpha=0.5)
        for points, style in [*((some, thin) for some in series["seeds"] if seeds > 1),
                              (series["mean"], look(kind, marker=""))]:
            ordered = sorted(points, key=lambda p: p["body_parameters"])
            ax.plot([p["body_parameters"] for p in ordered], list(map(y, ordered)), **style)
        for p in pruned:
            ax.plot(p["body_parameters"], y(p), **look(kind, label=f"{NAMES[kind]}, pruned", linestyle=""))
            ax.annotate(f"{p['sparsity']:.0%}", (p["body_parameters"], y(p)), textcoords="offset points",
                        xytext=(5, 6) if kind == worse else (-5, -14), ha="left" if kind == worse else "right",
                        color=COLORS[kind], fontsize=9)
        for p, mark, label in ((control, "D", "control, λ = 0"), (series["baseline"], "o", "baseline")):
            ax.plot(p["body_parameters"], y(p), **look(kind, linestyle="", fillstyle="none", marker=mark, markersize=9,
                                                       label=f"{NAMES[kind]}, {label}"))
    ax.set(xlabel="parameters of the body", xlim=(0, None),
           title=data["text"] + (f"; thick: mean of {seeds} seeds" if seeds > 1 else ""))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(y=0.12)
    legend(drawn, ax, columns=2)
    return drawn, ax
