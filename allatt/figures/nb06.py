"""Figures of notebook 06: the three training methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allatt.figures.panels import strip
from allatt.figures.style import COLORS, CYCLE, figure, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure("06_three_methods")
def heads_and_loss_by_variant(data: dict) -> Figure:
    """Each variant of the training at one lambda: how many heads it keeps, and its loss against the curve at as many heads."""
    drawn, (heads, loss) = new_figure(columns=2, height=4.6, sharey=True)
    strip(heads, data["heads"], COLORS["control"], zero=False)
    heads.set(xlabel=f"kept heads, of {data['of']}", xlim=(-0.03 * data["of"], 1.03 * data["of"]),
              title=f"Heads kept at λ = {data['lam']:g}")
    strip(loss, data["off"], COLORS["all-attention"])
    loss.set(xlabel="nats a token above the curve", title="Loss at equal heads")
    for place, row in enumerate(data["off"].values()):
        if not row["values"]:
            loss.annotate("outside of the curve", (0, place), textcoords="offset points", xytext=(6, 0), va="center",
                          fontsize=9)
    return drawn


@figure("06_stability")
def training_by_variant(data: dict) -> Figure:
    """Kept heads over the steps of each variant, and how far its training loss is above the control's; one line a seed."""
    drawn, (heads, loss) = new_figure(columns=2, height=5)
    for place, (name, runs) in enumerate(data["variants"].items()):
        for number, run in enumerate(runs):
            style = {"color": CYCLE[place], "linewidth": (3 if place == 0 else 1.8) if len(runs) == 1 else 1.2}
            heads.step(run["step"], run["kept"], where="post", label=None if number else name, **style)
            loss.plot(run["step"], run["above"], **style)
    heads.set(xlabel="step", ylabel=f"kept heads, of {data['of']}", ylim=(0, data["of"] * 1.06), title="Heads")
    loss.axhline(0, color=COLORS["control"], linestyle="--")
    loss.set(xlabel="step", ylabel="nats a token", title="Training loss above the control's")
    drawn.legend(*heads.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
