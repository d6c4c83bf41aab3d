"""Exercises: the committed ones are open, their solutions right, and whatever a reader writes, nothing stops."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from allatt.course.exercise import EXERCISES, NOT_TRIED, NOT_YET, RIGHT, Exercise, exercise, expect
from allatt.system.paths import PACKAGE, repository

NOTEBOOKS = repository() / "notebooks"
MODULES = sorted((PACKAGE / "course").glob("nb*.py"))


@pytest.fixture
def double(monkeypatch):
    """An exercise of these tests."""
    monkeypatch.setattr("allatt.course.exercise.EXERCISES", {})

    @exercise("99.1")
    def double(answer):
        """answer(x): twice x."""
        expect(answer(2) != 2, "it has to change")
        expect(answer(2) == 4, "twice 2 is 4")
        return "Well done."

    return double


def test_what_an_exercise_says(double, capsys):
    assert double.attempt(lambda x: 2 * x) == (RIGHT, "Well done.")
    assert double.attempt(lambda x: x) == (NOT_YET, "it has to change")
    assert double.attempt(lambda x: x + 1) == (NOT_YET, "twice 2 is 4")
    for empty in (..., None, lambda x: ..., lambda x: None):
        assert double.attempt(empty) == (NOT_TRIED, "")
    assert double.attempt(lambda: 4).text.startswith("Your answer raises TypeError: ")
    assert double.attempt(7).state == NOT_YET, "not a function"
    double(lambda x: 2 * x)
    double(...)
    assert capsys.readouterr().out == "Exercise 99.1: right. Well done.\nExercise 99.1: not tried yet.\n"


def code(path: Path) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_exercises_of_a_notebook_are_open_and_their_solutions_right(module, monkeypatch):
    notebook = next(NOTEBOOKS.glob(f"{module.stem[2:]}_*.ipynb"))
    checks = {name: check for name, check in vars(import_module(f"allatt.course.{module.stem}")).items()
              if isinstance(check, Exercise)}
    numbers = [check.number for check in checks.values()]
    assert numbers == [f"{int(module.stem[2:])}.{place + 1}" for place in range(len(numbers))] and numbers
    assert all(EXERCISES[check.number] is check and check.__doc__ for check in checks.values())

    asked = re.findall(rf"^{module.stem}\.(\w+)\(", code(notebook), re.M)
    assert asked == list(checks), "each exercise is asked once, in the order of its number"
    cells = json.loads(notebook.read_text())["cells"]
    said = "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", ()))
    assert re.findall(r"^Exercise (\S+): not tried yet\.$", said, re.M) == numbers, "committed without answers"
    text = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
    assert re.findall(r"^### (\d+\.\d+) · .+ \((?:easy|medium|hard), \d+ minutes\)$", text, re.M) == numbers
    assert f"(solutions/{notebook.name})" in text

    verdicts = {}
    monkeypatch.setattr(Exercise, "__call__", lambda self, *answers: verdicts.update({self.number: self.attempt(*answers)}))
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(code(NOTEBOOKS / "solutions" / notebook.name), notebook.name, "exec"), {})
    assert {number: verdict for number, verdict in verdicts.items() if verdict.state != RIGHT} == {}
    assert list(verdicts) == numbers and all(len(verdict.text) > 20 for verdict in verdicts.values())
    assert f"(../{notebook.name})" in (NOTEBOOKS / "solutions" / notebook.name).read_text()


def test_every_solution_belongs_to_a_notebook():
    assert {path.name for path in (NOTEBOOKS / "solutions").glob("*.ipynb")} \
        == {next(NOTEBOOKS.glob(f"{module.stem[2:]}_*.ipynb")).name for module in MODULES}
