"""Lines beside the results."""

from allatt.system.messages import note
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
