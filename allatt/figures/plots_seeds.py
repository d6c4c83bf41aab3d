"""Drawing functions that set several seeds side by side: training methods (06), controls (11).

Each makes a figure from its sidecar's data alone; `allatt.figures.plots` has all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allatt.figures import COLORS, CYCLE, figure, new_figure

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


@figure("06_three_methods")
def three_methods(data: dict) -> Figure:
    """Each variant of the training at one lambda: how many heads it keeps, and its loss against the curve at as many heads."""
    drawn, (heads, loss) = new_figure(columns=2, height=4.6, sharey=True)
    strip(heads, data["heads"], COLORS["control"], zero=False)
    heads.set(xlabel=f"kept heads, of {data['of']}", xlim=(-0.03 * data["of"], 1.03 * data["of"]),
              title=f"Heads kept at λ = {data['lam']:g}")
    strip(loss, data["off"], COLORS["all-attention"])
    loss.set(xlabel="nats a token above the curve", title="Loss at equal heads")
    for place, row in enumerate(data["off"].values()):
        if not row["values"]:
            loss.annotate("outside of the curve", (0, place), textcoords="offset points", xytext=(6, 0), va="center",
                          fontsize=9)
    return drawn


@figure("06_stability")
def stability(data: dict) -> Figure:
    """Kept heads over the steps of each variant, and how far its training loss is above the control's; one line a seed."""
    drawn, (heads, loss) = new_figure(columns=2, height=5)
    for place, (name, runs) in enumerate(data["variants"].items()):
        for number, run in enumerate(runs):
            style = {"color": CYCLE[place], "linewidth": (3 if place == 0 else 1.8) if len(runs) == 1 else 1.2}
            heads.step(run["step"], run["kept"], where="post", label=None if number else name, **style)
            loss.plot(run["step"], run["above"], **style)
    heads.set(xlabel="step", ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(xlabel="step", ylabel="nats a token", title="Training loss above the control's")
    drawn.legend(*heads.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


@figure("11_rivals")
def rivals(data: dict) -> Figure:
    """Models of as many heads, found in other ways: their loss minus that of the learned gates; and their heads by layer."""
    drawn, (loss, layers) = new_figure(columns=2, height=4.4, width_ratios=(3, 2), sharey=True)
    strip(loss, data["loss"], COLORS["all-attention"])
    loss.set(xlabel="test loss above that of the learned gates\n(nats a token)", title=f"As many heads, of {data['of']}")
    for place, lists in enumerate(data["layers"].values()):
        means = [sum(kept) / len(kept) for kept in zip(*lists, strict=True)]
        for layer, kept in enumerate(means, start=1):
            shade = kept / data["heads"]
            layers.fill_between([layer - 0.5, layer + 0.5], place - 0.38, place + 0.38, linewidth=1, edgecolor="white",
                                color=COLORS["all-attention"], alpha=0.1 + 0.8 * shade)
            layers.text(layer, place, f"{kept:.1f}".removesuffix(".0"), ha="center", va="center", fontsize=9,
                        color="white" if shade > 0.5 else "black")
    layers.set(xlabel="layer", xticks=range(1, len(means) + 1), title="Heads kept (mean)")
    layers.grid(False)
    layers.tick_params(axis="y", length=0)
    return drawn
