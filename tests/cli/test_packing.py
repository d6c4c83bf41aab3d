"""`pack` and `unpack`."""

import json

import pytest
from refusals import refused

from allatt.cli.main import main
from allatt.config import ALL_ATTENTION
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.system.machine import Machine


@pytest.fixture(scope="module")
def run(home_of_tests):
    config = Study("smoke-characters").baseline(ALL_ATTENTION)
    return get_or_run(config, Machine(progress=False))


def test_packed_runs_are_unpacked_elsewhere(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "records"
    assert main(["pack", run.id[:8], "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == [f"{run.id}.json"]
    assert f"1 runs in {out}" in capsys.readouterr().out
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    assert main(["unpack", str(out)]) == main(["unpack", str(out / f"{run.id}.json")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1 runs restored") and second.startswith("0 runs restored")
    assert main(["run", "--scale", "smoke-characters", "--model", ALL_ATTENTION, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"] == run.result["test"], "read, not trained"


def test_what_cannot_be_packed_or_unpacked_is_one_line(run, tmp_path, monkeypatch, capsys):
    file = tmp_path / "file"
    file.write_text("")
    (tmp_path / "empty").mkdir()
    assert "is a file; name a folder" in refused(capsys, "pack", "--out", str(file))
    assert "0 finished runs start with" in refused(capsys, "pack", "ffffffff", "--out", str(tmp_path / "records"))
    assert "there is no" in refused(capsys, "unpack", str(tmp_path / "none"))
    assert "hold no records of runs" in refused(capsys, "unpack", str(tmp_path / "empty"))
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    assert "there are no finished runs in" in refused(capsys, "pack", "--out", str(tmp_path / "records"))
