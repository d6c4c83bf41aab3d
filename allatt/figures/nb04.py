"""Figures of notebook 04: gates and the training methods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from allatt.figures.style import COLORMAP, COLORS, figure, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure("04_hard_concrete")
def gate_histograms(data: dict) -> Figure:
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
