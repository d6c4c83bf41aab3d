"""Verdicts on the claims: each claim's rule (`allatt.paper.rules`) gives a finding, and a test over seeds decides.

Claims of one family are corrected together by Holm's method; the primary outcome, 3a, is a family of its own. A claim whose
runs exist counts in its family even if no test is possible (a seed is outside of the sweep): which questions were asked must
not depend on the answers. If the corrected p-value is below the level, the claim gets the verdict that the data lean to;
otherwise the claim is inconclusive.
"""

from typing import NamedTuple

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper import rules
from allatt.paper.claims import CLAIMS, LEVEL, MARGINS, METHODS, RIVALS, SCRATCH, Margins
from allatt.paper.decisions import INCONCLUSIVE, Finding
from allatt.paper.measurements import Measurements
from allatt.paper.stats import holm


class Judgment(NamedTuple):
    """A finding, the verdict on its claim, and the p-value after Holm's correction within the claim's family."""

    finding: Finding
    verdict: str
    p: float | None


def judge(measured: Measurements, level: float = LEVEL, margins: Margins = MARGINS) -> dict[str, Judgment]:
    """The judgment on each claim. At the smoke scale, all but exact claims are inconclusive."""
    findings = find(measured, margins)
    judgments = {}
    for number, claim in CLAIMS.items():
        finding = findings[number]
        family = {other: 1.0 if f.p is None else f.p for other, f in findings.items()
                  if _family(other) == _family(number) and not f.exact and f.ours != rules.UNMEASURED}
        p = None if finding.p is None else holm(family)[number]
        is_shown = finding.exact or (p is not None and p < level)
        if measured.scale == "smoke" and not claim.exact:
            is_shown = False
        judgments[number] = Judgment(finding, finding.leans if is_shown else INCONCLUSIVE, p)
    return judgments


def _family(number: str) -> str:
    return CLAIMS[number].family or number[0]


def find(measured: Measurements, margins: Margins = MARGINS) -> dict[str, Finding]:
    """The finding on each claim, by its rule."""
    ours, theirs = (measured.counts[kind] for kind in (ALL_ATTENTION, TRANSFORMER_XL))
    return {
        "1a": rules.feed_forward_untouched(theirs),
        "1b": rules.falls_in_proportion(ours, theirs),
        "2a": rules.equal_size(ours, theirs),
        "2b": rules.equal_perplexity(measured, margins.models),
        "3a": rules.better_at_equal_parameters(measured, margins.models),
        "3b": rules.cheaper_to_prune(measured, margins.models),
        "3c": rules.better_at_every_size(measured, margins.models),
        "3d": rules.as_good_at_43_percent(measured, margins.models),
        **{number: rules.worse_without(measured, name, margins.ways) for number, name in METHODS.items()},
        "4d": rules.more_stable(measured),
        "5a": rules.uneven_layers(measured),
        "5b": rules.same_layers(measured),
        "6a": rules.better_on_other_tokens(measured, "characters", margins.models),
        "6b": rules.better_on_other_tokens(measured, "words", margins.models),
        **{number: rules.gates_beat(measured, names, margins.ways) for number, names in RIVALS.items()},
        **{number: rules.gates_beat_scratch(measured, name, margins.ways) for number, name in SCRATCH.items()},
    }
