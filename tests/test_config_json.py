"""Configs from JSON: read strictly, and changed by one `--set` at a time."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.config_json import alter, from_dict

DATA = DataConfig(vocab_size=99)
START = RunConfig("start", DATA)
GATED = RunConfig("gated", DATA, ModelConfig(layers=2), TrainConfig(skip=7), GateConfig(target_kept=0.5), START)
CONFIGS = {
    "dense": RunConfig("dense"), "gated": GATED,
    "cut": replace(GATED, model=ModelConfig(layers=2, kept=((0,), ()), cutoffs=(5, 9)), gates=None),
    "consolidation": replace(GATED, gates=None, start=GATED, consolidate=True)}


@pytest.mark.parametrize("name", CONFIGS)
def test_there_and_back(name):
    config = CONFIGS[name]
    again = from_dict(RunConfig, json.loads(json.dumps(to_dict(config))))
    assert again == config and again.id == config.id
    assert hash(again) == hash(config), "lists become tuples"


@pytest.mark.parametrize("values,message", [
    ({"name": "x", "modle": {}}, "RunConfig has no modle"),
    ({"name": "x", "model": {"layer": 3}}, "ModelConfig has no layer"),
    ({}, "RunConfig lacks name"),
    ({"name": "x", "model": {"layers": "4"}}, "ModelConfig.layers is '4'; it must be of type int"),
    ({"name": "x", "model": {"layers": True}}, "ModelConfig.layers is True"),
    ({"name": "x", "train": {"lr": None}}, "TrainConfig.lr is None"),
    ({"name": "x", "model": {"kept": 3}}, "ModelConfig.kept is 3; it must be a list"),
    ({"name": "x", "model": []}, "ModelConfig must be an object"),
    ({"name": "x", "consolidate": 1}, "RunConfig.consolidate is 1; it must be of type bool"),
    ({"name": "x", "start": {"name": "y", "gates": {"lam": "0.1"}}}, "GateConfig.lam is '0.1'; it must be of type float"),
    ({"name": "x", "consolidate": True}, "x consolidates; it must start from a run with gates"),
])
def test_wrong_values_are_one_clear_line(values, message):
    with pytest.raises(AllattError) as error:
        from_dict(RunConfig, values)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["target_kept", "clipped"])
def test_gates_that_were_written_before_a_field_had_a_name_are_read(name):
    old = to_dict(replace(GATED, gates=GateConfig()))
    del old["gates"][name]
    assert from_dict(RunConfig, old) == replace(GATED, gates=GateConfig())


def test_runs_that_were_written_before_there_were_two_phases_are_read():
    one = replace(GATED, train=TrainConfig())
    old = to_dict(one)
    del old["consolidate"], old["train"]["skip"]
    assert from_dict(RunConfig, old) == one and from_dict(RunConfig, old).id == one.id


@given(st.integers(-100, 100))
def test_integers_are_read_as_floats_where_floats_belong(value):
    read = from_dict(GateConfig, {"initial": value})
    assert read == GateConfig(initial=float(value)) and type(read.initial) is float


@pytest.mark.parametrize("change, path, value", [
    ("train.steps=7", ("train", "steps"), 7),
    ("gates.target_kept=null", ("gates", "target_kept"), None),
    ("start.train.lr=0.25", ("start", "train", "lr"), 0.25),
    ("gates.output_scaling=false", ("gates", "output_scaling"), False),
    ("model.kept=[[0],[1,2]]", ("model", "kept"), [[0], [1, 2]]),
    ("data.corpus=/a/path=x", ("data", "corpus"), "/a/path=x"),
])
def test_a_change_alters_one_value_alone(change, path, value):
    values, expected = to_dict(GATED), to_dict(GATED)
    alter(values, change)
    inner = expected
    for section in path[:-1]:
        inner = inner[section]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    assert values == expected


@pytest.mark.parametrize("change, message", [
    ("train.steps", "--set 'train.steps': write SECTION.KEY=VALUE"),
    ("steps=1", "--set 'steps=1': write SECTION.KEY=VALUE"),
    ("train.=1", "--set 'train.=1': write SECTION.KEY=VALUE"),
    ("tarin.steps=1", "there is no section tarin; there is data, model, train, gates, start"),
    ("name.steps=1", "there is no section name"),
    ("train.step=1", "there is no step; there is steps, skip, rows"),
])
def test_a_change_of_what_is_not_there_is_one_clear_line(change, message):
    values = to_dict(GATED)
    with pytest.raises(AllattError) as error:
        alter(values, change)
    assert message in str(error.value) and "\n" not in str(error.value) and values == to_dict(GATED)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1" + 400 * "0", "-1" + 400 * "0"])
def test_numbers_beyond_all_floats_are_one_clear_line(number):
    values = {"lr": 0.1}
    alter({"train": values}, f"train.lr={number}")
    with pytest.raises(AllattError, match="lr is (-?inf|nan); it must be a finite number") as error:
        from_dict(TrainConfig, values)
    assert "\n" not in str(error.value)
