"""What the program says besides its results: one line each on stderr, after the program's name; and where progress bars go."""

import sys
from typing import Any, TextIO


def note(line: str) -> None:
    """Print one line on stderr, in the form of the command line's own messages.

    A name in the line may come from a file that somebody made up, so what a terminal would obey is shown as an escape.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"allatt: {shown}", file=sys.stderr, flush=True)


def brief(error: BaseException) -> str:
    """The first line of an error's message, or its type: for errors of libraries, within a line of ours."""
    # urllib's errors hold another error as their reason; HTTPError, which has a code, says more itself.
    reason = error if hasattr(error, "code") else getattr(error, "reason", error)
    return (str(reason).strip().splitlines() or [type(error).__name__])[0][:200]


def bars() -> TextIO:
    """Where a progress bar is written: stderr, or, in a notebook, one output that is replaced and is empty at the end.

    On a notebook's stderr, each update would stay: hundreds of lines in what papermill saves.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return _Output() if getattr(shell, "kernel", None) is not None else sys.stderr


PROGRESS = "allatt-progress"
"""Metadata that marks such an output, so that committed notebooks leave it out."""


class _Output:
    """A file for one progress bar: what is written last is what its output shows."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.handle: Any = None

    def write(self, text: str) -> None:
        line = {"text/plain": text.rstrip(" \r\n").rsplit("\r", 1)[-1].strip()}
        if self.handle is not None:
            self.handle.update(line, raw=True, metadata={PROGRESS: True})
        elif line["text/plain"]:
            from IPython.display import display

            self.handle = display(line, raw=True, metadata={PROGRESS: True}, display_id=True)

    def flush(self) -> None:
        pass
