"""Figures of notebook 06: the three training methods."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below, strip
from allatt.figures.style import COLORS, CYCLE, figure, new_figure


@figure("06_gentle_start", alt=
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


@figure("06_output_scaling", alt=
        "Norm of a layer's output by the number of open heads, relative to all heads. Without output scaling it falls "
        "as heads close; with it, it rises above 1.")
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


@figure("06_who_needs_warm_up", alt=
        "Left: kept features by lambda for four trainings. From weights of zero without warm-up, far fewer features are kept "
        "than with it, or than from learned weights. Right: training loss by step of the same heads, from trained weights and "
        "from random ones, which stays higher.")
def starts(data: dict) -> Figure:
    """What a converged start and a warm-up protect: features of a regression by λ, and 22 heads trained from two starts."""
    fig, (kept, loss) = new_figure(columns=2, height=4.6)
    styles = ({"linestyle": ":", "marker": "o"}, {"linestyle": "-", "marker": "o"})
    for (start, trainings), color in zip(data["kept"].items(), ("feed-forward", ALL_ATTENTION), strict=True):
        for (warmup, counts), style in zip(trainings.items(), styles, strict=True):
            kept.plot(data["lambdas"], counts, color=COLORS[color], markersize=4, label=f"{start}, {warmup}", **style)
    kept.plot(data["lambdas"], data["worth_it"], color=COLORS["control"], linestyle="--", label="worth more than λ")
    kept.set(xscale="log", xlabel="λ", ylabel="kept features, of 15", ylim=(-0.4, 15.4), title="Regression")
    legend_below(fig, kept, columns=3)
    for (label, run), color in zip(data["losses"].items(), (ALL_ATTENTION, "feed-forward"), strict=True):
        loss.plot(run["step"], run["loss"], color=COLORS[color], label=label)
    loss.set(xlabel="step", ylabel="training loss, nats per token", title="22 heads, overnight scale")
    loss.legend(fontsize=9)
    return fig


@figure("06_three_methods", alt=
        "A row per variant of the training: on the left the number of heads that it keeps, on the right its loss above "
        "the curve at the same number of heads.")
def heads_and_loss_by_variant(data: dict) -> Figure:
    """For each variant of the training at one lambda: heads kept, and loss above the curve at the same number of heads."""
    fig, (heads, loss) = new_figure(columns=2, height=4.6, sharey=True)
    strip(heads, data["heads"], COLORS["control"], zero=False)
    heads.set(xlabel=f"kept heads, of {data['of']}", xlim=(-0.03 * data["of"], 1.03 * data["of"]),
              title=f"Heads kept at λ = {data['lam']:g}")
    heads.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    outside = {name: len(group["values"]) - len(data["off"][name]["values"]) for name, group in data["heads"].items()}
    # The mean of only those seeds that the curve happens to reach would not be the mean of the variant.
    strip(loss, {name: {**group, "interval": None} if outside[name] else group for name, group in data["off"].items()},
          COLORS[ALL_ATTENTION])
    low, high = loss.get_xlim()
    loss.set(xlabel="nats per token above the curve", title="Loss at equal heads",
             xlim=(min(low, -0.02), max(high, 0.02)))  # the margin: smaller differences do not count
    for y, (name, group) in enumerate(data["off"].items()):
        if outside[name]:
            some = f"{outside[name]} of {len(data['heads'][name]['values'])} " if group["values"] else ""
            loss.text(0.98, y, f"{some}outside of the curve", transform=loss.get_yaxis_transform(), ha="right", va="center",
                      fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    return fig


@figure("06_stability", alt=
        "Lines by step, a color per variant: kept heads on the left, training loss above the control's on the right. With "
        "several seeds a line is their mean, and a band in its color their range.")
def training_by_variant(data: dict) -> Figure:
    """For each variant, by step: kept heads, and training loss above the control's; of several seeds, mean and range."""
    fig, (heads, loss) = new_figure(columns=2, height=5)
    for variant, (name, runs) in enumerate(data["variants"].items()):
        style = {"color": CYCLE[variant], "linewidth": 3 if variant == 0 else 1.8, "linestyle": "--" if variant == 2 else "-"}
        _over_seeds(heads, runs, "kept", step="post", drawstyle="steps-post", label=name, **style)
        _over_seeds(loss, runs, "above", **style)
    heads.set(xlabel="step", ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(xlabel="step", ylabel="nats per token", title="Training loss above the control's")
    legend_below(fig, heads, columns=3)
    return fig


def _over_seeds(ax: Axes, runs: list[dict], field: str, step: str | None = None, **style: Any) -> None:
    """The mean over seeds of a logged number, at the steps that all have logged, and the range of the seeds around it."""
    logs = [{at: value for at, value in zip(run["step"], run[field], strict=True) if value is not None} for run in runs]
    steps = sorted(set.intersection(*map(set, logs)))
    values = [[log[at] for log in logs] for at in steps]
    ax.plot(steps, [sum(some) / len(some) for some in values], **style)
    if len(runs) > 1:
        ax.fill_between(steps, list(map(min, values)), list(map(max, values)), step=step, color=style["color"], alpha=0.2,
                        linewidth=0)


@figure("06_trained_longer", alt=
        "Three panels by step, a color per variant: lambda, kept heads, training loss above the control's. With and without "
        "warm-up the lines end together; from half-open gates, heads go early, and the loss stays higher.")
def training_at_the_overnight_scale(data: dict) -> Figure:
    """All-attention at the overnight scale, one seed, by step: λ, kept heads, and training loss above the control's."""
    fig, (pull, heads, loss) = new_figure(columns=3, height=4.4)
    for place, (name, run) in enumerate(data["variants"].items()):
        style = {"color": CYCLE[place], "linewidth": 2.4 if place in (0, 2) else 1.4, "linestyle": "--" if place == 2 else "-"}
        pull.plot(run["step"], [0 if lam is None else lam for lam in run["lambda"]], **style)
        heads.step(run["step"], run["kept"], where="post", label=name, **style)
        loss.plot(run["step"], run["above"], **style)
    pull.set(ylabel="λ", title="Penalty")
    heads.set(ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(ylabel="nats per token", title="Loss above control")
    for ax in (pull, heads, loss):
        ax.set(xlabel="step", xticks=(0, 2000, 4000))
    legend_below(fig, heads, columns=3)
    return fig
