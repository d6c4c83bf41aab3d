"""Figure of notebook 15: gates on a model of your own."""

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from allatt.config import ALL_ATTENTION
from allatt.figures.panels import legend_below
from allatt.figures.style import COLORS, figure, new_figure


@figure("15_own_model", alt=
        "Left: the number of kept heads falls in steps to half of them while the gates train. Right: stacked bars, with all "
        "heads and after removal; attention's part shrinks to half, the feed-forward's, twice as large, stays.")
def heads_and_parameters(data: dict) -> Figure:
    """An ordinary Transformer with gates: kept heads while the gates train, and the parameters of its layers before and after
    removal."""
    fig, (heads, parameters) = new_figure(columns=2, height=4.0)
    heads.step(range(1, 1 + len(data["kept"])), data["kept"], where="post", color=COLORS[ALL_ATTENTION])
    heads.set(xlabel="step", ylabel="kept heads", ylim=(0, data["heads"] * 1.05), title="While the gates train")
    heads.yaxis.set_major_locator(MaxNLocator(integer=True))
    colors = {"attention": COLORS["context"], "feed-forward": COLORS["feed-forward"], "layer norms": COLORS["control"]}
    for x, by_part in enumerate(data["sizes"].values()):
        bottom = 0
        for part, size in by_part.items():
            parameters.bar(x, size, 0.6, bottom, color=colors[part], label=part if x == 0 else None)
            bottom += size
        parameters.annotate(f"{bottom:,}", (x, bottom), textcoords="offset points", xytext=(0, 4), ha="center", fontsize=10)
    parameters.set_xticks(range(len(data["sizes"])), data["sizes"])
    parameters.yaxis.set_major_formatter(EngFormatter(sep=""))
    parameters.set(ylabel="parameters of the layers", title="What removal leaves")
    parameters.grid(axis="x", visible=False)
    parameters.margins(y=0.12)
    legend_below(fig, parameters, columns=3)
    return fig
