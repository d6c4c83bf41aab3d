"""Folders that are either finished or not there, and text read in pieces.

A folder is written under another name and renamed when it is complete; `manifest.json` in it records size, time and
SHA-256 of every file, so that a truncated or changed file is noticed when the folder is used again.
"""

from __future__ import annotations

import codecs
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allatt.config import AllattError, check

MANIFEST = "manifest.json"
BLOCK = 1 << 20
# Files up to this size are read again, once a process, to compare checksums; larger ones by size and time alone.
SMALL = 50_000_000
DISK_ERRORS = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded", errno.EFBIG: "file too large",
               errno.EROFS: "read-only", errno.EACCES: "permission denied", errno.EPERM: "permission denied",
               errno.ENOTDIR: "a part of the path is a file"}
# Files (path, size, time) whose checksum this process has seen to be right.
_seen: set[tuple[str, int, int]] = set()


@contextmanager
def disk(where: Path) -> Iterator[None]:
    """A full, read-only or forbidden disk becomes one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise AllattError(f"cannot write {where}: {DISK_ERRORS[error.errno]}; free some space, or set ALLATT_HOME to a "
                          f"folder that can be written") from error


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; when the block ends well, it gets a manifest and takes the place of `folder`.

    After an error nothing is left behind, and what `folder` held before is still there. For one process at a time: what
    a killed one has left is removed.
    """
    prefix = f".{folder.name}.draft-"
    with disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(glob.escape(prefix) + "*"):
            shutil.rmtree(left)
        draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
        try:
            draft.chmod(0o755)
            yield draft
            manifest = {path.name: stamp(path) for path in sorted(draft.iterdir())}
            (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def damage(folder: Path, thorough: bool = False) -> str:
    """What is wrong with a folder made by `written`, as "FILE is missing"; "" where all is well.

    Sizes are always compared. Checksums are, once a process, for files up to SMALL bytes, for files whose time has
    changed, and with `thorough` for all.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected = {folder / name: (int(mark["bytes"]), int(mark["mtime_ns"]), str(mark["sha256"]))
                    for name, mark in manifest.items()}
    except FileNotFoundError:
        return f"{folder / MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return f"{folder / MANIFEST} is not readable"
    for path, (size, time, sha256) in expected.items():
        if not path.is_file():
            return f"{path} is missing"
        found = path.stat()
        if found.st_size != size:
            return f"{path} has {found.st_size:,} bytes instead of {size:,}"
        key = (str(path), found.st_size, found.st_mtime_ns)
        trusted = key in _seen or (size > SMALL and found.st_mtime_ns == time)
        if (thorough or not trusted) and checksum(path) != sha256:
            return f"{path} has another checksum than when it was written"
        _seen.add(key)
    return ""


def stamp(path: Path) -> dict:
    """Size, time of change and SHA-256 of a file, as JSON values."""
    found = path.stat()
    return {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": checksum(path)}


def checksum(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blocks(path: Path, size: int = BLOCK, start: int = 0, stop: int | None = None) -> Iterator[str]:
    """The text of a UTF-8 file in pieces of about `size` bytes, which joined are the whole.

    Pieces end at an end of line; in a line longer than a piece, after a space; in a word longer than that, anywhere.
    A byte-order mark at the start is left out. Bytes that are no UTF-8 text are an AllattError.
    start, stop: a range of `ranges`; its pieces are those that the whole has there.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    held, offset = "", max(0, start - size)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise AllattError(f"cannot read {path}: {error.strerror}") from error
    with file:
        file.seek(offset)
        while offset != stop and (raw := file.read(size)):
            check(b"\0" not in raw, f"{path} is not text: it has a NUL byte at {offset + raw.find(0)}")
            # Of what was read before `start`, only the line that it ends in is of this range.
            mine = raw if offset >= start else raw[raw.rfind(b"\n") + 1:]
            try:
                held += decoder.decode(mine)
            except UnicodeDecodeError as error:
                raise AllattError(f"{path} is not UTF-8 text near byte {offset + error.start}; convert it to "
                                  f"UTF-8 first") from error
            if not offset and not start:
                held = held.removeprefix("\ufeff")
            offset += len(raw)
            cut = held.rfind("\n") + 1
            if not cut and len(held) >= size:
                cut = held.rfind(" ") + 1 or len(held)
            if cut:
                yield held[:cut]
            held = held[cut:]
    if offset != stop:
        check(not decoder.getstate()[0], f"{path} ends in the middle of a character; it seems to be truncated")
        if held:
            yield held


def ranges(path: Path, number: int, size: int = BLOCK) -> list[tuple[int, int | None]]:
    """A text file in at most `number` ranges of about the same length, start and stop, for `blocks` of this size.

    A range starts where `blocks` would read on after bytes that hold an end of line: what follows does not depend on
    what was before, so that the pieces of the ranges are those of the whole, whatever the number.
    """
    total, starts = path.stat().st_size, [0]
    with open(path, "rb") as file:
        for part in range(1, number):
            file.seek(max(starts[-1], total * part // number // size * size))
            while (raw := file.read(size)) and b"\n" not in raw:
                pass
            if raw and file.tell() < total:
                starts.append(file.tell())
    return list(zip(starts, [*starts[1:], None], strict=True))


def lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, without their ends; a line longer than a block comes in several."""
    held = ""
    for block in blocks(path):
        *whole, rest = (held + block).split("\n")
        yield from whole
        held = rest
        if block.endswith(" ") or len(held) >= BLOCK:
            yield held
            held = ""
    if held:
        yield held


def put_between(path: Path, begin: str, end: str, content: str) -> bool:
    """Put `content` between two lines of a text file that mark its place; True if that changed the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AllattError(f"cannot read {path}: {error.strerror}") from None
    check(text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end),
          f"{path} needs one line {begin} and, below it, one line {end}: the table goes between them")
    new = f"{text[:text.index(begin)]}{begin}\n{content}\n{text[text.index(end):]}"
    if new != text:
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(path)
    return new != text
