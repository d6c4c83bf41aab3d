"""Kept heads by layer, and what chance would give; and where heads look."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, zscore

from allatt.batches import Stream
from allatt.config import ALL_ATTENTION, AllattError
from allatt.data.tokens import load
from allatt.model import LanguageModel
from allatt.paper import scales, survivors
from allatt.paper.points import Point
from allatt.paper.stats import agreement
from allatt.paper.study import Study
from allatt.runs import get_or_run


def test_unevenness_of_chance_is_one():
    """Against throws: 2,000 models that lost heads at random have a mean unevenness of 1."""
    rng = np.random.default_rng(0)
    for layers, heads, kept in ((16, 8, 59), (4, 8, 15), (3, 4, 10)):
        throws = rng.multivariate_hypergeometric([heads] * layers, kept, size=2000)
        mean = np.mean([survivors.unevenness(throw.tolist(), heads) for throw in throws])
        assert mean == pytest.approx(1, abs=0.08), (layers, heads, kept)


def test_unevenness_at_its_ends():
    assert survivors.unevenness([3, 3, 3], 4) == 0
    assert survivors.unevenness([4, 4, 0, 0], 4) > 4, "whole layers gone"
    assert math.isnan(survivors.unevenness([4, 4], 4)) and math.isnan(survivors.unevenness([0, 0], 4))


def listed(lam, seed, per_layer):
    """What `kept_by_layer` reads of a run."""
    config = Study("smoke").pruning(ALL_ATTENTION, lam, seed)
    return SimpleNamespace(config=config, result={"heads": {"per_layer": per_layer}})


def test_kept_heads_are_by_lambda_and_then_by_seed(pruned):
    runs = [listed(lam, seed, [4 * seed, round(100 * lam)]) for seed in (0, 1) for lam in (0.0, 0.01, 0.03)]
    lists = survivors.kept_by_layer(runs)
    assert lists == {0.0: [[0, 0], [4, 0]], 0.01: [[0, 1], [4, 1]], 0.03: [[0, 3], [4, 3]]}
    assert survivors.mean_over_lambdas(lists) == [[0, 2], [4, 2]], "a list per seed, and the control left out"
    assert survivors.kept_by_layer([pruned]) == {1e-4: [Point.of_run(pruned).per_layer]}


def test_a_seed_that_lacks_a_lambda_is_not_averaged():
    with pytest.raises(ValueError):
        survivors.mean_over_lambdas({0.1: [[1, 2], [3, 4]], 0.2: [[1, 2]]})


def test_kept_above_is_the_share_of_pairs():
    values, kept = [[5.0, 1.0, 3.0], [2.0, 9.0, 8.0]], [[1, 0, 0], [0, 1, 1]]
    # Kept 5, 9, 8 against pruned 1, 3, 2: every pair, in either way of asking.
    assert survivors.kept_above(values, kept) == survivors.kept_above(values, kept, by_layer=True) == 1
    assert survivors.kept_above(values, 1 - np.array(kept)) == 0
    # Kept 5, 2 against pruned 1, 3, 9, 8: 5 is above two of four, 2 above one; within layers two of two, and none of two.
    other = [[1, 0, 0], [1, 0, 0]]
    assert survivors.kept_above(values, other) == 3 / 8
    assert survivors.kept_above(values, other, by_layer=True) == 2 / 4


def test_kept_above_of_ties_and_of_heads_at_random_is_a_half():
    assert survivors.kept_above(torch.ones(2, 3), torch.eye(3)[:2]) == 0.5
    rng = np.random.default_rng(0)
    shares = [survivors.kept_above(rng.random((4, 8)), rng.random((4, 8)) < 0.4, by_layer) for by_layer in (0, 1) * 300]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)


def test_what_tells_layers_apart_tells_nothing_within_them():
    values = [[1.0] * 4, [2.0] * 4]
    kept = [[1, 0, 0, 0], [1, 1, 1, 0]]
    assert survivors.kept_above(values, kept) == (9 + 0.5 * (3 + 3)) / 16
    assert survivors.kept_above(values, kept, by_layer=True) == 0.5


@pytest.mark.parametrize("kept, by_layer", [([[1, 1], [1, 1]], False), ([[0, 0], [0, 0]], False), ([[1, 1], [0, 0]], True)])
def test_kept_above_without_pairs_is_none(kept, by_layer):
    assert survivors.kept_above([[1.0, 2.0], [3.0, 4.0]], kept, by_layer) is None


def test_chance_of_kept_above_counts_random_choices():
    values = np.arange(8.0).reshape(2, 4)
    best = values >= 4
    # All the pairs are won: of the 70 ways to choose four heads, this one and its opposite are as far from a half.
    assert survivors.chance_of_kept_above(values, best) == pytest.approx(2 / 70, abs=0.015)
    many = np.arange(40.0).reshape(5, 8)
    assert survivors.chance_of_kept_above(many, many >= 20) == 1 / 2001, "never 0: the choice at hand is one that can be made"
    ends = np.array([[0, 0, 0, 1], [0, 0, 0, 1]], dtype=bool)
    # Within layers, one of four each: 1 / 16 for both at the upper end, and the same for both at the lower.
    assert survivors.chance_of_kept_above(values, ends, by_layer=True) == pytest.approx(2 / 16, abs=0.03)


def test_kept_at_random_keeps_the_number_of_heads():
    draws = survivors.kept_at_random([4, 1, 0], heads=4, draws=500)
    assert draws.shape == (500, 3) and (draws.sum(axis=1) == 5).all() and draws.min() >= 0 and draws.max() <= 4
    assert draws.mean(axis=0) == pytest.approx([5 / 3] * 3, abs=0.2)


def test_mean_rank_correlation_is_that_of_all_pairs():
    lists = [[8, 5, 3, 4], [7, 5, 5, 2], [8, 3, 4, 5]]
    z_SL = zscore(rankdata(lists, axis=1), axis=1)
    assert survivors.mean_rank_correlation(z_SL) == pytest.approx(agreement(lists).mean)
    assert survivors.mean_rank_correlation(np.stack([z_SL, z_SL])).shape == (2,)


# Where heads look

def test_attention_summary_by_hand():
    """A memory of one, a segment of two, one persistent vector; one head."""
    weights_BHTX = torch.tensor([[[[0.25, 0.25, 0.0, 0.5], [0.0, 0.2, 0.2, 0.6]]]])
    summary = survivors.attention_summary(weights_BHTX, memory=1)
    assert summary["persistent"].tolist() == pytest.approx([(0.5 + 0.6) / 2])
    assert summary["distance"].tolist() == pytest.approx([(0.5 * 1 + 0.5 * 0 + 0.5 * 1 + 0.5 * 0) / 2])


def test_attention_weights_give_the_outputs_of_the_layer(pruned):
    model = get_or_run(pruned.config.start).load()
    block, N = model.blocks[1], model.config.persistent
    x_BTD, memory_BMD = torch.randn(2, 3, 8, 8).unbind(0)
    for filled in (8, 3):
        weights_BHTX = survivors.attention_weights(block, x_BTD, memory_BMD, filled, model.head_vectors(1))
        values_BHSK = torch.einsum("bsd,hkd->bhsk", block.norm(torch.cat([memory_BMD, x_BTD], dim=1)), block.value_HKD)
        persistent_BHNK = (N ** 0.5 * block.persistent_value_HNK).expand(3, -1, -1, -1)
        ours_BHTK = weights_BHTX @ torch.cat([values_BHSK, persistent_BHNK], dim=2)
        theirs_BTHK, _ = block.attend(x_BTD, block.project_memory(memory_BMD), filled, model.head_vectors(1), "fast")
        assert torch.allclose(ours_BHTK.transpose(1, 2), theirs_BTHK, atol=1e-5)
        assert weights_BHTX[..., 8 - filled:].sum(-1).allclose(torch.ones(3, 2, 8))


def test_where_heads_look_is_read_from_the_last_segment(pruned):
    run = get_or_run(pruned.config.start)
    looks = survivors.where_heads_look(run, rows=2, segments=3)
    assert looks["persistent"].shape == looks["distance"].shape == (2, 2)
    assert 0 < looks["persistent"].min() and looks["persistent"].max() < 1 and 0 < looks["distance"].max() <= 8
    model, stream = run.load(), Stream(load(run.config.data).valid, 2, 8)
    with torch.no_grad():
        _, past = model(torch.cat([stream.batch(step)[0] for step in (0, 1)], dim=1), model.empty_memory(2))
        _, now = model(stream.batch(2)[0], past)
        vectors = model.head_vectors(0)
        weights = survivors.attention_weights(model.blocks[0], now.hidden_LBMD[0], past.hidden_LBMD[0], 8, vectors)
    assert survivors.attention_summary(weights, 8)["distance"].allclose(looks["distance"][0], atol=1e-4)


def test_where_heads_look_needs_a_segment_as_long_as_the_memory(pruned):
    class Other:
        id, folder = "abc", Path("nowhere")

        def load(self):
            return SimpleNamespace(config=SimpleNamespace(segment=8, memory=4))

    with pytest.raises(AllattError, match="run abc has segments of 8 tokens and a memory of 4"):
        survivors.where_heads_look(Other())


def test_attention_on_a_text_is_that_of_the_equations():
    """By the definition, head by head, on the states that enter each layer; persistent vectors come after the tokens."""
    torch.manual_seed(0)
    config = replace(scales.model("smoke", ALL_ATTENTION), kept=((0, 3), tuple(range(8))))
    model, ids = LanguageModel(config, 30).double().eval(), [5, 7, 7, 2, 9]
    found = survivors.attention_on(model, ids)
    T, N, K = len(ids), config.persistent, config.d_head
    assert [tuple(weights.shape) for weights in found] == [(2, T, T + N), (8, T, T + N)]
    entered = model(torch.tensor([ids]), model.empty_memory(1))[1].hidden_LBMD
    for layer, block in enumerate(model.blocks):
        n_TD, vectors = block.norm(entered[layer, 0, -T:]), model.head_vectors(layer)
        for place, weights in enumerate(found[layer]):
            q, k = (n_TD @ weight[place].T for weight in (block.query_HKD, block.key_HKD))
            for i in range(T):
                scores = [((q[i] + vectors.u_HK[place]) @ k[j] + (q[i] + vectors.w_HK[place]) @ vectors.r_HCK[place, i - j])
                          / math.sqrt(K) for j in range(i + 1)]
                scores = torch.stack([*scores, *(vectors.pk_HNK[place] @ q[i])]).softmax(-1)
                assert torch.allclose(weights[i, :i + 1], scores[:i + 1]) and torch.allclose(weights[i, T:], scores[i + 1:])
                assert not weights[i, i + 1:T].any(), "no token looks ahead"
    with pytest.raises(AllattError, match="the text has 17 tokens; it can have 1 to 16"):
        survivors.attention_on(model, [1] * 17)
