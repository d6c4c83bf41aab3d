"""Tokenizers with their vocabularies: words, subwords or characters. All three have the methods that `Words` documents.

They are learned from the training text alone: words and subwords from its word counts (`allatt.data.word_counts`).
"""

from __future__ import annotations

import itertools
import json
import re
from bisect import insort
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from operator import itemgetter
from pathlib import Path

import numpy as np
import sentencepiece

from allatt.config import AllattError, DataConfig, check
from allatt.data.text_files import read_with_progress
from allatt.data.word_counts import BLOCK, LINE_END, split_words

UNKNOWN, END = "<unk>", "<eos>"
COVERAGE = 0.9998
"""Share of the characters of the training text that subwords can spell (our choice); the other characters are <unk>."""


class Words:
    """Words, sorted by decreasing frequency in the training text, then alphabetically; <unk> and <eos> are among them.

    <unk> stands for words that occur fewer than min_count times or are not among the vocab_size most frequent, and for every
    <unk> in the text itself. <eos> is the end of a line.
    """

    FILE = "words.txt"
    """What `save` writes."""

    def __init__(self, words: list[str]):
        self.words, self.size = words, len(words)
        self._ids = {word: index for index, word in enumerate(words)}
        self._ids[LINE_END] = self._ids.pop(END)
        self.unknown_id = self._ids[UNKNOWN]

    @classmethod
    def learn(cls, counts: Counter, line_ends: int, data: DataConfig) -> Words:
        """The vocabulary of a training text with these word counts and this number of line ends."""
        check(data.vocab_size not in (1, 2), f"vocab_size is {data.vocab_size}; words need at least 3, or 0 for all")
        known = [(n, word) for word, n in counts.items() if n >= data.min_count and word not in (UNKNOWN, END)]
        known.sort(key=itemgetter(1))  # two stable sorts are three times as fast as one by pairs
        known.sort(key=itemgetter(0), reverse=True)
        known = known[:data.vocab_size - 2] if data.vocab_size else known
        unknown = counts.total() - sum(n for n, _ in known)
        for item in ((unknown, UNKNOWN), (line_ends, END)):
            insort(known, item, key=lambda item: (-item[0], item[1]))
        return cls([word for _, word in known])

    def table(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the words (LINE_END is the end of a line), concatenated, and the number of ids of each word."""
        ids = map(self._ids.get, words, itertools.repeat(self.unknown_id))
        return np.fromiter(ids, np.int32, len(words)), np.ones(len(words), np.int64)

    def encode(self, text: str) -> np.ndarray:
        """Ids (int32, 1-D) of a text; a line feed is an end of line."""
        return self.table(split_words(text))[0]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: words separated by single spaces, lines by line feeds."""
        words = ("\n" if self.words[i] == END else self.words[i] for i in ids)
        return re.sub(r" ?\n ?", "\n", " ".join(words))

    def piece(self, index: int) -> str:
        """One token in readable form."""
        return self.words[index]

    def save(self, folder: Path) -> None:
        """Write the vocabulary into a folder, from which `read` reads it back."""
        (folder / self.FILE).write_text("\n".join(self.words) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Words:
        return cls((folder / cls.FILE).read_text(encoding="utf-8").removesuffix("\n").split("\n"))


class Subwords:
    """Byte-pair encoding (sentencepiece) of words; no piece contains a space. Line ends are </s>.

    It is learned from the word counts of the training text, which gives the same pieces as the text itself.
    """

    FILE = "subwords.model"
    """What `save` writes."""

    def __init__(self, model: bytes):
        self.model = model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size, self.unknown_id = self._pieces.vocab_size(), self._pieces.unk_id()
        self._end_id = self._pieces.eos_id()
        special = {LINE_END: [self._end_id], UNKNOWN: [self.unknown_id]}
        self._encode_word = lru_cache(500_000)(lambda word: special.get(word) or self._pieces.encode(_without_space(word)))

    @classmethod
    def learn(cls, counts: Counter, data: DataConfig) -> Subwords:
        """The subwords of a training text with these word counts. AllattError if there cannot be `data.vocab_size` of them."""
        lines = (f"{_without_space(word)}\t{n}" for word, n in sorted(counts.items()) if word != UNKNOWN and len(word) < 1000)
        model = BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines, model_writer=model, input_format="tsv", model_type="bpe",
                vocab_size=data.vocab_size, character_coverage=COVERAGE, normalization_rule_name="identity",
                unk_id=0, eos_id=1, bos_id=-1, pad_id=-1, unk_surface=f" {UNKNOWN} ", num_threads=1, minloglevel=2)
        except (RuntimeError, OSError) as error:
            most = re.search(r"value <= (\d+)", str(error))
            least = re.search(r"required_chars\D*\d+ vs (\d+)", str(error))
            reason = (f"it has enough text for {most[1]} only: use fewer (data.vocab_size), or more text" if most else
                      f"its characters alone need {least[1]} (data.vocab_size)" if least else str(error).splitlines()[0])
            raise AllattError(f"the training text of {data.corpus} cannot be split into {data.vocab_size:,} subwords; "
                              f"{reason}") from error
        return cls(model.getvalue())

    def table(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the words (LINE_END is the end of a line), concatenated, and the number of ids of each word."""
        ids = list(map(self._encode_word, words))
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), np.int32, lengths.sum()), lengths

    def encode(self, text: str) -> np.ndarray:
        return self.table(split_words(text))[0]

    def decode(self, ids: Iterable[int]) -> str:
        lines: list[list[int]] = [[]]
        for index in ids:
            if index == self._end_id:
                lines.append([])
            else:
                lines[-1].append(int(index))
        return "\n".join(re.sub(" +", " ", self._pieces.decode(line)).strip() for line in lines)

    def piece(self, index: int) -> str:
        return self._pieces.id_to_piece(index)

    def scores(self) -> list[float | None]:
        """How early each piece is merged (higher: earlier), for programs without sentencepiece; None: <unk> and </s>."""
        special = {self.unknown_id, self._end_id}
        return [None if index in special else self._pieces.get_score(index) for index in range(self.size)]

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_bytes(self.model)

    @classmethod
    def read(cls, folder: Path) -> Subwords:
        return cls((folder / cls.FILE).read_bytes())


class Characters:
    """Characters (Unicode code points, with line feeds), sorted by decreasing frequency in the training text.

    If the validation or test text has a character that the training text lacks, <unk> is added as the last one. Otherwise
    there is none, so text8 has exactly 27 symbols.
    """

    FILE = "characters.json"
    """What `save` writes."""

    def __init__(self, codes: list[int], unknown: bool):
        self.codes, self.size = codes, len(codes) + unknown
        self.unknown_id = len(codes) if unknown else None
        self._ids = np.full(0x110000, -1 if self.unknown_id is None else self.unknown_id, np.int32)
        self._ids[codes] = np.arange(len(codes), dtype=np.int32)

    @classmethod
    def learn(cls, files: dict[str, Path], block: int = BLOCK) -> Characters:
        """The characters of a text with these files, by split. block: bytes read at once."""
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
            raise AllattError(f"{text[int(np.argmax(ids < 0))]!r} is not one of the characters of this text")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(UNKNOWN if i == self.unknown_id else chr(self.codes[i]) for i in ids)

    def piece(self, index: int) -> str:
        return self.decode([index]).replace("\n", "\\n")

    def save(self, folder: Path) -> None:
        values = {"codes": self.codes, "unknown": self.unknown_id is not None}
        (folder / self.FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Characters:
        return cls(**json.loads((folder / cls.FILE).read_text(encoding="utf-8")))


Vocabulary = Words | Subwords | Characters
VOCABULARIES = {"words": Words, "subwords": Subwords, "characters": Characters}
"""By the names that `DataConfig.tokens` uses."""


def _without_space(word: str) -> str:
    """The word with a character that is <unk> for each U+2581, which stands for a space in sentencepiece and would vanish."""
    return word.replace("\u2581", "\ufffd")


def _codes(text: str) -> np.ndarray:
    """Code points of a text, uint32."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
