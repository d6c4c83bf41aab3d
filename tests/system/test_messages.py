"""Lines beside the results."""

from allatt.system.messages import brief, note
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
