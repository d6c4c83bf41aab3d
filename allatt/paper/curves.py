"""Comparisons of pruning curves, on straight lines between their points unless stated otherwise.

Nothing is extrapolated: if a curve does not reach a place, the answer there is None.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from allatt.paper.points import Measures, Point

SPARSITIES = (0.1, 0.2, 0.3, 0.35)
"""Removed shares of All-attention's heads at which both models are compared at equal parameters (our choice).

In the paper's proportions, Transformer-XL is then equally small with 26, 52, 78 and 91% of its heads removed; past 38% of
All-attention's heads, Transformer-XL has none left to remove.
"""


def interpolate(points: Sequence[Measures], x: str, y: str, at: float) -> float | None:
    """Field `y` where field `x` is `at`, on straight lines between the points; None outside of them.

    Points with the same x (two lambdas that keep the same number of heads) count as one, with their mean.
    """
    by_x: dict[float, list[float]] = {}
    for point in points:
        by_x.setdefault(getattr(point, x), []).append(getattr(point, y))
    line = [(place, math.fsum(values) / len(values)) for place, values in sorted(by_x.items())]
    for (x0, y0), (x1, y1) in pairwise([*line[:1], *line]):  # the first one twice, since it may be the only one
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0) if x1 > x0 else y0
    return None


def smooth(points: Sequence[Measures], x: str, y: str, at: float) -> float | None:
    """As `interpolate`, on a smooth curve through the same points: a monotone cubic (Fritsch and Carlson 1980)."""
    from scipy.interpolate import PchipInterpolator

    places = sorted({getattr(point, x) for point in points})
    if len(places) < 2 or not places[0] <= at <= places[-1]:
        return interpolate(points, x, y, at)
    return float(PchipInterpolator(places, [interpolate(points, x, y, place) for place in places])(at))


def gain(ours: Sequence[Measures], theirs: Sequence[Measures], sparsity: float, y: str = "test_loss",
         size: str = "body_parameters", line: Callable = interpolate) -> float | None:
    """How far `ours` is below `theirs` (nats per token), both at the size that `ours` has at this sparsity.

    size: the field in which both are equal. line: `interpolate`, or another way to read between the points. None if one of the
    two does not reach that far.
    """
    at = line(ours, "sparsity", size, sparsity)
    if at is None:
        return None
    our_loss, their_loss = (line(points, size, y, at) for points in (ours, theirs))
    return None if our_loss is None or their_loss is None else their_loss - our_loss


def crossing(ours: Sequence[Measures], theirs: Sequence[Measures], y: str = "test_loss",
             size: str = "body_parameters") -> float | None:
    """The sparsity from which `ours` is below `theirs` at equal size, down to the smallest size that both reach.

    None if it is not below there, or if no size is common to both. If it is below at every size, the sparsity at the largest.
    """
    if not (ours and theirs):
        return None
    ranges = [[getattr(point, size) for point in points] for points in (ours, theirs)]
    low, high = max(map(min, ranges)), min(map(max, ranges))
    places = sorted({place for sizes in ranges for place in (*sizes, low, high) if low <= place <= high})
    gains = [interpolate(theirs, size, y, place) - interpolate(ours, size, y, place) for place in places]
    if not places or gains[0] <= 0:
        return None
    for (x0, y0), (x1, y1) in pairwise(zip(places, gains, strict=True)):  # from the smallest size upwards, straight lines
        if y1 <= 0:
            return interpolate(ours, size, "sparsity", x0 + (x1 - x0) * y0 / (y0 - y1))
    return interpolate(ours, size, "sparsity", places[-1])


def sparsity_at_equal_loss(ours: Sequence[Measures], theirs: Sequence[Measures], sparsity: float) -> float | None:
    """The highest sparsity at which `ours` is still as good as `theirs` is at `sparsity` (the paper: 43% against 25%).

    None if it never is. If even the smallest model of `ours` is as good, the sparsity of that model, which is a lower bound.
    """
    level, smallest = interpolate(theirs, "sparsity", "test_loss", sparsity), max(point.sparsity for point in ours)
    if level is not None and interpolate(ours, "sparsity", "test_loss", smallest) <= level:
        return smallest
    size = None if level is None else parameters_needed(ours, level)
    return None if size is None else interpolate(ours, "body_parameters", "sparsity", size)


def off_the_curve(point: Measures, curve: Sequence[Measures], y: str = "test_loss",
                  line: Callable = interpolate) -> float | None:
    """Loss of a model minus that of `curve` at the same number of heads (nats per token); None if `curve` does not reach it.

    A model with fewer heads than any point of the curve, but a lower loss than its smallest model, is below the curve however
    it continues, since it rises to that side. The result is then the difference from that smallest model, which is a bound.
    line: as in `gain`.
    """
    loss, expected = getattr(point, y), line(curve, "heads", y, point.heads)
    if expected is None:
        fewest, smallest = min((other.heads, getattr(other, y)) for other in curve)
        expected = smallest if point.heads < fewest and loss < smallest else None
    return None if expected is None else loss - expected


def parameters_needed(points: Sequence[Measures], loss: float) -> float | None:
    """The fewest body parameters at which the straight lines between `points` come down to `loss`.

    None if they never do, or if the smallest model is already better: nothing is extrapolated.
    """
    line = [(size, interpolate(points, "body_parameters", "test_loss", size))
            for size in sorted({point.body_parameters for point in points})]
    if not line or line[0][1] < loss:
        return None
    for (x0, y0), (x1, y1) in pairwise([line[0], *line]):
        if y0 >= loss >= y1:
            return x0 + (x1 - x0) * (y0 - loss) / (y0 - y1) if y0 > y1 else x0
    return None


def above_control(points: Sequence[Point], control: Point) -> list[Point]:
    """`points` with their fields `above`, `valid_above` and `removed`, which compare them with the control."""
    return [replace(point, above=point.test_loss - control.test_loss, valid_above=point.valid_loss - control.valid_loss,
                    removed=1 - point.body_parameters / control.body_parameters) for point in points]
