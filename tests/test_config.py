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
from allatt.paper import scales

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


def test_scales_are_of_equal_size_and_the_papers_is_the_papers():
    for name in scales.NAMES:
        s = scales.get(name)
        ours, theirs = (s.models[kind] for kind in scales.KINDS)
        assert replace(theirs, kind=ours.kind, feed_forward=ours.feed_forward) == ours
        assert s.example in s.lambdas["all-attention"]
        assert all(list(grid) == sorted(grid) and grid[0] > 0 for grid in s.lambdas.values())
    paper = scales.get("paper")
    model, train = paper.models["all-attention"], paper.baselines["all-attention"]
    assert (model.layers, model.heads, model.d_model, model.d_head, model.persistent) == (16, 8, 512, 64, 2048)
    assert (model.segment, model.memory, model.positions) == (192, 192, 512)
    assert (train.optimizer, train.lr, train.final_lr, train.rows, train.clip) == ("lamb", 0.01, 0.1, 192, 0.5)
    assert paper.prune.lr == 1e-4 and paper.gates.lr == 10 * paper.prune.lr


def test_a_wrong_scale_is_one_clear_line():
    with pytest.raises(AllattError, match="scale is 'huge'; choose one of smoke, laptop, gpu, paper"):
        scales.get("huge")
    with pytest.raises(AllattError, match="model is 'rnn'"):
        scales.model("smoke", "rnn")


def test_variants_are_of_equal_size_and_the_smoke_and_laptop_ones_of_their_scale_s_body():
    assert scales.NAMES == ("smoke", "laptop", "gpu", "paper"), "what notebooks and figures go by"
    for name in scales.NAMES:
        for tokens in ("characters", "words"):
            s, of = scales.get(scales.variant(name, tokens)), scales.get(name)
            ours, theirs = (s.models[kind] for kind in scales.KINDS)
            assert s.data.tokens == tokens
            assert replace(theirs, kind=ours.kind, feed_forward=ours.feed_forward) == ours
            assert theirs.feed_forward == ours.persistent and ours.positions > ours.memory
            assert bool(ours.cutoffs) == (tokens == "words") and max(ours.cutoffs, default=0) < s.vocab
            assert set(s.lambdas) == set(scales.KINDS) and s.example in s.lambdas["all-attention"]
            assert all(list(grid) == sorted(grid) and grid[0] > 0 for grid in s.lambdas.values())
            if name != "paper":
                same = ("layers", "heads", "d_model", "d_head", "persistent", "init", "persistent_gain")
                assert all(getattr(ours, f) == getattr(of.models["all-attention"], f) for f in same)
    assert scales.variant("paper", "words") == "paper", "the paper's own setting is words"
    assert scales.variant("laptop", "characters") == "laptop-characters"
    assert scales.get("laptop-words").data.corpus == "wikitext-2" and scales.get("laptop-words").vocab == 33_278
    paper = scales.get("paper-characters")
    assert (paper.data.corpus, paper.vocab) == ("text8", 27)
    model, train = paper.models["all-attention"], paper.baselines["all-attention"]
    assert (model.layers, model.segment, model.heads, model.persistent) == (12, 512, 8, 2048)
    assert train.warmup == paper.gates.penalty_warmup == 90_000_000 // (train.rows * model.segment), "one epoch"


def test_variants_are_for_single_runs():
    assert scales.resolve("laptop-words", variants=True) == "laptop-words"
    assert scales.resolve("laptop", variants=True) == "laptop"
    with pytest.raises(AllattError, match="'laptop-words', a variant for single runs; choose one of smoke, laptop, gpu, paper"):
        scales.resolve("laptop-words")
    with pytest.raises(AllattError, match="only smoke, laptop, gpu, paper have variants"):
        scales.variant("laptop-words", "words")
    with pytest.raises(AllattError, match="tokens is 'subwords'"):
        scales.variant("laptop", "subwords")
    with pytest.raises(AllattError, match="scale is 'paper-words'; choose one of .*, or a variant such as laptop-characters"):
        scales.resolve("paper-words")


@pytest.mark.parametrize("gpu,expected", [(True, "gpu"), (False, "laptop")])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, gpu, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert scales.resolve("auto") == expected
    assert scales.resolve("smoke") == "smoke"
