"""text8's format: one long line of the letters a to z and spaces. Spell any text that way, and split text8 into three files."""

from __future__ import annotations

import re
import string
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from allatt.config import AllattError, check
from allatt.data.text_files import BLOCK, blocks
from allatt.data.wikitext_format import file_name

# Percent of all characters, as is usual for text8.
SHARES = {"train": 90, "valid": 5, "test": 5}

_DIGITS = [(str(digit).encode(), f" {word} ".encode()) for digit, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))]
_LETTERS = bytes(code if chr(code).islower() else ord(" ") for code in range(128)).ljust(256)


def spell(text: str) -> str:
    """`text` as text8 has it: words of a-z, each after a space; lower case, digits spelled out one by one.

    Every other character separates words, also an accented letter. <unk> and similar marks of WikiText are dropped;
    " @-@ " and " @,@ " become a space.
    """
    raw = re.sub(r"<[a-z]+>", " ", text).encode("ascii", "replace").lower()
    for digit, word in _DIGITS:
        raw = raw.replace(digit, word)
    return "".join(f" {word}" for word in raw.translate(_LETTERS).decode("ascii").split())


def spell_files(sources: Sequence[Path], target: Path) -> None:
    """Concatenate texts in WikiText's format into one file in text8's format, in constant memory."""
    with open(target, "w", encoding="ascii", newline="\n") as out:
        for source in sources:
            out.writelines(map(spell, blocks(source)))


def split(source: Path, folder: Path, characters: int) -> None:
    """Split text8, plain or zipped, into its first 90 %, next 5 % and last 5 % of characters, as is usual.

    characters: exact length of the whole text. AllattError if it differs, or if the file is damaged or not text8.
    """
    advice = "remove it and download it again"
    if source.suffix != ".zip":
        with open(source, "rb") as file:
            _split(file, source.stat().st_size, source, folder, characters)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            check("text8" in archive.namelist(), f"{source} holds no file text8; {advice}")
            with archive.open("text8") as file:
                _split(file, archive.getinfo("text8").file_size, source, folder, characters)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise AllattError(f"{source} is truncated or damaged ({str(error) or type(error).__name__}); {advice}") from error


def _split(file: BinaryIO, size: int, source: Path, folder: Path, characters: int) -> None:
    """`split` of an open file of `size` bytes; `source` is its name in messages."""
    check(size == characters, f"{source} holds {size:,} characters instead of {characters:,}; download it again")
    allowed = (string.ascii_lowercase + " ").encode()
    start = 0
    for name, share in SHARES.items():
        end = size if name == "test" else start + size * share // 100
        with open(folder / file_name(name), "wb") as out:
            while start < end and (data := file.read(min(BLOCK, end - start))):
                check(not data.translate(None, allowed), f"{source} is not text8: it has characters other than a-z and space")
                out.write(data)
                start += len(data)
        check(start == end, f"{source} ends after {start:,} characters; download it again")
    # Reading past the end makes zipfile compare the archive's checksum.
    file.read(1)
