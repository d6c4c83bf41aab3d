"""Read UTF-8 text files in blocks or lines, in constant memory."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from allatt.config import AllattError, check
from allatt.system.messages import bars

BLOCK = 1 << 20
# Files of fewer bytes are read in about a second and get no progress bar.
LARGE = 20_000_000
# What separates words: all whitespace characters, not only the blank.
_SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
# The end of a line. A CR that ends what was read so far may be the first half of a CR LF.
_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


def blocks(path: Path, size: int = BLOCK) -> Iterator[str]:
    """The text of a UTF-8 file in blocks of about `size` bytes; joined, they are the whole text.

    A block ends at the end of a line; in a line longer than a block, after a space; in a word longer than that, anywhere.
    A byte-order mark at the start is left out. Bytes that are not UTF-8 text raise AllattError.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, offset = "", 0
    try:
        file = open(path, "rb")
    except OSError as error:
        raise AllattError(f"cannot read {path}: {error.strerror}") from error
    with file:
        while raw := file.read(size):
            check(b"\0" not in raw, f"{path} is not text: it has a NUL byte at {offset + raw.find(0)}")
            try:
                rest += decoder.decode(raw)
            except UnicodeDecodeError as error:
                raise AllattError(f"{path} is not UTF-8 text near byte {offset + error.start}; convert it to "
                                  f"UTF-8 first") from error
            if not offset:
                rest = rest.removeprefix("\ufeff")
            offset += len(raw)
            end = rest.rfind("\n") + 1
            if not end and len(rest) >= size:
                end = max(map(rest.rfind, _SPACES)) + 1 or len(rest)
            if end:
                yield rest[:end]
            rest = rest[end:]
    check(not decoder.getstate()[0], f"{path} ends in the middle of a character; it seems to be truncated")
    if rest:
        yield rest


def read_with_progress(path: Path, label: str, size: int = BLOCK) -> Iterator[str]:
    """`blocks` with a progress bar on stderr, which counts bytes; hidden for files of fewer than LARGE bytes."""
    total = path.stat().st_size
    with tqdm(total=total, unit="B", unit_scale=True, desc=label, leave=False, mininterval=0.5, disable=total < LARGE,
              file=bars()) as bar:
        for block in blocks(path, size):
            yield block
            bar.update(len(block.encode()))


def lines(path: Path, size: int = BLOCK) -> Iterator[str]:
    """The lines of a UTF-8 file, without their line ends: LF, CR LF, or CR alone, as on old systems.

    A line longer than a block of `size` bytes comes in several pieces.
    """
    rest = ""
    for block in blocks(path, size):
        *whole, rest = _LINE_END.split(rest + block)
        yield from whole
        if len(rest) >= size and not rest.endswith("\r"):
            yield rest
            rest = ""
    if rest:
        yield rest.removesuffix("\r")
