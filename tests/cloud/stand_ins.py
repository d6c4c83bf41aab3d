"""Stand-ins for what is not here: a training in plain Python that starts quickly, programs in PATH, a machine's processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from allatt.system.paths import repository

CLOUD = repository() / "notebooks" / "cloud"
STEPS = 12
RUN = "0123456789ab"
TRAINING = f"""
# Keeps a run's folder as `allatt.runs.run` and `allatt.system.checkpoint` do. Its weights tell which steps were taken.
import os, pathlib, signal, sys, time
def write(name, text):
    part = run / f".{{name}}.tmp"
    part.write_text(text)
    os.replace(part, run / name)
def save():
    write(f"checkpoint-{{len(steps)}}-0.safetensors", " ".join(steps))
    for path in sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))[:-2]:
        path.unlink()
def stop(number, frame):
    save()
    sys.exit(143)
if "pack" in sys.argv:
    out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "{RUN}.json").write_text("a record")
    sys.exit()
run = pathlib.Path(os.environ["ALLATT_HOME"], "runs", "{RUN}")
run.mkdir(parents=True, exist_ok=True)
if (run / "result.json").exists():
    sys.exit(print("took 0 steps"))
write("config.json", "a config")
saved = [path.read_text().split() for path in run.glob("checkpoint-*")]
steps = max(saved, key=len, default=[])
signal.signal(signal.SIGTERM, stop)
begin = len(steps)
while len(steps) < {STEPS}:
    time.sleep(float(os.environ.get("SECONDS_PER_STEP", "0")))
    steps.append(str(len(steps) + 1))
    save()
write("model.safetensors", " ".join(steps))
write("result.json", "a result")
for path in run.glob("checkpoint-*"):
    path.unlink()
print("took", {STEPS} - begin, "steps")
"""


def program(folder: Path, name: str, text: str) -> Path:
    """An executable bash script."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def start(command: list, cwd: Path, programs: Path | None = None, **variables: str) -> subprocess.Popen:
    """A command in a process group of its own, as on a machine; `programs` is a folder that comes first in PATH."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PYTHONPATH": str(repository()), "OMP_NUM_THREADS": "1"} | variables
    env["PATH"] = os.pathsep.join([*([str(programs)] if programs else []), env["PATH"]])
    return subprocess.Popen(list(map(str, command)), env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


def run(*arguments, **named) -> tuple[int, str, str]:
    """`start`, to the end: status, stdout and stderr."""
    process = start(*arguments, **named)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def signal_all(process: subprocess.Popen, number: int) -> None:
    """Signal every process of a machine, as a cloud does that stops it."""
    os.killpg(process.pid, number)


def wait_for(condition, process: subprocess.Popen, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert condition(), process.communicate()[1]


def training(folder: Path) -> list[str]:
    """The command of the stand-in for a training."""
    path = folder / "training.py"
    path.write_text(TRAINING)
    return [sys.executable, "-S", str(path)]


def steps_of(storage: Path) -> str:
    """The steps that the finished run in a storage has taken."""
    return (storage / "runs" / RUN / "model.safetensors").read_text()


ALL_STEPS = " ".join(str(step) for step in range(1, STEPS + 1))
