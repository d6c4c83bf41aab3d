"""Figures of notebook 08: which heads survive."""

import math
from itertools import zip_longest

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, figure, look, new_figure

SEED_MARKERS = ("o", "v", "^", "s", "D", "P", "X")
"""Markers of the seeds in their order; more seeds reuse them."""


@figure("08_one_of_each", alt=
        "Left: a square per head of the trained model, a row per layer; the first layer keeps all, the last keeps the fewest. "
        "Right: the weights with which one token looks at those before it, in a kept and in a removed head of the last layer.")
def one_of_each(data: dict) -> Figure:
    """Heads that pruning kept (blue), layer by layer; and, before pruning, what two of them look at, one kept, one removed."""
    fig, (grid, *bars) = new_figure(columns=3, height=4.8, width_ratios=(5, 3, 3))
    marked = [(head["layer"], head["head"]) for head in data["heads"]]
    for layer, row in enumerate(data["kept"], start=1):
        for head, kept in enumerate(row, start=1):
            style = {"facecolor": COLORS[ALL_ATTENTION]} if kept else {"facecolor": "#D9D9D9"}
            frame = {"edgecolor": "black", "linewidth": 2.5} if (layer, head) in marked else {"edgecolor": "white"}
            grid.add_patch(Rectangle((head - 0.45, layer - 0.45), 0.9, 0.9, **style, **frame))
        grid.text(len(row) + 0.8, layer, f"{sum(row)}", va="center", fontweight="bold")
    grid.set(xlim=(0.4, len(data["kept"][0]) + 1.3), ylim=(len(data["kept"]) + 0.5, 0.5), aspect="equal", xlabel="head",
             ylabel="layer", title="Kept (blue), removed (gray)", xticks=range(1, len(data["kept"][0]) + 1),
             yticks=range(1, len(data["kept"]) + 1))
    grid.spines[:].set_visible(False)
    for ax, head in zip(bars, data["heads"], strict=True):
        places = range(len(data["tokens"]) + 1)
        ax.barh(places, [*head["weights"], head["share"]],
                color=[COLORS["context"]] * len(data["tokens"]) + [COLORS["persistent"]])
        ax.set_yticks(places, [*data["tokens"], "persistent"], fontsize=9, parse_math=False)
        ax.set(title=f"Head {head['head']}, {'kept' if head['kept'] else 'removed'}", xlim=(0, 1), xlabel="weight",
               ylim=(len(data["tokens"]) + 0.6, -0.6))
    bars[1].tick_params(labelleft=False)
    for ax in (grid, *bars):
        ax.grid(False)
    return fig


@figure("08_kept_heads", alt=
        "Three maps of kept heads, layers by lambda: All-attention and Transformer-XL here, and the paper's three "
        "models.")
def kept_heads_by_layer(data: dict) -> Figure:
    """Kept heads of each layer for each lambda (means over seeds): both models here, and the paper's three models."""
    maps = data["maps"]
    fig, axes = new_figure(columns=len(maps), height=1.4 + 0.28 * max(len(heatmap["kept"][0]) for heatmap in maps),
                           width_ratios=[len(heatmap["lambdas"]) for heatmap in maps])
    for ax, heatmap in zip(axes, maps, strict=True):
        share = [[kept / heatmap["heads"] for kept in layer] for layer in zip(*heatmap["kept"], strict=True)]
        digits = int(any(kept % 1 for column in heatmap["kept"] for kept in column))
        image = ax.imshow(share, vmin=0, vmax=1, aspect="auto")
        for layer, values in enumerate(share):
            for column, value in enumerate(values):
                ax.text(column, layer, f"{heatmap['kept'][column][layer]:.{digits}f}", ha="center", va="center", fontsize=9,
                        color="black" if value > 0.55 else "white")
        lambdas = [f"{lam:g}" for lam in heatmap["lambdas"]]
        ax.set_xticks(range(len(lambdas)), lambdas, rotation=45 if len(lambdas) > 2 else 0)
        ax.set(title=heatmap["title"], xlabel="λ", yticks=range(len(share)), yticklabels=range(1, len(share) + 1))
        ax.grid(False)
    axes[0].set_ylabel("layer")
    fig.colorbar(image, ax=axes, label="share of the layer's heads that is kept", shrink=0.8, pad=0.02)
    return fig


@figure("08_survivors", alt=
        "A dot per head that pruning kept and a cross per pruned head, layer by layer: attention to persistent vectors "
        "above, mean distance in the context below. On the right, the share of pairs in which the kept head has more.")
def attention_of_kept_and_pruned_heads(data: dict) -> Figure:
    """Attention of each head of the unpruned models, by layer and within it by seed, and whether pruning kept the head.

    On the right, the share of pairs in which the kept head has more than the pruned one.
    """
    fig, axes = new_figure(rows=2, columns=2, height=7, width_ratios=(3, 1), sharex="col")
    seeds = sorted({head["seed"] for head in data["heads"]})
    layers, count = (max(head[key] for head in data["heads"]) for key in ("layer", "head"))
    titles = {"persistent": ("Attention to persistent vectors", "share of a head's attention (%)", 100),
              "distance": ("How far back in the context", "mean distance (tokens)", 1)}
    for (heads_ax, pairs_ax), (measure, (title, ylabel, factor)) in zip(axes, titles.items(), strict=True):
        for kept, style in ((True, look(ALL_ATTENTION, linestyle="", label=f"kept at λ = {data['lam']:g}")),
                            (False, look("control", marker="x", linestyle="", label="pruned"))):
            heads = [head for head in data["heads"] if head["kept"] == kept]
            within = [seeds.index(h["seed"]) + 0.1 + 0.8 * (h["head"] - 0.5) / count for h in heads]
            heads_ax.plot([h["layer"] - 0.4 + 0.8 * x / len(seeds) for h, x in zip(heads, within, strict=True)],
                          [h[measure] * factor for h in heads], **style | {"markersize": 5})
        heads_ax.set(xlim=(0.5, layers + 0.5), ylim=(0, 1.08 * heads_ax.get_ylim()[1]), title=title, ylabel=ylabel)
        heads_ax.set_xticks(range(1, layers + 1))
        heads_ax.set_xticks([layer + 0.5 for layer in range(1, layers)], minor=True)
        heads_ax.grid(axis="x", visible=False)
        heads_ax.grid(axis="x", which="minor")
        _shares_of_pairs(pairs_ax, data["pairs"][measure])
    axes[-1][0].set_xlabel("layer" + (f"; within it, seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""))
    legend_below(fig, axes[0][0], columns=2)
    return fig


def _shares_of_pairs(ax: Axes, comparisons: dict) -> None:
    """A dot per seed, and the mean with its interval; at 50%, the heads cannot be told apart."""
    ax.axhline(50, color=COLORS["control"], linestyle="--", linewidth=1.5)
    for x, pairs in enumerate(comparisons.values()):
        ax.plot([x - 0.15] * len(pairs["seeds"]), [100 * share for share in pairs["seeds"]],
                **look(ALL_ATTENTION, linestyle="", markersize=5))
        if pairs["interval"] and pairs["interval"][1] is not None:
            mean, low, high, _ = pairs["interval"]
            ax.errorbar(x + 0.15, 100 * mean, [[100 * (mean - low)], [100 * (high - mean)]], marker="_", color="black")
    ax.set(xticks=range(len(comparisons)), xticklabels=[name.replace(" ", "\n", 1) for name in comparisons],
           xlim=(-0.5, len(comparisons) - 0.5), ylim=(0, 100), title="Pairs", ylabel="the kept head has more (%)")
    ax.grid(axis="x", visible=False)


@figure("08_seeds", alt=
        "Kept heads by layer: a panel per lambda and one for their mean, a row per model, and a line per seed.")
def kept_heads_by_seed(data: dict) -> Figure:
    """Each seed's kept heads by layer, by λ and for the mean over λ; below a panel, how far several seeds agree."""
    rows = [(model, panels) for model in data["models"] for panels in _in_rows(model["panels"])]
    fig, axes = new_figure(rows=len(rows), columns=max(len(panels) for _, panels in rows), height=1.7 + 2.5 * len(rows),
                           sharey=True, squeeze=False)
    for row_axes, (model, panels) in zip(axes, rows, strict=True):
        for ax, panel in zip_longest(row_axes, panels):
            if panel is None:
                ax.axis("off")
                continue
            layers, count = len(panel["kept"][0]), len(panel["kept"])
            for i, kept in enumerate(panel["kept"]):
                shift = 0.3 * (i - (count - 1) / 2) / max(1, count - 1)
                ax.plot([layer + 1 + shift for layer in range(layers)], kept, clip_on=False,
                        **look(model["kind"], marker=SEED_MARKERS[i % len(SEED_MARKERS)], markersize=5, linewidth=0.7))
            mean, low, high, _ = panel["agreement"] or (None,) * 4
            is_last = panel is model["panels"][-1]  # the mean of λ, which has the interval, too
            ax.set_xlabel("layer" + (f"\nρ = {mean:+.2f}" if mean is not None else "")
                          + (f"\n{low:+.2f}\nto {high:+.2f}" if low is not None and is_last else ""), fontsize=9)
            ax.set_title(panel["title"], fontsize=10)
            ax.set(xlim=(0.5, layers + 0.5), ylim=(0, data["heads"] * 1.03),
                   xticks=range(1, layers + 1, 1 if layers < 6 else 5))
        row_axes[0].set_ylabel(f"{model['name']}\nkept heads")
    if len(data["seeds"]) > 1:  # gray, since the colors are those of the models
        marks = [SEED_MARKERS[i % len(SEED_MARKERS)] for i in range(len(data["seeds"]))]
        handles = [Line2D([], [], label=f"seed {seed}", **look("control", marker=mark, markersize=5))
                   for seed, mark in zip(data["seeds"], marks, strict=True)]
        fig.legend(handles=handles, loc="outside lower center", ncols=7)
        fig.legends[0].set_title("ρ: how far the seeds agree on the order of layers (for the mean with its 95% interval)")
    return fig


def _in_rows(panels: list[dict]) -> list[list[dict]]:
    """The panels in rows of nearly equal length, with at most seven in each: more would be too narrow for their titles."""
    length = math.ceil(len(panels) / math.ceil(len(panels) / 7))
    return [panels[i:i + length] for i in range(0, len(panels), length)]
