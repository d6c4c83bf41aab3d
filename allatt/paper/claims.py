"""The table of claims: judged, saved with provenance, and put into the README.

`python -m allatt.paper.claims` puts the table of figures/laptop-5seeds/claims.json into the README.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from allatt.config import AllattError
from allatt.figures import figures_folder
from allatt.paper.measurements import Measurements
from allatt.paper.verdicts import ABOUT, CLAIMS, LEVEL, judge
from allatt.runs.provenance import provenance
from allatt.system.files import put_between, write_json
from allatt.system.paths import repository

README = "laptop-5seeds"
"""The folder of figures whose claims the README shows."""
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
NOTEBOOKS = {"02": "02_cost_of_a_head", "03": "03_baselines", "06": "06_three_methods", "07": "07_heads_against_perplexity",
             "08": "08_which_heads_survive", "11": "11_controls", "12": "12_characters", "13": "13_words"}
SHARED = ("02", "04", "05")
"""Notebooks whose figures always show one seed."""


def judge_claims(measured: Measurements, level: float = LEVEL, about: float = ABOUT) -> list[dict]:
    """One row of the table per claim, as plain values: id, the fields of Claim, ours, verdict, p, scale, notebook, folder,
    seeds, runs."""
    table = []
    for number, (finding, verdict, p) in judge(measured, level, about).items():
        claim, notebook = CLAIMS[number], CLAIMS[number].figure[:2]
        table.append({"id": number, **claim._asdict(), "ours": finding.ours, "verdict": verdict, "p": p,
                      "scale": measured.scale, "notebook": NOTEBOOKS[notebook],
                      "folder": measured.single if notebook in SHARED else measured.folder,
                      "seeds": 0 if claim.exact else len(measured.seeds),
                      "runs": list(dict.fromkeys(point.run for point in finding.points))})
    return table


def save(rows: list[dict], measured: Measurements) -> Path:
    """Write claims.json next to the figures: the rows, what they were judged by, and provenance."""
    path = figures_folder(measured.folder) / "claims.json"
    return write_json(path, {"claims": rows, "measured": measured.as_dict(), "provenance": provenance()})


def markdown(rows: list[dict], root: str = "") -> str:
    """The claims as a table in Markdown; its links start with `root`, the path from the table's folder to the repository."""
    lines = ["| | claim | the paper | here | seeds | p | verdict | see |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        seeds = "counted" if row["exact"] else str(row["seeds"])
        p = "" if row["p"] is None else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        links = (f"[{row['notebook'][:2]}]({root}notebooks/{row['notebook']}.ipynb), "
                 f"[figure]({root}figures/{row['folder']}/{row['figure']}.png)")
        cells = row["id"], row["words"], row["paper"], row["ours"], seeds, p, f"**{row['verdict']}**", links
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def update_readme(readme: Path, rows: list[dict]) -> bool:
    """Put the table between the markers of a README; True if that changed it."""
    return put_between(readme, BEGIN, END, markdown(rows))


def load(path: Path) -> list[dict]:
    """The rows of a claims.json."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["claims"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AllattError(f"{path} cannot be read ({error}); run notebook 10 at that scale first") from None


def main() -> int:
    """Update the README's table from the claims.json that it shows."""
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
