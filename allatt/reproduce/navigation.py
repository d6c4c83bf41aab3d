"""Links in the committed notebooks to the previous and next one and the start page; once the project has a public address, also
badges that open a notebook on Colab or Binder, with a cell that installs the project there.

The address is `Repository` of `[project.urls]` in pyproject.toml. Without one there are no badges: they would lead nowhere.
`python -m allatt notebooks --links` writes all of this, and executes nothing.
"""

import json
import re
import tomllib
from pathlib import Path

from allatt.config import check
from allatt.system.files import write

TOP, INSTALL, BOTTOM = "links", "install", "next"
"""Ids of the cells that this module writes; all others are the author's."""
COLAB = """# On Colab: the project and what it needs. Elsewhere this cell does nothing.
import os
import sys

if "COLAB_RELEASE_TAG" in os.environ:
    !git clone -q --depth 1 {address} /content/{name}
    %pip install -q "/content/{name}[notebooks]"
    %cd -q /content/{name}/notebooks
    sys.path.insert(0, "/content/{name}")"""


def update(folder: Path) -> list[Path]:
    """Write the links into all notebooks of a folder; returns the ones that changed."""
    paths, address = sorted(folder.glob("[0-9][0-9]_*.ipynb")), repository_address(folder.parent)
    books = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    titles = list(map(title, books))
    changed = []
    for place, (path, book) in enumerate(zip(paths, books, strict=True)):
        links = [f"[← {titles[place - 1]}]({paths[place - 1].name})"] if place else []
        links.append("[start page](README.md)")
        following = f"[{titles[place + 1]} →]({paths[place + 1].name})" if place + 1 < len(paths) else "[start page](README.md)"
        cells = [cell for cell in book["cells"] if cell["id"] not in (TOP, INSTALL, BOTTOM)]
        top = " · ".join([*links, following] if place + 1 < len(paths) else links)
        cells.insert(0, _markdown(TOP, "\n\n".join(filter(None, [badges(address, path.name), top]))))
        if address:
            cells.insert(1, _code(INSTALL, COLAB.format(address=address, name=address.rsplit("/", 1)[-1])))
        cells.append(_markdown(BOTTOM, f"Next: {following}" if place + 1 < len(paths) else f"Back to the {following}"))
        after = json.dumps(book | {"cells": cells}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if after != path.read_text(encoding="utf-8"):
            write(path, after.encode())
            changed.append(path)
    return changed


def repository_address(root: Path) -> str:
    """The project's address on GitHub, from pyproject.toml; "" if it names none. AllattError if it names something else."""
    about = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    address = about["project"].get("urls", {}).get("Repository", "").removesuffix("/").removesuffix(".git")
    check(not address or re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address) is not None,
          f"Repository in pyproject.toml is {address!r}; Colab and Binder open notebooks of https://github.com/OWNER/NAME")
    return address


def badges(address: str, notebook: str) -> str:
    """Markdown of the two badges; "" without an address."""
    if not address:
        return ""
    place = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{place}/main?labpath=notebooks%2F{notebook}"
    return (f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
            f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})")


def title(book: dict) -> str:
    """A notebook's title: its first heading."""
    for cell in book["cells"]:
        heading = re.match(r"# (.+)", "".join(cell["source"]))
        if cell["cell_type"] == "markdown" and heading:
            return heading.group(1)
    return ""


def _markdown(name: str, text: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(name: str, text: str) -> dict:
    return _markdown(name, text) | {"cell_type": "code", "execution_count": None, "outputs": []}
