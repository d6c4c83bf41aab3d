"""The log of a run in training as TensorBoard reads it, beside its metrics.jsonl: `--tensorboard FOLDER`, then
`tensorboard --logdir FOLDER`."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from allatt.config import check


def events(folder: str, name: str, lines: Sequence[str]) -> Callable[[dict], None]:
    """A function that adds a line of metrics to the run `name` of a folder; one that does nothing if folder is "".

    lines: what a continued run has logged before. They are written anew, so that no step is there twice.
    """
    if not folder:
        return lambda line: None
    from torch.utils.tensorboard import SummaryWriter  # needs its own package (`verify`)

    place = Path(folder) / name.replace("/", "-")
    shutil.rmtree(place, ignore_errors=True)
    writer = SummaryWriter(place)

    def add(line: dict) -> None:
        values = {key: value for key, value in line.items() if isinstance(value, int | float) and key not in ("step", "tokens")}
        values |= {f"kept heads/layer {layer}": gates.count("1") for layer, gates in enumerate(line.get("kept", ()), start=1)}
        for key, value in values.items():
            writer.add_scalar(key, value, line["step"])
        writer.flush()

    for line in lines:
        add(json.loads(line))
    return add


def verify(folder: str) -> None:
    """AllattError if the package is missing or `folder` cannot be a folder; checked before anything is trained."""
    if folder:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            check(False, "--tensorboard needs the package tensorboard: pip install tensorboard")
        there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.exists())
        check(there.is_dir(), f"--tensorboard {folder}: {there} is a file; name a folder")
