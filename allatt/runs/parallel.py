"""Many runs at once: on a CPU, small models use one core each better than all of them use the cores together.

Two runs of the laptop scale side by side, a thread each, take 1.4 times less time than one after the other with two. Every
run is a process of its own, `python -m allatt.runs.parallel` (`allatt.system.processes`): however this process ends, none
is left behind.
Runs stay what they are: named by their config, resumed where they stopped, read where they are done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from allatt.config import AllattError, RunConfig, from_dict, to_dict
from allatt.cost import count
from allatt.data.tokens import load
from allatt.runs import Run, finished, get_or_run
from allatt.system import processes
from allatt.system.paths import home
from allatt.system.processes import cores
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
    if len(worth) > 1 and cores() > 1 and machine.resolve() == "cpu" and rank_and_world()[1] == 1:
        load(worth[0].data)  # made once, before several processes ask for it
        _side_by_side(worth, machine)
    return [get_or_run(config, machine) for config in configs]


def work(config: RunConfig) -> float:
    """About how many multiply-adds training the body takes; the backward pass counts twice."""
    body = count(replace(config.model, cutoffs=()), 1)["multiply_adds"]["body"]
    return 3.0 * body * config.train.steps * config.train.rows * config.model.segment


def _missing(configs: list[RunConfig]) -> list[RunConfig]:
    """Those that are not finished, each once, and after the run that it starts from."""
    found: dict[str, RunConfig] = {}
    for config in configs:
        if not finished(config):
            for one in [*(_missing([config.start]) if config.start else []), config]:
                found.setdefault(one.id, one)
    return list(found.values())


def _side_by_side(configs: list[RunConfig], machine: Machine) -> None:
    """Train these, as many at a time as there are cores; one whose start is among them waits for it."""
    waiting, working = list(configs), {}
    bar = tqdm(total=sum(config.train.steps for config in configs), desc=f"{len(configs)} runs, side by side", unit="step",
               leave=False, disable=not machine.progress)
    looked = time.monotonic()
    try:
        while waiting or working:
            pending = {config.id for config in waiting} | set(working)
            ready = [config for config in waiting if config.start is None or config.start.id not in pending]
            ready = ready[:cores() - len(working)]
            threads = max(1, cores() // max(1, len(working) + len(ready)))
            for config in ready:
                waiting.remove(config)
                working[config.id] = config, _start(config, machine, threads)
            time.sleep(0.1)
            for config, process in [one for one in working.values() if one[1].poll() is not None]:
                del working[config.id]
                processes.end(process)
                if process.returncode:
                    raise AllattError(_failure(config, process.returncode))
                _log(config).unlink(missing_ok=True)
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                bar.update(sum(map(_steps, configs)) - bar.n)
    finally:
        bar.close()
        processes.end(*(process for _, process in working.values()))


def _start(config: RunConfig, machine: Machine, threads: int) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "ALLATT_HOME": str(home())}
    orders = {"config": to_dict(config), "machine": asdict(replace(machine, device="cpu", progress=False))}
    _log(config).parent.mkdir(parents=True, exist_ok=True)
    with open(_log(config), "wb") as log:
        return processes.start("allatt.runs.parallel", orders, log, env)


def _log(config: RunConfig) -> Path:
    """What a run's process says; kept where it fails."""
    return home() / "runs" / f"{config.id}.log"


def _failure(config: RunConfig, code: int) -> str:
    """The one line that a process said at its end."""
    said = _log(config).read_text(errors="replace").strip().splitlines()
    if code == 2 and said:  # an AllattError of its own
        return said[-1]
    last = said[-1] if said else f"its process ended with status {code}, perhaps for want of memory"
    return f"run {config.id} ({config.name}): {last} (see {_log(config)}); run the same again to continue"


def _steps(config: RunConfig) -> int:
    """How many steps a run has logged."""
    if finished(config):
        return config.train.steps
    try:
        lines = (home() / "runs" / config.id / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):  # it has not begun, or is writing this very line
        return 0


def _main() -> int:
    """What one process does."""
    orders = processes.read_orders()
    try:
        get_or_run(from_dict(RunConfig, orders["config"]), Machine(**orders["machine"]))
    except AllattError as error:
        print(error, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
