"""A real experiment on machines that are taken away, again and again: python tests/rehearsal/rehearse_machines.py --kills 8

The smoke scale's sweep is trained three times: undisturbed; under sync.sh, on machines that are killed (SIGKILL) at random
moments; under slurm.sh, whose task is told that its time is over. A folder is the bucket or the shared disk, another one each
machine's own disk. All runs must have the same weights, gates and log, bitwise, and the same result. No cloud is used.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLOUD = ROOT / "notebooks" / "cloud"
EXPERIMENT = ["-m", "allatt", "experiment", "sweep", "--scale", "smoke", "--device", "cpu", "--checkpoint-seconds", "0"]
TIMES = ("seconds", "tokens_per_second")


def start(command: list, **variables: str) -> subprocess.Popen:
    """A command in a process group of its own: the processes of a machine."""
    env = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | os.environ | variables
    return subprocess.Popen(list(map(str, command)), env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


def finish(process: subprocess.Popen, expected: int = 0) -> str:
    """What it says on stderr."""
    said = process.communicate()[1]
    if process.returncode != expected:
        sys.exit(f"allatt: status {process.returncode} instead of {expected}: {said}")
    return said


def wait_for(condition, process: subprocess.Popen) -> None:
    """Until it is so, or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.02)


def outcome(runs: Path) -> dict[str, dict]:
    """What must be equal of every run: result, log and checksums, without times."""
    found = {}
    for path in sorted(runs.glob("*/result.json")):
        result = json.loads(path.read_text())
        logged = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        log = [{key: value for key, value in line.items() if key not in TIMES} for line in logged]
        sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.parent.glob("*.safetensors")}
        parts = {key: result[key] for key in ("valid", "test", "heads", "parameters")}
        found[path.parent.name] = parts | {"log": log, "files": sums}
    return found


def under_sync(folder: Path, kills: int, chance: random.Random) -> tuple[Path, str]:
    """Until the experiment is finished: a new machine, and SIGKILL to all its processes after some seconds."""
    bucket, restored, lost = folder / "bucket", 0, 0
    for machine in range(kills + 1):
        home = folder / f"machine-{machine}"
        command = ["bash", CLOUD / "sync.sh", bucket, sys.executable, *EXPERIMENT]
        process = start(command, ALLATT_HOME=str(home), SYNC_SECONDS="1")
        if machine == kills:
            said = finish(process)
            restored = int(said.split(" runs restored")[0].split()[-1])
        else:
            wait_for(lambda home=home: list(home.glob("runs/*/checkpoint-*")), process)
            time.sleep(chance.uniform(0, 6))
            lost += process.poll() is None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        shutil.rmtree(home)
    if not lost:
        sys.exit("allatt: the experiment was finished before a machine could be lost; give another --seed")
    return bucket / "runs", f"{lost} machines lost, {restored} runs restored on the last one"


def under_slurm(folder: Path) -> tuple[Path, str]:
    """A task whose time is over after three runs comes back on another node, without what was on the first one's disk."""
    (folder / "bin").mkdir()
    requeue = folder / "bin" / "scontrol"
    requeue.write_text(f'#!/bin/sh\necho "$@" >>{folder}/requeued\n')
    requeue.chmod(0o755)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncase "$3" in experiment) set -- "$@" --device cpu --checkpoint-seconds 0;; esac\n'
                      f'exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    variables = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "7", "SLURM_CPUS_PER_TASK": os.environ["OMP_NUM_THREADS"],
                 "SLURM_SUBMIT_DIR": str(ROOT), "SCALE": "smoke", "EXPERIMENT": "sweep", "STORAGE": str(folder / "shared"),
                 "PYTHON": str(python), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for node in ("first", "second"):
        process = start(["bash", CLOUD / "slurm.sh"], LOCAL=str(folder / node), **variables)
        if node == "first":
            wait_for(lambda: len(list(folder.glob("first/*/runs/*/result.json"))) > 2, process)
            process.send_signal(signal.SIGUSR1)
        finish(process, 143 if node == "first" else 0)
    if (folder / "requeued").read_text() != "requeue 7_0\n":
        sys.exit("allatt: the task was not put back into the queue")
    return folder / "shared" / "seed-0" / "runs", "one task requeued"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=8, help="machines to lose under sync.sh (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="allatt-rehearsal-") as name:
        folder = Path(name)
        finish(start([sys.executable, *EXPERIMENT], ALLATT_HOME=str(folder / "undisturbed")))
        expected = outcome(folder / "undisturbed" / "runs")
        for part in (lambda: under_sync(folder, options.kills, chance), lambda: under_slurm(folder)):
            runs, what = part()
            found = outcome(runs)
            if found != expected or not expected or list(runs.rglob("checkpoint-*")) or list(runs.rglob("*.part")):
                differ = sorted(run for run in expected | found if expected.get(run) != found.get(run))
                sys.exit(f"allatt: {what}: {len(differ)} runs differ ({', '.join(differ[:3])}), or something was left behind")
            print(f"allatt: {what}; {len(found)} runs bitwise as undisturbed", flush=True)


if __name__ == "__main__":
    main()
