"""Saves a figure with its data and its runs, and draws saved figures again from their data.

`redraw` needs neither torch nor training. The files are listed in `allatt.figures`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allatt.config import AllattError, check
from allatt.figures.style import ALT, Draw, caption, drawing_functions, figure_style
from allatt.system import paths
from allatt.system.files import read_json, write, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from allatt.runs import Run


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk; as the last line of a notebook cell, it shows the figure."""

    png: Path
    """The picture FIGURES/SCALE/NAME.png; the other files of the figure are in the same folder."""
    figure: Figure

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        # Shown at 800 of its 1,200 pixels, so that it stays sharp on high-DPI screens.
        picture = {"image/png": self.png.read_bytes(), "text/plain": repr(self)}
        display(picture, raw=True, metadata={"image/png": {"width": 800, "alt": ALT[self.png.stem]}})
        display(Markdown(caption(self.png.stem)))

    def __repr__(self) -> str:
        return f"figure {self.png.parent.name}/{self.png.stem} (.png, .svg; data and provenance in .json)"


def figures_folder(scale: str) -> Path:
    """The folder of a scale's figures."""
    return paths.figures() / _file_name(scale)


def save_figure(name: str, data: dict, scale: str, runs: Sequence[Run] = ()) -> SavedFigure:
    """Draw a figure and save it with its data (the sidecar NAME.json) and its runs.

    `name` selects the drawing function. `data` is all that the figure shows: dicts, lists, strings and finite numbers,
    including numpy's and torch's. The drawing function gets it as read back from JSON (tuples as lists, keys as strings),
    so a figure never shows what its sidecar does not hold. `runs` are the runs behind the data. The notebook's name comes
    from the environment variable ALLATT_NOTEBOOK. AllattError if the figure is unknown, a number is not finite, or a file
    cannot be written. TypeError for other values.
    """
    from allatt.runs.provenance import provenance  # imports torch, which redrawing does without
    from allatt.runs.records import write_record

    folder, draw = figures_folder(scale), _drawing_function(_file_name(name))
    data = json.loads(json.dumps(data, default=_to_plain))
    problem = _first_not_finite(data)
    check(not problem, f"figure {name} has a number that is not finite, at {problem}; has a run diverged? Leave it out")
    pictures, figure = _render(draw, data)
    sidecar = {
        "name": name, "scale": scale, "notebook": Path(os.environ.get("ALLATT_NOTEBOOK", "")).stem or None,
        "date": datetime.now(UTC).date().isoformat(), "runs": list(dict.fromkeys(run.id for run in runs)),
        "provenance": provenance(), "data": data,
    }
    # In this order, a sidecar never names a run that is missing, and `redraw` can restore missing pictures.
    for run in runs:
        for part in (run.gated(), run) if run.config.consolidate else (run,):
            write_record(part, folder / "runs")
    write_json(folder / f"{name}.json", sidecar)
    for suffix, content in pictures.items():
        write(folder / f"{name}.{suffix}", content)
    return SavedFigure(folder / f"{name}.png", figure)


def redraw(folder: Path) -> list[Path]:
    """Draw the figures of a folder again from their sidecars' data; returns the PNG and SVG files.

    Sidecars are not changed, other JSON files are ignored, and a folder without sidecars gives an empty list. AllattError,
    before anything is drawn, if a sidecar cannot be read or its figure is unknown.
    """
    figures = {}
    for path in sorted(folder.glob("*.json")):
        content = read_json(path, "run the notebook of this figure again")
        if {"name", "scale", "data"} <= set(content):
            figures[path] = _drawing_function(path.stem, f"remove {path}, or "), content["data"]
    written = []
    for path, (draw, data) in figures.items():
        try:
            pictures, _ = _render(draw, data)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise AllattError(f"{path} does not hold what its figure shows ({type(error).__name__}: {error}); run the notebook "
                              "of this figure again") from None
        written += [write(path.with_suffix(f".{suffix}"), content) for suffix, content in pictures.items()]
    return written


def _drawing_function(name: str, advice: str = "") -> Draw:
    """The drawing function of a figure; AllattError, with `advice`, if there is none."""
    known = drawing_functions()
    check(name in known, f"there is no figure {name}; {advice}choose from {', '.join(sorted(known))}")
    return known[name]


def _render(draw: Draw, data: dict) -> tuple[dict[str, bytes], Figure]:
    """PNG and SVG of a figure, and the figure; without versions and dates, so that the same data give the same bytes."""
    pictures = {}
    with figure_style():
        figure = draw(data)
        for suffix, metadata in {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}.items():
            buffer = BytesIO()
            figure.savefig(buffer, format=suffix, metadata=metadata)
            pictures[suffix] = buffer.getvalue()
    return pictures, figure


def _to_plain(value: Any) -> Any:
    """A list or number from an array or scalar of numpy or torch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a figure's data must be plain values, not {type(value).__name__}")


def _first_not_finite(value: Any, path: str = "data") -> str:
    """The path of the first number in JSON values that is infinite or nan, such as "data.loss[1]"; "" if there is none."""
    if isinstance(value, dict):
        children = ((item, f"{path}.{key}") for key, item in value.items())
    elif isinstance(value, list):
        children = ((item, f"{path}[{i}]") for i, item in enumerate(value))
    else:
        return path if isinstance(value, float) and not math.isfinite(value) else ""
    return next(filter(None, (_first_not_finite(item, path) for item, path in children)), "")


def _file_name(name: str) -> str:
    """`name` itself; AllattError if it cannot be the name of a file."""
    check(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) is not None,
          f"{name!r} cannot name a figure or a scale; use letters, digits, - and _")
    return name
