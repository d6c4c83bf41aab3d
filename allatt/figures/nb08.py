"""Figures of notebook 08: which heads survive."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, figure, look, new_figure

BETWEEN_BLOCKS = 0.6
"""Space between the blocks of a map, in columns."""


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
        "Maps of kept heads, a row per layer: for each lambda a block with a column per seed, and one for the mean of lambda.")
def kept_heads_by_seed(data: dict) -> Figure:
    """Heads that each seed keeps by layer: a block per λ, in it a column per seed; below it, how far several seeds agree."""
    seeds = data["seeds"]
    rows = [(model, panels) for model in data["models"] for panels in _in_rows(model["panels"], len(seeds))]
    heights = [len(panels[0]["kept"][0]) + 3 for _, panels in rows]  # layers, and the labels
    fig, axes = new_figure(rows=len(rows), height=0.8 + 0.26 * sum(heights), height_ratios=heights, squeeze=False)
    longest = max(len(panels) for _, panels in rows)
    for ax, (model, panels) in zip(axes[:, 0], rows, strict=True):
        middles, labels = [], []
        for number, panel in enumerate(panels):
            left = number * (len(seeds) + BETWEEN_BLOCKS)
            image = _block(ax, panel["kept"], left, data["heads"])
            middles.append(left + len(seeds) / 2)
            labels.append(panel["title"] + _agreement(panel, panel is model["panels"][-1]))
        layers = len(panels[0]["kept"][0])
        ax.set(xlim=(0, longest * (len(seeds) + BETWEEN_BLOCKS) - BETWEEN_BLOCKS), ylim=(layers + 0.5, 0.5),
               yticks=range(1, layers + 1), ylabel=f"{model['name']}\nlayer")
        ax.set_xticks(middles, labels, fontsize=9)
        if len(seeds) > 1:
            top = ax.secondary_xaxis("top")
            places = [middle - len(seeds) / 2 + i + 0.5 for middle in middles for i in range(len(seeds))]
            top.set_xticks(places, [str(seed) for _ in middles for seed in seeds], fontsize=8)
            top.set_xlabel("seed", loc="left", fontsize=9)
            top.tick_params(length=0)
            top.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.grid(False)
    fig.colorbar(image, ax=axes, label="heads that are kept", shrink=0.6, pad=0.02)
    if len(seeds) > 1:
        fig.supxlabel("ρ: how far the seeds agree on the order of layers (for the mean with its 95% interval)", fontsize=9)
    return fig


def _block(ax: Axes, kept: list[list[float]], left: float, heads: int) -> AxesImage:
    """One λ: a column per seed from x = left on, a row per layer, with the numbers."""
    layers, digits = len(kept[0]), int(any(number % 1 for column in kept for number in column))
    image = ax.imshow(list(zip(*kept, strict=True)), vmin=0, vmax=heads, aspect="auto",
                      extent=(left, left + len(kept), layers + 0.5, 0.5))
    for i, column in enumerate(kept):
        for layer, number in enumerate(column, start=1):
            ax.text(left + i + 0.5, layer, f"{number:.{digits}f}", ha="center", va="center", fontsize=7 if digits else 8,
                    color="black" if number > 0.55 * heads else "white")
    return image


def _agreement(panel: dict, with_interval: bool) -> str:
    """How far the seeds agree, for the label below a block."""
    mean, low, high, _ = panel["agreement"] or (None,) * 4
    if mean is None:
        return ""
    return f"\nρ = {mean:+.2f}" + (f"\n[{low:+.2f}, {high:+.2f}]" if with_interval and low is not None else "")


def _in_rows(panels: list[dict], columns: int) -> list[list[dict]]:
    """The blocks in rows of nearly equal length, with at most 32 columns and 9 blocks in each: numbers must stay legible."""
    most = max(1, min(9, 32 // columns))
    length = math.ceil(len(panels) / math.ceil(len(panels) / most))
    return [panels[i:i + length] for i in range(0, len(panels), length)]
