"""The table of claims: judged, saved with provenance, and shown.

`python -m allatt.paper.claim_table` puts the rows of each folder in SHOWN into the README.md beside its claims.json (all
columns), and below them its models seed by seed; the verdicts of all folders go into the repository's README.md. With
`--judge SCALE --seeds N` it judges the finished runs of a scale, trains nothing, and writes its claims.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allatt.config import AllattError
from allatt.figures import figures_folder
from allatt.paper import seed_tables
from allatt.paper.claims import CLAIMS, LEVEL, MARGINS, Margins
from allatt.paper.decisions import INCONCLUSIVE
from allatt.paper.measurements import Measurements, measure
from allatt.paper.stats import p_value
from allatt.paper.study import Study
from allatt.paper.verdicts import judge
from allatt.runs.provenance import provenance
from allatt.system.files import put_between, write_json
from allatt.system.messages import note
from allatt.system.paths import repository
from allatt.system.text_tables import markdown_table

SHOWN = ("overnight-wiki2014-5seeds", "laptop-5seeds")
"""The folders of figures whose claims are shown."""
NOT_MEASURED = "not measured"
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
SEEDS_BEGIN, SEEDS_END = "<!-- seeds:begin -->", "<!-- seeds:end -->"
NOTEBOOKS = {"02": "02_cost_of_a_head", "03": "03_baselines", "06": "06_three_methods", "07": "07_heads_against_perplexity",
             "08": "08_which_heads_survive", "11": "11_controls", "12": "12_characters", "13": "13_words"}


def judge_claims(measured: Measurements, level: float = LEVEL, margins: Margins = MARGINS) -> list[dict]:
    """One row of the table per claim, as plain values: id, the fields of Claim, ours, verdict, p, detectable, scale, notebook,
    folder, seeds, runs."""
    table = []
    for number, (finding, verdict, p) in judge(measured, level, margins).items():
        claim = CLAIMS[number]
        table.append({"id": number, **claim._asdict(), "ours": finding.ours, "verdict": verdict, "p": p,
                      "detectable": finding.detectable,
                      "scale": measured.scale, "notebook": NOTEBOOKS[claim.figure[:2]],
                      "folder": measured.single if claim.exact else measured.folder,  # figures of counts show one seed
                      "seeds": 0 if claim.exact else len(measured.seeds),
                      "runs": list(dict.fromkeys(point.run for point in finding.points))})
    return table


def save(rows: list[dict], measured: Measurements) -> Path:
    """Write claims.json next to the figures: the rows, what they were judged by, and provenance."""
    path = figures_folder(measured.folder) / "claims.json"
    return write_json(path, {"claims": rows, "measured": measured.as_dict(), "provenance": provenance()})


def verdict_of(row: dict) -> str:
    """The verdict of a row; a row without runs has none, however many seeds there are."""
    return row["verdict"] if row["exact"] or row["runs"] else NOT_MEASURED


def verdicts(*tables: list[dict]) -> str:
    """The verdicts of several folders side by side in Markdown, for the repository's README.md.

    Links lead to the notebook, and to the figure of the first folder that measured the row.
    """
    scales = (f"{rows[-1]['scale']}, {max(row['seeds'] for row in rows)} seeds" for rows in tables)
    lines = []
    for same in zip(*tables, strict=True):
        first = next((row for row in same if verdict_of(row) != NOT_MEASURED), same[0])
        lines.append([first["id"], first["words"], *(f"**{verdict_of(row)}**" for row in same), _links(first)])
    return markdown_table(["", "claim", *scales, "see"], lines)


def markdown(rows: list[dict], root: str) -> str:
    """The claims as a table with all columns, in Markdown; `root` is the path from its folder to the repository, "../../"."""
    lines = []
    for row in rows:
        seeds = "counted" if row["exact"] else str(row["seeds"]) if row["runs"] else ""
        lines.append([row["id"], row["words"], f"**{verdict_of(row)}**", ours(row), row["paper"], seeds, p_value(row["p"]),
                      _links(row, root)])
    return markdown_table(["", "claim", "verdict", "here", "the paper", "seeds", "p", "see"], lines)


def ours(row: dict) -> str:
    """What was measured for a row; if it is inconclusive, also the smallest difference that could be told from the margin."""
    if row["verdict"] != INCONCLUSIVE or row.get("detectable") is None:
        return row["ours"]
    return f"{row['ours']} (tested alone, {row['detectable']:.3f} would have been distinguished from the margin)"


def _links(row: dict, root: str = "") -> str:
    """Links to the notebook, and to the figure if this study measured the row."""
    figure = f", [figure]({root}figures/{row['folder']}/{row['figure']}.png)" if row["runs"] or row["exact"] else ""
    return f"[{row['notebook'][:2]}]({root}notebooks/{row['notebook']}.ipynb){figure}"


def load(path: Path, part: str = "claims") -> Any:
    """The rows of a claims.json, or, as part "measured", what they were judged by."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))[part]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AllattError(f"{path} cannot be read ({error}); run notebook 10 at that scale first") from None


def main(arguments: Sequence[str] = ()) -> int:
    """Update the tables from the claims.json that they show, or judge finished runs; exit status 2 if that is not possible."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", metavar="SCALE", help="judge this scale's finished runs")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        if options.judge:
            measured = measure(Study(options.judge, options.corpus, options.seed, options.seeds), train=False)
            print(save(judge_claims(measured), measured))
            return 0
        folders = [figures_folder(name) for name in SHOWN]
        rows = [load(folder / "claims.json") for folder in folders]
        changed = [put_between(folder / "README.md", BEGIN, END, markdown(some, "../../"))
                   for folder, some in zip(folders, rows, strict=True)]
        for folder in folders:
            measured = Measurements.from_dict(load(folder / "claims.json", "measured"))
            changed.append(put_between(folder / "README.md", SEEDS_BEGIN, SEEDS_END, seed_tables.markdown(measured)))
        changed.append(put_between(repository() / "README.md", BEGIN, END, verdicts(*rows)))
    except AllattError as error:
        note(str(error))
        return 2
    print(f"README.md: the tables of claims {'were updated' if any(changed) else 'are up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
