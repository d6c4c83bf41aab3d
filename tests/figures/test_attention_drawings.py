"""The figures of notebook 01: memory, maps of attention, shares."""

import pytest
from matplotlib.colors import to_rgba
from samples import draw, legend_labels, lines

from allatt.figures.nb01 import MEMORY
from allatt.figures.style import COLORS


def test_a_query_reads_as_many_states_in_each_layer_and_only_those_of_memory_across_the_border():
    ax, = draw("01_memory", {"layers": 2, "segment": 4}).axes
    reads = {color: len(lines(ax, color)) for color in (MEMORY, COLORS["context"])}
    assert reads == {MEMORY: 2 * (4 + 1), COLORS["context"]: 2 * (1 + 4)}, "first and last query: 5 positions each"
    border, = lines(ax, "black")
    x = border.get_xdata()[0]
    for color, crosses in ((MEMORY, True), (COLORS["context"], False)):
        assert {min(line.get_xdata()) < x < max(line.get_xdata()) for line in lines(ax, color)} == {crosses}
    memory = [patch for patch in ax.patches if patch.get_facecolor() == to_rgba(MEMORY)]
    assert len(memory) == 2 * 4, "what entered each layer; the last layer's output is kept by none"
    assert legend_labels(ax.figure) == ["reads memory", "reads its segment", "reads persistent vectors"]


@pytest.mark.parametrize("with_share", [True, False])
def test_a_map_has_a_row_per_query_no_future_and_a_bar_per_query(with_share):
    weights = [[0.2, 0.9, 0.9], [0.3, 0.4, 0.9], [0.1, 0.2, 0.3]]
    head = {"title": "layer 1", "weights": weights} | ({"share": [0.8, 0.3, 0.4]} if with_share else {})
    fig = draw("01_sentence", {"tokens": ["a", "b", "c"], "heads": [head] * 4})
    ax, share = fig.axes[:2]
    shown = ax.images[0].get_array()
    assert shown.mask.tolist() == [[False, True, True], [False, False, True], [False] * 3]
    assert shown.compressed().tolist() == [0.2, 0.3, 0.4, 0.1, 0.2, 0.3] and ax.images[0].norm.vmax == 1
    assert [label.get_text() for label in ax.get_yticklabels()] == [label.get_text() for label in ax.get_xticklabels()] == \
        ["a", "b", "c"]
    bars = [bar.get_width() for bar in share.patches if bar.get_facecolor() == to_rgba(COLORS["persistent"])]
    assert bars == ([0.8, 0.3, 0.4] if with_share else []) and share.axison == with_share
    if with_share:
        assert share.get_ylim() == (2.5, -0.5), "the same rows as the map"


def test_the_range_of_every_heads_share():
    quantiles = [[[0.1, 0.2, 0.3, 0.4, 0.5]] * 2, [[0.0, 0.1, 0.5, 0.9, 1.0]] * 2]
    ax, = draw("01_shares", {"mean": [[0.3, 0.31], [0.5, 0.6]], "quantiles": quantiles}).axes
    means = [line.get_ydata()[0] for line in lines(ax, "black")]
    assert means == [0.3, 0.31, 0.5, 0.6]
    ranges = [list(line.get_ydata()) for line in lines(ax, COLORS["persistent"])]
    assert ranges == [[0.1, 0.5], [0.2, 0.4]] * 2 + [[0.0, 1.0], [0.1, 0.9]] * 2
    assert [label.get_text() for label in ax.get_xticklabels()] == ["heads of layer 1", "heads of layer 2"]
