"""Drawing functions of the notebooks that explain: text (00), the layer (01), its cost (02), gates (04).

Each makes a figure from its sidecar's data alone; `allatt.figures.plots_results` has the others, `allatt.figures.plots` all.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from allatt.figures import COLORMAP, COLORS, figure, look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure("00_zipf")
def zipf(data: dict) -> Figure:
    """How often each word is seen, by its rank, and the bands of the adaptive softmax with their share of the text."""
    drawn, ax = new_figure()
    ax.loglog(data["ranks"], data["counts"], color=COLORS["all-attention"], label="words of the training text")
    ranks = data["ranks"][0], data["ranks"][-1]
    ax.plot(ranks, [data["counts"][0] / rank for rank in ranks], color=COLORS["control"], linestyle="--",
            label="1 / rank")
    ax.set(xlabel="rank of the word", ylabel="times seen", xlim=ranks, ylim=(0.7, None))
    for band, (a, b) in enumerate(pairwise(data["edges"])):
        ax.axvspan(max(a, 1), b, color=COLORS["persistent"], alpha=0.08 + 0.12 * band, linewidth=0)
    shares = [f"{100 * share:.1f}%" for share in data["coverage"]]
    ax.legend(title=f"share of the text in each band: {', '.join(shares)}", loc="lower left", alignment="left")
    return drawn


@figure("00_tokens")
def tokens_a_word(data: dict) -> Figure:
    """Tokens a word for each kind of token; what is unknown of a new text, by the size of a vocabulary of words."""
    drawn, (length, unknown) = new_figure(columns=2, height=3.8)
    bars = length.bar(list(data["kinds"]), list(data["kinds"].values()), color=COLORS["all-attention"], width=0.6)
    length.bar_label(bars, fmt="{:.2f}", padding=3)
    length.set(ylabel="tokens a word", title="How long a text is")
    length.grid(axis="x", visible=False)
    length.margins(y=0.12)
    percent = [100 * share for share in data["unknown"]]
    unknown.semilogx(data["sizes"], percent, color=COLORS["all-attention"], marker="o")
    for place in (0, 2, len(data["cuts"]) - 1):
        unknown.annotate(f"cut {data['cuts'][place]}", (data["sizes"][place], percent[place]), (4, 7),
                         textcoords="offset points")
    unknown.set(xlabel="words in the vocabulary", ylabel="unknown (%)", title="Validation text as words",
                ylim=(0, None))
    unknown.margins(x=0.12)
    return drawn


@figure("01_window")
def window(data: dict) -> Figure:
    """Which positions each query sees: with an empty memory and with a full one, and the persistent vectors."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colors = {"memory": "#8FD3BC", "segment": COLORS["context"], "persistent vectors": COLORS["persistent"],
              "hidden": "#EDEDED"}
    drawn, axes = new_figure(columns=len(data["panels"]), height=3.1, sharey=True)
    memory, persistent = data["memory"], data["persistent"]
    for ax, panel in zip(axes, data["panels"], strict=True):
        seen = panel["visible"]
        cells = [[(j >= memory) if visible else 3 for j, visible in enumerate(row)] for row in seen]
        ax.pcolormesh(cells, cmap=ListedColormap(list(colors.values())), vmin=0, vmax=3, edgecolors="white")
        left = len(seen[0]) + 1
        ax.pcolormesh([left + n for n in range(persistent + 1)], range(len(seen) + 1), [[2] * persistent] * len(seen),
                      cmap=ListedColormap(list(colors.values())), vmin=0, vmax=3, edgecolors="white")
        places = [memory / 2, (memory + len(seen[0])) / 2, left + persistent / 2]
        ax.set_xticks(places, ["memory", "segment", "persistent"])
        ax.set(title=panel["title"], yticks=[], ylim=(len(seen), 0), aspect="equal")
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("queries, downwards")
    drawn.legend(handles=[Patch(color=color, label=label) for label, color in colors.items()], ncols=4,
                 loc="outside lower center")
    return drawn


@figure("01_all_heads")
def where_heads_look(data: dict) -> Figure:
    """Mean weight of each head by distance, and its share for persistent vectors; dashed: all looked at alike."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    drawn, (distance, share) = new_figure(columns=2)
    layers = len(data["share"])
    for layer, heads in enumerate(data["distance"]):
        color = colormaps[COLORMAP](0.9 * layer / max(1, layers - 1))
        for head, mean in enumerate(heads):
            distance.plot(mean, color=color, linewidth=1.2, label=f"layer {layer + 1}" if head == 0 else None)
        places = [layer + 1 + 0.5 * (head + 0.5) / len(heads) - 0.25 for head in range(len(heads))]
        share.plot(places, data["share"][layer], "o", color=color, markersize=5)
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
    return drawn


@figure("01_one_head")
def one_head(data: dict) -> Figure:
    """The weights of one head, query by query: context by distance, strongest persistent vectors, and their share."""
    from matplotlib.ticker import MaxNLocator

    drawn, (context, persistent, total) = new_figure(columns=3, height=6, sharey=True, width_ratios=(10, 5, 3))
    most = max(max(map(max, data[part])) for part in ("context", "persistent"))
    for ax, part in ((context, "context"), (persistent, "persistent")):
        drawn_weights = ax.imshow([[math.sqrt(weight) for weight in row] for row in data[part]], vmin=0,
                                  vmax=math.sqrt(most), aspect="auto", interpolation="nearest")
        ax.grid(False)
    context.set(xlabel="distance (tokens back)", title=f"Layer {data['layer']}, head {data['head']}: context")
    context.set_yticks(range(len(data["tokens"])), data["tokens"], fontsize=9, parse_math=False)
    context.xaxis.set_major_locator(MaxNLocator(integer=True))
    persistent.set(xlabel="strongest vectors", title="Persistent", xticks=[])
    total.barh(range(len(data["share"])), data["share"], color=COLORS["persistent"])
    total.set(xlabel="all of them", xlim=(0, 1), title="Share")
    bar = drawn.colorbar(drawn_weights, ax=[context, persistent, total], label="weight of one position or vector",
                         location="bottom", shrink=0.5)
    marks = [most * share for share in (0, 0.05, 0.2, 0.5, 1)]
    bar.set_ticks([math.sqrt(mark) for mark in marks], labels=[f"{mark:.2g}" for mark in marks])
    return drawn


@figure("02_parts")
def parts_of_a_body(data: dict) -> Figure:
    """What the body of each model is made of, for one or two sizes: what pruning can remove, and what it cannot."""
    from matplotlib.ticker import EngFormatter

    drawn, axes = new_figure(columns=2, rows=len(data["sizes"]), height=0.9 + 2.1 * len(data["sizes"]), squeeze=False)
    groups = {"projections": ("projections",), "context": ("context",), "persistent": ("persistent",),
              "feed-forward": ("feed_forward",), "control": ("biases", "norms")}
    labels = ("projections", "context window", "persistent vectors", "feed-forward", "biases, norms")
    for row, size in zip(axes, data["sizes"], strict=True):
        for ax, what in zip(row, ("parameters", "multiply_adds"), strict=True):
            for y, kind in enumerate(size["models"]):
                left = 0
                for (color, parts), label in zip(groups.items(), labels, strict=True):
                    width = sum(size["models"][kind][what].get(part, 0) for part in parts)
                    ax.barh(y, width, left=left, color=COLORS[color], height=0.6, label=label if y == 0 else None)
                    left += width
            ax.set_yticks(range(2), ["All-attention", "Transformer-XL"] if what == "parameters" else ["", ""])
            ax.set(ylim=(1.5, -0.5), xlim=(0, 1.06 * left),
                   title=f"{size['name']} size" if what == "parameters" else "",
                   xlabel="parameters of the body" if what == "parameters" else "multiply-adds a token")
            ax.grid(axis="y", visible=False)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1.2)
    return drawn


@figure("02_cost_of_a_head")
def remaining_cost(data: dict) -> Figure:
    """The paper's Figure 1: parameters and computation that remain as heads are removed, for one or two sizes."""
    drawn, axes = new_figure(columns=2, rows=len(data["sizes"]), height=1.2 + 3 * len(data["sizes"]), squeeze=False,
                             sharex=True, sharey=True)
    for row, size in zip(axes, data["sizes"], strict=True):
        for ax, what in zip(row, ("parameters", "multiply_adds"), strict=True):
            for kind, curve in size["curves"].items():
                x, y = ([100 * value for value in curve[key]] for key in ("pruned", what))
                label = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}[kind]
                ax.plot(x, y, **look(kind, marker="", linestyle="--", label=label))
                if y[-1] > 10:
                    ax.text(101, y[-1], f"{y[-1]:.1f}%", va="center", color=COLORS[kind])
            if size["name"] == "paper" and what == "parameters":
                ax.plot([100 * p["pruned"] for p in data["paper"]], [100 * p["parameters"] for p in data["paper"]],
                        **look("paper", linestyle="", clip_on=False, label="the paper's models"))
            ax.set(title=f"{size['name']} size: {what.replace('_a', '-a')}", ylim=(0, 104), xlim=(0, 100))
        row[0].set_ylabel("left of the body (%)")
    for ax in axes[-1]:
        ax.set_xlabel("heads removed (%)")
    axes[0][0].legend(loc="lower left")
    return drawn


@figure("04_hard_concrete")
def hard_concrete(data: dict) -> Figure:
    """Histograms of the stretched and clamped gate at several logits: two spikes, and what lies between."""
    drawn, axes = new_figure(columns=len(data["logits"]), height=3.6, sharey=True)
    for place, (ax, logit) in enumerate(zip(axes, data["logits"], strict=True)):
        inside, zero, one = (data[key][place] for key in ("inside", "zero", "one"))
        width = 1 / len(inside)
        ax.bar([width * (i + 0.5) for i in range(len(inside))], inside, width, color=COLORS["context"], label="between")
        ax.bar(-0.06, zero, 0.1, color=COLORS["control"], label="exactly 0")
        ax.bar(1.06, one, 0.1, color=COLORS["all-attention"], label="exactly 1")
        ax.hlines([data["expected_zero"][place], data["expected_one"][place]], [-0.15, 0.97], [0.03, 1.15],
                  color=COLORS["paper"], linestyle="--", linewidth=1.5, label="closed form")
        ax.set(title=f"a = {logit:g}", xlabel="gate c", xticks=(0, 0.5, 1))
    axes[0].set_ylabel("share of samples")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


@figure("04_forces")
def forces_on_a_gate(data: dict) -> Figure:
    """Chance to be open and what the penalty counts; the penalty's pull and the slope of the gate, all by logit."""
    drawn, (chance, force) = new_figure(columns=2, height=3.8)
    chance.plot(data["logit"], data["open"], color=COLORS["all-attention"], label="open: P(c ≥ ½) = σ(a)")
    chance.plot(data["logit"], data["counted"], color=COLORS["feed-forward"], label="counted: P(c > 0)")
    chance.set(xlabel="logit a", ylabel="probability", ylim=(0, 1.22), yticks=(0, 0.25, 0.5, 0.75, 1))
    force.plot(data["logit"], data["pull"], color=COLORS["feed-forward"], label="pull of the penalty, ∂L₀/∂a")
    force.plot(data["logit"], data["slope"], color=COLORS["context"], label="mean slope of the gate, ∂c/∂a")
    force.set(xlabel="logit a", ylabel="derivative", ylim=(0, 0.33))
    for ax in (chance, force):
        ax.axvline(0, ymax=0.8, color=COLORS["control"], linestyle="--", linewidth=1)
        ax.legend(loc="upper left")
    return drawn


@figure("04_gentle_start")
def gentle_start(data: dict) -> Figure:
    """lambda over the steps with and without warm-up, and how many heads of a layer are open in the first step."""
    drawn, (rise, count) = new_figure(columns=2, height=3.8)
    for (label, values), style in zip(data["lambda"].items(), ("-", "--"), strict=True):
        color = COLORS["all-attention" if style == "-" else "control"]
        rise.plot(data["steps"], values, color=color, linestyle=style, label=label)
    rise.set(xlabel="step", ylabel="weight of the penalty, λ(t)", title="Penalty warm-up", ylim=(0, None))
    rise.legend(loc="lower right")
    for place, start in enumerate(data["starts"]):
        heads = [k + (place - 0.5) * 0.4 for k in range(len(start["found"]))]
        count.bar(heads, start["found"], 0.4, color=COLORS[("all-attention", "feed-forward")[place]],
                  label=f"from a = {start['initial']:g}")
        count.plot(heads, start["expected"], "k_", label="binomial" if place == 1 else None)
    count.set(xlabel="open heads of a layer", ylabel="share of samples", xticks=range(len(start["found"])),
              title="The first step")
    count.legend(loc="upper left")
    return drawn


@figure("04_output_scaling")
def output_scaling(data: dict) -> Figure:
    """Size of a layer's output with so many open heads, with and without scaling: mean and range over the layers."""
    drawn, ax = new_figure(height=4)
    heads = range(1, data["heads"] + 1)
    for (label, layers), color in zip(data["layers"].items(), ("feed-forward", "all-attention"), strict=True):
        by_heads = list(zip(*layers, strict=True))
        ax.fill_between(heads, [min(v) for v in by_heads], [max(v) for v in by_heads], color=COLORS[color], alpha=0.25)
        ax.plot(heads, [sum(v) / len(v) for v in by_heads], color=COLORS[color], marker="o", label=label)
    ax.axhline(1, color=COLORS["control"], linestyle="--", label="size with all heads")
    ax.set(xlabel=f"open heads of a layer, of {data['heads']}", ylabel="norm of the output, relative", xticks=heads,
           ylim=(0, None))
    ax.legend()
    return drawn


@figure("04_watching_gates_close")
def closing_gates(data: dict) -> Figure:
    """Gates on the features of a linear regression: their logits at one lambda, and which are open for each lambda."""
    from matplotlib import colormaps

    drawn, (path, end) = new_figure(columns=2)
    worth, example, colors = data["worth"], data["example"], colormaps[COLORMAP]
    for w, logits in zip(worth, zip(*example["logits"], strict=True), strict=True):
        color = colors(1 - math.log(w / worth[0]) / math.log(worth[-1] / worth[0]))
        path.plot(example["steps"], logits, color=color, linewidth=1.6)
    path.axhline(0, color=COLORS["paper"], linestyle="--", linewidth=1)
    path.set(xlabel="step", ylabel="logit a (open above 0)", title=f"λ = {example['lambda']:.2g}")
    points = [(lam, w, state) for lam, row in zip(data["lambdas"], data["kept"], strict=True)
              for w, state in zip(worth, row, strict=True)]
    for state, label in ((1, "open at the end"), (0, "closed")):
        x, y = zip(*[(lam, w) for lam, w, s in points if s == state], strict=True)
        end.plot(x, y, "o", color=COLORS["all-attention" if state else "control"], markersize=5, markeredgewidth=1,
                 fillstyle="full" if state else "none", label=label)
    ends = data["lambdas"][0], data["lambdas"][-1]
    end.plot(ends, [data["border"] * lam for lam in ends], "k--", linewidth=1.5, label=f"w² = {data['border']:.2f} λ")
    end.set(xlabel="λ", ylabel="worth of the feature, w²", xscale="log", yscale="log", title="For each λ")
    drawn.legend(*end.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
