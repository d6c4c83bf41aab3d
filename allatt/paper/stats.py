"""What several seeds can tell: intervals, paired tests, and the correction for asking several questions.

A seed is the unit: it has its own initial weights, noise of gates, baseline and pruned models. What is compared is paired by
seed, so that a baseline that two models share cancels. Points of one seed (several lambdas, two splits) are never counted as
independent. scipy does the arithmetic; it is imported where it is used, since training does without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from allatt.config import check

LEVEL = 0.95
"""Confidence of an interval (our choice, like everywhere)."""


FEW = 5
"""Seeds from which spreads are compared."""


class Interval(NamedTuple):
    """A mean over seeds, and where the true mean lies with confidence LEVEL; with one seed, low and high are None."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f}" + (f" [{self.low:+.3f}, {self.high:+.3f}]" if self.low is not None else "")


def seeds(count: int) -> str:
    """"1 seed", "3 seeds"."""
    return f"{count} seed{'s' * (count != 1)}"


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of the mean, one value a seed. AllattError without values."""
    check(len(values) > 0, "an interval needs at least one value")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    from scipy.stats import t

    half = t.ppf((1 + level) / 2, n - 1) * math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
    return Interval(mean, float(mean - half), float(mean + half), n)


def row(values: Sequence[float]) -> dict:
    """Values of seeds as a figure's data (`allatt.figures.panels.strip`): them, and with several their interval."""
    return {"values": list(values), "interval": list(interval(values)) if len(values) > 1 else None}


def differs(differences: Sequence[float], from_: float = 0.0) -> float | None:
    """p-value of a paired t-test: how likely so large a mean difference is where the true one is `from_`; None for one seed."""
    return _t_test(differences, from_, "two-sided")


def below(values: Sequence[float], bound: float) -> float | None:
    """p-value of a one-sided t-test that the mean is below `bound`; None for one seed."""
    return _t_test(values, bound, "less")


def within(differences: Sequence[float], margin: float) -> float | None:
    """p-value of two one-sided t-tests (TOST) that the mean lies between -margin and margin; None for one seed."""
    if len(differences) < 2:
        return None
    sides = _t_test(differences, margin, "less"), _t_test(differences, -margin, "greater")
    return None if None in sides else max(sides)


def unequal_spread(a: Sequence[float], b: Sequence[float]) -> float | None:
    """p-value of Brown and Forsythe's test (Levene's, around medians) that a and b spread unequally.

    None for fewer than FEW seeds: of three values one is the median itself, and two spread alike by definition.
    """
    if min(len(a), len(b)) < FEW:
        return None
    if len(set(a)) == len(set(b)) == 1:  # neither spreads at all
        return 1.0
    from scipy.stats import levene

    return _number(levene(a, b, center="median").pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction: with these p-values, the chance of one or more false findings in the family stays below the level."""
    corrected, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, e.g. of kept heads a layer in two models (nan where one of them is constant)."""
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan
    return float(spearmanr(a, b).statistic)


def agreement(lists: Sequence[Sequence[float]], level: float = LEVEL) -> Interval | None:
    """How far the seeds order the layers alike: the mean rank correlation over all pairs of lists (one a seed).

    Pairs share seeds, so the interval is the jackknife's: each seed is left out once, and the pseudo-values get a t interval,
    cut to [-1, 1]. It needs three seeds; with two there is the one correlation. None where fewer than two lists vary.
    """
    lists = [one for one in lists if len(set(one)) > 1]
    if len(lists) < 2:
        return None

    def mean(some: Sequence[Sequence[float]]) -> float:
        pairs = [rank_correlation(a, b) for a, b in combinations(some, 2)]
        return math.fsum(pairs) / len(pairs)

    n, whole = len(lists), mean(lists)
    if n == 2:
        return Interval(whole, None, None, 2)
    without = [mean([*lists[:place], *lists[place + 1:]]) for place in range(n)]
    _, low, high, _ = interval([n * whole - (n - 1) * one for one in without], level)
    return Interval(whole, max(-1.0, low), min(1.0, high), n)


def _t_test(values: Sequence[float], mean: float, alternative: str) -> float | None:
    if len(values) < 2:
        return None
    if len(set(values)) == 1:  # without any spread there is nothing to compare with
        return None
    from scipy.stats import ttest_1samp

    return _number(ttest_1samp(values, mean, alternative=alternative).pvalue)


def _number(p: float) -> float:
    return 1.0 if math.isnan(p) else float(p)
