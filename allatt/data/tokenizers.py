"""How text becomes tokens: words, subwords or characters. All three have the same methods.

They are learned from the training text alone: words and subwords from counts (`allatt.data.word_counts`).
"""

from __future__ import annotations

import itertools
import json
import re
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
import sentencepiece

from allatt.config import AllattError, DataConfig, check
from allatt.data.reading import read_with_progress
from allatt.data.word_counts import BLOCK, LINE_END

UNKNOWN, END = "<unk>", "<eos>"
COVERAGE = 0.9998
"""Share of the training text's characters that subwords can spell (our choice); the rest are <unk>."""


class Vocabulary(Protocol):
    """What words, subwords and characters have in common."""

    size: int
    unknown_id: int | None

    def encode(self, text: str) -> np.ndarray:
        """Ids (int32, 1-D) of a text whose lines end in a line feed."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: words separated by single spaces, lines by line feeds."""

    def piece(self, index: int) -> str:
        """One token as it is shown to people."""

    def save(self, folder: Path) -> None: ...


class _Cached(dict):
    """word -> ids, filled by `missing` as words come; emptied when it has grown too large."""

    def __init__(self, missing: Callable[[str], list[int]]):
        self.missing = missing

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= 500_000:
            self.clear()
        self[word] = ids = self.missing(word)
        return ids


class _Known(dict):
    """word -> id; `unknown` for all others."""

    unknown: int

    def __missing__(self, word: str) -> int:
        return self.unknown


class Words:
    """Words by falling frequency in the training text, ties in order of the alphabet; <unk> and <eos> among them.

    A word that is seen less than min_count times, or is none of the vocab_size most frequent, is <unk>, as is every
    <unk> that stands in the text. Line ends are <eos>.
    """

    def __init__(self, words: list[str]):
        self.words, self.size = words, len(words)
        ids = {word: index for index, word in enumerate(words)}
        self.unknown_id, end = ids[UNKNOWN], ids.pop(END)
        self._ids = _Known({**ids, LINE_END: end})
        self._ids.unknown = self.unknown_id

    @classmethod
    def learn(cls, counts: Counter, lines: int, data: DataConfig) -> Words:
        check(data.vocab_size not in (1, 2), f"vocab_size is {data.vocab_size}; words need at least 3, or 0 for all")
        known = [(n, word) for word, n in counts.items() if n >= data.min_count and word not in (UNKNOWN, END)]
        known.sort(key=itemgetter(1))  # two stable sorts: three times as fast as one by pairs
        known.sort(key=itemgetter(0), reverse=True)
        known = known[:data.vocab_size - 2] if data.vocab_size else known
        unknown = counts.total() - sum(n for n, _ in known)
        for item in ((unknown, UNKNOWN), (lines, END)):
            insort(known, item, key=lambda item: (-item[0], item[1]))
        return cls([word for _, word in known])

    def table(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the words (LINE_END is an end of line), one after the other, and how many each word has."""
        return np.fromiter(map(self._ids.__getitem__, words), np.int32, len(words)), np.ones(len(words), np.int64)

    def encode(self, text: str) -> np.ndarray:
        words = text.replace("\n", f" {LINE_END} ").split()
        return np.fromiter(map(self._ids.__getitem__, words), np.int32, len(words))

    def decode(self, ids: Iterable[int]) -> str:
        words = ("\n" if self.words[i] == END else self.words[i] for i in ids)
        return re.sub(r" ?\n ?", "\n", " ".join(words))

    def piece(self, index: int) -> str:
        return self.words[index]

    def save(self, folder: Path) -> None:
        (folder / "words.txt").write_text("\n".join(self.words) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Words:
        return cls((folder / "words.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n"))


class Subwords:
    """Byte-pair encoding (sentencepiece) of words; pieces never cross a space. Line ends are </s>.

    It is learned from the counts of the training text's words, which gives the same pieces as the text itself.
    """

    def __init__(self, model: bytes):
        self.model = model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size, self.unknown_id = self._pieces.vocab_size(), self._pieces.unk_id()
        self._end = self._pieces.eos_id()
        special = {LINE_END: [self._end], UNKNOWN: [self.unknown_id]}
        self._ids = _Cached(lambda word: special.get(word) or self._pieces.encode(word))

    @classmethod
    def learn(cls, counts: Counter, data: DataConfig) -> Subwords:
        lines = (f"{word}\t{n}" for word, n in sorted(counts.items()) if word != UNKNOWN and len(word) < 1000)
        model = BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines, model_writer=model, input_format="tsv", model_type="bpe",
                vocab_size=data.vocab_size, character_coverage=COVERAGE, normalization_rule_name="identity",
                unk_id=0, eos_id=1, bos_id=-1, pad_id=-1, unk_surface=f" {UNKNOWN} ", num_threads=1, minloglevel=2)
        except (RuntimeError, OSError) as error:
            most = re.search(r"value <= (\d+)", str(error))
            least = re.search(r"required_chars\D*\d+ vs (\d+)", str(error))
            reason = (f"it is enough for {most[1]} only: use fewer, or more text" if most else
                      f"its characters alone need {least[1]}" if least else str(error).splitlines()[0])
            raise AllattError(f"the training text of {data.corpus} cannot be cut into {data.vocab_size:,} subwords; "
                              f"{reason}") from error
        return cls(model.getvalue())

    def table(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the words (LINE_END is an end of line), one after the other, and how many each word has."""
        ids = list(map(self._ids.__getitem__, words))
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), np.int32, lengths.sum()), lengths

    def encode(self, text: str) -> np.ndarray:
        words = text.replace("\n", f" {LINE_END} ").split()
        return np.fromiter(itertools.chain.from_iterable(map(self._ids.__getitem__, words)), np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        lines: list[list[int]] = [[]]
        for index in ids:
            if index == self._end:
                lines.append([])
            else:
                lines[-1].append(int(index))
        return "\n".join(re.sub(" +", " ", self._pieces.decode(line)).strip() for line in lines)

    def piece(self, index: int) -> str:
        return self._pieces.id_to_piece(index)

    def save(self, folder: Path) -> None:
        (folder / "subwords.model").write_bytes(self.model)

    @classmethod
    def read(cls, folder: Path) -> Subwords:
        return cls((folder / "subwords.model").read_bytes())


class Characters:
    """Characters (Unicode code points, line feeds too) by falling frequency in the training text.

    <unk> is one more, the last, where the validation or test text has a character that the training text lacks; so
    text8 has its 27 symbols.
    """

    def __init__(self, codes: list[int], unknown: bool):
        self.codes, self.size = codes, len(codes) + unknown
        self.unknown_id = len(codes) if unknown else None
        self._ids = np.full(0x110000, -1 if self.unknown_id is None else self.unknown_id, np.int32)
        self._ids[codes] = np.arange(len(codes), dtype=np.int32)

    @classmethod
    def learn(cls, files: dict[str, Path], block: int = BLOCK) -> Characters:
        counts = {split: np.zeros(0x110000, np.int64) for split in files}
        for split, path in files.items():
            for text in read_with_progress(path, f"characters of {split}", block):
                codes, numbers = np.unique(_codes(text), return_counts=True)
                counts[split][codes] += numbers
        known = np.flatnonzero(counts["train"])
        order = np.lexsort((known, -counts["train"][known]))
        missing = (counts["train"] == 0) & ((counts["valid"] > 0) | (counts["test"] > 0))
        return cls(known[order].tolist(), bool(missing.any()))

    def encode(self, text: str) -> np.ndarray:
        ids = self._ids[_codes(text)]
        if self.unknown_id is None and (ids < 0).any():
            raise AllattError(f"{text[int(np.argmax(ids < 0))]!r} is none of the characters of this text")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(UNKNOWN if i == self.unknown_id else chr(self.codes[i]) for i in ids)

    def piece(self, index: int) -> str:
        return self.decode([index]).replace("\n", "\\n")

    def save(self, folder: Path) -> None:
        values = {"codes": self.codes, "unknown": self.unknown_id is not None}
        (folder / "characters.json").write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Characters:
        return cls(**json.loads((folder / "characters.json").read_text(encoding="utf-8")))


def _codes(text: str) -> np.ndarray:
    """Code points of a text, uint32."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
