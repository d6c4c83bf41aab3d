"""One drawing function a figure, from the data of its sidecar alone; `make figures` draws them again without training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from allatt.figures import COLORS, look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAW: dict[str, Callable[[dict], Figure]] = {}
"""Every figure by its name, which is also the name of its files: NN_what, after its notebook."""


def figure(name: str) -> Callable:
    """Register a drawing function under the name of its figure."""
    def register(draw: Callable[[dict], Figure]) -> Callable[[dict], Figure]:
        DRAW[name] = draw
        return draw

    return register
