"""The built-in text, which is part of this package. README.md beside this file: its license, source, and how it was made."""

import lzma
import shutil
import tarfile
from pathlib import Path

from allatt.config import AllattError, check
from allatt.data.wikitext_format import SPLITS, file_name
from allatt.system.paths import PACKAGE

ARCHIVE = PACKAGE / "data" / "excerpt" / "wikipedia-excerpt.tar.xz"


def unpack(folder: Path, archive: Path = ARCHIVE) -> None:
    """Write the three texts into `folder`; other members of the archive are ignored. AllattError if it is damaged."""
    advice = "install allatt again, or restore this file from the repository"
    try:
        with tarfile.open(archive, "r:xz") as members:
            for split in SPLITS:
                # Only the content is read: names, links and modes of the archive never decide what is written.
                source = members.extractfile(file_name(split))
                check(source is not None, f"{archive} has no file {file_name(split)}; {advice}")
                with source, open(folder / file_name(split), "wb") as target:
                    shutil.copyfileobj(source, target)
    except FileNotFoundError as error:
        raise AllattError(f"{archive}, which holds the built-in text, is missing; {advice}") from error
    except (tarfile.TarError, lzma.LZMAError, EOFError, KeyError) as error:
        raise AllattError(f"{archive} is truncated or damaged ({error}); {advice}") from error
