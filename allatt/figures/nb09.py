"""Figures of notebook 09: speed and memory."""

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION, KIND_NAMES, TRANSFORMER_XL
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, figure, look, new_figure

OPEN = {ALL_ATTENTION: {}, TRANSFORMER_XL: {"fillstyle": "none", "markersize": 9}}
"""Transformer-XL's marks are hollow here and larger, since the two models' marks often coincide."""


@figure("09_speed", alt=
        "Measured time by share of heads removed, for inference and training, each model beside its ideal line, with "
        "marks for closed gates, which save nothing.")
def time_by_heads_removed(data: dict) -> Figure:
    """Measured time after heads are removed, relative to all heads, with the ideal line and the time with closed gates."""
    fig, axes = new_figure(columns=2, rows=len(data["shapes"]), height=1.2 + 3.4 * len(data["shapes"]), sharey=True,
                           squeeze=False)
    for row_axes, (shape, passes) in zip(axes, data["shapes"].items(), strict=True):
        for ax, (pass_name, models) in zip(row_axes, passes.items(), strict=True):
            for kind, points in models.items():
                x, y, ideal = ([100 * point[key] for point in points] for key in ("share", "time", "ideal"))
                end = sum(not point["gates"] for point in points)  # points with gates come last
                ax.plot(x[:end], ideal[:end], color=COLORS[kind], linestyle="--", linewidth=1.5)
                ax.plot(x[:end], y[:end], **look(kind, linestyle="", clip_on=False, **OPEN[kind],
                                                 label=f"{KIND_NAMES[kind]}, removed"))
                ax.plot(x[end:], y[end:], "+", color=COLORS[kind], markersize=11, label=f"{KIND_NAMES[kind]}, only gated")
            ax.plot([], [], color=COLORS["control"], linestyle="--", label="ideal: straight from all heads to none")
            ax.set(title=f"{shape}: {pass_name}", xlim=(-4, 104))
        row_axes[0].set_ylabel("time, relative to all heads (%)")
    axes[0][0].set_ylim(0, None)  # of all panels, when all has been drawn
    for ax in axes[-1]:
        ax.set_xlabel("heads removed or closed (%)")
    legend_below(fig, axes[0][0], columns=3)
    return fig


@figure("09_memory", alt=
        "Lines of memory by share of heads removed: weights, and the peak in inference and in training. All-attention's "
        "weights fall to nothing, Transformer-XL's to a half or more.")
def memory_by_heads_removed(data: dict) -> Figure:
    """Memory after heads are removed: weights, and peak of the activations in inference and in training."""
    fig, axes = new_figure(columns=3, height=3.9)
    titles = {"weights": "Weights", "inference": "Peak, inference", "training": "Peak, training"}
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        for kind, points in data["models"].items():
            x, y = [100 * point["share"] for point in points], [point[quantity] / 1e6 for point in points]
            ax.plot(x, y, **look(kind, clip_on=False, **OPEN[kind], label=KIND_NAMES[kind]))
        ax.set(title=title, xlabel="heads removed (%)", xlim=(-5, 105), ylim=(0, None))
    axes[0].set_ylabel("millions of bytes")
    legend_below(fig, axes[0], columns=2)
    return fig


@figure("09_figure_1", alt=
        "Measured time of both models by share of heads removed, for the paper's lists of kept heads, beside ideal and "
        "counted lines.")
def figure_1_measured(data: dict) -> Figure:
    """The paper's Figure 1, measured: time of both models with its lists of kept heads, with ideal and counted lines."""
    fig, axes = new_figure(columns=2, height=4.9, sharey=True)
    for ax, (pass_name, models) in zip(axes, data["lists"].items(), strict=True):
        for kind, points in models.items():
            x = [100 - 100 * point["heads"] / points[0]["heads"] for point in points]
            time, ideal, counted = ([100 * point[key] for point in points] for key in ("time", "ideal", "counted"))
            ax.plot(x, counted, color=COLORS[kind], linestyle=":", linewidth=1.5)
            ax.plot(x, ideal, color=COLORS[kind], linestyle="--", linewidth=1.5)
            ax.plot(x, time, **look(kind, linestyle="", clip_on=False, **OPEN[kind], label=f"{KIND_NAMES[kind]}, measured"))
        for removed, point in zip(x[1:-1], points[1:-1], strict=True):  # both models have the same lists
            ax.annotate(f"{float(point['name'].split()[-1]):g}", (removed, 108), ha="center", fontsize=10)
            ax.axvline(removed, color=COLORS["control"], linewidth=0.8, alpha=0.6, ymax=0.93, zorder=0.9)
        ax.annotate("λ =", (0, 108), ha="center", fontsize=10)
        for style, label in (("--", "ideal: straight from all heads to none"), (":", "counted multiply-adds")):
            ax.plot([], [], color=COLORS["control"], linestyle=style, linewidth=1.5, label=label)
        ax.set(title=pass_name.capitalize(), xlabel="heads removed (%)", xlim=(-4, 104), ylim=(0, 114),
               yticks=range(0, 101, 20))
    axes[0].set_ylabel("time, relative to all heads (%)")
    legend_below(fig, axes[0], columns=2)
    return fig
