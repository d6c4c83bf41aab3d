"""The figures of notebook 04."""

import pytest
from matplotlib.colors import to_hex
from samples import draw, legend_labels, lines

from allatt.config import ALL_ATTENTION
from allatt.figures.style import COLORS


@pytest.mark.parametrize("count", [1, 3])
def test_histograms_of_one_logit_or_several(count):
    data = {"logits": [0.0] * count, "inside": [[0.1] * 4] * count, "zero": [0.3] * count, "one": [0.3] * count,
            "expected_zero": [0.3] * count, "expected_one": [0.3] * count}
    fig = draw("04_hard_concrete", data)
    assert len(fig.axes) == count and [len(ax.patches) for ax in fig.axes] == [6] * count


def test_a_closed_hard_concrete_gate_stands_at_0_below_all_sigmoids():
    panel = {"title": "Only gates", "sigmoid": [0.9, 0.01, 0.002], "hard concrete": [1, 0, 0]}
    fig = draw("04_sigmoid", {"panels": [panel, panel | {"title": "Both"}]})
    for ax in fig.axes:
        hard, = lines(ax, COLORS[ALL_ATTENTION])
        sigmoid, = lines(ax, COLORS["feed-forward"])
        assert list(hard.get_ydata()) == [1, 0, 0] and min(sigmoid.get_ydata()) == 0.002
        low, high = ax.get_ylim()
        assert low < 0 and high > 1 and ax.get_yscale() == "symlog", "0 has a place below 0.002, which stands apart from it"
    assert legend_labels(fig) == ["cut at ½", "hard concrete", "sigmoid"]


def test_soft_gates_are_sorted_and_divided_at_one_half():
    data = {"steps": [0, 10], "gaps": {"with rounding": [0.1, 0.0], "without": [0.2, 0.1]}, "soft": [0.4, 0.9, 0.6, 0.0],
            "title": "A model"}
    error, gates = draw("04_rounding", data).axes
    assert [list(line.get_ydata()) for line in error.lines] == [[0.1, 0.0], [0.2, 0.1]]
    assert [list(line.get_ydata()) for line in gates.lines[:2]] == [[0.9, 0.6], [0.4, 0.0]]
    assert list(gates.lines[1].get_xdata()) == [3, 4]


def test_a_border_can_have_features_on_one_side_only():
    data = {"worth": [1.0, 0.1], "lambdas": [0.1, 1.0], "kept": [[1, 1], [1, 1]], "border": 0.66,
            "example": {"lambda": 0.1, "steps": [0, 10], "logits": [[2.0, 2.0], [3.0, 1.0]]}}
    path, end, key = draw("04_watching_gates_close", data).axes
    assert to_hex(path.lines[0].get_color()) != to_hex(path.lines[1].get_color()) and "worth" in key.get_xlabel()
    assert key.get_xlim() == pytest.approx((0.1, 1.0)), "the key covers all features"
    assert [len(line.get_xdata()) for line in end.lines] == [4, 0, 2]
