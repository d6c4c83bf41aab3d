"""Number the distinct words of a text and count them. Vocabularies are learned from the counts; ids are made from the numbers.

    text -> words -> numbers, in the order in which the words first occur (this module) -> ids (a table indexed by number)

The vocabulary is known only after all words are counted. The numbers are kept in files, so no word has to be looked up a
second time: ids follow by indexing. Memory stays constant. One core processes 4 to 5 million words per second.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allatt.data.text_files import read_with_progress
from allatt.data.wikitext_format import count_titles

LINE_END = "\0"
"""Stands for the end of a line when text is split at white space; no text contains this character (`text_files.blocks`)."""
# Blocks that fit into the processor's cache are split and looked up twice as fast as larger ones.
BLOCK = 1 << 15
# Numbering starts again at 0 after this many distinct words, which bounds memory.
PART = 500_000
# How many numbers are read at once.
CHUNK = 1 << 18
DISTINCT = 4_000_000
"""When more distinct words than this have been counted, those seen only once so far are forgotten."""


@dataclass(frozen=True)
class NumberedText:
    """A text as numbers of its words, in one or more consecutive parts; each part numbers its own words from 0."""

    source: Path
    parts: list[Path]
    """Files of int32 numbers; beside each, a file with the suffix .words has one word per line, in the order of its number."""
    totals: dict[str, int]
    """Number of documents, lines, and words (the end of a line is one) in the text."""

    def counts(self, limit: int = DISTINCT, chunk: int = CHUNK) -> tuple[Counter, int]:
        """How often each word occurs, and the number of line ends. The same as `count_words`, but faster."""
        counts: Counter = Counter()
        for part in self.parts:
            words = _words(part)
            total = np.zeros(len(words), np.int64)
            for numbers in _numbers(part, chunk):
                total += np.bincount(numbers, minlength=len(words))
            counts.update(dict(zip(words, total.tolist(), strict=True)))
            if len(counts) > limit:
                return count_words(self.source, limit)  # which words are forgotten depends on their order in the text
        return counts, counts.pop(LINE_END, 0)

    def ids(self, table: Callable[[list[str]], tuple[np.ndarray, np.ndarray]], chunk: int = CHUNK) -> Iterator[np.ndarray]:
        """The ids of the text in order, int32, some at a time.

        table(words): the ids of these words, concatenated, and the number of ids of each word.
        """
        for part in self.parts:
            flat, lengths = table(_words(part))
            starts, single = lengths.cumsum() - lengths, bool((lengths == 1).all())
            for numbers in _numbers(part, chunk):
                if single:
                    yield flat.take(numbers)  # twice as fast as flat[numbers]
                else:
                    # Indices into `flat`: the start of each word's ids, plus 0, 1, ... within the word.
                    n = lengths[numbers]
                    yield flat[np.repeat(starts[numbers] - (n.cumsum() - n), n) + np.arange(n.sum())]


def split_words(text: str) -> list[str]:
    """The words of a text, separated by white space, with LINE_END for each line feed."""
    return text.replace("\n", f" {LINE_END} ").split()


def _words(part: Path) -> list[str]:
    return part.with_suffix(".words").read_bytes().decode().split()


def _numbers(part: Path, chunk: int) -> Iterator[np.ndarray]:
    with open(part, "rb") as file:
        while len(numbers := np.fromfile(file, np.int32, chunk)):
            yield numbers


def number_words(source: Path, folder: Path, label: str, block: int = BLOCK, part_words: int = PART) -> NumberedText:
    """Split a text file into words and write their numbers into the new `folder`. AllattError if the file is not text.

    label: text of the progress bar, which large files get.
    part_words: a part ends with the block in which it reaches this many distinct words.
    """
    folder.mkdir()
    parts: list[Path] = []
    totals = {"documents": 0, "lines": 0, "words": 0}
    texts = read_with_progress(source, label, block)
    for first in texts:
        part = folder / str(len(parts))
        number: defaultdict[str, int] = defaultdict()
        number.default_factory = number.__len__  # a new word's number is the number of words before it
        with open(part, "wb") as out:
            for text in itertools.chain([first], texts):
                words = split_words(text)
                out.write(np.fromiter(map(number.__getitem__, words), np.int32, len(words)).data)
                totals["documents"] += count_titles(text)
                totals["lines"] += text.count("\n")
                totals["words"] += len(words)
                if len(number) >= part_words:
                    break
        part.with_suffix(".words").write_bytes("\n".join(number).encode())
        parts.append(part)
    return NumberedText(source, parts, totals)


def total_words(path: Path, block: int = BLOCK) -> int:
    """Number of words of a text file, each line end counting as one, as in the totals of `number_words`, but much faster."""
    return sum(len(text.split()) + text.count("\n") for text in read_with_progress(path, f"counting {path.name}", block))


def count_words(path: Path, limit: int = DISTINCT, block: int = BLOCK) -> tuple[Counter, int]:
    """How often each word of a text file occurs, and the number of line ends.

    When more than `limit` distinct words have been counted, those seen only once so far are forgotten.
    """
    counts: Counter = Counter()
    lines = 0
    for text in read_with_progress(path, "counting words", block):
        counts.update(text.split())
        lines += text.count("\n")
        if len(counts) > limit:
            counts = Counter({word: n for word, n in counts.items() if n > 1})
    return counts, lines
