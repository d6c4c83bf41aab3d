"""Criteria against other formulas: blind draws, finite differences, brute force; each keeps as many heads as the gates."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from allatt.batches import Stream
from allatt.config import KINDS, ModelConfig
from allatt.importance import head_importance, most_important
from allatt.model import LanguageModel
from allatt.paper import criteria
from allatt.paper.criteria import (
    CRITERIA,
    Evidence,
    even_layers,
    output_magnitude,
    random_heads,
    shapley,
    taylor,
    top_layers_first,
)
from allatt.runs import get_or_run

IDS = np.random.default_rng(0).integers(0, 11, 200)
ROWS, SEGMENTS = 2, 3
LOGITS = torch.linspace(-2, 2, 32)[torch.randperm(32, generator=torch.Generator().manual_seed(0))].view(4, 8)


def evidence(logit_LH=LOGITS, seed=0):
    """What gates with these logits have left of a model."""
    per_layer = (logit_LH >= 0).sum(-1).tolist()
    result = {"heads": {"per_layer": per_layer, "total": sum(per_layer)}}
    return Evidence(SimpleNamespace(config=SimpleNamespace(train=SimpleNamespace(seed=seed)), result=result,
                                    gates=lambda: SimpleNamespace(logit_LH=logit_LH)))


def tiny(kind="all-attention", layers=2, heads=3, **changes):
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(kind=kind, init="unit", layers=layers, heads=heads, d_model=8, d_head=4, persistent=4,
                                      feed_forward=6, segment=5, memory=5, positions=6, **changes), 11)
    for p in model.parameters():  # biases are no longer 0
        p.data += 0.1 * torch.randn(p.shape)
    return model.double().eval()


def batches(rows=ROWS, segments=SEGMENTS):
    return [Stream(IDS, rows, 5).batch(step)[:2] for step in range(segments)]


# Blind draws

def test_random_heads_are_as_many_in_each_layer_as_the_gates_kept():
    for seed in range(20):
        kept = random_heads(evidence(seed=seed))
        assert [len(heads) for heads in kept] == (LOGITS >= 0).sum(-1).tolist()
        assert all(list(heads) == sorted(set(heads)) and set(heads) <= set(range(8)) for heads in kept)


def test_random_heads_are_drawn_blindly():
    """Gates that keep other heads, as many in each layer, change nothing; and each head is drawn equally often."""
    flipped = torch.where(LOGITS >= 0, 0.5, -0.5).flip(-1) * torch.arange(1, 9)
    for seed in range(20):
        assert random_heads(evidence(flipped, seed)) == random_heads(evidence(seed=seed))
    logit_LH = torch.tensor([[3.0, 2.0, -1.0, -2.0]])
    counts = np.zeros(4)
    for seed in range(800):
        counts[list(random_heads(evidence(logit_LH, seed))[0])] += 1
    assert counts.sum() == 1600 and abs(counts - 400).max() < 5 * math.sqrt(800 * 0.25)


def test_each_seed_and_each_draw_is_another_one():
    """Of 32 heads, two draws are equal once in a billion times."""
    names = ("random heads", "random heads, second draw", "random in the whole model")
    draws = {(name, seed): CRITERIA[name](evidence(seed=seed)) for name in names for seed in range(20)}
    assert len(set(draws.values())) == len(draws)
    scores = {tuple(evidence(seed=seed).drawn(draw).flatten().tolist()) for seed in range(20) for draw in range(3)}
    assert len(scores) == 60, "no draw of one seed is a draw of another"
    assert all(CRITERIA[name](evidence(seed=seed)) == kept for (name, seed), kept in draws.items()), "and each can be repeated"


def test_heads_drawn_in_the_whole_model_know_only_their_number():
    layers = [[len(heads) for heads in CRITERIA["random in the whole model"](evidence(seed=seed))] for seed in range(40)]
    assert {sum(numbers) for numbers in layers} == {int((LOGITS >= 0).sum())}
    assert len(set(map(tuple, layers))) > 20
    assert np.abs(np.mean(layers, axis=0) - 4).max() < 1, "no layer is preferred"


# Layer counts

@pytest.mark.parametrize("count", [0, 1, 5, 16, 30, 32])
def test_even_layers_keep_the_highest_gates_of_each_layer(count):
    logit_LH = LOGITS - LOGITS.flatten().sort(descending=True).values[count - 1] if count else LOGITS - 9
    kept = even_layers(evidence(logit_LH))
    numbers = [len(heads) for heads in kept]
    assert sum(numbers) == count and max(numbers) - min(numbers) <= 1
    for layer, heads in enumerate(kept):
        inside, outside = (logit_LH[layer, [h for h in range(8) if (h in heads) == within]] for within in (True, False))
        assert not len(inside) or not len(outside) or inside.min() > outside.max()


@pytest.mark.parametrize("count, numbers", [(0, [0, 0, 0, 0]), (3, [3, 0, 0, 0]), (13, [8, 5, 0, 0]), (24, [8, 8, 8, 0]),
                                            (31, [8, 8, 8, 7]), (32, [8, 8, 8, 8])])
def test_the_top_layers_go_first(count, numbers):
    """Layer 1 is the lowest: it reads the embeddings, and it is kept longest."""
    logit_LH = torch.arange(32.0).view(4, 8) - 32 + count + 0.5  # gates that would remove the lowest layers
    assert [len(heads) for heads in top_layers_first(evidence(logit_LH))] == numbers


# Scores

@pytest.mark.parametrize("kind", KINDS)
def test_magnitude_is_the_norm_of_what_a_head_s_weights_write(kind):
    """For heads' outputs of mean 0 and variance 1, the mean square of what a head adds to the residual stream."""
    model = tiny(kind)
    score_LH = output_magnitude(model)
    heads = torch.randn(20_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for layer, block in enumerate(model.blocks):
        for head in range(3):
            written = (heads @ block.output_HKD[head]).square().sum(-1).mean().sqrt().item()
            assert score_LH[layer, head].item() == pytest.approx(written, rel=0.03)
    with torch.no_grad():
        model.blocks[1].output_HKD[2] *= 3
        model.blocks[0].value_HKD[1] *= 3
    assert torch.allclose(output_magnitude(model) / score_LH, torch.tensor([[1, 1, 1], [1, 1, 3]]).double())


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_of_the_output_projection_is_the_squared_gradient_of_a_gate(kind, monkeypatch):
    """sum w dL/dw over a head's output weights = dL/dg of a factor of that head, since they appear as a product only."""
    monkeypatch.setattr(criteria, "HEAD_TENSORS", ("output_HKD",))
    model, memory, expected = tiny(kind), None, 0
    for input_BT, target_BT in batches():
        gate_LH = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
        nll_BT, memory = model.loss(input_BT, target_BT, memory or model.empty_memory(ROWS), gate_LH)
        expected = expected + torch.autograd.grad(nll_BT.mean(), gate_LH)[0] ** 2
    assert torch.allclose(taylor(model, IDS, ROWS, SEGMENTS), expected, rtol=1e-8) and expected.min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_is_the_squared_slope_of_the_loss_as_all_weights_of_a_head_are_scaled(kind):
    """Finite differences; Transformer-XL's position biases are shared by all layers, so they belong to no head."""
    model, step, expected = tiny(kind), 1e-5, torch.zeros(2, 3, dtype=torch.float64)
    shared = {"norm.weight", "norm.bias", "output_bias_D", *(name for name, _ in model.blocks[0].named_parameters()
                                                            if name.startswith("feed"))}
    memories = [model.empty_memory(ROWS)]
    with torch.no_grad():
        for input_BT, target_BT in batches():
            memories.append(model.loss(input_BT, target_BT, memories[-1])[1])
        for layer, head in itertools.product(range(2), range(3)):
            own = [p for name, p in model.blocks[layer].named_parameters() if name not in shared]
            assert len(own) == (9 if kind == KINDS[0] else 5)
            for (input_BT, target_BT), memory in zip(batches(), memories, strict=False):
                both = []
                for factor in (1 + step, 1 - step):
                    before = [p[head].clone() for p in own]
                    for p in own:
                        p[head] *= factor
                    both.append(model.loss(input_BT, target_BT, memory)[0].mean())
                    for p, values in zip(own, before, strict=True):
                        p[head] = values
                expected[layer, head] += ((both[0] - both[1]) / (2 * step)) ** 2
    assert torch.allclose(taylor(model, IDS, ROWS, SEGMENTS), expected, rtol=1e-4, atol=1e-12) and expected.min() > 0


def loss_with(model, opened, rows=ROWS, segments=SEGMENTS):
    """Mean loss of the model with these heads open, read with the memory that it has then."""
    gate_LH, memory, total = torch.zeros(2, 2, dtype=torch.float64), model.empty_memory(rows), 0.0
    gate_LH.view(-1)[list(opened)] = 1
    with torch.no_grad():
        for input_BT, target_BT in batches(rows, segments):
            nll_BT, memory = model.loss(input_BT, target_BT, memory, gate_LH)
            total += nll_BT.mean().item() / segments
    return total


def shapley_by_brute_force(model):
    """From the loss of all 16 sets of heads: the gain of a head, weighted by how many orders bring it to that set."""
    sets = [frozenset(s) for n in range(5) for s in itertools.combinations(range(4), n)]
    loss = {s: loss_with(model, s) for s in sets}
    weight = {n: math.factorial(n) * math.factorial(3 - n) / math.factorial(4) for n in range(4)}
    return torch.tensor([sum(weight[len(s)] * (loss[s] - loss[s | {head}]) for s in sets if head not in s)
                         for head in range(4)]).view(2, 2)


def test_shapley_values_over_all_orders_are_those_of_all_subsets(monkeypatch):
    """12 orders and their reverses are all 24 of 4 heads."""
    orders = [torch.tensor(order) for order in itertools.permutations(range(4)) if order[0] < order[-1]]
    model = tiny(heads=2)
    expected = shapley_by_brute_force(model)
    given = iter(orders)
    monkeypatch.setattr(torch, "randperm", lambda *size, **options: next(given))
    value_LH = shapley(model, IDS, draws=12, rows=ROWS, segments=SEGMENTS)
    assert torch.allclose(value_LH, expected, atol=1e-6) and expected.abs().min() > 1e-4


def test_shapley_values_add_up_and_favor_the_head_that_helps():
    """Head 2 of layer 1 alone has learned something of the text; the others write nothing."""
    model = tiny(heads=2)
    with torch.no_grad():
        for block in model.blocks:
            block.output_HKD.zero_()
    useful = model.blocks[0]
    optimizer = torch.optim.Adam([useful.output_HKD, useful.persistent_value_HNK, useful.value_HKD], lr=0.02)
    for _ in range(20):
        memory = model.empty_memory(ROWS)
        for input_BT, target_BT in batches():
            nll_BT, memory = model.loss(input_BT, target_BT, memory)
            optimizer.zero_grad()
            nll_BT.mean().backward()
            useful.output_HKD.grad[0] = 0
            optimizer.step()
    value_LH = shapley(model, IDS, rows=ROWS, segments=SEGMENTS)
    assert value_LH[0, 1] > 0.1 and value_LH.flatten()[[0, 2, 3]].abs().max() < 1e-6
    assert value_LH.sum().item() == pytest.approx(loss_with(model, []) - loss_with(model, range(4)), abs=1e-5)
    assert torch.allclose(shapley(model, IDS, draws=1, rows=ROWS, segments=SEGMENTS), value_LH, atol=1e-6)


@pytest.mark.parametrize("score", [taylor, shapley])
def test_scores_leave_the_model_as_it_was(score):
    model = tiny(drop_attention=0.5, drop_projection=0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = score(model, IDS, rows=ROWS, segments=SEGMENTS)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    torch.manual_seed(5)
    assert torch.equal(first, score(model, IDS, rows=ROWS, segments=SEGMENTS)), "dropout or chance took part"


@pytest.mark.parametrize("score", [taylor, shapley])
def test_a_text_shorter_than_asked_for_is_read_once(score):
    short = IDS[:31]  # three segments of two rows
    assert torch.equal(score(tiny(), short, rows=2, segments=3), score(tiny(), short, rows=2, segments=99))


@pytest.mark.parametrize("score", [taylor, shapley, lambda model, *rest, **options: output_magnitude(model)])
def test_a_head_that_writes_nothing_is_worth_nothing(score):
    model = tiny()
    with torch.no_grad():
        model.blocks[1].output_HKD[2] = 0
    score_LH = score(model, IDS, rows=ROWS, segments=SEGMENTS)
    assert score_LH[1, 2].abs() < 1e-12 and (score_LH.abs() > 1e-9).sum() == 5


# On a real run

def test_the_evidence_is_the_baseline_and_what_gates_left_of_it(pruned):
    seen, baseline = Evidence(pruned), get_or_run(pruned.config.start)
    for name, tensor in baseline.load().state_dict().items():
        assert torch.equal(seen.model.state_dict()[name], tensor), name
    assert any(not torch.equal(tensor, seen.model.state_dict()[name]) for name, tensor in pruned.load().state_dict().items())
    assert torch.equal(seen.logit_LH, pruned.gates().logit_LH) and not seen.logit_LH.requires_grad
    assert seen.per_layer == (seen.logit_LH >= 0).sum(-1).tolist() and seen.count == sum(seen.per_layer)


def test_every_criterion_keeps_as_many_heads_as_the_gates(pruned, monkeypatch):
    seen = Evidence(pruned)
    assert 0 < seen.count < 4, "else this test shows nothing"
    for name, criterion in CRITERIA.items():
        kept = criterion(seen)
        assert sum(map(len, kept)) == seen.count and len(kept) == 2, name
        assert all(list(heads) == sorted(set(heads)) and set(heads) <= {0, 1} for heads in kept), name
    scores = {"gradient importance": head_importance, "Taylor importance": taylor, "Shapley values": shapley,
              "output magnitude": lambda model, ids: output_magnitude(model)}
    for name, score in scores.items():
        assert CRITERIA[name](seen) == most_important(score(seen.model, seen.ids), seen.count), name
