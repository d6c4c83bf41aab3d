"""Figures of notebook 04: how a choice of yes or no is trained."""

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORMAP, COLORS, figure, new_figure


@figure("04_hard_concrete", alt=
        "Three histograms of the gate, at logits -2, 0 and 2. Each has spikes at exactly 0 and exactly 1, and a thin "
        "distribution between; the higher the logit, the larger the spike at 1.")
def gate_histograms(data: dict) -> Figure:
    """Distribution of the hard concrete gate at several logits: histogram between 0 and 1, and spikes at both."""
    fig, (axes,) = new_figure(columns=len(data["logits"]), height=3.6, sharey=True, squeeze=False)
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


@figure("04_watching_gates_close", alt=
        "Left: logits by step, a line per feature; those of little worth fall below 0 at once. Right: a grid of "
        "features by lambda, open and closed, whose border is a straight line.")
def closing_gates(data: dict) -> Figure:
    """Gates on the features of a linear regression: logits by step at one lambda; open and closed gates for each lambda."""
    fig, (path, end) = new_figure(columns=2)
    worth, example = data["worth"], data["example"]
    key = ScalarMappable(LogNorm(min(worth), max(worth)), COLORMAP)
    for theta2, logits in zip(worth, zip(*example["logits"], strict=True), strict=True):
        path.plot(example["steps"], logits, color=key.to_rgba(theta2), linewidth=1.6)
    fig.colorbar(key, ax=path, location="bottom", aspect=40, label="worth of the feature, θ²")
    path.axhline(0, color=COLORS["paper"], linestyle="--", linewidth=1)
    path.set(xlabel="step", ylabel="logit a (open above 0)", title=f"λ = {example['lambda']:.2g}")
    points = [(lam, theta2, state) for lam, states in zip(data["lambdas"], data["kept"], strict=True)
              for theta2, state in zip(worth, states, strict=True)]
    for state, label in ((1, "open at the end"), (0, "closed")):
        x, y = ([point[axis] for point in points if point[2] == state] for axis in (0, 1))
        end.plot(x, y, "o", color=COLORS[ALL_ATTENTION if state else "control"], markersize=5, markeredgewidth=1,
                 fillstyle="full" if state else "none", label=label)
    ends = data["lambdas"][0], data["lambdas"][-1]
    end.plot(ends, [data["border"] * lam for lam in ends], "k--", linewidth=1.5, label=f"θ² = {data['border']:.2f} λ")
    end.set(xlabel="λ", ylabel="worth of the feature, θ²", xscale="log", yscale="log", title="For each λ")
    legend_below(fig, end, columns=3)
    return fig


@figure("04_sigmoid", alt=
        "Two panels of gate values by the worth of a feature. Hard concrete gates lie at exactly 0 or 1. Sigmoid gates all lie "
        "above 0; if the weights are learned as well, all of them are small.")
def sigmoid_beside_hard_concrete(data: dict) -> Figure:
    """Gates at the end of training, from the worthiest feature to the least: sigmoid gates never reach 0, hard concrete do."""
    fig, axes = new_figure(columns=2, height=3.8, sharey=True)
    for ax, panel in zip(axes, data["panels"], strict=True):
        places = range(1, 1 + len(panel["sigmoid"]))
        ax.axhline(0.5, color=COLORS["control"], linestyle="--", linewidth=1, label="cut at ½")
        ax.plot(places, panel["hard concrete"], color=COLORS[ALL_ATTENTION], marker="o", linestyle="", label="hard concrete")
        ax.plot(places, panel["sigmoid"], color=COLORS["feed-forward"], marker="s", markersize=9, fillstyle="none",
                linestyle="", label="sigmoid")
        ax.set(title=panel["title"], xlabel="feature, by worth", xticks=(1, 5, 10, 15), ylim=(-0.0003, 2))
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.set_yticks((0, 1e-3, 1e-2, 0.1, 1), ("0", "0.001", "0.01", "0.1", "1"))
    axes[0].set_ylabel("gate at the end, log scale above 0.001")
    legend_below(fig, axes[0], columns=3)
    return fig


@figure("04_rounding", alt=
        "Left: the difference between the errors with soft and with rounded gates, by step, for two kinds of "
        "training. Right: the soft values of the 32 gates of a trained model; many lie strictly between 0 and 1.")
def soft_and_rounded(data: dict) -> Figure:
    """What rounding changes at evaluation: in the regression, by step; and soft gates of a language model after training."""
    fig, (error, gates) = new_figure(columns=2, height=3.9)
    for (label, gaps), color in zip(data["gaps"].items(), (ALL_ATTENTION, "feed-forward"), strict=True):
        error.plot(data["steps"], gaps, color=COLORS[color], label=f"trained {label}")
    error.set(xlabel="step", ylabel="|error soft - error rounded|", ylim=(0, None), title="Regression, mean over λ")
    soft = sorted(data["soft"], reverse=True)
    for label, color, marker, kept in (("kept", ALL_ATTENTION, "o", True), ("closed", "control", "s", False)):
        some = [(place, value) for place, value in enumerate(soft, start=1) if (value >= 0.5) == kept]
        gates.plot(*zip(*some, strict=True), color=COLORS[color], marker=marker, markersize=5, linestyle="", label=label)
    gates.axhline(0.5, color=COLORS["paper"], linestyle="--", linewidth=1)
    gates.set(xlabel=f"head, of {len(soft)}, sorted", ylabel="soft gate at evaluation", ylim=(-0.05, 1.05), title=data["title"])
    gates.legend()
    legend_below(fig, error, columns=2)
    return fig
