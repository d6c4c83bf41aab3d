"""Saved models: the folder's content, its card, and what a model of any file may be."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save
from small_text import write_small_text

from allatt.config import KINDS, AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import load as load_tokens
from allatt.data.tokens import pin
from allatt.model import LanguageModel
from allatt.runs import get_or_run, saved
from allatt.system.files import checksum
from allatt.system.machine import Machine

QUIET = Machine(device="cpu", progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, feed_forward=6, segment=8, memory=8, positions=9)


@pytest.fixture(scope="module", params=["words", "subwords", "characters"])
def run(request, tmp_path_factory, home_of_tests):
    folder = write_small_text(tmp_path_factory.mktemp("text"))
    data = pin(DataConfig(str(folder), request.param, vocab_size=0 if request.param == "words" else 40))
    model = replace(MODEL, kind=KINDS[request.param == "words"])
    dense = RunConfig("dense", data, model, TrainConfig(steps=3, rows=4, lr=0.01))
    return get_or_run(replace(dense, name="gated", gates=GateConfig(initial=0.0, lr=0.2), start=dense), QUIET)


def test_a_saved_model_is_the_run_s(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    model, vocabulary, about = saved.load(folder)
    for name, tensor in run.pruned().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    tokens = load_tokens(run.config.data)
    assert vocabulary.encode("the words of a text\n").tolist() == tokens.encode("the words of a text\n")
    assert not model.training and about["result"]["test"] == run.result["test"] and about["run"] == run.id
    other = saved.load(run.id)
    assert other.model.config == model.config and other.about["run"] == run.id and vocabulary.size == other.vocabulary.size


def test_the_folder_has_four_files_and_their_checksums(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    about = json.loads((folder / "about.json").read_text())
    names = {path.name for path in folder.iterdir()} - {"about.json"}
    assert names == set(about["files"]) and len(names) == 3 and {"model.safetensors", "README.md"} < names
    assert about["files"] == {name: checksum(folder / name) for name in names}


def test_the_card_says_what_the_model_is(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    card, test = (folder / "README.md").read_text(), run.result["test"]
    heads = run.result["heads"]
    assert f"{heads['total']} of\n4 attention heads ({' '.join(map(str, heads['per_layer']))} by layer)" in card
    names = ("perplexity", "word_perplexity", "bits_per_byte")
    numbers = (f"{test['tokens']:,}", *(f"{test[name]:.{digits}f}" for name, digits in zip(names, (2, 2, 3), strict=True)))
    assert f"| test | {' | '.join(numbers)} |" in card
    assert "segment 8, memory 8, rows 4, same length True, precision fp32" in card
    assert run.id in card and "unknown: it is your own text" in card and str(tmp_path) not in card
    assert "(CC0), as" in (saved.save(run, tmp_path / "more", "CC0") / "README.md").read_text()


# Model files of any origin

@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LanguageModel(replace(MODEL, kept=((0, 1), (1,))), 11)


def altered(model, path, tensors=None, about=None, **changes):
    """A model file with some tensors, or values of its metadata, replaced."""
    model.save(path)
    held = {name: tensor for name, tensor in (load_file(path) | (tensors or {})).items() if tensor is not None}
    values = about or {"config": json.loads(json.dumps(vars(model.config))) | changes, "vocab": model.vocab}
    path.write_bytes(save(held, {"model": json.dumps(values)}))
    return path


def test_an_unaltered_file_is_read(model, tmp_path):
    again = LanguageModel.load(altered(model, tmp_path / "m.safetensors"))
    assert again.config == model.config and all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize("tensors", [
    {"distance_PD": None}, {"blocks.0.persistent_key_HNK": None}, {"more": torch.zeros(2)}, {"distance_PD": torch.zeros(9, 7)},
    {"distance_PD": torch.zeros(9, 8, dtype=torch.int64)}, {"distance_PD": torch.zeros(9, 8, dtype=torch.float64)},
    {"distance_PD": torch.zeros(9, 8).to(torch.float8_e5m2)}, {"distance_PD": torch.zeros(0)}])
def test_other_tensors_are_one_clear_line(model, tmp_path, tensors):
    with pytest.raises(AllattError, match="m.safetensors is not a model of allatt: ") as error:
        LanguageModel.load(altered(model, tmp_path / "m.safetensors", tensors))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [
    {"layers": 99_999_999}, {"heads": 10**12}, {"d_model": 10**9}, {"positions": 10**12}, {"persistent": 10**12}, {"layers": 1},
    {"kind": "transformer-xl"}, {"kept": None}, {"kept": [[0], [0]]}, {"layers": "2"}, {"more": 1}, {"layers": -1},
    {"d_head": 10**15}, {"cutoffs": [3, 5]}])
def test_sizes_are_not_believed_before_the_tensors_are_seen(model, tmp_path, changes):
    """At once, and without the memory for them."""
    if "layers" in changes and changes["layers"] != "2":
        changes = changes | {"kept": None}
    with pytest.raises(AllattError) as error:
        LanguageModel.load(altered(model, tmp_path / "m.safetensors", **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("about", [
    {"vocab": 11}, {"config": {}, "vocab": 11}, {"config": [], "vocab": 11}, [], 5,
    {"config": {"layers": 2}, "vocab": 10**12}, {"config": {"layers": 2}, "vocab": "11"},
    {"config": {"layers": 2}, "vocab": 1.5}])
def test_metadata_of_another_form_is_one_clear_line(model, tmp_path, about):
    with pytest.raises(AllattError) as error:
        LanguageModel.load(altered(model, tmp_path / "m.safetensors", about=about or [0]))
    assert "\n" not in str(error.value)


def test_a_folder_stands_for_its_model_and_other_places_are_one_clear_line(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    assert LanguageModel.load(tmp_path).config == model.config
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing", tmp_path / "model.safetensors" / "x"):
        with pytest.raises(AllattError, match="is not a model of allatt") as error:
            LanguageModel.load(path)
        assert "\n" not in str(error.value)
