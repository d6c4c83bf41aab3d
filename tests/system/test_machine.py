"""Devices, compilers and processes: what is chosen, and one clear line if it is not there."""

import os
import shutil
import subprocess
import sys

import pytest

from allatt.config import AllattError
from allatt.system.machine import COMPILED, Machine, join_torchrun


def test_no_gpu_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Machine().resolve() == "cpu"
    with pytest.raises(AllattError, match="sees no GPU"):
        Machine(device="cuda").resolve()


@pytest.mark.parametrize("wrong, message", [
    ({"device": "tpu"}, "device is 'tpu'; choose auto, cuda or cpu"),
    ({"compile": "yes"}, "compile is 'yes'; choose auto, on or off"),
    ({"micro_rows": -1}, "micro_rows is -1"), ({"log_every": -1}, "log_every is -1"),
    ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds is nan")])
def test_wrong_values_are_one_clear_line(wrong, message):
    with pytest.raises(AllattError, match=message):
        Machine(**wrong)


def test_compile_is_on_off_or_auto(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert [Machine(device="cpu", compile=choice).compiles() for choice in ("auto", "on", "off")] == [False, True, False]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert [Machine(compile=choice).compiles(COMPILED) for choice in ("auto", "on", "off")] == [True, True, False]
    assert [Machine(compile=choice).compiles(COMPILED - 1) for choice in ("auto", "on", "off")] == [False, True, False]


@pytest.mark.parametrize("device, needed", [("cpu", "a C\\+\\+ compiler"), ("cuda", "triton and a C compiler")])
def test_compilation_without_a_compiler_is_one_clear_line(device, needed, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "cuda")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not Machine(compile="auto").compiles() and not Machine(compile="off").compiles()
    with pytest.raises(AllattError, match=f"torch.compile needs {needed}, which is not here; install it, or use --compile off"):
        Machine(compile="on").compiles()


def test_without_torchrun_this_process_is_the_only_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_torchrun("cpu")


def test_each_attempt_of_torchrun_has_names_of_its_own(monkeypatch):
    """Processes that are started again must not find the addresses of the dead ones in torchrun's store."""
    import torch.distributed as dist

    shared, joined = dist.HashStore(), []
    monkeypatch.setattr(dist, "rendezvous", lambda url: iter([(shared, 1, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **named: joined.append((backend, named)))
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    for attempt in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        assert not join_torchrun("cpu")
    (backend, first), (_, second) = joined
    assert backend == "gloo" and (first["rank"], first["world_size"]) == (1, 2)
    first["store"].set("address of 0", "dead")
    assert second["store"].check(["address of 0"]) is False and first["store"].check(["address of 0"]) is True


@pytest.mark.parametrize("count, message", [("abc", "WORLD_SIZE is 'abc'; torchrun sets it to a number"), ("0", "'0'"),
                                            ("", "''"), ("2", "but RANK, MASTER_ADDR is not set; start with torchrun")])
def test_half_of_torchrun_is_one_clear_line(count, message):
    env = {name: value for name, value in os.environ.items() if name not in ("RANK", "MASTER_ADDR")}
    env |= {"WORLD_SIZE": count, "LOCAL_RANK": "0", "MASTER_PORT": "1"}
    command = ["run", "--scale", "smoke", "--model", "all-attention"]
    done = subprocess.run([sys.executable, "-m", "allatt", *command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
