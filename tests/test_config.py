"""Configs: checked when they are made, and hashed by what they are."""

import dataclasses
import hashlib
import json
import math
from dataclasses import fields, replace

import pytest

from allatt.config import (
    LATER,
    AllattError,
    DataConfig,
    GateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    _anonymous,
    to_dict,
)

FULL = RunConfig("pruned", DataConfig(vocab_size=99), ModelConfig(layers=2, kept=((0,), ()), cutoffs=(5, 9)), TrainConfig(),
                 GateConfig(), RunConfig("start", DataConfig(vocab_size=99)))


def test_the_name_is_not_part_of_the_hash():
    assert replace(FULL, name="other", start=replace(FULL.start, name="another")).id == FULL.id


def every_field():
    for section in ("data", "model", "train", "gates"):
        for field in dataclasses.fields(getattr(FULL, section)):
            yield section, field.name


OTHER = {"corpus": "text8", "tokens": "words", "text_sha256": "ab", "kind": "transformer-xl", "init": "unit", "kept": None,
         "cutoffs": (7,), "variational": True, "output_scaling": False, "optimizer": "lamb", "schedule": "constant",
         "precision": "bf16", "layers": 2, "beta2": 0.9, "final_lr": 0.2, "positions": 600, "target_kept": 0.5}


@pytest.mark.parametrize("section,name", [f for f in every_field() if f[1] != "layers"])
def test_every_field_is_part_of_the_hash(section, name):
    part = getattr(FULL, section)
    value = getattr(part, name)
    other = OTHER[name] if name in OTHER else value + 1 if value != 0 else type(value)(0.5 if type(value) is float else 1)
    changes = {"gamma": -0.2, "zeta": 1.2} if name in ("gamma", "zeta") else {name: other}  # one alone is refused
    alone = replace(FULL, start=None)  # a start has the same text
    assert replace(alone, **{section: replace(part, **changes)}).id != alone.id


def test_the_start_is_part_of_the_hash():
    assert replace(FULL, start=None).id != FULL.id
    assert replace(FULL, start=replace(FULL.start, train=TrainConfig(lr=0.5))).id != FULL.id


def test_the_hash_does_not_change_by_itself():
    """A new default or order renames every run, and so does a new field that LATER lacks: then raise FORMAT, and say so
    in the changelog."""
    assert RunConfig("x").id == "787076de6b21"
    assert replace(FULL, model=replace(FULL.model, cutoffs=())).id == "250ce931888c"
    assert FULL.id == "5ec66d9f5796"


def test_only_the_adaptive_softmax_has_a_new_format():
    """Its cluster rows read other numbers than before. Runs without one keep the ids that figures and folders have."""
    data = DataConfig(text_sha256="3e630530c0edb33f71be269445a7b8ae1426fffd51a550b6d2de444cb3b02fbd")
    model = ModelConfig(layers=4, d_model=128, d_head=16, persistent=128, segment=64, memory=64, positions=65, init="unit",
                        persistent_gain=20.0)
    laptop = RunConfig("x", data, model, TrainConfig(steps=1800, lr=4e-3, warmup=50))
    assert laptop.id == "6baf8f25072e", "the first baseline of the laptop scale, as committed in 2026"
    adaptive = replace(laptop, model=replace(laptop.model, cutoffs=(2000,)))
    plain = json.dumps({"format": 1, **_anonymous(to_dict(adaptive))}, sort_keys=True, separators=(",", ":"))
    assert adaptive.id != hashlib.sha256(plain.encode()).hexdigest()[:12]


def test_a_consolidation_keeps_what_the_gates_of_its_start_keep():
    gated = replace(FULL, model=replace(FULL.model, kept=None), start=None)
    config = replace(gated, gates=None, start=gated, consolidate=True)
    assert config.gated == gated and gated.gated == gated and replace(gated, gates=None).gated is None
    assert config.id != replace(gated, gates=None, start=replace(gated, gates=None)).id
    assert config.id != replace(config, start=replace(gated, gates=GateConfig(lam=0.5))).id, "other gates, other heads"
    for bad, message in (({"start": None}, "must start from a run with gates"),
                         ({"gates": GateConfig()}, "without gates of its own"),
                         ({"start": replace(gated, gates=None)}, "must start from a run with gates"),
                         ({"model": FULL.model}, "it keeps the heads that its start's gates keep")):
        with pytest.raises(AllattError, match=message):
            replace(config, **bad)


@pytest.mark.parametrize("change, word", [({"vocab_size": 98}, "vocab_size"), ({"tokens": "words"}, "tokens"),
                                          ({"corpus": "text8"}, "corpus"), ({"min_count": 2}, "min_count")])
def test_a_start_of_another_text_is_refused(change, word):
    with pytest.raises(AllattError, match=f"another {word} of the text"):
        replace(FULL, start=replace(FULL.start, data=replace(FULL.start.data, **change)))


def test_a_text_may_have_two_names_but_not_two_checksums():
    def named(corpus, sha256):
        return DataConfig(corpus, vocab_size=99, text_sha256=sha256)

    assert replace(FULL, data=named("a/path", "ab"), start=replace(FULL.start, data=named("text8", "ab")))
    with pytest.raises(AllattError, match="another text_sha256 of the text"):
        replace(FULL, data=named("text8", "ab"), start=replace(FULL.start, data=named("text8", "cd")))


def test_a_later_field_is_in_the_hash_where_it_is_set_only():
    """The ids of runs that are older than these fields are pinned above."""
    known = {name for section in (FULL.data, FULL.model, FULL.train, FULL.gates, FULL) for name in vars(section)}
    assert set(LATER) <= known, "a field that has another name by now would rename every run"
    assert not any(name in json.dumps(_anonymous(to_dict(FULL))) for name in LATER)
    shares = [replace(FULL, gates=GateConfig(target_kept=share)) for share in (0.0, 0.5, 1.0)]
    assert len({FULL.id, *(config.id for config in shares)}) == 4


@pytest.mark.parametrize("changes,word", [({"steps": -1}, "steps"), ({"skip": -1}, "skip"), ({"seed": 10**20}, "seed"),
                                          ({"seed": -1}, "seed"), ({"rows": 0}, "rows"), ({"optimizer": "sgd"}, "optimizer"),
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


@pytest.mark.parametrize("name", "layers heads d_model d_head persistent feed_forward segment band_divisor".split())
@pytest.mark.parametrize("value", [0, 2**31, 10**20])
def test_sizes_out_of_range(name, value):
    with pytest.raises(AllattError, match=f"{name} is {value}; it must be 1 to 2,147,483,647"):
        replace(FULL.model, **{name: value})


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("section", [FULL.model, FULL.train, FULL.gates], ids=["model", "train", "gates"])
def test_no_number_may_be_infinite_or_none(section, value):
    names = [field.name for field in fields(section) if field.type in ("float", "float | None")]
    assert len(names) >= 5
    for name in names:
        with pytest.raises(AllattError, match=name):
            replace(section, **{name: value})
