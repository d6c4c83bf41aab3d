"""The claims, the rules by which they are judged, and the judging: from measurements to findings, from findings to verdicts.

A claim that follows from counting is judged exactly. All others are judged over seeds: a finding is what was measured, in
words, with a two-sided p-value for the verdict that the data lean to. Claims of one number (4a, 4b, ...) are a family, and its
p-values are corrected together by Holm's method. Below LEVEL the verdict stands; else it cannot be told. One seed has no
p-value, and neither has a claim for which a seed is missing.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from allatt.paper.curves import (
    above_control,
    blindly,
    gain,
    interpolate,
    off_the_curve,
    sparsity_at_equal_loss,
    unevenness,
)
from allatt.paper.experiments import GATES, UNTRAINED
from allatt.paper.stats import below, differs, holm, interval, unequal_spread, within

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told at this scale"
LEVEL = 0.05
"""A verdict's corrected p-value is below this (our choice)."""
ABOUT = 0.05
"""Nats a token that still count as about equal: 5% of the perplexity (our choice)."""
SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Shares of All-attention's heads at which both models are compared at equal parameters, where all seeds reach."""
SIZES = 3
"""So many of them have to be reached."""
UNKNOWN, UNMEASURED = "not available", "not measured: it is with more seeds"
OURS, THEIRS = "all-attention", "transformer-xl"


class Claim(NamedTuple):
    """A claim of the paper, its number there, when it holds here, and the figure that shows it."""

    words: str
    paper: str
    rule: str
    figure: str
    exact: bool = False
    """Follows from counting alone, so it is judged at any scale and with any number of seeds."""


_LEFT_OUT = "otherwise, the loss at equal heads is higher; fails where it is lower"
_EQUAL = "lower at 10%, 20%, 30% ... of the heads removed, as far as all seeds reach; fails where it is higher at one of them"
_CONTROL = "no claim of the paper: a control"
CLAIMS = {
    "1a": Claim("Pruning the heads of a Transformer-XL leaves its feed-forward untouched",
                "about 2/3 of the parameters, 1/2 of the computation",
                "its count does not depend on the heads; both shares within 10 points", "02_cost_of_a_head", True),
    "1b": Claim("On All-attention, parameters and computation fall in proportion to the heads",
                "in proportion (Figure 1)", "what half and none of the heads leave is within 1 point of 50% and 0%",
                "02_cost_of_a_head", True),
    "2a": Claim("Unpruned, the two models are about equal in size", "53.8M each", "less than 1% apart (body)",
                "02_parts", True),
    "2b": Claim("Unpruned, the two models are about equal in perplexity", UNKNOWN,
                f"less than {ABOUT} nats a token apart (two one-sided tests); fails where more", "03_learning_curves"),
    "3a": Claim("At equal parameters, pruned All-attention has the lower perplexity at every sparsity", UNKNOWN, _EQUAL,
                "07_gains"),
    "3b": Claim("All-attention at 43% sparsity is about as good as Transformer-XL at 25%", "30.7M against 47.9M",
                f"better, or less than {ABOUT} nats worse; fails where worse by more", "07_perplexity"),
    "4a": Claim("Sparsity-loss warm-up reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4b": Claim("Proper gate initialization reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4c": Claim("Attention-output scaling reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4d": Claim("The three methods stabilize pruning", UNKNOWN,
                "kept heads spread less over seeds with all three than with none (Brown and Forsythe's test, from 5 seeds on)",
                "06_stability"),
    "4e": Claim("Pruning should start from a converged model", UNKNOWN,
                "gates on random weights, trained as long in all: the loss at equal heads is higher; fails where it is lower",
                "06_three_methods"),
    "5a": Claim("Pruning is layer-wise: kept heads differ by layer", "three lists of 16 layers",
                "more uneven than heads removed blindly, at the λ nearest to half of them (random throws); fails where less so",
                "08_kept_heads"),
    "5b": Claim("Layer 2 is pruned hardest each time", "3, 4 and 2 of its 8 heads kept",
                "no layer keeps fewer heads than layer 2, at every such λ of every seed; fails where one does",
                "08_kept_heads"),
    "6a": Claim("Claim 3a for characters (the paper: text8)", UNKNOWN, _EQUAL, "12_characters"),
    "6b": Claim("Claim 3a for words, with the adaptive softmax", UNKNOWN, _EQUAL, "13_words"),
    "7a": Claim("Learned gates beat the same number of heads a layer, drawn blindly", _CONTROL,
                "the rival's loss is higher; fails where it is lower", "11_rivals"),
    "7b": Claim("Learned gates beat as many heads in all, spread evenly over the layers", _CONTROL, "as 7a", "11_rivals"),
    "7c": Claim("Learned gates beat gradient importance, one-shot (Michel et al. 2019)", _CONTROL, "as 7a", "11_rivals"),
    "7d": Claim("Learned gates beat their own final shape, trained from random weights", _CONTROL, "as 7a", "11_rivals"),
}
METHODS = {"4a": "no penalty warm-up", "4b": "gates start half open", "4c": "no output scaling", "4e": UNTRAINED}
RIVALS = {"7a": "random heads", "7b": "even layers", "7c": "gradient importance", "7d": "its shape from scratch"}


class Finding(NamedTuple):
    """What was measured for a claim, in words; the verdict that it leans to; its p-value; the points behind it."""

    ours: str
    leans: str = UNTOLD
    p: float | None = None
    points: list[dict] = []
    exact: bool = False
    """A verdict without a test: by counting, or by a counterexample."""


def judge(measured: dict) -> dict[str, tuple[Finding, str, float | None]]:
    """For each claim: the finding, the verdict, and the p-value after Holm's correction within the claims of its number."""
    found = _counting(measured["counts"]) | _unpruned(measured) | _sizes(measured) | _methods(measured) \
        | _layers(measured) | _rivals(measured)
    judged = {}
    for number in CLAIMS:
        family = {other: f.p for other, f in found.items() if other[0] == number[0] and f.p is not None}
        p = holm(family).get(number)
        verdict = found[number].leans if found[number].exact or (p is not None and p < LEVEL) else UNTOLD
        if measured["scale"] == "smoke" and not CLAIMS[number].exact:
            verdict = UNTOLD
        judged[number] = found[number], verdict, p
    return judged


Findings = dict[str, Finding]


def _exactly(words: str, holds: bool, points: list[dict] | None = None) -> Finding:
    return Finding(words, HOLDS if holds else FAILS, None, points or [], exact=True)


def _counting(counted: dict) -> Findings:
    ours, theirs = counted[OURS], counted[THEIRS]
    stays, half, other = theirs["feed_forward"], ours["left"]["half"], theirs["left"]["half"]
    untouched = theirs["untouched"] and abs(stays[0] - 2 / 3) < 0.1 and abs(stays[1] - 1 / 2) < 0.1
    linear = all(abs(share - 1 / 2) < 0.01 for share in half) and max(ours["left"]["none"]) < 0.01
    apart = abs(ours["body"] / theirs["body"] - 1)
    return {
        "1a": _exactly(f"{stays[0]:.1%} of the parameters, {stays[1]:.1%} of the multiply-adds", untouched),
        "1b": _exactly(f"half of the heads: {half[0]:.1%} and {half[1]:.1%} are left (Transformer-XL: {other[0]:.1%}, "
                       f"{other[1]:.1%})", linear),
        "2a": _exactly(f"{ours['body']:,} and {theirs['body']:,}: {apart:.2%} apart", apart < 0.01),
    }


def _unpruned(measured: dict) -> Findings:
    pairs = [one["baselines"] for one in measured["seeds"]]
    gaps = [pair[OURS]["test_loss"] - pair[THEIRS]["test_loss"] for pair in pairs]
    ours, theirs = (math.exp(math.fsum(pair[kind]["test_loss"] for pair in pairs) / len(pairs)) for kind in (OURS, THEIRS))
    words = f"{ours:.1f} against {theirs:.1f} (Transformer-XL): {_nats(gaps)}"
    return {"2b": Finding(words, *_better_supported(within(gaps, ABOUT), _beyond(gaps, ABOUT)),
                          [p for pair in pairs for p in pair.values()])}


def _sizes(measured: dict) -> Findings:
    sweeps = [one["sweeps"] for one in measured["seeds"]]
    pairs = [(pair[OURS], pair[THEIRS]) for pair in sweeps]
    points = [p for pair in sweeps for some in pair.values() for p in some]
    apart = [(interpolate(a, "sparsity", "test_loss", 0.43), interpolate(b, "sparsity", "test_loss", 0.25)) for a, b in pairs]
    apart = [a - b for a, b in apart if a is not None and b is not None]
    as_good = [sparsity_at_equal_loss(a, b, 0.25) for a, b in pairs]
    own = [(above_control(a, a[0]), above_control(b, b[0])) for a, b in pairs]
    everywhere, relative = _everywhere(pairs), _everywhere(own, "above")
    found = {
        "3a": everywhere._replace(ours=f"{everywhere.ours}; from each model's own control: {relative.ours}", points=points),
        "3b": Finding("the sweeps do not reach there", points=points),
        "6a": Finding(UNMEASURED), "6b": Finding(UNMEASURED),
    }
    if apart:
        reach = ", ".join("at none" if s is None else f"{s:.0%}" for s in as_good)
        judged = _better_supported(below(apart, ABOUT), _above(apart, ABOUT)) if len(apart) == len(pairs) else (UNTOLD, None)
        found["3b"] = Finding(f"{_nats(apart)}; as good as Transformer-XL at 25%, by seed: {reach}", *judged, points)
    for number, text in (("6a", "characters"), ("6b", "words")):
        more = [one[text] for one in measured["seeds"] if one.get(text)]
        if more:
            finding = _everywhere([(pair[OURS], pair[THEIRS]) for pair in more])
            corpus = measured["corpora"][text]
            found[number] = finding._replace(ours=f"{finding.ours} ({corpus})",
                                             points=[p for pair in more for some in pair.values() for p in some])
    return found


def _everywhere(pairs: list[tuple[list[dict], list[dict]]], y: str = "test_loss") -> Finding:
    """Whether the first of each pair (a seed's two sweeps) is better at equal parameters, wherever all seeds reach."""
    gains = {s: [gain(a, b, s, y) for a, b in pairs] for s in SPARSITIES}
    gains = {s: some for s, some in gains.items() if None not in some}
    if not gains:
        return Finding("no size that all seeds reach")
    least, most = (pick(gains, key=lambda s: sum(gains[s])) for pick in (min, max))
    words = (f"gain {interval(gains[least])} at {least:.0%} to {interval(gains[most])} at {most:.0%} nats "
             f"({min(gains):.0%} to {max(gains):.0%} removed)")
    better, worse = ([test(some, 0) for some in gains.values()] for test in (_above, below))
    if None in better or len(gains) < SIZES:
        return Finding(words)
    # Better everywhere needs every test; worse somewhere needs one of them, corrected for having asked several times.
    return Finding(words, *_better_supported(max(better), min(1.0, len(worse) * min(worse))))


def _methods(measured: dict) -> Findings:
    found = {}
    for number, name in METHODS.items():
        if any(name not in one["variants"] for one in measured["seeds"]):
            found[number] = Finding(UNMEASURED)
            continue
        variants = [one["variants"][name] for one in measured["seeds"]]
        curves = [one["sweeps"][OURS] for one in measured["seeds"]]
        off = [off_the_curve(p, curve) for p, curve in zip(variants, curves, strict=True)]
        words, points = f"otherwise {' '.join(str(p['heads']) for p in variants)} heads are kept", [*variants, *sum(curves, [])]
        if None in off:
            found[number] = Finding(f"{words}: outside of the sweep in {off.count(None)} of {len(off)} seeds", points=points)
            continue
        bound = any(p["heads"] < min(q["heads"] for q in curve) for p, curve in zip(variants, curves, strict=True))
        found[number] = Finding(f"{words}, and at equal heads: {'at most ' if bound else ''}{_nats(off)}", *_sign(off), points)
    full, none = ([one["variants"][name] for one in measured["seeds"]] for name in ("all three", "none of the three"))
    kept = [[p["heads"] for p in some] for some in (full, none)]
    late, lost = ([sum(p[key] for p in some) for some in (full, none)] for key in ("flips", "lost"))
    deviation = [_deviation(some) for some in kept]
    found["4d"] = Finding(
        f"kept heads with all three {' '.join(map(str, kept[0]))}, with none {' '.join(map(str, kept[1]))}; late flips "
        f"{late[0]} and {late[1]}, lost layers {lost[0]} and {lost[1]}",
        HOLDS if deviation[0] < deviation[1] else FAILS, unequal_spread(*kept), full + none)
    return found


def _layers(measured: dict) -> Findings:
    heads, several = measured["heads"], len(measured["seeds"]) > 1
    pruned = [[p for p in one["sweeps"][OURS] if 0.1 <= p["sparsity"] <= 0.9] for one in measured["seeds"]]
    if [] in pruned:
        return {number: Finding("no model in this range, in one seed or more") for number in ("5a", "5b")}
    points = sum(pruned, [])
    # The lists of one seed hang together, so that one of them, the nearest to half of the heads, stands for it in the test.
    half = [min(some, key=lambda p: abs(p["sparsity"] - 0.5))["per_layer"] for some in pruned]
    throws = [blindly(kept, heads, seed) for seed, kept in enumerate(half)]
    ratio, chance = (np.mean(some, axis=0) for some in ([unevenness(kept, heads) for kept in half],
                                                        [thrown.var(1) / thrown.var(1).mean() for thrown in throws]))
    tail = min(np.mean(chance >= ratio - 1e-9), np.mean(chance <= ratio + 1e-9))
    second = sum(p["per_layer"][1:2] == [min(p["per_layer"])] for p in points)
    by_chance = math.prod(float(np.mean(thrown[:, 1] == thrown.min(axis=1))) for thrown in throws)
    return {
        "5a": Finding(f"{ratio:.1f} times as uneven as chance, at the λ nearest to half of the heads",
                      HOLDS if ratio > 1 else FAILS, min(1.0, float(2 * tail) + 1 / len(chance)) if several else None, points),
        # One counterexample refutes "each time"; without one, this is how often chance would pick layer 2 in every seed.
        "5b": _exactly(f"at {second} of {len(points)} models", False, points) if second < len(points) else
              Finding(f"at all {second} models", HOLDS, by_chance if several else None, points),
    }


def _rivals(measured: dict) -> Findings:
    found = {}
    for number, name in RIVALS.items():
        if any(name not in one["rivals"] for one in measured["seeds"]):
            found[number] = Finding(UNMEASURED)
            continue
        pairs = [(one["rivals"][name], one["rivals"][GATES]) for one in measured["seeds"]]
        apart = [rival["test_loss"] - ours["test_loss"] for rival, ours in pairs]
        found[number] = Finding(f"rival minus gates: {_nats(apart)}", *_sign(apart), [p for pair in pairs for p in pair])
    return found


def _nats(values: list[float]) -> str:
    return f"{interval(values)} nats"


def _sign(values: list[float]) -> tuple[str, float | None]:
    """Whether a difference is above 0 (holds) or below (fails), two-sided."""
    return (HOLDS if sum(values) > 0 else FAILS), differs(values)


def _above(values: list[float], bound: float) -> float | None:
    return below([-x for x in values], -bound)


def _beyond(values: list[float], margin: float) -> float | None:
    """p-value that the mean is outside of -margin to margin, on the side where it lies."""
    return _above(values, margin) if sum(values) > 0 else below(values, -margin)


def _better_supported(holds: float | None, fails: float | None) -> tuple[str, float | None]:
    """Of two hypotheses that exclude each other, the one with the smaller p-value; doubled, for either could have been it."""
    if holds is None or fails is None:
        return UNTOLD, None
    return (HOLDS, min(1.0, 2 * holds)) if holds <= fails else (FAILS, min(1.0, 2 * fails))


def _deviation(values: list[float]) -> float:
    return math.fsum(abs(x - median(values)) for x in values)
