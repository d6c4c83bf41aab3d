"""Wrong answers to the exercises of notebook 15, and what it says about other models."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from allatt.config import GateConfig
from allatt.course import nb15
from allatt.course.exercise import NOT_YET
from allatt.gates import HeadGates


def hint(exercise, *answers):
    state, text = exercise.attempt(*answers)
    assert state == NOT_YET
    return text


@pytest.mark.parametrize("answer, part", [(0.83, "In percent"), (50, "Only attention has heads"), (16.7, "That is what goes"),
                                          (75, "4 d^2 belong to heads")])
def test_what_is_left(answer, part):
    assert part in hint(nb15.what_is_left, answer)


@pytest.mark.parametrize("wrong, part", [
    (lambda weight, gate: weight * gate.repeat(len(weight) // len(gate))[:, None], "not all gates one after another"),
    (lambda weight, gate: weight * gate.repeat_interleave(weight.shape[1] // len(gate)) if weight.shape == (9, 9) else
     weight * gate.repeat_interleave(len(weight) // len(gate))[:, None], "These are the columns"),
    (lambda weight, gate: weight.mul_(gate.repeat_interleave(len(weight) // len(gate))[:, None]), "given has changed"),
    (lambda weight, gate: gate, "has the shape of the weight"),
    (lambda weight, gate: weight * gate.detach().repeat_interleave(len(weight) // len(gate))[:, None], "do not detach"),
    (lambda weight, gate: weight * gate.repeat_interleave(len(weight) // len(gate)).flip(0)[:, None], "With 2 heads of 3")])
def test_gated_rows(wrong, part):
    assert part in hint(nb15.gated_rows, wrong)


@pytest.mark.parametrize("wrong, part", [
    (lambda kept, H, G: [head // (H // G) for head in kept], "twice"), (lambda kept, H, G: {0, 1}, "a list, please"),
    (lambda kept, H, G: [any(head // (H // G) == key for head in kept) for key in range(G)], "the indices"),
    (lambda kept, H, G: sorted({head // (H // G) for head in kept}, reverse=True), "not in order"),
    (lambda kept, H, G: kept, "there are only 0 to 1"),
    (lambda kept, H, G: sorted({head % G for head in kept}), "neighbors read different"),
    (lambda kept, H, G: list(range(G)), "they read [3]")])
def test_keys_that_stay(wrong, part):
    assert part in hint(nb15.keys_that_stay, wrong)


@pytest.mark.parametrize("wrong, f, part", [
    (lambda f: 4 / (4 + 2 * f), 2, "share of attention"), (lambda f: f / (4 + f), 2, "has two matrices"),
    (lambda f: 0.9, 2, "With f = 4"), (lambda f: 200 * f / (4 + 2 * f), 2, "between 0 and 1"),
    (lambda f: 2 / 3, 2, "Right for f = 4 only"),
    (lambda f: 2 * f / (4 + 2 * f), 4, "as many weights as attention")])
def test_share_that_stays(wrong, f, part):
    assert part in hint(nb15.share_that_stays, wrong, f)


@pytest.mark.parametrize("training", [True, False])
def test_gates_on_the_output_weight_are_gates_on_the_heads_of_torchs_own_attention(training):
    """Its heads one by one from its weights, against `functional_call` with columns of out_proj times gates."""
    torch.manual_seed(0)
    H, K, D = 4, 3, 12
    attention = nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.double).train(training)
    x = torch.randn(2, 5, D, dtype=torch.double)
    nn.init.normal_(attention.out_proj.bias)
    gates = HeadGates(GateConfig(output_scaling=False), 1, H).double()
    gates.logit_LH.data[0, 1] = -3.0
    gate_H = gates.evaluation()[0]
    weights = {"out_proj.weight": attention.out_proj.weight * gate_H.repeat_interleave(K)}
    found = functional_call(attention, weights, (x, x, x), {"need_weights": False})[0]
    expected = attention.out_proj.bias.expand(2, 5, D).clone()
    for h in (0, 2, 3):
        rows = slice(h * K, (h + 1) * K)
        q, k, v = (x @ attention.in_proj_weight[part + h * K:][:K].T + attention.in_proj_bias[part + h * K:][:K]
                   for part in (0, D, 2 * D))
        expected += (q @ k.mT / K ** 0.5).softmax(-1) @ v @ attention.out_proj.weight[:, rows].T
    assert gate_H.tolist() == [1, 0, 1, 1] and (found - expected).abs().max() < 1e-12
