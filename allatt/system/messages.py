"""What the program says beside its results: one line each on stderr, with its name before it."""

import sys


def note(line: str) -> None:
    """Print one line on stderr, in the form of the command line's own messages."""
    print(f"allatt: {line}", file=sys.stderr, flush=True)
