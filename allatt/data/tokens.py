"""Token ids of a text: written once, then memory-mapped.

`home()/tokens/<key>/` holds train.ids, valid.ids and test.ids, in the smallest integer type that fits, their vocabulary and
meta.json. The key contains the checksums of the text, so a changed text gets new ids. Memory is constant for any text size.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from allatt.config import DataConfig, check
from allatt.data import packed
from allatt.data.corpora import CORPORA, Text, locate, prepare
from allatt.data.text_files import read_with_progress
from allatt.data.tokenizers import VOCABULARIES, Characters, Subwords, Vocabulary, Words
from allatt.data.wikitext_format import SPLITS
from allatt.data.word_counts import BLOCK, number_words
from allatt.system.files import damage, read_json
from allatt.system.paths import absolute, home

# Increased by one whenever the same text would get other ids.
FORMAT = 2


@dataclass(frozen=True)
class Tokens:
    """A text as ids.

    train, valid, test: memory-mapped, 1-D, of type uint8, uint16 or int32.
    meta: name, title, license and source of the text, kind of tokens, vocab, dtype, sha256 of the text by split, and splits:
    per split, the number of documents, lines, words (separated by white space; each end of line is one more: the
    denominator of word perplexity), bytes (UTF-8, with line ends), tokens, and unknown tokens (<unk>).
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
        """The id of <unk>; None if no character is unknown."""
        return self.vocabulary.unknown_id

    def encode(self, text: str) -> list[int]:
        """Ids of a text in WikiText's format (see `allatt.data.wikitext_format.tokenize`); a line feed is an end of line.

        Words and subwords do not preserve the number of spaces between words, or spaces at the ends of a line.
        """
        return self.vocabulary.encode(text).tolist()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: words separated by single spaces, lines by line feeds."""
        return self.vocabulary.decode(np.asarray(ids, np.int64).reshape(-1).tolist())


def load(data: DataConfig) -> Tokens:
    """The ids of a text, memory-mapped; written on the first call. Several processes may call it at once.

    AllattError if text is missing, empty, binary, or does not have the checksum `data.text_sha256`.
    """
    text = locate(data.corpus)
    check(data.text_sha256 in ("", _digest(text.sha256)),
          f"the text of {data.corpus} has changed since this run was configured; restore the old text, or configure it again")
    settings = _settings(text, data)
    folder = _folder(text.name, settings)
    if text.packed:
        prepare(folder, lambda draft: _unpack(text.packed, settings, draft), f"unpacking the ids of {text.name}",
                "unpacking the ids again")
    else:
        prepare(folder, lambda draft: write_ids(text, data, draft), f"tokenizing {text.name} into {data.tokens}",
                "making the ids again")
    meta = read_json(folder / "meta.json", f"remove {folder}", ("splits", "dtype", "settings"))
    check(meta["settings"] == settings, f"{folder} holds the ids of another text, or of other tokens; remove it")
    ids = {split: np.memmap(folder / f"{split}.ids", np.dtype(meta["dtype"]), "r") for split in SPLITS}
    return Tokens(**ids, meta=meta, vocabulary=VOCABULARIES[data.tokens].read(folder), folder=folder)


def pack(data: DataConfig, out: Path, first: int = 0) -> dict:
    """Write the ids of a text as a packed corpus (`allatt.data.packed`); of its training text, the `first` ones (0: all)."""
    tokens = load(data)
    return packed.pack(tokens.meta, tokens.folder, out, first)


def _unpack(folder: Path, settings: dict, draft: Path) -> None:
    """The ids of a packed corpus, as `write_ids` writes those of a text. AllattError if their tokens have other settings."""
    meta = packed.read(folder)
    ours, theirs = ({key: value for key, value in values.items() if key != "sha256"} for values in (settings, meta["settings"]))
    check(ours == theirs, f"{folder} holds {_describe(theirs)}, not {_describe(ours)}; pack the text again")
    _write_meta(packed.unpack(meta, folder, draft), draft)


def _describe(settings: dict) -> str:
    """Tokens in words: "subwords (vocab_size 8000, format 2)"."""
    more = ", ".join(f"{name} {value}" for name, value in sorted(settings.items()) if name != "tokens")
    return f"{settings['tokens']} ({more})"


def stored_vocabulary(meta: dict) -> Vocabulary | None:
    """The vocabulary of a text with this `Tokens.meta`, whether or not the text is still there; None if it is not stored."""
    if "settings" not in meta:
        return None
    folder = _folder(meta["name"], meta["settings"])
    return None if not folder.is_dir() or damage(folder) else VOCABULARIES[meta["kind"]].read(folder)


def pin(data: DataConfig) -> DataConfig:
    """`data` with the checksum of its text, and with the full path of a user's own folder: a different text is a different run.

    The checksum of a named corpus comes from CORPORA; it is empty if it is not known beforehand.
    """
    if data.corpus in CORPORA:
        known = CORPORA[data.corpus].sha256
        return replace(data, text_sha256=_digest(known) if known else "")
    return replace(data, corpus=str(absolute(data.corpus)),
                   text_sha256=_digest(locate(data.corpus).sha256))


def _folder(name: str, settings: dict) -> Path:
    """Where the ids of a text of this name are."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return home() / "tokens" / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name).lstrip('.')[:80]}-{settings['tokens']}-{key}"


def _settings(text: Text, data: DataConfig) -> dict:
    """What determines the ids."""
    settings = {"tokens": data.tokens, "format": FORMAT, "sha256": text.sha256}
    settings |= {"vocab_size": data.vocab_size} if data.tokens != "characters" else {}
    return settings | ({"min_count": data.min_count} if data.tokens == "words" else {})


def _digest(sha256: dict[str, str]) -> str:
    """One checksum of the splits' checksums."""
    return hashlib.sha256(" ".join(sha256[split] for split in SPLITS).encode()).hexdigest()


def write_ids(text: Text, data: DataConfig, folder: Path, block: int = BLOCK) -> None:
    """Learn the vocabulary of a text and write everything that `load` reads into `folder`. block: bytes read at once."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # For characters, too: this counts documents, lines and words.
        numbered = {split: number_words(text.files[split], Path(scratch, split), f"words of {split}", block)
                    for split in SPLITS}
        for split, words in numbered.items():
            check(words.totals["words"] > words.totals["lines"], f"{text.files[split]} holds no words")
        if data.tokens == "characters":
            vocabulary = Characters.learn(text.files, block)
        else:
            counts, line_ends = numbered["train"].counts()
            vocabulary = Words.learn(counts, line_ends, data) if data.tokens == "words" else Subwords.learn(counts, data)
        vocabulary.save(folder)
        dtype = np.dtype(np.uint8 if vocabulary.size <= 2**8 else np.uint16 if vocabulary.size <= 2**16 else np.int32)
        splits = {}
        for split, words in numbered.items():
            path = text.files[split]
            if data.tokens == "characters":
                arrays = map(vocabulary.encode, read_with_progress(path, f"ids of {path.name}", block))
            else:
                arrays = words.ids(vocabulary.table)
            entry = words.totals | {"bytes": path.stat().st_size, "tokens": 0, "unknown": 0}
            entry["documents"] = max(1, entry["documents"])  # text without titles is one document
            with open(folder / f"{split}.ids", "wb") as out:
                for ids in arrays:
                    out.write(ids.astype(dtype).data)
                    entry["tokens"] += len(ids)
                    if vocabulary.unknown_id is not None:
                        entry["unknown"] += int(np.count_nonzero(ids == vocabulary.unknown_id))
            splits[split] = entry
    meta = {"name": text.name, "title": text.title, "license": text.license, "source": text.source, "kind": data.tokens,
            "vocab": vocabulary.size, "dtype": dtype.name, "sha256": text.sha256, "settings": _settings(text, data),
            "splits": splits}
    _write_meta(meta, folder)


def _write_meta(meta: dict, folder: Path) -> None:
    (folder / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
