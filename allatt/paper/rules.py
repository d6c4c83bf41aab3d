"""The rules by which claims are judged, one function each: from measurements to a finding.

A docstring gives the rule in words, and says when the claim fails. Claims that follow from counting are judged exactly. For the
others, a finding leans to a verdict, with a two-sided p-value over seeds; `allatt.paper.verdicts` corrects the p-value and
decides. With one seed, or if a seed is missing, there is no p-value.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import median

import numpy as np

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper.claims import LEVEL
from allatt.paper.curves import SPARSITIES, above_control, gain, interpolate, off_the_curve, sparsity_at_equal_loss
from allatt.paper.decisions import (
    EQUAL,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    TEXTS,
    Finding,
    best_supported,
    both,
    equal,
    exactly,
    on_both_texts,
    three_way,
)
from allatt.paper.measurements import Counts, Measurements
from allatt.paper.points import Point
from allatt.paper.rivals import GATES, LATE
from allatt.paper.stats import holm, interval, mean_above, mean_below, mean_differs, rank_correlation, unequal_spread
from allatt.paper.survivors import kept_at_random, mean_rank_correlation

UNMEASURED = "not measured, in one seed or more"


def feed_forward_untouched(theirs: Counts) -> Finding:
    """1a: The count of Transformer-XL's feed-forward does not depend on the heads, and its shares are within 10 points of 2/3
    (parameters) and 1/2 (multiply-adds)."""
    parameters, operations = theirs.feed_forward
    holds = theirs.untouched and abs(parameters - 2 / 3) < 0.1 and abs(operations - 1 / 2) < 0.1
    return exactly(f"{parameters:.1%} of the parameters, {operations:.1%} of the multiply-adds", holds)


def falls_in_proportion(ours: Counts, theirs: Counts) -> Finding:
    """1b: With half of All-attention's heads, 50% of the body is left, and with none, 0%: each within 1 point."""
    half, others = ours.left["half"], theirs.left["half"]
    holds = all(abs(share - 1 / 2) < 0.01 for share in half) and max(ours.left["none"]) < 0.01
    return exactly(f"half of the heads: {half[0]:.1%} and {half[1]:.1%} are left (Transformer-XL: {others[0]:.1%}, "
                    f"{others[1]:.1%})", holds)


def equal_size(ours: Counts, theirs: Counts) -> Finding:
    """2a: The bodies differ by less than 1% in parameters."""
    apart = abs(ours.body / theirs.body - 1)
    return exactly(f"{ours.body:,} and {theirs.body:,}: {apart:.2%} apart", apart < 0.01)


def equal_perplexity(measured: Measurements, margin: float) -> Finding:
    """2b: The baselines' losses are less than `margin` apart (two one-sided tests); fails if more."""
    pairs = [(results.baselines[ALL_ATTENTION], results.baselines[TRANSFORMER_XL]) for results in measured.seeds]
    ours, theirs = (math.exp(math.fsum(point.test_loss for point in side) / len(side)) for side in zip(*pairs, strict=True))
    return on_both_texts(lambda y: [getattr(ours, y) - getattr(theirs, y) for ours, theirs in pairs],
                          lambda gaps: equal(gaps, margin), [point for pair in pairs for point in pair],
                          f"{ours:.1f} against {theirs:.1f} (Transformer-XL): ", margin)


def better_at_equal_parameters(measured: Measurements, margin: float, **reading: object) -> Finding:
    """3a, the primary outcome: the gain of All-attention at equal parameters, averaged over SPARSITIES, is above `margin`;
    fails if below its negative. Inconclusive if a seed does not reach one of these sparsities."""
    return _mean_gain(_sweeps(measured), margin, **reading)


def cheaper_to_prune(measured: Measurements, margin: float, **reading: object) -> Finding:
    """3b: As 3a, with each loss measured from the model's own control."""
    own = [(above_control(ours, ours[0]), above_control(theirs, theirs[0])) for ours, theirs in _sweeps(measured)]
    return _mean_gain(own, margin, {"test_loss": "above", "valid_loss": "valid_above"}, **reading)


def better_on_other_tokens(measured: Measurements, tokens: str, margin: float, **reading: object) -> Finding:
    """6a, 6b: As 3a, for the sweeps on "characters" or "words"."""
    sweeps = [getattr(results, tokens) for results in measured.seeds]
    if not all(sweeps):
        return Finding(UNMEASURED)
    pairs = [(by_kind[ALL_ATTENTION], by_kind[TRANSFORMER_XL]) for by_kind in sweeps]
    return _mean_gain(pairs, margin, begin=f"{measured.corpora[tokens]}: ", **reading)


def better_at_every_size(measured: Measurements, margin: float) -> Finding:
    """3c: As 3a at each of SPARSITIES; fails if it fails at one of them, corrected for their number."""
    pairs = _sweeps(measured)

    def worst(gains: Sequence[list[float]]) -> tuple[str, float | None]:
        better, worse = [mean_above(at, margin) for at in gains], [mean_below(at, -margin) for at in gains]
        if None in better:
            return INCONCLUSIVE, None
        return best_supported({HOLDS: max(better), FAILS: min(1.0, len(worse) * min(worse))})

    def each(y: str) -> list[list[float]] | None:
        gains = [[gain(ours, theirs, sparsity, y) for ours, theirs in pairs] for sparsity in SPARSITIES]
        return None if any(None in at for at in gains) else gains

    by_text = {y: each(y) for y in TEXTS}
    if None in by_text.values():
        return Finding(_unreached(pairs, SPARSITIES), points=_all_points(pairs))
    words = ", ".join(f"{sparsity:.0%} {interval(at)}" for sparsity, at in zip(SPARSITIES, by_text["test_loss"], strict=True))
    leans, p = both(*(worst(gains) for gains in by_text.values()))
    return Finding(f"gain at {words} nats", leans, p, _all_points(pairs))


def as_good_at_43_percent(measured: Measurements, margin: float) -> Finding:
    """3d: The loss of All-attention at 43% sparsity is lower than that of Transformer-XL at 25%, or less than `margin` higher;
    fails if higher by more. Inconclusive if a sweep does not reach that far."""
    pairs = _sweeps(measured)

    def gaps(y: str) -> list[float] | None:
        losses = [(interpolate(ours, "sparsity", y, 0.43), interpolate(theirs, "sparsity", y, 0.25)) for ours, theirs in pairs]
        return None if any(None in pair for pair in losses) else [ours - theirs for ours, theirs in losses]

    equals = [sparsity_at_equal_loss(ours, theirs, 0.25) for ours, theirs in pairs]
    words = f"as good as Transformer-XL at 25%, by seed: {', '.join('nowhere' if s is None else f'{s:.0%}' for s in equals)}"
    if all(sparsity is None for sparsity in equals):
        words = "at no sparsity as good as Transformer-XL at 25%, in any seed"
    return on_both_texts(
        gaps, lambda values: best_supported({HOLDS: mean_below(values, margin), FAILS: mean_above(values, margin)}),
        _all_points(pairs), "", margin, f"; {words}")


def worse_without(measured: Measurements, name: str, margin: float, line: Callable = interpolate) -> Finding:
    """4a, 4b, 4c, 4e: The loss of a model trained in the way `name` is above All-attention's sweep at equal heads by more than
    `margin`; fails if below by more. Inconclusive if a model is outside of its seed's sweep (but see `off_the_curve`)."""
    if any(name not in results.methods for results in measured.seeds):
        return Finding(UNMEASURED)
    models = [results.methods[name] for results in measured.seeds]
    sweeps = [results.sweeps[ALL_ATTENTION] for results in measured.seeds]

    def off(y: str) -> list[float] | None:
        values = [off_the_curve(model, sweep, y, line) for model, sweep in zip(models, sweeps, strict=True)]
        return None if None in values else values

    def decide(values: list[float]) -> tuple[str, float | None]:
        leans, p = three_way(values, margin)
        return (INCONCLUSIVE, 1.0) if is_bound and leans in (HOLDS, EQUAL) else (leans, p)  # an upper bound shows neither

    is_bound = any(model.heads < min(point.heads for point in sweep) for model, sweep in zip(models, sweeps, strict=True))
    words = f"otherwise {' '.join(str(model.heads) for model in models)} heads are kept, and at equal heads: "
    return on_both_texts(off, decide, models + [point for sweep in sweeps for point in sweep], words, margin,
                          " at most" * is_bound)


def more_stable(measured: Measurements) -> Finding:
    """4d: All three methods against none of them, by four readings: layers without heads, late flips, undecided gates (paired
    t-tests; p is 1 without any difference), and the spread of the kept heads over seeds (Brown and Forsythe's test, with 5
    seeds or more), corrected for their number. Holds if one is better and none worse; fails if one is worse and none better."""
    names, one_seed = ("all three", "none of the three"), len(measured.seeds) == 1
    if any(name not in results.methods for results in measured.seeds for name in names):
        return Finding(UNMEASURED)
    full, none = ([results.methods[name] for results in measured.seeds] for name in names)
    with_all, with_none = ([point.heads for point in points] for points in (full, none))
    spreads = [math.fsum(abs(kept - median(heads)) for kept in heads) for heads in (with_all, with_none)]  # as in the test
    words, p, worse = [], {"spread": unequal_spread(with_all, with_none)}, {"spread": spreads[0] - spreads[1]}
    for name, text in (("lost", "lost layers"), ("flips", "late flips"), ("undecided", "undecided gates")):
        values = [[getattr(point, name) for point in points] for points in (full, none)]
        differences = [ours - theirs for ours, theirs in zip(*values, strict=True)]
        words.append(f"{text} {' '.join(map(str, values[0]))} and {' '.join(map(str, values[1]))}")
        p[name], worse[name] = mean_differs(differences) if any(differences) or one_seed else 1.0, sum(differences)
    known = {name: value for name, value in p.items() if value is not None}
    corrected = holm(known)
    best, worst = ([name for name in known if worse[name] * sign > 0] for sign in (-1, 1))
    better, against = (min((corrected[name] for name in names), default=1.0) for names in (best, worst))
    opposed = min((known[name] for name in (worst if better < against else best)), default=1.0)
    text = (f"by seed, all three and none: kept heads {' '.join(map(str, with_all))} and {' '.join(map(str, with_none))}; "
            f"{'; '.join(words)}")
    if not known:
        return Finding(text, points=full + none)
    # If the other direction is supported at any usual level, uncorrected, the readings contradict each other.
    leans = INCONCLUSIVE if opposed < 0.1 else HOLDS if better < against else FAILS
    return Finding(text, leans, min(better, against), full + none)


def uneven_layers(measured: Measurements) -> Finding:
    """5a: At the lambda that keeps nearest to half of the heads, the kept heads are more uneven by layer than after removal at
    random; fails if less uneven. p-value: the mean over seeds against means of random choices."""
    pruned = _pruned_models(measured)
    if not pruned:
        return Finding("no model in this range, in one seed or more")
    half, random = _nearest_to_half(pruned, measured.heads)
    expected = [draws.var(1).mean() for draws in random]  # divides both, so that lists as uneven as ours count as ties
    ratio = np.mean([np.var(kept) / mean for kept, mean in zip(half, expected, strict=True)])
    chance = np.mean([draws.var(1) / mean for draws, mean in zip(random, expected, strict=True)], axis=0)
    tail = min(np.mean(chance >= ratio - 1e-9), np.mean(chance <= ratio + 1e-9))
    p = min(1.0, 2 * float(tail * len(chance) + 1) / (len(chance) + 1)) if len(pruned) > 1 else None
    return Finding(f"{ratio:.1f} times as uneven as chance, at the λ nearest to half of the heads",
                   HOLDS if ratio > 1 else FAILS, p, [point for points in pruned for point in points])


def same_layers(measured: Measurements) -> Finding:
    """5b: The seeds order the layers alike: the mean rank correlation between their kept heads by layer (means over lambdas)
    is above 0; fails if below. p-value: against random orders of the layers in each seed. (The paper has one seed and three
    lambdas, and its layer is 2 of 16; with four layers, which layer is pruned hardest says nothing about that.)"""
    pruned = _pruned_models(measured)
    if not pruned:
        return Finding("no model in this range, in one seed or more")
    points = [point for points in pruned for point in points]
    means = [np.mean([point.per_layer for point in points], axis=0) for points in pruned]
    hardest = [int(np.argmin(kept)) + 1 for kept in means]
    words = f"pruned hardest, by seed: layer {' '.join(map(str, hardest))}"
    if len(means) < 2 or any(np.ptp(kept) == 0 for kept in means):
        return Finding(words, points=points)
    correlation = float(np.mean([rank_correlation(a, b) for a, b in combinations(means, 2)]))
    from scipy.stats import rankdata

    ranks_SL = np.stack([rankdata(kept) for kept in means])
    z_SL = (ranks_SL - ranks_SL.mean(1, keepdims=True)) / ranks_SL.std(1, keepdims=True)
    rng = np.random.default_rng(0)
    chance = mean_rank_correlation(rng.permuted(np.broadcast_to(z_SL, (20_000, *z_SL.shape)), axis=-1))
    tail = min(np.mean(chance >= correlation - 1e-9), np.mean(chance <= correlation + 1e-9))
    p = min(1.0, 2 * float(tail * len(chance) + 1) / (len(chance) + 1))
    words = f"{words}; rank correlation between seeds {correlation:+.2f}"
    return Finding(words, HOLDS if correlation > 0 else FAILS, p, points)


def gates_beat(measured: Measurements, names: Sequence[str], margin: float) -> Finding:
    """7a to 7d: The rival's loss (the mean of the models `names`) is higher than that of the gates by more than `margin`; fails
    if lower by more. If there are two budgets, both must lean the same way, and the larger p-value is taken."""
    late = {name + LATE in results.rivals for results in measured.seeds for name in names}
    if len(late) > 1 or any(name not in results.rivals for results in measured.seeds for name in (GATES, *names)):
        return Finding(UNMEASURED)  # if one budget lacks a run, the other is not judged alone
    budgets = {"cut at the start": names} | ({"cut late": [name + LATE for name in names]} if True in late else {})
    parts = [_against_gates(measured, group, margin, f"{budget}: ") for budget, group in budgets.items()]
    leans, p = both(*((part.leans, part.p) for part in parts))
    points = list({point.run: point for part in parts for point in part.points}.values())
    alone = [part.leans if part.p is not None and part.p < LEVEL else INCONCLUSIVE for part in parts]
    words = "; ".join(f"{part.ours} (by itself: {verdict})" for part, verdict in zip(parts, alone, strict=True))
    agree = len({part.leans for part in parts}) == 1  # if the budgets disagree, more seeds are not what is missing
    known = [part.detectable for part in parts if part.detectable is not None and agree]
    return Finding(words, leans, p, points, detectable=max(known, default=None))


def gates_beat_scratch(measured: Measurements, name: str, margin: float) -> Finding:
    """7e: As 7a, for the one budget that a model from random weights has."""
    if any(needed not in results.rivals for results in measured.seeds for needed in (GATES, name)):
        return Finding(UNMEASURED)
    return _against_gates(measured, [name], margin, "")


def _against_gates(measured: Measurements, names: Sequence[str], margin: float, begin: str) -> Finding:
    """The rivals' mean loss minus that of the gates."""
    rivals = [[results.rivals[name] for name in names] for results in measured.seeds]
    gates = [results.rivals[GATES] for results in measured.seeds]
    return on_both_texts(
        lambda y: [math.fsum(getattr(rival, y) for rival in group) / len(group) - getattr(ours, y)
                   for group, ours in zip(rivals, gates, strict=True)],
        lambda values: three_way(values, margin), [*(point for group in rivals for point in group), *gates],
        f"{begin}rival minus gates ", margin)


def _sweeps(measured: Measurements) -> list[tuple[list[Point], list[Point]]]:
    return [(results.sweeps[ALL_ATTENTION], results.sweeps[TRANSFORMER_XL]) for results in measured.seeds]


def _mean_gain(pairs: list[tuple[list[Point], list[Point]]], margin: float, fields: dict[str, str] | None = None,
               begin: str = "", sparsities: Sequence[float] = SPARSITIES, **reading: object) -> Finding:
    """The gain, averaged over `sparsities`; `fields` replaces the names of the losses, `reading` goes to `curves.gain`."""
    def means(y: str) -> list[float] | None:
        gains = [[gain(*pair, sparsity, (fields or {}).get(y, y), **reading) for sparsity in sparsities] for pair in pairs]
        return None if any(None in values for values in gains) else [math.fsum(values) / len(values) for values in gains]

    if means("test_loss") is None:
        return Finding(_unreached(pairs, sparsities, **reading), points=_all_points(pairs))
    return on_both_texts(means, lambda values: three_way(values, margin), _all_points(pairs), f"{begin}mean gain ", margin)


def _unreached(pairs: list[tuple[list[Point], list[Point]]], sparsities: Sequence[float], **reading: object) -> str:
    """Which of these sparsities the sweeps do not reach, in words."""
    missing = [at for at in sparsities if any(gain(*pair, at, **reading) is None for pair in pairs)]
    return f"the sweeps do not reach {', '.join(f'{100 * at:g}%' for at in missing)} in every seed; extend their lambdas"


def _pruned_models(measured: Measurements) -> list[list[Point]]:
    """For each seed, All-attention's models with 10% to 90% of the heads removed; empty if a seed has none."""
    pruned = [[point for point in results.sweeps[ALL_ATTENTION] if 0.1 <= point.sparsity <= 0.9] for results in measured.seeds]
    return [] if [] in pruned else pruned


def _nearest_to_half(pruned: list[list[Point]], heads: int) -> tuple[list[list[int]], list[np.ndarray]]:
    """For each seed, heads kept by layer, and random choices of the same number.

    Lists of one seed are not independent, so the list nearest to half of the heads represents the seed.
    """
    half = [min(points, key=lambda point: abs(point.sparsity - 0.5)).per_layer for points in pruned]
    return half, [kept_at_random(kept, heads, seed) for seed, kept in enumerate(half)]


def _all_points(pairs: list[tuple[list[Point], list[Point]]]) -> list[Point]:
    return [point for pair in pairs for points in pair for point in points]
