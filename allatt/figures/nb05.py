"""Figures of notebook 05: pruning one model."""

import math

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.figures.style import COLORS, figure, look, new_figure

CLOSED_AND_OPEN = ListedColormap(["#D9D9D9", COLORS[ALL_ATTENTION]])
"""Gray for closed heads (0), blue for open heads (1)."""


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
    time.pcolormesh([0, *data["step"]], edges, states, vmin=0, vmax=1, cmap=CLOSED_AND_OPEN)
    widths = [0.6 if i % count else 4 for i in range(1, layers * count)]
    time.hlines(edges[1:-1], 0, data["step"][-1], color="white", linewidth=widths)
    time.set(xlabel="step", ylabel="layer", yticks=range(1, layers + 1), ylim=(layers + 0.5, 0.5),
             title="Open (blue) or closed")
    end.pcolormesh([head + 0.5 for head in range(count + 1)], [layer + 0.5 for layer in range(layers + 1)],
                   [[int(a >= 0) for a in logits] for logits in data["logits"]], vmin=0, vmax=1, cmap=CLOSED_AND_OPEN,
                   edgecolors="white", linewidth=2)
    for layer, logits in enumerate(data["logits"], start=1):
        for head, a in enumerate(logits, start=1):
            end.text(head, layer, f"{a:+.1f}", ha="center", va="center", fontsize=8 if count > 4 else 10,
                     color="white" if a >= 0 else "black")
        end.text(count + 0.7, layer, f"{sum(a >= 0 for a in logits)}", va="center", fontweight="bold")
    end.set(xlabel="head; at the right, how many are kept", xticks=range(1, count + 1), title="Gates a at the end")
    for ax in (time, end):
        ax.grid(False)
    return fig
