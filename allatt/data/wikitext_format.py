"""WikiText's format, and plain text converted to it: tokenize, share documents out among the splits, unpack.

A corpus is three files, one per split: words separated by single spaces, one paragraph per line, the title of an article as
` = Title = `, UTF-8.
"""

import itertools
import lzma
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from allatt.config import AllattError, check
from allatt.data.text_files import lines

SPLITS = ("train", "valid", "test")
# With fewer documents than this, each document is split in three; otherwise, each document is in one split as a whole.
FEW = 20
# Marks that combine with the letter before them, and joiners: a word continues through them.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0e31-\u0e4e\u200c\u200d"
_ABBREVIATIONS = "Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|cf|ca|sp|al|etc|Inc|Ltd|Co|Gen|Col|Lt|Prof|Rev|Gov|Sen|[A-Z]"
# What stays one word, in this order: <unk> and <formula>; @-@ and similar; abbreviations; an apostrophe and what follows
# it, also if 's and similar are already separate; words and numbers; several dots. Any other character is its own word.
_TOKEN = re.compile(rf"<[a-z]+>|@[-,.]@|(?:\b[^\W\d_]\.){{2,}}|\b(?:{_ABBREVIATIONS})\.(?=\s+\S|[,;)])|\bNo\.(?=\s*\d)"
                    rf"|(?<=[\w{_MARKS}])'[\w{_MARKS}]+|'(?:s|t|re|ve|ll|d|m)\b|[\w{_MARKS}]+|\.{{2,}}|\S")
# A title line. It starts with the line feed before it, which is found much faster than "the start of a line".
_TITLE = re.compile(r"\n ?= (?!=).* = ?$", re.MULTILINE)


def tokenize(text: str) -> str:
    """`text` as WikiText writes it: words and punctuation separated by single spaces; case is kept.

    Hyphens inside a word become " @-@ ", points and commas inside a number " @.@ " and " @,@ ". This is our own regular
    expression, not the tokenizer that made WikiText.
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    text = re.sub(r"(?<=\d)([.,])(?=\d)", r" @\1@ ", text)
    return " ".join(_TOKEN.findall(text))


def file_name(split: str) -> str:
    """File name of the text of a split."""
    return f"wiki.{split}.tokens"


def count_titles(text: str) -> int:
    """Number of lines that are the title of an article, ` = Title = `; section headings have more equals signs."""
    return len(_TITLE.findall(f"\n{text}"))


def share(sizes: Sequence[int]) -> list[str]:
    """Assign each document to a split: about 5 % of all words each to valid and test, evenly spread over the corpus.

    sizes: words (or bytes) per document. At regular intervals a document is taken out of train, and goes to the smaller
    of valid and test. Documents over 1.5 times the mean length stay in train: a few very long ones could fill a split.
    """
    longest = 1.5 * sum(sizes) / max(1, len(sizes))
    rate = 0.1 * sum(sizes) / max(1, sum(size for size in sizes if size <= longest))
    totals = {"valid": 0, "test": 0}
    due, splits = 0.5, []
    for size in sizes:
        due += rate * (size <= longest)
        if size <= longest and due >= 1:
            due -= 1
            splits.append(min(totals, key=lambda split: totals[split]))
            totals[splits[-1]] += size
        else:
            splits.append("train")
    return splits


def paragraphs(path: Path) -> Iterator[str]:
    """The paragraphs of a plain text file, tokenized, without empty ones.

    A paragraph is a line, unless the text is wrapped: lines of at most 100 characters, empty lines between paragraphs.
    """
    first = [line.strip() for line in itertools.islice(lines(path), 400)]
    short = [line for line in first if line and len(line) <= 100]
    runs = sum(1 for empty, _ in itertools.groupby(first, lambda line: not line) if not empty)
    wrapped = len(short) > 0.9 * sum(map(bool, first)) and len(short) > 1.5 * runs and runs > 1
    paragraph: list[str] = []
    for line in itertools.chain(lines(path), [""]):
        if line.strip():
            paragraph.append(line)
        if paragraph and not (wrapped and line.strip() and len(paragraph) < 1000):
            yield tokenize(" ".join(paragraph))
            paragraph = []


def convert(sources: Sequence[Path], target: Path) -> None:
    """Write the text of one split, from .xz parts (already in WikiText's format) or one .txt file, in constant memory."""
    if sources[0].suffix == ".txt":
        with open(target, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(f" {paragraph} \n" for paragraph in paragraphs(sources[0]))
        return
    with open(target, "wb") as out:
        for source in sources:
            try:
                with lzma.open(source) as unpacked:
                    shutil.copyfileobj(unpacked, out)
            except (lzma.LZMAError, EOFError) as error:
                raise AllattError(f"{source} is truncated or damaged ({error}); fetch it again") from error


def split(sources: Sequence[Path], folder: Path) -> None:
    """Write plain text files without splits as the three files of a corpus.

    FEW or more documents (files) are each assigned to one split. Of fewer, the last 5 % of each document's paragraphs are
    for test and the 5 % before them for validation. If there are several, each gets the name of its file as its title.
    """
    assigned = share([path.stat().st_size for path in sources]) if len(sources) >= FEW else []
    if set(assigned) != set(SPLITS):
        assigned = [""] * len(sources)
    filled = set()
    with ExitStack() as stack:
        out = {name: stack.enter_context(open(folder / file_name(name), "w", encoding="utf-8", newline="\n"))
               for name in SPLITS}
        for path, own in zip(sources, assigned, strict=True):
            count = 0 if own else sum(1 for _ in paragraphs(path))
            part = max(1, round(0.05 * count)) if count >= 3 else 0
            if len(sources) > 1:
                out[own or "train"].write(f" = {tokenize(path.stem)} = \n")
            for number, paragraph in enumerate(paragraphs(path)):
                cut = "train" if number < count - 2 * part else "valid" if number < count - part else "test"
                out[own or cut].write(f" {paragraph} \n")
                filled.add(own or cut)
    check(filled == set(SPLITS), f"{sources[0].parent} has too few paragraphs to be split in three; add text, or put "
                                 f"train.txt, valid.txt and test.txt there")
