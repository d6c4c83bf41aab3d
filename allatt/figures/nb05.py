"""Figures of notebook 05: pruning one model."""

import math

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.figures.panels import attention_map
from allatt.figures.style import COLORS, figure, look, new_figure

CLOSED_AND_OPEN = ListedColormap(["#D9D9D9", COLORS[ALL_ATTENTION]])
"""Gray for closed heads (0), blue for open heads (1)."""


REMOVED = {"facecolor": "white", "edgecolor": "#7F7F7F", "linestyle": ":", "linewidth": 0.9}
"""A removed head: nothing, with a dotted outline."""


@figure("05_removal", alt=
        "Above: a layer as a flow from left to right. Its eight heads are rows; each one's output passes a gate, open or "
        "closed, on the way to the output projection. Below: the layer's weights, to scale. A closed head takes its rows of "
        "the query, key, value and position projections, of both biases and of the persistent keys and values, and its columns "
        "of the output projection. The output bias and the LayerNorm stay.")
def removal(data: dict) -> Figure:
    """The gates in a layer, and what leaves with the closed heads: areas below are numbers of weights, to scale."""
    fig, (flow, weights) = new_figure(rows=2, height=7.6, height_ratios=(2.1, 4.2))
    _flow(flow, data["heads"], data["kept"])
    _weights(weights, data)
    names = {"projections": "projections and biases", "persistent": "persistent vectors"}
    fig.legend(handles=[*(Patch(color=COLORS[part], label=name) for part, name in names.items()),
                        Patch(color=COLORS["control"], label="LayerNorm and bias: belong to no head"),
                        Patch(label="closed, then removed", **REMOVED)],
               ncols=2, loc="outside lower center")
    for ax in (flow, weights):
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(False)
    return fig


def _flow(ax: Axes, heads: int, kept: list[int]) -> None:
    """The layer from left to right, a row per head: what enters, the heads, their gates, Wo, and the residual connection."""
    middle, line = -heads / 2, {"color": "black", "linewidth": 1, "zorder": 1}
    ax.plot([-3, 0, math.nan, -1.8, -1.8, 17.2, 17.2], [middle, middle, math.nan, middle, 1.2, 1.2, middle + 0.6], **line)
    ax.add_patch(Rectangle((-1.4, middle - 1.1), 1, 2.2, facecolor=COLORS["control"], zorder=2))
    ax.text(-0.9, middle, "LN", rotation=90, ha="center", va="center", fontsize=8, color="white")
    for head in range(heads):
        y, is_open = -head - 0.5, head in kept
        style = {"facecolor": COLORS["projections"], "edgecolor": "white"} if is_open else REMOVED
        ax.plot([0, 1, math.nan, 5, 8.6, math.nan, 9.4, 12], [middle, y, math.nan, y, y, math.nan, y, y], **line | (
            {} if is_open else {"color": "#BFBFBF"}))
        ax.add_patch(Rectangle((1, y - 0.42), 4, 0.84, **style))
        ax.add_patch(Circle((9, y), 0.4, facecolor=COLORS[ALL_ATTENTION] if is_open else "#D9D9D9", zorder=2))
        for x, text in ((9, "1" if is_open else "0"), (3, f"head {head + 1}")):
            ax.text(x, y - 0.04, text, ha="center", va="center", fontsize=8, color="white" if is_open else "black")
    ax.add_patch(Rectangle((12, -heads), 2, heads, facecolor=COLORS["projections"], edgecolor="none"))
    ax.text(13, middle, "$W_o$", ha="center", va="center", color="white")
    ax.plot([14, 16.6, math.nan, 17.8, 20], [middle] * 5, **line)
    ax.add_patch(Circle((17.2, middle), 0.6, facecolor="white", edgecolor="black", zorder=2))
    ax.plot(17.2, middle, "+", color="black", markersize=8, zorder=3)
    ax.annotate("", (15.3, middle), (15.3, -heads + 1), arrowprops={"arrowstyle": "-", "linewidth": 1})
    ax.text(15.3, -heads + 0.9, "$b_o$", ha="center", va="top")
    for x, y, text in ((-3.2, middle, "$x$"), (20.3, middle, "$y$")):
        ax.text(x, y, text, ha="center", va="center")
    ax.text(9, 0.15, "gates $g$", ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-4, 21), ylim=(-heads - 0.4, 1.5))
    ax.set_title("The gates of a layer")


def _weights(ax: Axes, data: dict) -> None:
    """The layer's weights; the unit of length is d_model."""
    heads, d, N = data["heads"], data["d_model"], data["persistent"] / data["d_model"]
    thin = 0.045  # vectors are drawn wider than they are

    def stack(x: float, y: float, width: float, name: str, part: str, upright: bool = False) -> None:
        for head in range(heads):
            style = {"facecolor": COLORS[part], "edgecolor": "white", "linewidth": 0.6} if head in data["kept"] else REMOVED
            corner = (x + head / heads, y) if upright else (x, y + 1 - (head + 1) / heads)
            ax.add_patch(Rectangle(corner, *((1 / heads, 1) if upright else (width, 1 / heads)), **style))
        ax.text(x + width / 2, y + 1.04, name, ha="center", va="bottom")

    for place, name in enumerate(("$W_q$", "$W_k$", "$W_v$", "$W_r$")):
        stack(1.15 * place, 2.9, 1, name, "projections")
    stack(4.63, 2.9, thin, "$u$", "projections")
    stack(4.84, 2.9, thin, "$w$", "projections")
    stack(5.1, 2.9, 1, "$W_o$", "projections", upright=True)
    for places, name in (((6.3,), "$b_o$"), ((6.62, 6.72), "LN")):  # the LayerNorm has a gain and a bias
        for x in places:
            ax.add_patch(Rectangle((x, 2.9), thin, 1, facecolor=COLORS["control"]))
        ax.text((places[0] + places[-1] + thin) / 2, 3.94, name, ha="center", va="bottom")
    stack(0, 1.45, N, "$M_k$", "persistent")
    stack(0, 0, N, "$M_v$", "persistent")
    gone = heads - len(data["kept"])
    head = 5 * d * data["d_head"] + 2 * data["persistent"] * data["d_head"] + 2 * data["d_head"]
    text = (f"Each head: a strip of every matrix,\n{head:,} weights.\n\n{gone} of {heads} are closed: "
            f"{gone * head:,}\nof {heads * head + 3 * d:,} weights leave.")
    ax.text(N + 0.15, 1.3, text, va="center", fontsize=9.5, linespacing=1.4)
    ax.text(-0.06, 3.4, "heads 1 to 8" if heads == 8 else f"{heads} heads", rotation=90, ha="right", va="center", fontsize=9)
    ax.set(xlim=(-0.3, 6.9), ylim=(-0.1, 4.3))
    ax.set_title("What leaves with a closed head")


@figure("05_gates_over_steps", alt=
        "Three panels by step. Heads: the expected number falls, and kept heads follow in steps. The weight of the "
        "penalty: it rises, then stays. Training loss of the run above that of its control.")
def gates_over_steps(data: dict) -> Figure:
    """A pruning run by step: expected and kept heads, lambda, and the training losses of run and control.

    With two phases, a line marks the end of the first; after it there are neither expected heads nor lambda.
    """
    fig, (heads, lam, loss) = new_figure(rows=3, height=8, sharex=True, height_ratios=(3, 1.4, 2))
    run, control = data["run"], data["control"]
    # A copy: the data goes into the sidecar, which holds no nan.
    run = run | {name: [math.nan if value is None else value for value in run[name]] for name in ("expected", "lambda")}
    heads.axhline(data["of"], color=COLORS["control"], linestyle="--", label="all heads")
    heads.plot(run["step"], run["expected"], **look(ALL_ATTENTION, marker="", label="heads above zero, expected (the penalty)"))
    heads.step(run["step"], run["kept"], where="post", color=COLORS[TRANSFORMER_XL], label="kept heads (a ≥ 0)")
    heads.set(ylabel="heads", ylim=(0, data["of"] * 1.06))
    heads.legend(loc="lower left")
    lam.plot(run["step"], run["lambda"], color=COLORS["paper"])
    lam.set(ylabel="λ", ylim=(0, None))
    loss.plot(control["step"], control["loss"], color=COLORS["control"], label="control: λ = 0, as many steps")
    loss.plot(run["step"], run["loss"], **look(ALL_ATTENTION, marker="", label=f"λ = {data['lam']:g}"))
    loss.set(xlabel="step", ylabel="training loss\n(nats per token)")
    loss.legend()
    if data["boundary"] is not None:
        for ax in (heads, lam, loss):
            ax.axvline(data["boundary"], color=COLORS["control"], linestyle=":")
        heads.annotate("gates", (data["boundary"], 1), xycoords=("data", "axes fraction"), xytext=(-6, 3),
                       textcoords="offset points", ha="right", va="bottom")
        heads.annotate("consolidation", (data["boundary"], 1), xycoords=("data", "axes fraction"), xytext=(6, 3),
                       textcoords="offset points", va="bottom")
    fig.align_ylabels()
    return fig


@figure("05_kept_heads", alt=
        "Left: a row per head, colored while it is open, by step. Right: the gates of all heads at the end, layer by "
        "layer.")
def closing_of_each_head(data: dict) -> Figure:
    """State of each head (open or closed) by step of a pruning run, and the gates of all heads at its end."""
    layers, count = len(data["logits"]), len(data["logits"][0])
    fig, (time, end) = new_figure(columns=2, height=2.4 + 0.5 * layers, width_ratios=(3, 2), sharey=True)
    states = [[int(step[layer][head]) for step in data["kept"]] for layer in range(layers) for head in range(count)]
    edges = [0.5 + i / count for i in range(layers * count + 1)]
    # What was logged after a step holds until the next line; the last one is drawn as wide as the one before it.
    steps = [*data["step"], 2 * data["step"][-1] - [0, *data["step"]][-2]]
    time.pcolormesh([0, *steps[1:]], edges, states, vmin=0, vmax=1, cmap=CLOSED_AND_OPEN)
    widths = [0.6 if i % count else 4 for i in range(1, layers * count)]
    time.hlines(edges[1:-1], 0, steps[-1], color="white", linewidth=widths)
    time.set(xlabel="step", ylabel="layer", yticks=range(1, layers + 1), ylim=(layers + 0.5, 0.5),
             title="Open (blue) or closed")
    time.xaxis.set_major_locator(MaxNLocator(integer=True))
    end.pcolormesh([head + 0.5 for head in range(count + 1)], [layer + 0.5 for layer in range(layers + 1)],
                   [[int(a >= 0) for a in logits] for logits in data["logits"]], vmin=0, vmax=1, cmap=CLOSED_AND_OPEN,
                   edgecolors="white", linewidth=2)
    for layer, logits in enumerate(data["logits"], start=1):
        for head, a in enumerate(logits, start=1):
            end.text(head, layer, f"{a:.2f}", ha="center", va="center", fontsize=7.5 if count > 4 else 10,
                     color="white" if a >= 0 else "black")
        end.text(count + 0.7, layer, f"{sum(a >= 0 for a in logits)}", va="center", fontweight="bold")
    end.set(xlabel="head; at the right, how many are kept", xticks=range(1, count + 1), title="Gates a at the end")
    for ax in (time, end):
        ax.grid(False)
    return fig


@figure("05_attention", alt=
        "Three maps of attention weights, a row per token of a sentence, with a bar per row for the share on persistent "
        "vectors: a kept head before and after pruning, which look alike, and a removed head before. After pruning, its place "
        "is empty.")
def attention_before_and_after(data: dict) -> Figure:
    """Attention of a kept and of a removed head on a sentence, before and after pruning. Each row shows where a token looks."""
    tokens = data["tokens"]
    fig, axes = new_figure(rows=2, columns=4, height=8.6, width_ratios=(6, 1, 6, 1))
    for row, head in enumerate(data["heads"]):
        for column, when in enumerate(("before", "after")):
            pair = axes[row][2 * column:2 * column + 2]
            name = f"Layer {head['layer']}, head {head['head']}{', kept' * (head['after'] is not None)}: {when}"
            if head[when] is None:
                pair[0].add_patch(Rectangle((-0.5, -0.5), len(tokens), len(tokens), **REMOVED))
                pair[0].text(len(tokens) / 2 - 0.5, len(tokens) / 2 - 0.5, "removed:\nno weights, no attention", ha="center",
                             va="center", color=COLORS["control"])
                pair[0].set(xlim=(-0.5, len(tokens) - 0.5), ylim=(len(tokens) - 0.5, -0.5), xticks=[], yticks=[])
                pair[0].set_title(name, fontsize=11)
                pair[1].axis("off")
                pair[0].grid(False)
                pair[0].spines[:].set_visible(False)
            else:
                shares = [1 - sum(row) for row in head[when]]
                image = attention_map(*pair, {"title": name, "tokens": tokens, "weights": head[when], "share": shares})
    fig.colorbar(image, ax=axes, label="weight of one token", location="bottom", shrink=0.5, aspect=40,
                 ticks=[0, 0.05, 0.2, 0.5, 1])
    return fig
