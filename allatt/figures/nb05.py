"""Figures of notebook 05: pruning one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allatt.figures.style import COLORS, figure, look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
def closing_of_each_head(data: dict) -> Figure:
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
