"""What holds for the drawings of all notebooks."""

import json
import re
import subprocess
import sys

import pytest
from samples import draw

from allatt.figures.style import ALT, caption, drawing_functions
from allatt.system.paths import PACKAGE, repository

MODULES = sorted((PACKAGE / "figures").glob("nb*.py"))
SIDECARS = sorted((repository() / "figures").glob("laptop*/[0-9]*.json"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_figure_of_a_notebooks_module_is_registered_under_the_notebooks_number(path):
    names = [name for name, draw in drawing_functions().items() if draw.__module__ == f"allatt.figures.{path.stem}"]
    assert names == re.findall(r'^@figure\("(\w+)"', path.read_text(), re.M) and names
    assert {f"nb{name[:3]}" for name in names} == {f"{path.stem}_"}


def test_every_figure_has_a_number_a_caption_and_an_alternative_text_of_its_own():
    names = list(drawing_functions())
    numbers = [re.match(r"\*\*Figure (\d+)\.(\d+)\.\*\* [A-Z][^\n]{30,}\.$", caption(name)).groups() for name in names]
    for notebook in {notebook for notebook, _ in numbers}:
        assert [int(place) for number, place in numbers if number == notebook] == [
            *range(1, 1 + sum(number == notebook for number, _ in numbers))]
    assert all(name.startswith(f"{int(notebook):02}_") for name, (notebook, _) in zip(names, numbers, strict=True))
    assert all(len(ALT[name]) > 60 and ALT[name].endswith(".") for name in names) and len(set(ALT.values())) == len(names)


def test_every_figure_is_registered_once():
    known = drawing_functions()
    assert len(set(known.values())) == len(known)
    assert [name for name in sorted(known) if name[:2] in ("06", "07", "08", "09", "11", "14")] == [
        "06_gentle_start", "06_output_scaling", "06_stability", "06_three_methods", "06_trained_longer", "06_who_needs_warm_up",
        "07_above_control", "07_gains", "07_perplexity", "08_kept_heads", "08_one_of_each", "08_seeds", "08_survivors",
        "09_figure_1", "09_memory", "09_speed", "11_rivals", "14_paths"]


@pytest.mark.parametrize("path", sorted((repository() / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_saves_the_figures_of_its_number(path):
    saved = re.findall(r'save_figure\("([^"]+)"', path.read_text().replace('\\"', '"'))
    assert sorted(saved) == sorted(name for name in drawing_functions() if name[:2] == path.name[:2])


def test_matplotlib_is_imported_when_something_is_drawn_and_torch_never():
    code = ("import sys; from allatt.figures.style import drawing_functions\n"
            "assert 'matplotlib' not in sys.modules\n"
            "sys.exit(not drawing_functions() or 'torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", SIDECARS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_committed_figure_can_be_drawn_from_its_sidecar_and_leads_to_its_runs(path):
    sidecar = json.loads(path.read_text())
    fig = draw(sidecar["name"], sidecar["data"])
    assert any(ax.has_data() or ax.texts for ax in fig.axes)
    assert sidecar["notebook"][:2] == path.name[:2] and sidecar["scale"] == path.parent.name
    assert {f"{run}.json" for run in sidecar["runs"]} <= {run.name for run in (path.parent / "runs").glob("*.json")}
