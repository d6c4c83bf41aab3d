"""How far claims 3a, 3b, 4a to 4c, 6a and 6b depend on how the curves are compared: the same points, read in other ways.

These readings were asked for when all results were known. They judge nothing: `allatt.paper.verdicts` does, by the rules as
they were fixed. They say what a reader who would have chosen otherwise may conclude.
"""

from typing import Any

from allatt.paper import rules
from allatt.paper.claims import MARGINS, METHODS
from allatt.paper.curves import SPARSITIES, smooth
from allatt.paper.decisions import INCONCLUSIVE, Finding
from allatt.paper.measurements import Measurements
from allatt.paper.stats import p_value
from allatt.system.text_tables import table

READINGS: dict[str, dict[str, Any]] = {
    "as judged": {},
    "equal multiply-adds": {"size": "body_multiply_adds"},
    "without the size at 35%": {"sparsities": SPARSITIES[:-1]},
    "seven sizes, 5 to 35%": {"sparsities": [step / 20 for step in range(1, 8)]},
    "a fifth size, 36.8%": {"sparsities": [*SPARSITIES, 0.368]},  # where Transformer-XL has one head left
    "smooth curves": {"line": smooth},
}
"""What each reading changes: arguments of the rules on gains."""
LINES = "as judged", "smooth curves"
"""The readings that the rules of 4a to 4c allow, too."""


def find(measured: Measurements, number: str, **reading: Any) -> Finding:
    """The finding on one of these claims by its rule, with other arguments."""
    if number in METHODS:
        return rules.worse_without(measured, METHODS[number], MARGINS.ways, **reading)
    if number in ("6a", "6b"):
        return rules.better_on_other_tokens(measured, {"6a": "characters", "6b": "words"}[number], MARGINS.models, **reading)
    rule = {"3a": rules.better_at_equal_parameters, "3b": rules.cheaper_to_prune}[number]
    return rule(measured, MARGINS.models, **reading)


def readings(measured: Measurements) -> str:
    """All readings as a table, with the verdicts they lean to and uncorrected p-values. Rows without runs are left out."""
    rows = [("", "", "leans to", "p", "nats per token")]
    for number in ("3a", "3b", "4a", "4b", "4c", "6a", "6b"):
        for name in LINES if number in METHODS else READINGS:
            finding = find(measured, number, **READINGS[name])
            if finding.points:
                leans = "" if finding.leans == INCONCLUSIVE else finding.leans
                rows.append((number, name, leans, p_value(finding.p), finding.ours))
    return table(rows, "<<<><")
