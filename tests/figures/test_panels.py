"""Panels that figures of several notebooks share."""

import json
import math
from itertools import combinations

import pytest
from samples import draw, lines, points

from allatt.config import KINDS
from allatt.figures.style import COLORS
from allatt.system.paths import repository


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name, y", [("12_characters", "test_bits"), ("13_words", "test_loss")])
def test_characters_and_words_against_size(name, y, count):
    """A single seed is the curve; several seeds are thin lines, and the curve is their mean."""
    to_y = (lambda v: v) if y == "test_bits" else math.exp

    def curve(shift):
        return [p | {y: v + shift} for p, v in zip(points(), (2.0, 2.5, 3.0), strict=True)]

    data = {"text": "some text", "models": {kind: {
        "baseline": points()[0] | {y: 2.2 + number}, "mean": curve(number),
        "seeds": [curve(number + 0.1 * s) for s in range(count)]} for number, kind in enumerate(KINDS)}}
    ax, = draw(name, data).axes
    for number, kind in enumerate(KINDS):
        all_lines = lines(ax, COLORS[kind])
        thin = [line for line in all_lines if line.get_linewidth() < 1]
        assert [list(line.get_ydata())[-1] for line in thin] == pytest.approx(
            [to_y(2 + number + 0.1 * s) for s in range(count)] if count > 1 else [])
        mean, *marks = all_lines[len(thin):]
        assert list(mean.get_xdata()) == [50, 75, 100]
        assert list(mean.get_ydata()) == pytest.approx([to_y(v + number) for v in (3.0, 2.5, 2.0)])
        hollow = [line.get_ydata()[0] for line in marks if line.get_fillstyle() == "none"]
        assert hollow == pytest.approx([to_y(2.0 + number), to_y(2.2 + number)]), "control and baseline"
    assert sorted(text.get_text() for text in ax.texts) == ["25%", "25%", "50%", "50%"]
    assert ax.get_title(loc="left").startswith("some text") and ("2 seeds" in ax.get_title(loc="left")) == (count > 1)


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_labels_of_the_main_figure_can_be_read(scale):
    """None lies on another; each curve's ends have one; and each stands on the side where the other curve is not."""
    data = json.loads((repository() / "figures" / scale / "07_perplexity.json").read_text())["data"]
    fig = draw("07_perplexity", data)
    fig.canvas.draw()
    for ax in fig.axes:
        labels = [text for text in ax.texts if "%" in text.get_text()]
        boxes = [text.get_window_extent() for text in labels]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        for curves in data["models"].values():
            assert f"{max(p['sparsity'] for p in curves['mean']):.0%}" in [text.get_text() for text in labels]
