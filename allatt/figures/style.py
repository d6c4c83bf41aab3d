"""The style of all figures, and the registry of the functions that draw them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.system.paths import PACKAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[dict], "Figure"]
"""A drawing function: makes a figure from the data of its sidecar, and from nothing else."""

WIDTH = 8.0
"""Inches. Every figure is 1,200 pixels wide; in a README that shows it 800 wide, its text is still 15 pixels high."""
HEIGHT = 4.5
"""Default height of a row of panels, in inches."""
DPI = 150

COLORS = {
    ALL_ATTENTION: "#0072B2",     # blue
    TRANSFORMER_XL: "#D55E00",    # vermilion
    "control": "#7F7F7F",         # lambda 0, ideals, anything shown only for comparison
    "paper": "#000000",           # numbers given in the paper
    "persistent": "#56B4E9",      # sky blue
    "context": "#009E73",         # bluish green
    "feed-forward": "#E69F00",    # orange
    "projections": "#CC79A7",     # reddish purple
}
"""Color of each meaning, the same in every figure: Okabe and Ito's colors, which differ for any color vision."""
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""Colors of series that have no meaning in COLORS."""
MARKERS = {ALL_ATTENTION: "o", TRANSFORMER_XL: "s", "control": "D", "paper": "X"}
"""Markers that tell these meanings apart without colors; the other meanings have no marker."""
COLORMAP = "cividis"
"""For maps of numbers: dark is low. It looks the same with any color vision."""

STYLE = {
    "savefig.dpi": DPI, "font.size": 11, "axes.labelsize": 11, "axes.titlesize": 12, "legend.fontsize": 10,
    "xtick.labelsize": 10, "ytick.labelsize": 10, "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#4D4D4D", "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D", "xtick.labelcolor": "black", "ytick.labelcolor": "black",
    "axes.grid": True, "grid.color": "#E6E6E6", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "lines.linewidth": 2, "lines.markersize": 7, "lines.markeredgewidth": 1.5, "errorbar.capsize": 3,
    "figure.constrained_layout.w_pad": 0.08, "figure.constrained_layout.h_pad": 0.08, "legend.frameon": False,
    "image.cmap": COLORMAP, "svg.hashsalt": "allatt",
}

DRAW: dict[str, Draw] = {}
"""Drawing functions by figure name. `@figure` fills it when a module nbNN is imported; `drawing_functions` imports all."""
ALT: dict[str, str] = {}
"""Alternative texts by figure name."""


def figure(name: str, alt: str) -> Callable[[Draw], Draw]:
    """Decorator that registers the drawing function of a figure. The first paragraph of its docstring is the caption.

    `name` is also the name of the figure's files: the notebook's number, an underscore and what it shows ("07_gains").
    `alt` is what a reader who cannot see the figure needs: what is drawn, and what stands out at any scale.
    """
    def register(draw: Draw) -> Draw:
        DRAW[name], ALT[name] = draw, alt
        return draw

    return register


def caption(name: str) -> str:
    """A figure's number and caption in Markdown. Figures are counted per notebook, in the order of its module nbNN."""
    notebook = [other for other in DRAW if other[:3] == name[:3]]
    text = " ".join((DRAW[name].__doc__ or "").split("\n\n")[0].split())
    return f"**Figure {int(name[:2])}.{notebook.index(name) + 1}.** {text}"


def drawing_functions() -> dict[str, Draw]:
    """The drawing functions of all notebooks (allatt.figures.nb00, ...), by figure name."""
    for path in sorted((PACKAGE / "figures").glob("nb*.py")):
        import_module(f"allatt.figures.{path.stem}")
    return DRAW


def figure_style() -> AbstractContextManager[None]:
    """Within this context, matplotlib uses the project's style instead of the user's settings."""
    import matplotlib.style
    from cycler import cycler

    return matplotlib.style.context(["default", STYLE | {"axes.prop_cycle": cycler(color=CYCLE)}])


def new_figure(columns: int = 1, rows: int = 1, height: float | None = None, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes, a single one or an array as from `plt.subplots`; `options` go to `Figure.subplots`.

    `height` is in inches (default: HEIGHT per row). The figure is not registered with pyplot, so nothing has to be closed.
    For use within `figure_style()`, in which `save_figure` and `redraw` call the drawing functions.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(WIDTH, height or HEIGHT * rows), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def look(meaning: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `Axes.plot` for a series: its color and marker, with a solid line; `changes` override them.

    Conventions: solid lines and filled markers are measured; dashed lines are ideals or closed forms, without markers;
    hollow markers (fillstyle="none") are unpruned models.
    """
    return {"color": COLORS[meaning], "marker": MARKERS.get(meaning, ""), "linestyle": "-"} | changes
