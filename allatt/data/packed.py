"""Ids of a text in one small folder, to train on a machine that has neither the text nor the time to tokenize it.

    packed.json                                 sizes, license, kind of tokens, and the checksums of all files (sealed)
    train.ids.xz, valid.ids.xz, test.ids.xz     the ids, little-endian, compressed
    words.txt, subwords.model or characters.json    the vocabulary

The folder is a corpus: give its path wherever a corpus is named. With all ids it is the text it was made of, so that its runs
have the same names; with the first ones alone it is another text, named by the checksum of those ids.
"""

import hashlib
import lzma
import shutil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from allatt.config import check
from allatt.data.tokenizers import VOCABULARIES
from allatt.data.wikitext_format import SPLITS
from allatt.system.files import MANIFEST, checksum, disk, is_unchanged, read_json, seal, write_json

ABOUT = "packed.json"
BLOCK = 1 << 22
"""Bytes of ids that are in memory at once."""
KEYS = ("name", "title", "license", "source", "kind", "vocab", "dtype", "sha256", "settings", "splits", "files")


def pack(meta: dict, folder: Path, out: Path, first: int = 0) -> dict:
    """Write the ids in `folder`, described by `meta` (`allatt.data.tokens`), into the new folder `out`; returns its meta.

    first: number of ids of the training text that are packed, from its beginning on; 0: all. AllattError if `out` exists, or
    there are fewer ids.
    """
    check(not out.exists(), f"{out} exists already; remove it, or name a new folder")
    splits, width = meta["splits"], np.dtype(meta["dtype"]).itemsize
    whole = splits["train"]["tokens"]
    check(0 <= first <= whole, f"the training text has {whole:,} tokens, not {first:,}; pack fewer, or all of them")
    count = first or whole
    vocabulary = [path for path in folder.iterdir() if path.suffix != ".ids" and path.name not in ("meta.json", MANIFEST)]
    with disk(out):
        out.mkdir(parents=True)
        try:
            for path in vocabulary:
                shutil.copyfile(path, out / path.name)
            digests = {split: _compress(folder / f"{split}.ids", out / f"{split}.ids.xz",
                                        (count if split == "train" else splits[split]["tokens"]) * width) for split in SPLITS}
            if count < whole:
                # Words and bytes in proportion: nothing that is measured is divided by those of the training text.
                part = {name: round(number * count / whole) for name, number in splits["train"].items()} | {"tokens": count}
                sha256 = meta["sha256"] | {"train": digests["train"]}
                meta = meta | {"title": f"{meta['title']}, its first {count:,} {meta['kind']}", "sha256": sha256,
                               "settings": meta["settings"] | {"sha256": sha256}, "splits": splits | {"train": part}}
            files = {path.name: checksum(path) for path in sorted(out.iterdir())}
            write_json(out / ABOUT, seal(meta | {"files": files}))
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
    return meta


def read(folder: Path) -> dict | None:
    """The meta of a packed corpus; None if the folder is none. AllattError if a file is missing or changed."""
    if not (folder / ABOUT).is_file():
        return None
    meta = read_json(folder / ABOUT, "pack the text again", KEYS)
    for name, sha256 in meta["files"].items():
        path = folder / Path(name).name  # nothing outside the folder
        check(path.is_file() and is_unchanged(path, sha256), f"{path} is missing or changed; pack the text again")
    return meta


def unpack(meta: dict, folder: Path, draft: Path) -> dict:
    """Write the ids and the vocabulary of a packed corpus into `draft`, as `allatt.data.tokens` reads them; returns their meta.

    AllattError if there are more or fewer ids than `meta` says, or one is not in the vocabulary.
    """
    for name in meta["files"]:
        if not name.endswith(".ids.xz"):
            shutil.copyfile(folder / Path(name).name, draft / Path(name).name)
    vocab, dtype = meta["vocab"], np.dtype(meta["dtype"])
    check(VOCABULARIES[meta["kind"]].read(draft).size == vocab, f"the vocabulary in {folder} has another size; pack again")
    for split in SPLITS:
        count = meta["splits"][split]["tokens"]
        _decompress(folder / f"{split}.ids.xz", draft / f"{split}.ids", dtype, count, vocab)
    return {name: value for name, value in meta.items() if name in KEYS and name != "files"}


def _compress(source: Path, target: Path, size: int) -> str:
    """Compress the first `size` bytes of a file; returns their SHA-256."""
    digest = hashlib.sha256()
    with open(source, "rb") as read_from, lzma.open(target, "wb") as write_to, _bar(target, size) as bar:
        while block := read_from.read(min(BLOCK, size - bar.n)):
            digest.update(block)
            write_to.write(block)
            bar.update(len(block))
    return digest.hexdigest()


def _decompress(source: Path, target: Path, dtype: np.dtype, count: int, vocab: int) -> None:
    """The inverse, checked: as many ids as expected, all in the vocabulary."""
    expected = count * dtype.itemsize
    with lzma.open(source, "rb") as read_from, open(target, "wb") as write_to, _bar(source, expected) as bar:
        while block := read_from.read(min(BLOCK, expected + 1 - bar.n)):
            bar.update(len(block))
            check(bar.n <= expected, f"{source} holds more than {count:,} ids; pack the text again")
            check(len(block) % dtype.itemsize == 0, f"{source} ends within an id; pack the text again")
            ids = np.frombuffer(block, dtype)
            check(0 <= ids.min() and ids.max() < vocab,
                  f"{source} holds an id that is not in the vocabulary; pack the text again")
            write_to.write(block)
        check(bar.n == expected, f"{source} holds fewer than {count:,} ids; pack the text again")


def _bar(path: Path, size: int) -> tqdm:
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, leave=False, delay=1)
