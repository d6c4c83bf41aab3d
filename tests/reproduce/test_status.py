"""Folders of executed notebooks: their locks, their status.json, and durations in words."""

import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from allatt.reproduce import status


def test_a_broken_status_counts_as_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    folder = status.state_folder("smoke", "", 0)
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"00_fine": {"sta')
    assert status.read_status(folder) == {}
    assert status.status_table().splitlines()[0] == "smoke-default-seed0"


def test_a_running_notebook_without_a_lock_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    folder = status.state_folder("smoke", "", 0)
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"00_a": {"state": "running"}}')
    assert status.status_table().splitlines()[-1].split() == ["00_a", "interrupted"]
    with status.lock(folder):
        assert status.status_table().splitlines()[-1].split() == ["00_a", "running"]


def test_lock_of_a_killed_process_is_free(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    folder = status.state_folder("smoke", "", 3)
    folder.mkdir(parents=True)
    path = status.lock(folder).lock_file
    code = (f"import os, signal; from filelock import FileLock; lock = FileLock({path!r}); lock.acquire(); "
            "os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not status.is_locked(folder)
    with FileLock(path, timeout=0):
        pass


@pytest.mark.parametrize("seconds, text", [
    (0.04, "0.0 s"), (7, "7 s"), (59.94, "59.9 s"), (59.99, "1 min 0 s"), (245.2, "4 min 5 s"), (7380, "2 h 3 min")])
def test_duration(seconds, text):
    assert status.duration(seconds) == text
