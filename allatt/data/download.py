"""Download corpora: WikiText from the Hugging Face hub, text8 as a zip file.

Each function writes the three files of a corpus into a folder, in constant memory, or raises AllattError with one clear line.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from allatt.config import AllattError, check
from allatt.data.text8_format import split
from allatt.data.wikitext_format import file_name
from allatt.system.files import DISK_ERRORS
from allatt.system.messages import bars, brief

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LARGEST, SMALL = 10, 10**6
"""Most bytes of a download: LARGEST per word of the text, plus SMALL. WikiText's files have about 3 per word."""


class Unreachable(AllattError):
    """A corpus is not on this machine and cannot be downloaded: no network, no such file, or a missing package."""


def wikitext(title: str, address: str, folder: Path, words: dict[str, int]) -> None:
    """WikiText from the hub; the environment variable HF_ENDPOINT chooses another server.

    address: "owner/repository:folder"; the folder holds parquet files with a column `text`.
    words: number of words and line ends that each split must have.
    Downloads are kept beside `folder` until everything is written, so an interrupted download continues where it stopped.
    """
    repository, _, part = address.partition(":")
    cache = folder.parent / f".download-{folder_name(part)}"
    advice = (f"check the network and try again, or put wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens "
              f"into a folder {folder_name(part)}/ and set ALLATT_DATA to the folder above it")
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise Unreachable(f"{title} needs the package {error.name}: pip install huggingface_hub pyarrow") from error
    hub = hub_client(title)
    try:
        sizes = {path: size for path, size in file_sizes(hub, repository, "dataset").items()
                 if path.startswith(part + "/") and path.endswith(".parquet")}
        most = LARGEST * sum(words.values()) + SMALL
        check(sum(sizes.values()) <= most, f"{repository} has {sum(sizes.values()):,} bytes of {part}, where {title} can have "
                                           f"{most:,} at most; {advice}")
        shards = [Path(hub.hf_hub_download(repository, name, repo_type="dataset", local_dir=cache)) for name in sorted(sizes)]
    except AllattError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        raise Unreachable(f"cannot download {title} ({brief(error)}); {advice}") from error
    for split_name, prefix in {"train": "train", "valid": "validation", "test": "test"}.items():
        paths = [path for path in shards if path.name.startswith(prefix + "-")]
        check(bool(paths), f"cannot download {title}: {repository} has no {part}/{prefix}-*.parquet; {advice}")
        count = 0
        with open(folder / file_name(split_name), "w", encoding="utf-8", newline="\n") as out:
            for path in paths:
                try:
                    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["text"]):
                        lines = batch.column(0).to_pylist()
                        # The hub's copy has "" where WikiText has a line with one space.
                        out.writelines((line or " ").rstrip("\n") + "\n" for line in lines)
                        count += sum(len(line.split()) + 1 for line in lines)
                        if count > words[split_name]:  # the wrong file: no more of it is unpacked
                            break
                except (pyarrow.ArrowException, OSError, KeyError) as error:
                    if getattr(error, "errno", None) in DISK_ERRORS:
                        raise
                    path.unlink()
                    raise AllattError(f"{path.name} of {title} is damaged ({brief(error)}) and was removed; run the "
                                      f"same command again to download it anew") from error
        if count != words[split_name]:
            shutil.rmtree(cache)
            raise AllattError(f"the {split_name} part of {title} came with {count:,} words instead of "
                              f"{words[split_name]:,}; the download was removed; {advice}")
    shutil.rmtree(cache)


def hub_client(what: str) -> HfApi:
    """The hub's client, for the server that HF_ENDPOINT names. AllattError if its package, which `what` needs, is missing."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise Unreachable(f"{what} needs the package {error.name}: pip install huggingface_hub pyarrow") from error
    # It logs two lines for each attempt to reach the network; our error is one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


def file_sizes(hub: HfApi, repository: str, kind: str = "model") -> dict[str, int]:
    """Bytes of each file of a repository of this kind ("model" or "dataset"), by path.

    The first request is made once: without a network, the client would repeat the second one for 23 seconds.
    """
    hub.repo_info(repository, repo_type=kind, timeout=60)
    return {file.path: file.size for file in hub.list_repo_tree(repository, recursive=True, repo_type=kind)
            if hasattr(file, "size")}


def folder_name(part: str) -> str:
    """Name of the corpus, and of its folder in ALLATT_DATA, from the hub's name: wikitext-103 from wikitext-103-v1."""
    return re.sub(r"-v\d+$", "", part)


def text8(url: str, folder: Path, characters: int) -> None:
    """text8 from the URL of its zip file, split in three. characters: exact length of the whole text."""
    archive = folder / "text8.zip"
    advice = "check the network and try again, or put text8.zip into a folder text8/ and set ALLATT_DATA to the folder above it"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(archive, "wb") as out:
            size = int(answer.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(answer, "read", size or None, desc="text8.zip", leave=False, unit_divisor=1000,
                               file=bars()) as body:
                while block := body.read(1 << 20):
                    check(out.tell() + len(block) <= characters,
                          f"{url} sends more than the {characters:,} bytes that text8 has unpacked; {advice}")
                    out.write(block)
        received = archive.stat().st_size
        check(size in (0, received), f"cannot download {url}: only {received:,} of {size:,} bytes came; {advice}")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Unreachable(f"cannot download {url} ({brief(error)}); {advice}") from error
    split(archive, folder, characters)
    archive.unlink()
