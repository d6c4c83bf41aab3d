"""Verdicts on the claims: each claim's rule (`allatt.paper.rules`) gives a finding, and a test over seeds decides.

Claims of one number (4a, 4b, ...) are a family, and their p-values are corrected together by Holm's method. If the corrected
p-value is below the level, the verdict that the data lean to stands; otherwise it cannot be told.
"""

from typing import NamedTuple

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper import rules
from allatt.paper.claims import ABOUT, CLAIMS, LEVEL, METHODS, RIVALS
from allatt.paper.measurements import Measurements
from allatt.paper.rules import UNTOLD, Finding
from allatt.paper.stats import holm


class Judgment(NamedTuple):
    """A finding, the verdict on its claim, and the p-value after Holm's correction within the claims of its number."""

    finding: Finding
    verdict: str
    p: float | None


def judge(measured: Measurements, level: float = LEVEL, about: float = ABOUT) -> dict[str, Judgment]:
    """The judgment on each claim. At the smoke scale, only exact claims are told."""
    findings = find(measured, about)
    judgments = {}
    for number, claim in CLAIMS.items():
        finding = findings[number]
        family = {other: f.p for other, f in findings.items() if other[0] == number[0] and f.p is not None}
        p = holm(family).get(number)
        is_told = finding.exact or (p is not None and p < level)
        if measured.scale == "smoke" and not claim.exact:
            is_told = False
        judgments[number] = Judgment(finding, finding.leans if is_told else UNTOLD, p)
    return judgments


def find(measured: Measurements, about: float = ABOUT) -> dict[str, Finding]:
    """The finding on each claim, by its rule."""
    ours, theirs = (measured.counts[kind] for kind in (ALL_ATTENTION, TRANSFORMER_XL))
    return {
        "1a": rules.feed_forward_untouched(theirs),
        "1b": rules.falls_in_proportion(ours, theirs),
        "2a": rules.equal_size(ours, theirs),
        "2b": rules.equal_perplexity(measured, about),
        "3a": rules.better_at_every_size(measured),
        "3b": rules.as_good_at_43_percent(measured, about),
        **{number: rules.worse_without(measured, name) for number, name in METHODS.items()},
        "4d": rules.spreads_less(measured),
        "5a": rules.uneven_layers(measured),
        "5b": rules.layer_2_hardest(measured),
        "6a": rules.better_on_other_tokens(measured, "characters"),
        "6b": rules.better_on_other_tokens(measured, "words"),
        **{number: rules.gates_beat(measured, name) for number, name in RIVALS.items()},
    }
