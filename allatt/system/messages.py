"""What the program says beside its results: one line each on stderr, with its name before it."""

import sys


def note(line: str) -> None:
    """Print one line on stderr, in the form of the command line's own messages.

    A name in it may come from a file that somebody made up: what a terminal would obey is shown as an escape.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"allatt: {shown}", file=sys.stderr, flush=True)


def brief(error: BaseException) -> str:
    """The first line of an error's message, or its type: for errors of libraries, within a line of ours."""
    # urllib's errors hold another error as their reason; HTTPError, which has a code, says more itself.
    reason = error if hasattr(error, "code") else getattr(error, "reason", error)
    return (str(reason).strip().splitlines() or [type(error).__name__])[0][:200]
