"""Small texts in WikiText's format, and what is left of them under the home folder of a test."""

from pathlib import Path

from allatt.data.wikitext import SPLITS

# Every kind of line that WikiText has: empty ones, a title, a heading, paragraphs.
LINES = [" \n", " = Lobster = \n", " \n", " A lobster lives for 50 – 100 years . \n", " = = Claws = = \n", " \n",
         " It has <unk> claws , ten @-@ legged as it is . \n"]


def count_words(text: str) -> int:
    return len(text.split()) + text.count("\n")


def write_wikitext(folder: Path, repeat: int = 3) -> Path:
    """A folder of the three .tokens files; every split has another length."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(SPLITS, start=1):
        (folder / f"wiki.{split}.tokens").write_text("".join(LINES) * repeat * number, encoding="utf-8")
    return folder


def finished(home: Path) -> list[str]:
    """What lies under home/corpora besides locks."""
    folder = home / "corpora"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.is_dir() else []
