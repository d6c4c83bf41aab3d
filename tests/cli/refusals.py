"""What the tests of several commands share."""

from allatt.cli.main import main


def refused(capsys, *arguments: str) -> str:
    """The error message of a command that must fail with one line and status 2."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line, = printed.err.splitlines()
    assert line.startswith("allatt: ")
    return line.removeprefix("allatt: ")
