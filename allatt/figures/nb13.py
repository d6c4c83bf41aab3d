"""Figure of notebook 13: words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from allatt.figures.panels import against_size
from allatt.figures.style import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure("13_words")
def word_perplexity_against_size(data: dict) -> Figure:
    """Perplexity a word of both models as heads are pruned, against the parameters of the body."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    drawn, ax = against_size(data, lambda p: math.exp(p["test_loss"]))
    ax.set(ylabel="test perplexity (a word)", yscale="log")
    ax.yaxis.set_major_locator(MaxNLocator(7))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:.0f}")
    return drawn
