"""Checkpoints of a run in training: everything that the next step depends on, as one safetensors file a process.

A file holds weights, gates, optimizer state, the memory and the states of the random generators; its metadata holds what
is not a tensor. `checkpoint.json` names the step whose files are complete: it is replaced last, so a run that is killed
while it writes continues from the checkpoint before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save

from allatt.config import AllattError, check
from allatt.memory import Memory
from allatt.system.files import write, write_json

if TYPE_CHECKING:
    from allatt.train import Trainer

POINTER = "checkpoint.json"


def save_checkpoint(trainer: Trainer) -> None:
    """Write this process's file, and, once all have, make it the one to continue from."""
    rank = _rank()
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    if trainer.gates is not None:
        tensors |= {f"gates.{name}": value for name, value in trainer.gates.state_dict().items()}
    tensors |= {"memory": trainer.memory.hidden_LBMD, "rng.torch": torch.get_rng_state(),
                "rng.noise": trainer.noise.get_state()}
    if trainer.memory.hidden_LBMD.is_cuda:
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    optimizer = trainer.optimizer.state_dict()
    scalars = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                scalars[f"{index}.{name}"] = value
    about = {"run": trainer.config.id, "world": _world(), "step": trainer.step, "seconds": trainer.seconds,
             "filled": trainer.memory.filled, "groups": optimizer["param_groups"], "scalars": scalars}
    content = save({name: value.contiguous() for name, value in tensors.items()}, {"about": json.dumps(about)})
    write(_path(trainer.folder, trainer.step, rank), content)
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
    if rank == 0:
        write_json(trainer.folder / POINTER, {"run": trainer.config.id, "step": trainer.step})
        _remove_files(trainer.folder, but=trainer.step)


def load_checkpoint(trainer: Trainer) -> bool:
    """Put the trainer where its last complete checkpoint was; False where there is none."""
    pointer = trainer.folder / POINTER
    if not pointer.exists():
        return False
    try:
        step = json.loads(pointer.read_text())["step"]
        path = _path(trainer.folder, step, _rank())
        path = path if path.exists() else _path(trainer.folder, step, 0)  # more processes than wrote it: told below
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise AllattError(f"the checkpoint in {trainer.folder} cannot be read ({error}); "
                          "remove the folder to start the run again") from None
    check(about["run"] == trainer.config.id,
          f"{path} is a checkpoint of run {about['run']}, not of {trainer.config.id}; remove it, or use its own config")
    check(about["world"] == _world(), f"{path} was written by {about['world']} processes, and now there are {_world()}; "
                                      "continue with as many, or remove the folder to start the run again")
    _part(trainer.model, tensors, "model.")
    if trainer.gates is not None:
        _part(trainer.gates, tensors, "gates.")
    state: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    for name, value in about["scalars"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    trainer.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
    trainer.memory = Memory(tensors["memory"].to(trainer.memory.hidden_LBMD), about["filled"])
    torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    trainer.noise.set_state(tensors["rng.noise"])
    trainer.step, trainer.seconds = about["step"], about["seconds"]
    return True


def remove_checkpoint(folder: Path) -> None:
    """Remove a run's checkpoint, which a finished run does not need."""
    (folder / POINTER).unlink(missing_ok=True)
    _remove_files(folder)


def _path(folder: Path, step: int, rank: int) -> Path:
    return folder / f"checkpoint-{step}-{rank}.safetensors"


def _remove_files(folder: Path, but: int | None = None) -> None:
    """Remove all files but those of one step, and what a killed process had begun to write."""
    for path in (*folder.glob("checkpoint-*.safetensors"), *folder.glob(".checkpoint-*.tmp")):
        if but is None or not path.name.startswith(f"checkpoint-{but}-"):
            path.unlink()


def _part(module: torch.nn.Module, tensors: dict, prefix: str) -> None:
    module.load_state_dict({name[len(prefix):]: v for name, v in tensors.items() if name.startswith(prefix)})


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
