"""Wrong answers to the exercises of notebook 10, each with its own hint."""

import math

import pytest
from scipy.stats import norm, t

from allatt.course import nb10
from allatt.course.exercise import NOT_YET


def by_zero(low, high, margin):
    return "holds" if low > 0 else "does not hold" if high < 0 else "inconclusive"


def refuting(low, high, margin):
    return "holds" if low > margin else "about equal" if abs(low) < margin > abs(high) else "does not hold"


def equal_across_zero(low, high, margin):
    return "holds" if low > margin else "does not hold" if high < -margin else "about equal"


def without_margin(low, high, margin):
    return "holds" if low > 0 else nb10._verdict(low, high, margin)


def unequal_burden(low, high, margin):
    return "does not hold" if high < 0 else nb10._verdict(low, high, margin)


@pytest.mark.parametrize(("wrong", "hint"), [
    (by_zero, "you say inconclusive"), (refuting, "is not refuted"), (equal_across_zero, "show that two models are equal"),
    (without_margin, "but not above the margin"),
    (unequal_burden, "needs as much"), (lambda low, high, margin: "yes", "none of the four"),
    (lambda low, high, margin: nb10._verdict(low, high, 0.05), "with a margin of 0.005")])
def test_verdict(wrong, hint):
    state, text = nb10.verdict.attempt(wrong)
    assert state == NOT_YET and hint in text


def half_width(quantile, root=0.5):
    return lambda scatter, n: quantile(n) * scatter / n**root


@pytest.mark.parametrize(("wrong", "hint"), [
    (half_width(lambda n: t.ppf(0.975, n - 1), root=0), "square root"), (half_width(lambda n: norm.ppf(0.975)), "Student's t"),
    (half_width(lambda n: t.ppf(0.975, n)), "n - 1 are left"), (half_width(lambda n: t.ppf(0.95, n - 1)), "two sides"),
    (half_width(lambda n: t.ppf(0.975, n - 1) / math.sqrt(n)), "and you have")])
def test_smallest_difference(wrong, hint):
    state, text = nb10.smallest_difference.attempt(wrong)
    assert state == NOT_YET and hint in text
