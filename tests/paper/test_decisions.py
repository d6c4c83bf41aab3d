"""From differences by seed to a verdict: margins in both directions, both texts, and how often chance alone is believed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from allatt.paper.decisions import (
    EQUAL,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    TEXTS,
    best_supported,
    both,
    equal,
    exactly,
    on_both_texts,
    three_way,
)
from allatt.paper.stats import detectable, mean_above, mean_below

SCATTER = (0.0, 0.01, -0.01, 0.005, -0.005)
ERROR = (0.00025 / 4 / 5) ** 0.5
"""Standard error of a mean whose seeds differ by SCATTER."""


def around(mean):
    return [mean + by for by in SCATTER]


def told(decision):
    return decision[0] if decision[1] is not None and decision[1] < 0.05 else INCONCLUSIVE


def test_counting_has_no_p_value():
    for holds, verdict in ((True, HOLDS), (False, FAILS)):
        found = exactly("so many", holds)
        assert (found.ours, found.leans, found.exact, found.p, found.points) == ("so many", verdict, True, None, ())


@pytest.mark.parametrize("mean, verdict", [(0.2, HOLDS), (0.12, HOLDS), (0.1, INCONCLUSIVE), (0.08, EQUAL), (0.0, EQUAL),
                                           (-0.08, EQUAL), (-0.1, INCONCLUSIVE), (-0.12, FAILS), (-0.2, FAILS)])
def test_three_verdicts_part_at_the_margin_and_at_its_negative(mean, verdict):
    assert told(three_way(around(mean), 0.1)) == verdict


@pytest.mark.parametrize("mean, verdict", [(0.2, FAILS), (0.12, FAILS), (0.1, INCONCLUSIVE), (0.08, HOLDS), (0.0, HOLDS),
                                           (-0.08, HOLDS), (-0.1, INCONCLUSIVE), (-0.12, FAILS), (-0.2, FAILS)])
def test_about_equal_fails_on_either_side(mean, verdict):
    assert told(equal(around(mean), 0.1)) == verdict


@pytest.mark.parametrize("mean, verdict, distance", [(0.115, HOLDS, 0.015), (0.085, EQUAL, 0.015), (-0.085, EQUAL, 0.015),
                                                     (-0.115, FAILS, 0.015)])
def test_a_p_value_is_twice_that_of_the_distance_to_the_nearest_border(mean, verdict, distance):
    leans, p = three_way(around(mean), 0.1)
    assert leans == verdict and p == pytest.approx(2 * t.sf(distance / ERROR, 4), rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-400, 400), min_size=2, max_size=6, unique=True))
def test_the_other_sign_gives_the_other_verdict_with_the_same_p_value(thousandths):
    values = [value / 1000 for value in thousandths]
    leans, p = three_way(values, 0.1)
    mirrored, same = three_way([-value for value in values], 0.1)
    assert same == pytest.approx(p)
    if p < 1:
        assert mirrored == {HOLDS: FAILS, FAILS: HOLDS, EQUAL: EQUAL}[leans]
    assert equal(values, 0.1)[1] == pytest.approx(equal([-value for value in values], 0.1)[1])


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_one_seed_or_no_scatter_tells_nothing(values):
    assert three_way(values, 0.1) == equal(values, 0.1) == (INCONCLUSIVE, None)


def test_of_exclusive_verdicts_the_best_supported_is_taken_with_twice_its_p_value():
    assert best_supported({HOLDS: 0.03, FAILS: 0.9}) == (HOLDS, 0.06)
    assert best_supported({HOLDS: 0.9, EQUAL: 0.5, FAILS: 0.01}) == (FAILS, 0.02)
    assert best_supported({HOLDS: 0.8, FAILS: 0.9}) == (HOLDS, 1.0)
    assert best_supported({HOLDS: None, FAILS: 0.1}) == (INCONCLUSIVE, None)


def test_decisions_that_must_agree():
    assert both((HOLDS, 0.01), (HOLDS, 0.04)) == both((HOLDS, 0.04), (HOLDS, 0.01)) == (HOLDS, 0.04)
    assert both((EQUAL, 0.02)) == (EQUAL, 0.02) and both((FAILS, 0.1), (FAILS, 0.3), (FAILS, 0.2)) == (FAILS, 0.3)
    for other in (EQUAL, FAILS):
        assert both((HOLDS, 1e-9), (other, 1e-9)) == (INCONCLUSIVE, 1.0), "a disagreement, however sure each is"
    assert both((HOLDS, 0.01), (INCONCLUSIVE, None)) == both((INCONCLUSIVE, None), (INCONCLUSIVE, None)) == (INCONCLUSIVE, None)
    assert both((INCONCLUSIVE, 1.0), (HOLDS, 0.01)) == (INCONCLUSIVE, 1.0)


# Both texts

def of_texts(test, valid, margin=0.1, **options):
    by_field = dict(zip(TEXTS, (test, valid), strict=True))
    return on_both_texts(by_field.get, lambda values: three_way(values, margin), ["a point"], "begin: ", margin, **options)


def test_a_finding_says_what_both_texts_show():
    found = of_texts(around(0.2), around(0.3), end="; end")
    assert found.ours == "begin: test +0.200 [+0.190, +0.210], validation +0.300 [+0.290, +0.310] nats; end"
    assert (found.leans, found.points, found.exact) == (HOLDS, ["a point"], False)
    assert found.p == pytest.approx(three_way(around(0.2), 0.1)[1]), "the text that is nearer to the margin"
    assert of_texts(around(0.3), around(0.2)).p == found.p


@pytest.mark.parametrize("test, valid", [(0.2, 0.0), (0.0, 0.2), (0.2, -0.2), (-0.2, 0.2), (0.0, -0.2)])
def test_texts_that_disagree_tell_nothing(test, valid):
    found = of_texts(around(test), around(valid))
    assert (found.leans, found.p) == (INCONCLUSIVE, 1.0) and found.detectable is not None


@pytest.mark.parametrize("test, valid", [(None, None), (None, around(0.2)), (around(0.2), None)])
def test_a_seed_that_does_not_reach_leaves_nothing_to_test(test, valid):
    found = of_texts(test, valid)
    assert found.ours == "begin: a seed is outside of the sweep" and found.points == ["a point"]
    assert (found.leans, found.p, found.detectable) == (INCONCLUSIVE, None, None)


def test_what_the_seeds_would_have_shown_is_beyond_the_margin():
    assert of_texts(around(0.0), around(5.0)).detectable == pytest.approx(0.1 + (2.776 + 0.941) * ERROR, rel=1e-3)
    assert of_texts(around(0.7), around(0.0)).detectable == pytest.approx(0.1 + (2.776 + 0.941) * ERROR, rel=1e-3)
    wide = [3 * value for value in SCATTER]
    assert of_texts(around(0.0), wide).detectable == of_texts(wide, around(0.0)).detectable, "of the text that scatters more"
    assert of_texts(around(0.0), wide).detectable == pytest.approx(0.1 + 3 * (2.776 + 0.941) * ERROR, rel=1e-3)
    assert of_texts([0.2], [0.2]).detectable is None


# How often

STANDARD = (-(2 ** 0.5), 0.0, 0.0, 0.0, 2 ** 0.5)
"""Values with a standard deviation of 1."""


def shares(decide, mean, deviation, seeds, experiments=300):
    """How often each verdict is told with a margin of 0.1, over experiments whose true mean is this."""
    draws = np.random.default_rng(0).normal(mean, deviation, (experiments, seeds)).tolist()
    verdicts = [told(decide(values, 0.1)) for values in draws]
    return {verdict: verdicts.count(verdict) / experiments for verdict in (HOLDS, EQUAL, FAILS)}


def one_sided(values, margin):
    """The rule of claim 3d."""
    return best_supported({HOLDS: mean_below(values, margin), FAILS: mean_above(values, margin)})


@pytest.mark.parametrize("decide, border", [(three_way, 0.1), (equal, -0.1), (one_sided, 0.1)])
def test_at_a_border_chance_is_believed_in_one_of_twenty_experiments(decide, border):
    """On either side of it alike: without doubling it would be one of ten. (300 experiments: give or take 0.013.)"""
    found = shares(decide, border, 0.02, seeds=4)
    assert 0.02 < sum(found.values()) < 0.075
    assert sorted(found.values())[1] > 0.005, "two verdicts are neighbors there"


def test_with_more_scatter_than_margin_hardly_anything_is_told():
    found = shares(three_way, 0.0, 0.3, seeds=4, experiments=150)
    assert found[EQUAL] == 0 and found[HOLDS] + found[FAILS] < 0.06


def test_what_is_detectable_is_told_in_four_of_five_experiments():
    found = shares(three_way, detectable([0.03 * value for value in STANDARD], 0.1), 0.03, seeds=5)
    assert 0.74 < found[HOLDS] < 0.86 and found[EQUAL] == found[FAILS] == 0
