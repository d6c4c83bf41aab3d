"""Figure of notebook 11: controls."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, CYCLE, figure, new_figure

BUDGETS = {"start": ("with these heads from the first step", CYCLE[0], "o", -0.18),
           "late": ("cut late, then consolidation", CYCLE[3], "s", 0.18)}
"""Label, color, marker and offset of each budget."""


@figure("11_rivals", alt=
        "A row per way to select heads. Left: its loss minus that of learned gates, a dot per seed and budget. Right: "
        "its kept heads by layer, as numbers in a map.")
def loss_and_layers_of_rivals(data: dict) -> Figure:
    """Models whose heads were selected in other ways: loss minus that of the learned gates, and kept heads by layer.

    For each budget a dot per seed and, with several seeds, their mean (tick) and its 95% interval. One model that is far
    worse than all others is shown as an arrow at the edge, with its number.
    """
    rows = data["rows"]
    far = _far_out(rows)
    some = sorted({sum(kept) for kept in next(iter(rows.values()))["layers"]})  # of every row but those with all heads
    heads = " to ".join(map(str, some[:1] + some[1:][-1:]))
    fig, (loss, layers) = new_figure(columns=2, height=1.8 + 0.36 * len(rows), width_ratios=(3, 2), sharey=True)
    loss.axvline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
    for y, row in enumerate(rows.values()):
        for budget, (label, color, marker, offset) in BUDGETS.items():
            group = row.get(budget)
            if group is None or group is far:
                continue
            if len(group["values"]) > 1:
                mean, low, high, _ = group["interval"]
                loss.plot([low, high], [y + offset] * 2, color=color, linewidth=2, solid_capstyle="butt")
                loss.plot(mean, y + offset, color=color, marker="|", markersize=11, markeredgewidth=3)
            loss.plot(group["values"], [y + offset] * len(group["values"]), color=color, marker=marker, markersize=4.5,
                      linestyle="", alpha=0.7, label=label)
        means = [sum(kept) / len(kept) for kept in zip(*row["layers"], strict=True)]
        for layer, kept in enumerate(means, start=1):
            shade = kept / data["heads"]
            layers.fill_between([layer - 0.5, layer + 0.5], y - 0.38, y + 0.38, linewidth=1, edgecolor="white",
                                color=COLORS[ALL_ATTENTION], alpha=0.1 + 0.8 * shade)
            layers.text(layer, y, f"{kept:.1f}".removesuffix(".0"), ha="center", va="center", fontsize=9,
                        color="white" if shade > 0.5 else "black")
    loss.set(xlabel="test loss above that of the learned gates\n(nats per token)", yticks=range(len(rows)), yticklabels=rows,
             ylim=(len(rows) - 0.4, -0.6), title=f"{heads} of {data['of']} heads, or all")
    loss.xaxis.set_major_locator(MaxNLocator(4))
    for y, row in enumerate(rows.values()):
        for budget, (_, color, _, offset) in BUDGETS.items():
            if far is not None and row.get(budget) is far:
                edge, mean = loss.get_xlim()[1], sum(far["values"]) / len(far["values"])
                loss.plot(edge, y + offset, color=color, marker=">", clip_on=False, zorder=3)
                loss.text(edge, y + offset, f"{mean:+.2f}  ", ha="right", va="center", fontsize=9, color=color)
                loss.set_xlim(right=edge)
    loss.grid(axis="y", visible=False)
    layers.set(xlabel="layer", xticks=range(1, len(means) + 1), title="Heads kept (mean)")
    layers.grid(False)
    layers.tick_params(axis="y", length=0)
    legend_below(fig, loss, columns=2)
    return fig


def _far_out(rows: dict[str, dict]) -> dict | None:
    """The group that is more than twice as far above the gates as any other is from them; it would squeeze the others."""
    groups = [group for row in rows.values() for group in map(row.get, BUDGETS) if group]
    reach = sorted((max(map(abs, group["values"] + (group["interval"] or [0])[:3])), i) for i, group in enumerate(groups))
    if len(reach) < 3 or reach[-1][0] <= 2 * reach[-2][0]:
        return None
    farthest = groups[reach[-1][1]]
    return farthest if min(farthest["values"]) > 0 else None
