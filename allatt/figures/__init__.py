"""One plotting style, and figures that know where they come from.

    figures/<scale>/NAME.png, NAME.svg     the figure: the same bytes from the same data
    figures/<scale>/NAME.json              its data, the notebook that made it, ids of its runs, versions, commit, date
    figures/<scale>/runs/ID.json           config, result and provenance of a run

So any number is two steps from the config behind it. `redraw` makes the pictures again from NAME.json, without torch
and without training. What a figure looks like is in `allatt.figures.plots`: functions from data to a matplotlib figure.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allatt.config import AllattError, check, to_dict
from allatt.system import paths
from allatt.system.files import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from allatt.runs import Run

Draw = Callable[[dict], "Figure"]

WIDTH = 8.0
"""Inches. Every figure is so wide: 1,200 pixels, and its text still 15 pixels high where a README shows it 800 wide."""
HEIGHT = 4.5
"""Inches a row of panels, unless a figure needs another."""
DPI = 150

COLORS = {
    "all-attention": "#0072B2",   # blue
    "transformer-xl": "#D55E00",  # vermilion
    "control": "#7F7F7F",         # lambda 0, ideals, what is only there to compare with
    "paper": "#000000",           # numbers that the paper gives
    "persistent": "#56B4E9",      # sky blue
    "context": "#009E73",         # bluish green
    "feed-forward": "#E69F00",    # orange
    "projections": "#CC79A7",     # reddish purple
}
"""What a color means, the same in every figure. Okabe and Ito's colors, told apart with any color vision."""
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""For series that have no meaning in COLORS."""
MARKERS = {"all-attention": "o", "transformer-xl": "s", "control": "D", "paper": "X"}
"""A second mark of what a line is, for those who see or print no colors; others have none."""
COLORMAP = "cividis"
"""For maps of numbers: dark is low; the same with any color vision."""

STYLE = {
    "figure.figsize": (WIDTH, HEIGHT), "figure.facecolor": "white", "savefig.facecolor": "white", "savefig.dpi": DPI,
    "font.size": 11, "axes.labelsize": 11, "axes.titlesize": 12, "legend.fontsize": 10, "xtick.labelsize": 10,
    "ytick.labelsize": 10, "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#4D4D4D", "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D", "xtick.labelcolor": "black", "ytick.labelcolor": "black",
    "axes.grid": True, "grid.color": "#E6E6E6", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "lines.linewidth": 2, "lines.markersize": 7, "lines.markeredgewidth": 1.5, "errorbar.capsize": 3,
    "figure.constrained_layout.w_pad": 0.08, "figure.constrained_layout.h_pad": 0.08, "legend.frameon": False,
    "image.cmap": COLORMAP, "svg.hashsalt": "allatt",
}


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk; as the last line of a notebook's cell, it is shown."""

    name: str
    scale: str
    folder: Path
    figure: Figure

    @property
    def png(self) -> Path:
        return self.folder / f"{self.name}.png"

    def _repr_png_(self) -> tuple[bytes, dict]:
        # Fewer than it has, so that it stays sharp on screens of high resolution.
        return self.png.read_bytes(), {"width": 800}

    def __repr__(self) -> str:
        return f"figure {self.scale}/{self.name} (.png, .svg; data and provenance in .json)"


@contextmanager
def style() -> Iterator[None]:
    """matplotlib with the project's style, whatever the user's own settings are; theirs come back afterwards."""
    import matplotlib.style
    from cycler import cycler

    with matplotlib.style.context(["default", STYLE | {"axes.prop_cycle": cycler(color=CYCLE)}]):
        yield


def new_figure(columns: int = 1, rows: int = 1, height: float | None = None, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes: one, or an array of them as `plt.subplots` gives it; `options` go to `Figure.subplots`.

    `height` in inches (default: HEIGHT a row). Not registered with pyplot, so nothing has to be closed. For use inside
    `style()`, as the functions that `save_figure` calls are.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height or HEIGHT * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def look(meaning: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `Axes.plot` for a series: its color and marker, on a solid line; `changes` win.

    Conventions: solid lines and filled markers are measured; dashed lines are ideals or closed forms, without markers;
    hollow markers (fillstyle="none") are models that were not pruned.
    """
    return {"color": COLORS[meaning], "marker": MARKERS.get(meaning, ""), "linestyle": "-"} | changes


DRAW: dict[str, Draw] = {}
"""Every drawing function by its figure's name, which is also the name of its files: NN_what, after its notebook."""


def figure(name: str) -> Callable[[Draw], Draw]:
    """Register a drawing function under the name of its figure. It makes the figure from its sidecar's data alone."""
    def register(draw: Draw) -> Draw:
        DRAW[name] = draw
        return draw

    return register


def figures_folder(scale: str) -> Path:
    """Where the figures of a scale are."""
    return paths.figures() / _plain(scale)


def save_figure(name: str, data: dict, scale: str, runs: Sequence[Run] = (), notebook: str | None = None) -> SavedFigure:
    """Draw `data` and write the figure, its sidecar and the configs of its runs; shown where it ends a notebook's cell.

    `name` decides the drawing function. `data` is what the figure shows: dicts, lists, strings, finite numbers (numpy's and
    torch's too). The function gets it as JSON gives it back (tuples as lists, keys as strings), so that a figure never
    shows what its sidecar does not hold.
    `runs` have .id, .config, .result and .provenance. `notebook` names the notebook that makes the figure; default:
    the environment variable ALLATT_NOTEBOOK. AllattError where a number is not finite or the disk refuses.
    """
    from allatt.runs import provenance  # imports torch, which redrawing does without

    folder, draw = figures_folder(scale), _drawing(_plain(name))
    where = _not_finite(data)
    check(not where, f"figure {name} has a number that is not finite, at {where}; has a run diverged? Leave it out")
    data = json.loads(_json(data))
    pictures, figure = _render(draw, data)
    source = notebook or os.environ.get("ALLATT_NOTEBOOK")
    sidecar = {
        "name": name, "scale": scale, "notebook": Path(source).stem if source else None,
        "date": datetime.now(UTC).date().isoformat(), "runs": list(dict.fromkeys(run.id for run in runs)),
        "provenance": provenance(), "data": data,
    }
    # In this order, so that a sidecar never names a run that is not there, and `redraw` can mend what is missing.
    for run in runs:
        record = {"id": run.id, "config": to_dict(run.config), "result": run.result, "provenance": run.provenance}
        write(folder / "runs" / f"{_plain(run.id)}.json", _json(record).encode())
    write(folder / f"{name}.json", _json(sidecar).encode())
    for suffix, content in pictures.items():
        write(folder / f"{name}.{suffix}", content)
    return SavedFigure(name, scale, folder, figure)


def redraw(folder: Path) -> list[Path]:
    """Draw the figures of a folder again, each from its sidecar's data; returns the PNG and SVG files.

    Sidecars stay as they are; other JSON files are left alone. AllattError, before anything is drawn, if a sidecar
    cannot be read or its figure is not known. No sidecars: an empty list.
    """
    sidecars = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AllattError(f"{path} cannot be read ({error}); run the notebook of this figure again") from None
        if not isinstance(content, dict) or not {"name", "scale", "data"} <= set(content):
            continue
        sidecars[path] = _drawing(path.stem, f"remove {path}, or "), content["data"]
    written = []
    for path, (draw, data) in sidecars.items():
        pictures, _ = _render(draw, data)
        for suffix, content in pictures.items():
            written.append(write(path.with_suffix(f".{suffix}"), content))
    return written


def _drawing(name: str, advice: str = "") -> Draw:
    """The drawing function of a figure."""
    from allatt.figures import plots  # noqa: F401 (they register themselves, with functions of this module)

    check(name in DRAW, f"there is no figure {name}; {advice}choose from {', '.join(DRAW)}")
    return DRAW[name]


def _render(draw: Draw, data: dict) -> tuple[dict[str, bytes], Figure]:
    """PNG and SVG of a figure; without versions and dates, so that the same data give the same bytes."""
    pictures = {}
    with style():
        figure = draw(data)
        for suffix, metadata in {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}.items():
            buffer = BytesIO()
            figure.savefig(buffer, format=suffix, metadata=metadata)
            pictures[suffix] = buffer.getvalue()
    return pictures, figure


def _json(values: Any) -> str:
    """Readable JSON; arrays and scalars of numpy and torch as lists and numbers."""
    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"a figure's data and a run's results must be plain values, not {type(value).__name__}")

    return json.dumps(values, indent=1, default=plain) + "\n"


def _not_finite(value: Any, where: str = "data") -> str:
    """Where in nested values a number is infinite or nan; "" if nowhere."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return next(filter(None, (_not_finite(item, f"{where}.{key}") for key, item in value.items())), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, (_not_finite(item, f"{where}[{i}]") for i, item in enumerate(value))), "")
    return where if isinstance(value, float) and not math.isfinite(value) else ""


def _plain(name: str) -> str:
    """`name`, if it can be a file's name."""
    check(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) is not None,
          f"{name!r} cannot name a figure, a scale or a run; use letters, digits, - and _")
    return name
