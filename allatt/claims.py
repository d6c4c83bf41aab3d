"""The paper's claims, one row each: its words, its number, what was measured here, and a verdict by a fixed rule.

`measure` reads the runs of notebooks 03 to 08 (and trains those that are missing); `rows` judges. Counting is exact at
any scale. What was trained is judged only above the smoke scale, and with one seed, so small differences tell nothing.
`python -m allatt.claims` puts the table of figures/laptop/claims.json into the README.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from allatt import cost, experiments, scales
from allatt.config import AllattError
from allatt.figures import figures_folder
from allatt.files import put_between
from allatt.readings import above_control, at_equal_parameters, flips, interpolate, point, unevenness
from allatt.runs import get_or_run, provenance, write_json
from allatt.together import get_or_run_all

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told at this scale"
MARGIN = 0.01
"""Nats a token: a smaller difference is called none (our choice; one seed cannot tell how large the noise is)."""
ABOUT = 0.05
"""Nats a token that still count as about equal: 5% of the perplexity (our choice)."""
UNEVEN = 2.0
"""Times the unevenness of chance from which layers are said to differ (our choice)."""
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
UNKNOWN = "not available"
OURS, THEIRS = "all-attention", "transformer-xl"
PARTS = ("parameters", "multiply_adds")
NOTEBOOKS = {"02": "02_cost_of_a_head", "03": "03_baselines", "06": "06_three_methods",
             "07": "07_heads_against_perplexity", "08": "08_which_heads_survive"}


class Claim(NamedTuple):
    """A claim of the paper, its number there, when it holds here, and the figure that shows it."""

    words: str
    paper: str
    rule: str
    figure: str
    exact: bool = False
    """Follows from counting alone, so it is judged at any scale."""


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
                f"less than {ABOUT} nats a token apart", "03_learning_curves"),
    "3a": Claim("At equal parameters, pruned All-attention has the lower perplexity at every sparsity", UNKNOWN,
                f"lower by more than {MARGIN} nats at every pruned point that has a counterpart, of two or more; "
                f"fails where one is higher by more than {MARGIN}", "07_perplexity"),
    "3b": Claim("All-attention at 43% sparsity is about as good as Transformer-XL at 25%", "30.7M against 47.9M",
                f"better, or less than {ABOUT} nats worse", "07_perplexity"),
    "4a": Claim("Sparsity-loss warm-up reduces the loss of quality", UNKNOWN, "see 4c", "06_three_methods"),
    "4b": Claim("Proper gate initialization reduces the loss of quality", UNKNOWN, "see 4c", "06_three_methods"),
    "4c": Claim("Attention-output scaling reduces the loss of quality", UNKNOWN,
                f"left out, the loss at equal heads is more than {MARGIN} nats higher on test and on valid; "
                f"fails where it is more than {MARGIN} lower on both", "06_three_methods"),
    "4d": Claim("The three methods stabilize pruning", UNKNOWN, "needs several seeds: not judged with one",
                "06_stability"),
    "5a": Claim("Pruning is layer-wise: kept heads differ by layer", "three lists of 16 layers",
                f"at least {UNEVEN:g} times as uneven as heads removed blindly, at every λ that removes 10 to 90% of them",
                "08_kept_heads"),
    "5b": Claim("Layer 2 is pruned hardest each time", "3, 4 and 2 of its 8 heads kept",
                "no layer keeps fewer heads than layer 2, at every such λ", "08_kept_heads"),
}
METHODS = {"4a": "no penalty warm-up", "4b": "gates start half open", "4c": "no output scaling"}


def measure(scale: str, corpus: str = "", seed: int = 0) -> dict:
    """All that the claims are judged by, as plain values: exact counts, and runs of notebooks 03 to 08 as points."""
    kinds = scales.KINDS
    get_or_run_all(experiments.everything(scale, corpus, seed))
    sweeps = {kind: [get_or_run(config) for config in experiments.sweep(scale, kind, corpus, seed)] for kind in kinds}
    variants = {name: get_or_run(config) for name, config in experiments.techniques(scale, corpus, seed).items()}
    baselines = {kind: get_or_run(experiments.baseline(scale, kind, corpus, seed)) for kind in kinds}
    return {
        "scale": scale, "folder": experiments.label(scale, corpus, seed), "heads": scales.model(scale, OURS).heads,
        "counts": {kind: counts("paper", kind) for kind in kinds},
        "baselines": {kind: point(run) for kind, run in baselines.items()},
        "sweeps": {kind: [point(run) for run in runs] for kind, runs in sweeps.items()},
        "variants": {name: point(run) | {"flips": flips(run)} for name, run in variants.items()},
    }


def counts(scale: str, kind: str) -> dict:
    """Exact: the body's parameters, what share of it is feed-forward, and what is left with half and with no heads."""
    model = scales.model(scale, kind)
    parts = {}
    for name, heads in (("all", model.heads), ("half", model.heads // 2), ("none", 0)):
        small = replace(model, kept=(tuple(range(heads)),) * model.layers)
        parts[name] = cost.count(small, scales.vocab(scale))
    full = parts["all"]
    feed_forward = {name: [c[what]["parts"]["feed_forward"] for what in PARTS] for name, c in parts.items()}
    return {
        "body": full["parameters"]["body"],
        "left": {name: [c[what]["body"] / full[what]["body"] for what in PARTS] for name, c in parts.items()},
        "feed_forward": [units / full[what]["body"] for units, what in zip(feed_forward["all"], PARTS, strict=True)],
        "untouched": feed_forward["all"] == feed_forward["half"] == feed_forward["none"],
    }


def rows(measured: dict) -> list[dict]:
    """One row a claim, in order: id, the fields of Claim, ours, verdict, scale, folder, seeds, notebook, runs."""
    judged = _counting(measured["counts"]) | _perplexities(measured) | _methods(measured) | _layers(measured)
    table = []
    for number, claim in CLAIMS.items():
        ours, verdict, points = judged[number]
        if measured["scale"] == "smoke" and not claim.exact:
            verdict = UNTOLD
        table.append({"id": number, **claim._asdict(), "ours": ours, "verdict": verdict, "scale": measured["scale"],
                      "folder": measured["folder"], "seeds": 0 if claim.exact else 1,
                      "notebook": NOTEBOOKS[claim.figure[:2]], "runs": list(dict.fromkeys(p["run"] for p in points))})
    return table


Judged = dict[str, tuple[str, str, list[dict]]]
"""By claim: what was measured, in words; the verdict; the points behind it."""


def _verdict(holds: bool) -> str:
    return HOLDS if holds else FAILS


def _counting(counted: dict) -> Judged:
    ours, theirs = counted[OURS], counted[THEIRS]
    stays, half, other = theirs["feed_forward"], ours["left"]["half"], theirs["left"]["half"]
    untouched = theirs["untouched"] and abs(stays[0] - 2 / 3) < 0.1 and abs(stays[1] - 1 / 2) < 0.1
    linear = all(abs(share - 1 / 2) < 0.01 for share in half) and max(ours["left"]["none"]) < 0.01
    apart = abs(ours["body"] / theirs["body"] - 1)
    return {
        "1a": (f"{stays[0]:.1%} of the parameters, {stays[1]:.1%} of the multiply-adds", _verdict(untouched), []),
        "1b": (f"half of the heads: {half[0]:.1%} and {half[1]:.1%} are left (Transformer-XL: {other[0]:.1%}, "
               f"{other[1]:.1%})", _verdict(linear), []),
        "2a": (f"{ours['body']:,} and {theirs['body']:,}: {apart:.2%} apart", _verdict(apart < 0.01), []),
    }


def _perplexities(measured: dict) -> Judged:
    base = measured["baselines"]
    ours, theirs = measured["sweeps"][OURS], measured["sweeps"][THEIRS]
    gap = base[OURS]["test_loss"] - base[THEIRS]["test_loss"]
    gains = [row["gain"] for row in at_equal_parameters(_pruned(ours), theirs)]
    own = at_equal_parameters(_pruned(above_control(ours, ours[0])), above_control(theirs, theirs[0]), "above")
    relative = f"measured from its own control: at {sum(row['gain'] > MARGIN for row in own)}"
    spread = f" (gains {min(gains):+.3f} to {max(gains):+.3f} nats)" if gains else ""
    a, b = interpolate(ours, "sparsity", "test_loss", 0.43), interpolate(theirs, "sparsity", "test_loss", 0.25)
    reached = a is not None and b is not None
    return {
        "2b": (f"{base[OURS]['test_perplexity']:.1f} against {base[THEIRS]['test_perplexity']:.1f} (Transformer-XL): "
               f"{gap:+.3f} nats", _verdict(abs(gap) < ABOUT), [*base.values()]),
        "3a": (f"lower at {sum(gain > MARGIN for gain in gains)} of {len(gains)} points{spread}; {relative}",
               _all_above(gains), [*ours, *theirs]),
        "3b": (f"{a - b:+.3f} nats, between points" if reached else "the sweeps do not reach there",
               _verdict(a - b < ABOUT) if reached else UNTOLD, [*ours, *theirs]),
    }


def _pruned(points: list[dict]) -> list[dict]:
    return [p for p in points if p["sparsity"] > 0]


def _all_above(gains: list[float]) -> str:
    """Whether all of two or more gains are clear; one clear loss decides against it."""
    if len(gains) < 2 or (min(gains) <= MARGIN and min(gains) >= -MARGIN):
        return UNTOLD
    return _verdict(min(gains) > MARGIN)


def _methods(measured: dict) -> Judged:
    curve, variants = measured["sweeps"][OURS], measured["variants"]
    judged = {}
    for number, name in METHODS.items():
        p = variants[name]
        there = [interpolate(curve, "heads", f"{split}_loss", p["heads"]) for split in ("test", "valid")]
        if None in there:
            judged[number] = (f"left out, {p['heads']} heads are kept: outside of the sweep", UNTOLD, [p, *curve])
            continue
        test, valid = p["test_loss"] - there[0], p["valid_loss"] - there[1]
        clear = min(test, valid) > MARGIN or max(test, valid) < -MARGIN
        judged[number] = (f"left out, at equal heads ({p['heads']}): {test:+.3f} nats on test, {valid:+.3f} on valid",
                          _verdict(test > 0) if clear else UNTOLD, [p, *curve])
    full, none = variants["all three"], variants["none of the three"]
    late = f"late flips of heads: {full['flips']} with all three, {none['flips']} with none"
    return judged | {"4d": (late, UNTOLD, [full, none])}


def _layers(measured: dict) -> Judged:
    pruned = [p for p in measured["sweeps"][OURS] if 0.1 <= p["sparsity"] <= 0.9]
    lists = [p["per_layer"] for p in pruned]
    spread = [unevenness(kept, measured["heads"]) for kept in lists]
    differ, second = sum(times >= UNEVEN for times in spread), sum(kept[1:2] == [min(kept)] for kept in lists)
    chance = f"; {min(spread):.1f} to {max(spread):.1f} times as uneven as chance" if spread else ""
    return {
        "5a": (f"at {differ} of {len(lists)} λ{chance}", _verdict(differ == len(lists)) if lists else UNTOLD, pruned),
        "5b": (f"at {second} of {len(lists)} λ", _verdict(second == len(lists)) if lists else UNTOLD, pruned),
    }


def save(judged: list[dict], folder: str) -> Path:
    """Write claims.json among the figures of `folder` (a scale, or `experiments.label`), with provenance."""
    path = figures_folder(folder) / "claims.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"claims": judged, "provenance": provenance()})
    return path


def markdown(judged: list[dict], root: str = "") -> str:
    """The claims as a table; its links start with `root`, the way to the repository from where the table stands."""
    lines = ["| | claim | the paper | here | verdict | see |", "|---|---|---|---|---|---|"]
    for row in judged:
        verdict = f"**{row['verdict']}**" + (", by counting" if row["exact"] else "")
        links = (f"[{row['notebook'][:2]}]({root}notebooks/{row['notebook']}.ipynb), "
                 f"[figure]({root}figures/{row['folder']}/{row['figure']}.png)")
        lines.append(f"| {row['id']} | {row['words']} | {row['paper']} | {row['ours']} | {verdict} | {links} |")
    return "\n".join(lines)


def update_readme(readme: Path, judged: list[dict]) -> bool:
    """Put the table between the markers of a README; True if that changed it."""
    return put_between(readme, BEGIN, END, markdown(judged))


def load(path: Path) -> list[dict]:
    """The rows of a claims.json."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["claims"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AllattError(f"{path} cannot be read ({error}); run notebook 10 at that scale first") from None


def main() -> int:
    """Bring the README's table up to date with figures/laptop/claims.json."""
    readme = Path(__file__).resolve().parents[1] / "README.md"
    try:
        changed = update_readme(readme, load(figures_folder("laptop") / "claims.json"))
    except AllattError as error:
        print(f"allatt: {error}", file=sys.stderr)
        return 2
    print(f"{readme.name}: the table of claims {'is new' if changed else 'was up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
