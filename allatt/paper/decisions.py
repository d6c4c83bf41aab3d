"""From differences by seed to a finding: margins, both texts, and which verdict the data lean to.

Differences of losses are judged by the same margin in both directions: above it, a claim holds; below its negative, it fails;
and within it, the two are about equal. Both texts count, test and validation: they must lean the same way, and the larger
p-value is taken. So a finding does not rest on the one text that happens to favor it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from allatt.paper.points import Point
from allatt.paper.stats import detectable, interval, mean_above, mean_below, mean_within

HOLDS, EQUAL, FAILS, INCONCLUSIVE = "holds", "about equal", "does not hold", "inconclusive"
TEXTS = {"test_loss": "test", "valid_loss": "validation"}
"""The two texts, by the field of a point."""


@dataclass(frozen=True)
class Finding:
    """What was measured for a claim."""

    ours: str
    """In words."""
    leans: str = INCONCLUSIVE
    """The verdict that the data lean to."""
    p: float | None = None
    """Its two-sided p-value, before correction."""
    points: Sequence[Point] = ()
    """The runs behind it."""
    exact: bool = False
    """Whether the verdict follows from counting, without a test."""
    detectable: float | None = None
    """The smallest difference (nats per token) that these seeds would have distinguished from the margin, on either text in
    four of five cases, if it were the only question: Holm's correction asks for more."""


def exactly(words: str, holds: bool) -> Finding:
    return Finding(words, HOLDS if holds else FAILS, exact=True)


def on_both_texts(values: Callable[[str], list[float] | None], decide: Callable, points: Sequence[Point], begin: str,
                   margin: float, end: str = "") -> Finding:
    """The finding on differences by seed, `values(field)` (None: a seed does not reach there), on test and validation text."""
    by_text = {text: values(y) for y, text in TEXTS.items()}
    if None in by_text.values():
        return Finding(f"{begin}a seed is outside of the sweep", points=points)
    leans, p = both(*(decide(differences) for differences in by_text.values()))
    words = ", ".join(f"{text} {interval(differences)}" for text, differences in by_text.items())
    smallest = [detectable(differences, margin) for differences in by_text.values()]
    return Finding(f"{begin}{words} nats{end}", leans, p, points, detectable=None if None in smallest else max(smallest))


def both(*decisions: tuple[str, float | None]) -> tuple[str, float | None]:
    """The common verdict of decisions that must agree, and their largest p-value; inconclusive if they differ."""
    verdicts, p_values = {verdict for verdict, _ in decisions}, [p for _, p in decisions]
    if len(verdicts) > 1 or None in p_values:
        return INCONCLUSIVE, None if None in p_values else 1.0
    return verdicts.pop(), max(p_values)


def equal(values: list[float], margin: float) -> tuple[str, float | None]:
    """Whether a difference is within the margin (holds) or outside (fails), on the side of the mean."""
    outside = mean_above(values, margin) if sum(values) > 0 else mean_below(values, -margin)
    return best_supported({HOLDS: mean_within(values, margin), FAILS: outside})


def three_way(values: list[float], margin: float) -> tuple[str, float | None]:
    """Whether a difference is above the margin (holds), below its negative (fails), or within (about equal)."""
    return best_supported({HOLDS: mean_above(values, margin), EQUAL: mean_within(values, margin),
                            FAILS: mean_below(values, -margin)})


def best_supported(p_values: dict[str, float | None]) -> tuple[str, float | None]:
    """Of exclusive hypotheses, the one with the smallest p-value, which is doubled.

    At a border between two of them, either could be found by mistake, so twice the p-value bounds that chance.
    """
    if None in p_values.values():
        return INCONCLUSIVE, None
    best = min(p_values, key=p_values.get)
    return best, min(1.0, 2 * p_values[best])
