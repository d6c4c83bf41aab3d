"""Checkpoint files: complete or ignored, of this run and this number of processes, and a state that comes back whole."""

import json
from dataclasses import replace

import pytest
import torch
from test_train import DENSE, TARGET, TRAIN, trainer

from allatt.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from allatt.config import AllattError


def save(t):
    save_checkpoint(t.folder, t.state(), t.config.id)


@pytest.mark.parametrize("config", [DENSE, TARGET])
def test_a_state_comes_back_whole(config, tmp_path):
    """Every tensor and value that was saved is there after a load, and a trainer that takes it has the same state.

    The memory is longer than a segment, so that it is not full after the first step.
    """
    config = replace(config, model=replace(config.model, memory=8, positions=9))
    t = trainer(config, tmp_path)
    assert load_checkpoint(tmp_path, config.id) is None
    for _ in range(2):
        t.one_step()
    before = t.state()
    save(t)
    loaded = load_checkpoint(tmp_path, config.id)
    again = trainer(config, tmp_path)
    again.one_step()
    again.restore(loaded)
    after = again.state()
    assert loaded.tensors.keys() == before.tensors.keys() == after.tensors.keys()
    for name, tensor in before.tensors.items():
        assert torch.equal(tensor, loaded.tensors[name]) and torch.equal(tensor, after.tensors[name]), name
    saved = json.loads(json.dumps(before.values))  # tuples become lists
    assert json.loads(json.dumps(after.values)) == saved and saved.items() <= loaded.values.items()
    remove_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path, config.id) is None and not list(tmp_path.glob("*checkpoint*"))


def test_a_checkpoint_counts_only_when_its_file_is_complete(tmp_path, monkeypatch):
    """Killed while the file of step 2 is written: step 1 is the one to continue from."""
    t = trainer(DENSE, tmp_path)
    t.one_step()
    save(t)
    t.one_step()

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr("allatt.checkpoint.write", killed)
    with pytest.raises(KeyboardInterrupt):
        save(t)
    assert load_checkpoint(tmp_path, DENSE.id).values["step"] == 1


def test_steps_after_the_checkpoint_are_logged_once(tmp_path):
    """A run that was killed some logged steps after its checkpoint takes these steps again."""
    t = trainer(DENSE, tmp_path)
    for _ in range(4):
        t.one_step()
    save(t)
    lines = [{"step": step, "loss": 99.0} for step in (3, 6, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 12, "lo')
    trainer(DENSE, tmp_path).run()
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged] == [3, 6, 9, 12]
    assert [line["loss"] == 99.0 for line in logged] == [True, False, False, False]


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    t = trainer(DENSE, tmp_path)
    t.one_step()
    save(t)
    other = trainer(replace(DENSE, train=replace(TRAIN, lr=0.02)), tmp_path)
    with pytest.raises(AllattError, match=f"is a checkpoint of run {DENSE.id}"):
        other.run()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path, rank):
    t = trainer(DENSE, tmp_path)
    t.one_step()
    save(t)
    with pytest.raises(AllattError, match="was written by 1 processes, and now there are 2"):
        load_checkpoint(tmp_path, DENSE.id, rank, world=2)


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    t = trainer(DENSE, tmp_path)
    t.one_step()
    save(t)
    path = next(tmp_path.glob("checkpoint-*.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AllattError, match="cannot be read") as error:
        trainer(DENSE, tmp_path).run()
    assert "\n" not in str(error.value)


def test_only_the_last_complete_checkpoint_is_kept(tmp_path):
    t = trainer(DENSE, tmp_path)
    for _ in range(3):
        t.one_step()
        save(t)
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-3-0.safetensors"]
    for name in (".checkpoint-4-0.safetensors.99.tmp", ".model.safetensors.98.tmp"):
        (tmp_path / name).write_bytes(b"killed while writing")
    again = trainer(DENSE, tmp_path)
    again.run()
    assert again.step == 12
    remove_checkpoint(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"], "nothing else is left"
