"""`pack` and `unpack`."""

import json

import pytest
from refusals import refused

from allatt.cli.main import main
from allatt.config import ALL_ATTENTION, AllattError
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.runs.records import read_record
from allatt.system.files import seal
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
    assert "--out is empty; name a folder" in refused(capsys, "pack", run.id, "--out", "")
    assert "there is no ''" in refused(capsys, "unpack", "")


def test_a_run_that_is_named_twice_is_packed_once(run, tmp_path, capsys):
    assert main(["pack", run.id, run.id[:8], "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"1 runs in {tmp_path}\n"


@pytest.fixture
def packed(run, tmp_path, capsys):
    """The record of the run, and a function that gives it another test loss, with all that follows from it."""
    assert main(["pack", run.id, "--out", str(tmp_path / "records")]) == 0
    path = tmp_path / "records" / f"{run.id}.json"
    text = path.read_text()
    capsys.readouterr()

    def change(factor):
        values = json.loads(text)
        test = values["result"]["test"]
        test.update({name: test[name] * factor for name in ("loss", "nats", "bits_per_byte")})
        test.update({name: test[name] ** factor for name in ("perplexity", "word_perplexity")})
        path.write_text(json.dumps(seal(values)))
        return test["loss"]

    return path, change


def test_a_half_trained_run_is_left_alone(run, packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    checkpoint = tmp_path / "home" / "runs" / run.id / "checkpoint-5-0.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"the work of hours")
    assert main(["unpack", str(packed[0])]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("0 runs restored")
    assert f"run {run.id} is half trained here, so {packed[0]} is left out; train it to its end, or remove" in err
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_record_that_contradicts_the_run_is_told(run, packed, capsys):
    path, change = packed
    assert main(["unpack", str(path)]) == 0
    assert capsys.readouterr().err == "", "the same result"
    loss = change(1.01)
    before = (run.folder / "result.json").read_bytes()
    assert main(["unpack", str(path)]) == 0
    out, err = capsys.readouterr()
    line, = err.splitlines()
    assert f"run {run.id} is here with test loss {run.result['test']['loss']}," in line and f"has test loss {loss}," in line
    assert out.startswith("0 runs restored") and (run.folder / "result.json").read_bytes() == before


def test_the_record_of_another_training_is_not_replaced(run, packed, capsys):
    path, change = packed
    assert main(["pack", run.id, "--out", str(path.parent)]) == 0, "the same result"
    capsys.readouterr()
    loss = change(0.99)
    before = path.read_bytes()
    said = refused(capsys, "pack", "--out", str(path.parent))
    assert f"{path} has test loss {loss}," in said and f"but run {run.id} has test loss {run.result['test']['loss']}," in said
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
    path.write_text("{")
    with pytest.raises(AllattError):
        read_record(path)
    assert "cannot be read" in refused(capsys, "pack", run.id, "--out", str(path.parent))
