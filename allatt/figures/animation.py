"""Gates closing, as a moving picture, and as a still for print and for readers who do not want motion.

`python -m allatt.figures.animation` makes both again from the committed record of a run of the overnight scale.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from allatt.config import ALL_ATTENTION
from allatt.figures.style import COLORS, figure_style, new_figure
from allatt.system.files import read_json
from allatt.system.paths import repository

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORD = "6685976cc6d5"
"""First phase of All-attention at lambda 0.08, seed 0."""
NAME = "05_closing_heads"
STILLS = 4
"""Moments of the still, evenly spaced from the first to the last."""
FRAMES_PER_SECOND, HOLD = 10, 20
"""The last frame is repeated HOLD times."""


def moving_picture(record: dict, path: Path) -> Path:
    """Write the gates of a run's record by step as an animated GIF."""
    from matplotlib.animation import PillowWriter

    metrics, writer = record["metrics"], PillowWriter(fps=FRAMES_PER_SECOND)
    with figure_style():
        fig, ax = new_figure(height=4.6)
        with writer.saving(fig, str(path), dpi=70):
            for moment in [*range(len(metrics["step"])), *[-1] * HOLD]:
                ax.clear()
                gates(ax, metrics["logits"][moment], f"step {metrics['step'][moment]:,} of {metrics['step'][-1]:,}, "
                                                     f"λ = {metrics['lambda'][moment]:.3f}")
                writer.grab_frame()
    return path


def still(record: dict, path: Path) -> Path:
    """Write a few moments of the same, side by side, as a PNG."""
    metrics = record["metrics"]
    last = len(metrics["step"]) - 1
    with figure_style():
        fig, axes = new_figure(rows=2, columns=STILLS // 2, height=5.8)
        for place, ax in enumerate(axes.flat):
            moment = round(place * last / (STILLS - 1))
            gates(ax, metrics["logits"][moment], f"step {metrics['step'][moment]:,}")
        fig.savefig(path, metadata={"Software": None})
    return path


def gates(ax: Axes, logits: list[list[float]], title: str) -> None:
    """A square per head, a row per layer. Areas: how likely a gate is open; gray: closed. At the right, how many are open."""
    from matplotlib.patches import Rectangle

    for layer, row in enumerate(logits, start=1):
        for head, a in enumerate(row, start=1):
            side = 0.94 * math.sqrt(1 / (1 + math.exp(-a)))
            ax.add_patch(Rectangle((head - 0.47, layer - 0.47), 0.94, 0.94, facecolor="none", edgecolor="#D9D9D9"))
            ax.add_patch(Rectangle((head - side / 2, layer - side / 2), side, side,
                                   facecolor=COLORS[ALL_ATTENTION] if a >= 0 else "#A6A6A6"))
        ax.text(len(row) + 0.8, layer, f"{sum(a >= 0 for a in row)}", va="center", fontweight="bold")
    count, total = (sum(test(a) for row in logits for a in row) for test in (lambda a: a >= 0, lambda a: True))
    ax.set(xlim=(0.4, len(logits[0]) + 1.4), ylim=(len(logits) + 0.6, 0.4), xticks=range(1, len(logits[0]) + 1),
           yticks=range(1, len(logits) + 1), xlabel="head", ylabel="layer", aspect="equal",
           title=f"{title}: {count} of {total} open")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


if __name__ == "__main__":
    folder = repository() / "figures" / "overnight"
    source = read_json(folder / "runs" / f"{RECORD}.json", "it is committed; check it out again")
    print(moving_picture(source, folder / f"{NAME}.gif"), still(source, folder / f"{NAME}.png"), sep="\n")
