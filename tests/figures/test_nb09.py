"""The figures of notebook 09."""

import pytest
from samples import draw, legend_labels, lines

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL
from allatt.figures.style import COLORS


@pytest.mark.parametrize("count", [1, 2])
def test_time_shows_removed_and_gated_heads_apart(count):
    table = [{"share": share, "gates": gates, "time": time, "ideal": 1 - share * (not gates), "best": 1.0}
             for share, gates, time in ((0, False, 1.0), (0.5, False, 0.6), (1, False, 0.0), (0.5, True, 1.02))]
    passes = {"inference": dict.fromkeys(KINDS, table), "training step": dict.fromkeys(KINDS, table)}
    fig = draw("09_speed", {"shapes": {f"size {number}": passes for number in range(count)}})
    assert len(fig.axes) == 2 * count
    for ax in fig.axes:
        for kind in KINDS:
            ideal, removed, gates = lines(ax, COLORS[kind])
            assert list(ideal.get_ydata()) == [100, 50, 0] and ideal.get_linestyle() == "--"
            assert list(removed.get_ydata()) == [100, 60, 0] and removed.get_linestyle() == "None"
            assert list(gates.get_xdata()) == [50] and list(gates.get_ydata()) == [102] and gates.get_marker() == "+"


def test_memory_is_in_millions_of_bytes():
    rows = [{"share": 0.5, "weights": 3_000_000, "inference": 2_000_000, "training": 7_000_000}]
    fig = draw("09_memory", {"models": dict.fromkeys(KINDS, rows)})
    assert [lines(ax, COLORS[ALL_ATTENTION])[0].get_ydata()[0] for ax in fig.axes] == [3, 2, 7]
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Weights", "Peak, inference", "Peak, training"]


def test_figure_1_has_measured_points_on_ideal_and_counted_lines():
    keys = ("name", "heads", "time", "ideal", "counted")
    rows = [dict(zip(keys, row, strict=True)) for row in
            (("all heads", 128, 1.0, 1.0, 1.0), ("lambda 0.02", 32, 0.4, 0.3, 0.2), ("no heads", 0, 0.1, 0.1, 0.05))]
    fig = draw("09_figure_1", {"lists": {pass_name: dict.fromkeys(KINDS, rows) for pass_name in ("inference", "training")}})
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Inference", "Training"]
    for ax in fig.axes:
        for kind in KINDS:
            counted, ideal, measured = lines(ax, COLORS[kind])
            assert list(counted.get_ydata()) == [100, 20, 5] and counted.get_linestyle() == ":"
            assert list(ideal.get_ydata()) == [100, 30, 10] and ideal.get_linestyle() == "--"
            assert list(measured.get_xdata()) == [0, 75, 100] and list(measured.get_ydata()) == [100, 40, 10]
            assert (measured.get_fillstyle() == "none") == (kind == TRANSFORMER_XL), "where two lie in one place, both are seen"
        assert {text.get_text(): text.get_position()[0] for text in ax.texts} == {"λ =": 0, "0.02": 75}
    assert legend_labels(fig) == ["All-attention, measured", "Transformer-XL, measured",
                                  "ideal: straight from all heads to none", "counted multiply-adds"]
