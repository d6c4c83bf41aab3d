"""Checkpoints of a run in training: the state that the next step depends on, as one safetensors file per process.

A file holds the tensors of the state (weights, gates, optimizer, memory, random generators); its metadata holds the other
values. `checkpoint.json` names the step whose files are complete. It is replaced last, so a run that is killed while it
writes continues from the checkpoint before.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from allatt.config import AllattError, check
from allatt.system.files import write, write_json

POINTER = "checkpoint.json"


class State(NamedTuple):
    """The state of a training run after a step."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    """Everything else, as JSON values; `step` is among them."""


def save_checkpoint(folder: Path, state: State, run: str, rank: int = 0, world: int = 1) -> None:
    """Write this process's file, and, once all of them have, make it the checkpoint to continue from."""
    step, about = state.values["step"], state.values | {"run": run, "world": world}
    tensors = {name: value.contiguous() for name, value in state.tensors.items()}
    write(_path(folder, step, rank), save(tensors, {"about": json.dumps(about)}))
    if world > 1:
        dist.barrier()
    if rank == 0:
        write_json(folder / POINTER, {"run": run, "step": step})
        _remove_files(folder, but=step)


def load_checkpoint(folder: Path, run: str, rank: int = 0, world: int = 1) -> State | None:
    """The state of the last complete checkpoint; None without one.

    AllattError if it is damaged, belongs to another run, or was written by another number of processes.
    """
    pointer = folder / POINTER
    if not pointer.exists():
        return None
    try:
        step = json.loads(pointer.read_text())["step"]
        path = _path(folder, step, rank)
        path = path if path.exists() else _path(folder, step, 0)  # more processes than wrote it: reported below
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise AllattError(f"the checkpoint in {folder} cannot be read ({error}); "
                          "remove the folder to start the run again") from None
    check(about["run"] == run, f"{path} is a checkpoint of run {about['run']}, not of {run}; remove it, or use its own config")
    check(about["world"] == world, f"{path} was written by {about['world']} processes, and now there are {world}; "
                                   "continue with the same number, or remove the folder to start the run again")
    return State(tensors, about)


def remove_checkpoint(folder: Path) -> None:
    """Remove a run's checkpoint, which a finished run does not need."""
    (folder / POINTER).unlink(missing_ok=True)
    _remove_files(folder)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> State:
    """An optimizer's state as named tensors, and its other values."""
    state, tensors, scalars = optimizer.state_dict(), {}, {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            target = tensors if isinstance(value, Tensor) else scalars
            target[f"optimizer.{index}.{name}"] = value
    return State(tensors, {"groups": state["param_groups"], "scalars": scalars})


def unpack_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Put back what `pack_optimizer` returned; other tensors and values of `state` are ignored."""
    entries: dict[int, dict] = {}
    for name, value in (state.tensors | state.values["scalars"]).items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            entries.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": state.values["groups"]})


def _path(folder: Path, step: int, rank: int) -> Path:
    return folder / f"checkpoint-{step}-{rank}.safetensors"


def _remove_files(folder: Path, but: int | None = None) -> None:
    """Remove the files of all steps but one, and what a killed process had begun to write."""
    for path in (*folder.glob("checkpoint-*.safetensors"), *folder.glob(".*.tmp")):
        if but is None or not path.name.startswith(f"checkpoint-{but}-"):
            path.unlink()
