"""Closed-form counts against the paper's numbers, the real model's parameters and torch's counter of operations."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from allatt.config import AllattError, ModelConfig
from allatt.cost import count, executed, relative, trained
from allatt.model import LanguageModel

PAPER = ModelConfig(cutoffs=(20_000, 40_000, 200_000))
WORDS = 267_735
# Kept heads of the paper's three models (PAPER: lambda 0.01, 0.015, 0.02), and of the unpruned one.
KEPT = {
    128: (8,) * 16,
    106: (8, 3, 7, 6, 6, 6, 6, 7, 6, 7, 8, 8, 7, 8, 7, 6),
    87: (6, 4, 6, 5, 4, 5, 5, 6, 5, 6, 7, 5, 6, 6, 6, 5),
    59: (5, 2, 5, 4, 3, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3),
}


def prune(config: ModelConfig, heads) -> ModelConfig:
    """The config with the last so many heads of each layer kept."""
    return replace(config, kept=tuple(tuple(range(config.heads - h, config.heads)) for h in heads))


@st.composite
def models(draw, max_vocab=60):
    """Small models of both kinds, with any heads kept in each layer, with and without cutoffs; and a vocabulary."""
    small = st.integers(1, 5)
    heads, layers, memory = draw(small), draw(small), draw(st.integers(0, 6))
    vocab = draw(st.integers(2, max_vocab))
    kept = st.sets(st.integers(0, heads - 1)).map(lambda chosen: tuple(sorted(chosen)))
    config = ModelConfig(
        kind=draw(st.sampled_from(("all-attention", "transformer-xl"))), layers=layers, heads=heads,
        d_model=draw(st.integers(8, 12)), d_head=draw(small), persistent=draw(small), feed_forward=draw(small),
        segment=draw(st.integers(1, 7)), memory=memory, positions=memory + draw(small),
        cutoffs=tuple(sorted(draw(st.sets(st.integers(1, vocab - 1), max_size=3)))), band_divisor=2,
        kept=draw(st.none() | st.tuples(*[kept] * layers)))
    return config, vocab


@pytest.mark.parametrize("heads, body, total", [
    (128, 54_566_912, 74_170_514), (106, 45_192_448, 64_796_050), (87, 37_096_320, 56_699_922),
    (59, 25_165_184, 44_768_786),
])
def test_all_attention_counts_of_the_paper(heads, body, total):
    counts = count(prune(PAPER, KEPT[heads]), WORDS)
    assert counts["kept"] == heads
    parameters = counts["parameters"]
    assert (parameters["body"], parameters["total"]) == (body, total)
    assert (parameters["positions"], parameters["softmax"]) == (262_144, 19_341_458)
    assert parameters["per_head"] == 426_112
    assert parameters["per_layer"] == [426_112 * h + 1_536 for h in KEPT[heads]]
    assert counts["multiply_adds"]["per_head"] == 466_944 == 131_072 + 73_728 + 262_144
    assert counts["multiply_adds"]["body"] == 466_944 * heads


@pytest.mark.parametrize("heads", KEPT)
def test_transformer_xl_counts_of_the_paper(heads):
    config = replace(PAPER, kind="transformer-xl")
    counts = count(prune(config, KEPT[heads]), WORDS)
    assert count(config, WORDS)["parameters"]["body"] == 54_608_896
    assert counts["parameters"]["per_head"] == 163_840
    assert counts["parameters"]["body"] == 54_608_896 - 163_840 * (128 - heads)
    assert counts["multiply_adds"]["per_head"] == 131_072 + 73_728
    assert counts["multiply_adds"]["body"] == heads * (131_072 + 73_728) + 16 * 2 * 512 * 2048


def test_paper_sparsities():
    shares = [round(100 * count(prune(PAPER, KEPT[heads]), WORDS)["pruned"], 1) for heads in (128, 106, 87, 59)]
    assert shares == [0.0, 17.2, 32.0, 53.9]


@settings(max_examples=60, deadline=None)
@given(models())
def test_parameters_are_the_real_models(drawn):
    config, vocab = drawn
    parameters = count(config, vocab)["parameters"]
    with torch.device("meta"):
        model = LanguageModel(config, vocab)
    assert parameters["total"] == sum(p.numel() for p in model.parameters())
    assert parameters["softmax"] == sum(p.numel() for p in model.softmax.parameters())
    assert parameters["per_layer"] == [sum(p.numel() for p in block.parameters()) for block in model.blocks]
    assert {name: parameters[name] for name in ("body", "positions", "softmax", "total")} == model.parameter_counts()


@settings(max_examples=40, deadline=None)
@given(models())
def test_parts_are_the_real_models(drawn):
    config, vocab = drawn
    with torch.device("meta"):
        model = LanguageModel(config, vocab)
    real = dict.fromkeys(("projections", "persistent", "feed_forward", "biases", "norms"), 0)
    for name, parameter in model.named_parameters():
        if name.startswith(("softmax.", "distance_PD")):
            continue
        own = name.split(".", 2)[-1]
        part = next(part for part, words in (
            ("norms", ("norm", "feed_norm")), ("feed_forward", ("feed_",)), ("persistent", ("persistent_",)),
            ("biases", ("output_bias", "content_bias", "position_bias")), ("projections", ("",)),
        ) if own.startswith(words))
        real[part] += parameter.numel()
    assert count(config, vocab)["parameters"]["parts"] == real


@pytest.mark.parametrize("kind", ["all-attention", "transformer-xl"])
def test_paper_size_is_the_real_models(kind):
    config = prune(replace(PAPER, kind=kind), KEPT[59])
    with torch.device("meta"):
        real = LanguageModel(config, WORDS).parameter_counts()
    counts = count(config, WORDS)["parameters"]
    assert {name: counts[name] for name in real} == real


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(1, 4))
def test_executed_is_what_torch_counts_on_the_reference_path(drawn, rows):
    config, vocab = drawn
    config = replace(config, cutoffs=())
    model = LanguageModel(config, vocab).eval().requires_grad_(False)
    model.path = "reference"
    ids = torch.randint(vocab, (rows, config.segment))
    with FlopCounterMode(display=False) as counter:
        model(ids, model.empty_memory(rows))
    cost = executed(config, rows)
    assert counter.get_total_flops() == 2 * cost["per_pass"]
    assert cost["per_token"] == cost["per_pass"] / (rows * config.segment)


@settings(max_examples=40, deadline=None)
@given(models(), st.integers(1, 3))
def test_trained_is_what_torch_counts_forward_and_backward(drawn, rows):
    config, vocab = drawn
    model = LanguageModel(replace(config, cutoffs=()), vocab).train()
    model.path = "reference"
    ids = torch.randint(vocab, (rows, config.segment))
    with FlopCounterMode(display=False) as counter:
        hidden, _ = model(ids, model.empty_memory(rows))
        hidden.sum().backward()
    assert counter.get_total_flops() == 2 * trained(config, rows)


@settings(max_examples=40, deadline=None)
@given(models(), st.integers(0, 99))
def test_softmax_operations_are_what_torch_counts(drawn, seed):
    config, vocab = drawn
    torch.manual_seed(seed)
    softmax = LanguageModel(replace(config, layers=1, kept=None), vocab).softmax.requires_grad_(False)
    ids = torch.randint(vocab, (30,))
    operations = count(config, vocab)["multiply_adds"]
    bands = torch.bucketize(ids, torch.tensor(config.cutoffs, dtype=torch.int64), right=True).tolist()
    with FlopCounterMode(display=False) as counter:
        softmax.nll(torch.randn(30, config.d_model), ids)
    want = 30 * operations["softmax_head"] + sum(operations["softmax_tail"][band - 1] for band in bands if band)
    assert counter.get_total_flops() == 2 * want
    with FlopCounterMode(display=False) as counter:
        softmax.embed(ids)
    assert counter.get_total_flops() == 2 * (sum(operations["embedding"][b] for b in bands) if config.cutoffs else 0)


def test_executed_at_paper_size_is_the_formula():
    """Per layer and token 2 d E + 2 d E S/T + d E (M+1)/(B T) + 2 N E + (2 S + M + 1) E, with E = 8 x 64."""
    cost = executed(PAPER, 2)
    per_layer = 2 * 512 * 512 * (1 + 2) + 512 * 512 * 193 / 384 + 2 * 2048 * 512 + (2 * 384 + 193) * 512
    assert cost["per_token"] == pytest.approx(16 * per_layer, rel=1e-12)
    assert sum(cost["parts"].values()) == cost["per_pass"]


@settings(max_examples=60, deadline=None)
@given(models())
def test_counts_add_up_and_are_json(drawn):
    config, vocab = drawn
    counts = count(config, vocab)
    assert json.loads(json.dumps(counts)) == counts
    assert counts["heads"] == list(config.heads_per_layer)
    shared = 2 * config.heads * config.d_head if config.kind == "transformer-xl" else 0
    for name, outside in (("parameters", shared), ("multiply_adds", 0)):
        group = counts[name]
        assert sum(group["parts"].values()) == group["body"] == sum(group["per_layer"]) + outside
        empty = count(replace(config, kept=((),) * config.layers), vocab)[name]["body"]
        assert group["body"] == empty + counts["kept"] * group["per_head"]


@settings(max_examples=40, deadline=None)
@given(models())
def test_relative_is_count_of_every_number_of_heads(drawn):
    config, vocab = drawn
    lines = relative(config)
    full = count(replace(config, kept=None), vocab)
    assert lines["pruned"][0] == 0 and lines["pruned"][-1] == 1
    assert len(lines["pruned"]) == config.layers * config.heads + 1
    for index, pruned in enumerate(lines["pruned"]):
        left = config.layers * config.heads - index
        spread = [left // config.layers + (layer < left % config.layers) for layer in range(config.layers)]
        counts = count(prune(config, spread), vocab)
        assert pruned == pytest.approx(counts["pruned"], abs=1e-12)
        for name in ("parameters", "multiply_adds"):
            assert lines[name][index] == pytest.approx(counts[name]["body"] / full[name]["body"], rel=1e-12)


def test_figure_1_all_attention_falls_with_its_heads_and_transformer_xl_does_not():
    ours, theirs = relative(PAPER), relative(replace(PAPER, kind="transformer-xl"))
    half = ours["pruned"].index(0.5)
    assert ours["multiply_adds"][half] == 0.5
    assert ours["parameters"][half] == pytest.approx(0.5, abs=0.001)
    assert 1 - theirs["multiply_adds"][half] == pytest.approx(0.5 * 0.44, abs=0.002)
    assert 1 - theirs["parameters"][half] == pytest.approx(0.5 * 128 * 163_840 / 54_608_896, rel=1e-12)


@pytest.mark.parametrize("config, vocab, words", [
    (ModelConfig(cutoffs=(100, 200)), 200, "do not fit a vocabulary of 200 words"),
    (ModelConfig(d_model=16, cutoffs=(10, 20, 30)), 100, "leaves no width"),
    (ModelConfig(), 0, "at least 1"),
])
def test_shapes_that_cannot_be_are_a_clear_error(config, vocab, words):
    with pytest.raises(AllattError, match=words):
        count(config, vocab)


def test_no_rows_is_a_clear_error():
    with pytest.raises(AllattError, match="rows is 0"):
        executed(PAPER, 0)


def test_counting_does_not_import_torch():
    code = "import sys, allatt.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_body_is_counted_without_a_vocabulary():
    """Nothing of it depends on the words; what does is left out, even if the cutoffs would not fit."""
    whole, body = count(PAPER, WORDS), count(replace(PAPER, cutoffs=()))
    assert body["multiply_adds"] == {name: whole["multiply_adds"][name] for name in ("body", "per_head", "per_layer", "parts")}
    for name in ("body", "positions", "per_head", "per_layer", "parts"):
        assert body["parameters"][name] == whole["parameters"][name]
    assert not {"softmax", "total"} & set(body["parameters"])
