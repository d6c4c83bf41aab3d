"""Panels and legends that figures of several notebooks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from allatt.config import KIND_NAMES
from allatt.figures.style import COLORS, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def strip(ax: Axes, rows: dict[str, dict], color: str, zero: bool = True) -> None:
    """One row a name, from top to bottom: a dot for each seed's value; with several, the mean and its 95% interval.

    A row is {"values": [...], "interval": [mean, low, high, n]}, as `stats.interval` gives it; no values: an empty row.
    """
    if zero:
        ax.axvline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
    for place, row in enumerate(rows.values()):
        if len(row["values"]) > 1:
            mean, low, high, _ = row["interval"]
            ax.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
            ax.plot(mean, place, color=color, marker="|", markersize=16, markeredgewidth=3)
        ax.plot(row["values"], [place + 0.22] * len(row["values"]), color="#4D4D4D", marker="o", markersize=4.5, linestyle="",
                alpha=0.8)
    ax.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticklabels(list(rows))
    ax.grid(axis="y", visible=False)


def against_size(data: dict, y: Callable[[dict], float]) -> tuple[Figure, Axes]:
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
            ax.plot(p["body_parameters"], y(p), **look(kind, label=f"{KIND_NAMES[kind]}, pruned", linestyle=""))
            ax.annotate(f"{p['sparsity']:.0%}", (p["body_parameters"], y(p)), textcoords="offset points",
                        xytext=(5, 6) if kind == worse else (-5, -14), ha="left" if kind == worse else "right",
                        color=COLORS[kind], fontsize=9)
        for p, mark, label in ((control, "D", "control, λ = 0"), (series["baseline"], "o", "baseline")):
            ax.plot(p["body_parameters"], y(p), **look(kind, linestyle="", fillstyle="none", marker=mark, markersize=9,
                                                       label=f"{KIND_NAMES[kind]}, {label}"))
    ax.set(xlabel="parameters of the body", xlim=(0, None),
           title=data["text"] + (f"; thick: mean of {seeds} seeds" if seeds > 1 else ""))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(y=0.12)
    legend(drawn, ax, columns=2)
    return drawn, ax


def legend(drawn: Figure, ax: Axes, columns: int) -> None:
    """One legend below all panels, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    drawn.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)
