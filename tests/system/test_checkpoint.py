"""Checkpoint files: complete or ignored, of this run and this number of processes, and a state that comes back whole."""

import json
from dataclasses import replace

import pytest
import torch
from test_train import DENSE, QUIET, TARGET, TRAIN, metrics, trainer

from allatt.config import AllattError
from allatt.system.checkpoint import has_checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint


def save(t):
    save_checkpoint(t.folder, t.state(), t.config.id)


XL = replace(DENSE, model=replace(DENSE.model, kind="transformer-xl", feed_forward=6, kept=((), ())))
"""The optimizer has no state of parameters without a gradient, as the biases of positions here, where no head is left."""


@pytest.mark.parametrize("config", [DENSE, TARGET, XL], ids=["dense", "target", "transformer-xl"])
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
    with_state = {name.split(".")[1] for name in before.tensors if name.startswith("optimizer.")}
    assert (len(with_state) == len(t.parameters)) == (config.model.kept is None)
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

    monkeypatch.setattr("allatt.system.checkpoint.write", killed)
    with pytest.raises(KeyboardInterrupt):
        save(t)
    assert load_checkpoint(tmp_path, DENSE.id).values["step"] == 1


@pytest.mark.parametrize("left", ["", '{"step": 3, "loss": 99.0}\n', "noise", None])
def test_lines_of_metrics_come_from_the_checkpoint(left, tmp_path):
    """Killed some logged steps after it, or with lines lost on the disk: the log is that of an undisturbed run."""
    whole = trainer(DENSE, tmp_path / "whole")
    whole.run()
    t = trainer(DENSE, tmp_path / "cut", replace(QUIET, checkpoint_seconds=0.0))
    original = t.one_step

    def dies_in_step_8():
        if t.step == 8:
            raise RuntimeError("killed")
        return original()

    t.one_step = dies_in_step_8
    with pytest.raises(RuntimeError, match="killed"):
        t.run()
    path = tmp_path / "cut" / "metrics.jsonl"
    assert [line["step"] for line in metrics(path.parent)] == [3, 6]
    path.unlink()
    if left is not None:
        path.write_text(left)
    trainer(DENSE, tmp_path / "cut").run()
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


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


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


DAMAGE = {"cut": lambda content: content[:100], "empty": lambda content: b"", "a flipped bit": flipped,
          "another step": lambda content: content.replace(b'\\"step\\": ', b'\\"step\\":1'),
          "no checksum": lambda content: content.replace(b'"sha256"', b'"sha257"')}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_after_damage_the_generation_before_is_taken(damage, tmp_path, capsys):
    t = trainer(DENSE, tmp_path)
    for _ in range(2):
        t.one_step()
        save(t)
    path = tmp_path / "checkpoint-2-0.safetensors"
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    assert load_checkpoint(tmp_path, DENSE.id).values["step"] == 1
    said = capsys.readouterr().err
    assert f"checkpoint {path} " in said and said.endswith(f"; run {DENSE.id} continues from step 1\n")
    assert len(said.splitlines()) == 1
    older = tmp_path / "checkpoint-1-0.safetensors"
    older.write_bytes(damage(older.read_bytes()))
    with pytest.raises(AllattError, match=r"remove \S+ to start the run again") as error:
        trainer(DENSE, tmp_path).run()
    assert str(path) in str(error.value) and str(older) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("change", [
    lambda state: state.tensors.pop("memory"), lambda state: state.tensors.pop("rng.noise"),
    lambda state: state.tensors.update({"model.no": state.tensors.pop("model.norm.weight")})
    if "model.norm.weight" in state.tensors else state.tensors.pop(next(n for n in state.tensors if n.startswith("model."))),
    lambda state: state.tensors.update(memory=torch.zeros(3)), lambda state: state.values.pop("groups"),
    lambda state: state.values.pop("scalars"), lambda state: state.values.update(groups=[]),
    lambda state: state.tensors.pop(next(n for n in state.tensors if n.endswith("exp_avg"))),
    lambda state: state.values.update(filled="many"), lambda state: state.values.update(metrics=5)])
def test_a_checkpoint_of_another_form_is_one_clear_line(change, tmp_path):
    """Undamaged, but not of this model: written by hand, or by another version."""
    t = trainer(DENSE, tmp_path)
    t.one_step()
    state = t.state()
    change(state)
    save_checkpoint(tmp_path, state, DENSE.id)
    with pytest.raises(AllattError, match=f"does not fit run {DENSE.id} .*; remove the folder") as error:
        trainer(DENSE, tmp_path).run()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_part_of_a_checkpoint_is_none(missing, tmp_path, monkeypatch):
    """One of two processes was killed before it wrote: both go back to the generation before, or to the beginning."""
    monkeypatch.setattr("torch.distributed.barrier", lambda: None)
    t = trainer(DENSE, tmp_path)
    for step in (1, 2):
        t.one_step()
        for rank in (0, 1):
            if (step, rank) != (2, missing):
                state = t.state()
                state.values["filled"] = 100 * step + rank
                save_checkpoint(tmp_path, state, DENSE.id, rank, world=2)
    for rank in (0, 1):
        assert load_checkpoint(tmp_path, DENSE.id, rank, world=2).values["filled"] == 100 + rank
    (tmp_path / f"checkpoint-1-{missing}.safetensors").unlink()
    assert all(load_checkpoint(tmp_path, DENSE.id, rank, world=2) is None for rank in (0, 1))


def test_two_generations_are_kept_and_none_of_a_finished_run(tmp_path):
    t = trainer(DENSE, tmp_path)
    assert not has_checkpoint(tmp_path)
    for _ in range(11):
        t.one_step()
        save(t)
    assert {p.name for p in tmp_path.glob("checkpoint-*")} == {f"checkpoint-{step}-0.safetensors" for step in (10, 11)}
    for name in (".checkpoint-4-0.safetensors.99.tmp", ".model.safetensors.98.tmp"):
        (tmp_path / name).write_bytes(b"killed while writing")
    again = trainer(DENSE, tmp_path)
    again.run()
    assert again.step == 12 and has_checkpoint(tmp_path)
    remove_checkpoint(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"], "nothing else is left"
