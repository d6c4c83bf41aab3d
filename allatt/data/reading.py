"""UTF-8 text files, read in blocks and in lines, in constant memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from allatt.config import AllattError, check

BLOCK = 1 << 20


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
