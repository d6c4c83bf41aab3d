"""Drawing functions of the notebooks that train: baselines (03), pruning (05, 06), results (07, 08).

Each makes a figure from its sidecar's data alone; `allatt.plots` has all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allatt.figures import COLORS, CYCLE, figure, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}


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
    ax.xaxis.get_major_locator().set_params(integer=True)
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


@figure("07_perplexity")
def perplexity_against_size(data: dict) -> Figure:
    """The paper's main result: test perplexity as heads are pruned, against the body's parameters and multiply-adds."""
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

    drawn, axes = new_figure(columns=2, height=5, sharey=True)
    worse = max(data["models"], key=lambda kind: max(p["test_loss"] for p in data["models"][kind]["points"]))
    labels = {"body_parameters": "parameters of the body", "body_multiply_adds": "multiply-adds a token"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        for kind, series in data["models"].items():
            control, points = series["points"][0], sorted(series["points"], key=lambda p: p[what])
            ax.plot([p[what] for p in points], [p["test_perplexity"] for p in points], **look(kind, marker=""))
            for p in series["points"][1:]:
                ax.plot(p[what], p["test_perplexity"], **look(kind, label=f"{NAMES[kind]}, pruned", linestyle=""))
                ax.annotate(f"{p['sparsity']:.0%}", (p[what], p["test_perplexity"]), textcoords="offset points",
                            xytext=(5, 6) if kind == worse else (-5, -14), ha="left" if kind == worse else "right",
                            color=COLORS[kind], fontsize=9)
            for p, mark, label in ((control, "D", "control, λ = 0"), (series["baseline"], "o", "baseline")):
                ax.plot(p[what], p["test_perplexity"], **look(kind, linestyle="", fillstyle="none", marker=mark,
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


@figure("07_above_control")
def loss_above_control(data: dict) -> Figure:
    """What pruning costs each model, measured from its own control, against the heads and the parameters removed."""
    drawn, axes = new_figure(columns=2, height=4.5, sharey=True)
    labels = {"sparsity": "heads removed (%)", "removed": "parameters of the body removed (%)"}
    for ax, (what, xlabel) in zip(axes, labels.items(), strict=True):
        ax.axhline(0, color=COLORS["control"], linestyle="--", linewidth=1.5)
        for kind, points in data["models"].items():
            ordered = sorted(points, key=lambda p: p[what])
            ax.plot([100 * p[what] for p in ordered], [p["above"] for p in ordered], **look(kind, label=NAMES[kind]))
        ax.set(xlabel=xlabel, xlim=(-3, 103))
    axes[0].set_ylabel("test loss above the control's (nats a token)")
    axes[0].legend(loc="upper left")
    return drawn


@figure("08_kept_heads")
def kept_heads_by_layer(data: dict) -> Figure:
    """Kept heads of each layer for each lambda: both models here, and the paper's three models."""
    maps = data["maps"]
    drawn, axes = new_figure(columns=len(maps), height=1.4 + 0.28 * max(len(m["kept"][0]) for m in maps),
                             width_ratios=[len(m["lambdas"]) for m in maps])
    for ax, m in zip(axes, maps, strict=True):
        share = [[kept / m["heads"] for kept in layer] for layer in zip(*m["kept"], strict=True)]
        picture = ax.imshow(share, vmin=0, vmax=1, aspect="auto")
        for layer, row in enumerate(share):
            for column, value in enumerate(row):
                ax.text(column, layer, f"{m['kept'][column][layer]}", ha="center", va="center", fontsize=9,
                        color="black" if value > 0.55 else "white")
        ax.set(title=m["title"], xlabel="λ")
        ax.set_xticks(range(len(m["lambdas"])), [f"{lam:g}" for lam in m["lambdas"]], rotation=45 * (len(share[0]) > 4))
        ax.set_yticks(range(len(share)), range(1, len(share) + 1))
        ax.grid(False)
    axes[0].set_ylabel("layer")
    drawn.colorbar(picture, ax=axes, label="share of the layer's heads that is kept", shrink=0.8, pad=0.02)
    return drawn


@figure("08_survivors")
def survivors(data: dict) -> Figure:
    """Where each head of the unpruned model looks, layer by layer; and whether pruning kept the head."""
    drawn, axes = new_figure(columns=2, height=4.5)
    layers, width = max(head["layer"] for head in data["heads"]), 0.6 / max(head["head"] for head in data["heads"])
    for ax, what in zip(axes, ("persistent", "distance"), strict=True):
        for kept, style in ((True, look("all-attention", linestyle="", label=f"kept at λ = {data['lam']:g}")),
                            (False, look("control", marker="x", linestyle="", label="pruned"))):
            heads = [head for head in data["heads"] if head["kept"] == kept]
            ax.plot([h["layer"] - 0.3 + width * (h["head"] - 1) for h in heads],
                    [h[what] * (100 if what == "persistent" else 1) for h in heads], **style)
        ax.set(xlabel="layer", xticks=range(1, layers + 1), xlim=(0.5, layers + 0.5), ylim=(0, 1.08 * ax.get_ylim()[1]),
               title={"persistent": "Attention to persistent vectors", "distance": "How far back in the context"}[what],
               ylabel={"persistent": "share of a head's attention (%)", "distance": "mean distance (tokens)"}[what])
        ax.grid(axis="x", visible=False)
    legend(drawn, axes[0], columns=2)
    return drawn


def legend(drawn: Figure, ax: Axes, columns: int) -> None:
    """One legend below all panels, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    drawn.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)
