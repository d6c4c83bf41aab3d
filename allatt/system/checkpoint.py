"""Checkpoints of a run in training: the state that the next step depends on, as one safetensors file per process.

A file holds the tensors of the state (weights, gates, optimizer, memory, random generators); its metadata holds the other
values, and a checksum of it all. The last two generations are kept. A file appears whole or not at all, so a run that is
killed while it writes continues from the generation before; so does one whose last file was damaged on the disk.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from allatt.config import check
from allatt.system.files import write
from allatt.system.messages import note

GENERATIONS = 2


class State(NamedTuple):
    """The state of a training run after a step."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    """Everything else, as JSON values; `step` is among them."""


def save_checkpoint(folder: Path, state: State, run: str, rank: int = 0, world: int = 1) -> None:
    """Write this process's file; once all processes have written theirs, remove files older than the last GENERATIONS."""
    step, about = state.values["step"], json.dumps(state.values | {"run": run, "world": world})
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    write(_path(folder, step, rank), save(tensors, {"about": about, "sha256": _digest(tensors, about)}))
    if world > 1:
        dist.barrier()
    if rank == 0:
        _remove_files(folder, keep=_steps(folder)[:GENERATIONS])


def load_checkpoint(folder: Path, run: str, rank: int = 0, world: int = 1) -> State | None:
    """The state of the last checkpoint that is whole for all processes; None without any. Whole means that each process
    has written its part: if one is killed, only some parts may be there.

    A line on stderr says so if a later one is damaged. AllattError if all are, or if the last one belongs to another run or was
    written by a different number of processes.
    """
    steps = _shared([step for step in _steps(folder) if _is_whole(folder, step)], world)
    problems = []
    for step in steps:
        state, problem = _read(folder, step, rank)
        if state is not None:
            about = state.values
            check(about["run"] == run, f"{_path(folder, step, rank)} is a checkpoint of run {about['run']}, not of {run}; "
                                       "remove it, or use its own config")
            check(about["world"] == world, f"the checkpoint in {folder} was written by {about['world']} processes, and now "
                                           f"there are {world}; continue with as many, or remove the folder to start again")
        if all(_gathered(not problem, world)):
            if problems and rank == 0:
                note(f"{problems[0]}; run {run} continues from step {step}")
            return state
        problems.append(problem or f"the checkpoint of step {step} in {folder} is damaged in another process's file")
    check(not steps, f"{'; '.join(problems)}; remove {folder} to start the run again")
    return None


def has_checkpoint(folder: Path) -> bool:
    """Whether a run was interrupted here and can be continued."""
    return bool(_steps(folder))


def steps_done(folder: Path) -> int:
    """The step of a run's last checkpoint; 0 without any."""
    return max(_steps(folder), default=0)


def remove_checkpoint(folder: Path) -> None:
    """Remove a run's checkpoints, which a finished run does not need."""
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


def _read(folder: Path, step: int, rank: int) -> tuple[State | None, str]:
    """The state in this process's file of a step, and "" or what is wrong with it."""
    path = _path(folder, step, rank)
    path = path if path.exists() else _path(folder, step, 0)  # more processes than wrote it: `load_checkpoint` says so
    try:
        with safe_open(path, "pt") as file:
            about, sha256 = file.metadata()["about"], file.metadata()["sha256"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if _digest(tensors, about) == sha256:
            return State(tensors, json.loads(about)), ""
    except Exception as error:  # safetensors raises its own, and others for files that only resemble one
        return None, f"the checkpoint {path} cannot be read ({error})"
    return None, f"the checkpoint {path} was changed after it was written"


def _digest(tensors: dict[str, Tensor], about: str) -> str:
    """SHA-256 of names, types, shapes, and all bytes."""
    digest = hashlib.sha256(about.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _shared(value: Any, world: int) -> Any:
    """Process 0's value, for all."""
    values = [value]
    if world > 1 and dist.is_initialized():
        dist.broadcast_object_list(values, 0)
    return values[0]


def _gathered(value: Any, world: int) -> list:
    """The values of all processes."""
    values = [value] * world
    if world > 1 and dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def _path(folder: Path, step: int, rank: int) -> Path:
    return folder / f"checkpoint-{step}-{rank}.safetensors"


def _steps(folder: Path) -> list[int]:
    """The steps that have files, latest first."""
    names = (re.fullmatch(r"checkpoint-(\d+)-\d+\.safetensors", path.name) for path in folder.glob("checkpoint-*"))
    return sorted({int(name[1]) for name in names if name}, reverse=True)


def _is_whole(folder: Path, step: int) -> bool:
    """Whether all processes that were to write a checkpoint have done so; also True if it cannot be read: `_read` says why."""
    paths = sorted(folder.glob(f"checkpoint-{step}-*.safetensors"))
    try:
        with safe_open(paths[0], "pt") as file:
            return len(paths) >= json.loads(file.metadata()["about"])["world"]
    except Exception:  # as in `_read`
        return True


def _remove_files(folder: Path, keep: list[int] | None = None) -> None:
    """Remove the files of all steps not in `keep`, and what a killed process had begun to write."""
    for path in (*folder.glob("checkpoint-*.safetensors"), *folder.glob(".*.tmp")):
        if not any(path.name.startswith(f"checkpoint-{step}-") for step in keep or ()):
            path.unlink(missing_ok=True)  # several processes may tidy up at once
