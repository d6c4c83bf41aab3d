"""Figure of notebook 12: characters."""

from matplotlib.figure import Figure

from allatt.figures.panels import pruning_curves_of_text
from allatt.figures.style import figure


@figure("12_characters", alt=
        "Bits per character of both models against the parameters of the body, as heads are pruned.")
def bits_against_size(data: dict) -> Figure:
    """Bits per character of both models as heads are pruned, against the parameters of the body."""
    fig, ax = pruning_curves_of_text(data, lambda p: p["test_bits"])
    ax.set_ylabel("test, bits per character")
    return fig
