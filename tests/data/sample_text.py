"""Small texts in WikiText's format, and the corpora under the home folder of a test."""

from pathlib import Path

from allatt.data.wikitext_format import SPLITS

# Every kind of line that WikiText has: empty ones, a title, a heading, paragraphs.
LINES = [" \n", " = Lobster = \n", " \n", " A lobster lives for 50 – 100 years . \n", " = = Claws = = \n", " \n",
         " It has <unk> claws , ten @-@ legged as it is . \n"]
NOUNS = "cat dog lobster anarchism Ἀχιλλεύς naïve @-@ 's 12 @,@ 000 ( ) . , \" café Straße = – U.S. émigré".split()


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


def make_text(lines: int, start: int = 0) -> str:
    """Made-up text in WikiText's format: every tenth line is a title, every seventh is empty."""
    out = []
    for i in range(start, start + lines):
        line = " ".join(NOUNS[(i * i + j * (i + 3)) % len(NOUNS)] for j in range(3 + i % 9))
        out.append(f" = Title {i} = \n" if i % 10 == 0 else " \n" if i % 7 == 0 else f" {line} \n")
    return "".join(out)


def write_splits(folder: Path, train: str, valid: str = " a cat \n", test: str = " a dog \n") -> str:
    """A folder of three .tokens files with these texts; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in zip(SPLITS, (train, valid, test), strict=True):
        (folder / f"wiki.{split}.tokens").write_text(text, encoding="utf-8")
    return str(folder)
