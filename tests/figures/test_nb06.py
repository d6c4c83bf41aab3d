"""The figures of notebook 06."""

import pytest
from matplotlib.colors import to_rgb
from samples import draw, legend_labels, lines, seed_values

from allatt.config import ALL_ATTENTION
from allatt.figures.style import COLORS
from allatt.paper.claims import MARGINS


def test_variants_show_heads_and_losses_at_equal_heads():
    data = {"heads": {"all three": seed_values(17, 19), "no warm-up": seed_values(14, 15)}, "of": 32, "lam": 0.07,
            "off": {"all three": seed_values(0.0, 0.0), "no warm-up": seed_values()}}
    heads, loss = draw("06_three_methods", data).axes
    assert heads.get_xlim()[0] < 0 and heads.get_xlim()[1] > 32 and "0.07" in heads.get_title(loc="left")
    assert [text.get_text() for text in loss.texts] == ["outside of the curve"]
    assert sorted(x for line in heads.lines if line.get_marker() == "o" for x in line.get_xdata()) == [14, 15, 17, 19]


def test_a_variant_that_the_curve_does_not_reach_in_every_seed_has_dots_and_no_mean():
    data = {"heads": {"all three": seed_values(16, 15, 14), "random weights": seed_values(3, 2, 3)}, "of": 32, "lam": 0.07,
            "off": {"all three": seed_values(0.0, 0.0, 0.0), "random weights": seed_values(-0.09, -0.04)}}
    loss = draw("06_three_methods", data).axes[1]
    assert [text.get_text() for text in loss.texts] == ["1 of 3 outside of the curve"]
    means = [list(line.get_ydata()) for line in loss.lines if line.get_marker() == "|"]
    assert means == [[0]], "a mean for the first row alone"
    assert sorted(x for line in loss.lines if line.get_marker() == "o" for x in line.get_xdata()) == [-0.09, -0.04, 0, 0, 0]


def test_a_difference_that_is_no_difference_does_not_fill_the_axis():
    data = {"heads": {"all three": seed_values(16), "no scaling": seed_values(16)}, "of": 32, "lam": 0.07,
            "off": {"all three": seed_values(0.0), "no scaling": seed_values(0.00003)}}
    low, high = draw("06_three_methods", data).axes[1].get_xlim()
    assert low <= -MARGINS.ways and high >= MARGINS.ways


def test_the_dot_of_a_single_seed_stands_at_its_label_and_several_stand_below_their_interval():
    data = {"heads": {"one": seed_values(17), "two": seed_values(14, 15)}, "of": 32, "lam": 0.07,
            "off": {"one": seed_values(0.0), "two": seed_values(0.0, 0.1)}}
    heads, _ = draw("06_three_methods", data).axes
    dots = [list(line.get_ydata()) for line in heads.lines if line.get_marker() == "o"]
    assert dots[0] == [0] and all(1 < y < 1.5 for y in dots[1])


def test_training_has_a_mean_and_a_range_over_seeds():
    """Step 2 has no loss in one seed, and step 4 was logged by one alone: there is no mean of all."""
    runs = [{"step": [1, 2, 3], "kept": [8, 6, 4], "above": [0.1, None, 0.3]},
            {"step": [1, 2, 3, 4], "kept": [7, 2, 2, 1], "above": [0.3, 0.2, 0.9, 0.1]},
            {"step": [1, 2, 3], "kept": [3, 1, 0], "above": [0.8, 0.1, 0.9]}]
    fig = draw("06_stability", {"of": 8, "variants": {"all three": runs, "none": runs[:1]}})
    heads, loss = fig.axes
    assert legend_labels(fig) == ["all three", "none"]
    assert [line.get_xydata().tolist() for line in heads.lines] == [[[1, 6], [2, 3], [3, 2]], [[1, 8], [2, 6], [3, 4]]]
    assert [line.get_drawstyle() for line in heads.lines] == ["steps-post"] * 2, "heads are kept until the next step"
    assert [line.get_xydata().tolist() for line in loss.lines[:2]] == [
        [[1, pytest.approx(0.4)], [3, pytest.approx(0.7)]], [[1, 0.1], [3, 0.3]]]
    of_heads = {(1, 3), (1, 8), (2, 3), (2, 8), (2, 1), (2, 6), (3, 0), (3, 4)}  # those of step 1 until step 2
    of_losses = {(1, 0.1), (1, 0.8), (3, 0.3), (3, 0.9)}
    for ax, ranges in ((heads, of_heads), (loss, of_losses)):
        band, = ax.collections  # of the variant with two seeds
        assert ranges <= set(map(tuple, band.get_paths()[0].vertices.tolist()))
        assert band.get_facecolor()[0][:3].tolist() == pytest.approx(to_rgb(ax.lines[0].get_color()))


def test_a_start_has_a_color_and_a_warm_up_a_line_style():
    data = {"lambdas": [0.1, 1.0], "worth_it": [7, 0], "losses": {"trained": {"step": [1, 2], "loss": [4.0, 3.9]},
                                                                 "random": {"step": [1, 2], "loss": [6.0, 4.2]}},
            "kept": {"from zero": {"none": [5, 0], "200 steps": [9, 1]}, "learned": {"none": [8, 2], "200 steps": [9, 2]}}}
    fig = draw("06_who_needs_warm_up", data)
    kept, loss = fig.axes
    assert [list(line.get_ydata()) for line in lines(kept, COLORS["feed-forward"])] == [[5, 0], [9, 1]]
    assert [line.get_linestyle() for line in lines(kept, COLORS[ALL_ATTENTION])] == [":", "-"]
    assert list(lines(kept, COLORS["control"])[0].get_ydata()) == [7, 0]
    assert len(loss.lines) == 2 and len(legend_labels(fig)) == 5


def test_without_gates_the_penalty_is_drawn_as_0():
    run = {"step": [1, 2, 3], "lambda": [0.1, 0.1, None], "kept": [8, 6, 6], "above": [0.1, 0.2, 0.1]}
    fig = draw("06_trained_longer", {"of": 8, "variants": {"all three": run, "half open": run, "no warm-up": run}})
    pull, heads, loss = fig.axes
    assert [list(line.get_ydata()) for line in pull.lines] == [[0.1, 0.1, 0]] * 3
    assert len(heads.lines) == 3 and len(loss.lines) == 4 and legend_labels(fig) == ["all three", "half open", "no warm-up"]
