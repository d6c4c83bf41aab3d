"""Versions, hardware and commit of a result."""

import os
import shutil
import subprocess
import sys
import types

import pytest
import torch

import allatt
from allatt.runs.provenance import provenance
from allatt.system.paths import PACKAGE, repository


def test_it_says_what_ran_where(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    record = provenance()
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["allatt"] == allatt.__version__
    assert record["hardware"] and record["threads"] == torch.get_num_threads() and record["device"] == "cpu"
    assert record["tunables"] == "glibc.malloc.hugetlb=1"


def test_the_commit_is_that_of_the_repository_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    head = subprocess.run(["git", "-C", str(repository()), "rev-parse", "HEAD"], capture_output=True, text=True)
    expected = head.stdout.strip() if head.returncode == 0 else "not a git checkout"
    assert provenance()["commit"] == expected


def test_an_installed_copy_does_not_name_the_repository_in_which_it_is_used(tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    shutil.copytree(PACKAGE, site / "allatt", ignore=shutil.ignore_patterns("__pycache__", "*.xz"))
    work.mkdir()
    git = ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    code = "from allatt.runs.provenance import provenance; record = provenance(); print(record['commit'])"
    for named, expected in (({}, "not a git checkout"), ({"ALLATT_COMMIT": ""}, "not a git checkout"),
                            ({"ALLATT_COMMIT": "abc1234"}, "abc1234")):
        done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(site)} | named)
        assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize("driver", ["580.1", None])
def test_a_gpu_is_named_with_its_driver(monkeypatch, driver):
    """A stand-in for the GPU, and for the program that knows the driver, which may be missing."""
    def answer(command, **options):
        if command[0] == "nvidia-smi" and driver is None:
            raise FileNotFoundError
        return subprocess.CompletedProcess(command, 0, stdout=f"{driver}\n")

    monkeypatch.setattr("subprocess.run", answer)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: types.SimpleNamespace(total_memory=80))
    record = provenance("cuda")
    assert (record["hardware"], record["driver"], record["gpu_bytes"]) == ("a GPU", driver or "unknown", 80)
    assert {"gpus", "cuda", "cudnn"} <= set(record) and "driver" not in provenance()


def test_a_copy_installed_inside_of_another_repository_does_not_name_it(tmp_path):
    """As in a virtual environment in somebody's project."""
    shutil.copytree(PACKAGE, tmp_path / "venv" / "allatt", ignore=shutil.ignore_patterns("__pycache__", "*.xz"))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    code = "from allatt.runs.provenance import provenance; r = provenance(); print(r['commit'], r['uncommitted_changes'])"
    for named, expected in (({}, "not a git checkout False"), ({"ALLATT_COMMIT": "abc1234"}, "abc1234 False")):
        env = {key: value for key, value in os.environ.items() if key != "ALLATT_COMMIT"} | named
        found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "venv", env=env | {"PYTHONPATH": "."},
                               capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected
