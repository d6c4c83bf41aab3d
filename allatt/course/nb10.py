"""Exercises of notebook 10: margins, intervals, and what a number of seeds can show."""

import math
import random

from allatt.course.answers import near
from allatt.course.exercise import exercise, expect
from allatt.paper.decisions import EQUAL, FAILS, HOLDS, INCONCLUSIVE, three_way
from allatt.paper.stats import interval

WORDS = {HOLDS: "holds", EQUAL: "about equal", FAILS: "does not hold", INCONCLUSIVE: "inconclusive"}


@exercise("10.1")
def verdict(answer):
    """answer(low, high, margin): "holds", "about equal", "does not hold" or "inconclusive", from a 95% interval of a gain."""
    cases = [(0.06, 0.12, 0.05), (-0.02, 0.03, 0.05), (-0.2, -0.08, 0.05), (0.01, 0.09, 0.05), (-0.09, 0.12, 0.05),
             (0.01, 0.03, 0.05), (-0.09, -0.01, 0.05), (0.01, 0.03, 0.005)]
    draw = random.Random(0)
    drawn = []
    for _ in range(60):
        values, margin = [draw.gauss(draw.uniform(-0.1, 0.1), 0.02) for _ in range(3)], draw.choice((0.02, 0.05))
        leans, p = three_way(values, margin)  # the table's own rule, by t-tests
        _, low, high, _ = interval(values)
        drawn.append((low, high, margin, WORDS[leans if p < 0.05 else INCONCLUSIVE]))
    for low, high, margin, right in [(*case, _verdict(*case)) for case in cases] + drawn:
        found, shown = answer(low, high, margin), f"[{low:+.3f}, {high:+.3f}] with a margin of {margin}"
        expect(found in WORDS.values(), f"{found!r} is none of the four verdicts: {', '.join(WORDS.values())}.")
        expect(not (found == "holds" and 0 < low <= margin),
               f"{shown}: all of it is above 0, but not above the margin, which a claim has to exceed.")
        expect(not (found == "does not hold" and -margin <= high < 0),
               f"{shown}: \"does not hold\" needs as much as \"holds\" does: the whole interval below minus the margin.")
        expect(not (found == "does not hold" and right == "inconclusive"),
               f"{shown}: a claim that was not shown is not refuted; part of the interval is above minus the margin.")
        expect(not (found == "about equal" and right == "inconclusive"),
               f"{shown}: an interval across 0 does not show that two models are equal, unless all of it is within the margin.")
        expect(found == right, f"{shown}: {right}, and you say {found}.")
    return "The table's t-tests give the same four verdicts. A wide interval shows nothing, not even that two models are equal."


@exercise("10.2")
def smallest_difference(answer):
    """answer(scatter, n): the smallest mean of n seeds with this standard deviation whose 95% interval excludes 0."""
    quantiles = {2: 12.706, 3: 4.303, 5: 2.776, 20: 2.093}  # 97.5% quantiles of Student's t, from a printed table
    for n, t in quantiles.items():
        for scatter in (0.02, 0.3):
            found, right = answer(scatter, n), t * scatter / math.sqrt(n)
            expect(not near(found, t * scatter), "The mean of n seeds scatters less than one seed, by the square root of n.")
            expect(not near(found, 1.96 * scatter / math.sqrt(n)),
                   "1.96 is for a scatter that is known. From few seeds it is estimated: take Student's t, with n - 1 "
                   "degrees of freedom.")
            expect(not near(found, {2: 4.303, 3: 3.182, 5: 2.571, 20: 2.086}[n] * scatter / math.sqrt(n)),
                   "One degree of freedom goes to the mean: n - 1 are left.")
            expect(not near(found, {2: 6.314, 3: 2.920, 5: 2.132, 20: 1.729}[n] * scatter / math.sqrt(n)),
                   "The interval has two sides, with 2.5% beyond each: take the quantile at 97.5%.")
            expect(near(found, right), f"{n} seeds with a scatter of {scatter}: {right:.4f}, and you have {found:.4f}.")
    return ("With a scatter of 0.02: 0.18 nats with two seeds, 0.05 with three, 0.025 with five. A true difference of exactly "
            "this size is detected in half of the cases; the table's larger one, if it were the only question, in four of "
            "five.")


def _verdict(low, high, margin):
    if low > margin:
        return "holds"
    if high < -margin:
        return "does not hold"
    return "about equal" if -margin < low and high < margin else "inconclusive"
