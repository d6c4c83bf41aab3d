"""Figures of notebook 06: the three training methods."""

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below, strip
from allatt.figures.style import COLORS, CYCLE, figure, new_figure


@figure("06_three_methods", alt=
        "A row per variant of the training: on the left the number of heads that it keeps, on the right its loss above "
        "the curve at the same number of heads.")
def heads_and_loss_by_variant(data: dict) -> Figure:
    """For each variant of the training at one lambda: heads kept, and loss above the curve at the same number of heads."""
    fig, (heads, loss) = new_figure(columns=2, height=4.6, sharey=True)
    strip(heads, data["heads"], COLORS["control"], zero=False)
    heads.set(xlabel=f"kept heads, of {data['of']}", xlim=(-0.03 * data["of"], 1.03 * data["of"]),
              title=f"Heads kept at λ = {data['lam']:g}")
    strip(loss, data["off"], COLORS[ALL_ATTENTION])
    loss.set(xlabel="nats per token above the curve", title="Loss at equal heads")
    for y, variant in enumerate(data["off"].values()):
        if not variant["values"]:
            loss.annotate("outside of the curve", (0, y), textcoords="offset points", xytext=(6, 0), va="center",
                          fontsize=9)
    return fig


@figure("06_stability", alt=
        "Lines by step, a color per variant: kept heads on the left, training loss above the control's on the right.")
def training_by_variant(data: dict) -> Figure:
    """For each variant, by step: kept heads, and training loss above the control's; one line per seed."""
    fig, (heads, loss) = new_figure(columns=2, height=5)
    for variant, (name, runs) in enumerate(data["variants"].items()):
        for seed, run in enumerate(runs):
            style = {"color": CYCLE[variant], "linewidth": (3 if variant == 0 else 1.8) if len(runs) == 1 else 1.2}
            heads.step(run["step"], run["kept"], where="post", label=None if seed else name, **style)
            loss.plot(run["step"], run["above"], **style)
    heads.set(xlabel="step", ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(xlabel="step", ylabel="nats per token", title="Training loss above the control's")
    legend_below(fig, heads, columns=3)
    return fig
