"""Figure of notebook 14: the fast path."""

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, CYCLE, figure, new_figure


@figure("14_paths", alt=
        "Bars of speed relative to the reference path, an implementation each, for inference and training.")
def speed_of_implementations(data: dict) -> Figure:
    """Speed of each implementation of a body relative to the reference: ours, and x-transformers if it was measured."""
    passes = {pass_name.capitalize(): part for pass_name, part in data["paths"].items()}
    passes |= {f"{pass_name.capitalize()}, attention dropout 0.2": part for pass_name, part in data.get("dropout", {}).items()}
    counts = [len(part["variants"]) for part in passes.values()]
    fig, axes = new_figure(rows=len(passes), height=0.9 + 0.6 * len(passes) + 0.26 * sum(counts), sharex=True,
                           squeeze=False, height_ratios=[count + 0.4 for count in counts])
    colors = {"reference": COLORS["control"], "fast": COLORS[ALL_ATTENTION], "x-transformers": CYCLE[3]}
    labels = {"reference": "the equations", "fast": "the fast path", "x-transformers": "x-transformers"}
    for ax, (title, part) in zip(axes[:, 0], passes.items(), strict=True):
        for y, (name, measured) in enumerate(part["variants"].items()):
            implementation = name.split(",")[0]
            bars = ax.barh(y, measured["times_as_fast"], height=0.7, color=colors[implementation], label=labels[implementation])
            ax.bar_label(bars, fmt="{:.2f}", padding=4, fontsize=10, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        ax.axvline(1, color=COLORS["paper"], linestyle="--", linewidth=1)
        ax.set_yticks(range(len(part["variants"])), part["variants"])
        ax.set(title=title, ylim=(len(part["variants"]) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.margins(x=0.1)
    axes[-1, 0].set_xlabel("times as fast as the reference")
    legend_below(fig, axes[0, 0], columns=3)
    return fig
