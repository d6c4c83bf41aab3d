"""A drawing function for each figure, from the data of its sidecar; `make figures` draws them without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allatt.drawings import (  # noqa: F401 (every drawing function, and DRAW, is to be had from this module)
    closing_gates,
    forces_on_a_gate,
    gentle_start,
    hard_concrete,
    one_head,
    output_scaling,
    parts_of_a_body,
    remaining_cost,
    tokens_a_word,
    where_heads_look,
    window,
    zipf,
)
from allatt.figures import COLORS, CYCLE, look, new_figure
from allatt.panels import (  # noqa: F401
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
