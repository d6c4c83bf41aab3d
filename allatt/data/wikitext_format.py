"""WikiText's format, and plain text converted to it: tokenize, share documents out among the splits, unpack.

A corpus is three files, one per split: words separated by single spaces, one paragraph per line, the title of an article as
` = Title = `, UTF-8.
"""

import functools
import itertools
import lzma
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from allatt.config import AllattError, check
from allatt.data.text_files import lines

SPLITS = ("train", "valid", "test")
# With fewer documents than this, each document is split in three; otherwise, each document is in one split as a whole.
FEW = 20
# Characters of a text that may be too short to be cut into pieces that fill all splits.
SMALL = 50_000
# Format characters (Unicode's category Cf) that are visible, or change what is visible: signs of Arabic, Syriac and Kaithi
# that precede numbers and words; the two joiners; the tags of emoji. All others are invisible.
_SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, 0x200C, 0x200D, *range(0xE0020, 0xE0080)}
# Signs that are part of a word if they stand between letters: Catalan's middle dot, Armenian's accents for stress, exclamation
# and question, Hebrew's geresh and gershayim.
_BETWEEN = "\u00b7\u055b\u055c\u055e\u05f3\u05f4"
_CYRILLIC = "\u0400-\u0481\u048a-\u052f\u1c80-\u1c8f\u1d2b\u1d78\ua640-\ua69f\U0001e030-\U0001e08f"
# Separators of decimals and thousands: of most languages, and of Arabic.
_SEPARATORS = ".,\u066b\u066c"
_ABBREVIATIONS = "Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|cf|ca|sp|al|etc|Inc|Ltd|Co|Gen|Col|Lt|Prof|Rev|Gov|Sen|[A-Z]"
# A title line, which may end in CR LF. The pattern starts with the line feed before it, which is found much faster than
# "the start of a line".
_TITLE = re.compile(r"\n ?= (?!=).* = ?\r?$", re.MULTILINE)


def tokenize(text: str) -> str:
    """`text` as WikiText writes it: words and punctuation separated by single spaces; case is kept.

    Hyphens inside a word become " @-@ ", points and commas inside a number " @.@ " and " @,@ ". Invisible characters are left
    out. This is our own regular expression, not the tokenizer that made WikiText. Like that one, it cannot tell whether the
    apostrophe of "O 'Brien" or " 'quoted" is separate already: such words, and no others, are divided further if the text is
    tokenized again.
    """
    text = unicodedata.normalize("NFC", visible(text))
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    text = re.sub(rf"(?<=\d)([{_SEPARATORS}])(?=\d)", r" @\1@ ", text)
    return " ".join(_token().findall(text))


def visible(text: str) -> str:
    """`text` without invisible characters, such as soft hyphens and direction marks; they would divide words.

    A zero width space becomes a space: it separates words where none is written, as in Khmer.
    """
    return text if text.isascii() else _invisible().sub("", text.replace("\u200b", " "))


@functools.cache
def _invisible() -> re.Pattern:
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf")
    return re.compile(f"[{_ranges(code for code in codes if code not in _SEEN)}]+")


@functools.cache
def _token() -> re.Pattern:
    """What stays one word, in this order: <unk> and <formula>; @-@ and similar; abbreviations; an apostrophe and what follows
    it, even if 's and similar are already separate; words and numbers; flags; several dots. Any other character is its own
    word, with the marks and joined characters that follow it, as in emoji.

    Some signs between two letters continue a word, and so does an apostrophe between two Cyrillic letters, where it stands for
    a sound, not for a letter that was left out."""
    M = _marks()
    # The sign is matched before what must precede it, since most words end without one: this is faster to find out.
    sign = rf"[{_BETWEEN}](?<=[^\W\d_].|[{M}].)(?=[^\W\d_])|['\u2019](?<=[{_CYRILLIC}{M}].)(?=[{_CYRILLIC}])"
    word = rf"[\w{M}]+(?:(?:{sign})[\w{M}]+)*"
    return re.compile(
        rf"<[a-z]+>|@[-{_SEPARATORS}]@|(?:\b[^\W\d_]\.){{2,}}|\b(?:{_ABBREVIATIONS})\.(?=\s+\S|[,;)])|\bNo\.(?=\s*\d)"
        rf"|(?<=[\w{M}])'{word}|'(?:s|t|re|ve|ll|d|m)\b|(?=\w){word}|[\U0001f1e6-\U0001f1ff]{{2}}|\.{{2,}}"
        rf"|\S[{M}]*(?:(?<=\u200d)[^\s\w][{M}]*)*")


def _marks() -> str:
    """Characters that continue what precedes them, for use in a class of `re`: marks of all scripts (Unicode's category
    M), the two joiners, and the skin colors and tags of emoji."""
    codes = [code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    return _ranges([*codes, 0x200C, 0x200D, *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080)])


def _ranges(codes: Iterable[int]) -> str:
    """Characters of these codes, for use in a class of `re`."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


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


def is_wrapped(path: Path) -> bool:
    """Whether a plain text file has lines of at most 100 characters, and empty lines between paragraphs."""
    first = [visible(line).strip() for line in itertools.islice(lines(path), 400)]
    short = [line for line in first if line and len(line) <= 100]
    runs = sum(1 for empty, _ in itertools.groupby(first, lambda line: not line) if not empty)
    return len(short) > 0.9 * sum(map(bool, first)) and len(short) > 1.5 * runs and runs > 1


def paragraphs(path: Path) -> Iterator[str]:
    """The paragraphs of a plain text file, tokenized, without empty ones: its lines, joined if it is wrapped."""
    wrapped = is_wrapped(path)
    paragraph: list[str] = []
    for line in itertools.chain(map(visible, lines(path)), [""]):
        if line.strip():
            paragraph.append(line)
        if paragraph and not (wrapped and line.strip() and len(paragraph) < 1000):
            yield tokenize(" ".join(paragraph))
            paragraph = []


def in_three(path: Path) -> Iterator[tuple[str, str]]:
    """The paragraphs of a file and their splits: 90, 5 and 5 % of it by size; with three or more, each split has one."""
    total, position = sum(map(len, paragraphs(path))), 0
    parts = (part for text in paragraphs(path) for part in pieces(text, total // 50))
    parts = list(parts) if total < SMALL else parts
    few, before = total < SMALL and len(parts) >= 3, "train"
    for number, part in enumerate(parts):
        middle = (position + len(part) / 2) / total
        position += len(part)
        if few and number == len(parts) - 1 or middle >= 0.95 and before != "train":
            before = "test"
        elif few and number == len(parts) - 2 or middle >= 0.9:
            before = "valid" if before == "train" else before
        yield part, before


def pieces(text: str, limit: int) -> Iterator[str]:
    """A tokenized text in pieces of at most `limit` characters (or one word, if that is longer); whole if it is short."""
    words: list[str] = []
    size = 0
    for word in text.split(" ") if len(text) > max(limit, 200) else [text]:
        if words and size + len(word) > limit:
            yield " ".join(words)
            words, size = [], 0
        words.append(word)
        size += len(word) + 1
    if words:
        yield " ".join(words)


def convert(sources: Sequence[Path], target: Path) -> None:
    """Write the text of one split, from .xz parts (already in WikiText's format) or one .txt file, in constant memory."""
    if sources[0].suffix.lower() == ".txt":
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

    FEW or more documents (files) are each assigned to one split. With fewer, the last 5 % of each document is for test and the
    5 % before that for validation, by size; paragraphs are kept whole unless they are longer than a fiftieth of the document.
    If there are several documents, each gets the name of its file as its title.
    """
    assigned = share([path.stat().st_size for path in sources]) if len(sources) >= FEW else []
    if set(assigned) != set(SPLITS):
        assigned = [""] * len(sources)
    filled = set()
    with ExitStack() as stack:
        out = {name: stack.enter_context(open(folder / file_name(name), "w", encoding="utf-8", newline="\n"))
               for name in SPLITS}
        for path, own in zip(sources, assigned, strict=True):
            if len(sources) > 1:
                out[own or "train"].write(f" = {tokenize(path.stem)} = \n")
            for paragraph, cut in ((text, own) for text in paragraphs(path)) if own else in_three(path):
                out[cut].write(f" {paragraph} \n")
                filled.add(cut)
    check(filled == set(SPLITS), f"{sources[0].parent} has too few paragraphs to be split in three; add text, or put "
                                 f"train.txt, valid.txt and test.txt there")
