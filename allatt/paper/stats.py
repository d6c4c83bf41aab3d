"""Statistics over seeds: intervals, paired tests, and the correction for several questions.

A seed is the unit: it has its own initial weights, gate noise, baseline and pruned models. Comparisons are paired by seed, so
that the differences between seeds cancel. Points of one seed (several lambdas, two splits) never count as independent.
scipy is imported inside functions, since training does without it.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from allatt.config import check

CONFIDENCE = 0.95
"""The confidence level of all intervals (our choice)."""
SPREAD_SEEDS = 5
"""Fewest seeds with which spreads are compared."""


class Interval(NamedTuple):
    """A mean over seeds, and its confidence interval; with one seed, low and high are None."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        mean, *bounds = (f"{round(value, 3) + 0.0:+.3f}" for value in self[:3] if value is not None)  # + 0.0: no "-0.000"
        return mean + (f" [{', '.join(bounds)}]" if bounds else "")


def number_of_seeds(count: int) -> str:
    """"1 seed", "3 seeds"."""
    return f"{count} seed{'s' * (count != 1)}"


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean of one value per seed. AllattError without values."""
    check(len(values) > 0, "an interval needs at least one value")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    from scipy.stats import t

    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
    return Interval(mean, float(mean - half), float(mean + half), n)


def describe(values: Sequence[float]) -> str:
    """The mean over seeds with its interval, or one seed's value, as text."""
    return str(interval(values)) + ("" if len(values) > 1 else " (one seed)")


def p_value(p: float | None) -> str:
    """A p-value as text; nothing if there is none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def values_and_interval(values: Sequence[float]) -> dict:
    """One value per seed as data of a figure that shows each, and their interval if there are several."""
    return {"values": list(values), "interval": list(interval(values)) if len(values) > 1 else None}


def mean_differs(values: Sequence[float]) -> float | None:
    """Two-sided p-value of a t-test of "the mean is 0"; None with one seed, or if all values are 0.

    Paired if the values are differences by seed. Equal values, such as a count that falls by 1 in each seed, have no scatter
    to compare with: then the result is the sign test's p-value, 2^(1 - n).
    """
    if len(values) > 1 and len(set(values)) == 1 and values[0] != 0:
        return 2.0 ** (1 - len(values))
    return _t_test(values, 0.0, "two-sided")


def mean_below(values: Sequence[float], bound: float) -> float | None:
    """p-value of a one-sided t-test that supports a mean below `bound`; None with one seed, or equal values."""
    return _t_test(values, bound, "less")


def mean_above(values: Sequence[float], bound: float) -> float | None:
    """p-value of a one-sided t-test that supports a mean above `bound`; None as for `mean_below`."""
    return _t_test(values, bound, "greater")


def mean_within(values: Sequence[float], margin: float) -> float | None:
    """p-value of two one-sided t-tests (TOST) that support a mean between -margin and margin; None as for `mean_below`."""
    sides = mean_below(values, margin), mean_above(values, -margin)
    return None if None in sides else max(sides)


def detectable(values: Sequence[float], margin: float = 0.0, level: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest mean that a t-test with these values' scatter would distinguish from `margin`, two-sided, with this power.

    None with one seed. Approximate, from the central t distribution.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    n, mean = len(values), math.fsum(values) / len(values)
    error = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
    return margin + float(t.ppf(1 - level / 2, n - 1) + t.ppf(power, n - 1)) * error


def unequal_spread(a: Sequence[float], b: Sequence[float]) -> float | None:
    """p-value of Brown and Forsythe's test (Levene's, around medians) of "a and b spread equally".

    None with fewer than SPREAD_SEEDS values: of three, one is the median itself, and of two, both are equally far from it.
    """
    if min(len(a), len(b)) < SPREAD_SEEDS:
        return None
    if len(set(a)) == len(set(b)) == 1:  # neither has any spread
        return 1.0
    from scipy.stats import levene

    p = float(levene(a, b, center="median").pvalue)
    return 1.0 if math.isnan(p) else p  # nan: all are equally far from the median


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction: p-values with which the chance of one or more false findings in the family stays below the level."""
    corrected, largest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, e.g. of kept heads per layer in two models; nan if one of them is constant."""
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan
    return float(spearmanr(a, b).statistic)


def agreement(lists: Sequence[Sequence[float]]) -> Interval | None:
    """How similarly the seeds order the layers: the mean rank correlation over all pairs of lists (one per seed).

    Pairs share seeds, so the interval is the jackknife's: each seed is left out once, and the pseudo-values get a t interval,
    cut to [-1, 1]. It needs three seeds; with two there is only their correlation. None if fewer than two lists vary.
    """
    lists = [values for values in lists if len(set(values)) > 1]
    if len(lists) < 2:
        return None

    def mean(lists: Sequence[Sequence[float]]) -> float:
        correlations = [rank_correlation(a, b) for a, b in combinations(lists, 2)]
        return math.fsum(correlations) / len(correlations)

    n, estimate = len(lists), mean(lists)
    if n == 2:
        return Interval(estimate, None, None, 2)
    leave_one_out = [mean([*lists[:left_out], *lists[left_out + 1:]]) for left_out in range(n)]
    _, low, high, _ = interval([n * estimate - (n - 1) * without for without in leave_one_out])
    return Interval(estimate, max(-1.0, low), min(1.0, high), n)


def _t_test(values: Sequence[float], mean: float, alternative: str) -> float | None:
    if len(set(values)) < 2:  # one seed, or no spread to compare with
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(values, mean, alternative=alternative).pvalue)
