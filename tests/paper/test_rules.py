"""Each claim's rule, at its border: what holds, is about equal, or fails, and what several seeds, or one, cannot tell.

Here p-values are not corrected for other claims; see test_verdicts.py.
"""

from dataclasses import replace
from functools import partial
from itertools import product
from math import sqrt

import pytest
from made_up import (
    AGAINST,
    ERROR,
    MEAN_GAINS,
    NOISE,
    THREE_WAY,
    losses,
    measurements,
    ours,
    pruned_point,
    set_against,
    set_gains,
    set_three_way,
    shifted,
    theirs,
)
from scipy.stats import hypergeom, t

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper import rules
from allatt.paper.claims import LEVEL, MARGINS, METHODS, RIVALS, SCRATCH
from allatt.paper.decisions import EQUAL, FAILS, HOLDS, INCONCLUSIVE
from allatt.paper.rivals import GATES, LATE
from allatt.paper.verdicts import judge

MODELS, WAYS = MARGINS
RULES = {
    "2b": lambda measured: rules.equal_perplexity(measured, MODELS),
    "3a": lambda measured: rules.better_at_equal_parameters(measured, MODELS),
    "3b": lambda measured: rules.cheaper_to_prune(measured, MODELS),
    "3c": lambda measured: rules.better_at_every_size(measured, MODELS),
    "3d": lambda measured: rules.as_good_at_43_percent(measured, MODELS),
    **{number: partial(rules.worse_without, name=name, margin=WAYS) for number, name in METHODS.items()},
    "4d": rules.more_stable, "5a": rules.uneven_layers, "5b": rules.same_layers,
    "6a": lambda measured: rules.better_on_other_tokens(measured, "characters", MODELS),
    "6b": lambda measured: rules.better_on_other_tokens(measured, "words", MODELS),
    **{number: partial(rules.gates_beat, names=names, margin=WAYS) for number, names in RIVALS.items()},
    **{number: partial(rules.gates_beat_scratch, name=name, margin=WAYS) for number, name in SCRATCH.items()},
}
"""As in `verdicts.find`, which tries all."""


def finding(number, change=None, seeds=5):
    return RULES[number](measurements(seeds, change=change))


def verdicts(numbers, change=None, seeds=5):
    """What would be told of each claim if it were alone."""
    measured = measurements(seeds, change=change)
    found = {number: RULES[number](measured) for number in numbers}
    return {number: one.leans if one.p is not None and one.p < LEVEL else INCONCLUSIVE for number, one in found.items()}


def test_counting_claims_can_fail():
    counts = measurements().counts
    mine, others = counts[ALL_ATTENTION], counts[TRANSFORMER_XL]
    assert rules.feed_forward_untouched(others).leans == HOLDS
    for change in ({"untouched": False}, {"feed_forward": [0.5, 0.5]}, {"feed_forward": [2 / 3, 0.7]}):
        assert rules.feed_forward_untouched(replace(others, **change)).leans == FAILS
    assert rules.falls_in_proportion(mine, others).leans == HOLDS
    for left in ({"half": [0.5, 0.52], "none": [0, 0]}, {"half": [0.5, 0.5], "none": [0.02, 0]}):
        assert rules.falls_in_proportion(replace(mine, left=left), others).leans == FAILS
    assert rules.equal_size(mine, others).leans == HOLDS
    assert rules.equal_size(mine, replace(others, body=60_000_000)).leans == FAILS


# Margins

STEP = 0.012
"""Far enough from a margin to be told with this noise, whatever the correction."""


@pytest.mark.parametrize("sign, side, verdict", [(1, STEP, HOLDS), (1, 0, INCONCLUSIVE), (1, -STEP, EQUAL),
                                                 (-1, STEP, EQUAL), (-1, 0, INCONCLUSIVE), (-1, -STEP, FAILS)])
def test_three_verdicts_part_at_the_margin_on_both_sides(sign, side, verdict):
    models, ways = (sign * margin + side for margin in MARGINS)
    found = judge(measurements(change=set_three_way(models, ways)))
    assert {number: found[number].verdict for number in THREE_WAY} == dict.fromkeys(THREE_WAY, verdict)
    for number in THREE_WAY:
        shown = f"{models if number in MEAN_GAINS else ways:+.3f} ["
        assert f"test {shown}" in found[number].finding.ours and f"validation {shown}" in found[number].finding.ours


def test_the_margin_of_models_is_not_that_of_ways_to_prune():
    """0.035 nats are within the one, and above the other."""
    assert verdicts(THREE_WAY, set_three_way(0.035, 0.035)) == dict.fromkeys(MEAN_GAINS, EQUAL) | dict.fromkeys(AGAINST, HOLDS)


@pytest.mark.parametrize("gap, verdict", [(0.0, HOLDS), (0.05 - STEP, HOLDS), (STEP - 0.05, HOLDS), (0.05, INCONCLUSIVE),
                                          (-0.05, INCONCLUSIVE), (0.05 + STEP, FAILS), (-0.05 - STEP, FAILS)])
def test_2b_needs_both_baselines_near_each_other(gap, verdict):
    def change(results):
        results.baselines[ALL_ATTENTION] = shifted(results.baselines[ALL_ATTENTION], gap)
    assert verdicts(["2b"], change) == {"2b": verdict}


def test_2b_says_what_was_measured():
    assert finding("2b").ours == ("148.4 against 148.4 (Transformer-XL): test +0.000 [-0.004, +0.004], "
                              "validation +0.000 [-0.004, +0.004] nats")


def gap_at_43_percent(gap):
    """A change: All-attention's loss at 43%, 5.172, is this much above Transformer-XL's at 25%."""
    def change(results):
        point = theirs(15, 5.0, 0.1)
        point = replace(point, **losses(5.172, tuple(-by for by in gap), (1, 1), results.seed))
        results.sweeps[TRANSFORMER_XL] = [theirs(20, 4.0, 0.0), point, theirs(0, 9.0, 0.2)]
    return change


@pytest.mark.parametrize("gap, verdict", [(-0.05 - STEP, HOLDS), (0.0, HOLDS), (0.05 - STEP, HOLDS), (0.05, INCONCLUSIVE),
                                          (0.05 + STEP, FAILS)])
def test_3d_compares_43_with_25_percent_and_any_lower_loss_will_do(gap, verdict):
    change = gap_at_43_percent((gap, gap))
    assert verdicts(["3d"], change) == {"3d": verdict} and f"test {gap:+.3f} [" in finding("3d", change).ours


# Both texts

@pytest.mark.parametrize("texts", [(0, 1), (1, 0)])
@pytest.mark.parametrize("first, second", [(0.1, -0.1), (0.1, 0.0), (0.0, -0.1)])
def test_texts_that_lean_to_different_verdicts_tell_nothing(texts, first, second):
    by = tuple((first, second)[text] for text in texts)
    measured = measurements(change=set_three_way(by, by))
    for number in THREE_WAY:
        found = RULES[number](measured)
        assert (found.leans, found.p) == (INCONCLUSIVE, 1), number


def test_2b_3c_and_3d_need_both_texts_too():
    def far_apart_on_validation(results):
        results.baselines[ALL_ATTENTION] = shifted(results.baselines[ALL_ATTENTION], 0.5, ["valid_loss"])
    assert verdicts(["2b"], far_apart_on_validation) == {"2b": INCONCLUSIVE}
    assert verdicts(["3c"], set_gains([0.3, 0.3, 0.3, (0.3, -0.3)])) == {"3c": INCONCLUSIVE}
    assert verdicts(["3c"], set_gains([0.3, 0.3, 0.3, (-0.3, 0.3)])) == {"3c": INCONCLUSIVE}
    for gaps in ((0.0, 0.2), (0.2, 0.0)):
        assert verdicts(["3d"], gap_at_43_percent(gaps)) == {"3d": INCONCLUSIVE}


def test_3b_measures_each_text_from_its_own_control():
    def higher_control_on_validation(results):
        sweep = results.sweeps[TRANSFORMER_XL]
        sweep[0] = shifted(sweep[0], 2.0, ["valid_loss"])
    found = finding("3b", higher_control_on_validation)
    assert found.leans == INCONCLUSIVE and "mean gain test +0.285" in found.ours and "validation -" in found.ours


def test_of_two_texts_the_larger_p_value_is_taken():
    measured = [measurements(change=set_three_way(0.1, 0.1, noise)) for noise in ((1, 1), (3, 1), (1, 3), (3, 3))]
    for number in (*THREE_WAY, "3c"):
        narrow, *wide = (RULES[number](one).p for one in measured)
        assert wide == [pytest.approx(wide[0])] * 3 and narrow < wide[0] / 2, number


# Sizes

def test_3a_is_the_mean_over_sizes_and_3c_each_of_them():
    """At 10% of the heads All-attention is behind, or level; at the others it is far ahead."""
    assert verdicts(["3a", "3c"], set_gains([-0.1, 0.3, 0.3, 0.3])) == {"3a": HOLDS, "3c": FAILS}
    assert verdicts(["3a", "3c"], set_gains([0.3, 0.3, 0.3, -0.1])) == {"3a": HOLDS, "3c": FAILS}
    assert verdicts(["3a", "3c"], set_gains([0.3, 0.0, 0.3, 0.3])) == {"3a": HOLDS, "3c": INCONCLUSIVE}
    assert verdicts(["3a", "3c"], set_gains([0.3, -0.3, -0.3, -0.3])) == {"3a": FAILS, "3c": FAILS}
    assert "mean gain test +0.200 [" in finding("3a", set_gains([-0.1, 0.3, 0.3, 0.3])).ours
    assert "gain at 10% -0.100 [" in finding("3c", set_gains([-0.1, 0.3, 0.3, 0.3])).ours


@pytest.mark.parametrize("worst, p", [
    (-0.06, 2 * 4 * t.cdf(-0.01 / ERROR, 4)),  # asked at four sizes, with two answers
    (0.06, 2 * t.sf(0.01 / ERROR, 4)),  # all four must be above: no correction
])
@pytest.mark.parametrize("place", range(4))
def test_3c_is_corrected_for_the_sizes_at_which_it_could_fail(worst, p, place):
    gains = [0.3] * 4
    gains[place] = worst
    found = finding("3c", set_gains(gains))
    assert (found.leans, found.p) == (FAILS if worst < 0 else HOLDS, pytest.approx(p))


def test_3c_at_one_of_four_sizes_is_no_finding_where_it_would_be_one_alone():
    """A gain whose p-value is 0.02 at one size, and large gains at the others."""
    found = finding("3c", set_gains([-0.05 + t.ppf(0.01, 4) * ERROR, 0.3, 0.3, 0.3]))
    assert found.leans == FAILS and found.p == pytest.approx(0.08)


@pytest.mark.parametrize("gain, control, verdicts_3", [(0.3, 5.4, (HOLDS, FAILS)), (0.3, 5.29, (HOLDS, EQUAL)),
                                                       (-0.1, 4.6, (FAILS, HOLDS))])
def test_3b_measures_each_model_from_its_own_control(gain, control, verdicts_3):
    change = set_gains([gain] * 4, control=control)
    assert tuple(verdicts(["3a", "3b"], change).values()) == verdicts_3
    assert f"mean gain test {gain - control + 5:+.3f} [" in finding("3b", change).ours


def test_gains_hold_for_one_vocabulary_and_not_for_another():
    change = set_gains([-0.3] * 4, sweeps="words")
    assert verdicts(["3a", "6a", "6b"], change) == {"3a": HOLDS, "6a": HOLDS, "6b": FAILS}
    assert finding("6a", change).ours.startswith("text8-like: mean gain test +0.285 [")
    assert finding("6b", change).ours.startswith("wikitext-2: mean gain test -0.300 [")


@pytest.mark.parametrize("kind, kept, missing", [(ALL_ATTENTION, 15, "30%, 35%"), (ALL_ATTENTION, 14, "35%"),
                                                 (TRANSFORMER_XL, 7, "35%"), (TRANSFORMER_XL, 18, "10%, 20%, 30%, 35%")])
def test_sizes_that_one_seed_does_not_reach_are_named_and_nothing_is_told(kind, kept, missing):
    def change(results):
        make = ours if kind == ALL_ATTENTION else theirs
        for sweeps in (results.sweeps, results.characters):
            if results.seed == 3:
                sweeps[kind] = [sweeps[kind][0], make(kept, 5.1, 0.1)]
    for number in ("3a", "3b", "3c", "6a"):
        found = finding(number, change)
        assert (found.leans, found.p, found.detectable) == (INCONCLUSIVE, None, None) and found.points
        assert found.ours == f"the sweeps do not reach {missing} in every seed; extend their lambdas"
    assert verdicts(["6b"], change) == {"6b": HOLDS}, "every seed reaches there"


def test_3d_does_not_extrapolate():
    def change(results):
        if results.seed == 3:
            results.sweeps[ALL_ATTENTION] = results.sweeps[ALL_ATTENTION][:2]
    found = finding("3d", change)
    assert (found.leans, found.p, found.ours) == (INCONCLUSIVE, None, "a seed is outside of the sweep")
    assert finding("3d").ours.endswith("; as good as Transformer-XL at 25%, by seed: 50%, 50%, 50%, 50%, 50%")


@pytest.mark.parametrize("seeds, words", [
    ((3,), "as good as Transformer-XL at 25%, by seed: 50%, 50%, 50%, nowhere, 50%"),
    (range(5), "at no sparsity as good as Transformer-XL at 25%, in any seed")], ids=["one seed", "all seeds"])
def test_3d_says_where_no_model_is_as_good(seeds, words):
    def change(results):
        if results.seed in seeds:
            results.sweeps[ALL_ATTENTION] = [shifted(point, 1) for point in results.sweeps[ALL_ATTENTION]]
    assert finding("3d", change).ours.endswith(f"; {words}")


# The three training methods

@pytest.mark.parametrize("number, name", METHODS.items())
def test_a_method_is_compared_at_equal_heads(number, name):
    def on_the_curve(results):  # a higher loss, and no worse
        results.methods[name] = ours(5, 5.3 + NOISE[results.seed])

    def outside(results):
        if results.seed == 1:
            results.methods[name] = ours(3, 9.0)
    others = dict.fromkeys(set(METHODS) - {number}, HOLDS)
    for change, verdict in ((on_the_curve, EQUAL), (outside, INCONCLUSIVE)):
        assert verdicts(METHODS, change) == others | {number: verdict}
    assert finding(number, outside).ours == "otherwise 10 3 10 10 10 heads are kept, and at equal heads: " \
                                               "a seed is outside of the sweep"


@pytest.mark.parametrize("by, verdict", [(-0.1, FAILS), (-0.01, INCONCLUSIVE)])
def test_a_model_smaller_than_the_sweep_and_better_can_only_fail(by, verdict):
    """Its distance is at most this, so that it may be farther below: it is not about equal."""
    def change(results):
        results.methods["no penalty warm-up"] = ours(3, 5.3 + by + NOISE[results.seed])
    found = finding("4a", change)
    assert found.leans == verdict and found.ours.endswith("] nats at most") and (found.p == 1) == (verdict == INCONCLUSIVE)


def test_one_seed_s_bound_is_no_evidence_that_a_method_helps():
    def change(results):
        bound = results.seed == 2
        results.methods["no penalty warm-up"] = ours(3, 5.299) if bound else ours(10, 5.5 + NOISE[results.seed])
    assert "test +0.241 [" in finding("4a", change).ours, "the mean is far above the margin"
    assert verdicts(METHODS, change) == dict.fromkeys(METHODS, HOLDS) | {"4a": INCONCLUSIVE}


SETTLED = {"heads": [10] * 5, "lost": [1] * 5, "flips": [2] * 5, "undecided": [3] * 5}
SHAKY = {"heads": [4, 16, 5, 17, 10], "lost": [3, 4, 3, 4, 3], "flips": [5, 7, 6, 7, 5], "undecided": [6, 8, 6, 7, 6]}


def stability(all_three, none):
    """A change: the four readings of claim 4d, as lists by seed."""
    def change(results):
        for name, readings in (("all three", all_three), ("none of the three", none)):
            values = {reading: values[results.seed] for reading, values in (SETTLED | readings).items()}
            results.methods[name] = replace(results.methods[name], **values)
    return change


def test_stability_is_not_measured_if_one_seed_lacks_a_method():
    def change(results):
        if results.seed == 1:
            results.methods.pop("none of the three")
            results.methods.pop("no output scaling")
    for number in ("4c", "4d"):
        found = finding(number, change)
        assert (found.ours, found.leans, found.p) == ("not measured, in one seed or more", INCONCLUSIVE, None)
    assert finding("4a", change).leans == HOLDS


@pytest.mark.parametrize("reading", SHAKY)
def test_4d_holds_if_one_reading_is_better_and_fails_if_it_is_worse(reading):
    shaky = {reading: SHAKY[reading]}
    assert verdicts(["4d"], stability({}, shaky)) == {"4d": HOLDS}
    assert verdicts(["4d"], stability(shaky, {})) == {"4d": FAILS}


def test_4d_is_untold_if_readings_contradict_each_other():
    for better, worse in (("flips", "undecided"), ("heads", "lost"), ("lost", "heads")):
        assert verdicts(["4d"], stability({worse: SHAKY[worse]}, {better: SHAKY[better]})) == {"4d": INCONCLUSIVE}
    # One reading is worse at p = 0.052, which a correction for two readings would hide.
    assert verdicts(["4d"], stability({"undecided": [4, 5, 4, 6, 3]}, {"flips": SHAKY["flips"]})) == {"4d": INCONCLUSIVE}
    no_more_than_noise = {"undecided": [3, 4, 2, 4, 3]}
    assert verdicts(["4d"], stability(no_more_than_noise, {"flips": SHAKY["flips"]})) == {"4d": HOLDS}


def test_4d_is_untold_if_no_reading_differs():
    assert verdicts(["4d"], stability({}, {})) == verdicts(["4d"], stability({"heads": [14] * 5}, {})) == {"4d": INCONCLUSIVE}
    assert verdicts(["4d"], stability({"flips": [1, 3, 2, 4, 1]}, {"flips": [2, 1, 4, 1, 3]})) == {"4d": INCONCLUSIVE}


def test_4d_counts_a_change_that_is_the_same_in_each_seed():
    """One more lost layer without the methods, in each seed: by the sign test, since a t-test has no scatter there."""
    found = finding("4d", stability({"heads": [10, 10, 9, 10, 11]}, {"heads": [10, 10, 9, 10, 11], "lost": [2] * 5}))
    assert (found.leans, found.p) == (HOLDS, 4 / 16), "corrected for four readings"


def test_4d_needs_five_seeds_to_compare_spreads():
    change = stability({}, {"heads": SHAKY["heads"]})
    assert finding("4d", change, seeds=4).p == 1, "three readings without a difference"
    assert verdicts(["4d"], change, seeds=4) == {"4d": INCONCLUSIVE}


@pytest.mark.parametrize("noisy", [(), ("lost",), ("lost", "undecided")])
def test_4d_is_corrected_for_all_readings_whether_or_not_they_vary(noisy):
    """Late flips fall by 3 to 5, 4 in the mean; that none of 10 and 10 heads spreads is a reading too."""
    change = stability({"flips": [0] * 5} | dict.fromkeys(noisy, [1, 2, 3, 4, 5]),
                       {"flips": [3, 4, 5, 4, 4]} | dict.fromkeys(noisy, [2, 1, 3, 5, 4]))
    found = finding("4d", change)
    assert (found.leans, found.p) == (HOLDS, pytest.approx(4 * 2 * t.sf(4 / sqrt(0.5 / 5), 4)))


def test_4d_says_all_of_its_readings():
    assert finding("4d", stability({}, SHAKY)).ours == (
        "by seed, all three and none: kept heads 10 10 10 10 10 and 4 16 5 17 10; lost layers 1 1 1 1 1 and 3 4 3 4 3; "
        "late flips 2 2 2 2 2 and 5 7 6 7 5; undecided gates 3 3 3 3 3 and 6 8 6 7 6")


# Layers

def layers(*by_seed):
    """A change: All-attention's sweeps have these kept heads by layer, of 4 each: a list of lists for each seed."""
    def change(results):
        lists = by_seed[results.seed % len(by_seed)]
        results.sweeps[ALL_ATTENTION] = [pruned_point(ALL_ATTENTION, kept, 5.0, lam=index / 10, of=4 * len(kept))
                                         for index, kept in enumerate(lists)]
    return change


FULL = [4, 4, 4, 4]


@pytest.mark.parametrize("lists, verdict", [
    ([FULL, [4, 0, 3, 2], [3, 0, 1, 0]], HOLDS), ([FULL, [2, 2, 2, 2], [1, 1, 1, 1]], FAILS),
    ([FULL, [3, 1, 3, 1], [2, 0, 1, 1]], INCONCLUSIVE),  # about as uneven as by chance
    ([FULL, [2, 2, 2, 2], [4, 0, 0, 0]], FAILS),  # the one nearest to half of the heads counts
    ([FULL, FULL, [0, 0, 0, 0]], INCONCLUSIVE),  # nothing, or everything, was removed
])
def test_5a_asks_whether_layers_are_more_uneven_than_by_chance(lists, verdict):
    assert verdicts(["5a"], layers(lists)) == {"5a": verdict}
    assert verdicts(["5a"], layers(lists), seeds=1) == {"5a": INCONCLUSIVE}, "one seed may be chance"


@pytest.mark.parametrize("kept, heads", [([3, 1], 4), ([2, 2], 4), ([2, 1], 4), ([3, 0], 8), ([7, 4], 8)])
def test_5a_has_the_p_value_of_all_choices_of_heads_ties_included(kept, heads):
    """Two seeds of two layers: exact, by summing over all pairs of what chance can leave in the first layer."""
    total, tails = sum(kept), [0.0, 0.0]
    found = 2 * (kept[0] - total / 2) ** 2
    for pair in product(range(total + 1), repeat=2):
        uneven = sum((first - total / 2) ** 2 for first in pair)
        chance = hypergeom.pmf(pair, 2 * heads, heads, total).prod()
        tails[0] += chance * (uneven >= found)
        tails[1] += chance * (uneven <= found)
    measured = replace(measurements(seeds=2, change=layers([kept])), heads=heads)
    for results in measured.seeds:
        results.sweeps[ALL_ATTENTION] = [replace(point, sparsity=0.5) for point in results.sweeps[ALL_ATTENTION]]
    assert rules.uneven_layers(measured).p == pytest.approx(min(1, 2 * min(tails)), abs=0.015)


@pytest.mark.parametrize("first, second, verdict", [
    ([4, 3, 2, 1, 0], [4, 3, 2, 1, 0], HOLDS), ([4, 3, 2, 1, 0], [0, 1, 2, 3, 4], FAILS),
    ([4, 3, 2, 1, 0], [4, 1, 0, 3, 2], INCONCLUSIVE), ([2, 2, 2, 2, 2], [4, 3, 2, 1, 0], INCONCLUSIVE)])
def test_5b_asks_whether_seeds_order_the_layers_alike(first, second, verdict):
    assert verdicts(["5b"], layers([first], [second]), seeds=2) == {"5b": verdict}


@pytest.mark.parametrize("lists, leans, p", [
    ([[4, 3, 2, 1], [4, 3, 2, 1]], HOLDS, 2 / 24), ([[4, 3, 2, 1], [1, 2, 3, 4]], FAILS, 2 / 24),
    ([[3, 2, 1], [3, 2, 1], [3, 2, 1]], HOLDS, 2 / 36),  # given the first, one of 6 x 6 orders
    ([[3, 2, 1], [2, 1, 3], [1, 3, 2]], FAILS, 4 / 36),  # two of them, with each layer on each rank
])
def test_5b_has_the_p_value_of_all_orders_of_the_layers(lists, leans, p):
    found = finding("5b", layers(*([kept] for kept in lists)), seeds=len(lists))
    assert (found.leans, found.p) == (leans, pytest.approx(p, abs=0.006))


def test_5b_takes_the_mean_over_lambdas_and_leaves_out_what_has_nothing_to_order():
    """By their means, both seeds order the layers 4, 3, 2, 1; by either list alone they would not."""
    first, second = [[2, 3, 2, 1], [4, 1, 0, 0]], [[4, 2, 0, 1], [3, 3, 3, 0]]
    found = finding("5b", layers([FULL, *first, [0] * 4], [FULL, *second]), seeds=2)
    assert found.ours == "pruned hardest, by seed: layer 4 4; rank correlation between seeds +1.00"
    assert len(found.points) == 4


def test_5b_of_one_seed_only_says_which_layer():
    found = finding("5b", layers([[4, 0, 3, 2]]), seeds=1)
    assert (found.leans, found.p, found.ours) == (INCONCLUSIVE, None, "pruned hardest, by seed: layer 2")


# Rivals

@pytest.mark.parametrize("number", [*RIVALS, *SCRATCH])
def test_each_rival_is_judged_by_its_own_models(number):
    rivals = (*RIVALS, *SCRATCH)
    assert verdicts(rivals, set_against(-0.1, only=[number])) == dict.fromkeys(rivals, HOLDS) | {number: FAILS}


@pytest.mark.parametrize("draws, verdict", [((-0.1, 0.2), HOLDS), ((0.2, -0.1), HOLDS), ((0.1, -0.2), FAILS),
                                            ((0.1, -0.1), EQUAL)])
def test_7a_is_the_mean_of_two_draws(draws, verdict):
    def change(results):
        for name, by in zip(RIVALS["7a"], draws, strict=True):
            for budget in ("", LATE):
                results.rivals[name + budget] = ours(14, 5.12 + by + NOISE[results.seed], seed=results.seed)
    assert verdicts(["7a"], change) == {"7a": verdict}


def set_budgets(number, start, late, noise=(1, 1)):
    """A change: distances of a rival to the gates with the two budgets; `noise` of each."""
    def change(results):
        for name in RIVALS[number]:
            results.rivals[name] = ours(14, 5.12 + start + noise[0] * NOISE[results.seed])
            results.rivals[name + LATE] = ours(14, 5.12 + late + noise[1] * NOISE[results.seed], seed=results.seed + 10)
    return change


@pytest.mark.parametrize("number", RIVALS)
def test_a_run_that_one_budget_lacks_leaves_no_verdict_to_the_other_one(number):
    """Cut at the start all is equal, and told so, if no late run was asked for; while they are under way nothing is judged."""
    def without(results, seeds):
        set_budgets(number, 0.0, -0.1)(results)
        for name in RIVALS[number]:
            if results.seed in seeds:
                del results.rivals[name + LATE]

    assert finding(number, lambda results: without(results, range(5))).leans == EQUAL
    for seeds in ((4,), (0, 1, 2, 3)):
        found = finding(number, lambda results, seeds=seeds: without(results, seeds))
        assert (found.ours, found.leans, found.p, found.points) == (rules.UNMEASURED, INCONCLUSIVE, None, ())


@pytest.mark.parametrize("number", RIVALS)
@pytest.mark.parametrize("start, late", [(0.1, -0.1), (-0.1, 0.1), (0.1, 0.0), (0.0, 0.1)])
def test_budgets_that_disagree_tell_nothing(number, start, late):
    found = finding(number, set_budgets(number, start, late))
    assert (found.leans, found.p) == (INCONCLUSIVE, 1)
    assert found.ours.startswith(f"cut at the start: rival minus gates test {start:+.3f} [")
    assert f"; cut late: rival minus gates test {late:+.3f} [" in found.ours
    for by_itself in {0.1: HOLDS, -0.1: FAILS, 0.0: EQUAL}[start], {0.1: HOLDS, -0.1: FAILS, 0.0: EQUAL}[late]:
        assert f"] nats (by itself: {by_itself})" in found.ours
    assert found.detectable is None, "more seeds do not help"


def test_of_two_budgets_the_larger_p_value_and_the_larger_detectable_difference_are_taken():
    narrow, *wide = (finding("7b", set_budgets("7b", 0.1, 0.1, noise))
                     for noise in ((1, 1), (3, 1), (1, 3), (3, 3)))
    assert [one.p for one in wide] == [pytest.approx(wide[0].p)] * 3 and narrow.p < wide[0].p / 2
    assert [one.detectable for one in wide] == [pytest.approx(wide[0].detectable)] * 3
    assert wide[0].detectable - 0.02 == pytest.approx(3 * (narrow.detectable - 0.02)), "what is above the margin is scatter"


def test_without_a_second_phase_there_is_one_budget():
    def change(results):
        for name in [name for name in results.rivals if name.endswith(LATE)]:
            del results.rivals[name]
    assert verdicts(RIVALS, change) == dict.fromkeys(RIVALS, HOLDS)
    assert all("cut late" not in finding(number, change).ours for number in RIVALS)


def test_the_runs_behind_a_rival_are_those_of_both_budgets_and_the_gates_once():
    found = finding("7b", set_budgets("7b", 0.1, 0.1), seeds=2)
    assert len(found.points) == len({point.run for point in found.points}) == 2 * 3


@pytest.mark.parametrize("missing, numbers", [(RIVALS["7a"][1], ["7a"]), (SCRATCH["7e"], ["7e"]), (METHODS["4b"], ["4b"]),
                                              (GATES, [*RIVALS, *SCRATCH])])
def test_what_one_seed_lacks_is_not_measured(missing, numbers):
    def change(results):
        if results.seed == 4:
            for group in (results.methods, results.rivals):
                group.pop(missing, None)
    for number in (*METHODS, *RIVALS, *SCRATCH):
        found = finding(number, change)
        assert (found.ours == rules.UNMEASURED) == (number in numbers)
        assert number not in numbers or (found.leans, found.p, found.points) == (INCONCLUSIVE, None, ())
