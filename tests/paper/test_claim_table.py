"""The table of claims: where its rows come from, where it is saved, and that the README shows it."""

import json
from dataclasses import replace

import pytest
from made_up import measurements, set_three_way

import allatt
from allatt.config import AllattError
from allatt.figures import redraw
from allatt.figures.style import drawing_functions
from allatt.paper import claim_table, seed_tables
from allatt.paper.claims import CLAIMS, MARGINS, Margins
from allatt.paper.decisions import EQUAL, FAILS, HOLDS, INCONCLUSIVE
from allatt.paper.measurements import Measurements
from allatt.system.paths import repository

ROOT = repository()


def test_rows_say_where_they_come_from():
    for row in claim_table.judge_claims(measurements()):
        notebook = ROOT / "notebooks" / f"{row['notebook']}.ipynb"
        assert row["figure"] in drawing_functions(), "a figure that no notebook makes"
        assert row["figure"][:2] == row["notebook"][:2] and notebook.exists()
        assert f'"{row["figure"]}"' in notebook.read_text().replace('\\"', '"')
        assert row["folder"] == ("laptop" if row["exact"] else "laptop-5seeds")
        assert (row["seeds"], bool(row["runs"])) == ((0, False) if row["exact"] else (5, True))
        assert len(set(row["runs"])) == len(row["runs"]) and row["words"] and row["ours"] and row["rule"]
    assert [row["id"] for row in claim_table.judge_claims(measurements())] == sorted(CLAIMS)


def test_notebooks_whose_figures_show_one_seed_have_no_parameter_for_more():
    for row in claim_table.judge_claims(measurements()):
        several = "seeds = 1" in (ROOT / "notebooks" / f"{row['notebook']}.ipynb").read_text()
        assert several == (not row["exact"]), row["notebook"]


def test_no_number_of_the_paper_that_is_not_known():
    known = {number: claim.paper for number, claim in CLAIMS.items() if claim.paper != "not available"}
    assert {number for number, paper in known.items() if "control" not in paper} == {"1a", "1b", "2a", "3d", "5a", "5b"}
    assert {number for number, paper in known.items() if "control" in paper} == {"7a", "7b", "7c", "7d", "7e"}


# The table, and where it is kept

def test_markdown_is_a_table_with_links():
    rows = claim_table.judge_claims(measurements())
    lines = claim_table.markdown(rows, "../").splitlines()
    assert len(lines) == 2 + len(CLAIMS) and len({line.count("|") for line in lines}) == 1
    assert "| **holds** | " in lines[2] and lines[2].endswith(
        "| counted |  | [02](../notebooks/02_cost_of_a_head.ipynb), [figure](../figures/laptop/02_cost_of_a_head.png) |")
    assert "[07](../notebooks/07_heads_against_perplexity.ipynb)" in lines[6]
    assert "[figure](../figures/laptop-5seeds/07_gains.png)" in lines[6]
    short = claim_table.verdicts(rows).splitlines()
    assert len(short) == len(lines) and all("](notebooks/" in line and "](figures/" in line for line in short[2:])
    for line, row in zip(short[2:], rows, strict=True):
        assert line.startswith(f"| {row['id']} | {row['words']} | **{row['verdict'].removesuffix(' at this scale')}** |")


def test_two_scales_stand_side_by_side_and_links_lead_to_the_one_that_measured():
    here = claim_table.judge_claims(measurements(change=set_three_way(0.2, 0.2)))
    measured = measurements(seeds=3, change=set_three_way(-0.2, -0.2))
    there = claim_table.judge_claims(replace(measured, scale="gpu", folder="gpu-3seeds"))
    for row in here:
        if row["id"] == "3a":
            row["runs"] = []
    lines = claim_table.verdicts(here, there).splitlines()
    assert lines[0] == "|  | claim | laptop, 5 seeds | gpu, 3 seeds | see |" and len({line.count("|") for line in lines}) == 1
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[2:] for line in lines[2:]}
    assert cells["3a"][:2] == ["**not measured**", f"**{FAILS}**"] and "](figures/gpu-3seeds/07_gains.png)" in cells["3a"][2]
    assert cells["3c"][:2] == [f"**{HOLDS}**", f"**{FAILS}**"] and "](figures/laptop-5seeds/" in cells["3c"][2]
    shown = [cell for line in claim_table.verdicts(claim_table.judge_claims(measurements(seeds=1))).splitlines()[2:]
              for cell in line.split(" | ")[2:3] if "holds" not in cell]
    assert set(shown) == {"**inconclusive**"}


@pytest.mark.parametrize("models, ways, verdict", [(0.2, 0.2, HOLDS), (0.0, 0.0, EQUAL), (-0.2, -0.2, FAILS)])
def test_what_would_have_been_detected_is_left_out_where_there_is_a_verdict(models, ways, verdict):
    rows = {row["id"]: row for row in claim_table.judge_claims(measurements(change=set_three_way(models, ways)))}
    assert rows["3a"]["verdict"] == verdict and rows["3a"]["detectable"] > 0.05
    assert "distinguished" not in claim_table.markdown([rows["3a"], rows["4a"], rows["7a"]], "")


def test_what_would_have_been_detected_is_said_where_a_row_is_inconclusive():
    """At the margins: five seeds with a standard error of 0.0014 show what is 0.0053 above."""
    rows = {row["id"]: row for row in claim_table.judge_claims(measurements(change=set_three_way(*MARGINS)))}
    for number, margin in (("3a", MARGINS.models), ("4a", MARGINS.ways), ("7a", MARGINS.ways)):
        line = claim_table.markdown([rows[number]], "").splitlines()[2]
        assert f" (tested alone, {margin + 0.005257:.3f} would have been distinguished from the margin) | " in line
        assert f"| **{INCONCLUSIVE}** |" in line
        assert f" | {CLAIMS[number].paper} | 5 | " in line
    one_seed = claim_table.markdown(claim_table.judge_claims(measurements(seeds=1)), "")
    assert INCONCLUSIVE in one_seed and "distinguished" not in one_seed


def test_a_row_without_runs_is_not_measured():
    rows = {row["id"]: row for row in claim_table.judge_claims(measurements(seeds=1))}
    assert {claim_table.verdict_of(row) for row in rows.values()} == {HOLDS, INCONCLUSIVE}
    rows["7a"] |= {"runs": []}
    for table in (claim_table.markdown([rows["7a"], rows["1a"]], ""), claim_table.verdicts([rows["7a"], rows["1a"]])):
        assert "| **not measured** |" in table and "| **holds** |" in table and f"**{INCONCLUSIVE}**" not in table


def test_margins_and_level_of_a_table_can_be_chosen():
    def verdicts(**options):
        return {row["id"]: row["verdict"] for row in claim_table.judge_claims(measurements(), **options)}

    assert verdicts()["3a"] == HOLDS and verdicts(margins=Margins(models=1.0))["3a"] == EQUAL
    assert verdicts(level=1e-12)["3a"] == INCONCLUSIVE


def test_saved_claims_come_back_and_are_no_figure(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    rows = claim_table.judge_claims(measurements())
    assert any(row["detectable"] is not None for row in rows) and any(row["detectable"] is None for row in rows)
    path = claim_table.save(rows, replace(measurements(), folder="laptop-seed3"))
    assert path == tmp_path / "laptop-seed3" / "claims.json" and list(path.parent.iterdir()) == [path]
    assert claim_table.load(path) == rows
    assert json.loads(path.read_text())["provenance"]["versions"]["allatt"] == allatt.__version__
    assert redraw(path.parent) == []


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_claims_that_cannot_be_read_are_a_clear_error(tmp_path, content):
    path = tmp_path / "claims.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AllattError, match="run notebook 10"):
        claim_table.load(path)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """READMEs of two folders of figures with other claims, and of a repository, with old tables; returns their paths."""
    monkeypatch.setattr(claim_table, "repository", lambda: tmp_path)
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    for name, margin in zip(claim_table.SHOWN, (0.2, -0.2), strict=True):
        measured = replace(measurements(change=set_three_way(margin, margin)), folder=name)
        claim_table.save(claim_table.judge_claims(measured), measured)
    readmes = *(tmp_path / name / "README.md" for name in claim_table.SHOWN), tmp_path / "README.md"
    for readme in readmes:
        readme.write_text(f"before\n\n{claim_table.BEGIN}\nold\n{claim_table.END}\n\nafter\n")
    for readme in readmes[:2]:
        readme.write_text(f"{readme.read_text()}\n{claim_table.SEEDS_BEGIN}\n{claim_table.SEEDS_END}\n")
    return readmes


def test_main_updates_all_tables_once(shown, capsys):
    rows, others = (claim_table.load(readme.parent / "claims.json") for readme in shown[:2])
    assert rows != others
    assert claim_table.main() == claim_table.main() == 0
    assert capsys.readouterr().out.splitlines() == ["README.md: the tables of claims were updated",
                                                   "README.md: the tables of claims are up to date"]
    tables = claim_table.markdown(rows, "../../"), claim_table.markdown(others, "../../"), claim_table.verdicts(rows, others)
    for readme, table in zip(shown, tables, strict=True):
        above, _, below = readme.read_text().partition("\nafter\n")
        assert above == f"before\n\n{claim_table.BEGIN}\n{table}\n{claim_table.END}\n"
        if readme != shown[-1]:
            measured = Measurements.from_dict(claim_table.load(readme.parent / "claims.json", "measured"))
            assert below == f"\n{claim_table.SEEDS_BEGIN}\n{seed_tables.markdown(measured)}\n{claim_table.SEEDS_END}\n"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_readme_without_its_markers_is_one_clear_line(shown, number, capsys):
    shown[number].write_text("no table\n")
    assert claim_table.main() == 2
    assert "claims:begin" in capsys.readouterr().err and shown[number].read_text() == "no table\n"


def test_and_so_is_one_without_a_place_for_the_seeds(shown, capsys):
    shown[1].write_text(shown[1].read_text().replace(claim_table.SEEDS_END, ""))
    assert claim_table.main() == 2
    assert "seeds:begin" in capsys.readouterr().err


def test_main_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    assert claim_table.main() == 2
    assert capsys.readouterr().err.startswith("allatt: ")


@pytest.mark.parametrize("name", claim_table.SHOWN)
def test_the_readme_shows_the_committed_claims(name):
    path = ROOT / "figures" / name / "claims.json"
    rows = claim_table.load(path)
    shown = {path.parent / "README.md": claim_table.markdown(rows, "../../")}
    tables = [claim_table.load(ROOT / "figures" / folder / "claims.json") for folder in claim_table.SHOWN]
    shown[ROOT / "README.md"] = claim_table.verdicts(*tables)
    for readme, table in shown.items():
        text = readme.read_text(encoding="utf-8")
        shown = text[text.index(claim_table.BEGIN) + len(claim_table.BEGIN):text.index(claim_table.END)].strip()
        assert shown == table, "run: python -m allatt.paper.claim_table"
    text = (path.parent / "README.md").read_text(encoding="utf-8")
    by_seed = text[text.index(claim_table.SEEDS_BEGIN) + len(claim_table.SEEDS_BEGIN):text.index(claim_table.SEEDS_END)].strip()
    assert by_seed == seed_tables.markdown(Measurements.from_dict(claim_table.load(path, "measured")))
    assert {row["scale"] for row in rows} == {name.split("-")[0]} and [row["id"] for row in rows] == list(CLAIMS)
    for row in rows:
        folder = ROOT / "figures" / row["folder"]
        assert set(row["runs"]) <= {path.stem for path in (folder / "runs").glob("*.json")}
        is_measured = row["exact"] or bool(row["runs"])
        assert not is_measured or (folder / f"{row['figure']}.json").exists(), f"no figure for claim {row['id']} is committed"
        if row["verdict"] != INCONCLUSIVE and not row["exact"]:
            assert row["seeds"] >= 3, "a claim rests on three seeds at least"
