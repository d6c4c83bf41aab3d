"""The rules by which claims are judged, one function each: from measurements to a finding.

A docstring gives the rule in words, and says what fails. Claims that follow from counting are judged exactly. For the others
a finding leans to a verdict, with a two-sided p-value over seeds; `allatt.paper.verdicts` corrects it and decides. With one
seed, or if a seed is missing, there is no p-value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper.curves import SPARSITIES, above_control, gain, interpolate, off_the_curve, sparsity_at_equal_loss
from allatt.paper.experiments import GATES
from allatt.paper.measurements import Counts, Measurements
from allatt.paper.points import Point
from allatt.paper.stats import interval, mean_above, mean_below, mean_differs, mean_within, unequal_spread
from allatt.paper.survivors import kept_at_random, unevenness

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told at this scale"
UNMEASURED = "not measured: it is with more seeds"
SIZES = 3
"""Sparsities that all seeds must reach, at least, for a verdict on every size."""


@dataclass(frozen=True)
class Finding:
    """What was measured for a claim."""

    ours: str
    """In words."""
    leans: str = UNTOLD
    """The verdict that the data lean to."""
    p: float | None = None
    """Its two-sided p-value, before correction."""
    points: Sequence[Point] = ()
    """The runs behind it."""
    exact: bool = False
    """A verdict without a test: by counting, or by a counterexample."""


def feed_forward_untouched(theirs: Counts) -> Finding:
    """1a: The count of Transformer-XL's feed-forward does not depend on the heads, and its shares are within 10 points of 2/3
    (parameters) and 1/2 (multiply-adds)."""
    parameters, operations = theirs.feed_forward
    holds = theirs.untouched and abs(parameters - 2 / 3) < 0.1 and abs(operations - 1 / 2) < 0.1
    return _exactly(f"{parameters:.1%} of the parameters, {operations:.1%} of the multiply-adds", holds)


def falls_in_proportion(ours: Counts, theirs: Counts) -> Finding:
    """1b: Half and none of All-attention's heads leave within 1 point of 50% and 0% of the body."""
    half, others = ours.left["half"], theirs.left["half"]
    holds = all(abs(share - 1 / 2) < 0.01 for share in half) and max(ours.left["none"]) < 0.01
    return _exactly(f"half of the heads: {half[0]:.1%} and {half[1]:.1%} are left (Transformer-XL: {others[0]:.1%}, "
                    f"{others[1]:.1%})", holds)


def equal_size(ours: Counts, theirs: Counts) -> Finding:
    """2a: The bodies have less than 1% difference in parameters."""
    apart = abs(ours.body / theirs.body - 1)
    return _exactly(f"{ours.body:,} and {theirs.body:,}: {apart:.2%} apart", apart < 0.01)


def equal_perplexity(measured: Measurements, about: float) -> Finding:
    """2b: The baselines' test losses are less than `about` nats apart (two one-sided tests); fails if more."""
    pairs = [(results.baselines[ALL_ATTENTION], results.baselines[TRANSFORMER_XL]) for results in measured.seeds]
    gaps = [ours.test_loss - theirs.test_loss for ours, theirs in pairs]
    ours, theirs = (math.exp(math.fsum(point.test_loss for point in side) / len(side)) for side in zip(*pairs, strict=True))
    outside = mean_above(gaps, about) if sum(gaps) > 0 else mean_below(gaps, -about)  # on the side where the mean lies
    return Finding(f"{ours:.1f} against {theirs:.1f} (Transformer-XL): {interval(gaps)} nats",
                   *_better_supported(mean_within(gaps, about), outside), [point for pair in pairs for point in pair])


def better_at_every_size(measured: Measurements) -> Finding:
    """3a: `_better_everywhere` for the sweeps; the words also say how it stands from each model's own control."""
    pairs = [(results.sweeps[ALL_ATTENTION], results.sweeps[TRANSFORMER_XL]) for results in measured.seeds]
    own = [(above_control(ours, ours[0]), above_control(theirs, theirs[0])) for ours, theirs in pairs]
    finding, relative = _better_everywhere(pairs), _better_everywhere(own, "above")
    return replace(finding, ours=f"{finding.ours}; from each model's own control: {relative.ours}", points=_all_points(pairs))


def better_on_other_tokens(measured: Measurements, tokens: str) -> Finding:
    """6a, 6b: `_better_everywhere` for the sweeps on "characters" or "words"."""
    sweeps = [getattr(results, tokens) for results in measured.seeds]
    pairs = [(by_kind[ALL_ATTENTION], by_kind[TRANSFORMER_XL]) for by_kind in sweeps if by_kind]
    if not pairs:
        return Finding(UNMEASURED)
    finding = _better_everywhere(pairs)
    return replace(finding, ours=f"{finding.ours} ({measured.corpora[tokens]})", points=_all_points(pairs))


def _better_everywhere(pairs: list[tuple[list[Point], list[Point]]], y: str = "test_loss") -> Finding:
    """At equal parameters, All-attention is lower at all of SPARSITIES that all seeds reach; fails if higher at one of them."""
    gains = {sparsity: [gain(ours, theirs, sparsity, y) for ours, theirs in pairs] for sparsity in SPARSITIES}
    gains = {sparsity: values for sparsity, values in gains.items() if None not in values}
    if not gains:
        return Finding("no size that all seeds reach")
    least, most = (choose(gains, key=lambda sparsity: sum(gains[sparsity])) for choose in (min, max))
    words = (f"gain {interval(gains[least])} at {least:.0%} to {interval(gains[most])} at {most:.0%} nats "
             f"({min(gains):.0%} to {max(gains):.0%} removed)")
    better, worse = ([test(values, 0) for values in gains.values()] for test in (mean_above, mean_below))
    if None in better or len(gains) < SIZES:
        return Finding(words)
    # Better everywhere needs every test; worse somewhere needs one of them, corrected for the number of questions.
    return Finding(words, *_better_supported(max(better), min(1.0, len(worse) * min(worse))))


def as_good_at_43_percent(measured: Measurements, about: float) -> Finding:
    """3b: The loss of All-attention at 43% sparsity is lower than that of Transformer-XL at 25%, or less than `about` nats
    higher; fails if higher by more. Untold if a sweep does not reach there."""
    pairs = [(results.sweeps[ALL_ATTENTION], results.sweeps[TRANSFORMER_XL]) for results in measured.seeds]
    losses = [(interpolate(ours, "sparsity", "test_loss", 0.43), interpolate(theirs, "sparsity", "test_loss", 0.25))
              for ours, theirs in pairs]
    gaps = [ours - theirs for ours, theirs in losses if ours is not None and theirs is not None]
    if not gaps:
        return Finding("the sweeps do not reach there", points=_all_points(pairs))
    equals = (sparsity_at_equal_loss(ours, theirs, 0.25) for ours, theirs in pairs)
    by_seed = ", ".join("at none" if sparsity is None else f"{sparsity:.0%}" for sparsity in equals)
    is_reached = len(gaps) == len(pairs)
    lean = _better_supported(mean_below(gaps, about), mean_above(gaps, about)) if is_reached else (UNTOLD, None)
    return Finding(f"{interval(gaps)} nats; as good as Transformer-XL at 25%, by seed: {by_seed}", *lean, _all_points(pairs))


def worse_without(measured: Measurements, name: str) -> Finding:
    """4a, 4b, 4c, 4e: Trained in the way `name`, the loss is above All-attention's sweep at equal heads; fails if below.

    Untold if a model is outside of its seed's sweep (but see `off_the_curve`).
    """
    if any(name not in results.methods for results in measured.seeds):
        return Finding(UNMEASURED)
    models = [results.methods[name] for results in measured.seeds]
    sweeps = [results.sweeps[ALL_ATTENTION] for results in measured.seeds]
    points = models + [point for sweep in sweeps for point in sweep]
    words = f"otherwise {' '.join(str(model.heads) for model in models)} heads are kept"
    off = [off_the_curve(model, sweep) for model, sweep in zip(models, sweeps, strict=True)]
    if None in off:
        return Finding(f"{words}: outside of the sweep in {off.count(None)} of {len(off)} seeds", points=points)
    is_bound = any(model.heads < min(point.heads for point in sweep) for model, sweep in zip(models, sweeps, strict=True))
    return Finding(f"{words}, and at equal heads: {'at most ' if is_bound else ''}{interval(off)} nats",
                   *_above_zero(off), points)


def spreads_less(measured: Measurements) -> Finding:
    """4d: Kept heads spread less over seeds with all three methods than with none (Brown and Forsythe's test, from 5 seeds
    on); fails if they spread as much or more."""
    full, none = ([results.methods[name] for results in measured.seeds] for name in ("all three", "none of the three"))
    with_all, with_none = ([point.heads for point in points] for points in (full, none))
    flips, lost = ([sum(getattr(point, name) for point in points) for points in (full, none)] for name in ("flips", "lost"))
    words = (f"kept heads with all three {' '.join(map(str, with_all))}, with none {' '.join(map(str, with_none))}; late flips "
             f"{flips[0]} and {flips[1]}, lost layers {lost[0]} and {lost[1]}")
    # Deviations from the median, as in the test.
    spreads = [math.fsum(abs(kept - median(heads)) for kept in heads) for heads in (with_all, with_none)]
    return Finding(words, HOLDS if spreads[0] < spreads[1] else FAILS, unequal_spread(with_all, with_none), full + none)


def uneven_layers(measured: Measurements) -> Finding:
    """5a: At the lambda nearest to half of the heads, kept heads are more uneven by layer than heads removed at random; fails
    if less. p-value: the mean over seeds against means of random choices."""
    pruned = _pruned_models(measured)
    if not pruned:
        return Finding("no model in this range, in one seed or more")
    half, random = _nearest_to_half(pruned, measured.heads)
    ratio = np.mean([unevenness(kept, measured.heads) for kept in half])
    chance = np.mean([draws.var(1) / draws.var(1).mean() for draws in random], axis=0)
    tail = min(np.mean(chance >= ratio - 1e-9), np.mean(chance <= ratio + 1e-9))
    p = min(1.0, float(2 * tail) + 1 / len(chance)) if len(pruned) > 1 else None
    return Finding(f"{ratio:.1f} times as uneven as chance, at the λ nearest to half of the heads",
                   HOLDS if ratio > 1 else FAILS, p, [point for points in pruned for point in points])


def layer_2_hardest(measured: Measurements) -> Finding:
    """5b: No layer keeps fewer heads than layer 2, in every pruned model of every seed; fails if one does.

    One counterexample refutes "each time". Without one, the p-value is how often chance picks layer 2 in every seed.
    """
    pruned = _pruned_models(measured)
    if not pruned:
        return Finding("no model in this range, in one seed or more")
    points = [point for points in pruned for point in points]
    second = sum(point.per_layer[1:2] == [min(point.per_layer)] for point in points)
    if second < len(points):
        return _exactly(f"at {second} of {len(points)} models", False, points)
    _, random = _nearest_to_half(pruned, measured.heads)
    by_chance = math.prod(float(np.mean(draws[:, 1] == draws.min(axis=1))) for draws in random)
    return Finding(f"at all {second} models", HOLDS, by_chance if len(pruned) > 1 else None, points)


def _pruned_models(measured: Measurements) -> list[list[Point]]:
    """For each seed, All-attention's models with 10% to 90% of the heads removed; empty if a seed has none."""
    pruned = [[point for point in results.sweeps[ALL_ATTENTION] if 0.1 <= point.sparsity <= 0.9] for results in measured.seeds]
    return [] if [] in pruned else pruned


def _nearest_to_half(pruned: list[list[Point]], heads: int) -> tuple[list[list[int]], list[np.ndarray]]:
    """For each seed, heads kept by layer, and random choices of the same number.

    Lists of one seed are not independent, so the one nearest to half of the heads represents the seed.
    """
    half = [min(points, key=lambda point: abs(point.sparsity - 0.5)).per_layer for points in pruned]
    return half, [kept_at_random(kept, heads, seed) for seed, kept in enumerate(half)]


def gates_beat(measured: Measurements, name: str) -> Finding:
    """7a to 7d: The test loss of the rival `name` is higher than that of the gates; fails if lower."""
    if any(name not in results.rivals for results in measured.seeds):
        return Finding(UNMEASURED)
    pairs = [(results.rivals[name], results.rivals[GATES]) for results in measured.seeds]
    gaps = [rival.test_loss - gates.test_loss for rival, gates in pairs]
    return Finding(f"rival minus gates: {interval(gaps)} nats", *_above_zero(gaps), [point for pair in pairs for point in pair])


def _exactly(words: str, holds: bool, points: Sequence[Point] = ()) -> Finding:
    return Finding(words, HOLDS if holds else FAILS, None, points, exact=True)


def _all_points(pairs: list[tuple[list[Point], list[Point]]]) -> list[Point]:
    return [point for pair in pairs for points in pair for point in points]


def _above_zero(values: list[float]) -> tuple[str, float | None]:
    """Whether a difference is above 0 (holds) or below (fails), two-sided."""
    return (HOLDS if sum(values) > 0 else FAILS), mean_differs(values)


def _better_supported(holds: float | None, fails: float | None) -> tuple[str, float | None]:
    """Of two exclusive hypotheses, the one with the smaller p-value, which is doubled, since it could have been either."""
    if holds is None or fails is None:
        return UNTOLD, None
    return (HOLDS, min(1.0, 2 * holds)) if holds <= fails else (FAILS, min(1.0, 2 * fails))
