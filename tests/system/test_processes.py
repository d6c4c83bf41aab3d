"""Child processes: the cores they may use, and where they find their packages."""

import os

from allatt.system.paths import PACKAGE
from allatt.system.processes import cores, search_path


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_a_child_finds_this_allatt_first_and_all_packages_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "packages")
    first, *others = search_path().split(os.pathsep)
    assert first == str(PACKAGE.parent) and str(tmp_path / "packages") in others
