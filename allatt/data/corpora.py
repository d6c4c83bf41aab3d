"""Where text comes from: corpora by name, folders of the user's own, and the checks that keep both honest.

Every corpus ends as three files in WikiText's format: words separated by single spaces, one paragraph a line, an
article's title as ` = Title = `, UTF-8. (text8, and what is made like it, is one long line of a-z and spaces.) What is
downloaded or converted lies under `home()`, with a manifest of sizes and checksums beside it; files that already have
the format stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from filelock import FileLock

from allatt.config import AllattError, check
from allatt.data import download, excerpt, wikitext
from allatt.data.reading import blocks
from allatt.data.wikitext import SPLITS
from allatt.system.files import MANIFEST, SMALL, checksum, damage, disk, write_json, written
from allatt.system.paths import home

# Raised by one whenever plain text is converted in another way.
FORMAT = 1


@dataclass(frozen=True)
class Corpus:
    """A corpus that has a name. `fetch` writes its three files into a folder; None: it comes from ALLATT_DATA only."""

    name: str
    title: str
    licence: str
    source: str
    fetch: Callable[[Corpus, Path], None] | None = None
    address: str = ""
    """What `fetch` asks: repository and folder of the Hugging Face hub, a URL, or the corpus that this one is made of."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Known checksums, by split."""
    words: dict[str, int] = field(default_factory=dict)
    """Published numbers of words and line ends, by split; a download must have exactly these."""
    characters: int = 0
    """text8: exact length of the whole text, before it is split."""


@dataclass(frozen=True)
class Text:
    """A corpus that is there: files and SHA-256 of its train, valid and test text."""

    name: str
    title: str
    licence: str
    source: str
    files: dict[str, Path]
    sha256: dict[str, str]


def _fetch_excerpt(corpus: Corpus, folder: Path) -> None:
    excerpt.unpack(folder)
    _compare(corpus, folder, f"{excerpt.ARCHIVE} is not the one of this release", "install allatt again")


def _compare(corpus: Corpus, folder: Path, reason: str, advice: str) -> None:
    """AllattError where a text that was just made is not the known one."""
    for split, sha256 in corpus.sha256.items():
        check(checksum(folder / wikitext.name(split)) == sha256,
              f"{reason}, so that the {split} text is not the known one: {advice}")


def _fetch_wikitext(corpus: Corpus, folder: Path) -> None:
    kept = home() / "corpora" / f".download-{corpus.name}"
    download.wikitext(corpus.title, corpus.address, folder, corpus.words, kept)


def _fetch_text8(corpus: Corpus, folder: Path) -> None:
    download.text8(corpus.address, folder, corpus.characters)


def _fetch_letters(corpus: Corpus, folder: Path) -> None:
    """Another corpus in text8's format; all its splits in a row are split anew by characters."""
    of, whole = locate(corpus.address), folder / "text8"
    wikitext.letters([of.files[split] for split in SPLITS], whole)
    download.split_text8(whole, folder, whole.stat().st_size)
    whole.unlink()
    _compare(corpus, folder, f"{corpus.address} is not the text that {corpus.name} is made of", "put that one back")


_WIKIPEDIA = "Wikipedia text, CC BY-SA 3.0"
_WIKITEXT = "Merity et al. 2016, through Salesforce/wikitext on the Hugging Face hub"
CORPORA = {corpus.name: corpus for corpus in (
    Corpus("wikipedia-excerpt", "Wikipedia excerpt: 95 English articles of 2016", _WIKIPEDIA,
           "a dump excerpt in the package gensim 4.4.0; allatt/data/excerpt/README.md says how it was cleaned", _fetch_excerpt,
           sha256={"train": "39ea8a5dbe1dd02fd0146311a70d0e70a894eb3b2a52c50d06e91f44acb234a8",
                   "valid": "41307840867aaca45c84dc5745115232edb7e7a51a0b7900008159ebe65a7605",
                   "test": "23360b4f72866c3eb247d14e2acc40d771e9ddf43f1fc897ff2798724c5ca7cc"}),
    Corpus("wikitext-2", "WikiText-2", _WIKIPEDIA, _WIKITEXT, _fetch_wikitext, "Salesforce/wikitext:wikitext-2-v1",
           words={"train": 2_088_628, "valid": 217_646, "test": 245_569}),
    Corpus("wikitext-103", "WikiText-103", _WIKIPEDIA, _WIKITEXT, _fetch_wikitext,
           "Salesforce/wikitext:wikitext-103-v1",
           words={"train": 103_227_021, "valid": 217_646, "test": 245_569}),
    Corpus("text8", "text8: 100 million characters of English Wikipedia of 2006", _WIKIPEDIA,
           "Matt Mahoney, mattmahoney.net/dc/textdata.html", _fetch_text8, "http://mattmahoney.net/dc/text8.zip",
           characters=100_000_000),
    Corpus("wiki2014", "91,797 English Wikipedia articles of May 2014 (a stand-in for WikiText-103)", _WIKIPEDIA,
           "a folder named in ALLATT_DATA",
           sha256={"train": "649a1b0bf4e4721ae7ed4edde1456e249ec5768dffd0e2e7b50093d332150c16"}),
    Corpus("text8-like", "the Wikipedia excerpt in text8's format", _WIKIPEDIA,
           "the corpus wikipedia-excerpt in lower case a-z, digits spelled out; not text8 itself", _fetch_letters,
           "wikipedia-excerpt",
           sha256={"train": "e3f65ea0b7c34ca6beeee2d464d070a8352f27e413a708df00f0fde8b67c71a3",
                   "valid": "13537e5163917b65fba0c4c6b2d45c76c8bbcfa8c7bf6b3afa8de99b49225d03",
                   "test": "1e20abe125104f8d8835fc6dfb0c63a660e73caa98a20d8d99b061d11bf640b0"}),
    Corpus("text8-like-wiki2014", "the articles of wiki2014 in text8's format", _WIKIPEDIA,
           "the corpus wiki2014 in lower case a-z, digits spelled out; not text8 itself", _fetch_letters, "wiki2014",
           sha256={"train": "55a07be954f995627d4a0ae048dc6560c9f6a123bef8f742eddfc9c6fe97c62c",
                   "valid": "0485ae0fe362abd88683f9b507f0c69364f1cb9a9ceebf0a0501c7e81383d224",
                   "test": "603aa31085bd0556e6c14774b7197a5fc25d01d8f30d04cf76b30125c7d494a2"}),
)}


def locate(name: str, verify: bool = False) -> Text:
    """The text of a corpus, made or downloaded first where it is not there yet.

    name: one of CORPORA, or the path of a folder that holds wiki.{train,valid,test}.tokens (also as .xz, or
        .part1.xz, .part2.xz, ...), {train,valid,test}.txt, or any .txt files. Plain .txt is tokenized as WikiText is
        (see `allatt.data.wikitext.tokenize`); where it is not split, 90 % is for training and 5 % each for the others.
    verify: compare the checksums of large files too.
    A corpus of CORPORA is first looked for in the folders of ALLATT_DATA (separated as in PATH), each of which may
    have a subfolder of that name. Raises AllattError if text is missing, empty, binary or damaged.
    """
    corpus = CORPORA.get(name)
    if corpus is None:
        folder = Path(name).expanduser()
        if not folder.is_dir() and not folder.exists() and os.sep not in name:
            near = get_close_matches(name, CORPORA, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(CORPORA)}, or a folder"
            raise AllattError(f"there is no corpus {name!r}; {hint}")
        check(folder.exists(), f"there is no folder {folder}; name one that holds text, or one of {', '.join(CORPORA)}")
        check(folder.is_dir(), f"{folder} is a file; name the folder that holds it")
        folder = folder.resolve()
        own = Corpus(folder.name, f"text of the folder {folder.name}", "not known: it is your own text", str(folder))
        return _from_folder(folder, own, verify)
    for data in filter(None, os.environ.get("ALLATT_DATA", "").split(os.pathsep)):
        offline = Path(data).expanduser() / name
        check(offline.parent.is_dir(), f"ALLATT_DATA names {data}, which is no folder; correct or unset it")
        if offline.is_dir():
            return _from_folder(offline.resolve(), corpus, verify)
    if corpus.fetch is None:
        raise download.Unreachable(f"{name} cannot be downloaded; put it into a folder {name}/ and name the folder above "
                                    f"it in ALLATT_DATA")
    folder = home() / "corpora" / name
    local = corpus.fetch in (_fetch_excerpt, _fetch_letters)
    _prepare(folder, lambda draft: corpus.fetch(corpus, draft), verify, replaceable=local)
    known = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    sha256 = {split: known[wikitext.name(split)]["sha256"] for split in SPLITS}
    if corpus.sha256 and sha256 != corpus.sha256:
        # Made by an earlier release of allatt.
        shutil.rmtree(folder)
        return locate(name, verify)
    return Text(name, corpus.title, corpus.licence, corpus.source, {s: folder / wikitext.name(s) for s in SPLITS}, sha256)


def note(line: str) -> None:
    """One line on stderr, as the command line prints its own."""
    print(f"allatt: {line}", file=sys.stderr, flush=True)


def _prepare(folder: Path, fill: Callable[[Path], None], verify: bool, replaceable: bool) -> None:
    """Have `fill` make `folder` unless it is there and whole. Damage is an error, or a note if it is `replaceable`."""
    with disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        with lock:
            if folder.is_dir():
                wrong = damage(folder, verify)
                if not wrong:
                    return
                check(replaceable, f"{wrong}; delete the folder {folder}, and it will be downloaded again")
                note(f"{wrong}; making it again")
            else:
                note(f"preparing {folder.name} in {folder}")
            with written(folder) as draft:
                fill(draft)


def _from_folder(folder: Path, corpus: Corpus, verify: bool) -> Text:
    """The text of a folder: .tokens stay where they are, all else is converted into a folder under `home()`."""
    sources = {split: _sources(folder, split) for split in SPLITS}
    letters = next((folder / n for n in ("text8", "text8.zip") if corpus.characters and (folder / n).is_file()), None)
    unsplit: list[Path] = []
    if any(sources.values()):
        for split, found in sources.items():
            wanted = f"{wikitext.name(split)} (or {wikitext.name(split)}.xz, or {split}.txt)"
            check(bool(found), f"{folder} lacks the {split} text: {wanted}")
    else:
        unsplit = [letters] if letters else sorted(folder.rglob("*.txt"))
        unsplit = [path for path in unsplit if not any(p.startswith(".") for p in path.relative_to(folder).parts)]
        check(bool(unsplit), f"{folder} holds no text: no wiki.train.tokens, no train.txt, and no other .txt file")
    used = [*(path for found in sources.values() for path in found), *unsplit]
    for path in used:
        check(path.stat().st_size > 0, f"{path} is empty; put text into it, or remove it")
        if path.suffix in (".tokens", ".txt"):
            # Binary files are seen at their first block; the rest is checked while the ids are written.
            next(blocks(path), None)
    files = {split: found[0] for split, found in sources.items() if [p.suffix for p in found] == [".tokens"]}
    if len(files) < len(SPLITS):
        def fill(draft: Path) -> None:
            if letters in unsplit:
                download.split_text8(letters, draft, corpus.characters)
            elif unsplit:
                wikitext.split(unsplit, draft)
            for split in (s for s in SPLITS if sources[s] and s not in files):
                wikitext.convert(sources[split], draft / wikitext.name(split))

        marks = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in used if p not in files.values()]
        key = hashlib.sha256(json.dumps([FORMAT, marks]).encode()).hexdigest()[:8]
        made = home() / "corpora" / f"{folder.name}-{key}"
        _prepare(made, fill, verify, replaceable=True)
        files |= {split: made / wikitext.name(split) for split in SPLITS if split not in files}
    sha256 = {split: _checksum(files[split], verify) for split in SPLITS}
    for split, expected in corpus.sha256.items():
        check(sha256[split] == expected, f"the {split} text of {corpus.name} in {folder} is not the known one (its "
                                         f"SHA-256 is {sha256[split][:12]}...); fetch it again")
    return Text(corpus.name, corpus.title, corpus.licence, corpus.source, {s: files[s] for s in SPLITS}, sha256)


def _sources(folder: Path, split: str) -> list[Path]:
    """The files that hold a split's text: one .tokens, one .xz, several parts, one .txt; or none."""
    name = wikitext.name(split)
    parts = sorted(folder.glob(f"{name}.part*.xz"), key=lambda path: (len(path.name), path.name))
    single = (folder / n for n in (name, f"{name}.xz", f"{split}.txt"))
    return next(([path] for path in single if path.is_file()), parts)


def _checksum(path: Path, verify: bool) -> str:
    """SHA-256 of a text. That of a large file is kept, with its size and time, so that it is computed once only."""
    found = path.stat()
    notes = home() / "corpora" / "checksums.json"
    try:
        known = dict(json.loads(notes.read_text(encoding="utf-8")))
        size, time, sha256 = known.get(str(path), (0, 0, ""))
    except (OSError, ValueError, TypeError):
        known, (size, time, sha256) = {}, (0, 0, "")
    if verify or found.st_size <= SMALL or (size, time) != (found.st_size, found.st_mtime_ns):
        sha256 = checksum(path)
    if found.st_size > SMALL:
        write_json(notes, known | {str(path): [found.st_size, found.st_mtime_ns, sha256]})
    return sha256
