"""Scales: the paper's proportions at each, the paper's recipe with the paper's numbers, variants on characters and words."""

from dataclasses import replace

import pytest
import torch

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, AllattError, RunConfig
from allatt.gates import HeadGates
from allatt.model import LanguageModel
from allatt.optimizer import lr_factor, make_optimizer
from allatt.paper import scales

TOKENS = 103_227_021
"""Words of WikiText-103's training text, ends of lines included."""
EPOCH = TOKENS // (192 * 192)


@pytest.mark.parametrize("name", scales.SCALES)
def test_every_scale_has_the_paper_s_proportions(name):
    """d 512, 8 heads of 64, 2,048 persistent vectors or hidden units, a memory as long as the segment."""
    for kind in KINDS:
        model = scales.model(name, kind)
        assert (model.kind, model.heads, model.kept) == (kind, 8, None)
        assert model.heads * model.d_head == model.d_model
        assert model.persistent == model.feed_forward == 4 * model.d_model
        assert model.segment == model.memory < model.positions


@pytest.mark.parametrize("name", scales.SCALES)
def test_both_bodies_are_equally_large_and_the_feed_forward_has_the_paper_s_share(name):
    ours, theirs = (cost.count(scales.model(name, kind), scales.vocab(name))["parameters"] for kind in KINDS)
    small = scales.get(name).model.d_model < 64  # there, biases and norms are a larger part
    assert ours["body"] == pytest.approx(theirs["body"], rel=0.015 if small else 0.01)
    assert 0.60 < theirs["parts"]["feed_forward"] / theirs["body"] < 0.63
    assert ours["positions"] == theirs["positions"] and ours["softmax"] == theirs["softmax"]


@pytest.mark.parametrize("name", scales.SCALES)
def test_a_scale_s_two_models_differ_in_their_kind_alone(name):
    ours, theirs = (scales.model(name, kind) for kind in KINDS)
    assert replace(theirs, kind=ours.kind) == ours


@pytest.mark.parametrize("name", scales.SCALES)
def test_the_stages_of_a_scale_fit_each_other(name):
    s = scales.get(name)
    stages = [*s.baseline.values(), s.prune, *([s.consolidation] if s.consolidation else [])]
    assert set(s.baseline) == set(s.lambdas) == set(KINDS)
    assert len({stage.rows for stage in stages}) == 1, "stages count the text that they skip in their own steps"
    assert len({stage.precision for stage in stages}) == len({stage.optimizer for stage in stages}) == 1
    ours, theirs = s.baseline.values()
    assert replace(ours, lr=theirs.lr) == theirs, "both kinds have the same budget"
    for train in s.baseline.values():
        assert 0 < train.warmup < train.steps / 10 or name.startswith("smoke")
        assert train.schedule == "cosine" and train.lr > s.prune.lr
    assert s.prune.schedule == "constant" and 0 < s.gates.penalty_warmup <= s.prune.steps / 5
    assert s.gates.lr >= 10 * s.prune.lr and s.gates.clipped and s.gates.target_kept is None
    assert s.example in s.lambdas[ALL_ATTENTION]
    assert all(list(grid) == sorted(set(grid)) and grid[0] > 0 for grid in s.lambdas.values())


@pytest.mark.parametrize("name", [name for name in scales.SCALES if not name.startswith("paper")])
def test_the_second_phase_falls_from_where_the_first_one_stood(name):
    """A constant rate for the gates; then the rate falls by ten, without another warm-up, over fewer steps."""
    s = scales.get(name)
    first, second = s.prune, s.consolidation
    assert [first.lr * lr_factor(first, step) for step in (0, first.steps // 2, first.steps)] == [first.lr] * 3
    rates = [second.lr * lr_factor(second, step) for step in range(second.steps + 1)]
    assert rates[0] == first.lr and rates[-1] == pytest.approx(first.lr / 10)
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False))
    assert second.steps < first.steps and second.steps / (first.steps + second.steps) == pytest.approx(0.4)


@pytest.mark.parametrize("steps", [1, 2, 5, 49, 50, 4000])
def test_two_phases_lose_no_step(steps):
    phases = scales.two_phases(steps, rows=3, lr=0.5)
    assert sum(train.steps for train in phases.values()) == steps and set(phases) == {"prune", "consolidation"}
    assert {(train.rows, train.lr) for train in phases.values()} == {(3, 0.5)}


# The paper's own scale, against the numbers of the paper and of its released code

def test_the_paper_s_model():
    for kind in KINDS:
        model = scales.model("paper", kind)
        assert (model.layers, model.heads, model.d_model, model.d_head) == (16, 8, 512, 64)
        assert (model.persistent, model.feed_forward) == (2048, 2048)
        assert (model.segment, model.memory, model.positions) == (192, 192, 512)
        assert (model.cutoffs, model.band_divisor) == ((20_000, 40_000, 200_000), 4)
        assert [width for *_, width in model.bands(267_735)] == [512, 128, 32, 8]
        assert (model.drop_attention, model.drop_projection, model.drop_input) == (0.2, 0.1, 0.1)
        assert (model.drop_output, model.drop_word) == (0.1, 0.1)
        assert (model.init, model.persistent_gain) == ("released", 1.0)
    paper = scales.get("paper")
    data = paper.data
    assert (data.corpus, data.tokens, data.vocab_size, data.min_count) == ("wikitext-103", "words", 0, 1)
    assert paper.vocab == 267_735


def test_the_paper_s_baseline():
    """LAMB, 20 epochs of 192 x 192 tokens, the first one a warm-up; 0.01 falls to 0.001 by cosine."""
    for train in scales.get("paper").baseline.values():
        assert (train.optimizer, train.rows, train.clip, train.weight_decay) == ("lamb", 192, 0.5, 0.0)
        assert train.steps == 20 * EPOCH == 56_000
        rates = [train.lr * lr_factor(train, step) for step in range(train.steps + 1)]
        assert max(rates) == 0.01 and rates.index(0.01) == EPOCH - 1, "the last step of the first epoch"
        assert rates[EPOCH // 2 - 1] == pytest.approx(0.005) and rates[-1] == pytest.approx(0.001)
        middle = (EPOCH + train.steps) // 2
        assert rates[middle] == pytest.approx((0.01 + 0.001) / 2) and rates[middle // 2] > 0.0075
        assert all(a >= b for a, b in zip(rates[EPOCH:], rates[EPOCH + 1:], strict=False))


def test_the_paper_s_pruning():
    """LAMB at a constant 1e-4, no weight decay, 10 to 20 epochs in one phase; gates learn 10 times as fast."""
    paper = scales.get("paper")
    train, small = paper.prune, replace(paper.model, layers=1, d_model=16, d_head=2, persistent=4, cutoffs=())
    assert paper.consolidation is None
    assert 10 * EPOCH <= train.steps <= 20 * EPOCH and (train.rows, train.clip) == (192, 0.5)
    assert {lr_factor(train, step) for step in range(0, train.steps, 100)} == {1.0}, "not even a warm-up"
    config = RunConfig("small", model=small, train=train, gates=paper.gates)
    optimizer = make_optimizer(config, LanguageModel(small, 9), HeadGates(paper.gates, 1, 8))
    assert type(optimizer).__name__ == "Lamb"
    groups = [(group["base_lr"], group["betas"], group["weight_decay"]) for group in optimizer.param_groups]
    assert groups == [(1e-4, (0.9, 0.999), 0.0)] * 2 + [(pytest.approx(1e-3), (0.9, 0.999), 0.0)]


def test_the_paper_s_gates():
    """lambda rises over exactly one epoch; temperature and stretch are those of the hard concrete distribution."""
    paper = scales.get("paper")
    gates = HeadGates(replace(paper.gates, lam=0.02), 16, 8)
    assert torch.equal(gates.logit_LH, torch.full((16, 8), 2.0))
    rise = [gates.lambda_at(step, paper.prune.steps) for step in range(2 * EPOCH)]
    assert rise[:EPOCH] == pytest.approx([0.02 * step / EPOCH for step in range(1, EPOCH + 1)])
    assert max(rise[:EPOCH - 1]) < 0.02 and set(rise[EPOCH - 1:]) == {0.02}
    assert (paper.gates.beta, paper.gates.gamma, paper.gates.zeta) == (0.333, -0.1, 1.1)
    assert paper.gates.output_scaling and paper.gates.clipped
    assert all({0.01, 0.015, 0.02} <= set(grid) for grid in paper.lambdas.values())


def test_the_paper_s_characters():
    """text8: 12 layers, T = 512; 90 million characters make an epoch."""
    paper, words = scales.get("paper-characters"), scales.get("paper")
    assert (paper.data.corpus, paper.data.tokens, paper.vocab) == ("text8", "characters", 27)
    model, epoch = paper.model, 90_000_000 // (192 * 512)
    assert (model.layers, model.segment, model.memory, model.heads, model.persistent) == (12, 512, 512, 8, 2048)
    for train in paper.baseline.values():
        assert train.warmup == paper.gates.penalty_warmup == epoch and train.steps == 20 * epoch
        assert replace(train, steps=0, warmup=0) == replace(words.baseline[ALL_ATTENTION], steps=0, warmup=0)
    assert 10 * epoch <= paper.prune.steps <= 20 * epoch and paper.consolidation is None
    assert replace(paper.prune, steps=0) == replace(words.prune, steps=0)


def test_a_wrong_scale_is_one_clear_line():
    with pytest.raises(AllattError, match="scale is 'huge'; choose one of smoke, laptop, overnight, gpu, paper"):
        scales.get("huge")
    with pytest.raises(AllattError, match="model is 'rnn'"):
        scales.model("smoke", "rnn")


def test_the_overnight_scale_is_the_laptop_s_with_more_training():
    laptop, night = scales.get("laptop"), scales.get("overnight")
    assert night.model == laptop.model and replace(night.data, corpus=laptop.data.corpus) == laptop.data
    for kind in KINDS:
        assert night.baseline[kind].steps > laptop.baseline[kind].steps
        assert len(night.lambdas[kind]) > len(laptop.lambdas[kind])
    assert night.prune.steps > laptop.prune.steps and night.consolidation.steps > laptop.consolidation.steps


def test_variants_are_their_scale_s_body_on_other_tokens():
    assert scales.NAMES == ("smoke", "laptop", "overnight", "gpu", "paper"), "what notebooks and figures go by"
    for name in ("smoke", "laptop", "gpu", "paper"):
        for tokens in ("characters", "words"):
            s, of = scales.get(scales.variant(name, tokens)), scales.get(name)
            assert s.data.tokens == tokens
            assert bool(s.model.cutoffs) == (tokens == "words") and max(s.model.cutoffs, default=0) < s.vocab
            if name != "paper":
                same = ("layers", "heads", "d_model", "d_head", "persistent", "init", "persistent_gain")
                assert all(getattr(s.model, f) == getattr(of.model, f) for f in same)
    assert scales.variant("paper", "words") == "paper", "the paper's own setting is words"
    assert scales.variant("laptop", "characters") == "laptop-characters"
    assert scales.get("laptop-words").data.corpus == "wikitext-2" and scales.get("laptop-words").vocab == 33_278
    assert scales.get("gpu-words").model.cutoffs == scales.get("paper").model.cutoffs


def test_variants_are_for_single_runs():
    assert scales.resolve("laptop-words", variants=True) == "laptop-words"
    assert scales.resolve("laptop", variants=True) == "laptop"
    with pytest.raises(AllattError, match="'laptop-words', a variant for single runs; choose one of smoke, laptop, overnight,"):
        scales.resolve("laptop-words")
    for name in ("laptop-words", "overnight"):
        with pytest.raises(AllattError, match=f"scale is '{name}'; only smoke, laptop, gpu, paper have variants"):
            scales.variant(name, "words")
    with pytest.raises(AllattError, match="tokens is 'subwords'"):
        scales.variant("laptop", "subwords")
    with pytest.raises(AllattError, match="scale is 'paper-words'; choose one of .*, or a variant such as laptop-characters"):
        scales.resolve("paper-words")


@pytest.mark.parametrize("gpu,expected", [(True, "gpu"), (False, "laptop")])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, gpu, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert scales.resolve("auto") == expected
    assert scales.resolve("smoke") == "smoke"
