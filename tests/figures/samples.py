"""Small data for the tests of figures, and functions that read a drawn figure."""

import math

from allatt.figures.style import drawing_functions, figure_style


def draw(name, data):
    """The figure `name` of `data`, in the project's style."""
    with figure_style():
        return drawing_functions()[name](data)


def lines(ax, color):
    """The lines of one color."""
    return [line for line in ax.lines if line.get_color() == color]


def legend_labels(fig):
    """The labels of the legend below all panels."""
    return [text.get_text() for text in fig.legends[0].get_texts()]


def points(shift=0.0):
    """The points of a control and two pruned models."""
    sizes = ((0.0, 100, 50.0), (0.25, 75, 60.0), (0.5, 50, 80.0))
    return [{"sparsity": s, "body_parameters": n, "body_multiply_adds": 2 * n, "test_loss": ppl + shift,
             "test_perplexity": ppl + shift, "above": ppl - 50, "removed": 1 - n / 100, "lambda": s} for s, n, ppl in sizes]


def curves(shift, seeds):
    """The curves of one model: its losses are the logarithms of 50, 60 and 80, plus `shift`.

    With two seeds, these lie at the same distance below and above their mean.
    """
    mean = [p | {"test_loss": math.log(p["test_loss"])} for p in points(shift)]
    pair = [[p | {"test_loss": p["test_loss"] + off, "above": p["above"] + off} for p in mean] for off in (-0.01, 0.01)]
    return {"baseline": mean[0] | {"test_loss": math.log(70.0)}, "mean": mean, "seeds": pair if seeds == 2 else [mean]}


def seed_values(*values):
    """One value per seed, with an interval if there are several seeds."""
    return {"values": list(values), "interval": [2.0, 1.0, 3.0, len(values)] if len(values) > 1 else None}
