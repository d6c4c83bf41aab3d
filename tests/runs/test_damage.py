"""Damaged, exchanged and impossible runs: never read as if nothing had happened, and one clear line."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_text import write_small_text

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import Run, find, get_or_run
from allatt.sharing import saved
from allatt.system.machine import Machine

QUIET = Machine(device="cpu", log_every=2, progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit")


@pytest.fixture(scope="module")
def dense(tmp_path_factory, home_of_tests):
    data = pin(DataConfig(corpus=str(write_small_text(tmp_path_factory.mktemp("text"))), tokens="words", vocab_size=0))
    return RunConfig("dense", data, MODEL, TrainConfig(steps=4, rows=4, lr=0.01))


@pytest.fixture(scope="module")
def gated(dense):
    return RunConfig("gated", dense.data, MODEL, replace(dense.train, lr=1e-3), GateConfig(lam=0.01), dense)


@pytest.fixture
def folder(gated, tmp_path):
    """A copy of the gated run's folder, to be damaged."""
    run = get_or_run(gated, QUIET)
    return shutil.copytree(run.folder, tmp_path / run.id)


def refused(read) -> str:
    with pytest.raises(AllattError) as error:
        read()
    assert "\n" not in str(error.value)
    return str(error.value)


# Exchanged files

def test_a_folder_with_another_run_s_name_is_refused(gated, dense, folder):
    other = folder.rename(folder.with_name(dense.id))
    message = refused(lambda: Run(other))
    assert f"{other} holds the config of run {gated.id}, but the name or the result of another" in message
    assert Run(other.rename(other.with_name("my-run"))).id == gated.id, "a copy under a name of one's own is fine"


def test_two_exchanged_folders_are_noticed_where_runs_are_looked_up(gated, dense):
    one, other = get_or_run(gated, QUIET).folder, get_or_run(dense, QUIET).folder
    for old, new in ((one, "x"), (other, one.name), (one.with_name("x"), other.name)):
        old.rename(one.with_name(new))
    try:
        assert dense.id in refused(lambda: get_or_run(gated, QUIET)) and gated.id in refused(lambda: find(dense.id))
    finally:
        for old, new in ((one, "x"), (other, one.name), (one.with_name("x"), other.name)):
            old.rename(one.with_name(new))


@pytest.mark.parametrize("change", [
    lambda config: config["gates"].update(lam=0.09), lambda config: config["train"].update(seed=7),
    lambda config: config["gates"].update(output_scaling=False), lambda config: config["start"]["train"].update(lr=0.5)])
def test_a_changed_config_is_refused(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    assert "holds the config of run" in refused(lambda: Run(folder))
    mine = folder.rename(folder.with_name("mine"))
    assert "holds the config of run" in refused(lambda: Run(mine)), "the result names the run, too"


def test_another_run_s_result_is_refused(folder, dense):
    shutil.copy(get_or_run(dense, QUIET).folder / "result.json", folder)
    assert "the name or the result of another" in refused(lambda: Run(folder))


# Changed files

def test_a_result_without_its_seal_is_refused(folder):
    result = json.loads((folder / "result.json").read_text())
    del result["sha256_of_the_rest"]
    (folder / "result.json").write_text(json.dumps(result))
    assert "lacks its seal" in refused(lambda: Run(folder))


@pytest.mark.parametrize("change", [
    lambda result: result["test"].update(perplexity=1.5), lambda result: result["heads"].update(total=3),
    lambda result: result.update(seconds=0), lambda result: result["files"].clear()])
def test_a_changed_result_is_refused(folder, change):
    result = json.loads((folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
    assert "result.json was changed after it was written; remove its folder and run again" in refused(lambda: Run(folder))


def test_one_changed_gate_is_refused(folder):
    gates = load_file(folder / "gates.safetensors")
    gates["logit_LH"][0, 0] = -0.5
    save_file(gates, folder / "gates.safetensors")
    for read in (Run(folder).gates, Run(folder).pruned, lambda: saved.load(folder)):
        assert f"{folder / 'gates.safetensors'} was changed after the run ended" in refused(read)


def test_the_weights_of_another_run_are_refused(folder, dense):
    shutil.copy(get_or_run(dense, QUIET).folder / "model.safetensors", folder)
    for read in (Run(folder).load, Run(folder).pruned):
        assert "model.safetensors was changed after the run ended" in refused(read)


def test_changed_weights_are_no_start(dense, gated):
    """One byte of the baseline's last tensor."""
    run = get_or_run(replace(dense, train=replace(dense.train, steps=1)), QUIET)
    path = run.folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "was changed after the run ended" in refused(lambda: get_or_run(replace(gated, start=run.config), QUIET))


def test_changed_or_shortened_metrics_are_refused(folder):
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(Run(folder).metrics()) == len(lines) == 2
    for content in (lines[0], lines[0] + lines[1].replace('"loss": ', '"loss": 1')):
        path.write_text(content)
        assert "metrics.jsonl was changed after the run ended" in refused(Run(folder).metrics)


@pytest.mark.parametrize("name", ["config.json", "result.json", "provenance.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", "{}", "5", '"x"', "{", "\x00", "[" * 100_000, '{"valid": NaN}'])
def test_json_of_the_wrong_form_is_one_clear_line(folder, name, content):
    (folder / name).write_text(content)
    message = refused(lambda: Run(folder))
    assert len(message) < 1000 and (name in message or "RunConfig" in message)


def test_runs_of_earlier_releases_have_no_checksums_and_are_read(folder):
    result = json.loads((folder / "result.json").read_text())
    old = {key: value for key, value in result.items() if key not in ("id", "files", "sha256_of_the_rest")}
    (folder / "result.json").write_text(json.dumps(old))
    run = Run(folder)
    assert run.pruned() and run.metrics() and run.result == old


# Impossible numbers

@pytest.mark.parametrize("change", [{"lr": 1e38, "steps": 1}, {"weight_decay": 1e38, "steps": 1}])
def test_a_run_that_diverges_in_its_last_step_is_no_result(dense, change):
    config = replace(dense, train=replace(dense.train, **change))
    message = refused(lambda: get_or_run(config, QUIET))
    assert f"run {config.id} (dense): " in message and "; lower train.lr, train.clip, or with gates lam" in message
    with pytest.raises(AllattError, match="0 finished runs"):
        find(config.id)
    assert refused(lambda: get_or_run(config, QUIET)) == message, "and it is not read back the next time"


def test_gates_that_are_not_finite_are_no_result(gated, monkeypatch):
    """They would count as closed, and the smaller model's loss be finite."""
    config = replace(gated, gates=replace(gated.gates, lam=0.02))
    monkeypatch.setattr("allatt.train.Trainer.run", lambda trainer: trainer.gates.logit_LH.data.fill_(math.nan))
    assert "a weight is not finite after the last step" in refused(lambda: get_or_run(config, QUIET))


def test_a_loss_that_is_not_finite_is_no_result(dense, monkeypatch):
    """Finite weights may still overflow."""
    config = replace(dense, train=replace(dense.train, steps=0, seed=5))
    monkeypatch.setattr("allatt.model.LanguageModel.loss", lambda self, input_BT, target_BT, memory, gate_LH=None: (
        torch.full(target_BT.shape, math.inf), memory))
    assert "the loss on the valid text is inf" in refused(lambda: get_or_run(config, QUIET))
