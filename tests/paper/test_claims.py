"""The claims: each can be traced to a figure of a notebook, and says in words what its rule asks."""

import json

from allatt.paper.claims import ABOUT, CLAIMS, METHODS, RIVALS
from allatt.paper.experiments import TRAINING_METHODS, UNTRAINED
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
    assert set(METHODS.values()) <= {*TRAINING_METHODS, UNTRAINED} and set(METHODS) | set(RIVALS) <= set(CLAIMS)
    assert all(claim.paper.startswith("no claim of the paper") == (number in RIVALS) for number, claim in CLAIMS.items())
    assert f"{ABOUT}" in CLAIMS["2b"].rule and f"{ABOUT}" in CLAIMS["3b"].rule, "the margin is in the words"
