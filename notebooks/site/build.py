"""The site: `make site` renders the start page, the executed notebooks, their solutions and the results into site/build/html.

Sphinx reads a copy of the pages, in which whatever is not a page of the site is dealt with: a file that is linked is copied
beside them, a folder becomes its README or its path. Nothing is executed: what is rendered is what is committed.
Use: python notebooks/site/build.py [--out FOLDER]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md", "notebooks/teaching.md",
         "notebooks/cloud/README.md", "notebooks/[0-9]*.ipynb", "notebooks/solutions/*.ipynb", "figures/README.md",
         "figures/*/README.md", "allatt/data/excerpt/README.md")
"""What becomes a page, as patterns from the project's root."""
INTERACTIVE = "notebooks/site/heads.html"
"""A page that is complete in itself; published as it is."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
MERMAID = re.compile(r"```mermaid\n.*?```\n+", re.DOTALL)


def pages() -> list[Path]:
    """The pages, relative to the root."""
    found = [path.relative_to(ROOT) for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if "smoke" not in path.parts[1:2]]


class Source:
    """The copy of the pages that Sphinx reads."""

    def __init__(self, folder: Path):
        self.folder, self.pages = folder, set(pages())
        shutil.rmtree(folder, ignore_errors=True)

    def write(self) -> None:
        """All of it; the same files give the same bytes."""
        for page in sorted(self.pages):
            text = (ROOT / page).read_text(encoding="utf-8")
            text = self.notebook(page, json.loads(text)) if page.suffix == ".ipynb" else self.markdown(page, text)
            self.put(page, text)
        self.put(Path("index.md"), self.markdown(Path("index.md"), (HERE / "index.md").read_text(encoding="utf-8")))
        shutil.copy(HERE / "conf.py", self.folder / "conf.py")
        (self.folder / "_static").mkdir()
        shutil.copy(HERE / "site.css", self.folder / "_static" / "site.css")
        interactive = self.folder / "_extra" / INTERACTIVE
        interactive.parent.mkdir(parents=True)
        shutil.copy(ROOT / INTERACTIVE, interactive)

    def put(self, page: Path, text: str) -> None:
        (self.folder / page).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / page).write_text(text, encoding="utf-8")

    def markdown(self, page: Path, text: str) -> str:
        """A page's Markdown, with links that the site can follow. A diagram in Mermaid's language is left out."""
        def link(found: re.Match) -> str:
            mark, words, target = found.groups()
            words = LINK.sub(link, words)  # a picture that is a link
            return mark + self.link(page, words, target, bool(mark))

        return LINK.sub(link, MERMAID.sub("", text))

    def output(self, page: Path, text: str) -> str:
        """The Markdown of an output. Figures of the smoke scale are made anew by everyone, and not there to be linked."""
        def link(found: re.Match) -> str:
            _, words, target = found.groups()
            path = Path(os.path.normpath(page.parent / target))
            if path not in self.pages:
                return found.group(0) if re.match(r"[a-z]+:", target) else words
            return f'<a href="{Path(os.path.relpath(path, page.parent)).with_suffix(".html").as_posix()}">{words}</a>'

        return LINK.sub(link, text)

    def link(self, page: Path, words: str, target: str, is_picture: bool) -> str:
        """What the site puts in the place of [words](target)."""
        as_it_was = f"[{words}]({target})"
        if re.match(r"[a-z]+:|#", target):
            return as_it_was
        name, _, part = target.partition("#")
        path = Path(os.path.normpath(page.parent / name))
        if str(path) == INTERACTIVE:
            return f'<a href="{target}">{words}</a>'
        if (ROOT / path).is_dir():
            path, target = path / "README.md", f"{name.rstrip('/')}/README.md"
            if path not in self.pages:
                return words if str(path.parent) in words else f"{words} (`{path.parent}`)"
            return f"[{words}]({target})"
        if path in self.pages:
            return as_it_was
        if not (ROOT / path).is_file():
            raise SystemExit(f"{page}: the link to {target} leads nowhere; mend it")
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, self.folder / path)
        if is_picture or path.suffix in (".png", ".svg", ".gif"):
            return as_it_was
        return f"{{download}}`{words.replace('`', '')} <{target}>`"

    def notebook(self, page: Path, book: dict) -> str:
        """A notebook whose Markdown has the site's links; in outputs, where MyST-NB resolves none, they are HTML. Figures keep
        their alternative texts."""
        for cell in book["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = self.markdown(page, "".join(cell["source"]))
            for output in cell.get("outputs", ()):
                alt = output.get("metadata", {}).get("image/png", {}).get("alt")
                if alt:  # MyST-NB takes it from the cell
                    cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
                if "text/markdown" in output.get("data", {}):
                    output["data"]["text/markdown"] = self.output(page, "".join(output["data"]["text/markdown"]))
        return json.dumps(book, ensure_ascii=False)


def address() -> str:
    """The project's public address, from pyproject.toml; "" if there is none, and then no launch buttons."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return about.get("urls", {}).get("Repository", "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "build")
    folder = parser.parse_args().out.resolve()
    try:
        import myst_nb  # noqa: F401
        import sphinx_book_theme  # noqa: F401
    except ImportError:
        print("allatt: the site's packages are not installed; run `make site`, which installs them", file=sys.stderr)
        return 2
    Source(folder / "source").write()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", folder / "doctrees",
               folder / "source", folder / "html"]
    done = subprocess.run(command, env=os.environ | {"ALLATT_REPOSITORY": address()})
    if done.returncode == 0:
        print(folder / "html" / "index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
