"""Figures of notebook 08: which heads survive."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from allatt.figures.panels import legend
from allatt.figures.style import COLORS, figure, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEED_MARKERS = ("o", "v", "^", "s", "D", "P", "X")
"""One a seed, in their order; more seeds begin again."""


@figure("08_kept_heads")
def kept_heads_by_layer(data: dict) -> Figure:
    """Kept heads of each layer for each lambda, as means over seeds: both models here, and the paper's three models."""
    maps = data["maps"]
    drawn, axes = new_figure(columns=len(maps), height=1.4 + 0.28 * max(len(m["kept"][0]) for m in maps),
                             width_ratios=[len(m["lambdas"]) for m in maps])
    for ax, m in zip(axes, maps, strict=True):
        share = [[kept / m["heads"] for kept in layer] for layer in zip(*m["kept"], strict=True)]
        digits = int(any(kept % 1 for column in m["kept"] for kept in column))
        picture = ax.imshow(share, vmin=0, vmax=1, aspect="auto")
        for layer, row in enumerate(share):
            for column, value in enumerate(row):
                ax.text(column, layer, f"{m['kept'][column][layer]:.{digits}f}", ha="center", va="center", fontsize=9,
                        color="black" if value > 0.55 else "white")
        ax.set(title=m["title"], xlabel="λ")
        ax.set_xticks(range(len(m["lambdas"])), [f"{lam:g}" for lam in m["lambdas"]], rotation=45 * (len(m["lambdas"]) > 2))
        ax.set_yticks(range(len(share)), range(1, len(share) + 1))
        ax.grid(False)
    axes[0].set_ylabel("layer")
    drawn.colorbar(picture, ax=axes, label="share of the layer's heads that is kept", shrink=0.8, pad=0.02)
    return drawn


@figure("08_seeds")
def kept_heads_by_seed(data: dict) -> Figure:
    """Each seed's kept heads by layer: a panel a lambda, and one for the mean over them; above, how far seeds agree."""
    models = data["models"]
    drawn, axes = new_figure(rows=len(models), columns=max(len(m["panels"]) for m in models), height=0.7 + 3 * len(models),
                             sharey=True, squeeze=False)
    for row, m in zip(axes, models, strict=True):
        for ax, panel in zip_longest(row, m["panels"]):
            if panel is None:
                ax.axis("off")
                continue
            layers, count = len(panel["kept"][0]), len(panel["kept"])
            for place, (seed, kept) in enumerate(zip(data["seeds"], panel["kept"], strict=True)):
                shift = 0.3 * (place - (count - 1) / 2) / max(1, count - 1)
                ax.plot([layer + 1 + shift for layer in range(layers)], kept, clip_on=False, label=f"seed {seed}",
                        **look(m["kind"], marker=SEED_MARKERS[place % len(SEED_MARKERS)], markersize=5, linewidth=0.7))
            mean, low, high, _ = panel["agreement"] or (None,) * 4
            ax.set_xlabel("layer" + (f"\nρ = {mean:+.2f}" if mean is not None else "")
                          + (f"\n{low:+.2f} to {high:+.2f}" if low is not None else ""), fontsize=8)
            ax.set_title(panel["title"], fontsize=10)
            ax.set(xlim=(0.5, layers + 0.5), ylim=(0, data["heads"] * 1.03),
                   xticks=range(1, layers + 1, 1 if layers < 6 else 5))
        row[0].set_ylabel(f"{m['name']}\nkept heads")
    legend(drawn, axes[0][0], columns=7)
    if len(data["seeds"]) > 1:
        drawn.legends[0].set_title("ρ: how far the seeds agree on the order of layers (95% interval)")
    return drawn


@figure("08_survivors")
def attention_of_kept_and_pruned_heads(data: dict) -> Figure:
    """Where each head of the unpruned models looks, by layer and within it by seed, and whether pruning kept it; at the
    right, of how many pairs the kept head has more than the pruned one."""
    drawn, axes = new_figure(rows=2, columns=2, height=7, width_ratios=(3, 1), sharex="col")
    seeds = sorted({head["seed"] for head in data["heads"]})
    layers, count = (max(head[key] for head in data["heads"]) for key in ("layer", "head"))
    titles = {"persistent": ("Attention to persistent vectors", "share of a head's attention (%)", 100),
              "distance": ("How far back in the context", "mean distance (tokens)", 1)}
    for (each, pairs), (what, (title, ylabel, unit)) in zip(axes, titles.items(), strict=True):
        for kept, style in ((True, look("all-attention", linestyle="", label=f"kept at λ = {data['lam']:g}")),
                            (False, look("control", marker="x", linestyle="", label="pruned"))):
            heads = [head for head in data["heads"] if head["kept"] == kept]
            within = [seeds.index(h["seed"]) + 0.1 + 0.8 * (h["head"] - 0.5) / count for h in heads]
            each.plot([h["layer"] - 0.4 + 0.8 * x / len(seeds) for h, x in zip(heads, within, strict=True)],
                      [h[what] * unit for h in heads], **style | {"markersize": 5})
        each.set(xlim=(0.5, layers + 0.5), ylim=(0, 1.08 * each.get_ylim()[1]), title=title, ylabel=ylabel)
        each.set_xticks(range(1, layers + 1))
        each.set_xticks([layer + 0.5 for layer in range(1, layers)], minor=True)
        each.grid(axis="x", visible=False)
        each.grid(axis="x", which="minor")
        _shares_of_pairs(pairs, data["pairs"][what])
    axes[-1][0].set_xlabel("layer" + (f"; within it, seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""))
    legend(drawn, axes[0][0], columns=2)
    return drawn


def _shares_of_pairs(ax: Axes, kinds: dict) -> None:
    """One dot a seed, beside the mean and its interval; 50%: the heads cannot be told apart."""
    ax.axhline(50, color=COLORS["control"], linestyle="--", linewidth=1.5)
    for place, one in enumerate(kinds.values()):
        ax.plot([place - 0.15] * len(one["seeds"]), [100 * share for share in one["seeds"]],
                **look("all-attention", linestyle="", markersize=5))
        if one["interval"] and one["interval"][1] is not None:
            mean, low, high, _ = one["interval"]
            ax.errorbar(place + 0.15, 100 * mean, [[100 * (mean - low)], [100 * (high - mean)]], marker="_", color="black")
    ax.set(xticks=range(len(kinds)), xlim=(-0.5, len(kinds) - 0.5), ylim=(0, 100), title="Kept has more",
           ylabel="share of pairs (%)")
    ax.set_xticklabels([name.replace(" ", "\n", 1) for name in kinds])
    ax.grid(axis="x", visible=False)
