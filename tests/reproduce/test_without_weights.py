"""Cells that need weights which are not here are left out, and so is what depends on them; nothing else is."""

import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.reproduce.execute import execute, headline, left_out
from allatt.reproduce.without_weights import defined, read
from allatt.system.paths import repository


@pytest.mark.parametrize("source, reads, defines", [
    ("y = x", {"x"}, {"y"}),
    ("x = f(x)", {"f", "x"}, {"x"}),
    ("x = 1\ny = x", set(), {"x", "y"}),
    ("y = x\nx = 1", {"x"}, {"x", "y"}),
    ("found += [1]\nfor a in b:\n    print(a, c)", {"b", "c", "print"}, {"found", "a"}),
    ("y = {k: v * z for k, v in d.items()}", {"d", "z"}, {"y", "k", "v"}),
    ("def f(a, *b, c=d):\n    return a + e\nf(1)", {"d", "e"}, {"f", "a", "b", "c"}),
    ("import numpy as np\nfrom a.b import c\nnp.zeros(c)", set(), {"np", "c"}),
    ("%matplotlib inline\nx.y = 1", {"x"}, set()),
    ("z = ('%d'\n     % x)", {"x"}, {"z"}),  # Python, though a line begins with %
    ("files = !ls\nx", set(), set()), ("%%bash\nfor a in *; do echo $a; done", set(), set()), ("Study?", set(), set()),
    ("with a as b:\n    b()\nlambda u: u + v", {"a", "v"}, {"b", "u"}),
])
def test_what_a_cell_reads_and_defines(source, reads, defines):
    assert read(source) == reads and defined(source) == defines


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.sampled_from("abc"))
def test_a_name_is_read_if_python_would_miss_it(lines, name):
    """Straight lines `x = y + 0`: what Python does not find is what `read` names."""
    source = "\n".join(f"{target} = {name} + 0" for target in lines)
    space = {}
    try:
        exec(source, space)
        assert name not in read(source)
    except NameError:
        assert name in read(source)


def test_every_committed_cell_can_be_read():
    for path in (repository() / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                read("".join(cell["source"])), defined("".join(cell["source"]))


def notebook(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# text"), *map(nbformat.v4.new_code_cell, sources)]
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)
    return path


WEIGHTS = "from allatt.runs.run import NoWeights\n\ndef load():\n    raise NoWeights('run abc is here without its weights')"


def outputs(path):
    return ["".join(o.get("text", o.get("ename", "")) for o in cell.outputs).strip()
            for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_cells_without_weights_are_left_out_and_the_others_run(home, tmp_path):
    """Another error stops a notebook: test_runner."""
    path = notebook(tmp_path / "a.ipynb", WEIGHTS, "x, z = 1, 5", "x = load()\ny = 2", "print('runs', z)", "w = y + 1",
                    "print(w)", "x = 3", "print('Headline: x is', x)")
    outcome = execute(path, tmp_path / "out.ipynb", {})
    assert outcome.error == ""
    assert outputs(tmp_path / "out.ipynb") == [
        "", "", "left out: run abc is here without its weights", "runs 5",
        *(f"left out: needs {name}, which a cell above could not compute" for name in "yw"), "", "Headline: x is 3"]
    assert left_out(tmp_path / "out.ipynb") == 3
    assert headline(tmp_path / "out.ipynb") == "x is 3; 3 cells left out: runs are here without their weights"
