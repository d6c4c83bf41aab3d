"""Intervals cover what they promise, tests are scipy's by hand, corrections are what Holm wrote, and one seed tells nothing."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.config import AllattError
from allatt.paper.stats import (
    Interval,
    agreement,
    describe,
    detectable,
    holm,
    interval,
    mean_above,
    mean_below,
    mean_differs,
    mean_within,
    number_of_seeds,
    p_value,
    rank_correlation,
    unequal_spread,
    values_and_interval,
)

DRAWN = [0.31, 0.18, 0.42, 0.25]


def test_interval_by_hand():
    mean, deviation = np.mean(DRAWN), np.std(DRAWN, ddof=1)
    found = interval(DRAWN)
    half = 3.182446 * deviation / math.sqrt(4)  # t with 3 degrees of freedom, 97.5 %
    assert found.n == 4 and found.mean == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-6)
    assert str(found) == f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = [one.low <= 2 <= one.high for one in (interval(row) for row in rng.normal(2, 3, (2000, 3)).tolist())]
    assert 0.93 < np.mean(held) < 0.97


def test_one_seed_has_a_mean_and_nothing_else():
    assert interval([0.3]) == (0.3, None, None, 1) and str(interval([0.3])) == "+0.300"
    assert str(Interval(-0.0004, -0.002, -0.0001, 2)) == "+0.000 [-0.002, +0.000]", "no zero with a minus"
    assert mean_differs([0.3]) is None and mean_below([0.3], 1) is None and mean_within([0.3], 1) is None
    assert unequal_spread([0.3, 0.2, 0.1, 0.4], [0.1, 0.2, 0.9, 0.8, 0.7]) is None, "four are too few to compare spreads"
    with pytest.raises(AllattError, match="at least one value"):
        interval([])


def test_values_and_interval_of_a_figure():
    for values in ([0.3], []):
        assert values_and_interval(values) == {"values": values, "interval": None}
    assert values_and_interval(DRAWN) == {"values": DRAWN, "interval": list(interval(DRAWN))}


def test_a_p_value_as_text():
    assert [p_value(p) for p in (None, 0.0004, 0.001, 0.0496, 1.0)] == ["", "< 0.001", "0.001", "0.050", "1.000"]


def test_one_seed_is_described_as_such():
    assert describe(DRAWN) == str(interval(DRAWN)) and describe([0.3]) == "+0.300 (one seed)"


def test_seeds_are_counted():
    assert [number_of_seeds(count) for count in (0, 1, 3)] == ["0 seeds", "1 seed", "3 seeds"]


def test_t_tests_by_hand():
    from scipy.stats import t

    statistic = np.mean(DRAWN) / (np.std(DRAWN, ddof=1) / 2)
    assert mean_differs(DRAWN) == pytest.approx(2 * t.sf(statistic, 3))
    assert mean_differs([value - np.mean(DRAWN) for value in DRAWN]) == pytest.approx(1)
    to_bound = (np.mean(DRAWN) - 0.5) / (np.std(DRAWN, ddof=1) / 2)
    assert mean_below(DRAWN, 0.5) == pytest.approx(t.cdf(to_bound, 3))
    assert mean_below(DRAWN, 0.1) > 0.9
    assert mean_above(DRAWN, 0.1) == pytest.approx(1 - mean_below(DRAWN, 0.1)) and mean_above([0.3], 0.1) is None


def test_within_needs_both_sides():
    assert mean_within([0.01, -0.01, 0.0], 0.1) < 0.05
    assert mean_within([0.3, 0.31, 0.29], 0.1) > 0.9 and mean_within([-0.3, -0.31, -0.29], 0.1) > 0.9
    assert mean_within([0.01, -0.01, 0.0], 0.1) == pytest.approx(mean_within([-0.01, 0.01, 0.0], 0.1))


def test_a_test_where_nothing_spreads():
    assert mean_differs([0.0, 0.0]) is None and mean_below([1.0, 1.0], 2) is None and mean_within([0.0, 0.0], 1) is None
    assert [mean_differs([value] * n) for value, n in ((1, 2), (-1, 3), (2, 5))] == [1 / 2, 1 / 4, 1 / 16], "the sign test"
    assert mean_differs([1]) is None
    assert unequal_spread([1] * 5, [2] * 5) == 1


def test_unequal_spread_sees_spread_and_not_place():
    narrow, wide = [10, 10, 11, 10, 11, 10], [2, 19, 30, 8, 25, 1]
    assert unequal_spread(narrow, wide) < 0.01
    assert unequal_spread(narrow, [x + 50 for x in narrow]) == pytest.approx(1)


SKEWED, EVEN = [1, 2, 3, 4, 15, 3], [9, 7, 8, 10, 11, 9]


def test_unequal_spread_is_around_medians():
    """By hand: how far values are from the medians, 3 and 9, compared by a one-way analysis of variance.

    Around the means, 4.67 and 9, the outlier would pull the others away from itself: a p-value of 0.13, not 0.41.
    """
    from scipy.stats import f_oneway

    expected = f_oneway([2, 1, 0, 1, 12, 0], [0, 2, 1, 1, 2, 0]).pvalue
    assert unequal_spread(SKEWED, EVEN) == unequal_spread(EVEN, SKEWED) == pytest.approx(expected)


def test_skewed_values_that_spread_alike_are_seldom_told_apart():
    """Levene's test around means would tell 15% of them apart."""
    rng = np.random.default_rng(0)
    told = [unequal_spread(*pair) < 0.05 for pair in rng.exponential(size=(300, 2, 10)).tolist()]
    assert np.mean(told) < 0.08


@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_detectable_has_the_power_that_it_promises(seeds, margin):
    """Exact, from the noncentral t distribution: how often a two-sided test of the margin comes out at a true mean of this."""
    from scipy.stats import nct, t

    values = [0.4 + 0.01 * x for x in range(seeds)]  # the mean does not matter
    error = 0.01 * math.sqrt((seeds + 1) / 12)  # variance of equally spaced values: n (n + 1) / 12

    def power(mean):
        return nct.sf(t.ppf(0.975, seeds - 1), seeds - 1, (mean - margin) / error)

    smallest = detectable(values, margin)
    assert power(smallest) == pytest.approx(0.8, abs=0.04) and power(margin) == pytest.approx(0.025)
    assert detectable([10 * x for x in values], margin) - margin == pytest.approx(10 * (smallest - margin))
    assert detectable(values, margin, power=0.5) < smallest < detectable(values, margin, level=0.01)


def test_detectable_of_one_seed_is_not_known():
    assert detectable([0.3]) is None and detectable([0.3, 0.3], 0.05) == 0.05


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1, "b": 1} and holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=6))
def test_holm_never_lowers_nor_reorders(p_values):
    corrected = holm(p_values)
    assert list(corrected) == list(p_values)
    assert all(p <= corrected[name] <= 1 for name, p in p_values.items())
    for a, b in combinations(p_values, 2):
        if p_values[a] < p_values[b]:
            assert corrected[a] <= corrected[b]


def test_holm_keeps_the_chance_of_any_false_finding():
    rng = np.random.default_rng(1)
    false = [min(holm(dict(enumerate(row))).values()) < 0.05 for row in rng.uniform(size=(4000, 5)).tolist()]
    assert 0.04 < np.mean(false) < 0.06


def test_agreement_is_the_mean_over_pairs_and_its_interval_the_jackknife_s():
    lists = [[8, 5, 3, 4], [7, 5, 4, 2], [8, 3, 4, 5]]
    pairs = [rank_correlation(a, b) for a, b in combinations(lists, 2)]
    found = agreement(lists)
    assert found.mean == pytest.approx(np.mean(pairs)) and found.n == 3
    without = [rank_correlation(lists[1], lists[2]), rank_correlation(lists[0], lists[2]), rank_correlation(*lists[:2])]
    pseudo = interval([3 * found.mean - 2 * one for one in without])
    assert (found.low, found.high) == (max(-1, pseudo.low), min(1, pseudo.high))


def test_agreement_where_it_cannot_be_told():
    assert agreement([[1, 2, 3]]) is None and agreement([[1, 2, 3], [2, 2, 2]]) is None
    assert agreement([[1, 2, 3], [1, 2, 3]]) == (1.0, None, None, 2)
    same = agreement([[1, 2, 3]] * 4)
    assert same.mean == same.low == same.high == 1


def test_rank_correlation_shares_ranks_of_ties():
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 2, 5], [4, 4, 9, 1]) == pytest.approx(
        np.corrcoef([1, 2.5, 2.5, 4], [2.5, 2.5, 4, 1])[0, 1])
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


def test_rank_correlation():
    assert rank_correlation([1, 2, 3], [2, 4, 9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [9, 4, 2]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3])), "a constant has no rank"
