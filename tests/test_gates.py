"""Hard-concrete gates against their definition, in values, probabilities and gradients."""

import math

import pytest
import torch

from allatt.config import AllattError, GateConfig
from allatt.gates import FALL, INTEGRAL, PROPORTIONAL, HeadGates, output_scale


def gates_with(logits, **switches):
    gates = HeadGates(GateConfig(**switches), *torch.tensor(logits).shape)
    gates.logit_LH.data = torch.tensor(logits)
    return gates


def opened(gates, generator):
    """Open (1) or closed (0), from logistic noise in double precision."""
    x_LH = torch.rand(gates.logit_LH.shape, generator=generator, dtype=torch.float64)
    return (torch.logit(x_LH) >= -gates.logit_LH.detach()).float()


def generator_after(numbers, seed):
    """A generator that has drawn this many numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    torch.rand(numbers, generator=generator, dtype=torch.float64)
    return generator


def test_gates_start_where_the_config_says():
    assert HeadGates(GateConfig(initial=2.0), 3, 4).logit_LH.eq(2).all()
    assert HeadGates(GateConfig(initial=0.0), 3, 4).logit_LH.eq(0).all()


@pytest.mark.parametrize("logit", [-1.0, 0.0, 2.0])
def test_a_gate_is_open_with_the_sigmoid_of_its_logit(logit):
    """c >= 1/2 iff z >= 1/2 (the stretch is symmetric) iff the logistic noise is above -a."""
    gates, generator = gates_with([[logit]], output_scaling=False), torch.Generator().manual_seed(1)
    share = torch.stack([gates.sample(generator).detach() for _ in range(4000)]).mean().item()
    assert abs(share - 1 / (1 + math.exp(-logit))) < 0.03


def test_samples_are_zero_or_one_with_the_gradient_of_the_soft_gate():
    gates = gates_with([[0.3, -0.2, 1.5, 0.0]], output_scaling=False)
    c, seed = gates.config, 5
    x = torch.rand((1, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = torch.sigmoid((torch.log(x) - torch.log(1 - x) + gates.logit_LH) / c.beta)
    stretched = z * (c.zeta - c.gamma) + c.gamma
    sample = gates.sample(torch.Generator().manual_seed(seed))
    assert set(sample.detach().flatten().tolist()) <= {0.0, 1.0}
    assert torch.equal(sample.detach() == 1, stretched >= 0.5)
    slope = (c.zeta - c.gamma) * z * (1 - z) / c.beta * ((stretched > 0) & (stretched < 1))
    gradient = torch.autograd.grad(sample.sum(), gates.logit_LH)[0]
    assert torch.allclose(gradient.double(), slope, atol=1e-5)
    assert (gradient > 0).any()


def test_an_open_gate_is_exactly_one():
    samples = HeadGates(GateConfig(output_scaling=False), 100, 8).sample(torch.Generator().manual_seed(0))
    assert set(samples.detach().flatten().tolist()) == {0.0, 1.0}


def test_penalty_is_the_expected_number_of_open_stretched_gates():
    """P(c > 0) = sigmoid(a - beta log(-gamma/zeta)): checked by drawing."""
    logits = [[-1.0, 0.0, 1.0], [2.0, -3.0, 0.5]]
    gates = gates_with(logits)
    c = gates.config
    x = torch.rand(20000, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = torch.sigmoid((torch.logit(x) + torch.tensor(logits)) / c.beta)
    drawn = (z * (c.zeta - c.gamma) + c.gamma > 0).double().mean(0).sum()
    assert abs(gates.penalty().item() - drawn.item()) < 0.03
    assert (torch.autograd.grad(gates.penalty(), gates.logit_LH)[0] > 0).all(), "the penalty must push gates down"


def test_at_evaluation_a_head_is_kept_or_not():
    gates = gates_with([[-0.001, 0.0, 3.0, -5.0], [-1.0, -2.0, -3.0, -4.0]], output_scaling=False)
    assert gates.kept().tolist() == [[False, True, True, False], [False] * 4]
    assert gates.evaluation().tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_output_scaling_is_heads_over_open_heads_and_detached():
    gates = gates_with([[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, -1.0]])
    assert torch.allclose(gates.evaluation(), torch.tensor([[2, 2, 0, 0], [0, 0, 0, 0], [4 / 3, 4 / 3, 4 / 3, 0]]))
    assert output_scale(torch.zeros(1, 8)).item() == 8, "at most the number of heads"
    assert not output_scale(gates.logit_LH).requires_grad
    off = gates_with([[1.0, -1.0]], output_scaling=False)
    assert off.evaluation().tolist() == [[1.0, 0.0]]


def test_the_sample_is_scaled_as_its_own_open_heads_say():
    gates = HeadGates(GateConfig(initial=0.0), 50, 4)
    sample = gates.sample(torch.Generator().manual_seed(0)).detach()
    opened = (sample > 0).sum(-1)
    assert torch.allclose(sample.sum(-1), (opened > 0) * 4.0), "open heads x (heads / open heads)"


def test_lambda_rises_linearly_and_stays():
    gates = HeadGates(GateConfig(lam=0.5, penalty_warmup=4), 1, 1)
    assert [gates.lambda_at(step, 101) for step in (0, 1, 3, 4, 100)] == [0.125, 0.25, 0.5, 0.5, 0.5]
    assert HeadGates(GateConfig(lam=0.5), 1, 1).lambda_at(0, 9) == 0.5


@pytest.mark.parametrize("share, border", [(0.0, 3.5), (0.25, 2.5), (0.5, 1.0), (0.75, -1.0), (1.0, -2.5)])
def test_the_border_lies_midway_between_the_last_head_to_keep_and_the_next(share, border):
    assert gates_with([[0.0, 3.0], [-2.0, 2.0]], target_kept=share).border().item() == border


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_lambda_steers_to_the_target_as_the_equations_say(share):
    """Against a slow reference, on gates that wander by themselves, down and up again."""
    steps, warmup, start, mu = 20, 5, 1.5, 0.1
    gates = HeadGates(GateConfig(lam=mu, initial=start, penalty_warmup=warmup, target_kept=share), 2, 3)
    generator, seen = torch.Generator().manual_seed(0), []
    for step in range(steps):
        ordered = sorted(gates.logit_LH.flatten().tolist(), reverse=True)
        border = {0.0: ordered[0] + 0.5, 0.4: (ordered[1] + ordered[2]) / 2, 1.0: ordered[-1] - 0.5}[share]
        error = border - (start - start * step / (FALL * steps) if step < FALL * steps else 0)
        mu += INTEGRAL * error / steps
        mu = max(mu, 0) if share == 0 else min(mu, 0) if share == 1 else mu
        lam = mu + PROPORTIONAL * error
        lam = max(lam, 0) if share == 0 else min(lam, 0) if share == 1 else lam
        seen.append(lam * min(1, (step + 1) / warmup))
        assert gates.lambda_at(step, steps).item() == pytest.approx(seen[-1], abs=1e-5)
        gates.logit_LH.data += torch.randn(2, 3, generator=generator) + (-1 if step < 8 else 2)
    assert min(seen) < 0 or share == 0
    assert max(seen) > 0 or share == 1


def test_without_a_target_lambda_is_fixed_and_nothing_more_is_saved():
    gates = HeadGates(GateConfig(lam=0.5, penalty_warmup=4), 2, 2)
    assert [gates.lambda_at(step, 9) for step in (0, 1, 8)] == [0.125, 0.25, 0.5]
    assert list(gates.state_dict()) == ["logit_LH"], "gates that were saved before there were targets must load"
    assert list(HeadGates(GateConfig(target_kept=0.5), 2, 2).state_dict()) == ["logit_LH", "integral"]


def test_noise_comes_only_from_the_given_generator():
    """Whatever state torch's own generator is in, the samples are those that the given one determines, and it alone moves."""
    gates, seen = HeadGates(GateConfig(initial=0.0, output_scaling=False), 125, 8), []
    for own, given in ((0, 3), (1, 3), (1, 4)):
        torch.manual_seed(own)
        before, generator = torch.get_rng_state(), torch.Generator().manual_seed(given)
        seen.append([gates.sample(generator).detach() for _ in range(2)])
        assert torch.equal(before, torch.get_rng_state()), "torch's own generator was asked"
        assert torch.equal(seen[-1][0], opened(gates, torch.Generator().manual_seed(given)))
        assert torch.equal(seen[-1][1], opened(gates, generator_after(1000, given))), "the next 1,000 numbers"
        assert torch.equal(generator.get_state(), generator_after(2000, given).get_state())
    assert torch.equal(seen[0][0], seen[1][0]) and not torch.equal(seen[1][0], seen[2][0])


def test_a_gate_is_open_exactly_where_the_noise_is_above_minus_its_logit():
    """c >= 1/2 iff z >= 1/2 (the stretch is symmetric about it) iff logit(x) + a >= 0, whatever the temperature is."""
    a_LH = torch.linspace(-3, 3, 4000).view(500, 8)
    gates = gates_with(a_LH.tolist(), output_scaling=False)
    sample = gates.sample(torch.Generator().manual_seed(2)).detach()
    expected = opened(gates, torch.Generator().manual_seed(2))
    assert torch.equal(sample, expected)
    x_LH = torch.rand(500, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    near = (torch.logit(x_LH) + a_LH).abs() < 0.1  # a threshold of 0.4 or 0.6 would put these on one side
    assert 10 < sample[near].sum() < near.sum() - 10


@pytest.mark.parametrize("bad", [{"lam": -1.0}, {"penalty_warmup": -1}, {"beta": 0.0}, {"gamma": 0.1}, {"zeta": 1.0},
                                 {"zeta": 1.2}, {"target_kept": -0.1}, {"target_kept": 1.1}, {"target_kept": 50.0}])
def test_values_out_of_range(bad):
    with pytest.raises(AllattError, match=next(iter(bad))):
        GateConfig(**bad)
