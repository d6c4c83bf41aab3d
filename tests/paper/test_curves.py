"""Comparisons of curves on straight lines between points, and nothing beyond their ends."""

import math
from dataclasses import replace

import pytest
from made_up import some_point

from allatt.paper import curves


def test_off_the_curve_inside_and_beyond_its_end():
    curve = [some_point(heads=heads, test_loss=loss) for heads, loss in ((8, 4.0), (4, 4.4), (2, 5.0))]
    at = curves.off_the_curve
    assert at(some_point(heads=6, test_loss=4.5), curve) == pytest.approx(0.3)
    assert at(some_point(heads=1, test_loss=4.6), curve) == pytest.approx(-0.4), "fewer heads and better than the smallest"
    other = [replace(point, valid_loss=point.test_loss + 1) for point in curve]
    assert at(some_point(heads=6, test_loss=0, valid_loss=5.5), other, "valid_loss") == pytest.approx(0.3)
    assert at(some_point(heads=1, test_loss=9, valid_loss=5.6), other, "valid_loss") == pytest.approx(-0.4)
    assert at(some_point(heads=1, test_loss=5.1), curve) is None and at(some_point(heads=9, test_loss=3.0), curve) is None


def test_comparisons_at_equal_parameters_and_at_equal_loss_by_hand():
    ours = [some_point(sparsity=s, body_parameters=100 * (1 - s), test_loss=loss) for s, loss in ((0, 4.0), (0.5, 4.2))]
    theirs = [some_point(sparsity=s, body_parameters=100 - 40 * s, test_loss=loss) for s, loss in ((0, 4.0), (1, 4.8))]
    assert curves.gain(ours, theirs, 0.2) == pytest.approx(4.4 - 4.08)  # both at 80 parameters
    on_valid = ([replace(point, valid_loss=2 * point.test_loss) for point in points] for points in (ours, theirs))
    assert curves.gain(*on_valid, 0.2, "valid_loss") == pytest.approx(2 * (4.4 - 4.08))
    assert curves.gain(ours, theirs, 0.45) is None, "Transformer-XL ends at 60"
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.25) == pytest.approx(0.5)  # both lose 0.2
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.1) == pytest.approx(0.2)
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.5) == 0.5, "even the smallest of ours is better: a bound"
    worse = [replace(point, test_loss=point.test_loss + 1) for point in ours]
    assert curves.sparsity_at_equal_loss(worse, theirs, 0.25) is None, "never as good"
    twins = [some_point(heads=heads, test_loss=loss) for heads, loss in ((0, 0.0), (1, 1.0), (1, 3.0), (2, 6.0))]
    assert [curves.interpolate(twins, "heads", "test_loss", heads) for heads in (0.5, 1, 1.5)] == [1, 2, 4]
    assert curves.interpolate(twins[1:3], "heads", "test_loss", 1) == 2


def test_the_crossing_by_hand():
    """Ours loses 0.4 on the way from 100 to 50 parameters, theirs 0.8 from 90 to 60; theirs starts 0.2 ahead."""
    ours = [some_point(sparsity=s, body_parameters=100 * (1 - s), test_loss=loss, valid_loss=9)
            for s, loss in ((0, 4.0), (0.5, 4.4))]
    theirs = [some_point(body_parameters=size, test_loss=loss, valid_loss=8) for size, loss in ((90, 3.8), (60, 4.6))]
    # 4 + 0.008 (100 - P) = 3.8 + 0.8 / 30 (90 - P), so P (0.8 / 30 - 0.008) = 3.8 + 2.4 - 4.8
    at = 1.4 / (0.8 / 30 - 0.008)
    assert curves.crossing(ours, theirs) == curves.crossing(ours[::-1], theirs[::-1]) == pytest.approx(1 - at / 100)
    assert curves.gain(ours, theirs, 1 - at / 100) == pytest.approx(0, abs=1e-12)
    assert curves.crossing(ours, theirs, "valid_loss") is None, "behind at every size"
    assert curves.crossing(theirs, ours, "valid_loss") == 0, "ahead at every size: the largest that both reach"
    beyond = [some_point(body_parameters=size, test_loss=1) for size in (10, 40)]
    assert curves.crossing(ours, beyond) is None and curves.crossing([], theirs) is None and curves.crossing(ours, []) is None


def test_the_crossing_is_the_one_after_which_ours_stays_ahead_at_any_measure_of_size():
    sizes = 100, 80, 60, 40
    ours = [some_point(sparsity=1 - size / 100, body_parameters=size, body_multiply_adds=3 * size, test_loss=4)
            for size in sizes]

    def theirs(*losses):
        return [some_point(body_parameters=size, body_multiply_adds=4 * size, test_loss=loss)
                for size, loss in zip(sizes, losses, strict=True)]

    assert curves.crossing(ours, theirs(3, 5, 3, 5)) == pytest.approx(0.5), "ahead at 80, behind again at 60"
    assert curves.crossing(ours, theirs(3, 5, 5, 3)) is None, "ahead at 80 and 60, and behind in the end"
    assert curves.crossing(ours, theirs(3, 4, 5, 6)) == pytest.approx(0.2), "level is not ahead"
    assert curves.crossing(ours, theirs(4, 4, 5, 6)) == pytest.approx(0.2), "level up to there"
    # theirs has 4 multiply-adds per parameter: its crossing at 70 parameters is at 280, where ours has 93 and a third
    assert curves.crossing(ours, theirs(3, 3, 5, 5), size="body_multiply_adds") == pytest.approx(1 - 280 / 300)


LINE = [some_point(body_parameters=size, test_loss=loss) for size, loss in ((10, 5.0), (30, 3.0), (20, 4.5))]


def test_interpolation_on_straight_lines_in_any_order():
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 25) == pytest.approx(3.75)
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 20) == 4.5
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 10) == 5.0


@pytest.mark.parametrize("at", [9.99, 30.01, math.nan])
def test_nothing_is_extrapolated(at):
    assert curves.interpolate(LINE, "body_parameters", "test_loss", at) is None
    assert curves.interpolate(LINE[:1], "body_parameters", "test_loss", at) is None


def test_two_points_at_one_place_give_their_mean():
    twins = [some_point(heads=1, test_loss=loss) for loss in (2.0, 4.0)]
    assert curves.interpolate(twins, "heads", "test_loss", 1) == 3.0


@pytest.mark.parametrize("loss, parameters", [(5.0, 10), (4.75, 15), (4.5, 20), (3.75, 25), (3.0, 30)])
def test_parameters_needed_for_a_loss(loss, parameters):
    assert curves.parameters_needed(LINE, loss) == pytest.approx(parameters)
    at_equal = curves.interpolate(LINE, "body_parameters", "test_loss", parameters)
    assert at_equal == pytest.approx(loss), "the inverse of reading at equal parameters"


def test_parameters_needed_are_the_fewest_if_the_line_goes_up_and_down():
    wavy = [some_point(body_parameters=size, test_loss=loss) for size, loss in ((10, 5.0), (20, 3.0), (30, 4.0), (40, 2.0))]
    assert curves.parameters_needed(wavy, 3.5) == 17.5
    assert curves.parameters_needed(wavy, 2.5) == 37.5


def test_models_of_equal_size_count_as_one_with_their_mean_in_both_directions():
    """Two lambdas that keep as many heads: 4.0 and 4.4 at 200 are 4.2, wherever the curve is read."""
    sizes_and_losses = (100, 5.0), (200, 4.0), (200, 4.4), (300, 3.9)
    twins = [some_point(body_parameters=size, test_loss=loss) for size, loss in sizes_and_losses]
    size = curves.parameters_needed(twins, 4.1)
    assert size == pytest.approx(200 + 100 / 3) and curves.interpolate(twins, "body_parameters", "test_loss", size) \
        == pytest.approx(4.1)


@pytest.mark.parametrize("loss", [2.9, 5.1])
def test_parameters_needed_are_not_extrapolated(loss):
    assert curves.parameters_needed(LINE, loss) is None
    assert curves.parameters_needed([], loss) is None


def test_above_control_measures_both_texts_against_the_control():
    control = some_point(test_loss=4.0, valid_loss=4.2, body_parameters=200)
    first, second = curves.above_control([control, some_point(test_loss=4.5, valid_loss=5.0, body_parameters=50)], control)
    assert (first.above, first.valid_above, first.removed) == (0, 0, 0)
    assert (second.above, second.valid_above, second.removed) == (0.5, pytest.approx(0.8), 0.75)
