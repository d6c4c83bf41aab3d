"""`python tests/licenses.py`: the licenses of all locked packages, from what is installed, into tests/licenses.md."""

import re
from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def locked() -> list[tuple[str, str]]:
    """(name, version) of each line of the lock file."""
    lines = (ROOT / "requirements.lock.txt").read_text().splitlines()
    return [match.groups() for line in lines if (match := re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s;]+)", line))]


def license_of(name: str) -> str:
    """As the package states it: the SPDX expression, else its classifier, else its own words."""
    about = metadata(name)
    classifiers = [text.split("::")[-1].strip() for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    own = (about.get("License") or "").strip().splitlines()
    return about.get("License-Expression") or ", ".join(text for text in classifiers if text != "OSI Approved") or (
        own[0][:60] if own else "not stated")


def table() -> str:
    rows = "\n".join(f"| {name} | {version} | {license_of(name)} |" for name, version in locked())
    return ("# Licenses of the locked packages\n\nallatt itself is MIT. As each package states its license; written by "
            f"`python tests/licenses.py`.\n\n| package | version | license |\n|---|---|---|\n{rows}\n")


if __name__ == "__main__":
    (ROOT / "tests" / "licenses.md").write_text(table())
