"""Figures of notebook 01: the All-attention layer."""

import math

from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from allatt.figures.panels import attention_map, legend_below
from allatt.figures.style import COLORMAP, COLORS, CYCLE, figure, new_figure

PARTS = ("projections", "persistent", "feed-forward")
"""What a layer consists of, except norms and biases."""
MEMORY = "#8FD3BC"
"""Color of the memory: a light shade of the context's."""


@figure("01_layers", alt=
        "Four drawings of a layer, side by side. Transformer-XL: attention heads, then a feed-forward of three fifths of the "
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


@figure("01_memory", alt=
        "Hidden states as squares: tokens from left to right in three segments, layers from bottom to top. Lines run from "
        "each layer's outputs in the last segment down to the states that entered the layer, some of them in the segment "
        "before: the memory. A dashed line between the segments says that no gradient passes.")
def memory_over_segments(data: dict) -> Figure:
    """Memory: each layer reads the states that entered it, of its own segment and of the one before; gradients stop between."""
    fig, ax = new_figure(height=4.4)
    layers, T = data["layers"], data["segment"]
    rows, gap, colors = 1.6, 1.6, {"memory": MEMORY, "segment": COLORS["context"], "persistent": COLORS["persistent"]}

    def place(segment, token):
        return segment * (T + gap) + token

    right = place(2, T - 1) + 1.4
    for layer in range(layers):
        low, high = layer * rows + 0.22, (layer + 1) * rows - 0.22
        for query in (0, T - 1):  # the first one reads all of the memory and itself; the last one, mostly its segment
            x = place(2, query)
            for back in range(T + 1):
                key = query - back
                ax.plot([x, place(2, key) if key >= 0 else place(1, T + key)], [high, low], zorder=1,
                        color=colors["segment" if key >= 0 else "memory"], linewidth=1.3)
            ax.plot([x, right - 0.2], [high, low + 0.55], color=colors["persistent"], linewidth=0.9, zorder=1)
        for n in range(5):
            ax.add_patch(Rectangle((right, low + 0.3 + n * 0.1), 0.9, 0.07, color=colors["persistent"], zorder=2))
        ax.text(right + 1.1, low + 0.5, f"layer {layer + 1}", va="center")
    for row in range(layers + 1):
        for segment in range(3):
            for token in range(T):
                color = (colors["segment"] if segment == 2 else MEMORY if segment == 1 and row < layers else "#E3E3E3")
                ax.add_patch(Rectangle((place(segment, token) - 0.24, row * rows - 0.22), 0.48, 0.44, facecolor=color,
                                       edgecolor="white", zorder=3))
        name = "embeddings" if row == 0 else f"after layer {row}"
        ax.text(-0.6, row * rows, name, ha="right", va="center")
    border, top = place(1, T - 1) + (1 + gap) / 2, layers * rows
    ax.plot([border, border], [-0.6, top + 0.35], color="black", linestyle="--", linewidth=1.5, zorder=4)
    ax.text(border, top + 0.5, "no gradient passes", ha="center", va="bottom")
    for segment, name in enumerate(("forgotten", "memory", "this segment")):
        ax.text(place(segment, (T - 1) / 2), -0.55, name, ha="center", va="top")
    ax.set(xlim=(-4.2, right + 3.2), ylim=(-1.1, top + 1.1), xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    names = {"memory": "reads memory", "segment": "reads its segment", "persistent": "reads persistent vectors"}
    fig.legend(handles=[Patch(color=colors[part], label=name) for part, name in names.items()], ncols=3,
               loc="outside lower center")
    return fig


@figure("01_window", alt=
        "Two grids of queries by positions. Each query sees a diagonal band of equal length that reaches back into "
        "memory; with an empty memory the band is cut off on the left. The persistent vectors, on one side, are seen by "
        "all queries.")
def visible_positions(data: dict) -> Figure:
    """Positions that each query sees with an empty and with a full memory, and the persistent vectors."""
    colors = {"memory": MEMORY, "segment": COLORS["context"], "persistent vectors": COLORS["persistent"],
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


@figure("01_sentence", alt=
        "Four maps of attention weights on one sentence, a row per query and a column per token, each with a bar per query "
        "for the share on persistent vectors. Where a map is bright differs by head; the bars differ from token to token.")
def attention_on_a_sentence(data: dict) -> Figure:
    """Four heads on one sentence: a row per query, a column per token that it looks at; bars: share on persistent vectors."""
    fig, axes = new_figure(columns=4, rows=2, height=8.6, width_ratios=(7, 1, 7, 1))
    pairs = axes.reshape(-1, 2)
    for (ax, share), head in zip(pairs, data["heads"], strict=True):
        image = attention_map(ax, share, {"tokens": data["tokens"]} | head)
    fig.colorbar(image, ax=axes, label="weight of one token", location="bottom", shrink=0.5, aspect=40,
                 ticks=[0, 0.05, 0.2, 0.5, 1])
    return fig


@figure("01_all_heads", alt=
        "Left: a line per head, its mean attention weight by distance. Right: a dot per "
        "head, layer by layer: its share on persistent vectors, and a dashed line for the one that equal weights would give.")
def attention_of_all_heads(data: dict) -> Figure:
    """Each head's mean weight by distance and its share on persistent vectors; dashed: equal weights for all."""
    fig, (distance, share) = new_figure(columns=2)
    layers = len(data["share"])
    for layer, heads in enumerate(data["distance"]):
        color = CYCLE[layer] if layers <= len(CYCLE) else colormaps[COLORMAP](0.9 * layer / (layers - 1))
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


@figure("01_shares", alt=
        "A vertical bar per head, layer by layer: the range of its share on persistent vectors over the tokens of a text. Most "
        "bars go from close to 0 to more than a half; a short line marks each head's mean.")
def shares_by_token(data: dict) -> Figure:
    """Share on persistent vectors from token to token: the middle 90% and the middle half of a text's tokens, and the mean."""
    fig, ax = new_figure(height=3.8)
    layers, heads = len(data["mean"]), len(data["mean"][0])
    for layer in range(layers):
        for head in range(heads):
            x = layer * (heads + 1.5) + head
            low, quarter, _, three_quarters, high = data["quantiles"][layer][head]
            mean, first = data["mean"][layer][head], layer == head == 0
            ax.plot([x, x], [low, high], color=COLORS["persistent"], linewidth=2, label="90% of the tokens" if first else None)
            ax.plot([x, x], [quarter, three_quarters], color=COLORS["persistent"], linewidth=7, solid_capstyle="butt",
                    label="half of the tokens" if first else None)
            ax.plot([x - 0.4, x + 0.4], [mean, mean], color="black", linewidth=2, label="mean" if first else None)
    ax.set_xticks([layer * (heads + 1.5) + (heads - 1) / 2 for layer in range(layers)],
                  [f"heads of layer {layer + 1}" for layer in range(layers)])
    ax.set(ylabel="share of the weight", ylim=(0, 1))
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)
    legend_below(fig, ax, columns=3)
    return fig
