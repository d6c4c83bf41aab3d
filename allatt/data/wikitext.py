"""From plain text to WikiText's format: tokenize, share documents out among the splits, unpack. And on to text8's format."""

from __future__ import annotations

import itertools
import lzma
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from allatt.config import AllattError, check
from allatt.data.reading import BLOCK, blocks, lines

SPLITS = ("train", "valid", "test")
# With fewer documents than this, each is cut in three; with more, every document is wholly in one split.
FEW = 20
# Marks that combine with the letter before them, and joiners: a word goes on through them.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0e31-\u0e4e\u200c\u200d"
_ABBREVIATIONS = "Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|cf|ca|sp|al|etc|Inc|Ltd|Co|Gen|Col|Lt|Prof|Rev|Gov|Sen|[A-Z]"
# What stays one word: <unk> and <formula>; @-@ and its like; abbreviations; what follows an apostrophe, 's and its like
# also when they stand apart already; words and numbers; dots in a row. Any other character stands alone.
_TOKEN = re.compile(rf"<[a-z]+>|@[-,.]@|(?:\b[^\W\d_]\.){{2,}}|\b(?:{_ABBREVIATIONS})\.(?=\s+\S|[,;)])|\bNo\.(?=\s*\d)"
                    rf"|(?<=[\w{_MARKS}])'[\w{_MARKS}]+|'(?:s|t|re|ve|ll|d|m)\b|[\w{_MARKS}]+|\.{{2,}}|\S")

# A title line. It starts with the line feed before it, which is found much faster than "the start of a line".
_TITLE = re.compile(r"\n ?= (?!=).* = ?$", re.MULTILINE)

_DIGITS = [(str(digit).encode(), f" {word} ".encode()) for digit, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))]
_LETTERS = bytes(code if chr(code).islower() else ord(" ") for code in range(128)).ljust(256)


def tokenize(text: str) -> str:
    """`text` as WikiText writes it: words and punctuation separated by single spaces, case kept.

    Hyphens inside a word become " @-@ ", points and commas inside a number " @.@ " and " @,@ ". Our own regular
    expression, not the tokenizer that made WikiText.
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    text = re.sub(r"(?<=\d)([.,])(?=\d)", r" @\1@ ", text)
    return " ".join(_TOKEN.findall(text))


def spell(text: str) -> str:
    """`text` as text8 has it: words of a-z, each after a space; case is lost, digits are spelled out one by one.

    Everything else parts words, an accented letter too. <unk> and its like stand for what is not there and leave nothing;
    of " @-@ " and " @,@ " a space is left.
    """
    raw = re.sub(r"<[a-z]+>", " ", text).encode("ascii", "replace").lower()
    for digit, word in _DIGITS:
        raw = raw.replace(digit, word)
    return "".join(f" {word}" for word in raw.translate(_LETTERS).decode("ascii").split())


def name(split: str) -> str:
    """File name of a split's text in WikiText's format."""
    return f"wiki.{split}.tokens"


def count_titles(text: str) -> int:
    """Number of lines that are the title of an article, ` = Title = `; headings of sections have more equals signs."""
    return len(_TITLE.findall(f"\n{text}"))


def create(stack: ExitStack, folder: Path) -> dict[str, TextIO]:
    """The three files of a corpus, open for writing as long as `stack`."""
    return {split: stack.enter_context(open(folder / name(split), "w", encoding="utf-8", newline="\n"))
            for split in SPLITS}


def share(sizes: Sequence[int], part: float = 0.05) -> list[str]:
    """Which split each document goes to: about `part` of all words each to valid and test, spread over the whole.

    Every so many-th document is taken, of those that are at most 1.5 times as long as the mean: a few very long ones
    would make up a whole split. It goes to the one of the two that has less so far.
    """
    longest = 1.5 * sum(sizes) / max(1, len(sizes))
    rate = 2 * part * sum(sizes) / max(1, sum(size for size in sizes if size <= longest))
    held = {"valid": 0, "test": 0}
    due, splits = 0.5, []
    for size in sizes:
        due += rate * (size <= longest)
        if size <= longest and due >= 1:
            due -= 1
            splits.append(min(held, key=lambda split: held[split]))
            held[splits[-1]] += size
        else:
            splits.append("train")
    return splits


def paragraphs(path: Path) -> Iterator[str]:
    """Paragraphs of a text file, tokenized; empty ones left out.

    A paragraph is a line, unless the file is wrapped: lines of at most 100 characters, empty lines between paragraphs.
    """
    first = [line.strip() for line in itertools.islice(lines(path), 400)]
    short = [line for line in first if line and len(line) <= 100]
    runs = sum(1 for empty, _ in itertools.groupby(first, lambda line: not line) if not empty)
    wrapped = len(short) > 0.9 * sum(map(bool, first)) and len(short) > 1.5 * runs and runs > 1
    held: list[str] = []
    for line in itertools.chain(lines(path), [""]):
        if line.strip():
            held.append(line)
        if held and not (wrapped and line.strip() and len(held) < 1000):
            yield tokenize(" ".join(held))
            held = []


def convert(sources: Sequence[Path], target: Path) -> None:
    """One split's text, from .xz parts (WikiText's format already) or one .txt file, in constant memory."""
    if sources[0].suffix == ".txt":
        with open(target, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(f" {paragraph} \n" for paragraph in paragraphs(sources[0]))
        return
    with open(target, "wb") as out:
        for source in sources:
            try:
                with lzma.open(source) as packed:
                    while data := packed.read(BLOCK):
                        out.write(data)
            except (lzma.LZMAError, EOFError) as error:
                raise AllattError(f"{source} is truncated or damaged ({error}); fetch it again") from error


def letters(sources: Sequence[Path], target: Path) -> None:
    """Texts in WikiText's format as one in text8's, one after the other, in constant memory."""
    with open(target, "w", encoding="ascii", newline="\n") as out:
        for source in sources:
            out.writelines(map(spell, blocks(source)))


def split(sources: Sequence[Path], folder: Path) -> None:
    """Plain text without splits into the three files of a corpus.

    FEW documents (files) or more are shared out whole; of fewer, the last 5 % of each one's paragraphs are for test
    and the 5 % before them for validation. Where there are several, each gets its file's name as its title.
    """
    whole = share([path.stat().st_size for path in sources]) if len(sources) >= FEW else []
    if set(whole) != set(SPLITS):
        whole = [""] * len(sources)
    filled = set()
    with ExitStack() as stack:
        out = create(stack, folder)
        for path, place in zip(sources, whole, strict=True):
            count = 0 if place else sum(1 for _ in paragraphs(path))
            held = max(1, round(0.05 * count)) if count >= 3 else 0
            if len(sources) > 1:
                out[place or "train"].write(f" = {tokenize(path.stem)} = \n")
            for number, paragraph in enumerate(paragraphs(path)):
                cut = "train" if number < count - 2 * held else "valid" if number < count - held else "test"
                out[place or cut].write(f" {paragraph} \n")
                filled.add(place or cut)
    check(filled == set(SPLITS), f"{sources[0].parent} has too few paragraphs to be split in three; add text, or put "
                                 f"train.txt, valid.txt and test.txt there")
