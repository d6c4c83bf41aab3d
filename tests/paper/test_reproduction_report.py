"""The report: complete, from claims.json alone, and in one file."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_up import measurements

from allatt.cli.main import main
from allatt.config import AllattError
from allatt.figures.style import ALT
from allatt.paper import claim_table
from allatt.paper.claims import CLAIMS
from allatt.paper.decisions import INCONCLUSIVE
from allatt.paper.reproduction_report import html, markdown, write_report
from allatt.runs.provenance import provenance


class Page(HTMLParser):
    """Text by cell of the tables, all text, and the images."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.words, self.images, self.tags, self.in_cell = [], [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.in_cell = True
            self.tables[-1][-1].append("")
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.words.append(data)
        if self.in_cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a claims.json of five seeds, and a picture of one pixel."""
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    measured = measurements(change=lambda results: results.rivals.clear())  # as if no control had been run
    path = claim_table.save(claim_table.judge_claims(measured), measured)
    (path.parent / "07_gains.png").write_bytes(b"a picture")
    return path.parent


def test_every_row_is_there_with_its_numbers_verdict_and_runs(folder):
    rows = json.loads((folder / "claims.json").read_text())["claims"]
    page = Page(write_report(folder).read_text())
    claims, baselines, results, open_rows, runs = page.tables
    assert [line[0] for line in results[1:]] == [line[0] for line in claims[1:]] == list(CLAIMS)
    for line, row in zip(results[1:], rows, strict=True):
        assert line[1] == row["words"] and line[2].startswith(row["ours"]) and line[4] == claim_table.verdict_of(row)
        assert (line[3] == "counted") == row["exact"]
    assert [line[0] for line in open_rows[1:]] == [row["id"] for row in rows if row["verdict"] == INCONCLUSIVE]
    assert {line[0]: line[1] for line in runs[1:]} == {row["id"]: " ".join(row["runs"]) for row in rows if row["runs"]}
    assert len(baselines) == 1 + 2 * len(measurements().seeds)


def test_the_summary_counts_the_verdicts_and_names_the_primary_outcome(folder):
    rows = json.loads((folder / "claims.json").read_text())["claims"]
    text = " ".join("".join(Page(write_report(folder).read_text()).words).split())
    held = sum(row["verdict"] == "holds" for row in rows)
    assert 0 < held < len(rows) and f"Of {len(rows)} claims and controls, {held} hold, " in text
    main_row = next(row for row in rows if row["id"] == "3a")
    assert f"{main_row['ours']}; {main_row['verdict']}." in text and "5 seeds" in text


def test_a_row_that_is_inconclusive_says_in_both_tables_what_would_have_been_detected(folder):
    claims = json.loads((folder / "claims.json").read_text())
    row = next(row for row in claims["claims"] if row["id"] == "3a")
    row |= {"verdict": INCONCLUSIVE, "detectable": 0.1234}
    (folder / "claims.json").write_text(json.dumps(claims))
    _, _, results, open_rows, _ = Page(write_report(folder).read_text()).tables
    told = f"{row['ours']} (tested alone, 0.123 would have been distinguished from the margin)"
    assert [line[2] for line in (*results, *open_rows) if line[0] == "3a"] == [told, told]


def test_it_is_one_file_whose_pictures_have_alternative_texts(folder):
    page = Page(write_report(folder).read_text())
    assert [image["alt"] for image in page.images] == [ALT["07_gains"]]
    assert base64.b64decode(page.images[0]["src"].removeprefix("data:image/png;base64,")) == b"a picture"
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_one_seed_and_one_phase_are_said(folder):
    one = measurements(seeds=1)
    text = markdown(claim_table.judge_claims(one), one, provenance(), folder)
    assert "steps of consolidation" in text and "One seed has no p-value" in text and "Scale laptop, 1 seed." in text
    one = replace(one, folder="laptop-one-phase")
    text = markdown(claim_table.judge_claims(one), one, provenance(), folder)
    assert "steps of consolidation" not in text and "800 steps with gates." in text, "as many as both phases have"


def test_a_claims_file_that_is_damaged_is_one_line(folder):
    for damage in ("{}", "[", json.dumps({"claims": [], "measured": {}, "provenance": {}})):
        (folder / "claims.json").write_text(damage)
        with pytest.raises(AllattError, match="claims.json cannot be read .*; run notebook 10 again"):
            write_report(folder)


def test_the_command_writes_it_or_says_what_comes_first(folder, capsys):
    assert main(["report", "--seeds", "5"]) == 0
    assert capsys.readouterr().out.strip().endswith("laptop-5seeds/report.html")
    assert main(["report", "--seeds", "4"]) == 2
    assert "judge the claims first: make reproduce SCALE=laptop SEEDS=4 NOTEBOOKS=10" in capsys.readouterr().err


def test_text_of_a_cell_stays_text():
    assert "<td>a | b</td>" in html("# t\n\n| x |\n| --- |\n| a \\| b |")
