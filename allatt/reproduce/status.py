"""What has been reproduced: a folder per scale, corpus and seeds, its status.json and lock, and the table of `make status`."""

import hashlib
import json
from pathlib import Path

from filelock import FileLock, Timeout

from allatt.data.corpora import CORPORA
from allatt.paper import scales
from allatt.system import paths
from allatt.system.text_tables import table


def state_folder(scale: str, corpus: str, seed: int, seeds: int = 1) -> Path:
    """The folder of the executed notebooks and their status.json."""
    name = corpus or "default"
    if name not in CORPORA and corpus:
        name = f"{Path(corpus).name}-{hashlib.sha256(corpus.encode()).hexdigest()[:8]}"
    return paths.home() / "reproduce" / (f"{scale}-{name}-seed{seed}" + (f"-{seeds}seeds" if seeds > 1 else ""))


def read_status(folder: Path) -> dict[str, dict]:
    """The entries of a folder's status.json, by notebook; without broken ones, and empty if the file is broken."""
    try:
        values = json.loads((folder / "status.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = values.items() if isinstance(values, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict) and isinstance(entry.get("state"), str)
            and all(isinstance(entry.get(key, 0), int | float | None) for key in ("seconds", "peak_mb"))}


def lock(folder: Path) -> FileLock:
    """The lock of the process that executes notebooks into a folder. The system releases it if the process is killed."""
    return FileLock(folder.parent / f"{folder.name}.lock")


def is_locked(folder: Path) -> bool:
    """Whether another process is executing notebooks into the folder."""
    try:
        with lock(folder).acquire(timeout=0):
            return False
    except Timeout:
        return True


def status_table(scale: str = "") -> str:
    """State, time, peak memory and headline of each executed notebook, for one scale or (scale "") all of them."""
    pattern = f"{scales.resolve(scale)}-*" if scale else "*"
    folders = sorted(path.parent for path in (paths.home() / "reproduce").glob(f"{pattern}/status.json"))
    if not folders:
        return "nothing has been reproduced yet; run `make reproduce`"
    return "\n".join(f"{folder.name}\n{_folder_table(folder)}" for folder in folders)


def _folder_table(folder: Path) -> str:
    rows = [("notebook", "state", "time", "memory", "headline")]
    for name, entry in sorted(read_status(folder).items()):
        state = "interrupted" if entry["state"] == "running" and not is_locked(folder) else entry["state"]
        seconds, peak = entry.get("seconds"), entry.get("peak_mb")
        rows.append((name, state, "" if seconds is None else duration(seconds), f"{peak} MB" if peak else "",
                     entry.get("headline", "")))
    return table(rows, "<<>><", indent="  ")


def duration(seconds: float) -> str:
    """Format seconds as 12.3 s, 4 min 5 s or 2 h 3 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if isinstance(seconds, float) else f"{seconds} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
