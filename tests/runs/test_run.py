"""get_or_run on a small text: cached, resumed after a kill, keyed by its config, and told in provenance."""

import json
import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_text import write_small_text

from allatt.config import KINDS, AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.data.tokens import load, pin
from allatt.evaluate import nll
from allatt.runs import Run, find, get_or_run
from allatt.runs import run as run_module
from allatt.system.machine import Machine
from allatt.system.paths import home

QUIET = Machine(device="cpu", log_every=5, progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit")


@pytest.fixture(scope="module")
def text(tmp_path_factory, home_of_tests):
    """A folder of a user's own: some hundred lines of words."""
    return write_small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def dense(text):
    data = pin(DataConfig(corpus=str(text), tokens="words", vocab_size=0))
    return RunConfig("dense", data, MODEL, TrainConfig(steps=20, rows=4, lr=0.01))


@pytest.fixture(scope="module")
def gated(dense):
    gates = GateConfig(lam=0.1, lr=0.3)
    return RunConfig("gated", dense.data, MODEL, replace(dense.train, lr=1e-3, steps=15), gates, dense)


def test_a_finished_run_is_read_and_not_trained_again(dense, monkeypatch):
    first = get_or_run(dense, QUIET)
    monkeypatch.setattr("allatt.runs.run._execute", lambda *args: pytest.fail("trained again"))
    again = get_or_run(replace(dense, name="another name"), QUIET)
    assert again.result == first.result and again.id == dense.id
    assert [line["step"] for line in again.metrics()] == [5, 10, 15, 20]
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        get_or_run(replace(dense, train=replace(dense.train, lr=0.02)), QUIET)


def test_equal_runs_give_equal_files(gated, tmp_path, monkeypatch):
    """Byte for byte, and with the mode of the umask."""
    first = get_or_run(gated, QUIET)
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    again = get_or_run(gated, QUIET)
    assert again.folder != first.folder
    for name in ("model.safetensors", "gates.safetensors", "config.json"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes(), name
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in again.folder.iterdir()} == {0o666 & ~umask}


def test_a_changed_hyperparameter_of_the_gates_does_not_touch_the_baseline(dense, gated):
    get_or_run(gated, QUIET)
    result = home() / "runs" / dense.id / "result.json"
    before = result.stat().st_mtime_ns
    other = get_or_run(replace(gated, gates=replace(gated.gates, lam=0.2)), QUIET)
    assert other.id != gated.id and result.stat().st_mtime_ns == before


def test_results_are_those_of_the_physically_smaller_model(gated):
    run = get_or_run(gated, QUIET)
    tokens, small = load(gated.data), run.pruned()
    total, predicted = nll(small, tokens.test, gated.train.rows)
    assert run.result["test"]["loss"] == pytest.approx(total / predicted, rel=1e-6)
    gated_total, _ = nll(run.load(), tokens.test, gated.train.rows, run.gates().evaluation())
    assert gated_total == pytest.approx(total, rel=1e-5)
    assert run.result["parameters"] == small.parameter_counts()
    assert run.result["heads"]["per_layer"] == list(small.config.heads_per_layer) == run.gates().kept().sum(-1).tolist()
    assert run.result["test"]["tokens"] == tokens.meta["splits"]["test"]["tokens"] - 1
    assert run.result["tokens_seen"] == 15 * 4 * 8


def test_a_run_may_be_evaluated_on_the_beginning_of_its_texts(dense):
    """Words and bytes are then those of that many tokens of the whole text; the model is the same."""
    whole, part = (get_or_run(replace(dense, train=replace(dense.train, evaluated=count)), QUIET) for count in (0, 20))
    tokens, model = load(dense.data), part.load()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), whole.load().parameters(), strict=True))
    for split in ("valid", "test"):
        ours, theirs, ids = part.result[split], whole.result[split], getattr(tokens, split)
        nats, predicted = nll(model, np.array(ids[:21]), 4)
        assert (ours["tokens"], theirs["tokens"]) == (predicted, len(ids) - 1) and predicted == 20
        assert ours["loss"] == pytest.approx(nats / 20) and ours["loss"] != theirs["loss"]
        for measure in (lambda found: math.log(found["word_perplexity"]), lambda found: found["bits_per_byte"]):
            assert measure(ours) / ours["loss"] == pytest.approx(measure(theirs) / theirs["loss"])


def test_a_pruning_run_starts_from_the_trained_weights(dense, gated):
    start = get_or_run(dense, QUIET)
    gates = replace(gated.gates, output_scaling=False)
    still = get_or_run(replace(gated, train=replace(gated.train, steps=0), gates=gates), QUIET)
    for name, tensor in start.load().state_dict().items():
        assert torch.equal(tensor, still.load().state_dict()[name]), name
    assert still.result["test"]["loss"] == pytest.approx(start.result["test"]["loss"])


def test_a_pruned_shape_is_fine_tuned_from_the_gated_run(gated):
    start = get_or_run(gated, QUIET)
    kept = tuple(map(tuple, start.result["heads"]["kept"]))
    config = RunConfig("tuned", gated.data, replace(MODEL, kept=kept), replace(gated.train, steps=0), None, gated)
    tuned = get_or_run(config, QUIET)
    assert tuned.load().config.kept == kept
    assert tuned.result["test"]["loss"] == pytest.approx(start.result["test"]["loss"], rel=1e-5)


def test_a_start_that_does_not_fit_is_one_clear_line(gated):
    with pytest.raises(AllattError, match="does not fit the model of gated"):
        get_or_run(replace(gated, model=replace(MODEL, persistent=5)), QUIET)


def test_provenance_says_where_the_numbers_come_from(dense, text):
    run = get_or_run(dense, QUIET)
    assert {"versions", "hardware", "commit", "started", "data", "device"} <= set(run.provenance)
    assert (run.provenance["micro_rows"], run.provenance["processes"]) == (0, 1), "both choose the masks of dropout"
    assert run.provenance["versions"]["torch"] == torch.__version__
    assert run.provenance["data"]["splits"]["test"]["words"] > 0
    config = json.loads((run.folder / "config.json").read_text())
    assert config == to_dict(dense) and config["data"]["text_sha256"]


def test_runs_are_found_by_the_start_of_their_id(dense):
    run = get_or_run(dense, QUIET)
    assert find(run.id[:8]).id == run.id
    with pytest.raises(AllattError, match="0 finished runs start with 'zzz'"):
        find("zzz")
    with pytest.raises(AllattError, match="give the id of one"):
        find("*")


def test_a_notebooks_random_numbers_do_not_depend_on_the_cache(dense):
    drawn = []
    for _ in range(2):
        torch.manual_seed(7)
        get_or_run(replace(dense, train=replace(dense.train, steps=5, seed=9)), QUIET)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_seeds_differ_and_repeat(dense, monkeypatch, tmp_path):
    short = replace(dense, train=replace(dense.train, steps=3))
    one = get_or_run(replace(short, train=replace(short.train, seed=1)), QUIET).result["test"]["loss"]
    zero = get_or_run(short, QUIET).result["test"]["loss"]
    assert one != zero
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    assert get_or_run(short, QUIET).result["test"]["loss"] == zero, "bitwise, from nothing"


def test_a_changed_text_is_another_run(dense, text):
    path = text / "wiki.train.tokens"
    before = path.read_text()
    try:
        path.write_text(before + " more words here \n")
        assert replace(dense, data=pin(replace(dense.data, text_sha256=""))).id != dense.id
    finally:
        path.write_text(before)


def test_a_damaged_run_names_its_folder(gated):
    run = get_or_run(replace(gated, train=replace(gated.train, steps=2)), QUIET)
    for name, read in (("gates.safetensors", run.gates), ("model.safetensors", run.load), ("metrics.jsonl", run.metrics)):
        path = run.folder / name
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(AllattError, match="remove (its|the) folder") as error:
            read()
        assert "\n" not in str(error.value) and str(run.folder) in str(error.value)


def test_a_run_of_another_text_is_not_taken_for_this_one(dense, monkeypatch):
    """Corpora whose checksum is not known beforehand are not in the hash: the text that was read is compared."""
    config = replace(dense, data=replace(dense.data, text_sha256=""), train=replace(dense.train, steps=1))
    run = get_or_run(config, QUIET)
    assert get_or_run(config, QUIET).id == run.id

    class Other:
        sha256 = {"train": "of another text"}

    monkeypatch.setattr("allatt.runs.run.locate", lambda name: Other)
    with pytest.raises(AllattError, match="was trained on another text of .*; remove"):
        get_or_run(config, QUIET)


def test_closed_heads_do_not_open_again_by_themselves(gated):
    with pytest.raises(AllattError, match="whose gates have closed heads; consolidate, or list the heads to keep"):
        get_or_run(RunConfig("tuned", gated.data, MODEL, gated.train, None, gated), QUIET)


def test_a_damaged_result_is_one_clear_line(dense, tmp_path):
    run = get_or_run(replace(dense, train=replace(dense.train, steps=1)), QUIET)
    (run.folder / "result.json").write_text("{")
    with pytest.raises(AllattError, match=r"result.json cannot be read .*remove its folder"):
        Run(run.folder)


# Two phases

WIDE = replace(MODEL, heads=4, feed_forward=6)


def first_phase(dense, kind="all-attention", scaling=True):
    """A run whose gates close three of eight heads or so."""
    model = replace(WIDE, kind=kind)
    start = replace(dense, model=model, train=replace(dense.train, steps=10))
    gates = GateConfig(lam=0.0, lr=0.2, initial=0.5, output_scaling=scaling, target_kept=0.625)
    return RunConfig("first", dense.data, model, TrainConfig(steps=25, rows=4, lr=1e-3, skip=10), gates, start)


def consolidation(first, steps=0):
    return replace(first, name="second", gates=None, start=first, consolidate=True,
                   train=replace(first.train, steps=steps, skip=first.train.skip + first.train.steps, lr=5e-3))


def loss_on_test(model, config, gate_LH=None):
    total, predicted = nll(model, load(config.data).test, config.train.rows, gate_LH)
    return total / predicted


@pytest.mark.parametrize("kind, scaling", [(KINDS[0], True), (KINDS[0], False), (KINDS[1], True)])
def test_the_second_phase_starts_from_the_first_without_its_closed_heads(dense, kind, scaling):
    config = first_phase(dense, kind, scaling)
    first, second = get_or_run(config, QUIET), get_or_run(consolidation(config), QUIET)
    open_L = first.gates().kept().sum(-1)
    assert 0 < open_L.sum() < 8, "else this test shows nothing"
    factor_LH = first.gates().kept() * (4 / open_L[:, None] if scaling else 1.0)
    expected = loss_on_test(first.load(), config, factor_LH.float())
    for model in (second.load(), second.pruned(), first.pruned()):
        assert loss_on_test(model, config) == pytest.approx(expected, abs=1e-6)
        assert model.config.heads_per_layer == tuple(open_L.tolist())
    assert second.result["test"]["loss"] == pytest.approx(expected, abs=1e-6)
    assert second.result["heads"] == first.result["heads"] and second.result["parameters"] == first.result["parameters"]
    assert loss_on_test(get_or_run(config.start).load(), config) != pytest.approx(expected, abs=1e-3), "it is not the baseline"


def test_the_second_phase_trains_the_heads_that_are_left_and_no_gates(dense):
    config = first_phase(dense)
    first, second = get_or_run(config, QUIET), get_or_run(consolidation(config, steps=10), QUIET)
    small, trained = first.pruned(), second.load()
    assert trained.config.kept == small.config.kept and second.result["heads"] == first.result["heads"]
    assert all(not torch.equal(tensor, trained.state_dict()[name]) for name, tensor in small.state_dict().items()
               if "HKD" in name), "all of its weights learn"
    assert second.gates() is None and not (second.folder / "gates.safetensors").exists()
    assert not {"kept", "logits", "lambda", "expected_open"} & set(second.metrics()[-1])
    assert second.result["tokens_seen"] == 10 * 4 * 8 and len(first.metrics()) == 5
    assert loss_on_test(second.pruned(), config) == pytest.approx(second.result["test"]["loss"], abs=1e-6)


def test_the_run_with_the_gates_is_found_from_either_phase(dense, tmp_path):
    config = first_phase(dense)
    first, second = get_or_run(config, QUIET), get_or_run(consolidation(config), QUIET)
    assert first.gated() is first and second.gated().id == first.id != second.id
    assert torch.equal(second.gated().gates().logit_LH, first.gates().logit_LH)
    assert get_or_run(config.start).gated() is None
    moved = Run(shutil.copytree(second.folder, tmp_path / "runs" / second.id))
    with pytest.raises(AllattError) as error:
        moved.gated()
    assert f"run {second.id} consolidates run {first.id}, which is not in {tmp_path / 'runs'}" in str(error.value)
    assert "\n" not in str(error.value)
    assert moved.load().config.kept == second.load().config.kept, "its model needs no other run"


OTHERS = ((1,), (0, 2, 3))
"""Heads that no gate has chosen: other numbers in both layers."""


@pytest.mark.parametrize("scaling", [True, False])
def test_other_heads_of_gated_weights_are_scaled_by_their_own_number(dense, scaling):
    """Rivals that are cut late: heads / kept heads of each layer as they keep them, not as the gates did."""
    config = first_phase(dense, scaling=scaling)
    first = get_or_run(config, QUIET)
    cut = get_or_run(replace(consolidation(config), model=replace(WIDE, kept=OTHERS), consolidate=False), QUIET)
    assert cut.load().config.kept == OTHERS != first.pruned().config.kept and cut.gated() is None
    factor_LH = torch.tensor([[0, 4, 0, 0], [4 / 3, 0, 4 / 3, 4 / 3]])
    expected = loss_on_test(first.load(), config, factor_LH if scaling else (factor_LH > 0).float())
    assert cut.result["test"]["loss"] == pytest.approx(expected, abs=1e-6)


def test_heads_of_a_dense_model_are_cut_without_scaling_and_once(dense):
    """And a second phase of such a run goes on from exactly where the first one stopped."""
    start = first_phase(dense).start
    train = replace(start.train, steps=0, skip=10)
    cut = replace(start, name="cut", model=replace(WIDE, kept=OTHERS), start=start, train=train)
    mask_LH = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 1]]).float()
    expected = loss_on_test(get_or_run(start, QUIET).load(), start, mask_LH)
    assert get_or_run(cut, QUIET).result["test"]["loss"] == pytest.approx(expected, abs=1e-6)
    tuned = get_or_run(replace(cut, train=replace(cut.train, steps=5)), QUIET)
    again = get_or_run(replace(cut, start=tuned.config), QUIET)
    for name, tensor in tuned.load().state_dict().items():
        assert torch.equal(tensor, again.load().state_dict()[name]), name
    assert again.result["test"] == tuned.result["test"]


@pytest.mark.parametrize("kept, message", [
    (((0, 1), (0, 2, 3)), "layer 1 has no head 0; it has 1"),
    (None, "does not fit the model of more"),
])
def test_heads_that_the_start_does_not_have_are_one_clear_line(dense, kept, message):
    start = first_phase(dense).start
    cut = replace(start, name="cut", model=replace(WIDE, kept=OTHERS), start=start, train=replace(start.train, steps=0))
    with pytest.raises(AllattError, match=message) as error:
        get_or_run(replace(cut, name="more", model=replace(WIDE, kept=kept), start=cut), QUIET)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"persistent": 5}, {"layers": 1}, {"layers": 3}, {"d_model": 12}, {"d_head": 2},
                                    {"positions": 10}, {"heads": 5}, {"kind": KINDS[1]}])
@pytest.mark.parametrize("phase", ["dense", "cut", "second"])
def test_a_start_of_another_geometry_is_one_clear_line(dense, phase, change):
    """Other numbers of layers and heads too, whose tensors would fit."""
    first = first_phase(dense)
    config = {"dense": replace(first.start, start=first.start), "second": consolidation(first),
              "cut": replace(consolidation(first), model=replace(WIDE, kept=OTHERS), consolidate=False)}[phase]
    if phase == "cut" and "layers" in change:
        change = change | {"kept": ((1,),) * change["layers"]}
    with pytest.raises(AllattError) as error:
        get_or_run(replace(config, model=replace(config.model, **change)), QUIET)
    assert "\n" not in str(error.value) and ("layers" in str(error.value) or "does not fit" in str(error.value))


def test_all_processes_hear_that_the_first_one_waits_for_a_lock(dense, monkeypatch, capsys, home):
    """Two processes of torchrun, of which this is the first; another program has the lock for three tries."""
    heard = []

    class Held:
        def __init__(self, path):
            self.tries = 0

        def acquire(self, timeout):
            heard.append(timeout)
            self.tries += 1
            if self.tries < 4:
                raise run_module.Timeout("held")

        def release(self):
            heard.append("released")

    monkeypatch.setattr(run_module, "FileLock", Held)
    monkeypatch.setattr(run_module, "rank_and_world", lambda: (0, 2))
    monkeypatch.setattr(run_module.dist, "broadcast_object_list", lambda values, source: heard.append(values[0]))
    monkeypatch.setattr(run_module, "_execute", lambda *rest: heard.append("trained"))
    monkeypatch.setattr(run_module, "Run", lambda folder: folder)
    get_or_run(dense, QUIET)
    wait = run_module.WAIT
    assert heard == [False, 0, False, wait, False, wait, False, wait, True, False, "trained", False, "released"]
    assert capsys.readouterr().err == f"allatt: waiting: another process is training run {dense.id} (dense)\n"


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_text_of_one_token_is_refused_before_the_training(tmp_path, split, monkeypatch):
    """Nothing in it could be predicted."""
    folder = write_small_text(tmp_path)
    (folder / f"wiki.{split}.tokens").write_text("the")
    config = RunConfig("short", pin(DataConfig(corpus=str(folder), tokens="words", vocab_size=0)), MODEL, TrainConfig(steps=2))
    monkeypatch.setattr("allatt.runs.run.Trainer", lambda *rest: pytest.fail("trained"))
    with pytest.raises(AllattError, match=f"the {split} text of .* has 1 tokens, and nothing to predict"):
        get_or_run(config, QUIET)
