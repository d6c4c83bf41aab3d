"""Find the text of a corpus: by name (CORPORA), or in a folder of the user's own.

Every corpus ends up as three files in WikiText's format (`wikitext_format`) or text8's (`text8_format`). Files that
are unpacked, downloaded or converted go under `home()`, with a manifest of sizes and checksums; files that already have the
format stay where they are.

Some experiments on GPUs read a private stand-in for WikiText-103: wiki2014, 91,797 Wikipedia articles of May 2014. It is
used like any folder of the user's own, `--corpus /path/to/wiki2014`; `write_as_text8` makes the same text in text8's format.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from filelock import FileLock

from allatt.config import AllattError, check
from allatt.data import download, excerpt, folders, packed, text8_format, wikitext_format
from allatt.data.wikitext_format import SPLITS, file_name
from allatt.data.word_counts import total_words
from allatt.system.files import MANIFEST, checksum, damage, disk, written
from allatt.system.messages import note
from allatt.system.paths import absolute, home

# Increased by one whenever the conversion of plain text changes.
FORMAT = 3


@dataclass(frozen=True)
class Corpus:
    """Where a corpus comes from, and what is known about it."""

    name: str
    title: str
    license: str
    source: str
    fetch: Callable[[Corpus, Path], None] | None = None
    """Writes the three files into a folder. None: the corpus is a folder of the user's own."""
    address: str = ""
    """What `fetch` reads: repository and folder of the Hugging Face hub, a URL, or the name of another corpus."""
    local: bool = False
    """Whether `fetch` works without a network; if so, a damaged copy is simply made again."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Known checksums, by split."""
    words: dict[str, int] = field(default_factory=dict)
    """Published numbers of words and line ends, by split; a download must have exactly these."""
    characters: int = 0
    """text8: exact length of the whole text, before it is split."""


@dataclass(frozen=True)
class Text:
    """A corpus on this machine: files and SHA-256 of its train, valid and test text."""

    name: str
    title: str
    license: str
    source: str
    files: dict[str, Path]
    """Empty if only its ids are here (`packed`)."""
    sha256: dict[str, str]
    packed: Path | None = None
    """The folder of a packed corpus (`allatt.data.packed`)."""


def _fetch_excerpt(corpus: Corpus, folder: Path) -> None:
    excerpt.unpack(folder)
    _compare(corpus, folder, f"{excerpt.ARCHIVE} is not the one of this release", "install allatt again")


def _fetch_wikitext(corpus: Corpus, folder: Path) -> None:
    download.wikitext(corpus.title, corpus.address, folder, corpus.words)


def _fetch_text8_like(corpus: Corpus, folder: Path) -> None:
    text8_format.convert(list(locate(corpus.address).files.values()), folder)
    _compare(corpus, folder, f"{corpus.address} is not the text that {corpus.name} is made of", "restore the original")


def _compare(corpus: Corpus, folder: Path, reason: str, advice: str) -> None:
    """AllattError if a text that was just made does not have the known checksums."""
    for split, sha256 in corpus.sha256.items():
        check(checksum(folder / file_name(split)) == sha256,
              f"{reason}, so that the {split} text is not the known one: {advice}")


_WIKIPEDIA = "Wikipedia text, CC BY-SA 3.0"
_WIKITEXT = "Merity et al. 2016, through Salesforce/wikitext on the Hugging Face hub"
CORPORA = {corpus.name: corpus for corpus in (
    Corpus("wikipedia-excerpt", "Wikipedia excerpt: 95 English articles of 2016", _WIKIPEDIA,
           "a dump excerpt in the package gensim 4.4.0; allatt/data/excerpt/README.md says how it was cleaned",
           _fetch_excerpt, local=True,
           sha256={"train": "39ea8a5dbe1dd02fd0146311a70d0e70a894eb3b2a52c50d06e91f44acb234a8",
                   "valid": "41307840867aaca45c84dc5745115232edb7e7a51a0b7900008159ebe65a7605",
                   "test": "23360b4f72866c3eb247d14e2acc40d771e9ddf43f1fc897ff2798724c5ca7cc"}),
    Corpus("wikitext-2", "WikiText-2", _WIKIPEDIA, _WIKITEXT, _fetch_wikitext, "Salesforce/wikitext:wikitext-2-v1",
           words={"train": 2_088_628, "valid": 217_646, "test": 245_569}),
    Corpus("wikitext-103", "WikiText-103", _WIKIPEDIA, _WIKITEXT, _fetch_wikitext,
           "Salesforce/wikitext:wikitext-103-v1",
           words={"train": 103_227_021, "valid": 217_646, "test": 245_569}),
    Corpus("text8", "text8: 100 million characters of English Wikipedia of 2006", _WIKIPEDIA,
           "Matt Mahoney, mattmahoney.net/dc/textdata.html",
           lambda corpus, folder: download.text8(corpus.address, folder, corpus.characters),
           "http://mattmahoney.net/dc/text8.zip", characters=100_000_000),
    Corpus("text8-like", "the Wikipedia excerpt in text8's format", _WIKIPEDIA,
           "the corpus wikipedia-excerpt in lower case a-z, digits spelled out; not text8 itself", _fetch_text8_like,
           "wikipedia-excerpt", local=True,
           sha256={"train": "e3f65ea0b7c34ca6beeee2d464d070a8352f27e413a708df00f0fde8b67c71a3",
                   "valid": "13537e5163917b65fba0c4c6b2d45c76c8bbcfa8c7bf6b3afa8de99b49225d03",
                   "test": "1e20abe125104f8d8835fc6dfb0c63a660e73caa98a20d8d99b061d11bf640b0"}),
)}


def full_name(corpus: str) -> str:
    """The name of a corpus as it is recorded: for a folder, its full path."""
    return corpus if not corpus or corpus in CORPORA else str(absolute(corpus))


def locate(name: str) -> Text:
    """The text of a corpus, unpacked, downloaded or converted first if necessary.

    name: one of CORPORA, or the path of a folder that holds wiki.{train,valid,test}.tokens (also as .xz, or
        .part1.xz, .part2.xz, ...), {train,valid,test}.txt, or any .txt files, or of a packed corpus. Plain .txt is tokenized
        as WikiText is (`allatt.data.wikitext_format.tokenize`); if it is not split, 90 % is for training and 5 % each for
        valid and test.
    A corpus of CORPORA is first looked for in the folders of ALLATT_DATA (separated as in PATH), each of which may
    have a subfolder of that name. Raises AllattError if text is missing, empty, binary or damaged.
    """
    corpus = CORPORA.get(name)
    if corpus is None:
        folder = _own_folder(name)
        meta = packed.read(folder)
        if meta is not None:
            return Text(*(meta[key] for key in ("name", "title", "license", "source")), {}, meta["sha256"], folder)
        own = Corpus(folder.name, f"text of the folder {folder.name}", "unknown: it is your own text", str(folder))
        return _from_folder(folder, own)
    for data in filter(None, os.environ.get("ALLATT_DATA", "").split(os.pathsep)):
        offline = absolute(data) / name
        check(offline.parent.is_dir(), f"ALLATT_DATA names {data}, which is not a folder; correct or unset it")
        if offline.is_dir():
            check(packed.read(offline) is None, f"{offline} is a packed corpus, a text of its own; give it as --corpus")
            return _from_folder(offline, corpus)
    folder = home() / "corpora" / name
    prepare(folder, lambda draft: corpus.fetch(corpus, draft), f"preparing {name} in {folder}",
            "making it again" if corpus.local else "")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    sha256 = {split: manifest[file_name(split)]["sha256"] for split in SPLITS}
    if corpus.sha256 and sha256 != corpus.sha256:
        # Made by an earlier release of allatt.
        shutil.rmtree(folder)
        return locate(name)
    files = {split: folder / file_name(split) for split in SPLITS}
    return Text(name, corpus.title, corpus.license, corpus.source, files, sha256)


def write_as_text8(name: str, folder: Path) -> None:
    """Write a corpus (a name, or a folder of your own) in text8's format into a new folder, which `locate` accepts in turn."""
    check(not folder.exists(), f"{folder} exists already; remove it, or name a new folder")
    text = locate(name)
    check(bool(text.files), f"{name} is a packed corpus, of ids without text; name the text itself")
    with written(folder) as draft:
        text8_format.convert(list(text.files.values()), draft)


def _own_folder(name: str) -> Path:
    """The full path of a folder of the user's own. AllattError if there is none, perhaps with the corpus that was meant."""
    check(bool(name), "the corpus has no name; give one, or a folder")
    folder = absolute(name)
    if not folder.exists() and os.sep not in name:
        near = get_close_matches(name, CORPORA, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(CORPORA)}, or a folder"
        raise AllattError(f"there is no corpus {name!r}; {hint}")
    check(folder.exists(), f"there is no folder {folder}; name one that holds text, or one of {', '.join(CORPORA)}")
    check(folder.is_dir(), f"{folder} is a file; name the folder that holds it")
    check(not folders.foreign(folder), folders.foreign(folder))
    return folder


def prepare(folder: Path, fill: Callable[[Path], None], first: str, again: str) -> None:
    """Let `fill` make `folder` unless it is there and undamaged. Several processes may call it at once.

    An undamaged folder is only read, so it may be on a read-only store. first, again: what is printed before a new or a damaged
    folder is made. If `again` is empty, damage is an AllattError.
    """
    if folder.is_dir() and not damage(folder):
        return
    with disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if folder.is_dir():
                wrong = damage(folder)
                if not wrong:
                    return
                check(bool(again), f"{wrong}; delete the folder {folder}, and it will be downloaded again")
                note(f"{wrong}; {again}")
            else:
                note(first)
            with written(folder) as draft:
                fill(draft)


def _from_folder(folder: Path, corpus: Corpus) -> Text:
    """The text of a folder. Its .tokens files stay where they are; all else is converted into a folder under `home()`."""
    sources = {split: folders.sources(folder, split) for split in SPLITS}
    unsplit = [] if any(sources.values()) else folders.unsplit(folder, bool(corpus.characters))
    check(bool(unsplit) or any(sources.values()),
          f"{folder} holds no text: no wiki.train.tokens, no train.txt, and no other .txt file")
    for split, paths in sources.items():
        name = file_name(split)
        check(bool(paths or unsplit), f"{folder} lacks the {split} text: {name} (or {name}.xz, or {split}.txt)")
    if len(unsplit) > 1:
        unsplit = folders.not_empty(unsplit)
    used = [*itertools.chain(*sources.values()), *unsplit]
    problems = [problem for path in used if (problem := folders.problem_of(path))]
    check(not problems, "; ".join(problems))
    files = {split: paths[0] for split, paths in sources.items() if paths and paths[0].suffix.lower() == ".tokens"}
    missing = [split for split in SPLITS if split not in files]
    if missing:
        def fill(draft: Path) -> None:
            if not unsplit:
                folders.say_if_joined([path for split in missing for path in sources[split]
                                       if path.suffix.lower() == ".txt"])
                for split in missing:
                    wikitext_format.convert(sources[split], draft / file_name(split))
            elif unsplit[0].suffix.lower() == ".txt" and not corpus.characters:
                folders.say_if_joined(unsplit)
                wikitext_format.split(unsplit, draft)
            else:
                text8_format.split(unsplit[0], draft, corpus.characters)

        marks = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in used if p not in files.values()]
        key = hashlib.sha256(json.dumps([FORMAT, marks]).encode()).hexdigest()[:8]
        converted = home() / "corpora" / f"{folder.name[:80]}-{key}"
        prepare(converted, fill, f"preparing {converted.name} in {converted}", "making it again")
        files |= {split: converted / file_name(split) for split in missing}
    files = {split: files[split] for split in SPLITS}
    size = sum(path.stat().st_size for path in files.values())
    check(not corpus.characters or size == corpus.characters,
          f"{folder} is not {corpus.name}: it has {size:,} characters instead of {corpus.characters:,}; fetch it again, or, if "
          "it is a text of your own, give the folder another name and pass that folder as --corpus")
    versions = {split: (path, path.stat().st_size, path.stat().st_mtime_ns) for split, path in files.items()}
    for split, expected in corpus.words.items():
        words = _words(*versions[split])
        check(words == expected, f"the {split} text of {corpus.name} in {folder} is not the known one: it has {words:,} words, "
                                 f"line ends included, instead of {expected:,}; fetch its {file_name(split)} again, or, if it "
                                 f"is a text of your own, give the folder another name and pass that folder as --corpus")
    sha256 = {split: _checksum(*version) for split, version in versions.items()}
    for split, expected in corpus.sha256.items():
        check(sha256[split] == expected, f"the {split} text of {corpus.name} in {folder} is not the known one (its "
                                         f"SHA-256 is {sha256[split][:12]}...); fetch it again")
    return Text(corpus.name, corpus.title, corpus.license, corpus.source, files, sha256)


@functools.cache
def _checksum(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a text, computed once per process, and again if its size or time changes."""
    return checksum(path)


@functools.cache
def _words(path: Path, size: int, mtime_ns: int) -> int:
    """Number of words and line ends of a text, counted once per process, and again if its size or time changes."""
    return total_words(path)
