"""Verdicts: what several seeds, or one, can tell; corrections; and the rules give the committed verdicts."""

import json
from dataclasses import replace

import pytest
from made_up import AGAINST, ERROR, MEAN_GAINS, measurements, set_three_way, shifted
from scipy.stats import t

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper import claim_table, claims, curves, experiments, rules, verdicts
from allatt.paper.claims import CLAIMS, MARGINS, METHODS, RIVALS, SCRATCH, Margins
from allatt.paper.decisions import EQUAL, FAILS, HOLDS, INCONCLUSIVE
from allatt.paper.measurements import Measurements
from allatt.paper.rivals import GATES
from allatt.paper.verdicts import judge
from allatt.system.paths import repository

EXACT = {"1a", "1b", "2a"}
FAMILIES = [{"2b"}, {"3a"}, {"3b", "3c", "3d"}, {*METHODS, "4d"}, {"5a", "5b"}, {"6a", "6b"}, {*RIVALS, *SCRATCH}]
"""Claims that are corrected together; those of EXACT have no p-value."""


def verdicts_of(**options):
    return {number: judgment.verdict for number, judgment in judge(measurements(**options)).items()}


def untold_but_exact():
    return {number: HOLDS if number in EXACT else INCONCLUSIVE for number in CLAIMS}


def test_everything_holds_that_several_seeds_can_tell():
    assert verdicts_of() == verdicts_of(seeds=3) == dict.fromkeys(CLAIMS, HOLDS)
    too_many_questions = {*METHODS, "4d", *RIVALS, *SCRATCH}
    assert verdicts_of(seeds=2) == dict.fromkeys(CLAIMS, HOLDS) | dict.fromkeys(too_many_questions, INCONCLUSIVE)


def test_smoke_decides_nothing_but_by_counting():
    assert verdicts_of(scale="smoke") == untold_but_exact()
    assert {number for number, claim in CLAIMS.items() if claim.exact} == EXACT


def test_one_seed_decides_nothing_but_by_counting():
    judged = judge(measurements(seeds=1))
    assert {number: judgment.verdict for number, judgment in judged.items()} == untold_but_exact()
    for number, (finding, _, p) in judged.items():
        assert (finding.p, p, finding.detectable) == (None, None, None), number
        assert finding.ours and "[" not in finding.ours, "a mean without an interval"


def test_what_was_not_measured_is_not_judged():
    def short(results):
        del results.methods[experiments.UNTRAINED]
        for measured in (results.characters, results.words, results.rivals):
            measured.clear()
    judged = judge(measurements(change=short))
    left_out = {"4e", "6a", "6b", *RIVALS, *SCRATCH}
    for number, (finding, verdict, p) in judged.items():
        assert (finding.ours == rules.UNMEASURED) == (number in left_out)
        assert number not in left_out or (verdict, p, finding.points) == (INCONCLUSIVE, None, ())
    assert {number for number in judged if judged[number].verdict != HOLDS} == left_out
    assert judged["4a"].p == pytest.approx(4 * judged["4a"].finding.p), "what was not measured asks no question"


# Corrections

def test_a_question_that_was_asked_counts_even_if_it_cannot_be_tested():
    """Gates on random weights are outside of the sweep in one seed: 4e has no p-value, and it is one of five all the same."""
    def outside(results):
        if results.seed == 0:
            point = results.methods[experiments.UNTRAINED]
            results.methods[experiments.UNTRAINED] = replace(point, heads=1, per_layer=[1], test_loss=9.0, valid_loss=9.0)
    judged = judge(measurements(change=outside))
    assert "outside of the sweep" in judged["4e"].finding.ours and judged["4e"].p is None
    assert judged["4a"].p == pytest.approx(5 * judged["4a"].finding.p)


@pytest.fixture(scope="module")
def with_different_p_values():
    """Judgments at different distances from the margins, so that no two p-values of a family need be alike; 6b fails."""
    return judge(measurements(change=different_distances))


def different_distances(results):
    for index, name in enumerate(METHODS.values()):
        results.methods[name] = shifted(results.methods[name], 0.01 * index)
    for index, name in enumerate([name for name in results.rivals if name != GATES]):
        results.rivals[name] = shifted(results.rivals[name], 0.01 * index)
    results.words[TRANSFORMER_XL] = [shifted(point, -0.5) for point in results.words[TRANSFORMER_XL]]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: " ".join(sorted(family)))
def test_p_values_are_corrected_within_a_family_and_not_across(family, with_different_p_values):
    """Holm: the smallest of n times n, the next one times n - 1, and none below the one before."""
    judged, least = with_different_p_values, 0.0
    for rank, number in enumerate(sorted(family, key=lambda number: judged[number].finding.p)):
        finding, verdict, p = judged[number]
        least = max(least, min(1, (len(family) - rank) * finding.p))
        assert p == pytest.approx(least) and verdict == finding.leans
    assert {number for family in FAMILIES for number in family} | EXACT == set(CLAIMS)


def test_only_the_primary_outcome_is_told_with_a_p_value_that_its_family_cannot_afford():
    """All have a p-value of 0.03: the primary outcome stands alone, and the others asked two, three or five questions."""
    distance = t.isf(0.03 / 2, 4) * ERROR
    judged = judge(measurements(change=set_three_way(MARGINS.models + distance, MARGINS.ways + distance)))
    for number in (*MEAN_GAINS, "3c", *AGAINST):
        finding, verdict, p = judged[number]
        assert (finding.leans, finding.p) == (HOLDS, pytest.approx(0.03, rel=1e-3)), number
        assert (verdict, p < 0.05) == ((HOLDS, True) if number == "3a" else (INCONCLUSIVE, False)), number
    assert judged["6a"].p == pytest.approx(0.06, rel=1e-3) and judged["7a"].p == pytest.approx(0.15, rel=1e-3)


def test_a_p_value_at_the_level_tells_nothing():
    measured = measurements()
    p = judge(measured)["3a"].p
    assert judge(measured, level=p)["3a"].verdict == INCONCLUSIVE and judge(measured, level=p * 1.001)["3a"].verdict == HOLDS


# Choices

def test_the_choices_are_those_that_the_notebook_explains():
    """Verdicts of the README hang on them: whoever changes one reads notebook 10 and the README again."""
    assert (claims.LEVEL, claims.MARGINS._asdict(), curves.SPARSITIES) == (
        0.05, {"models": 0.05, "ways": 0.02}, (0.1, 0.2, 0.3, 0.35))


def test_level_and_margins_are_arguments():
    measured = measurements(change=set_three_way(0.1, 0.03))
    assert {number: one.verdict for number, one in judge(measured, level=1e-9).items()} == untold_but_exact()
    kinds = MEAN_GAINS, AGAINST
    for margins, expected in ((MARGINS, (HOLDS, HOLDS)), (Margins(models=0.15), (EQUAL, HOLDS)),
                              (Margins(ways=0.05), (HOLDS, EQUAL)), (Margins(0.0, 0.0), (HOLDS, HOLDS))):
        judged = judge(measured, margins=margins)
        assert tuple({judged[number].verdict for number in numbers} for numbers in kinds) == tuple({one} for one in expected)
    assert judge(measured) == judge(measured, claims.LEVEL, MARGINS), "the defaults"

    def behind(results):
        results.baselines[ALL_ATTENTION] = shifted(results.baselines[ALL_ATTENTION], 0.08)
        results.sweeps[ALL_ATTENTION] = [shifted(point, 0.1) for point in results.sweeps[ALL_ATTENTION]]
    measured = measurements(change=behind)
    for margins, verdict in ((MARGINS, FAILS), (Margins(models=0.1), HOLDS)):
        judged = judge(measured, margins=margins)
        assert judged["2b"].verdict == judged["3d"].verdict == verdict


def test_every_claim_has_a_finding_with_a_rule_that_names_it():
    findings = verdicts.find(measurements())
    assert sorted(findings) == sorted(CLAIMS)
    rule_texts = " ".join(rule.__doc__ for name, rule in vars(rules).items() if callable(rule) and not name.startswith("_")
                          and rule.__module__ == rules.__name__ and rule.__doc__)
    assert {number for number in CLAIMS if number not in rule_texts} == {"7b", "7c"}, "those are in 7a to 7d"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (repository() / "figures").glob("*/claims.json")))
def test_rules_give_exactly_the_committed_verdicts(name):
    """What is committed follows from what was measured: verdicts, words and, up to the arithmetic of a machine, p-values."""
    committed = json.loads((repository() / "figures" / name / "claims.json").read_text(encoding="utf-8"))
    measured = Measurements.from_dict(committed["measured"])
    assert measured.as_dict() == committed["measured"], "read and written without loss"
    rows = claim_table.judge_claims(measured)
    for row, expected in zip(rows, committed["claims"], strict=True):
        computed = {"p": None, "detectable": None}
        assert row | computed == expected | computed
        for name in computed:
            assert row[name] == expected[name] or row[name] == pytest.approx(expected[name], rel=1e-6)
        assert row["exact"] or row["p"] is None or (row["verdict"] != INCONCLUSIVE) == (row["p"] < claims.LEVEL)
