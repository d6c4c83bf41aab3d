"""The figures of notebook 07."""

import json
from itertools import combinations

import pytest
from samples import curves, draw, legend_labels, lines, seed_values

from allatt.config import KIND_NAMES, KINDS
from allatt.figures.style import COLORS
from allatt.system.paths import repository


@pytest.mark.parametrize("seeds", [1, 2])
def test_perplexity_against_both_sizes(seeds):
    fig = draw("07_perplexity", {"models": {kind: curves(5.0 * number, seeds) for number, kind in enumerate(KINDS)},
                                 "floor": {"body_parameters": 40, "body_multiply_adds": 70}})
    for ax, floor in zip(fig.axes, (40, 70), strict=True):
        (shaded,) = ax.patches
        assert (shaded.get_x(), shaded.get_width()) == (0, floor), "what no Transformer-XL can reach"
    for ax, factor in zip(fig.axes, (1, 2), strict=True):
        for kind in KINDS:
            *thin, curve = [line for line in lines(ax, COLORS[kind]) if len(line.get_xdata()) > 1]
            marks = [line for line in lines(ax, COLORS[kind]) if len(line.get_xdata()) == 1]
            shift = 5.0 * KINDS.index(kind)
            assert list(curve.get_xdata()) == [50 * factor, 75 * factor, 100 * factor]
            assert list(curve.get_ydata()) == pytest.approx([80 + shift, 60 + shift, 50 + shift])
            assert len(thin) == (2 if seeds == 2 else 0), "a line per seed if there are several"
            assert all(line.get_linewidth() < curve.get_linewidth() for line in thin)
            hollow = {(line.get_xdata()[0], round(line.get_ydata()[0], 6)) for line in marks if line.get_fillstyle() == "none"}
            assert hollow == {(100 * factor, 50 + shift), (100 * factor, 70)}, "unpruned models are hollow"
        assert sorted(text.get_text() for text in ax.texts if "%" in text.get_text()) == ["25%", "25%", "50%", "50%"]
    assert fig.axes[0].get_xlabel() == "parameters of the body"
    assert fig.axes[1].get_xlabel() == "multiply-adds per token"
    assert legend_labels(fig) == [f"{name}, {what}" for name in KIND_NAMES.values()
                                  for what in ("pruned", "control, λ = 0", "baseline")]


@pytest.mark.parametrize("saved", sorted(repository().glob("figures/*/07_perplexity.json")), ids=lambda path: path.parent.name)
def test_no_label_lies_on_another_in_a_committed_figure(saved):
    fig = draw("07_perplexity", json.loads(saved.read_text(encoding="utf-8"))["data"])
    fig.draw_without_rendering()
    for ax in fig.axes:
        labels = [text for text in ax.texts if "%" in text.get_text()]
        assert {text.get_color() for text in labels} == {COLORS[kind] for kind in KINDS}, "each model has some"
        for one, other in combinations(labels, 2):
            assert not one.get_window_extent().overlaps(other.get_window_extent()), (one.get_text(), other.get_text())


@pytest.mark.parametrize("seeds", [1, 2])
def test_loss_above_the_control(seeds):
    fig = draw("07_above_control", {"models": {kind: curves(0.0, seeds) for kind in KINDS}})
    for ax, x in zip(fig.axes, ([0, 25, 50], [0, 25, 50]), strict=True):
        for kind in KINDS:
            *thin, line = lines(ax, COLORS[kind])
            assert len(thin) == (2 if seeds == 2 else 0)
            assert list(line.get_xdata()) == x and list(line.get_ydata()) == [0, 10, 30]


def test_gains_are_one_row_per_sparsity_with_seeds_and_interval():
    readings = {"As they are": {"10%": seed_values(1.5, 2.5), "20%": seed_values(0.5), "30%": seed_values()}}
    readings["From its control"] = dict.fromkeys(readings["As they are"], seed_values(1.0))
    left, right = draw("07_gains", {"readings": readings}).axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["10%", "20%", "30%"]
    assert [ax.get_title(loc="left") for ax in (left, right)] == list(readings)
    bars = [line for line in left.lines if list(line.get_xdata()) == [1.0, 3.0]]
    assert len(bars) == 1 and set(bars[0].get_ydata()) == {0}, "one interval, in the row of two seeds"
    dots = {round(y): sorted(line.get_xdata()) for line in left.lines if line.get_marker() == "o" for y in line.get_ydata()}
    assert dots == {0: [1.5, 2.5], 1: [0.5]}
    assert left.yaxis_inverted(), "the first row is at the top"
