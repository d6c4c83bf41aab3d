"""The claims as a table: measured by runs, judged by `allatt.paper.verdicts`, saved with provenance, put into the README.

`measure` reads the runs of the notebooks (and trains those that are missing). `python -m allatt.paper.claims` puts the table of
figures/laptop-5seeds/claims.json into the README.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, AllattError, RunConfig
from allatt.figures import figures_folder
from allatt.paper import experiments, scales
from allatt.paper.curves import flips, point
from allatt.paper.study import Study
from allatt.paper.verdicts import CLAIMS, judge
from allatt.runs import get_or_run, provenance
from allatt.runs.parallel import get_or_run_all
from allatt.system.files import put_between, write_json
from allatt.system.paths import repository

README = "laptop-5seeds"
"""The folder of figures whose claims the README shows."""
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
PARTS = ("parameters", "multiply_adds")
NOTEBOOKS = {"02": "02_cost_of_a_head", "03": "03_baselines", "06": "06_three_methods", "07": "07_heads_against_perplexity",
             "08": "08_which_heads_survive", "11": "11_controls", "12": "12_characters", "13": "13_words"}
SHARED = ("02", "04", "05")
"""Notebooks whose figures show one seed, whatever the number of seeds."""
OTHER_TOKENS = ("characters", "words")


def measure(study: Study) -> dict:
    """Everything that the claims are judged by, as plain values: exact counts, and the runs of each seed as points."""
    others = {tokens: study.variant(tokens) for tokens in OTHER_TOKENS} if study.is_complete else {}
    configs = [config for seed in study.seeds for config in experiments.everything(study, seed)]
    configs += [config for other in others.values() for seed in study.seeds for config in other.sweeps(seed)]
    get_or_run_all(configs)
    rivals = {seed: experiments.rivals(study, seed) if study.is_complete else {} for seed in study.seeds}
    get_or_run_all(config for configs in rivals.values() for config in configs.values())
    measured = []
    for seed in study.seeds:
        results = {"seed": seed}
        results["baselines"] = {kind: _point(study.baseline(kind, seed)) for kind in KINDS}
        results["sweeps"] = _by_kind(study.sweeps(seed))
        results["variants"] = {name: _point(config, gates=True)
                               for name, config in experiments.method_comparison(study, seed).items()}
        results["rivals"] = {name: _point(config) for name, config in rivals[seed].items()}
        results |= {tokens: _by_kind(other.sweeps(seed)) for tokens, other in others.items()}
        measured.append(results)
    return {
        "scale": study.scale, "seeds": measured,
        "folder": study.folder, "single": replace(study, count=1).folder,
        "heads": scales.model(study.scale, ALL_ATTENTION).heads,
        "counts": {kind: counts("paper", kind) for kind in KINDS},
        "corpora": {tokens: other.data.corpus for tokens, other in others.items()},
    }


def _by_kind(configs: list[RunConfig]) -> dict[str, list[dict]]:
    return {kind: [_point(config) for config in configs if config.model.kind == kind] for kind in KINDS}


def _point(config: RunConfig, gates: bool = False) -> dict:
    run = get_or_run(config)
    return point(run) | ({"flips": flips(run), "lost": run.result["heads"]["per_layer"].count(0)} if gates else {})


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
    """One row a claim, in order: id, the fields of Claim, ours, verdict, p, scale, folder, seeds, notebook, runs."""
    table = []
    for number, (finding, verdict, p) in judge(measured).items():
        claim, notebook = CLAIMS[number], CLAIMS[number].figure[:2]
        table.append({"id": number, **claim._asdict(), "ours": finding.ours, "verdict": verdict, "p": p,
                      "scale": measured["scale"], "notebook": NOTEBOOKS[notebook],
                      "folder": measured["single" if notebook in SHARED else "folder"],
                      "seeds": 0 if claim.exact else len(measured["seeds"]),
                      "runs": list(dict.fromkeys(p["run"] for p in finding.points))})
    return table


def save(judged: list[dict], measured: dict) -> Path:
    """Write claims.json among the figures, with what the claims were judged by, and provenance."""
    path = figures_folder(measured["folder"]) / "claims.json"
    return write_json(path, {"claims": judged, "measured": measured, "provenance": provenance()})


def markdown(judged: list[dict], root: str = "") -> str:
    """The claims as a table; its links start with `root`, the way to the repository from where the table stands."""
    lines = ["| | claim | the paper | here | seeds | p | verdict | see |", "|---|---|---|---|---|---|---|---|"]
    for row in judged:
        seeds = "counted" if row["exact"] else str(row["seeds"])
        p = "" if row["p"] is None else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        links = (f"[{row['notebook'][:2]}]({root}notebooks/{row['notebook']}.ipynb), "
                 f"[figure]({root}figures/{row['folder']}/{row['figure']}.png)")
        cells = row["id"], row["words"], row["paper"], row["ours"], seeds, p, f"**{row['verdict']}**", links
        lines.append(f"| {' | '.join(cells)} |")
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
    """Bring the README's table up to date with the claims.json that it shows."""
    readme = repository() / "README.md"
    try:
        changed = update_readme(readme, load(figures_folder(README) / "claims.json"))
    except AllattError as error:
        print(f"allatt: {error}", file=sys.stderr)
        return 2
    print(f"{readme.name}: the table of claims {'is new' if changed else 'was up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
