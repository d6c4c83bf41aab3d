"""Where everything is: the package, the repository, all state (.allatt), and the figures. No other module looks for them."""

import os
from pathlib import Path

from allatt.config import check

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder `allatt/` with the sources."""


def absolute(path: str) -> Path:
    """The full path of what a user wrote, with `~` and links resolved; it need not exist. AllattError for an unknown ~user."""
    check("\0" not in path, f"{path!r} has a NUL, which no name can have")
    expanded = os.path.expanduser(path)
    check(not expanded.startswith("~"), f"there is no user for {path}; write the folder out, or ./{path}")
    return Path(os.path.realpath(expanded))


def repository() -> Path:
    """The checkout that this package belongs to (it holds notebooks/, figures/ and README.md); else the current folder."""
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()


def home() -> Path:
    """The one folder that holds all state (corpora, token ids, runs): ALLATT_HOME, or `.allatt` in the repository."""
    chosen = os.environ.get("ALLATT_HOME")
    return absolute(chosen) if chosen else repository() / ".allatt"


def figures() -> Path:
    """The folder that holds a folder of figures per study: ALLATT_FIGURES, or `figures` in the repository."""
    return absolute(os.environ.get("ALLATT_FIGURES") or str(repository() / "figures"))
