"""Lines beside the results."""

import sys
from types import SimpleNamespace

from tqdm import tqdm

from allatt.system.messages import PROGRESS, bars, brief, note
from allatt.system.paths import PACKAGE


def test_a_note_is_one_line_on_stderr(capsys):
    note("something to know")
    assert capsys.readouterr() == ("", "allatt: something to know\n")


def test_a_terminal_is_given_nothing_to_obey(capsys):
    note("corpus \x1b]0;evil\x07 is Straße\r")
    assert capsys.readouterr().err == "allatt: corpus \\x1b]0;evil\\x07 is Straße\\r\n"


def test_nothing_else_writes_lines_of_this_form():
    writing = [path.name for path in PACKAGE.rglob("*.py") if 'print(f"allatt: ' in path.read_text()]
    assert writing == ["messages.py"]


def test_an_error_is_told_in_its_first_line_its_reason_or_its_type():
    from urllib.error import HTTPError, URLError

    assert brief(RuntimeError("no such shape\nmore")) == "no such shape" and brief(RuntimeError()) == "RuntimeError"
    assert brief(URLError(OSError("no network"))) == "no network"
    assert brief(HTTPError("http://x", 404, "Not Found", None, None)) == "HTTP Error 404: Not Found"
    assert len(brief(RuntimeError("x" * 1000))) == 200


def test_bars_go_to_stderr_outside_of_notebooks(monkeypatch):
    assert bars() is sys.stderr
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace())  # a shell in a terminal has no kernel
    assert bars() is sys.stderr
    monkeypatch.setitem(sys.modules, "IPython", None)  # not installed
    assert bars() is sys.stderr


def test_in_a_notebook_a_bar_is_one_output_that_ends_empty(monkeypatch, capsys):
    shown = []

    class Handle:
        def update(self, content, **options):
            shown.append((content, options))

    def display(content, **options):
        shown.append((content, options))
        return Handle()

    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr("IPython.display.display", display)
    bar = tqdm(total=3, desc="a run", leave=False, mininterval=0, file=bars())
    for _ in range(3):
        bar.update()
    bar.close()
    texts = [content["text/plain"] for content, _ in shown]
    assert texts[0].startswith("a run:   0%") and any("| 3/3 [" in text for text in texts) and texts[-1] == ""
    assert all(options.pop("metadata") == {PROGRESS: True} and options.pop("raw") for _, options in shown)
    assert [options for _, options in shown] == [{"display_id": True}] + [{}] * (len(shown) - 1)
    assert capsys.readouterr() == ("", "")


def test_every_bar_has_its_place():
    texts = {path.name: path.read_text() for path in PACKAGE.rglob("*.py") if path.parent.name != "benchmarks"}
    begun = {name: text.count(" tqdm(") + text.count("tqdm.wrapattr(") for name, text in texts.items()}
    assert sum(begun.values()) >= 5 and begun == {name: text.count("file=bars()") for name, text in texts.items()}
