"""The regression of notebooks 04 and 06: its gates are the library's, and its numbers are what the notebooks say."""

import math

import pytest
import torch

from allatt.config import GateConfig
from allatt.course import regression
from allatt.gates import HeadGates


def test_rounded_gates_and_their_penalty_are_the_librarys():
    gates = HeadGates(GateConfig(output_scaling=False), 10, 15)
    with torch.no_grad():
        gates.logit_LH.normal_(generator=torch.Generator().manual_seed(2))
    gate, counted = regression.sample("rounded", gates.logit_LH, torch.Generator().manual_seed(3))
    library = gates.sample(torch.Generator().manual_seed(3))
    assert torch.equal(gate, library) and counted.sum().item() == pytest.approx(gates.penalty().item())
    slopes = [torch.autograd.grad(g.sum(), gates.logit_LH)[0] for g in (gate, library)]
    assert torch.equal(*slopes) and slopes[0].any()


def test_other_gates_are_not_rounded_and_a_sigmoid_is_not_drawn():
    logit = torch.tensor([[0.0, 1.0, -30.0]])
    soft, _ = regression.sample("hard concrete", logit.expand(2000, -1), torch.Generator().manual_seed(0))
    assert ((soft > 0) & (soft < 1)).any() and not soft[:, 2].any()
    plain, counted = regression.sample("sigmoid", logit, torch.Generator())
    assert torch.equal(plain, torch.sigmoid(logit)) and torch.equal(plain, counted) and (plain > 0).all()


@pytest.mark.parametrize("a", [2.0, 0.0, -1.0])
def test_kappa_agrees_with_a_mean_over_the_noise(a):
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    logit = torch.full_like(u, a).requires_grad_()
    c = regression.stretched(torch.sigmoid((torch.logit(u) + logit) / 0.333))
    slope, = torch.autograd.grad(c.sum(), logit)
    p = 1 / (1 + math.exp(0.333 * math.log(0.1 / 1.1) - a))
    assert regression.kappa(a) == pytest.approx(p * (1 - p) / (2 * (slope * (c < 0.5)).mean().item()), rel=1e-3)


def test_the_border_lies_between_the_last_kept_and_the_first_closed():
    kept = torch.zeros(10, 15, dtype=torch.bool)
    kept[4, :7] = True
    expected = math.sqrt(regression.WORTH[6] * regression.WORTH[7]) / regression.LAMBDAS[4]
    assert regression.border(kept) == pytest.approx(float(expected))


def test_error_of_learned_weights_and_of_closed_gates():
    theta = regression.WORTH.sqrt()
    closed = torch.ones(15)
    closed[[0, 14]] = 0
    assert regression.error(theta, closed) == pytest.approx(1.01)
    assert regression.error(2 * theta, torch.full((15,), 0.5)) == pytest.approx(0, abs=1e-10)


def test_weights_are_learned_only_if_asked_and_a_warm_up_weakens_the_first_steps():
    fixed = regression.train(steps=5)
    assert torch.equal(fixed.weights[0], regression.WORTH.sqrt()) and fixed.logits.shape == (5, 10, 15)
    learned = regression.train(steps=5, learned_from=torch.zeros(15))
    assert learned.weights.any() and not torch.equal(learned.weights, fixed.weights)
    slow, fast = (regression.train("sigmoid", steps=30, warmup=warmup).logits[-1, -1].sum() for warmup in (1000, 0))
    assert fast < slow - 1
