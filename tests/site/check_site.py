"""Whether the site works in a real browser: python tests/site/check_site.py [--html FOLDER] [--keep FOLDER]

Opens every page of notebooks/site/build/html in Chromium without a window, from a file, at the widths of a desk and of a
phone. No page may be wider than its window, no error may be said on the console, no formula may be broken, nothing may ask for
a network. Every internal link leads to a page and, if it names one, to a place in it; every image has alternative text.
The search finds a word. --keep leaves screenshots in a folder. Prints one line; status 0 if all is well, 1 if not, 2 without a
Chromium or a site.
"""

import argparse
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser import PROGRAMS, WIDTHS, Browser, program  # noqa: E402

GENERATED = ("genindex.html", "search.html")
"""Pages that Sphinx makes by itself."""


class Page(HTMLParser):
    """Links, ids and images of an HTML file."""

    def __init__(self, path: Path, html: Path):
        super().__init__()
        self.path, self.name, self.links, self.ids, self.no_text = path, str(path.relative_to(html)), [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        about = dict(attrs)
        self.ids |= {about[name] for name in ("id", "name") if about.get(name)}
        self.links += [about[name] for name in ("href", "src") if about.get(name)]
        if tag == "img" and len((about.get("alt") or "").split()) < 3:  # a file's name is none
            self.no_text.append(about.get("src", "")[:60])


def dead_links(pages: dict[Path, Page]) -> list[str]:
    """Every link into the site that leads nowhere."""
    found = []
    for page in pages.values():
        for link in page.links:
            parts = urlparse(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                found.append(f"{page.name}: {link} is not there")
            elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{page.name}: {link} has no such place")
    return found


def look(browser: Browser, page: Page, width: int, keep: Path | None) -> list[str]:
    """What is wrong with a page in a window of this width."""
    browser.events.clear()
    browser.resize(width)
    browser.ask("Page.navigate", url=page.path.as_uri())
    browser.value("new Promise((go) => document.readyState === 'complete' ? go() : addEventListener('load', () => go()))")
    browser.value("window.MathJax?.startup?.promise?.then(() => true) ?? true")
    if browser.value("'state' in document.body.dataset"):  # the page to play with, which computes first
        browser.wait()
    problems = []
    wide = browser.value("document.documentElement.scrollWidth")
    if wide > width:
        problems.append(f"is {wide} pixels wide")
    if browser.value("document.querySelectorAll('mjx-merror, .MathJax_Error').length"):
        problems.append("has a broken formula")
    typed, drawn = browser.value("['.math', 'mjx-container'].map((name) => document.querySelectorAll(name).length)")
    if typed > drawn:
        problems.append(f"leaves {typed - drawn} formulas as they were typed")
    if browser.value("[...document.querySelectorAll('article p')].some((e) => /\\| *(-{3,}|\u2014+) *\\|/.test(e.innerText))"):
        problems.append("leaves a table as it was typed")
    broken = browser.value("[...document.images].filter((image) => image.complete && !image.naturalWidth).length")
    if broken:
        problems.append(f"has {broken} images that cannot be shown")
    problems += browser.complaints(only_errors=True)
    if keep:
        browser.picture(keep / f"{page.name.replace('/', '-')}-{width}.png")
    return [f"{page.name} at {width}: {problem}" for problem in problems]


def search(browser: Browser, html: Path) -> list[str]:
    """Whether the search finds notebook 04 by one of its words."""
    browser.ask("Page.navigate", url=(html / "search.html").as_uri() + "?q=straight-through")
    for _ in range(100):
        found = browser.value("[...document.querySelectorAll('#search-results a')].map((link) => link.getAttribute('href'))")
        if any("04_gates" in link for link in found):
            return []
        time.sleep(0.05)
    return [f"the search finds {found[:3]}, and not notebook 04"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--html", type=Path, default=ROOT / "notebooks" / "site" / "build" / "html")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    html, found = options.html.resolve(), program()
    if not found:
        print(f"allatt: there is no {PROGRAMS[0]} here, which shows the site; install it (apt-get install chromium)")
        return 2
    pages = {path: Page(path, html) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}
    if not pages:
        print(f"allatt: there is no site in {html}; run `make site` first")
        return 2
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    problems = dead_links(pages)
    problems += [f"{page.name}: {source} has no alternative text" for page in pages.values() for source in page.no_text]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(found, Path(profile))
        try:
            shown = [page for path, page in pages.items() if path.name not in GENERATED]
            for page in shown:
                for width in WIDTHS:
                    problems += look(browser, page, width, options.keep)
            problems += search(browser, html)
        finally:
            browser.close()
    links = sum(len(page.links) for page in pages.values())
    print("\n".join(problems) or f"{len(shown)} pages at {len(WIDTHS)} widths, {links} links: all is well")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
