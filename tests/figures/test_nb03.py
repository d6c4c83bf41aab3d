"""The figures of notebook 03."""

import pytest
from samples import draw

from allatt.config import KINDS
from allatt.figures.style import COLORS


@pytest.mark.parametrize("seeds", [1, 3])
def test_learning_curves_of_seeds(seeds):
    curve = {"tokens": [1000, 2000], "loss": [5.0, 4.0]}
    data = {"curves": {kind: [curve] * seeds for kind in KINDS}, "labels": {kind: kind for kind in KINDS},
            "valid": {kind: [4.1] * seeds for kind in KINDS},
            "gaps": [{"tokens": [1000, 2000], "loss": [0.1, seed]} for seed in range(seeds)]}
    left, right = draw("03_learning_curves", data).axes
    mean = max(right.lines, key=lambda line: (line.get_linewidth(), line.get_color() == COLORS["paper"]))
    assert list(mean.get_ydata()) == pytest.approx([0.1, (seeds - 1) / 2])
    assert len(right.lines) == 1 + (1 if seeds == 1 else seeds + 1)


def test_the_ladder_shows_the_gap_by_tokens_and_by_size_on_both_texts():
    rungs = {"tokens": [{"tokens": 1e6, "test": 0.2, "valid": 0.21}, {"tokens": 4e6, "test": 0.1, "valid": 0.09}],
             "body": [{"body": 2e5, "test": 0.15, "valid": 0.16}, {"body": 8e5, "test": 0.1, "valid": 0.09}]}
    left, right = draw("03_ladder", rungs | {"titles": {"tokens": "more text", "body": "larger"}}).axes
    for ax, what in ((left, "tokens"), (right, "body")):
        _, test, valid = ax.lines
        assert list(test.get_xdata()) == [rung[what] for rung in rungs[what]]
        assert list(test.get_ydata()) == [rung["test"] for rung in rungs[what]]
        assert list(valid.get_ydata()) == [rung["valid"] for rung in rungs[what]]
    assert left.get_title(loc="left") == "more text"
