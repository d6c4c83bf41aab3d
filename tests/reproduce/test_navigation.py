"""Links between the notebooks, and badges: of the committed notebooks, and of a project with an address."""

import json
import re
import shutil
import urllib.parse

import nbformat
import pytest
from small_notebooks import write_notebook

from allatt.config import AllattError
from allatt.reproduce import navigation
from allatt.system.paths import repository

NOTEBOOKS = repository() / "notebooks"


def source(path, name: str) -> str:
    return next(("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["id"] == name), "")


@pytest.fixture
def folder(tmp_path):
    """Three notebooks of a project without an address."""
    for name in ("00_a", "01_b", "02_c"):
        path = write_notebook(tmp_path, f"{name}.ipynb", "print(1)")
        book = json.loads(path.read_text())
        heading = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": [f"# {name} · title\n", "text"]}
        book["cells"].insert(0, heading)
        path.write_text(json.dumps(book))
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    return path.parent


def test_each_notebook_leads_to_its_neighbors_and_a_second_time_changes_nothing(folder):
    paths = sorted(folder.glob("*.ipynb"))
    assert navigation.update(folder) == paths and navigation.update(folder) == []
    first, middle, last = (source(path, "links") for path in paths)
    assert first == "[start page](README.md) · [01_b · title →](01_b.ipynb)"
    assert middle == "[← 00_a · title](00_a.ipynb) · [start page](README.md) · [02_c · title →](02_c.ipynb)"
    assert last == "[← 01_b · title](01_b.ipynb) · [start page](README.md)"
    assert source(paths[0], "next") == "Next: [01_b · title →](01_b.ipynb)"
    assert source(paths[2], "next") == "Back to the [start page](README.md)"
    assert "badge" not in paths[0].read_text() and source(paths[0], "install") == ""
    nbformat.validate(json.loads(paths[1].read_text()))


def test_with_an_address_there_are_badges_and_a_cell_that_does_nothing_here(folder, monkeypatch):
    about = folder.parent / "pyproject.toml"
    about.write_text('[project]\nname = "x"\nurls = { Repository = "https://github.com/someone/a-fork.git" }\n')
    navigation.update(folder)
    path = folder / "01_b.ipynb"
    badges = re.findall(r"\]\((https://[^)]+)\)", source(path, "links"))
    colab, binder = (urllib.parse.unquote(address) for address in badges if "badge" not in address)
    assert colab == "https://colab.research.google.com/github/someone/a-fork/blob/main/notebooks/01_b.ipynb"
    assert binder == "https://mybinder.org/v2/gh/someone/a-fork/main?labpath=notebooks/01_b.ipynb"
    install = source(path, "install")
    assert "git clone -q --depth 1 https://github.com/someone/a-fork /content/a-fork" in install
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    asked = []
    monkeypatch.setattr(shell, "system", asked.append)
    monkeypatch.setattr(shell, "run_line_magic", lambda name, line, **more: asked.append(f"{name} {line}"))
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert shell.run_cell(install).success and asked == []
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert shell.run_cell(install).success and [line.split()[0] for line in asked] == ["git", "pip", "cd"]
    about.write_text('[project]\nname = "x"\n')
    navigation.update(folder)
    assert "badge" not in path.read_text() and source(path, "install") == ""


@pytest.mark.parametrize("address", ["https://example.org/a/b", "github.com/a/b", "https://github.com/a", "https://github.com/a/b)(x"])
def test_an_address_that_colab_and_binder_cannot_open_is_one_clear_line(folder, address):
    (folder.parent / "pyproject.toml").write_text(f'[project]\nname = "x"\nurls = {{ Repository = "{address}" }}\n')
    with pytest.raises(AllattError, match=r"Repository in pyproject.toml is .*; Colab and Binder open notebooks of https://github"):
        navigation.update(folder)


def test_the_committed_notebooks_are_linked(tmp_path):
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    shutil.copy(repository() / "pyproject.toml", tmp_path)
    assert navigation.update(tmp_path / "notebooks") == [], "run python -m allatt notebooks --links"


def test_every_link_between_pages_leads_somewhere():
    """Of the notebooks' prose, the start page and the READMEs: relative links."""
    books = sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")])
    pages = {path: "".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]
                           if cell["cell_type"] == "markdown") for path in books}
    for path in (repository() / "README.md", *NOTEBOOKS.rglob("*.md"), *(repository() / "figures").rglob("README.md")):
        if "site" not in path.parts:  # the site's own page is tested with it
            pages[path] = path.read_text()
    broken, found = [], 0
    for path, text in pages.items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not target.startswith(("attachment:", "mailto:")):
                found += 1
                if not (path.parent / target).exists():
                    broken.append(f"{path.name}: {target}")
    assert broken == [] and found > 100


def test_the_start_page_names_every_notebook_with_its_title():
    page = (NOTEBOOKS / "README.md").read_text()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        number, name = navigation.title(json.loads(path.read_text())).split(" · ", 1)
        row, = (line for line in page.splitlines() if line.startswith(f"| {number} |"))
        assert f"({path.name})" in row and name.split(":")[0] in row
