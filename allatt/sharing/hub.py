"""Saved models from the Hugging Face hub: hf://owner/name is a repository with the files of a saved model.

To publish one: `hf upload owner/name FOLDER`, with the hub's own tool. Only the files of a saved model are downloaded,
at most LARGEST bytes in all, and nothing in them is executed. HF_ENDPOINT names another server.
"""

import re
from pathlib import Path

from allatt.config import AllattError, check
from allatt.data.download import Unreachable, file_sizes, hub_client
from allatt.data.tokenizers import VOCABULARIES
from allatt.system.files import DISK_ERRORS
from allatt.system.messages import brief, note
from allatt.system.paths import home

SCHEME = "hf://"
NEEDED = ("about.json", "model.safetensors")
FILES = (*NEEDED, "README.md", "config.json", *(kind.FILE for kind in VOCABULARIES.values()))
"""What a saved model consists of."""
LARGEST = 4_000_000_000
"""Bytes of all files together (our choice: sixteen times the paper's model in fp32)."""


def is_address(name: str) -> bool:
    return name.startswith(SCHEME)


def fetch(address: str) -> Path:
    """The folder with the files of a repository, downloaded again if they have changed there; without a network, the files
    that were downloaded before. AllattError if there are none, or if they are not those of a saved model."""
    repository = address.removeprefix(SCHEME)
    check(re.fullmatch(r"[\w.-]+/[\w.-]+", repository) is not None and ".." not in repository,
          f"{address} names no repository; write hf://owner/name")
    folder = home() / "hub" / repository.replace("/", "--")
    hub = hub_client(address)
    try:
        sizes = {path: size for path, size in file_sizes(hub, repository).items() if path in FILES}
        missing = [name for name in NEEDED if name not in sizes]
        check(not missing, f"{address} has no {' and no '.join(missing)}; it is not a model that allatt saved")
        check(sum(sizes.values()) <= LARGEST, f"{address} has {sum(sizes.values()):,} bytes; at most {LARGEST:,} are taken")
        for name in sizes:
            hub.hf_hub_download(repository, name, local_dir=folder)
    except AllattError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        reason = brief(error)
        if not all((folder / name).is_file() for name in NEEDED):
            raise Unreachable(f"cannot download {address} ({reason}); check the name and the network, and try again") from error
        note(f"{address} cannot be reached ({reason}); the copy of it in {folder} is used")
    return folder
