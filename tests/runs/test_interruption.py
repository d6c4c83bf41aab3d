"""Killed, stopped and continued: whatever ends a run, it ends bitwise as if it had never been disturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_text import write_small_text

from allatt.config import DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.data.tokens import pin
from allatt.runs import get_or_run
from allatt.system.machine import Machine
from allatt.system.paths import repository

QUIET = Machine(device="cpu", log_every=8, progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit",
                    drop_attention=0.1, drop_word=0.1)
# Trains slowly, as the command line would: signals are handled by `main`, and the run by `get_or_run`.
CHILD = """
import json, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it, nohup ignores SIGHUP
signal.signal(signal.SIGHUP, IGNORED if "IGNORED" in globals() else signal.SIG_DFL)
from pathlib import Path
import allatt.cli.training as training
from allatt.cli.main import main
from allatt.config import RunConfig
from allatt.config_json import from_dict
from allatt.runs import get_or_run
from allatt.runs.parallel import get_or_run_all
from allatt.system.machine import Machine
from allatt.train import Trainer
step = Trainer.one_step
def slow(self):
    time.sleep(0.05)
    return step(self)
Trainer.one_step = slow
def train(options):
    config = from_dict(RunConfig, json.loads(Path(sys.argv[1]).read_text()))
    get_or_run(config, Machine(device="cpu", log_every=8, checkpoint_seconds=float(sys.argv[2]), progress=False))
training.run = train
sys.exit(main(["run", "--scale", "smoke", "--model", "all-attention"]))
"""


@pytest.fixture(scope="module")
def gated(tmp_path_factory, home_of_tests):
    data = pin(DataConfig(corpus=str(write_small_text(tmp_path_factory.mktemp("text"))), tokens="words", vocab_size=0))
    dense = RunConfig("dense", data, MODEL, TrainConfig(steps=12, rows=4, lr=0.01))
    return RunConfig("gated", data, MODEL, TrainConfig(steps=40, rows=4, lr=1e-3, skip=12), GateConfig(lam=0.1, lr=0.3), dense)


def consolidated(gated):
    first = replace(gated, train=replace(gated.train, steps=10))
    return replace(first, name="second", gates=None, consolidate=True, start=first, train=replace(gated.train, skip=22))


def start(config, tmp_path, checkpoint_seconds):
    """A process that trains `config` in a home of its own, and the run's folder."""
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    (tmp_path / "child.py").write_text(CHILD)
    env = os.environ | {"PYTHONPATH": str(repository()), "OMP_NUM_THREADS": str(torch.get_num_threads()),
                        "ALLATT_HOME": str(tmp_path / "home")}
    command = [sys.executable, str(tmp_path / "child.py"), str(tmp_path / "config.json"), str(checkpoint_seconds)]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    return process, tmp_path / "home" / "runs" / config.id


def wait_for(condition, process, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert condition(), process.communicate()[1]


def has_logged(folder):
    path = folder / "metrics.jsonl"
    return path.exists() and path.read_text() != ""


def assert_equal(whole, resumed):
    """Weights, gates, results and the log; only times may differ."""
    for part in ("test", "valid", "heads", "parameters"):
        assert resumed.result[part] == whole.result[part]
    for ours, theirs in ((resumed.load(), whole.load()), (resumed.gates(), whole.gates())):
        if theirs is not None:
            for name, tensor in theirs.state_dict().items():
                assert torch.equal(tensor, ours.state_dict()[name]), name
    times = ("seconds", "tokens_per_second")
    assert [{k: v for k, v in line.items() if k not in times} for line in resumed.metrics()] == [
        {k: v for k, v in line.items() if k not in times} for line in whole.metrics()]
    assert not list(resumed.folder.glob("*checkpoint*")) and not list(resumed.folder.glob("*.tmp"))


@pytest.mark.parametrize("phase", ["gates", "consolidation"])
def test_killed_and_started_again_ends_with_the_same_numbers(gated, phase, tmp_path, monkeypatch):
    """SIGKILL in the middle: the finished baseline is not repeated, the pruning run continues."""
    config = gated if phase == "gates" else consolidated(gated)
    whole = get_or_run(config, QUIET)
    child, folder = start(config, tmp_path, 0.0)
    wait_for(lambda: list(folder.glob("checkpoint-*")), child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (folder / "result.json").exists()
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    baseline = tmp_path / "home" / "runs" / config.start.id / "result.json"
    before = baseline.stat().st_mtime_ns
    assert_equal(whole, get_or_run(config, QUIET))
    assert baseline.stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_run_is_saved_at_its_step(gated, number, tmp_path, monkeypatch):
    """Within ten seconds, with one line, and a status of its own; no step is taken again."""
    whole = get_or_run(gated, QUIET)
    child, folder = start(gated, tmp_path, 1e9)
    wait_for(lambda: has_logged(folder), child)
    time.sleep(0.15)  # so that it is seldom saved right after a line of metrics
    asked = time.monotonic()
    child.send_signal(number)
    said = child.communicate(timeout=60)[1]
    assert time.monotonic() - asked < 10 and child.returncode == 128 + number
    saved = [path.name for path in folder.glob("checkpoint-*")]
    step = int(saved[0].split("-")[1])
    assert len(saved) == 1 and 8 <= step < 40
    assert said.splitlines()[-1] == (f"allatt: stopped by {number.name}; run {gated.id} is saved at step {step}; run the same "
                                     "command again to continue") and "Traceback" not in said
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    resumed = get_or_run(gated, QUIET)
    assert_equal(whole, resumed)
    again = resumed.provenance["resumed"]
    assert len(again) == 1 and again[0]["started"] >= resumed.provenance["started"]
    assert again[0]["data"] == whole.provenance["data"]


def test_killed_while_it_tidies_up_a_finished_run_is_tidied_up_the_next_time(gated, monkeypatch, tmp_path):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    often = Machine(device="cpu", log_every=8, checkpoint_seconds=0, progress=False)

    def killed(folder):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("allatt.runs.run.remove_checkpoint", killed)
        get_or_run(gated.start, often)
    folder = tmp_path / "home" / "runs" / gated.start.id
    assert (folder / "result.json").exists() and list(folder.glob("checkpoint-*"))
    assert get_or_run(gated.start, often).result["heads"]["total"] == 4
    assert not list(folder.glob("checkpoint-*"))


def test_a_second_signal_stops_at_once(gated, tmp_path):
    child, folder = start(gated, tmp_path, 1e9)
    wait_for(lambda: has_logged(folder), child)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)


def test_nohup_is_respected(gated, tmp_path):
    """SIGHUP is ignored there, and stays so."""
    (tmp_path / "child.py").write_text(f"import signal; IGNORED = signal.SIG_IGN\n{CHILD}")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(to_dict(gated)))
    env = os.environ | {"PYTHONPATH": str(repository()), "ALLATT_HOME": str(tmp_path / "home")}
    child = subprocess.Popen([sys.executable, str(tmp_path / "child.py"), str(config), "1e9"], env=env)
    folder = tmp_path / "home" / "runs" / gated.id
    wait_for(lambda: has_logged(folder), child)
    child.send_signal(signal.SIGHUP)
    assert child.wait(timeout=90) == 0 and (folder / "result.json").exists()


def test_a_folder_that_is_removed_while_it_trains_is_one_clear_line(gated, tmp_path):
    child, folder = start(gated, tmp_path, 1e9)
    wait_for(lambda: has_logged(folder), child)
    for path in folder.iterdir():
        path.unlink()
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 2
    assert said.splitlines()[-1] == (f"allatt: {folder / 'metrics.jsonl'} was removed while run {gated.id} trained; run the "
                                     "same command again")


def test_a_parent_that_is_stopped_saves_the_runs_of_its_children(gated, tmp_path, monkeypatch):
    """Two at once in processes of their own; they are given ten seconds."""
    configs = [replace(gated.start, train=replace(gated.start.train, steps=20_000, seed=seed)) for seed in (1, 2)]
    script = tmp_path / "parent.py"
    script.write_text(f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from allatt.runs import parallel
from allatt.config import *
from allatt.system.machine import Machine
parallel.SMALL, parallel.cores = 0, lambda: 2
parallel.get_or_run_all({configs!r}, Machine(device="cpu", log_every=5, checkpoint_seconds=1e9, progress=False))
""")
    home = Path(tmp_path / "home")
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository()), "ALLATT_HOME": str(home)}
    parent = subprocess.Popen([sys.executable, str(script)], env=env, stderr=subprocess.PIPE, text=True)
    folders = [home / "runs" / config.id for config in configs]
    wait_for(lambda: all(map(has_logged, folders)), parent)
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)
    assert [len(list(folder.glob("checkpoint-*"))) for folder in folders] == [1, 1]
