"""Claims on curves read in other ways: the same points, other sizes, other lines."""

from dataclasses import replace

import pytest
from made_up import measurements, ours, theirs

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper import curves, sensitivity
from allatt.paper.claims import METHODS
from allatt.paper.decisions import EQUAL, FAILS, HOLDS
from allatt.paper.verdicts import find


def with_multiply_adds(factor):
    """A change: multiply-adds are ten times the parameters, and Transformer-XL's `factor` times that."""
    def change(results):
        for kind, by in ((ALL_ATTENTION, 10), (TRANSFORMER_XL, 10 * factor)):
            points = [replace(p, body_multiply_adds=by * p.body_parameters) for p in results.sweeps[kind]]
            results.sweeps[kind] = results.characters[kind] = results.words[kind] = points
    return change


@pytest.mark.parametrize("number", ["3a", "3b", "4a", "4b", "4c", "6a", "6b"])
def test_as_judged_is_what_is_judged(number):
    judged, read = find(measurements())[number], sensitivity.find(measurements(), number)
    assert judged == read and judged.p < 0.05


@pytest.mark.parametrize("number", ["3a", "3b", "6a", "6b"])
@pytest.mark.parametrize("name, mean", [("as judged", 0.285), ("without the size at 35%", 0.24),
                                        ("seven sizes, 5 to 35%", 0.24), ("a fifth size, 36.8%", 0.3163)])
def test_other_sizes_can_be_averaged(number, name, mean):
    """The gain is 1.2 times the sparsity, so its mean is 1.2 times that of the sizes."""
    words = sensitivity.find(measurements(), number, **sensitivity.READINGS[name]).ours
    assert float(words.split("mean gain test ")[1].split()[0]) == pytest.approx(mean, abs=0.00051)


def test_a_size_that_only_another_reading_needs_is_named_there():
    def up_to_35_percent(results):
        results.sweeps[ALL_ATTENTION] = [ours(20, 5.0, 0.0), ours(13, 5.2, 0.1)]
    measured = measurements(change=up_to_35_percent)
    assert sensitivity.find(measured, "3a").p is not None
    found = sensitivity.find(measured, "3a", **sensitivity.READINGS["a fifth size, 36.8%"])
    assert found.ours == "the sweeps do not reach 36.8% in every seed; extend their lambdas" and found.p is None


@pytest.mark.parametrize("factor, leans", [(1.0, HOLDS), (0.9, None), (1.2, None)])
def test_at_equal_multiply_adds(factor, leans):
    """Transformer-XL loses 0.8 of loss on half of its 200 parameters: 0.0008 per multiply-add of the 1,000 that heads have."""
    measured = measurements(seeds=1, change=with_multiply_adds(factor))
    pair = [measured.seeds[0].sweeps[kind] for kind in (ALL_ATTENTION, TRANSFORMER_XL)]
    for sparsity in (0.1, 0.2):
        spent = 2000 * (1 - sparsity)  # of all multiply-adds that All-attention has
        removed = (2000 - spent / factor) / 2000  # of Transformer-XL's parameters
        expected = None if removed < 0 else 5.0 + 0.8 * removed / 0.5 - (5.0 + 0.4 * sparsity)
        gained = curves.gain(*pair, sparsity, size="body_multiply_adds")
        assert gained == (None if expected is None else pytest.approx(expected)), (factor, sparsity)
    if leans:
        same = curves.gain(*pair, 0.1), curves.gain(*pair, 0.1, size="body_multiply_adds")
        assert same[0] == pytest.approx(same[1])


def test_a_smooth_curve_is_fritsch_and_carlson_s():
    """By hand, for (0, 0), (1, 1), (2, 4): slopes 0, 1.5 (the harmonic mean of 1 and 3) and 4 at the points."""
    points = [ours(0, 0.0), ours(1, 1.0), ours(2, 4.0)]
    for point in points:
        assert curves.smooth(points, "heads", "test_loss", point.heads) == pytest.approx(point.test_loss)
    assert curves.smooth(points, "heads", "test_loss", 0.5) == pytest.approx(0.5 * 1 - 0.125 * 1.5)
    assert curves.smooth(points, "heads", "test_loss", 1.5) == pytest.approx(0.5 * (1 + 4) + 0.125 * (1.5 - 4))
    assert curves.smooth(points, "heads", "test_loss", 2.1) is None
    assert curves.smooth(points[:1], "heads", "test_loss", 0) == 0.0


def test_on_a_smooth_curve_a_bend_flatters_less():
    """Transformer-XL's last heads: on a chord over the bend it looks worse than it is, and All-attention better."""
    mine = [ours(20, 5.0), ours(10, 5.2)]
    bent = [theirs(20, 5.0), theirs(12, 5.02), theirs(4, 5.1), theirs(0, 5.8)]
    chord, curve = curves.gain(mine, bent, 0.45), curves.gain(mine, bent, 0.45, **sensitivity.READINGS["smooth curves"])
    assert chord - 0.05 > curve > 0


def test_the_table_names_all_readings_and_no_p_value_of_one_seed():
    lines = sensitivity.readings(measurements(change=with_multiply_adds(1.0))).splitlines()
    assert len(lines) == 1 + 4 * len(sensitivity.READINGS) + 3 * 2
    assert all("< 0.001" in line and HOLDS in line for line in lines[1:])
    one = sensitivity.readings(measurements(seeds=1, change=with_multiply_adds(1.0)))
    assert not any(word in one for word in (HOLDS, EQUAL, FAILS, "< 0.001"))
    for name in sensitivity.READINGS:
        assert one.count(name) == (7 if name in ("as judged", "smooth curves") else 4)
    without = measurements(change=lambda results: (results.methods.clear(), results.words.clear()))
    numbers = [line.split()[0] for line in sensitivity.readings(without).splitlines()[1:]]
    assert numbers == [number for number in ("3a", "3b", "6a") for _ in sensitivity.READINGS]


@pytest.mark.parametrize("number", ["4a", "4b", "4c"])
def test_a_method_that_is_left_out_can_be_read_on_both_lines(number):
    """A sweep with a bend: 0 at 20 and 10 heads, 1 at none. At 5 heads a line has 0.5; the cubic has slopes of 0 at 10 and of
    -0.15 at none (the one-sided formula), so that it has 0.5 - 0.125 * 10 * 0.15 = 0.3125."""
    def change(results):
        results.sweeps[ALL_ATTENTION] = [ours(20, 0.0, 0.0), ours(10, 0.0, 0.1), ours(0, 1.0, 0.2)]
        results.methods[METHODS[number]] = ours(5, 0.6126)
    measured = measurements(change=change)
    straight, curved = (sensitivity.find(measured, number, **sensitivity.READINGS[name]) for name in sensitivity.LINES)
    assert ": test +0.113" in straight.ours and ": test +0.300" in curved.ours
