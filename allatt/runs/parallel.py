"""Several runs in parallel, one process and one core each: on a CPU, small models use the cores best this way.

Two runs of the laptop scale in parallel, with one thread each, take 1.4 times less time than one after the other with two.
Each run is a child process, `python -m allatt.runs.parallel` (`allatt.system.processes`), which cannot outlive this one.
Nothing changes for the runs: they are named by their configs, resumed if interrupted, and read if finished.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from allatt.config import AllattError, RunConfig, to_dict
from allatt.config_json import from_dict
from allatt.cost import count
from allatt.data.tokens import load
from allatt.runs.run import Busy, NoWeights, Run, finished, get_or_run
from allatt.system import processes
from allatt.system.machine import Machine, rank_and_world
from allatt.system.messages import bars
from allatt.system.paths import home
from allatt.system.processes import cores

SMALL = 1e11
"""A run of fewer multiply-adds takes less time than a process needs to start (about two seconds)."""
NO_WEIGHTS = 3
"""Exit status of a child whose run needs the weights of a run that is here without them."""


def get_or_run_all(configs: Iterable[RunConfig], machine: Machine | None = None) -> list[Run]:
    """The runs of these configs, in their order, as `get_or_run` returns them; missing ones are trained in parallel.

    They are trained one after the other if that is as fast: on a GPU, under torchrun, on one core, and for small runs.
    Raises the AllattError of the first run that fails; the others are then stopped, and continue the next time.
    """
    configs, machine = list(configs), machine or Machine()
    large = [config for config in missing(configs) if work(config) > SMALL]
    if len(large) > 1 and cores() > 1 and machine.resolve() == "cpu" and rank_and_world()[1] == 1:
        load(large[0].data)  # tokenized once, before several processes ask for it
        _train_in_parallel(large, machine)
    for config in configs:  # runs that another process trains come last: two processes can share the list
        with suppress(Busy):
            get_or_run(config, machine, wait=False)
    return [get_or_run(config, machine) for config in configs]


def work(config: RunConfig) -> float:
    """Approximate multiply-adds of training the body; the backward pass counts twice."""
    body = count(config.model)["multiply_adds"]["body"]
    return 3.0 * body * config.train.steps * config.train.rows * config.model.segment


def missing(configs: list[RunConfig]) -> list[RunConfig]:
    """The unfinished runs, each once, and each after the run that it starts from."""
    found: dict[str, RunConfig] = {}
    for config in configs:
        if not finished(config):
            for needed in [*(missing([config.start]) if config.start else []), config]:
                found.setdefault(needed.id, needed)
    return list(found.values())


def _train_in_parallel(configs: list[RunConfig], machine: Machine) -> None:
    """Train these runs, one per core at a time; a run whose start is among them waits for it."""
    waiting, working, done = list(configs), {}, 0
    bar = tqdm(total=sum(config.train.steps for config in configs), desc=f"{len(configs)} runs in parallel", unit="step",
               leave=False, mininterval=0.5, disable=not machine.progress, file=bars())
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
            for config, process in [pair for pair in working.values() if pair[1].poll() is not None]:
                del working[config.id]
                processes.end(process)
                if process.returncode:
                    kind = NoWeights if process.returncode == NO_WEIGHTS else AllattError
                    raise kind(_failure(config, process.returncode))
                _log(config).unlink(missing_ok=True)
                done += config.train.steps
            bar.update(done + sum(_steps(config) for config, _ in working.values()) - bar.n)
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
    """Output of a run's process, which this process has started; kept if the run fails."""
    return home() / "runs" / f"{config.id}-{os.getpid()}.log"


def _failure(config: RunConfig, code: int) -> str:
    """One line that says how a run's process failed."""
    lines = _log(config).read_text(errors="replace").strip().splitlines() if _log(config).exists() else []
    if code in (2, NO_WEIGHTS) and lines:  # an AllattError
        return lines[-1]
    last = lines[-1] if lines else f"its process ended with status {code}, perhaps for want of memory"
    return f"run {config.id} ({config.name}): {last} (see {_log(config)}); run the same again to continue"


def _steps(config: RunConfig) -> int:
    """Number of steps that an unfinished run has logged."""
    try:
        lines = (home() / "runs" / config.id / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):  # it has not begun, or is writing its last line
        return 0


if __name__ == "__main__":  # train one run, as a child process
    orders = processes.read_orders(processes.terminate)
    try:
        get_or_run(from_dict(RunConfig, orders["config"]), Machine(**orders["machine"]))
    except AllattError as error:
        print(error, flush=True)
        sys.exit(NO_WEIGHTS if isinstance(error, NoWeights) else 2)
    except KeyboardInterrupt as error:  # the parent has ended; what was trained is saved
        print(error, flush=True)
        sys.exit(1)
