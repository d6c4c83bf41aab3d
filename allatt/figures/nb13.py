"""Figure of notebook 13: words."""

import math

from matplotlib.figure import Figure

from allatt.figures.panels import perplexity_axis, pruning_curves_of_text
from allatt.figures.style import figure


@figure("13_words", alt=
        "Perplexity per word of both models against the parameters of the body, as heads are pruned.")
def word_perplexity_against_size(data: dict) -> Figure:
    """Perplexity per word of both models as heads are pruned, against the parameters of the body."""
    fig, ax = pruning_curves_of_text(data, lambda p: math.exp(p["test_loss"]))
    perplexity_axis(ax, "test perplexity (per word)")
    return fig
