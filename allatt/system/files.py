"""Files and folders that are written whole or not at all: under another name first, renamed when they are complete.

`write` is the one writer of files. `written` makes a folder; its `manifest.json` records size, time and SHA-256 of every
file, so that `damage` notices a truncated or changed file when the folder is used again.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from allatt.config import AllattError, check

MANIFEST = "manifest.json"
SEAL = "sha256_of_the_rest"
# Files up to this size are read again, once per process, to compare checksums; larger ones are judged by size and time alone.
SMALL = 50_000_000
LARGEST = 100_000_000
"""Bytes of the largest JSON file that is read (our choice). The largest of ours, the record of a long run, has a few MB; a
made-up one takes some twenty times its size in memory."""
DEEPEST = 100
"""Levels of nesting in a JSON file that is read (our choice): a config has at most a dozen."""
DISK_ERRORS = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded", errno.EFBIG: "file too large",
               errno.EROFS: "read-only", errno.EACCES: "permission denied", errno.EPERM: "permission denied",
               errno.ENOTDIR: "a part of the path is a file"}
# Files (path, size, time, checksum) that this process has verified.
_verified: set[tuple[Path, int, int, str]] = set()


@contextmanager
def disk(where: Path) -> Iterator[None]:
    """Turns the error of a full, read-only or forbidden disk into one clear line (AllattError)."""
    try:
        yield
    except OSError as error:
        # `mkdir` raises FileExistsError if a file is in the place of the folder itself.
        code = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        if code == errno.EISDIR:
            raise AllattError(f"cannot write {where}: a folder is in its place; remove it") from error
        if code not in DISK_ERRORS:
            raise
        raise AllattError(f"cannot write {where}: {DISK_ERRORS[code]}; free some space, or choose a folder that can "
                          "be written (ALLATT_HOME for all state, ALLATT_FIGURES for figures)") from error


def write(path: Path, content: bytes) -> Path:
    """Write a file, whole or not at all, even if the power fails; its folders are made. Returns `path`.

    The mode follows the umask. AllattError if the disk is full, read-only or forbidden; what `path` held is then kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()
    return path


def _sync_folder(folder: Path) -> None:
    """Make a renamed file survive a power failure; where folders cannot be synchronized, the system decides when it is safe."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def check_writable(path: Path) -> None:
    """AllattError unless a file can be written here: checked before hours of work whose result goes there."""
    check(not path.is_dir(), f"{path} is a folder; name a file")
    exists = path.exists()
    write(path, path.read_bytes() if exists else b"")
    if not exists:
        path.unlink()


def write_json(path: Path, values: Any) -> Path:
    """Write JSON values as a readable file; see `write`. ValueError for NaN and infinity, which JSON does not have."""
    return write(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path, advice: str, keys: Iterable[str] = ()) -> dict:
    """The object in a JSON file. AllattError, with `advice` on what to do, if it cannot be read, lacks one of `keys`, or does
    not match its seal (see `seal`)."""
    try:
        values = parse(path)
    except (OSError, ValueError) as error:
        raise AllattError(f"{path} cannot be read ({error}); {advice}") from None
    check(isinstance(values, dict), f"{path} holds no JSON object; {advice}")
    missing = [key for key in keys if key not in values]
    check(not missing, f"{path} lacks {', '.join(missing)}; {advice}")
    check(SEAL not in values or values == seal(values), f"{path} was changed after it was written; {advice}")
    return values


def parse(path: Path) -> Any:
    """The values in a JSON file. OSError or ValueError, which say why, for a file that cannot or should not be read: a device
    never ends, a pipe may wait forever, and the values of a huge file fill the memory."""
    mode, size = path.stat().st_mode, path.stat().st_size
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # for a folder, the system's own error says so
        raise ValueError("it is a device or a pipe, not a file")
    if size > LARGEST:
        raise ValueError(f"it has {size:,} bytes, and JSON files have at most {LARGEST:,}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_a_number)
        if _depth(values) > DEEPEST:  # code that reads the values may then recurse
            raise RecursionError
        return values
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except MemoryError:
        raise ValueError("the memory is too small for it") from None


def _depth(values: Any) -> int:
    """How deeply JSON values are nested, level by level, without recursion."""
    depth, level = 0, [values]
    while level:
        level = [inner for value in level if isinstance(value, (dict, list))
                 for inner in (value.values() if isinstance(value, dict) else value)]
        depth += 1
    return depth


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def seal(values: dict) -> dict:
    """JSON values with a checksum of themselves, by which `read_json` notices a changed file."""
    plain = {key: value for key, value in values.items() if key != SEAL}
    return plain | {SEAL: hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()}


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; when the block ends well, it gets a manifest and takes the place of `folder`.

    After an error nothing is left behind, and what `folder` held before is still there. For one process at a time: what
    a killed process has left is removed.
    """
    draft = folder.with_name(f".{folder.name}.draft")
    with disk(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield draft
            write_json(draft / MANIFEST, {
                path.name: {"bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns, "sha256": checksum(path)}
                for path in sorted(draft.iterdir())})
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def damage(folder: Path) -> str:
    """What is wrong with a folder made by `written`, such as "FILE is missing"; "" if nothing is.

    Sizes are always compared. Checksums are compared once per process, for files up to SMALL bytes and for files whose time
    has changed.
    """
    try:
        manifest = parse(folder / MANIFEST)
        expected = {folder / name: (int(mark["bytes"]), int(mark["mtime_ns"]), str(mark["sha256"]))
                    for name, mark in manifest.items()}
    except FileNotFoundError:
        return f"{folder / MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError):
        return f"{folder / MANIFEST} is not readable"
    unlisted = sorted({path.name for path in folder.iterdir()} - {MANIFEST} - set(manifest))
    if unlisted or not expected:
        return f"{folder / MANIFEST} does not name {', '.join(unlisted) or 'any file'}"
    for path, (size, time, sha256) in expected.items():
        if not path.is_file():
            return f"{path} is missing"
        current = path.stat()
        if current.st_size != size:
            return f"{path} has {current.st_size:,} bytes instead of {size:,}"
        if not (size > SMALL and current.st_mtime_ns == time) and not is_unchanged(path, sha256):
            return f"{path} has another checksum than when it was written"
    return ""


def is_unchanged(path: Path, sha256: str) -> bool:
    """Whether a file has this checksum; a file is read once per process, unless its size or time changes."""
    version = (path, path.stat().st_size, path.stat().st_mtime_ns, sha256)
    if version not in _verified and checksum(path) == sha256:
        _verified.add(version)
    return version in _verified


def checksum(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        write(path, new.encode())
    return new != text
