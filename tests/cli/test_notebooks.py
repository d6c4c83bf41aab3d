"""`reproduce`, `bench`, `status`, `figures` and `notebooks`: what they pass on, print and refuse."""

import json
import os

import pytest
from refusals import refused

from allatt.cli.main import main


@pytest.mark.parametrize("succeeded, status", [(True, 0), (False, 1)])
def test_reproduce_passes_its_options_on_and_fails_if_a_notebook_does(succeeded, status, monkeypatch):
    from allatt.reproduce import runner

    calls = []
    monkeypatch.setattr(runner, "reproduce", lambda *given, stop_when: calls.append((given, stop_when())) or succeeded)
    assert main(["reproduce", "--scale", "smoke", "--corpus", "text8", "--seed", "3", "--seeds", "2", "--notebooks", "05 07",
                 "--params", "lam=0.1", "--force", "--stop-with-parent"]) == status
    assert calls == [(("smoke", "text8", 3, 2, "05 07", "lam=0.1", True), False)]


def test_reproduce_notices_that_make_has_gone(monkeypatch):
    from allatt.reproduce import runner

    questions = []
    monkeypatch.setattr(runner, "reproduce", lambda *given, stop_when: questions.append(stop_when) or True)
    main(["reproduce", "--stop-with-parent"])
    main(["reproduce"])
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert [stop_when() for stop_when in questions] == [True, False]


def test_bench_passes_its_options_on_and_saves_the_results(monkeypatch, tmp_path, capsys):
    from allatt.benchmarks import bench, report

    calls = []
    monkeypatch.setattr(bench, "run", lambda *given, log: log("a table") or calls.append(given) or {"device": "cpu"})
    monkeypatch.setattr(report, "save", lambda results, out: (results, out))
    out = tmp_path / "out.json"
    assert main(["bench", "--device", "cpu", "--rounds", "5", "--sections", "paths lists", "--quick", "--out", str(out)]) == 0
    assert calls == [("cpu", 5, ("paths", "lists"), True)]
    assert capsys.readouterr().out == f"a table\n\n{({'device': 'cpu'}, out)}\n"
    assert main(["bench", "--device", "cpu"]) == 0 and calls[1] == ("cpu", 24, bench.SECTIONS, False)


@pytest.mark.parametrize("arguments, message", [
    (["--device", "tpu"], "--device is 'tpu'; choose auto, cuda or cpu"),
    (["--rounds", "0"], "--rounds is 0; it must be 1 or more"),
    (["--sections", "paths speed"], "there is no section speed; choose from paths, dropout"),
])
def test_bench_refuses(arguments, message, capsys):
    assert message in refused(capsys, "bench", *arguments)


def test_status_before_anything_was_reproduced(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "nothing has been reproduced yet; run `make reproduce`\n"
    assert "scale is 'huge'" in refused(capsys, "status", "--scale", "huge")


def test_figures_redraws_each_scale(monkeypatch, tmp_path, capsys):
    from allatt.figures.style import DRAW, new_figure

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLATT_FIGURES", "figures")
    monkeypatch.setitem(DRAW, "a", lambda data: new_figure()[0])
    assert "there are no results in" in refused(capsys, "figures")
    for scale in ("smoke", "laptop", "laptop-3seeds", "laptop-seed3", "other"):
        (tmp_path / "figures" / scale).mkdir(parents=True)
        sidecar = {"name": "a", "scale": scale, "data": {}}
        (tmp_path / "figures" / scale / "a.json").write_text(json.dumps(sidecar))
    assert main(["figures"]) == 0
    drawings = [f"figures/{scale}/a.{kind}" for scale in ("smoke", "laptop", "laptop-3seeds", "laptop-seed3")
             for kind in ("png", "svg")]
    assert capsys.readouterr().out.splitlines() == drawings
    assert main(["figures", "--scale", "laptop"]) == 0
    assert capsys.readouterr().out.splitlines() == drawings[2:]
    assert (tmp_path / drawings[0]).exists() and not (tmp_path / "figures" / "other" / "a.png").exists()
    assert "figures/gpu; run `make reproduce` first" in refused(capsys, "figures", "--scale", "gpu")


def test_notebooks_are_executed_in_place(monkeypatch, tmp_path, capsys):
    from allatt.reproduce import clean_outputs, navigation
    from allatt.system import paths

    (tmp_path / "notebooks").mkdir()
    for name in ("00_a.ipynb", "05_b.ipynb"):
        (tmp_path / "notebooks" / name).touch()
    done = []
    monkeypatch.setattr(navigation, "update", lambda folder: [folder / "00_a.ipynb"])
    monkeypatch.setattr(paths, "repository", lambda: tmp_path)
    monkeypatch.setattr(clean_outputs, "execute_in_place", lambda path: done.append(path.name))
    assert main(["notebooks", "--notebooks", "5"]) == main(["notebooks"]) == 0
    assert done == ["05_b.ipynb", "00_a.ipynb", "05_b.ipynb"]
    written, executed, *_ = capsys.readouterr().out.splitlines()
    assert written == "00_a.ipynb: links written" and executed == "05_b.ipynb: executed and cleaned"
    assert main(["notebooks", "--links"]) == 0 and len(done) == 3
    assert capsys.readouterr().out == "00_a.ipynb: links written\n"
    assert "there is no notebook 07" in refused(capsys, "notebooks", "--notebooks", "07")


def test_a_report_is_of_the_folder_that_reproduce_writes(monkeypatch, tmp_path, capsys):
    """A text of one's own has its full path there. What is missing is named with all parameters."""
    from refusals import refused

    from allatt.figures import figures_folder
    from allatt.paper import reproduction_report
    from allatt.paper.study import Study

    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "figures"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my text").mkdir()
    monkeypatch.setattr(reproduction_report, "write_report", lambda folder: folder / "report.md")
    arguments = ("report", "--scale", "smoke", "--corpus", "my text", "--seed", "3", "--seeds", "2")
    assert "make reproduce SCALE=smoke CORPUS='my text' SEED=3 SEEDS=2 NOTEBOOKS=10" in refused(capsys, *arguments)
    folder = figures_folder(Study("smoke", str(tmp_path / "my text"), 3, 2).folder)
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text("{}")
    assert main(list(arguments)) == 0
    assert (tmp_path / capsys.readouterr().out.strip()).resolve() == (folder / "report.md").resolve()
    judged = figures_folder(Study("smoke", "my text", 3, 2).folder)
    judged.mkdir()
    (folder / "claims.json").rename(judged / "claims.json")
    assert main(list(arguments)) == 0
    assert (tmp_path / capsys.readouterr().out.strip()).resolve() == (judged / "report.md").resolve(), "by claim_table --judge"
    assert "a variant for single runs" in refused(capsys, "report", "--scale", "smoke-words")
