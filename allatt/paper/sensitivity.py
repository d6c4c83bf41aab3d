"""How far claims 3a, 3b, 4a to 4c, 6a and 6b rest on how the curves are compared: the same points, read in other ways.

These readings were asked for when all results were known. They judge nothing: the rules of `allatt.paper.rules` do. They say
what a reader may conclude who would have chosen otherwise.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper.claims import MARGINS, METHODS
from allatt.paper.curves import SPARSITIES, above_control, gain, interpolate, off_the_curve, smooth
from allatt.paper.decisions import UNTOLD, Finding, on_both_texts, three_way
from allatt.paper.measurements import Measurements
from allatt.system.text_tables import table

READINGS: dict[str, dict[str, Any]] = {
    "as judged": {},
    "equal multiply-adds": {"size": "body_multiply_adds"},
    "without the size at 35%": {"sparsities": SPARSITIES[:-1]},
    "smooth curves": {"line": smooth},
}
"""What is done otherwise: arguments of `mean_gain`."""
SWEEPS = {"3a": "sweeps", "3b": "sweeps", "6a": "characters", "6b": "words"}
"""The sweeps that a claim compares: a field of `SeedResults`."""
OWN = {"test_loss": "above", "valid_loss": "valid_above"}
"""For claim 3b, the field of each loss above the model's own control."""


def mean_gain(measured: Measurements, number: str, sparsities: Sequence[float] = SPARSITIES, **reading: Any) -> Finding:
    """The gain of claim 3a, 3b, 6a or 6b, averaged over `sparsities`; `reading` are arguments of `curves.gain`."""
    sweeps = [getattr(results, SWEEPS[number]) for results in measured.seeds]
    pairs = [(by_kind[ALL_ATTENTION], by_kind[TRANSFORMER_XL]) for by_kind in sweeps]
    if number == "3b":
        pairs = [tuple(above_control(points, points[0]) for points in pair) for pair in pairs]

    def means(y: str) -> list[float] | None:
        field = OWN[y] if number == "3b" else y
        gains = [[gain(*pair, sparsity, field, **reading) for sparsity in sparsities] for pair in pairs]
        return None if any(None in values for values in gains) else [math.fsum(values) / len(values) for values in gains]

    return on_both_texts(means, lambda values: three_way(values, MARGINS.models), (), "", MARGINS.models)


def left_out(measured: Measurements, number: str, line: Callable = interpolate) -> Finding:
    """How far a model that leaves out the method of claim 4a, 4b or 4c lies above the sweep at as many heads."""
    models = [results.methods[METHODS[number]] for results in measured.seeds]
    sweeps = [results.sweeps[ALL_ATTENTION] for results in measured.seeds]

    def off(y: str) -> list[float] | None:
        values = [off_the_curve(*pair, y, line) for pair in zip(models, sweeps, strict=True)]
        return None if None in values else values

    return on_both_texts(off, lambda values: three_way(values, MARGINS.ways), (), "", MARGINS.ways)


def readings(measured: Measurements) -> str:
    """All readings as a table: gains (3a, 3b, 6a, 6b) or losses above the curve (4a to 4c), where they lean, and p-values that
    are not corrected. Rows of models that were not trained are left out."""
    there = [number for number, sweeps in SWEEPS.items() if all(getattr(results, sweeps) for results in measured.seeds)]
    findings = {(number, name): mean_gain(measured, number, **reading)
                for number in there for name, reading in READINGS.items()}
    trained = [number for number in ("4a", "4b", "4c") if all(METHODS[number] in results.methods for results in measured.seeds)]
    findings |= {(number, name): left_out(measured, number, READINGS[name].get("line", interpolate))
                 for number in trained for name in ("as judged", "smooth curves")}
    rows = [("", "", "nats per token", "leans to", "p")]
    for (number, name), finding in sorted(findings.items(), key=lambda item: item[0][0]):
        p = "" if finding.p is None else "< 0.001" if finding.p < 0.001 else f"{finding.p:.3f}"
        rows.append((number, name, finding.ours, "" if finding.leans == UNTOLD else finding.leans, p))
    return table(rows, "<<<<>")
