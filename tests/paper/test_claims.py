"""The claims: each can be traced to a figure of a notebook, and says in words what its rule asks."""

import json

from allatt.paper.claims import CLAIMS, MARGINS, METHODS, RIVALS, SCRATCH
from allatt.paper.criteria import CRITERIA
from allatt.paper.curves import SPARSITIES
from allatt.paper.experiments import TRAINING_METHODS, UNTRAINED
from allatt.paper.rivals import SCRATCH as FROM_SCRATCH
from allatt.system.paths import repository


def test_every_claim_has_a_rule_and_a_figure_that_a_notebook_saves():
    saved = set()
    for path in (repository() / "notebooks").glob("[0-9]*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        saved |= {claim.figure for claim in CLAIMS.values() if f'save_figure("{claim.figure}"' in text}
    assert saved == {claim.figure for claim in CLAIMS.values()}
    assert all(claim.words and claim.paper and claim.rule for claim in CLAIMS.values())
    assert [number for number, claim in CLAIMS.items() if claim.exact] == ["1a", "1b", "2a"], "what counting decides"


def test_comparisons_are_named_as_their_experiments():
    assert set(METHODS.values()) == {*TRAINING_METHODS, UNTRAINED} - {"all three", "none of the three"}
    assert {name for names in RIVALS.values() for name in names} <= set(CRITERIA) and list(SCRATCH.values()) == [FROM_SCRATCH]
    assert {*METHODS, *RIVALS, *SCRATCH} <= set(CLAIMS) and "4d" not in METHODS
    controls = {number for number, claim in CLAIMS.items() if claim.paper.startswith("no claim of the paper")}
    assert controls == {*RIVALS, *SCRATCH} == {number for number in CLAIMS if number[0] == "7"}
    assert len(RIVALS["7a"]) == 2 and "mean of two draws" in CLAIMS["7a"].words


def test_margins_sizes_and_budgets_are_in_the_words():
    models, ways = MARGINS
    for number in ("2b", "3a", "3b", "3d", "6a", "6b"):
        assert f"{models} nats" in CLAIMS[number].rule, number
    for number in (*METHODS, *RIVALS, *SCRATCH):
        assert f"more than {ways};" in CLAIMS[number].rule or CLAIMS[number].rule.endswith("as 4a"), number
    assert ", ".join(f"{100 * sparsity:.0f}" for sparsity in SPARSITIES[:-1]) + " and 35% of its heads" in CLAIMS["3a"].words
    assert {number for number, claim in CLAIMS.items() if "both budgets" in claim.rule} == set(RIVALS)


def test_only_the_primary_outcome_leaves_the_family_of_its_digit():
    assert {number: claim.family for number, claim in CLAIMS.items() if claim.family} == {"3a": "primary"}
