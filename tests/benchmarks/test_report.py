"""Tables of the benchmark: the README shows exactly the committed results, and text tables hold every number."""

import json
import re

import pytest

from allatt.benchmarks import report
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.figures import figures_folder
from allatt.system.paths import repository

COMMITTED = repository() / "figures" / "bench" / "cpu.json"


@pytest.fixture
def results():
    """The committed results."""
    if not COMMITTED.exists():
        pytest.skip("make bench has not been run yet")
    return json.loads(COMMITTED.read_text())


def test_the_readme_shows_the_committed_benchmark(results):
    readme = (COMMITTED.parent / "README.md").read_bytes().decode()
    between = readme[readme.index(report.BEGIN) + len(report.BEGIN):readme.index(report.END)]
    assert between == f"\n{report.markdown(results)}\n", "run: python -m allatt.benchmarks.report"
    assert not results["quick"] and results["rounds"] >= 12 and not results["provenance"]["uncommitted_changes"]


@pytest.fixture
def copy(monkeypatch, tmp_path):
    """A README with another table between its markers, and a folder for the results."""
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "README.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    return tmp_path / "bench"


def test_main_updates_the_readme_once(results, copy, capsys):
    report.save(results)
    assert report.main() == report.main() == 0
    assert capsys.readouterr().out == ("README.md: the benchmark's tables were updated\n"
                                       "README.md: the benchmark's tables are up to date\n")
    assert (copy / "README.md").read_text() == \
        f"before\n{report.BEGIN}\n{report.markdown(results)}\n{report.END}\nafter\n"


def test_main_without_results_or_markers_is_one_line(results, copy, capsys):
    assert report.main() == 2
    assert re.fullmatch(r"allatt: .*cpu\.json cannot be read .*; run `make bench` first\n", capsys.readouterr().err)
    report.save(results)
    (copy / "README.md").write_text("no markers\n")
    assert report.main() == 2
    assert "README.md needs one line <!-- bench:begin -->" in capsys.readouterr().err


@pytest.mark.parametrize("device, quick, name", [("cpu", False, "cpu.json"), ("cuda", True, "cuda-quick.json")])
def test_save_names_the_file_after_the_device(copy, device, quick, name):
    path = report.save({"device": device, "quick": quick})
    assert path == figures_folder("bench") / name and json.loads(path.read_text())["device"] == device
    assert report.save({"device": device, "quick": quick}, copy / "mine.json") == copy / "mine.json"


VARIANT = {"median": 0.0123, "best": 0.0111, "times_as_fast": 1.5, "best_times_as_fast": 1.25, "share": 0.4}


def test_table_of_variants():
    part = {"rounds": 3, "peak": 2.5e10, "variants": {"reference": VARIANT | {"bytes": 2e6}, "fast, compiled": VARIANT}}
    assert report.table("paths", {"inference": part}) == (
        "paths, inference (3 rounds, matrix products at 25 GFLOP/s)\n"
        "                    ms  best     x  x by best  of peak  MB\n"
        "  reference       12.3  11.1  1.50       1.25      40%   2\n"
        "  fast, compiled  12.3  11.1  1.50       1.25      40%")


def test_table_of_removed_heads():
    rows = [{"share": 0.5, "gates": False, "time": 0.6, "ideal": 0.5, "bytes": 1.26e6},
            {"share": 0.5, "gates": True, "time": 1.0, "ideal": 1.0}]
    assert report.table("removal", {"body, training": {ALL_ATTENTION: {"table": rows}}}) == (
        "removal, body, training, All-attention\n"
        "                time  ideal  off by   MB\n"
        "  50% removed  0.600  0.500  +20.0%  1.3\n"
        "  50% gated    1.000  1.000   +0.0%")


def test_table_of_the_papers_lists():
    rows = [{"name": "lambda 0.01", "heads": 106, "time": 0.9, "ideal": 0.8, "counted": 0.7}]
    text = report.table("lists", {"inference": {TRANSFORMER_XL: rows}, "training": {TRANSFORMER_XL: rows}})
    assert text.startswith("lists, inference, Transformer-XL\n") and "\n\nlists, training, Transformer-XL\n" in text
    assert text.splitlines()[2].split() == ["lambda", "0.01,", "106", "heads", "0.900", "0.800", "+12.5%", "0.700"]


def test_table_of_generation():
    text = report.table("generation", {"variants": {"cached": VARIANT | {"tokens_per_second": 1234.5}}})
    assert text.splitlines()[2].split() == ["cached", "1,234", "1.50", "1.25"]
