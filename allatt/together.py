"""Many runs at once: on a CPU, small models use one core each better than all of them use the cores together.

Two runs of the laptop scale side by side, a thread each, take 1.4 times less time than one after the other with two. Every
run is a process of its own, `python -m allatt.together` (`allatt.child`): however this process ends, none is left behind.
Runs stay what they are: named by their config, resumed where they stopped, read where they are done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

import allatt
from allatt import child
from allatt.config import AllattError, RunConfig, check, from_dict, to_dict
from allatt.corpus import home
from allatt.cost import count
from allatt.cutting import processes
from allatt.runs import Run, get_or_run
from allatt.tokens import load
from allatt.train import Machine, rank_and_world

SMALL = 1e11
"""Multiply-adds of a run that takes less time than a process takes to start (about two seconds)."""


def get_or_run_all(configs: Iterable[RunConfig], machine: Machine | None = None) -> list[Run]:
    """The runs of these configs, in their order, as `get_or_run` gives them one by one; the missing ones side by side.

    One after the other instead where that is as good: on a GPU, under torchrun, on one core, and for small runs.
    AllattError of the first run that fails; the others stop then, and continue another time.
    """
    configs, machine = list(configs), machine or Machine()
    missing = _missing(configs)
    worth = [config for config in missing if work(config) > SMALL]
    if len(worth) > 1 and processes() > 1 and machine.resolve() == "cpu" and rank_and_world()[1] == 1:
        load(worth[0].data)  # made once, before several processes ask for it
        _side_by_side(worth, machine, min(processes(), len(worth)))
    return [get_or_run(config, machine) for config in configs]


def work(config: RunConfig) -> float:
    """About how many multiply-adds training the body takes; the backward pass counts twice."""
    body = count(replace(config.model, cutoffs=()), 1)["multiply_adds"]["body"]
    return 3.0 * body * config.train.steps * config.train.rows * config.model.segment


def _missing(configs: list[RunConfig]) -> list[RunConfig]:
    """Those that are not finished, each once, and after the run that it starts from."""
    found: dict[str, RunConfig] = {}
    for config in configs:
        if not _finished(config):
            for one in [*(_missing([config.start]) if config.start else []), config]:
                found.setdefault(one.id, one)
    return list(found.values())


def _finished(config: RunConfig) -> bool:
    return (home() / "runs" / config.id / "result.json").exists()


def _side_by_side(configs: list[RunConfig], machine: Machine, places: int) -> None:
    """Train these, so many at a time; one whose start is among them waits for it."""
    waiting, working, threads = list(configs), {}, max(1, processes() // places)
    total = sum(config.train.steps for config in configs)
    bar = tqdm(total=total, desc=f"{len(configs)} runs, {places} at a time", unit="step", leave=False,
               disable=not machine.progress)
    with tempfile.TemporaryDirectory(prefix="allatt-") as scratch:
        try:
            while waiting or working:
                pending = {config.id for config in waiting} | set(working)
                ready = [c for c in waiting if c.start is None or c.start.id not in pending]
                for config in ready[:places - len(working)]:
                    waiting.remove(config)
                    working[config.id] = config, _start(config, machine, threads, Path(scratch))
                time.sleep(0.1)
                for config, process in list(working.values()):
                    if process.poll() is not None:
                        del working[config.id]
                        check(process.returncode == 0, _failure(config, process, Path(scratch)))
                bar.update(sum(map(_steps, configs)) - bar.n)
        finally:
            bar.close()
            for _, process in working.values():
                child.end(process)


def _start(config: RunConfig, machine: Machine, threads: int, scratch: Path) -> subprocess.Popen:
    env = dict(os.environ) | {"OMP_NUM_THREADS": str(threads), "ALLATT_HOME": str(home())}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(allatt.__file__).resolve().parents[1]),
                                         *filter(None, [env.get("PYTHONPATH")])])
    orders = {"config": to_dict(config), "machine": asdict(replace(machine, device="cpu", progress=False))}
    with open(scratch / config.id, "wb") as said:
        return child.start("allatt.together", orders, said, env)


def _failure(config: RunConfig, process: subprocess.Popen, scratch: Path) -> str:
    """The one line that a process said at its end."""
    said = (scratch / config.id).read_text(errors="replace").strip().splitlines()
    last = said[-1] if said else f"its process ended with status {process.returncode}, perhaps for want of memory"
    return last if process.returncode == 2 else f"run {config.id} ({config.name}): {last}; run the same again to continue"


def _steps(config: RunConfig) -> int:
    """How many steps a run has logged."""
    if _finished(config):
        return config.train.steps
    try:
        lines = (home() / "runs" / config.id / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):  # it has not begun, or is writing this very line
        return 0


def _main() -> int:
    """What one process does."""
    orders = child.orders()
    try:
        get_or_run(from_dict(RunConfig, orders["config"]), Machine(**orders["machine"]))
    except AllattError as error:
        print(error, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
