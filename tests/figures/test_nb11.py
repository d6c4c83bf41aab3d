"""The figure of notebook 11."""

import pytest
from samples import draw, legend_labels, seed_values

from allatt.figures.nb11 import BUDGETS


def test_rivals_show_losses_and_mean_heads_by_layer():
    rows = {"random heads": {"start": seed_values(0.1, 0.2), "late": seed_values(0.05, 0.15), "layers": [[8, 1], [7, 1]]},
            "even layers": {"start": seed_values(0.3), "layers": [[4, 5]]},
            "a set": {"start": None, "late": seed_values(-0.1), "layers": [[3, 6]]}}
    fig = draw("11_rivals", {"rows": rows, "of": 16, "heads": 8})
    loss, layers = fig.axes
    assert [text.get_text() for text in loss.get_yticklabels()] == list(rows)
    assert [text.get_text() for text in layers.texts] == ["7.5", "1", "4", "5", "3", "6"]
    assert loss.get_title(loc="left") == "8 to 9 of 16 heads, or all"
    for budget, (label, color, marker, offset) in BUDGETS.items():
        dots = [line for line in loss.lines if line.get_marker() == marker and line.get_color() == color]
        found = {round(line.get_ydata()[0] - offset): list(line.get_xdata()) for line in dots}
        assert found == {y: row[budget]["values"] for y, row in enumerate(rows.values()) if row.get(budget)}
        means = [line for line in loss.lines if line.get_marker() == "|" and line.get_color() == color]
        assert [list(line.get_xdata()) for line in means] == [[2.0]], "of several seeds only"
        assert label in legend_labels(fig)
    assert len(legend_labels(fig)) == 2, "a label for each budget, not for each row"


@pytest.mark.parametrize("budget", BUDGETS)
def test_one_budget_alone_is_drawn(budget):
    """With one phase nothing is cut late; and other rows may have no rival at the start."""
    fig = draw("11_rivals", {"rows": {"a": {budget: seed_values(0.1), "layers": [[1, 2]]}}, "of": 4, "heads": 2})
    assert legend_labels(fig) == [BUDGETS[budget][0]]


@pytest.mark.parametrize(("worst", "arrow"), [(0.41, ["+0.41  "]), (0.39, [])])
def test_one_model_that_is_far_worse_does_not_squeeze_the_others(worst, arrow):
    losses = {"a": -0.2, "b": 0.1, "c": worst}
    rows = {name: {"start": seed_values(loss), "layers": [[1, 2]]} for name, loss in losses.items()}
    loss = draw("11_rivals", {"rows": rows, "of": 4, "heads": 2}).axes[0]
    assert [text.get_text() for text in loss.texts] == arrow
    assert (loss.get_xlim()[1] < 0.2) == bool(arrow)
    assert [line.get_ydata()[0] for line in loss.lines if line.get_marker() == ">"] == [2 + BUDGETS["start"][3]] * len(arrow)
