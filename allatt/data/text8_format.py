"""text8's format: one long line of the letters a to z and spaces. Spell any text that way, and split text8 into three files."""

import re
import string
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

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

    Every other character separates words, even an accented letter. <unk> and similar marks of WikiText are dropped;
    " @-@ " and " @,@ " become a space.
    """
    raw = re.sub(r"<[a-z]+>", " ", text).encode("ascii", "replace").lower()
    for digit, word in _DIGITS:
        raw = raw.replace(digit, word)
    return "".join(f" {word}" for word in raw.translate(_LETTERS).decode("ascii").split())


def convert(sources: Sequence[Path], folder: Path) -> None:
    """Concatenate texts in WikiText's format, spell them as text8 does, and split them by characters; in constant memory."""
    whole = folder / "text8"
    with open(whole, "w", encoding="ascii", newline="\n") as out:
        for source in sources:
            out.writelines(map(spell, blocks(source)))
    split(whole, folder, whole.stat().st_size)
    whole.unlink()


def split(source: Path, folder: Path, characters: int) -> None:
    """Split text8, plain or zipped, into its first 90 %, next 5 % and last 5 % of characters, as is usual.

    characters: exact length of the whole text. AllattError if it differs, or if the file is damaged or not text8.
    """
    allowed = (string.ascii_lowercase + " ").encode()
    advice = "remove it and download it again"
    try:
        with ExitStack() as stack:
            if source.suffix.lower() == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(source))
                check("text8" in archive.namelist(), f"{source} holds no file text8; {advice}")
                file = stack.enter_context(archive.open("text8"))
            else:
                file = stack.enter_context(open(source, "rb"))
            size = 0
            for name, share in SHARES.items():
                end = characters if name == "test" else size + characters * share // 100
                with open(folder / file_name(name), "wb") as out:
                    while data := file.read(min(BLOCK, end - size)):
                        check(not data.translate(None, allowed),
                              f"{source} is not text8: it has characters other than a-z and space")
                        out.write(data)
                        size += len(data)
            # Reading to the end also makes zipfile compare the archive's checksum.
            size += sum(map(len, iter(lambda: file.read(BLOCK), b"")))
            check(size == characters, f"{source} holds {size:,} characters instead of {characters:,}; download it again")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted, or packed differently
        reason = str(error) or type(error).__name__
        raise AllattError(f"{source} is truncated, damaged or encrypted ({reason}); {advice}") from error
