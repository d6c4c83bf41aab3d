"""Scales: both models of equal size at each, the paper's with the paper's numbers, variants on characters and words."""

from dataclasses import replace

import pytest

from allatt.config import AllattError
from allatt.paper import scales


def test_scales_are_of_equal_size_and_the_papers_is_the_papers():
    for name in scales.NAMES:
        s = scales.get(name)
        ours, theirs = (scales.model(name, kind) for kind in scales.KINDS)
        assert replace(theirs, kind=ours.kind, feed_forward=ours.feed_forward) == ours
        assert s.example in s.lambdas["all-attention"]
        assert all(list(grid) == sorted(grid) and grid[0] > 0 for grid in s.lambdas.values())
    paper = scales.get("paper")
    model, train = paper.model, paper.baseline
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
            ours, theirs = (scales.model(s.name, kind) for kind in scales.KINDS)
            assert s.data.tokens == tokens
            assert replace(theirs, kind=ours.kind, feed_forward=ours.feed_forward) == ours
            assert theirs.feed_forward == ours.persistent and ours.positions > ours.memory
            assert bool(ours.cutoffs) == (tokens == "words") and max(ours.cutoffs, default=0) < s.vocab
            assert set(s.lambdas) == set(scales.KINDS) and s.example in s.lambdas["all-attention"]
            assert all(list(grid) == sorted(grid) and grid[0] > 0 for grid in s.lambdas.values())
            if name != "paper":
                same = ("layers", "heads", "d_model", "d_head", "persistent", "init", "persistent_gain")
                assert all(getattr(ours, f) == getattr(of.model, f) for f in same)
    assert scales.variant("paper", "words") == "paper", "the paper's own setting is words"
    assert scales.variant("laptop", "characters") == "laptop-characters"
    assert scales.get("laptop-words").data.corpus == "wikitext-2" and scales.get("laptop-words").vocab == 33_278
    paper = scales.get("paper-characters")
    assert (paper.data.corpus, paper.vocab) == ("text8", 27)
    model, train = paper.model, paper.baseline
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
