"""Saved models from a hub: a server on this machine, and everything that can go wrong with it."""

import logging

import pytest
import torch

from allatt.config import AllattError
from allatt.sharing import hub, saved

ADDRESS = "hf://someone/small-model"


@pytest.fixture
def model_on_hub(one_run, tmp_path, server, monkeypatch):
    """The server, with a saved model as a repository; the user's own home is empty but for what is downloaded."""
    folder = saved.save(one_run, tmp_path / "saved")
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "other machine"))
    return server


def test_a_model_on_the_hub_is_the_one_that_was_saved(model_on_hub, one_run):
    model, vocabulary, about = saved.load(ADDRESS)
    assert about["run"] == one_run.id and vocabulary.size == model.vocab
    for name, tensor in one_run.pruned().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_weights_are_downloaded_once_and_again_if_they_change(model_on_hub):
    saved.load(ADDRESS)
    model_on_hub.asked.clear()
    model_on_hub.bodies.clear()
    saved.load(ADDRESS)
    assert "model.safetensors" not in str(model_on_hub.bodies)
    model_on_hub.files["README.md"] += b"more"
    folder = hub.fetch(ADDRESS)
    assert (folder / "README.md").read_bytes().endswith(b"more")


def test_other_files_of_a_repository_are_left_there(model_on_hub):
    model_on_hub.files |= {"code.py": b"print()", "model.bin": b"x", "subwords.json": b"{}"}
    folder = hub.fetch(ADDRESS)
    assert not {"code.py", "model.bin", "subwords.json"} & {path.name for path in folder.iterdir()}


def test_without_a_network_the_downloaded_copy_is_used_and_said(model_on_hub, monkeypatch, capfd):
    def no_network(*arguments, **named):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        raise ConnectionError("no network\nmore")

    saved.load(ADDRESS)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_tree", no_network)
    assert saved.load(ADDRESS).about["name"] == "gated"
    error = capfd.readouterr().err
    assert "cannot be reached (no network)" in error and "the copy of it in" in error and error.count("\n") == 1
    with pytest.raises(AllattError, match=r"cannot download hf://someone/other \(.*\); check the name and the network"):
        saved.load("hf://someone/other")


@pytest.mark.parametrize("address", ["hf://", "hf://name", "hf://a/b/c", "hf://../x", "hf://a b/c", "hf://a/..", "hf:///"])
def test_an_address_that_is_none_is_one_clear_line(address, home):
    with pytest.raises(AllattError, match="names no repository; write hf://owner/name"):
        saved.load(address)
    assert not (home / "hub").exists()


def test_a_repository_of_something_else_is_refused_before_it_is_downloaded(model_on_hub, monkeypatch):
    monkeypatch.setattr(hub, "LARGEST", 1000)
    with pytest.raises(AllattError, match=r"has [\d,]+ bytes; at most 1,000 are taken"):
        saved.load(ADDRESS)
    monkeypatch.undo()


def test_a_repository_without_a_saved_model_is_named(model_on_hub):
    del model_on_hub.files["about.json"]
    with pytest.raises(AllattError, match=r"has no about\.json; it is not a model that allatt saved"):
        saved.load(ADDRESS)
    assert not [path for path in model_on_hub.asked if "/resolve/" in path]


def test_a_file_that_changed_on_the_way_is_refused(model_on_hub):
    content = bytearray(model_on_hub.files["model.safetensors"])
    content[-1] ^= 1
    model_on_hub.files["model.safetensors"] = bytes(content)
    with pytest.raises(AllattError, match=r"model\.safetensors is missing, or was changed"):
        saved.load(ADDRESS)
