"""Where everything is: the package, the repository, all state (.allatt), and the figures. No other module looks for them."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder `allatt/` with the sources."""


def repository() -> Path:
    """The checkout that this package belongs to (it holds notebooks/, figures/ and README.md); else the current folder."""
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()


def home() -> Path:
    """The one folder that holds all state (corpora, token ids, runs): ALLATT_HOME, or `.allatt` in the repository."""
    chosen = os.environ.get("ALLATT_HOME")
    return Path(chosen).expanduser().resolve() if chosen else repository() / ".allatt"


def figures() -> Path:
    """The folder that holds a folder of figures per study: ALLATT_FIGURES, or `figures` in the repository."""
    return Path(os.environ.get("ALLATT_FIGURES") or repository() / "figures").expanduser().resolve()
