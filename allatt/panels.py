"""The registry of figures, and drawing functions of the later notebooks; `allatt.plots` has the others, and these too.

A drawing function makes a figure from its sidecar's data alone: `make figures` draws them again without training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from allatt.figures import COLORS, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAW: dict[str, Callable[[dict], Figure]] = {}
"""Every figure by its name, which is also the name of its files: NN_what, after its notebook."""
NAMES = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}


def figure(name: str) -> Callable:
    """Register a drawing function under the name of its figure."""
    def register(draw: Callable[[dict], Figure]) -> Callable[[dict], Figure]:
        DRAW[name] = draw
        return draw

    return register


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
    _legend(drawn, axes[0], columns=2)
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
    _legend(drawn, axes[0], columns=2)
    return drawn


@figure("09_speed")
def time_left(data: dict) -> Figure:
    """Measured time of really smaller bodies, relative to all heads, beside the ideal line and closed gates alone."""
    drawn, axes = new_figure(columns=2, rows=len(data["shapes"]), height=1.2 + 3.4 * len(data["shapes"]), sharey=True,
                             squeeze=False)
    for line, (shape, passes) in zip(axes, data["shapes"].items(), strict=True):
        for ax, (what, models) in zip(line, passes.items(), strict=True):
            for kind, table in models.items():
                x, y, ideal = ([100 * row[key] for row in table] for key in ("share", "time", "ideal"))
                end = sum(not row["gates"] for row in table)  # rows with gates come last
                ax.plot(x[:end], ideal[:end], color=COLORS[kind], linestyle="--", linewidth=1.5)
                ax.plot(x[:end], y[:end], **look(kind, linestyle="", label=f"{NAMES[kind]}, removed"))
                ax.plot(x[end:], y[end:], "+", color=COLORS[kind], markersize=11, label=f"{NAMES[kind]}, only gated")
            ax.plot([], [], color=COLORS["control"], linestyle="--", label="if each head took as long")
            ax.set(title=f"{shape}: {what}", xlim=(-4, 104), ylim=(0, None))
        line[0].set_ylabel("time, relative to all heads (%)")
    for ax in axes[-1]:
        ax.set_xlabel("heads removed or closed (%)")
    _legend(drawn, axes[0][0], columns=3)
    return drawn


@figure("09_memory")
def memory_left(data: dict) -> Figure:
    """Memory of really smaller bodies: weights, and activations at their peak, at inference and in training."""
    drawn, axes = new_figure(columns=3, height=3.9)
    titles = {"weights": "Weights", "inference": "Peak, inference", "training": "Peak, training"}
    for ax, (what, title) in zip(axes, titles.items(), strict=True):
        for kind, rows in data["models"].items():
            x, y = [100 * row["share"] for row in rows], [row[what] / 1e6 for row in rows]
            ax.plot(x, y, **look(kind, label=NAMES[kind]))
        ax.set(title=title, xlabel="heads removed (%)", xlim=(-5, 105), ylim=(0, None))
    axes[0].set_ylabel("millions of bytes")
    _legend(drawn, axes[0], columns=2)
    return drawn


@figure("09_paper_models")
def paper_models(data: dict) -> Figure:
    """The paper's three lists of kept heads as real models: parameters, multiply-adds and measured time."""
    drawn, ax = new_figure(height=4)
    bars = {"parameters": ("persistent", "parameters of the body"),
            "multiply_adds": ("control", "multiply-adds a token"),
            "time": ("all-attention", "time of a pass, measured")}
    for place, (what, (color, label)) in enumerate(bars.items()):
        x = [number + 0.27 * (place - 1) for number in range(len(data["models"]))]
        drawn_bars = ax.bar(x, [100 * m[what] for m in data["models"]], width=0.25, color=COLORS[color], label=label)
        ax.bar_label(drawn_bars, fmt="{:.0f}", padding=2, fontsize=9)
    ax.set_xticks(range(len(data["models"])), [f"{m['name']}\n{m['heads']} heads" for m in data["models"]])
    ax.set(ylabel="relative to all heads (%)", ylim=(0, 118))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper right", ncols=3)
    return drawn


def _legend(drawn: Figure, ax: Axes, columns: int) -> None:
    """One legend below all panels, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    drawn.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)
