"""Every reader against files that something has changed: the right answer, or AllattError in one line; never another exception.

About 2,000 cases by default; ALLATT_FUZZ=10 makes ten times as many.
"""

import copy
import json
import os
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_text import write_small_text

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.config_json import alter, from_dict
from allatt.data.corpora import locate
from allatt.data.tokens import load, pin
from allatt.model import LanguageModel
from allatt.reproduce import parameters
from allatt.reproduce.status import read_status
from allatt.runs import Run, get_or_run
from allatt.runs.records import restore, write_record
from allatt.sharing import saved
from allatt.system import files
from allatt.system.checkpoint import load_checkpoint, save_checkpoint
from allatt.system.machine import Machine
from allatt.train import Trainer

MORE = int(os.environ.get("ALLATT_FUZZ", "1"))
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, kept=((0, 1), (1,)))


def cases(count: int):
    return settings(max_examples=count * MORE, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([0, -1, 10**6, 10**15, 10**400, 2**63]),
                    st.floats(), st.text(max_size=8), st.sampled_from(["", "x", "../x", "/etc/passwd", "\0", "\udce9"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


@st.composite
def damaged_bytes(draw, content: bytes) -> bytes:
    """The content with a few changes: bytes flipped, cut out, doubled or added, or its end lost."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        last = max(0, len(data) - 1)
        start = draw(st.integers(0, last if draw(st.booleans()) else min(600, last)))  # half of them in the header
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["flip", "digit", "cut", "double", "add", "end"])):
            case "flip" if data:
                data[min(start, len(data) - 1)] ^= draw(st.integers(1, 255))
            case "digit":
                digits = [i for i, byte in enumerate(data[:3000]) if 48 <= byte <= 57]
                if digits:
                    data[draw(st.sampled_from(digits))] = draw(st.integers(48, 57))
            case "cut":
                del data[start:start + length]
            case "double":
                data[start:start] = data[start:start + length]
            case "add":
                data[start:start] = draw(st.binary(max_size=8))
            case "end":
                del data[start:]
    return bytes(data)


@st.composite
def damaged_json(draw, values):
    """JSON values with some of their parts replaced, removed, or doubled under another name."""
    values = copy.deepcopy(values)
    for _ in range(draw(st.integers(1, 3))):
        at, key = None, None
        node = values
        while isinstance(node, dict | list) and node:
            at, key = node, draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            node = at[key]
            if draw(st.integers(0, 2)) == 0:
                break
        if at is None:
            return draw(VALUES)
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                at[key] = draw(VALUES)
            case "remove":
                del at[key]
            case "add" if isinstance(at, dict):
                at[draw(st.text(max_size=6))] = draw(VALUES)
    return values


def as_text(values) -> str:
    """JSON as another program may write it: with NaN and infinity, and with surrogates escaped."""
    return json.dumps(values)


def answer(read):
    """What `read` gives; None for an AllattError, which must be one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except AllattError as error:
        assert "\n" not in str(error) and len(str(error)) > 10, repr(str(error))
        return None


@pytest.fixture(scope="module")
def text(tmp_path_factory, home_of_tests):
    return write_small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(text):
    data = pin(DataConfig(str(text), "words", vocab_size=0))
    dense = RunConfig("dense", data, replace(MODEL, kept=None), TrainConfig(steps=4, rows=4, lr=0.01))
    gated = replace(dense, name="gated", gates=GateConfig(lam=0.01), start=dense)
    return get_or_run(gated, Machine(device="cpu", log_every=2, progress=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


# Tensors

@pytest.fixture(scope="module")
def model_file(place):
    torch.manual_seed(0)
    model = LanguageModel(MODEL, 11)
    model.save(place / "model.safetensors")
    return (place / "model.safetensors").read_bytes(), model


@cases(300)
@given(st.data())
def test_a_damaged_model_is_a_model_or_refused(model_file, place, data):
    content, model = model_file
    path = place / "damaged.safetensors"
    path.write_bytes(data.draw(damaged_bytes(content)))
    again = answer(lambda: LanguageModel.load(path))
    if again is not None:
        assert again.vocab == 11 and sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
        again.eval()(torch.tensor([[1, 2, 3]]), again.empty_memory(1))


@pytest.fixture(scope="module")
def checkpoint(run, place):
    folder = place / "checkpoint"
    folder.mkdir()
    tokens = load(run.config.data)
    config = run.config.start
    trainer = Trainer(config, LanguageModel(config.model, tokens.vocab), None, tokens.train, folder,
                      Machine(device="cpu", progress=False))
    trainer.one_step()
    save_checkpoint(folder, trainer.state(), config.id)
    path, = folder.glob("checkpoint-*")
    return path, path.read_bytes(), trainer


@cases(250)
@given(st.data())
def test_a_damaged_checkpoint_is_refused(checkpoint, data):
    """Unless the change undoes itself: nothing else has the right checksum."""
    path, content, trainer = checkpoint
    damaged = data.draw(damaged_bytes(content))
    path.write_bytes(damaged)
    state = answer(lambda: load_checkpoint(path.parent, trainer.config.id))
    if state is not None:
        expected = trainer.state().tensors
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.tensors.items())


# Runs

@cases(300)
@given(st.data())
def test_a_damaged_run_is_the_same_run_or_refused(run, place, data):
    folder = place / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run.folder, folder)
    name = data.draw(st.sampled_from(["config.json", "result.json", "provenance.json", "metrics.jsonl", "gates.safetensors",
                                      "model.safetensors"]))
    path = folder / name
    if name.endswith(".json") and data.draw(st.booleans()):
        path.write_text(as_text(data.draw(damaged_json(json.loads(path.read_text())))))
    else:
        path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    again = answer(lambda: Run(folder))
    if again is not None:
        assert again.id == run.id and again.result == run.result
        lines, model = answer(again.metrics), answer(again.pruned)
        assert lines is None or lines == run.metrics()
        assert model is None or model.config.kept == run.pruned().config.kept


@cases(200)
@given(st.data())
def test_a_damaged_record_is_refused_or_the_run(run, place, data):
    path = write_record(run, place / "records")
    values = data.draw(damaged_json(json.loads(path.read_text())))
    if data.draw(st.booleans()) and isinstance(values, dict):
        values = files.seal(values) if answer_of_seal(values) else values
    path.write_text(as_text(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLATT_HOME", str(place / "restored"))
        shutil.rmtree(place / "restored", ignore_errors=True)
        if answer(lambda: restore(path)):
            made, = (place / "restored" / "runs").glob("*/result.json")
            answer(lambda: Run(made.parent))


def answer_of_seal(values: dict) -> bool:
    try:
        return bool(files.seal(values))
    except ValueError:  # NaN
        return False


@cases(250)
@given(st.data())
def test_a_damaged_config_is_a_config_or_refused(run, data):
    values = data.draw(damaged_json(to_dict(run.config)))
    config = answer(lambda: from_dict(RunConfig, values))
    if config is not None:
        assert from_dict(RunConfig, to_dict(config)) == config and len(config.id) == 12


@cases(150)
@given(st.text(max_size=30), VALUES)
@example("a.b.c", 1)
@example("train.lr", 10**400)
def test_any_change_of_the_command_line(run, path, value):
    values = to_dict(run.config)
    try:
        change = f"{path}={json.dumps(value)}"
    except ValueError:
        return
    answer(lambda: (alter(values, change), from_dict(RunConfig, values)))


@cases(150)
@given(st.data())
def test_a_damaged_saved_model_is_refused_or_unchanged(run, place, data):
    folder = place / "saved"
    if not folder.exists():
        saved.save(run, folder)
        shutil.copytree(folder, place / "whole")
    shutil.rmtree(folder)
    shutil.copytree(place / "whole", folder)
    path = folder / data.draw(st.sampled_from(sorted(p.name for p in folder.iterdir())))
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    opened = answer(lambda: saved.load(folder))
    if opened is not None:
        assert opened.about["run"] == run.id


# Other files

@cases(150)
@given(st.data())
def test_a_damaged_manifest_or_file_is_damage_or_nothing_has_changed(place, data):
    folder = place / "written"
    with files.written(folder) as draft:
        (draft / "a.txt").write_text("some text\n" * 9)
    path = folder / data.draw(st.sampled_from(["manifest.json", "a.txt"]))
    before = path.read_bytes()
    path.write_bytes(data.draw(damaged_bytes(before)))
    found = files.damage(folder)
    assert found or (folder / "a.txt").read_text() == "some text\n" * 9
    assert "\n" not in found


@cases(100)
@given(VALUES | st.dictionaries(st.text(max_size=5), st.dictionaries(st.sampled_from(["state", "seconds", "peak_mb"]), VALUES)))
def test_any_status_can_be_shown(place, values):
    from allatt.reproduce.status import _folder_table

    folder = place / "status"
    folder.mkdir(exist_ok=True)
    (folder / "status.json").write_text(as_text(values))
    entries = read_status(folder)
    assert all(isinstance(entry["state"], str) for entry in entries.values())
    assert len(_folder_table(folder).splitlines()) >= 1


@cases(150)
@given(st.sampled_from([0.5, 3, True, "x", [1, 2]]),
       st.text(max_size=20) | st.sampled_from(["1e999", "nan", "(" * 200, "__import__('os')"]))
def test_any_parameter_is_a_value_of_its_type_or_refused(default, text):
    value = answer(lambda: parameters._typed(text, default, "x of 00"))
    assert value is None or type(value) is type(default)
    assert not isinstance(value, float) or np.isfinite(value)


@cases(150)
@given(st.data())
def test_any_bytes_are_a_text_or_refused(place, data):
    folder = place / "corpus"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    name = data.draw(st.sampled_from(["a.txt", "wiki.train.tokens", "train.txt", "wiki.train.tokens.xz",
                                      "wiki.train.tokens.part1.xz"]))
    for split in ("train", "valid", "test") if name != "a.txt" else ():
        (folder / f"wiki.{split}.tokens").write_text(" a b c \n" * 3)
    if name != "a.txt":
        (folder / "wiki.train.tokens").unlink()
    texts = st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    (folder / name).write_bytes(data.draw(st.binary(max_size=300) | texts))
    tokens = answer(lambda: load(DataConfig(str(folder), "characters")))
    if tokens is not None:
        text = locate(str(folder)).files["train"].read_bytes().removeprefix(b"\xef\xbb\xbf")
        assert tokens.decode(tokens.train).encode() == text
