"""One notebook in a process: what its outcome says about a failure, and that it can be stopped."""

import re
import time

import pytest
from small_notebooks import write_notebook

from allatt.config import AllattError
from allatt.reproduce.execute import execute, merge_streams


def test_killed_kernel_is_one_line(tmp_path):
    """As the out-of-memory killer does it."""
    path = write_notebook(tmp_path, "00_a.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    outcome = execute(path, tmp_path / "out.ipynb", {})
    assert re.fullmatch(r"the kernel died at cell In \[[12]\]; was there enough memory\?", outcome.error)


def test_bare_assert_shows_its_code(tmp_path):
    path = write_notebook(tmp_path, "00_a.ipynb", "x = 3\nassert x == 4  # why")
    outcome = execute(path, tmp_path / "out.ipynb", {})
    assert outcome.error == "cell In [2]: AssertionError: assert x == 4  # why"


def test_execution_stops_when_asked(tmp_path):
    path = write_notebook(tmp_path, "00_a.ipynb", "import time\ntime.sleep(600)")
    start = time.monotonic()
    with pytest.raises(AllattError, match="stopped in 00_a; run the same command again"):
        execute(path, tmp_path / "out.ipynb", {}, tick=lambda seconds: seconds > 0.5)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("cell, error", [("files = !ls\nprint(len(files))", ""), ("print('%d heads'\n      % 5)", ""),
                                         ("x = (1", "cell In [2]: SyntaxError: ")])
def test_what_only_ipython_reads_is_no_mistake_and_a_mistake_is_the_kernels_to_say(tmp_path, cell, error):
    path = write_notebook(tmp_path, "00_a.ipynb", cell)
    assert execute(path, tmp_path / "out.ipynb", {}).error.startswith(error or "nothing") == bool(error)


def test_a_folder_may_have_braces_in_its_name(tmp_path):
    """papermill takes them for parameters."""
    path = write_notebook(tmp_path / "br{a}ce", "00_a.ipynb", "x = 3")
    executed = tmp_path / "br{a}ce" / "out.ipynb"
    assert execute(path, executed, {}).error == "" and executed.exists()


def test_only_consecutive_pieces_of_a_stream_are_merged():
    def piece(name, text):
        return {"output_type": "stream", "name": name, "text": [text]}

    picture = {"output_type": "display_data", "data": {}, "metadata": {}}
    outputs = [piece("stdout", "a\nb"), piece("stdout", "c\r\n"), piece("stderr", "d"), piece("stdout", "e"), picture,
               piece("stdout", "f")]
    assert merge_streams(outputs) == [
        {**piece("stdout", ""), "text": ["a\n", "bc\r\n"]}, piece("stderr", "d"), piece("stdout", "e"), picture,
        piece("stdout", "f")]
    assert merge_streams([]) == []
