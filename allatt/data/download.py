"""Corpora from the network: WikiText from the Hugging Face hub, text8 as a zip. Each writes the three files of a
corpus into a folder, in constant memory, or raises one clear line.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import string
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from allatt.config import AllattError, check
from allatt.data.reading import BLOCK
from allatt.data.wikitext import name as file_name
from allatt.system.files import DISK_ERRORS

TEXT8_SHARES = {"train": 90, "valid": 5, "test": 5}


class Unreachable(AllattError):
    """A corpus is not here, and cannot be downloaded: no network, no such file there, or a package is missing."""


def wikitext(title: str, address: str, folder: Path, words: dict[str, int], kept: Path) -> None:
    """WikiText from the hub: `address` is "owner/repository:folder of parquet files" with a column `text`.

    Downloads lie in `kept` until all is well, so that an interrupted one goes on where it stopped. HF_ENDPOINT is
    heeded. words: how many words and line ends each split must have.
    """
    repository, _, part = address.partition(":")
    advice = (f"check the network and try again, or put wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens "
              f"into a folder {folder_name(part)}/ and name the folder above it in ALLATT_DATA")
    try:
        import pyarrow.parquet
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise Unreachable(f"{title} needs the package {error.name}: pip install huggingface_hub pyarrow") from error
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        names = sorted(HfApi(endpoint=endpoint).list_repo_files(repository, repo_type="dataset"))
        names = [name for name in names if name.startswith(part + "/") and name.endswith(".parquet")]
        shards = {name: Path(hf_hub_download(repository, name, repo_type="dataset", local_dir=kept, endpoint=endpoint))
                  for name in names}
    except Exception as error:  # the hub's client raises errors of several libraries
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        raise Unreachable(f"cannot download {title} ({_brief(error)}); {advice}") from error
    for split, label in {"train": "train", "valid": "validation", "test": "test"}.items():
        found = [path for name, path in shards.items() if Path(name).name.startswith(label + "-")]
        check(bool(found), f"cannot download {title}: {repository} has no {part}/{label}-*.parquet; {advice}")
        count = 0
        with open(folder / file_name(split), "w", encoding="utf-8", newline="\n") as out:
            for path in found:
                try:
                    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["text"]):
                        rows = batch.column(0).to_pylist()
                        # The hub's copy has "" where WikiText has a line with one space.
                        out.writelines((row or " ").rstrip("\n") + "\n" for row in rows)
                        count += sum(len(row.split()) + 1 for row in rows)
                except (pyarrow.ArrowException, OSError, KeyError) as error:
                    if getattr(error, "errno", None) in DISK_ERRORS:
                        raise
                    path.unlink()
                    raise AllattError(f"{path.name} of {title} is damaged ({_brief(error)}); it was removed: run "
                                      f"the same again to download it anew") from error
        expected = words.get(split, count)
        if count != expected:
            shutil.rmtree(kept)
            raise AllattError(f"the {split} part of {title} came with {count:,} words instead of {expected:,}; "
                              f"the download was removed; {advice}")
    shutil.rmtree(kept)


def folder_name(part: str) -> str:
    """wikitext-103 of wikitext-103-v1: the name of the corpus, as a folder in ALLATT_DATA."""
    return re.sub(r"-v\d+$", "", part)


def text8(url: str, folder: Path, characters: int) -> None:
    """text8 from a URL of its zip, split into train, valid and test. characters: exact length of the whole."""
    archive = folder / "text8.zip"
    advice = "check the network and try again, or put text8.zip into a folder text8/ and name the folder above it in " \
             "ALLATT_DATA"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(archive, "wb") as out:
            size = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=size or None, unit="B", unit_scale=True, desc="text8.zip", leave=False) as bar:
                while data := answer.read(BLOCK):
                    out.write(data)
                    bar.update(len(data))
        received = archive.stat().st_size
        check(size in (0, received), f"cannot download {url}: only {received:,} of {size:,} bytes came; {advice}")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Unreachable(f"cannot download {url} ({_brief(error)}); {advice}") from error
    split_text8(archive, folder, characters)
    archive.unlink()


def split_text8(source: Path, folder: Path, characters: int) -> None:
    """Cut text8, plain or zipped, into its first 90 %, the next 5 % and the last 5 % of characters, as is usual."""
    advice = "remove it and download it again"
    if source.suffix != ".zip":
        with open(source, "rb") as file:
            _cut(file, source.stat().st_size, source, folder, characters)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            check("text8" in archive.namelist(), f"{source} holds no file text8; {advice}")
            with archive.open("text8") as file:
                _cut(file, archive.getinfo("text8").file_size, source, folder, characters)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise AllattError(f"{source} is truncated or damaged ({_brief(error)}); {advice}") from error


def _cut(file: BinaryIO, size: int, source: Path, folder: Path, characters: int) -> None:
    check(size == characters, f"{source} holds {size:,} characters instead of {characters:,}; download it again")
    letters = (string.ascii_lowercase + " ").encode()
    start = 0
    for split, share in TEXT8_SHARES.items():
        end = size if split == "test" else start + size * share // 100
        with open(folder / file_name(split), "wb") as out:
            while start < end and (data := file.read(min(BLOCK, end - start))):
                check(not data.translate(None, letters), f"{source} is not text8: it has other characters than a-z "
                                                         f"and space")
                out.write(data)
                start += len(data)
        check(start == end, f"{source} ends after {start:,} characters; download it again")
    # Reading past the end makes zipfile compare the archive's checksum.
    file.read(1)


def _brief(error: BaseException) -> str:
    """The first line of an error, or its kind."""
    reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
    return (str(reason).strip().splitlines() or [type(error).__name__])[0][:200]
