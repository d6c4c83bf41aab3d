"""Records: a run without its weights comes back as it was, and says so when the weights are asked for."""

import json

import pytest
import torch

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import Run, finished, get_or_run
from allatt.runs.records import record, restore, write_record
from allatt.system.files import SEAL, seal
from allatt.system.machine import Machine


@pytest.fixture(scope="module")
def run(tmp_path_factory, home_of_tests) -> Run:
    """A consolidated run of a few steps, with its first phase."""
    folder = tmp_path_factory.mktemp("text")
    for split in ("train", "valid", "test"):
        (folder / f"wiki.{split}.tokens").write_text("the head of a layer looks back at what was said before .\n" * 20)
    model = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9)
    data, train = pin(DataConfig(corpus=str(folder), tokens="characters")), TrainConfig(steps=3, rows=2, lr=1e-2)
    gated = RunConfig("gated", data, model, train, GateConfig(initial=0.0, lr=0.1), RunConfig("start", data, model, train))
    return get_or_run(RunConfig("pruned", data, model, train, start=gated, consolidate=True), Machine(progress=False))


def without_files(result):
    return {key: value for key, value in result.items() if key not in ("files", SEAL)}


def test_a_run_comes_back_from_its_record_without_weights(run, tmp_path, home):
    (run.gated().folder / "rivals.json").write_text('{"random heads": [[0], [1]]}')
    paths = [write_record(one, tmp_path / "records") for one in (run.gated(), run)]
    assert [restore(path) for path in paths] == [True, True]
    again = Run(home / "runs" / run.id)
    assert again.id == run.id and without_files(again.result) == without_files(run.result)
    assert set(run.result["files"]) - set(again.result["files"]) == {"model.safetensors"}
    assert finished(run.config) and get_or_run(run.config).result == again.result, "read, not trained"
    first, gates = again.gated(), run.gated().gates()
    assert torch.equal(first.gates().logit_LH, gates.logit_LH) and first.gates().kept().tolist() == gates.kept().tolist()
    assert json.loads((first.folder / "rivals.json").read_text()) == {"random heads": [[0], [1]]}
    for old, new in zip(run.gated().metrics(), first.metrics(), strict=True):
        assert old.keys() == new.keys() and old["kept"] == new["kept"] and new["loss"] == pytest.approx(old["loss"], rel=1e-5)
    with pytest.raises(AllattError, match=rf"run {run.id} \(pruned\) is here without its weights, .* remove {again.folder}"):
        again.load()


def test_a_run_that_is_there_is_left_alone(run, tmp_path):
    weights = (run.folder / "model.safetensors").read_bytes()
    assert restore(write_record(run, tmp_path)) is False
    assert (run.folder / "model.safetensors").read_bytes() == weights


def test_what_was_measured_later_is_part_of_a_record(run):
    (run.folder / "attention.json").write_text('{"rows": 3}')
    assert record(run)["readings"] == {"attention": {"rows": 3}}


@pytest.mark.parametrize("change, message", [
    (lambda values: values["config"]["train"].update(lr=0.5), "but its config is that of run"),
    (lambda values: values.update(id="0" * 12), "holds run 000000000000, but its config is that of run"),
    (lambda values: values.pop("metrics"), "lacks metrics; it must be the record of a run"),
    (lambda values: values["result"]["test"].update(loss=1.0), "was changed after it was written"),
    (lambda values: values["config"].update(more=1), "RunConfig has no more"),
])
def test_a_record_that_was_changed_is_refused(run, tmp_path, home, change, message):
    path = write_record(run, tmp_path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values if "after it was written" in message else seal(values)))
    with pytest.raises(AllattError, match=message):
        restore(path)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_other_files_are_one_clear_line(tmp_path, home, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(AllattError) as error:
        restore(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_record_names_no_path_and_has_the_run_s_id(run, tmp_path):
    provenance = run.provenance | {"resumed": [run.provenance]}  # a run that was interrupted has one more
    path = run.folder / "provenance.json"
    before = path.read_text()
    path.write_text(json.dumps(provenance))
    text = write_record(Run(run.folder), tmp_path).read_text()
    path.write_text(before)
    folder = run.config.data.corpus
    assert folder.startswith("/") and folder not in text and str(tmp_path.parent) not in text
    assert json.loads(text)["id"] == run.id
