"""Figures of notebook 01: the All-attention layer."""

import math

from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from allatt.figures.style import COLORMAP, COLORS, figure, new_figure

PARTS = ("projections", "persistent", "feed-forward")
"""What a layer consists of, but for norms and biases."""


@figure("01_layers", alt=
        "Four drawings of a layer, side by side. Transformer-XL: attention heads, then a feed-forward of half of the "
        "parameters, before and after some heads are removed; the feed-forward stays. All-attention: heads with "
        "persistent vectors and nothing else, before and after; the layer shrinks in proportion.")
def layers(data: dict) -> Figure:
    """A layer of both models, before and after some heads are removed. Areas are parameters; lines are the hidden states."""
    fig, axes = new_figure(columns=len(data["panels"]), height=4.2, sharex=True, sharey=True)
    heads, line = data["heads"], {"color": "black", "linewidth": 1.2, "zorder": 1}
    unit, middle, top = sum(data["panels"][0][part] for part in PARTS) / 5, heads / 2, 0.0
    for ax, panel in zip(axes, data["panels"], strict=True):
        begin = 0.0
        for parts in (("projections", "persistent"), ("feed-forward",)):  # each adds what it computes to what it reads
            if not any(panel[part] for part in parts):
                continue
            end = begin
            for part in parts:
                height, pieces = panel[part] / unit, heads if part != "feed-forward" else 1
                for piece in range(pieces if height else 0):
                    kept, width = piece in panel["kept"] or pieces == 1, heads / pieces
                    ax.add_patch(Rectangle(
                        (piece * width + 0.06, end + 0.03), width - 0.12, height - 0.06, linewidth=1, zorder=2,
                        facecolor=COLORS[part] if kept else "white", edgecolor="white" if kept else "#7F7F7F",
                        linestyle="-" if kept else ":"))
                end += height
            plus = end + 0.4
            ax.plot([middle, middle, math.nan, middle, middle], [begin - 0.75, begin, math.nan, end, plus], **line)
            ax.plot([middle, -0.8, -0.8, middle], [begin - 0.35, begin - 0.35, plus, plus], **line)
            ax.plot(middle, plus, "o", markersize=13, markerfacecolor="white", markeredgecolor="black", zorder=3)
            ax.plot(middle, plus, "+", markersize=9, color="black", zorder=4)
            begin = plus + 0.9
        ax.annotate("", (middle, plus + 0.95), (middle, plus + 0.2), arrowprops={"arrowstyle": "-|>", "color": "black"})
        top = max(top, plus + 1)
        ax.set_title(panel["title"], loc="center")
        ax.set(xlabel=panel["below"], xlim=(-1.2, heads + 0.4), ylim=(-0.8, top), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    names = {"projections": "projections", "persistent": "persistent vectors", "feed-forward": "feed-forward"}
    fig.legend(handles=[*(Patch(color=COLORS[part], label=name) for part, name in names.items()),
                        Patch(facecolor="white", edgecolor="#7F7F7F", linestyle=":", label="a removed head")],
               ncols=4, loc="outside lower center")
    return fig


@figure("01_window", alt=
        "Two grids of queries by positions. Each query sees a diagonal band of equal length that reaches back into "
        "memory; with an empty memory the band is cut off on the left. The persistent vectors, on one side, are seen by "
        "all queries.")
def visible_positions(data: dict) -> Figure:
    """Positions that each query sees with an empty and with a full memory, and the persistent vectors."""
    colors = {"memory": "#8FD3BC", "segment": COLORS["context"], "persistent vectors": COLORS["persistent"],
              "hidden": "#EDEDED"}
    style = {"cmap": ListedColormap(list(colors.values())), "vmin": 0, "vmax": 3, "edgecolors": "white"}
    fig, axes = new_figure(columns=len(data["panels"]), height=3.1, sharey=True)
    memory, persistent = data["memory"], data["persistent"]
    for ax, panel in zip(axes, data["panels"], strict=True):
        seen = panel["visible"]
        cells = [[(key >= memory) if visible else 3 for key, visible in enumerate(query)] for query in seen]
        ax.pcolormesh(cells, **style)
        left = len(seen[0]) + 1
        ax.pcolormesh([left + n for n in range(persistent + 1)], range(len(seen) + 1), [[2] * persistent] * len(seen),
                      **style)
        centers = [memory / 2, (memory + len(seen[0])) / 2, left + persistent / 2]
        ax.set_xticks(centers, ["memory", "segment", "persistent"])
        ax.set(title=panel["title"], yticks=[], ylim=(len(seen), 0), aspect="equal")
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("queries, downwards")
    fig.legend(handles=[Patch(color=color, label=label) for label, color in colors.items()], ncols=4,
               loc="outside lower center")
    return fig


@figure("01_all_heads", alt=
        "Left: a line per head, its mean attention weight by distance, highest at the first tokens. Right: a dot per "
        "head, layer by layer: its share on persistent vectors, below the dashed line that equal weights would give.")
def attention_of_all_heads(data: dict) -> Figure:
    """Each head's mean weight by distance and its share on persistent vectors; dashed: equal weights for all."""
    fig, (distance, share) = new_figure(columns=2)
    layers = len(data["share"])
    for layer, heads in enumerate(data["distance"]):
        color = colormaps[COLORMAP](0.9 * layer / max(1, layers - 1))
        for head, mean in enumerate(heads):
            distance.plot(mean, color=color, linewidth=1.2, label=f"layer {layer + 1}" if head == 0 else None)
        positions = [layer + 1 + 0.5 * (head + 0.5) / len(heads) - 0.25 for head in range(len(heads))]
        share.plot(positions, data["share"][layer], "o", color=color, markersize=5)
    distance.axhline(data["uniform_weight"], color=COLORS["paper"], linestyle="--", linewidth=1.5)
    weights = [weight for heads in data["distance"] for head in heads for weight in head] + [data["uniform_weight"]]
    distance.set(xlabel="distance (tokens back)", ylabel="mean weight", yscale="log", title="Context",
                 ylim=(min(weights) / 2, 4 * max(weights)))
    if layers <= 6:
        distance.legend(loc="upper right")
    share.axhline(data["uniform_share"], color=COLORS["paper"], linestyle="--", linewidth=1.5, label="all alike")
    share.set(xlabel="layer", ylabel="share of the weight", xlim=(0.5, layers + 0.5), ylim=(0, 1),
              title="Persistent vectors")
    share.xaxis.set_major_locator(MaxNLocator(integer=True))
    share.legend(loc="lower right")
    return fig


@figure("01_one_head", alt=
        "Maps of one head's attention weights, a row per query: by distance in the context, on the strongest persistent "
        "vectors, and the share of all persistent vectors.")
def attention_of_one_head(data: dict) -> Figure:
    """Weights of one head per query: context by distance, the strongest persistent vectors, and the share of all of them."""
    fig, (context, persistent, total) = new_figure(columns=3, height=6, sharey=True, width_ratios=(10, 5, 3))
    largest = max(max(map(max, data[part])) for part in ("context", "persistent"))
    for ax, part in ((context, "context"), (persistent, "persistent")):
        image = ax.imshow([[math.sqrt(weight) for weight in query] for query in data[part]], vmin=0,
                          vmax=math.sqrt(largest), aspect="auto", interpolation="nearest")
        ax.grid(False)
    context.set(xlabel="distance (tokens back)", title=f"Layer {data['layer']}, head {data['head']}: context")
    context.set_yticks(range(len(data["tokens"])), data["tokens"], fontsize=9, parse_math=False)
    context.xaxis.set_major_locator(MaxNLocator(integer=True))
    persistent.set(xlabel="strongest vectors", title="Persistent", xticks=[])
    total.barh(range(len(data["share"])), data["share"], color=COLORS["persistent"])
    total.set(xlabel="all of them", xlim=(0, 1), title="Share")
    bar = fig.colorbar(image, ax=[context, persistent, total], label="weight of one position or vector",
                       location="bottom", shrink=0.5)
    marks = [largest * share for share in (0, 0.05, 0.2, 0.5, 1)]
    bar.set_ticks([math.sqrt(mark) for mark in marks], labels=[f"{mark:.2g}" for mark in marks])
    return fig
