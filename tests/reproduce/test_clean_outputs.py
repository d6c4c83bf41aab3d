"""Cleaning of executed notebooks: what stays, what goes, and what is refused."""

import json

import nbformat
import pytest
from small_notebooks import write_notebook

from allatt.config import AllattError
from allatt.reproduce.clean_outputs import clean, execute_in_place
from allatt.reproduce.execute import headline


def test_execute_in_place_keeps_only_what_does_not_change(tmp_path):
    """Execution counts, standard output and tags stay; standard error, other metadata and absolute paths go."""
    path = write_notebook(tmp_path, "00_a.ipynb",
                 "import os, sys\nprint('loss', 3)\nprint('slow', file=sys.stderr)\nprint(os.getcwd())")
    book = json.loads(path.read_text())
    book["cells"][-1]["metadata"] = {"tags": ["nbval-check-output"], "execution": {"start": "now"}, "collapsed": True}
    path.write_text(json.dumps(book))
    execute_in_place(path)
    first = path.read_bytes()
    book = json.loads(first)
    nbformat.validate(book)
    assert [cell.get("execution_count") for cell in book["cells"]] == [None, 1, 2]
    assert book["cells"][-1]["outputs"] == [
        {"name": "stdout", "output_type": "stream", "text": ["loss 3\n", "./notebooks\n"]}]
    assert book["cells"][-1]["metadata"] == {"tags": ["nbval-check-output"]}
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    assert sorted(p.name for p in path.parent.iterdir()) == ["00_a.ipynb"]
    execute_in_place(path)
    assert path.read_bytes() == first, "a second time changes nothing"


@pytest.mark.parametrize("source, message", [
    ("\n".join(f"x{i} = {i}" for i in range(16)), "cell 3 has 16 lines; at most 15 are allowed"),
    ("1 / 0", r"cell In \[2\]: ZeroDivisionError: division by zero; the file is unchanged"),
])
def test_execute_in_place_refuses(tmp_path, source, message):
    path = write_notebook(tmp_path, "00_a.ipynb", source)
    before = path.read_bytes()
    with pytest.raises(AllattError, match=message):
        execute_in_place(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["00_a.ipynb"]


def test_how_a_stream_is_cut_into_pieces_does_not_matter(tmp_path):
    """A kernel sends the output of a cell in arbitrary pieces."""
    def book(*pieces):
        outputs = [{"name": "stdout", "output_type": "stream", "text": [piece]} for piece in pieces]
        picture = {"output_type": "display_data", "data": {}, "metadata": {}}
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "", "execution_count": 1,
                "outputs": [*outputs, picture, *outputs]}
        return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}

    whole, cut = book("one\nHeadline: 3.5 nats\n"), book("one\nHead", "line: 3.5", " nats\n")
    assert clean(whole, tmp_path) == clean(cut, tmp_path)
    assert len(clean(cut, tmp_path)["cells"][0]["outputs"]) == 3
    (tmp_path / "cut.ipynb").write_text(json.dumps(cut))
    assert headline(tmp_path / "cut.ipynb") == "3.5 nats"
