"""Where a number comes from: versions, hardware and commit."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

import allatt
from allatt.system.paths import PACKAGE


def provenance(device: str = "cpu") -> dict:
    """Versions, hardware, threads, commit and time, as JSON values."""
    git = {}
    try:
        # Of the package's own folder: an installed copy must not name the repository in which somebody happens to work.
        for key, command in {"top": ["rev-parse", "--show-toplevel"], "commit": ["rev-parse", "HEAD"],
                             "changes": ["status", "--porcelain", "--", "allatt"]}.items():
            git[key] = subprocess.run(["git", "-C", str(PACKAGE.parent), *command], capture_output=True, text=True, check=True,
                                      timeout=10).stdout.strip()
        own = Path(git["top"]).samefile(PACKAGE.parent)
    except (OSError, subprocess.SubprocessError):
        own = False
    if not own:
        # A container image, say, has no .git: the person who builds it can name the commit.
        git = {"commit": os.environ.get("ALLATT_COMMIT") or "not a git checkout", "changes": ""}
    return {
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                     "allatt": allatt.__version__},
        "hardware": torch.cuda.get_device_name() if device == "cuda" else _cpu_name(),
        "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": device, "platform": platform.system(),
        "tunables": os.environ.get("GLIBC_TUNABLES", ""),  # large pages for malloc: they change times, not results
        "commit": git["commit"], "uncommitted_changes": bool(git["changes"]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    } | (_gpu() if device == "cuda" else {})


def _gpu() -> dict:
    """What a run on a GPU depends on besides the GPU's name."""
    try:
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True,
                                text=True, check=True, timeout=10).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return {"gpus": torch.cuda.device_count(), "driver": driver, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(), "gpu_bytes": torch.cuda.get_device_properties(0).total_memory}


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:(.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return name[1].strip() if name else platform.processor() or platform.machine()
