"""From text to ids that are written once and memory-mapped, and batches of them.

Ids lie in `home()/tokens/<key>/` as train.ids, valid.ids and test.ids, in the smallest integer type that holds them,
beside their vocabulary and meta.json. The key follows from the checksums of the text, so that a changed text has other
ids. Memory stays constant however large the text.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock

from allatt.config import DataConfig, check
from allatt.data.corpora import CORPORA, Text, locate, note
from allatt.data.reading import lines
from allatt.data.tokenizers import Characters, Subwords, Vocabulary, Words, total
from allatt.data.wikitext import SPLITS
from allatt.data.words import Pieces, number_words, progress, titles
from allatt.system.files import damage, disk, written
from allatt.system.paths import home

# Raised by one whenever the same text would become other ids.
FORMAT = 1
_KINDS = {"words": Words, "subwords": Subwords, "characters": Characters}


@dataclass(frozen=True)
class Tokens:
    """A text as ids.

    train, valid, test: memory-mapped, 1-D, of type uint8, uint16 or int32.
    meta: title, licence, source and kind of tokens; vocab, dtype; sha256 of the text by split; and splits, which holds
    for each split its documents, lines, words (separated by white space, and one end of line a line: the denominator
    of word perplexity), bytes (UTF-8, line ends included), tokens and unknown (how many of the tokens are <unk>).
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    meta: dict
    vocabulary: Vocabulary
    folder: Path

    @property
    def vocab(self) -> int:
        """Number of different ids."""
        return self.vocabulary.size

    @property
    def unknown_id(self) -> int | None:
        """The id of <unk>; None where there is no unknown character."""
        return self.vocabulary.unknown_id

    def encode(self, text: str) -> list[int]:
        """Ids of a text in WikiText's format (`allatt.data.wikitext.tokenize` makes it); a line feed is an end of line.

        Words and subwords do not keep how many spaces stand between words, or any at the ends of a line.
        """
        return self.vocabulary.encode(text).tolist()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: words separated by single spaces, lines by line feeds."""
        return self.vocabulary.decode(np.asarray(ids, np.int64).reshape(-1).tolist())


def load(data: DataConfig) -> Tokens:
    """The ids of a text: made at the first call, memory-mapped from then on. Several processes may call it at once.

    Raises AllattError for text that is missing, empty, binary, or another than `data.text_sha256` says.
    """
    text = locate(data.corpus)
    check(data.text_sha256 in ("", _digest(text.sha256)), f"the text of {data.corpus} has changed since this was configured; "
                                                   f"put the old text back, or configure it anew")
    settings = {"tokens": data.tokens, "format": FORMAT, "sha256": text.sha256}
    settings |= {"vocab_size": data.vocab_size} if data.tokens != "characters" else {}
    settings |= {"min_count": data.min_count} if data.tokens == "words" else {}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = home() / "tokens" / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', text.name).lstrip('.')}-{data.tokens}-{key}"
    with disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            wrong = damage(folder) if folder.is_dir() else f"cutting {text.name} into {data.tokens}"
            if wrong:
                note(f"{wrong}; making the ids again" if folder.is_dir() else wrong)
                with written(folder) as draft:
                    _make(text, data, draft)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    ids = {split: np.memmap(folder / f"{split}.ids", np.dtype(meta["dtype"]), "r") for split in SPLITS}
    return Tokens(**ids, meta=meta, vocabulary=_KINDS[data.tokens].read(folder), folder=folder)


def pin(data: DataConfig) -> DataConfig:
    """With the checksum of its text, and a user's own folder with its full path: another text is another run.

    For a named corpus it follows from the checksums in CORPORA; empty where they are not all known beforehand.
    """
    if data.corpus in CORPORA:
        known = CORPORA[data.corpus].sha256
        return replace(data, text_sha256=_digest(known) if len(known) == len(SPLITS) else "")
    return replace(data, corpus=str(Path(data.corpus).expanduser().resolve()),
                   text_sha256=_digest(locate(data.corpus).sha256))


def _digest(sha256: dict[str, str]) -> str:
    """One checksum of the splits' checksums."""
    return hashlib.sha256(" ".join(sha256[split] for split in SPLITS).encode()).hexdigest()


def _make(text: Text, data: DataConfig, folder: Path) -> None:
    """Learn the vocabulary and write everything that `load` reads."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        def cut(split: str) -> Pieces | None:
            if data.tokens == "characters":
                return None
            return number_words(text.files[split], Path(scratch, split), f"words of {split}")

        train = cut("train")
        vocabulary = _learn(text, train, data)
        vocabulary.save(folder)
        dtype = np.dtype(np.uint8 if vocabulary.size <= 2**8 else np.uint16 if vocabulary.size <= 2**16 else np.int32)
        splits = {split: _write(text.files[split], train if split == "train" else cut(split), vocabulary, dtype,
                                folder / f"{split}.ids") for split in SPLITS}
    meta = {"name": text.name, "title": text.title, "licence": text.licence, "source": text.source, "kind": data.tokens,
            "vocab": vocabulary.size, "dtype": dtype.name, "sha256": text.sha256, "splits": splits}
    (folder / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _learn(text: Text, train: Pieces | None, data: DataConfig) -> Vocabulary:
    if train is None:
        return Characters.learn(text.files)
    counts, ends = total(train, text.files["train"])
    check(bool(counts), f"{text.files['train']} holds no words")
    return Words.learn(counts, ends, data) if data.tokens == "words" else Subwords.learn(counts, data)


def _write(source: Path, pieces: Pieces | None, vocabulary: Vocabulary, dtype: np.dtype, target: Path) -> dict[str, int]:
    """Write a split's ids, from the numbers of its words, or its characters; what `Tokens.meta` says of it."""
    found = {"documents": 0, "lines": 0, "words": 0, "bytes": source.stat().st_size, "tokens": 0, "unknown": 0}
    found |= pieces.found if pieces is not None else {}
    arrays = _encoded(source, vocabulary, found) if pieces is None else pieces.ids(vocabulary.table)
    with open(target, "wb") as out:
        for ids in arrays:
            out.write(ids.astype(dtype).data)
            found["tokens"] += len(ids)
            if vocabulary.unknown_id is not None:
                found["unknown"] += int(np.count_nonzero(ids == vocabulary.unknown_id))
    check(found["words"] > found["lines"], f"{source} holds no words")
    # Text without titles is one document.
    found["documents"] = max(1, found["documents"])
    return found


def _encoded(source: Path, vocabulary: Characters, found: dict[str, int]) -> Iterator[np.ndarray]:
    """Ids of a text's characters; documents, lines and words are counted in `found`."""
    for block in progress(source, f"ids of {source.name}"):
        ends = block.count("\n")
        found["documents"] += titles(block)
        found["lines"] += ends
        found["words"] += len(block.split()) + ends
        yield vocabulary.encode(block)


def describe(data: DataConfig) -> str:
    """A text and its tokens, for people to read: where from, how much, how much is unknown, how it starts."""
    tokens = load(data)
    text, meta = locate(data.corpus), tokens.meta
    folders = sorted({str(path.parent) for path in text.files.values()})
    heads = ("", "documents", "lines", "words", "bytes", "tokens", "tokens/word", "unknown")
    table = [heads]
    for split, found in meta["splits"].items():
        table.append((split, *(f"{found[name]:,}" for name in heads[1:6]), f"{found['tokens'] / found['words']:.3f}",
                      f"{found['unknown'] / found['tokens']:.3%}"))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in table]
    first = [" ".join(line.split()) for line in islice(lines(text.files["train"]), 20)]
    first = [line for line in first if line][:4]
    pieces = " ".join(tokens.vocabulary.piece(i) for i in tokens.train[:40].tolist())
    about = {"title": meta["title"], "licence": meta["licence"], "source": meta["source"], "text": ", ".join(folders),
             "ids": f"{tokens.folder}",
             "tokens": f"{data.tokens}, vocabulary of {tokens.vocab:,}, {meta['dtype']} ({tokens.train.itemsize} "
                       f"byte{'s' * (tokens.train.itemsize > 1)} each)"}
    remark = []
    if data.tokens == "words" and not meta["splits"]["train"]["unknown"]:
        remark = ["  No word of the training text is unknown, so <unk> is never learned; --min-count 2 changes that."]
    return "\n".join([
        text.name, *(f"  {name:<8} {value}" for name, value in about.items()),
        "", *(f"  {row.rstrip()}" for row in rows),
        "", "  Words count one end of line a line; unknown is the share of the tokens.", *remark,
        "", "It starts", *(f"  {textwrap.shorten(line, 110, placeholder=' ...')}" for line in first),
        "", "as tokens", *(f"  {line}" for line in textwrap.wrap(pieces, 110, break_on_hyphens=False)[:3])])
