"""Figures of notebook 02: the cost of a head."""

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from allatt.config import KIND_NAMES
from allatt.figures.style import COLORS, figure, look, new_figure


@figure("02_parts", alt=
        "Stacked bars of parameters and of multiply-adds, by part of the body. Transformer-XL has a large part for its "
        "feed-forward; All-attention has persistent vectors instead, which belong to the heads.")
def cost_by_part(data: dict) -> Figure:
    """Parameters and multiply-adds of each part of the body, for both models at one or two sizes."""
    fig, axes = new_figure(columns=2, rows=len(data["sizes"]), height=0.9 + 2.1 * len(data["sizes"]), squeeze=False)
    groups = {"projections": ("projections",), "context": ("context",), "persistent": ("persistent",),
              "feed-forward": ("feed_forward",), "control": ("biases", "norms")}
    labels = ("projections", "context window", "persistent vectors", "feed-forward", "biases, norms")
    for row_axes, size in zip(axes, data["sizes"], strict=True):
        for ax, quantity in zip(row_axes, ("parameters", "multiply_adds"), strict=True):
            for y, kind in enumerate(size["models"]):
                left = 0
                for (color, parts), label in zip(groups.items(), labels, strict=True):
                    width = sum(size["models"][kind][quantity].get(part, 0) for part in parts)
                    ax.barh(y, width, left=left, color=COLORS[color], height=0.6, label=label if y == 0 else None)
                    left += width
            ax.set_yticks(range(2), [KIND_NAMES[kind] if quantity == "parameters" else "" for kind in size["models"]])
            ax.set(ylim=(1.5, -0.5), xlim=(0, 1.06 * left),
                   title=f"{size['name']} size" if quantity == "parameters" else "",
                   xlabel="parameters of the body" if quantity == "parameters" else "multiply-adds per token")
            ax.grid(axis="y", visible=False)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1.2)
    return fig


@figure("02_cost_of_a_head", alt=
        "Lines of what remains as heads are removed. All-attention's parameters and computation fall in proportion, "
        "nearly to zero; Transformer-XL's end at a floor of more than a half.")
def remaining_cost(data: dict) -> Figure:
    """The paper's Figure 1: remaining parameters and multiply-adds as heads are removed, for one or two sizes."""
    fig, axes = new_figure(columns=2, rows=len(data["sizes"]), height=1.2 + 3 * len(data["sizes"]), squeeze=False,
                           sharex=True, sharey=True)
    for row_axes, size in zip(axes, data["sizes"], strict=True):
        for ax, quantity in zip(row_axes, ("parameters", "multiply_adds"), strict=True):
            for kind, curve in size["curves"].items():
                x, y = ([100 * value for value in curve[key]] for key in ("pruned", quantity))
                ax.plot(x, y, **look(kind, marker="", linestyle="--", label=KIND_NAMES[kind]))
                if y[-1] > 10:
                    ax.text(101, y[-1], f"{y[-1]:.1f}%", va="center", color=COLORS[kind])
            if size["name"] == "paper" and quantity == "parameters":
                ax.plot([100 * p["pruned"] for p in data["paper"]], [100 * p["parameters"] for p in data["paper"]],
                        **look("paper", linestyle="", clip_on=False, label="the paper's models"))
            ax.set(title=f"{size['name']} size: {quantity.replace('_a', '-a')}", ylim=(0, 104), xlim=(0, 100))
        row_axes[0].set_ylabel("left of the body (%)")
    for ax in axes[-1]:
        ax.set_xlabel("heads removed (%)")
    axes[0][0].legend(loc="lower left")
    return fig
