"""Which files of a folder hold text, and what is wrong with them: reported at once, in one line, before anything is read.

Names are matched regardless of case, as on systems that do not distinguish case: TRAIN.TXT is train.txt.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from allatt.config import AllattError, check
from allatt.data.text_files import blocks
from allatt.data.wikitext_format import SPLITS, file_name, is_wrapped
from allatt.system.messages import note


def sources(folder: Path, split: str) -> list[Path]:
    """The files that hold the text of a split: one .tokens, one .xz, several parts, one .txt; or none."""
    name, plain = file_name(split), f"{split}.txt"
    found = _by_name(folder, (n for n in _names(folder) if n.lower() == plain or n.lower().startswith(name)))
    start, end = f"{name}.part", ".xz"
    numbered: dict[int, Path] = {}
    for other, path in found.items():
        digits = other.removeprefix(start).removesuffix(end)
        if other == f"{start}{digits}{end}" and digits.isdecimal():
            twin = numbered.setdefault(int(digits), path)
            check(twin == path, f"{folder} has {twin.name} and {path.name}, which are the same part; remove one of them")
    missing = sorted(set(range(1, len(numbered) + 1)) - set(numbered))
    check(not missing, f"{folder} has parts {', '.join(map(str, sorted(numbered)))} of the {split} text, but not part "
                       f"{missing[0] if missing else 0}; fetch it, too")
    parts = [numbered[number] for number in sorted(numbered)]
    single = (found[n] for n in (name, f"{name}.xz", plain) if n in found)
    return next(([path] for path in single if path.is_file()), parts)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        return _unreadable(error)


def _by_name(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Files of a folder by their names in lower case. AllattError if two differ only in case: one would be left out."""
    found: dict[str, Path] = {}
    for name in sorted(names):
        path = folder / name
        other = found.setdefault(name.lower(), path)
        check(path == other, foreign(path) or f"{folder} has {other.name} and {name}, whose names differ only in case; "
                                              f"rename one of them")
    return found


def unsplit(folder: Path, is_text8: bool) -> list[Path]:
    """The files that hold text without splits: text8, plain or zipped, if `is_text8`; else all .txt that are not hidden."""
    if is_text8:
        whole = _by_name(folder, (name for name in _names(folder) if name.lower() in ("text8", "text8.txt", "text8.zip")))
        return [whole[name] for name in sorted(whole) if whole[name].is_file()][:1]
    found, seen = [], {folder.resolve()}  # links may lead to folders that link back
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        check(place == str(folder) or not {f"{split}.txt" for split in SPLITS} <= {name.lower() for name in names},
              f"{place} is split in {', '.join(SPLITS)}, and would be split anew with what is beside it; name that folder")
        inner = {(Path(place) / name).resolve(): name for name in sorted(folders, reverse=True) if not name.startswith(".")}
        folders[:] = [name for path, name in inner.items() if path not in seen]
        seen |= set(inner)
        texts = (name for name in names if name.lower().endswith(".txt") and not name.startswith("."))
        found += _by_name(Path(place), texts).values()
    return sorted(found)


def _unreadable(error: OSError) -> NoReturn:
    raise AllattError(f"cannot read the folder {error.filename}: {error.strerror}; allow it, or move it away") from None


def foreign(path: Path) -> str:
    """What is wrong with a name that is not UTF-8, as in archives from other systems; "" if nothing is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"the name {os.fsencode(path)!r} is not UTF-8; rename it"
    return ""


def say_if_joined(paths: list[Path]) -> None:
    """Name on stderr the plain text files whose lines will be joined into paragraphs, and say how to keep the lines."""
    joined = [path.name for path in paths if is_wrapped(path)]
    if joined:
        note(f"short lines are read as wrapped paragraphs and joined, in {', '.join(joined[:3])}"
             f"{f' and {len(joined) - 3} more' if len(joined) > 3 else ''}; to keep lines (poems, code), name the files "
             f"{', '.join(map(file_name, SPLITS))}, which are taken as they are")


def not_empty(paths: list[Path]) -> list[Path]:
    """The files that are not empty; the others are named on stderr."""
    empty = [path for path in paths if not path.stat().st_size]
    check(len(empty) < len(paths), f"all {len(paths)} text files in {paths[0].parent} are empty; put text into them")
    if empty:
        note(f"left out, since they are empty: {', '.join(path.name for path in empty)}")
    return [path for path in paths if path not in empty]


def problem_of(path: Path) -> str:
    """Why a file is not text, in one line; "" if it is. The first block is read; the rest is checked when ids are written."""
    if foreign(path):
        return foreign(path)
    try:
        check(path.stat().st_size > 0, f"{path} is empty; put text into it, or remove it")
        with open(path, "rb"):
            pass  # whether it can be read
        if path.suffix.lower() in (".tokens", ".txt"):
            next(blocks(path), None)
    except AllattError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    return ""
