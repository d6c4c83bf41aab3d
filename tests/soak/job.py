"""What the soak kills: a gated run and its consolidation, from the text on. `job.py HOME KIND`; writes HOME/final.json.

Under torchrun all processes train together. Steps are slowed down, so that kills fall on all of them.
"""

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

home = Path(sys.argv[1]).resolve()
os.environ["ALLATT_HOME"] = str(home / "state")

from allatt.config import DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig  # noqa: E402 (after ALLATT_HOME)
from allatt.data.tokens import pin  # noqa: E402
from allatt.runs import get_or_run  # noqa: E402
from allatt.system.machine import Machine, join_torchrun, leave_torchrun  # noqa: E402
from allatt.train import Trainer  # noqa: E402

TIMES = ("seconds", "tokens_per_second")
step = Trainer.one_step


def slow(trainer):
    time.sleep(float(os.environ.get("SOAK_SLEEP", "0.02")))
    return step(trainer)


def configs(kind: str) -> list[RunConfig]:
    text = home / "text"
    data = pin(DataConfig(str(text), "subwords", vocab_size=60))
    model = ModelConfig(kind=kind, layers=2, heads=2, d_model=8, d_head=4, persistent=4, feed_forward=6, segment=8, memory=8,
                        positions=9, init="unit", drop_attention=0.1, drop_projection=0.1, drop_word=0.1)
    dense = RunConfig("dense", data, model, TrainConfig(steps=60, rows=4, lr=0.01, warmup=5))
    first = RunConfig("gates", data, model, TrainConfig(steps=60, rows=4, lr=1e-3, skip=60),
                      GateConfig(lam=0.0, lr=0.2, target_kept=0.5, clipped=True), dense)
    return [dense, first, replace(first, name="second", gates=None, start=first, consolidate=True,
                                  train=replace(first.train, skip=120))]


def summary(runs) -> dict:
    """All that must not depend on interruptions: weights, gates, results, every line of the log."""
    found = {}
    for run in runs:
        files = {name: hashlib.sha256((run.folder / name).read_bytes()).hexdigest()
                 for name in ("model.safetensors", "gates.safetensors") if (run.folder / name).exists()}
        result = {key: run.result[key] for key in ("valid", "test", "heads", "parameters")}
        lines = [{key: value for key, value in line.items() if key not in TIMES} for line in run.metrics()]
        left = sorted(path.name for path in run.folder.iterdir())
        found[run.config.name] = {"files": files, "result": result, "log": lines, "left": left}
    return found


if __name__ == "__main__":
    Trainer.one_step = slow
    is_first = join_torchrun("cpu")
    seconds = float(os.environ.get("SOAK_CHECKPOINT", "0.2"))
    machine = Machine(device="cpu", log_every=7, checkpoint_seconds=seconds, progress=False)
    runs = [get_or_run(config, machine) for config in configs(sys.argv[2])]
    if is_first:
        temporary = home / "final.tmp"
        temporary.write_text(json.dumps(summary(runs), indent=1, sort_keys=True))
        temporary.replace(home / "final.json")
    leave_torchrun()
