"""A drawing function for each figure, from its sidecar's data alone; `make figures` draws them again without training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from allatt.figures import COLORMAP, COLORS, CYCLE, look, new_figure
from allatt.panels import (  # noqa: F401 (every drawing function, and DRAW, is to be had from this module)
    DRAW,
    figure,
    kept_heads_by_layer,
    loss_above_control,
    memory_left,
    paper_models,
    perplexity_against_size,
    survivors,
    time_left,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@figure("03_learning_curves")
def learning_curves(data: dict) -> Figure:
    """Training loss of both baselines against tokens, with their final validation loss, and the gap between the two."""
    drawn, (left, right) = new_figure(columns=2, width_ratios=(3, 2))
    last = max(curve["tokens"][-1] for curve in data["curves"].values())
    unit, word = (1e6, "millions") if last >= 1e6 else (1e3, "thousands")
    for kind, curve in data["curves"].items():
        x = [tokens / unit for tokens in curve["tokens"]]
        left.plot(x, curve["loss"], **look(kind, marker="", label=data["labels"][kind]))
        left.plot(x[-1:], [data["valid"][kind]], **look(kind, fillstyle="none", linestyle="", clip_on=False))
    left.plot([], [], **look("control", marker="o", linestyle="", fillstyle="none", label="validation, at the end"))
    left.set(ylabel="training loss (nats a token)", title="Both models")
    left.legend()
    right.axhline(0, color=COLORS["control"], linestyle="--")
    right.plot([tokens / unit for tokens in data["gap"]["tokens"]], data["gap"]["loss"], color=COLORS["paper"])
    right.set(ylabel="All-attention − Transformer-XL (nats a token)", title="Their difference")
    for ax in (left, right):
        ax.set(xlabel=f"tokens seen ({word})", xlim=(0, last / unit))
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
        path.plot(logits, color=colors(1 - math.log(w / worth[0]) / math.log(worth[-1] / worth[0])), linewidth=1.6)
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


@figure("05_gates_over_steps")
def gates_over_steps(data: dict) -> Figure:
    """A pruning run: heads expected and kept, lambda, and the loss beside the control's, against steps."""
    drawn, (heads, lam, loss) = new_figure(rows=3, height=8, sharex=True, height_ratios=(3, 1.4, 2))
    run, control = data["run"], data["control"]
    heads.axhline(data["of"], color=COLORS["control"], linestyle="--", label="all heads")
    heads.plot(run["step"], run["expected"], **look("all-attention", marker="", label="expected open heads (penalty)"))
    heads.step(run["step"], run["kept"], where="post", color=COLORS["transformer-xl"], label="kept heads (a ≥ 0)")
    heads.set(ylabel="heads", ylim=(0, data["of"] * 1.06))
    heads.legend(loc="lower left")
    lam.plot(run["step"], run["lambda"], color=COLORS["paper"])
    lam.set(ylabel="λ", ylim=(0, None))
    loss.plot(control["step"], control["loss"], color=COLORS["control"], label="control: λ = 0, as many steps")
    loss.plot(run["step"], run["loss"], **look("all-attention", marker="", label=f"λ = {data['lam']:g}"))
    loss.set(xlabel="step", ylabel="training loss\n(nats a token)")
    loss.legend()
    drawn.align_ylabels()
    return drawn


@figure("05_kept_heads")
def kept_heads(data: dict) -> Figure:
    """When each head closes, over the steps of a pruning run; and the gates at its end, head by head."""
    layers, count = len(data["logits"]), len(data["logits"][0])
    drawn, (time, end) = new_figure(columns=2, height=2.4 + 0.5 * layers, width_ratios=(3, 2), sharey=True)
    states = [[int(step[layer][head]) for step in data["kept"]] for layer in range(layers) for head in range(count)]
    rows = [0.5 + row / count for row in range(layers * count + 1)]
    time.pcolormesh([0, *data["step"]], rows, states, vmin=0, vmax=1, cmap=_two_colors())
    widths = [0.6 if row % count else 4 for row in range(1, layers * count)]
    time.hlines(rows[1:-1], 0, data["step"][-1], color="white", linewidth=widths)
    time.set(xlabel="step", ylabel="layer", yticks=range(1, layers + 1), ylim=(layers + 0.5, 0.5),
             title="Open (blue) or closed")
    end.pcolormesh([head + 0.5 for head in range(count + 1)], [layer + 0.5 for layer in range(layers + 1)],
                   [[int(a >= 0) for a in row] for row in data["logits"]], vmin=0, vmax=1, cmap=_two_colors(),
                   edgecolors="white", linewidth=2)
    for layer, row in enumerate(data["logits"], start=1):
        for head, a in enumerate(row, start=1):
            end.text(head, layer, f"{a:+.1f}", ha="center", va="center", fontsize=8 if count > 4 else 10,
                     color="white" if a >= 0 else "black")
        end.text(count + 0.7, layer, f"{sum(a >= 0 for a in row)}", va="center", fontweight="bold")
    end.set(xlabel="head; at the right, how many are kept", xticks=range(1, count + 1), title="Gates a at the end")
    for ax in (time, end):
        ax.grid(False)
    return drawn


def _two_colors():
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#D9D9D9", COLORS["all-attention"]])


VARIANTS = (("o", 13), ("v", 9), ("^", 9), ("P", 9), ("*", 12))
"""Marker and size of each variant of notebook 06; colors as in CYCLE."""


@figure("06_three_methods")
def three_methods(data: dict) -> Figure:
    """Variants of the training at one lambda, over the curve that all three methods give at several lambdas."""
    drawn, ax = new_figure()
    ordered = sorted(data["sweep"], key=lambda p: p["heads"])
    ax.plot([p["heads"] for p in ordered], [p["test_perplexity"] for p in ordered],
            **look("all-attention", markersize=5, label="all three, other lambdas"))
    for place, (name, p) in enumerate(data["variants"].items()):
        marker, size = VARIANTS[place]
        ax.plot(p["heads"], p["test_perplexity"], color=CYCLE[place], marker=marker, markersize=size, linestyle="",
                fillstyle="none" if place == 0 else "full", label=f"{name}, λ = {p['lambda']:g}")
    ax.set(xlabel=f"kept heads, of {ordered[-1]['of']}", ylabel="test perplexity (tokens)", yscale="log")
    ax.yaxis.set_minor_formatter("{x:.0f}")
    ax.yaxis.set_major_formatter("{x:.0f}")
    ax.legend()
    return drawn


@figure("06_stability")
def stability(data: dict) -> Figure:
    """Kept heads over the steps of each variant, and how far its training loss is above the control's."""
    drawn, (heads, loss) = new_figure(columns=2, height=5)
    for place, (name, run) in enumerate(data["variants"].items()):
        style = {"color": CYCLE[place], "linewidth": 3 if place == 0 else 1.8}
        heads.step(run["step"], run["kept"], where="post", label=name, **style)
        loss.plot(run["step"], run["above"], **style)
    heads.set(xlabel="step", ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(xlabel="step", ylabel="nats a token", title="Training loss above the control's")
    drawn.legend(*heads.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
