"""Figures of notebook 04: gates and the training methods."""

import math

from matplotlib import colormaps
from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORMAP, COLORS, figure, new_figure


@figure("04_hard_concrete", alt=
        "Three histograms of the gate, at logits -2, 0 and 2. Each has spikes at exactly 0 and exactly 1, and a thin "
        "distribution between; the higher the logit, the larger the spike at 1.")
def gate_histograms(data: dict) -> Figure:
    """Distribution of the hard concrete gate at several logits: histogram between 0 and 1, and spikes at both."""
    fig, axes = new_figure(columns=len(data["logits"]), height=3.6, sharey=True)
    for i, (ax, logit) in enumerate(zip(axes, data["logits"], strict=True)):
        inside, zero, one = (data[key][i] for key in ("inside", "zero", "one"))
        width = 1 / len(inside)
        ax.bar([width * (k + 0.5) for k in range(len(inside))], inside, width, color=COLORS["context"],
               label="between")
        ax.bar(-0.06, zero, 0.1, color=COLORS["control"], label="exactly 0")
        ax.bar(1.06, one, 0.1, color=COLORS[ALL_ATTENTION], label="exactly 1")
        ax.hlines([data["expected_zero"][i], data["expected_one"][i]], [-0.15, 0.97], [0.03, 1.15],
                  color=COLORS["paper"], linestyle="--", linewidth=1.5, label="closed form")
        ax.set(title=f"a = {logit:g}", xlabel="gate c", xticks=(0, 0.5, 1))
    axes[0].set_ylabel("share of samples")
    legend_below(fig, axes[0], columns=4)
    return fig


@figure("04_forces", alt=
        "Left: two rising curves by logit, the probability of an open gate and the probability that the penalty counts, "
        "which is higher. Right: two bell-shaped derivatives, of the penalty and of the gate, both largest near 0.")
def forces_on_a_gate(data: dict) -> Figure:
    """By logit: probability of an open gate, probability counted by the penalty, and the derivatives of penalty and gate."""
    fig, (probability, derivative) = new_figure(columns=2, height=3.8)
    probability.plot(data["logit"], data["open"], color=COLORS[ALL_ATTENTION], label="open: P(c ≥ ½) = σ(a)")
    probability.plot(data["logit"], data["counted"], color=COLORS["feed-forward"], label="counted: P(c > 0)")
    probability.set(xlabel="logit a", ylabel="probability", ylim=(0, 1.22), yticks=(0, 0.25, 0.5, 0.75, 1))
    derivative.plot(data["logit"], data["pull"], color=COLORS["feed-forward"], label="pull of the penalty, ∂L₀/∂a")
    derivative.plot(data["logit"], data["slope"], color=COLORS["context"], label="mean slope of the gate, ∂c/∂a")
    derivative.set(xlabel="logit a", ylabel="derivative", ylim=(0, 0.33))
    for ax in (probability, derivative):
        ax.axvline(0, ymax=0.8, color=COLORS["control"], linestyle="--", linewidth=1)
        ax.legend(loc="upper left")
    return fig


@figure("04_gentle_start", alt=
        "Left: the weight of the penalty rises in a straight line and then stays; without warm-up it is constant. "
        "Right: bars of the number of open heads in the first step: nearly all from a logit of 2, about half from 0.")
def warm_up_and_open_heads(data: dict) -> Figure:
    """The weight λ of the penalty by step, with and without warm-up; open heads of a layer in the first step."""
    fig, (penalty, start) = new_figure(columns=2, height=3.8)
    for (label, values), style in zip(data["lambda"].items(), ("-", "--"), strict=True):
        color = COLORS[ALL_ATTENTION if style == "-" else "control"]
        penalty.plot(data["steps"], values, color=color, linestyle=style, label=label)
    penalty.set(xlabel="step", ylabel="weight of the penalty, λ(t)", title="Penalty warm-up", ylim=(0, None))
    penalty.legend(loc="lower right")
    for i, gates in enumerate(data["starts"]):
        heads = [k + (i - 0.5) * 0.4 for k in range(len(gates["found"]))]
        start.bar(heads, gates["found"], 0.4, color=COLORS[(ALL_ATTENTION, "feed-forward")[i]],
                  label=f"from a = {gates['initial']:g}")
        start.plot(heads, gates["expected"], "k_", label="binomial" if i == 1 else None)
    start.set(xlabel="open heads of a layer", ylabel="share of samples", xticks=range(len(gates["found"])),
              title="The first step")
    start.legend(loc="upper left")
    return fig


@figure("04_output_scaling", alt=
        "Norm of a layer's output by the number of open heads, relative to all heads. Without output scaling it falls "
        "as heads close; with it, it stays near 1 or rises above.")
def output_norm_by_open_heads(data: dict) -> Figure:
    """Norm of a layer's output by open heads, with and without output scaling: mean and range over the layers."""
    fig, ax = new_figure(height=4)
    heads = range(1, data["heads"] + 1)
    for (label, layers), color in zip(data["layers"].items(), ("feed-forward", ALL_ATTENTION), strict=True):
        by_heads = list(zip(*layers, strict=True))
        ax.fill_between(heads, [min(norms) for norms in by_heads], [max(norms) for norms in by_heads], color=COLORS[color],
                        alpha=0.25)
        ax.plot(heads, [sum(norms) / len(norms) for norms in by_heads], color=COLORS[color], marker="o", label=label)
    ax.axhline(1, color=COLORS["control"], linestyle="--", label="size with all heads")
    ax.set(xlabel=f"open heads of a layer, of {data['heads']}", ylabel="norm of the output, relative", xticks=heads,
           ylim=(0, None))
    ax.legend()
    return fig


@figure("04_watching_gates_close", alt=
        "Left: logits by step, a line per feature; those of little worth fall below 0 at once. Right: a grid of "
        "features by lambda, open and closed, whose border is a straight line.")
def closing_gates(data: dict) -> Figure:
    """Gates on the features of a linear regression: logits by step at one lambda; open and closed gates for each lambda."""
    fig, (path, end) = new_figure(columns=2)
    worth, example, colors = data["worth"], data["example"], colormaps[COLORMAP]
    for w, logits in zip(worth, zip(*example["logits"], strict=True), strict=True):
        color = colors(1 - math.log(w / worth[0]) / math.log(worth[-1] / worth[0]))
        path.plot(example["steps"], logits, color=color, linewidth=1.6)
    path.axhline(0, color=COLORS["paper"], linestyle="--", linewidth=1)
    path.set(xlabel="step", ylabel="logit a (open above 0)", title=f"λ = {example['lambda']:.2g}")
    points = [(lam, w, state) for lam, states in zip(data["lambdas"], data["kept"], strict=True)
              for w, state in zip(worth, states, strict=True)]
    for state, label in ((1, "open at the end"), (0, "closed")):
        x, y = zip(*[(lam, w) for lam, w, s in points if s == state], strict=True)
        end.plot(x, y, "o", color=COLORS[ALL_ATTENTION if state else "control"], markersize=5, markeredgewidth=1,
                 fillstyle="full" if state else "none", label=label)
    ends = data["lambdas"][0], data["lambdas"][-1]
    end.plot(ends, [data["border"] * lam for lam in ends], "k--", linewidth=1.5, label=f"w² = {data['border']:.2f} λ")
    end.set(xlabel="λ", ylabel="worth of the feature, w²", xscale="log", yscale="log", title="For each λ")
    legend_below(fig, end, columns=3)
    return fig
