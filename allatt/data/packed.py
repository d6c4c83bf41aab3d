"""Ids of a text in one small folder, to train on a machine that has neither the text nor the time to tokenize it.

    packed.json                                 sizes, license, kind of tokens, and the checksums of all files (sealed)
    train.ids.xz, valid.ids.xz, test.ids.xz     the ids, little-endian, compressed
    words.txt, subwords.model or characters.json    the vocabulary

The folder is a corpus: give its path wherever a corpus is named. It counts as a separate text, named by the checksums of its
contents, not of the text it was made from, with which nobody can compare it. So its runs have other ids than that text's.
"""

import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from allatt.config import AllattError, check
from allatt.data.tokenizers import VOCABULARIES
from allatt.data.wikitext_format import SPLITS
from allatt.system.files import checksum, disk, is_unchanged, read_json, seal, write_json
from allatt.system.messages import bars

ABOUT = "packed.json"
BLOCK = 1 << 22
"""Bytes of ids that are in memory at once."""
TEXTS, OTHERS = ("name", "title", "license", "source", "kind", "dtype"), ("vocab", "sha256", "settings", "splits", "files")
COUNTS = ("documents", "lines", "words", "bytes")
"""Counts that are known only for a whole split."""
ADVICE = "pack the text again"


def pack(meta: dict, folder: Path, out: Path, first: int = 0) -> dict:
    """Write the ids in `folder`, described by `meta` (`allatt.data.tokens`), into the new folder `out`; returns its meta.

    first: number of ids of the training text that are packed, from its beginning; 0: all. Words and bytes of a part are not
    counted. AllattError if `out` exists, or there are fewer ids.
    """
    check(not out.exists(), f"{out} exists already; remove it, or name a new folder")
    whole, dtype = meta["splits"]["train"]["tokens"], np.dtype(meta["dtype"])
    check(0 <= first <= whole, f"the training text has {whole:,} tokens, not {first:,}; pack fewer, or all of them")
    check(first != 1, "one token predicts nothing; pack more")
    unknown = VOCABULARIES[meta["kind"]].read(folder).unknown_id
    draft = out.with_name(f".{out.name}.draft")
    with disk(out):
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        draft.mkdir(parents=True)
        try:
            shutil.copyfile(folder / VOCABULARIES[meta["kind"]].FILE, draft / VOCABULARIES[meta["kind"]].FILE)
            vocabulary, splits, sha256 = checksum(draft / VOCABULARIES[meta["kind"]].FILE), {}, {}
            for split in SPLITS:
                counts = meta["splits"][split]
                part = split == "train" and 0 < first < whole
                number = first if part else counts["tokens"]
                digest, unknowns = _compress(folder / f"{split}.ids", draft / f"{split}.ids.xz", dtype, number, unknown)
                splits[split] = {name: None if part else counts[name] for name in COUNTS}
                splits[split] |= {"tokens": number, "unknown": unknowns}
                sha256[split] = _identity(digest, vocabulary, splits[split])
            title = meta["title"] + (f", its first {first:,} {meta['kind']}" if 0 < first < whole else "") + " (ids)"
            about = {name: meta[name] for name in (*TEXTS, "vocab")} | {"title": title, "splits": splits, "sha256": sha256}
            about["settings"] = meta["settings"] | {"sha256": sha256}
            files = {path.name: checksum(path) for path in sorted(draft.iterdir())}
            write_json(draft / ABOUT, seal(about | {"files": files}))
            draft.rename(out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return about


def read(folder: Path) -> dict | None:
    """The meta of a packed corpus; None for other folders. AllattError if the meta is invalid, or a file is missing or changed.

    Only unpacking checks whether the ids are those that `sha256` names.
    """
    if not (folder / ABOUT).is_file():
        return None
    meta = read_json(folder / ABOUT, ADVICE, (*TEXTS, *OTHERS))
    with _no_pack(folder):
        _check_meta(meta)
    for name in _names(meta["kind"]):
        path = folder / name
        check(not path.is_file() or os.access(path, os.R_OK), f"{path} cannot be read; allow it")
        check(path.is_file() and is_unchanged(path, meta["files"][name]), f"{path} is missing or changed; {ADVICE}")
    return meta


def unpack(meta: dict, folder: Path, draft: Path) -> dict:
    """Write the ids and the vocabulary of a packed corpus into `draft`, as `allatt.data.tokens` reads them; returns their meta.

    AllattError if they are not those that `meta` names, or an id is not in the vocabulary.
    """
    name = VOCABULARIES[meta["kind"]].FILE
    shutil.copyfile(folder / name, draft / name)
    with _no_pack(folder):
        size = VOCABULARIES[meta["kind"]].read(draft).size
        check(size == meta["vocab"], f"the vocabulary in {folder} has another size; {ADVICE}")
        for split in SPLITS:
            counts = meta["splits"][split]
            paths = folder / f"{split}.ids.xz", draft / f"{split}.ids"
            digest = _decompress(*paths, np.dtype(meta["dtype"]), counts["tokens"], size)
            check(_identity(digest, checksum(draft / name), counts) == meta["sha256"][split],
                  f"{folder} holds other {split} ids than its {ABOUT} says; {ADVICE}")
    return {name: value for name, value in meta.items() if name in TEXTS + OTHERS and name != "files"}


def _identity(ids: str, vocabulary: str, counts: dict) -> str:
    """The checksum of a split, from those of its ids and vocabulary, and its counts: all that a result depends on."""
    return hashlib.sha256(json.dumps([ids, vocabulary, counts], sort_keys=True).encode()).hexdigest()


def _check_meta(meta: dict) -> None:
    """AllattError, or one of the errors that `_no_pack` explains, if a value is invalid."""
    for name in TEXTS:
        check(isinstance(meta[name], str) and meta[name].isprintable(), f"its {name} is {meta[name]!r}")
    check(meta["kind"] in VOCABULARIES, f"its kind is {meta['kind']!r}")
    check(meta["dtype"] in ("uint8", "uint16", "int32"), f"its ids are of type {meta['dtype']!r}")
    check(_is_count(meta["vocab"]), f"its vocab is {meta['vocab']!r}")
    for split in SPLITS:
        counts = meta["splits"][split]
        check(set(counts) == {*COUNTS, "tokens", "unknown"}, f"its {split} text has the counts {sorted(counts)}")
        check(_is_count(counts["tokens"]) and counts["tokens"] > 1, f"its {split} text has {counts['tokens']!r} tokens")
        check(isinstance(counts["unknown"], int) and 0 <= counts["unknown"] <= counts["tokens"],
              f"its {split} text has {counts['unknown']!r} unknown tokens")
        for name in COUNTS:
            check(_is_count(counts[name]) or (counts[name] is None and split == "train"),
                  f"its {split} text has {counts[name]!r} {name}")
        check(len(bytes.fromhex(meta["sha256"][split])) == 32, f"its sha256 is {meta['sha256']!r}")
    for name in _names(meta["kind"]):
        check(len(bytes.fromhex(meta["files"][name])) == 32, f"its checksum of {name} is {meta['files'][name]!r}")
    check(meta["settings"]["tokens"] == meta["kind"] and meta["settings"]["sha256"] == meta["sha256"],
          "its settings are those of other ids")


def _names(kind: str) -> list[str]:
    """The files of a packed corpus, beside ABOUT."""
    return [VOCABULARIES[kind].FILE, *(f"{split}.ids.xz" for split in SPLITS)]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@contextmanager
def _no_pack(folder: Path) -> Iterator[None]:
    """Turns any error that made-up values cause into one line (AllattError)."""
    try:
        yield
    except AllattError as error:
        message = str(error)
        whole = message.endswith(ADVICE)
        raise AllattError(message if whole else f"{folder} is no packed corpus: {message}; {ADVICE}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, EOFError, lzma.LZMAError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise AllattError(f"{folder} is no packed corpus ({reason}); {ADVICE}") from None


def _compress(source: Path, target: Path, dtype: np.dtype, number: int, unknown: int | None) -> tuple[str, int]:
    """Compress the first ids of a file; returns their SHA-256, and how many are <unk>."""
    digest, size, unknowns = hashlib.sha256(), number * dtype.itemsize, 0
    with open(source, "rb") as read_from, lzma.open(target, "wb") as write_to, _bar(target, size) as bar:
        while block := read_from.read(min(BLOCK, size - bar.n)):
            digest.update(block)
            write_to.write(block)
            bar.update(len(block))
            unknowns += 0 if unknown is None else int(np.count_nonzero(np.frombuffer(block, dtype) == unknown))
    return digest.hexdigest(), unknowns


def _decompress(source: Path, target: Path, dtype: np.dtype, count: int, vocab: int) -> str:
    """The inverse, checked: the expected number of ids, all in the vocabulary. Returns their SHA-256."""
    digest, expected = hashlib.sha256(), count * dtype.itemsize
    with lzma.open(source, "rb") as read_from, open(target, "wb") as write_to, _bar(source, expected) as bar:
        while block := read_from.read(min(BLOCK, expected + 1 - bar.n)):
            bar.update(len(block))
            check(bar.n <= expected, f"{source} holds more than {count:,} ids; {ADVICE}")
            check(len(block) % dtype.itemsize == 0, f"{source} ends within an id; {ADVICE}")
            ids = np.frombuffer(block, dtype)
            check(0 <= ids.min() and ids.max() < vocab, f"{source} holds an id that is not in the vocabulary; {ADVICE}")
            digest.update(block)
            write_to.write(block)
        check(bar.n == expected, f"{source} holds fewer than {count:,} ids; {ADVICE}")
    return digest.hexdigest()


def _bar(path: Path, size: int) -> tqdm:
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, leave=False, delay=1, file=bars())
