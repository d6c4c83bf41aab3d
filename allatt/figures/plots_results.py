"""Drawing functions of the notebooks that train: baselines (03), pruning (05, 06), results (07).

Each makes a figure from its sidecar's data alone; `allatt.figures.plots` has all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from allatt.figures import COLORS, figure, look, new_figure
from allatt.figures.plots_seeds import strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}


@figure("03_learning_curves")
def learning_curves(data: dict) -> Figure:
    """Training loss of both baselines against tokens, with their final validation loss, and the gap between the two.

    Thin lines are seeds; where there are several, thick ones are their means.
    """
    drawn, (left, right) = new_figure(columns=2, width_ratios=(3, 2))
    last = max(curve["tokens"][-1] for curves in data["curves"].values() for curve in curves)
    unit, word = (1e6, "millions") if last >= 1e6 else (1e3, "thousands")
    for kind, curves in data["curves"].items():
        _seeds(left, [([tokens / unit for tokens in curve["tokens"]], curve["loss"]) for curve in curves],
               look(kind, marker="", label=data["labels"][kind]))
        left.plot([last / unit] * len(curves), data["valid"][kind], **look(kind, fillstyle="none", linestyle="", clip_on=False))
    left.plot([], [], **look("control", marker="o", linestyle="", fillstyle="none", label="validation, at the end"))
    left.set(ylabel="training loss (nats a token)", title="Both models")
    left.legend()
    right.axhline(0, color=COLORS["control"], linestyle="--")
    _seeds(right, [([tokens / unit for tokens in gap["tokens"]], gap["loss"]) for gap in data["gaps"]],
           {"color": COLORS["paper"]})
    right.set(ylabel="All-attention − Transformer-XL (nats a token)", title="Their difference")
    for ax in (left, right):
        ax.set(xlabel=f"tokens seen ({word})", xlim=(0, last / unit))
    return drawn


def _seeds(ax: Axes, lines: list[tuple[list[float], list[float]]], style: dict) -> None:
    """The line of each seed; of several, thin ones and their mean."""
    if len(lines) == 1:
        ax.plot(*lines[0], **style)
        return
    for x, y in lines:
        ax.plot(x, y, **style | {"linewidth": 0.8, "alpha": 0.5, "label": None})
    means = [sum(values) / len(values) for values in zip(*(y for _, y in lines), strict=True)]
    ax.plot(lines[0][0], means, **style)


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


@figure("07_perplexity")
def perplexity_against_size(data: dict) -> Figure:
    """The paper's main result: test perplexity as heads are pruned, against the body's parameters and multiply-adds.

    Thin lines are seeds, marks the means over seeds at each lambda.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

    drawn, axes = new_figure(columns=2, height=5, sharey=True)
    worse = max(data["models"], key=lambda kind: max(p["test_loss"] for p in data["models"][kind]["mean"]))
    labels = {"body_parameters": "parameters of the body", "body_multiply_adds": "multiply-adds a token"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        for kind, series in data["models"].items():
            for points in series["seeds"] if len(series["seeds"]) > 1 else ():
                points = sorted(points, key=lambda p: p[what])
                ax.plot([p[what] for p in points], [math.exp(p["test_loss"]) for p in points],
                        **look(kind, marker="", linewidth=0.8, alpha=0.5))
            control, points = series["mean"][0], sorted(series["mean"], key=lambda p: p[what])
            ax.plot([p[what] for p in points], [math.exp(p["test_loss"]) for p in points], **look(kind, marker=""))
            for p in series["mean"][1:]:
                ax.plot(p[what], math.exp(p["test_loss"]), **look(kind, label=f"{NAMES[kind]}, pruned", linestyle=""))
                ax.annotate(f"{p['sparsity']:.0%}", (p[what], math.exp(p["test_loss"])), textcoords="offset points",
                            xytext=(5, 6) if kind == worse else (-5, -14), ha="left" if kind == worse else "right",
                            color=COLORS[kind], fontsize=9)
            for p, mark, label in ((control, "D", "control, λ = 0"), (series["baseline"], "o", "baseline")):
                ax.plot(p[what], math.exp(p["test_loss"]), **look(kind, linestyle="", fillstyle="none", marker=mark,
                                                                  markersize=9, label=f"{NAMES[kind]}, {label}"))
        ax.set(xlabel=xlabel, yscale="log", xlim=(0, None))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel("test perplexity (a token)")
    axes[0].yaxis.set_major_locator(MaxNLocator(7))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].yaxis.set_major_formatter("{x:.0f}")
    axes[0].margins(y=0.12)
    legend(drawn, axes[0], columns=2)
    return drawn


@figure("07_gains")
def gains_at_equal_parameters(data: dict) -> Figure:
    """How far All-attention's loss is below Transformer-XL's at equal parameters, as it is and from each one's control."""
    drawn, axes = new_figure(columns=2, height=4, sharex=True, sharey=True)
    for ax, (title, rows) in zip(axes, data["readings"].items(), strict=True):
        strip(ax, rows, COLORS["all-attention"])
        ax.set(title=title, xlabel="gain of All-attention (nats a token)")
    axes[0].set_ylabel("heads removed from All-attention")
    return drawn


@figure("07_above_control")
def loss_above_control(data: dict) -> Figure:
    """What pruning costs each model, measured from its own control, against the heads and the parameters removed."""
    drawn, axes = new_figure(columns=2, height=4.5, sharey=True)
    labels = {"sparsity": "heads removed (%)", "removed": "parameters of the body removed (%)"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        ax.axhline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
        for kind, series in data["models"].items():
            thin = [(points, {"marker": "", "linewidth": 0.8, "alpha": 0.5}) for points in series["seeds"]]
            for points, style in [*(thin if len(thin) > 1 else ()), (series["mean"], {"label": NAMES[kind]})]:
                ordered = sorted(points, key=lambda p: p[what])
                ax.plot([100 * p[what] for p in ordered], [p["above"] for p in ordered], **look(kind, **style))
        ax.set(xlabel=xlabel, xlim=(-3, 103))
    axes[0].set_ylabel("test loss above the control's (nats a token)")
    axes[0].legend(loc="upper left")
    return drawn


def legend(drawn: Figure, ax: Axes, columns: int) -> None:
    """One legend below all panels, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    drawn.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)
