"""Configs: strict to read, and hashed by what they are."""

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.config import (
    AllattError,
    DataConfig,
    GateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    from_dict,
    to_dict,
)

FULL = RunConfig("pruned", DataConfig(vocab_size=99), ModelConfig(layers=2, kept=((0,), ()), cutoffs=(5, 9)), TrainConfig(),
                 GateConfig(), RunConfig("start"))


def test_there_and_back():
    assert from_dict(RunConfig, to_dict(FULL)) == FULL
    assert from_dict(RunConfig, to_dict(FULL)).id == FULL.id


def test_the_name_is_not_part_of_the_hash():
    assert replace(FULL, name="other", start=RunConfig("another")).id == FULL.id


def every_field():
    for section in ("data", "model", "train", "gates"):
        for field in dataclasses.fields(getattr(FULL, section)):
            yield section, field.name


OTHER = {"corpus": "text8", "tokens": "words", "text_sha256": "ab", "kind": "transformer-xl", "init": "unit", "kept": None,
         "cutoffs": (7,), "variational": True, "output_scaling": False, "optimizer": "lamb", "schedule": "constant",
         "precision": "bf16", "layers": 2, "gamma": -0.2, "beta2": 0.9, "final_lr": 0.2, "positions": 600, "target_kept": 0.5}


@pytest.mark.parametrize("section,name", [f for f in every_field() if f[1] != "layers"])
def test_every_field_is_part_of_the_hash(section, name):
    part = getattr(FULL, section)
    value = getattr(part, name)
    other = OTHER[name] if name in OTHER else value + 1 if value != 0 else type(value)(0.5 if type(value) is float else 1)
    assert replace(FULL, **{section: replace(part, **{name: other})}).id != FULL.id


def test_the_start_is_part_of_the_hash():
    assert replace(FULL, start=None).id != FULL.id
    assert replace(FULL, start=RunConfig("start", train=TrainConfig(lr=0.5))).id != FULL.id


def test_the_hash_does_not_change_by_itself():
    """A new default or order renames every run, and so does a new field that LATER lacks: then raise FORMAT, and say so
    in the changelog."""
    assert RunConfig("x").id == "787076de6b21"
    assert FULL.id == "472f038e2412"


def test_a_later_field_is_in_the_hash_where_it_is_set_only():
    assert replace(FULL, gates=GateConfig(target_kept=None)).id == FULL.id
    shares = [replace(FULL, gates=GateConfig(target_kept=share)) for share in (0.0, 0.5, 1.0)]
    assert len({FULL.id, *(config.id for config in shares)}) == 4
    assert all(from_dict(RunConfig, to_dict(config)) == config for config in shares)
    old = to_dict(FULL)
    del old["gates"]["target_kept"]
    assert from_dict(RunConfig, old) == FULL, "configs that were written before it had a name"


@pytest.mark.parametrize("values,message", [
    ({"name": "x", "modle": {}}, "RunConfig has no modle"),
    ({"name": "x", "model": {"layer": 3}}, "ModelConfig has no layer"),
    ({}, "RunConfig lacks name"),
    ({"name": "x", "model": {"layers": "4"}}, "ModelConfig.layers is '4'; it must be of type int"),
    ({"name": "x", "model": {"layers": True}}, "ModelConfig.layers is True"),
    ({"name": "x", "train": {"lr": None}}, "TrainConfig.lr is None"),
    ({"name": "x", "model": {"kept": 3}}, "ModelConfig.kept is 3; it must be a list"),
    ({"name": "x", "model": []}, "ModelConfig must be an object"),
])
def test_wrong_values_are_one_clear_line(values, message):
    with pytest.raises(AllattError) as error:
        from_dict(RunConfig, values)
    assert message in str(error.value) and "\n" not in str(error.value)


@given(st.integers(-100, 100))
def test_integers_are_read_as_floats_where_floats_belong(value):
    assert from_dict(GateConfig, {"initial": value}) == GateConfig(initial=float(value))


@pytest.mark.parametrize("changes,word", [({"steps": -1}, "steps"), ({"seed": 10**20}, "seed"), ({"seed": -1}, "seed"),
                                          ({"rows": 0}, "rows"), ({"optimizer": "sgd"}, "optimizer"),
                                          ({"lr": 0.0}, "lr"), ({"clip": 0.0}, "clip"), ({"precision": "fp16"}, "precision"),
                                          ({"final_lr": 2.0}, "final_lr"), ({"schedule": "linear"}, "schedule")])
def test_training_values_out_of_range(changes, word):
    with pytest.raises(AllattError, match=word):
        TrainConfig(**changes)


@pytest.mark.parametrize("changes,word", [({"tokens": "bytes"}, "tokens"), ({"vocab_size": 3}, "vocab_size"),
                                          ({"min_count": 0}, "min_count")])
def test_data_values_out_of_range(changes, word):
    with pytest.raises(AllattError, match=word):
        DataConfig(**changes)
