"""Runs side by side: the same runs, in order, once each; failures are one line; nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from filelock import FileLock
from small_text import write_small_text

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import finished, get_or_run, parallel
from allatt.runs import run as run_module
from allatt.runs.parallel import get_or_run_all
from allatt.runs.run import Busy, NoWeights
from allatt.system.machine import Interrupted, Machine
from allatt.system.paths import home

QUIET = Machine(device="cpu", log_every=5, progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit")


@pytest.fixture(scope="module")
def data(tmp_path_factory, home_of_tests):
    folder = write_small_text(tmp_path_factory.mktemp("together"))
    return pin(DataConfig(corpus=str(folder), tokens="words", vocab_size=0))


def config(data, seed, **changes):
    return RunConfig(f"dense {seed}", data, MODEL, replace(TrainConfig(steps=20, rows=4, lr=0.01, seed=seed), **changes))


def gated(dense, lam):
    return RunConfig(f"lambda {lam}", dense.data, MODEL, replace(dense.train, steps=10), GateConfig(lam=lam, lr=0.3), dense)


@pytest.fixture
def two_places(monkeypatch):
    """Processes for however small a run."""
    monkeypatch.setattr(parallel, "SMALL", 0)
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_side_by_side_they_are_what_they_are_one_by_one(data, two_places, monkeypatch):
    """Two gated runs and the baseline that both start from, named last; trained elsewhere, and read here in order."""
    dense = config(data, 1)
    configs = [gated(dense, 0.1), gated(dense, 0.2), dense]
    here = run_module._execute
    monkeypatch.setattr("allatt.runs.run._execute", lambda *rest: pytest.fail("trained in this process"))
    begun, start = [], parallel._start
    monkeypatch.setattr(parallel, "_start", lambda c, *rest: begun.append((c.id, finished(dense))) or start(c, *rest))
    found = get_or_run_all(configs, QUIET)
    assert begun == [(dense.id, False), (configs[0].id, True), (configs[1].id, True)], "they wait for their start"
    assert [run.id for run in found] == [c.id for c in configs]
    assert [run.provenance["threads"] for run in found] == [1, 1, 2], "alone, the baseline has both"
    assert not list((home() / "runs").glob("*.log")), "what processes said is kept where they fail"
    monkeypatch.setattr("allatt.runs.run._execute", here)
    for run in found:
        for path in sorted(run.folder.iterdir()):
            path.unlink()
        run.folder.rmdir()
    again = [get_or_run(c, QUIET) for c in configs]
    for one, other in zip(found, again, strict=True):
        assert one.result["heads"] == other.result["heads"] and one.config == other.config
        assert one.result["test"]["nats"] == pytest.approx(other.result["test"]["nats"], rel=1e-4)


def test_small_runs_stay_here(data, monkeypatch):
    monkeypatch.setattr(parallel, "_train_in_parallel", lambda *rest: pytest.fail("a process for nothing"))
    assert len(get_or_run_all([config(data, 2), config(data, 3)], QUIET)) == 2


def test_what_is_finished_needs_no_process(data, two_places, monkeypatch):
    one = get_or_run(config(data, 4), QUIET)
    monkeypatch.setattr(parallel, "_train_in_parallel", lambda *rest: pytest.fail("a process for nothing"))
    assert get_or_run_all([one.config, one.config], QUIET)[1].id == one.id


def test_a_failing_run_is_one_line_and_the_others_go_on_another_time(data, two_places):
    bad, good = config(data, 5, lr=1e9, clip=1e9), config(data, 6, steps=4000)
    with pytest.raises(AllattError, match=f"run {bad.id} .dense 5.: the loss is nan.* at step"):
        get_or_run_all([bad, good], QUIET)
    assert not (home() / "runs" / good.id / "result.json").exists()


def test_an_unforeseen_end_names_the_run(data, two_places, monkeypatch):
    monkeypatch.setattr(parallel.processes.sys, "executable", "/bin/false")
    with pytest.raises(AllattError, match="its process ended with status 1, perhaps for want of memory .see .*log.; run the"):
        get_or_run_all([config(data, 7), config(data, 8)], QUIET)


def test_two_parents_have_logs_of_their_own(data, two_places, monkeypatch):
    """Both start a process for the same run, of which one waits: whoever is first to end leaves the other's log alone."""
    one = config(data, 7)
    ours = parallel._log(one)
    monkeypatch.setattr(parallel.os, "getpid", lambda: 1)
    assert parallel._log(one) != ours and one.id in ours.name
    assert "its process ended with status -9, perhaps for want of memory" in parallel._failure(one, -9), "without any log"


def test_whoever_waits_may_be_killed_and_none_is_left_behind(data, tmp_path):
    configs = [config(data, seed, steps=20_000) for seed in (9, 10)]
    script = tmp_path / "waits.py"
    script.write_text(f"""
from allatt.runs import parallel
from allatt.config import *
from allatt.system.machine import Machine
parallel.SMALL, parallel.cores = 0, lambda: 2
parallel.get_or_run_all({configs!r}, Machine(device="cpu", log_every=5, progress=False))
""")
    waits = subprocess.Popen([sys.executable, str(script)], env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.getcwd()))
    begun = [home() / "runs" / c.id / "metrics.jsonl" for c in configs]
    deadline = time.monotonic() + 90
    while not all(path.exists() for path in begun):
        assert time.monotonic() < deadline and waits.poll() is None
        time.sleep(0.1)
    waits.send_signal(signal.SIGKILL)
    waits.wait()
    sizes = None
    while sizes != (sizes := [path.stat().st_size for path in begun]):
        assert time.monotonic() < deadline, "they still train"
        time.sleep(1)


def test_the_work_of_a_run_is_its_bodys_multiply_adds(data):
    one = config(data, 11)
    per_token = 2 * 2 * (4 * 8 * 4 + 3 * 4 * 16 + 2 * 4 * 4)
    assert parallel.work(one) == 3 * per_token * 20 * 4 * 8
    assert parallel.work(replace(one, train=replace(one.train, steps=40))) == 2 * parallel.work(one)


def test_a_run_that_another_process_trains_comes_last(data, monkeypatch):
    """One after the other, as on a GPU: what is busy is left for later, so that two processes share a list."""
    configs = [config(data, 70 + number) for number in range(3)]
    folder = home() / "runs" / configs[0].id
    folder.parent.mkdir(parents=True, exist_ok=True)
    trained, execute = [], run_module._execute
    lock = FileLock(folder.with_suffix(".lock"))
    lock.acquire()

    def note(c, *rest):
        trained.append(c.train.seed)
        execute(c, *rest)
        if len(trained) == 2:
            lock.release()

    monkeypatch.setattr(run_module, "_execute", note)
    found = get_or_run_all(configs, QUIET)
    assert trained == [71, 72, 70] and [run.config.train.seed for run in found] == [70, 71, 72]


def test_a_busy_run_can_be_asked_for_without_waiting(data):
    waiting = replace(config(data, 80), start=config(data, 81))
    folder = home() / "runs" / waiting.start.id
    with FileLock(folder.with_suffix(".lock")), pytest.raises(Busy, match="another process is training run"):
        get_or_run(waiting, QUIET, wait=False)
    assert not (home() / "runs" / waiting.id).exists()


def test_a_start_without_weights_is_told_apart_from_other_failures(data, two_places, tmp_path, monkeypatch):
    """Notebooks leave out a cell that needs weights, and fail at anything else."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    dense = config(data, 31)
    (get_or_run(dense, QUIET).folder / "model.safetensors").unlink()
    with pytest.raises(NoWeights, match=rf"run {dense.id} \(dense 31\) is here without its weights"):
        get_or_run_all([gated(dense, 0.1), gated(dense, 0.2)], QUIET)


def test_a_limit_of_time_holds_while_another_process_trains_the_run(data):
    busy = config(data, 32)
    (home() / "runs").mkdir(parents=True, exist_ok=True)
    with FileLock(home() / "runs" / f"{busy.id}.lock"):
        begin = time.time()
        with pytest.raises(Interrupted, match=f"another process trains run {busy.id}"):
            get_or_run(busy, replace(QUIET, until=begin + 0.5))
        assert 0.4 < time.time() - begin < 20 < run_module.WAIT
