"""Saved models: the folder's content, its card, and what a model of any file may be."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from small_text import SMALL

from allatt.config import AllattError, ModelConfig
from allatt.data.tokens import load as load_tokens
from allatt.model import LanguageModel
from allatt.sharing import saved
from allatt.system.files import checksum, seal


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


def test_the_folder_has_five_files_and_their_checksums(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    about = json.loads((folder / "about.json").read_text())
    names = {path.name for path in folder.iterdir()} - {"about.json"}
    assert names == set(about["files"]) and len(names) == 4 and {"model.safetensors", "README.md", "config.json"} < names
    assert about["files"] == {name: checksum(folder / name) for name in names}


# Saved whole or not at all

def fail(error):
    raise error


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["allatt.sharing.saved.card", "allatt.sharing.saved.write_json", "os.replace"])
def test_a_save_that_stops_leaves_nothing_and_can_be_repeated(run, tmp_path, monkeypatch, exists, error, step):
    """A full disk, or a signal, when only a part is written."""
    folder, replace_ = tmp_path / "parent" / "out", os.replace
    folder.mkdir(parents=True) if exists else folder.parent.mkdir()
    with monkeypatch.context() as patch:
        if step == "os.replace":  # the last one: of the folder, or of its last file
            last = folder / "about.json" if exists else folder
            patch.setattr(step, lambda a, b: fail(error) if Path(b) == last else replace_(a, b))
        else:
            patch.setattr(step, lambda *given: fail(error))
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else AllattError):
            saved.save(run, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["out"] * exists
    assert not exists or not any(folder.iterdir())
    saved.load(saved.save(run, folder))
    assert [path.name for path in folder.parent.iterdir()] == ["out"] and len(list(folder.iterdir())) == 5


def test_what_a_killed_process_has_left_is_replaced(run, tmp_path):
    for draft in (tmp_path / ".new.draft", tmp_path / "old" / ".draft"):
        draft.mkdir(parents=True)
        (draft / "a part").write_text("")
    (tmp_path / "old" / "README.md").write_text("moved before it was killed")
    for name in ("new", "old"):
        assert len(list(saved.save(run, tmp_path / name).iterdir())) == 5
        saved.load(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_link_to_an_empty_folder_is_filled_and_one_that_leads_nowhere_refused(run, tmp_path):
    (tmp_path / "real").mkdir()
    for link, target in (("good", "real"), ("bad", "nothing"), ("loop", "loop")):
        (tmp_path / link).symlink_to(target)
    saved.save(run, tmp_path / "good")
    assert (tmp_path / "good").is_symlink() and saved.load(tmp_path / "real").about["run"] == run.id
    for name in ("bad", "loop", "bad/below"):
        with pytest.raises(AllattError, match=r"(bad|loop) is a symbolic link that leads nowhere; remove it, or name another"):
            saved.save(run, tmp_path / name)
    assert not (tmp_path / "nothing").exists()


# Saved by somebody else

@pytest.fixture
def changed(run, tmp_path):
    """A function that saves the run, changes about.json, and makes its seal and checksums again."""
    def change(name="", value=None, weights=None):
        folder = saved.save(run, tmp_path / "out")
        about = json.loads((folder / "about.json").read_text())
        *sections, key = name.split(".")
        section = about[sections[0]] if sections else about
        section |= {key: value} if name else {}
        if weights is not None:
            path = folder / "model.safetensors"
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
            tensors = load_file(path)
            path.write_bytes(save(tensors | {"distance_PD": torch.full_like(tensors["distance_PD"], weights)}, metadata))
            about["files"][path.name] = checksum(path)
        (folder / "about.json").write_text(json.dumps(seal(about)))
        return folder
    return change


@pytest.mark.parametrize("name, value", [
    ("files", []), ("files", {"README.md": 5}), ("tokens", ["words"]), ("tokens", 5), ("tokens", "letters"), ("text", 5),
    ("text", []), ("text", {}), ("text.name", 7), ("name", None), ("run", {}), ("result", "good")])
def test_about_of_another_form_is_one_clear_line(changed, name, value):
    with pytest.raises(AllattError, match=f"about.json has {name}.* save the run again"):
        saved.load(changed(name, value))


@pytest.mark.parametrize("weights", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(run, changed, monkeypatch, tmp_path, weights):
    folder = changed(weights=weights)
    with pytest.raises(AllattError, match="the model of .*out has a weight that is not a finite number"):
        saved.load(folder)
    model = LanguageModel.load(folder)
    monkeypatch.setattr("allatt.runs.run.Run.pruned", lambda run: model)
    with pytest.raises(AllattError, match=f"the model of {run.id} has a weight that is not a finite number"):
        saved.load(run.id)
    with pytest.raises(AllattError, match="has a weight that is not a finite number"):
        saved.save(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_texts_of_about_are_lines_that_a_terminal_can_show(changed):
    about = saved.load(changed("name", "a\x1b]0;title\x07\x9b2Jb\nc\u202ed")).about
    assert about["name"] == "a ]0;title 2Jb c d" and about["text"]["name"].isprintable()


def test_tokens_of_another_form_are_one_clear_line(changed):
    folder = changed()
    about = json.loads((folder / "about.json").read_text())
    file, contents = {
        "words": ("words.txt", ["a\nb\n", "\xff"]), "subwords": ("subwords.model", ["", "no model"]),
        "characters": ("characters.json", ['{"codes": [-1], "unknown": false}', "[]", '{"codes": 5, "unknown": 1}', "{",
                                           '{"codes": [99999999], "unknown": false}', '{"codes": [97], "unknown": 9}'])
    }[about["tokens"]]
    for content in contents:
        (folder / file).write_bytes(content.encode("latin-1"))
        about["files"][file] = checksum(folder / file)
        (folder / "about.json").write_text(json.dumps(seal(about)))
        with pytest.raises(AllattError, match=f"does not hold {about['tokens']} "):
            saved.load(folder)


# Model files of any origin

@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(**SMALL, kept=((0, 1), (1,))), 11)


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
