"""Exercises of notebook 04: how a choice of yes or no is trained."""

import math

import numpy as np
import torch

from allatt.course import regression
from allatt.course.exercise import exercise, expect


@exercise("4.1")
def top_heads(answer):
    """answer(c_LH, k): gates that are 1 for the k largest c of each layer and 0 for the others, with the gradient of c."""
    c = torch.rand(3, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64).requires_grad_()
    k = 3
    gate = answer(c, k)
    largest = np.zeros((3, 8))
    for layer, values in enumerate(c.detach().numpy()):
        for head in sorted(range(8), key=lambda head: -values[head])[:k]:
            largest[layer, head] = 1
    expect(isinstance(gate, torch.Tensor) and gate.shape == c.shape, "Return a tensor of the shape of c, with a gate per head.")
    found = gate.detach().numpy()
    expect(np.allclose(found, np.round(found)), "In the forward pass, some gates are neither 0 nor 1: add c, and subtract the "
                                                "same value where no gradient sees it (c.detach()).")
    found = np.round(found)
    expect((found.sum(-1) == k).all(), f"Each layer must have exactly {k} open gates; yours have {found.sum(-1).tolist()}.")
    expect(np.allclose(found, largest), "The right number is open, but not those with the largest c.")
    expect(gate.requires_grad, "Forward, this is right, but there is no gradient: a comparison has none, so borrow that of c.")
    slope, = torch.autograd.grad((gate * torch.arange(24.).reshape(3, 8)).sum(), c)
    expect(not (slope.numpy()[largest == 0] == 0).all(), "Forward, this is right, but closed gates have no gradient and could "
                                                         "never open again: hard * c is not straight-through.")
    expect(torch.allclose(slope, torch.arange(24., dtype=torch.float64).reshape(3, 8)),
           "Forward, this is right; backward, the slope of each gate must be that of its own c, which is 1.")
    expect(round(answer(c, 5).detach().sum().item()) == 15,
           "This is right for k = 3; with k = 5, each of three layers keeps five heads.")
    return ("The trick needs no hard concrete gates: whatever is computed forward, the gradient is your own choice. With "
            "it, the number of heads is fixed, and no lambda is needed.")


@exercise("4.2")
def above(answer):
    """answer(a, tau, beta): the probability that c is at least tau, for 0 < tau < 1."""
    uniform = (np.arange(200_000) + 0.5) / 200_000
    noise = np.log(uniform) - np.log1p(-uniform)
    for a, tau, beta in ((1.0, 0.5, 0.333), (1.0, 0.9, 0.333), (-0.5, 0.2, 0.333), (0.5, 0.9, 1.0)):
        c = np.clip(1.2 / (1 + np.exp(-(noise + a) / beta)) - 0.1, 0, 1)
        drawn, found = float((c >= tau).mean()), float(answer(a, tau, beta))
        where = f"At a = {a:g}, tau = {tau:g}, beta = {beta:g}, a share of {drawn:.3f} is at least tau; yours says {found:.3f}"
        stretched = _logit((tau + 0.1) / 1.2)
        wrong = {"that is P(c >= 1/2), which needs no beta; at another tau, the border is elsewhere": _sigma(a),
                 "that is the probability of being at most tau": 1 - drawn,
                 "undo the stretch first: c = tau is z = (tau - gamma) / (zeta - gamma)": _sigma(a - beta * _logit(tau)),
                 "the noise must be above beta logit(z) - a; one of these has the wrong sign": _sigma(a + beta * stretched),
                 "the noise has to be compared with beta times the logit": _sigma(a - stretched)}
        for hint, value in wrong.items():
            expect(abs(found - value) > 1e-3 or abs(value - drawn) < 2e-3, f"{where}: {hint}.")
        expect(abs(found - drawn) < 1e-3, where)
    return ("sigma(a - beta logit(z)), z = (tau + 0.1) / 1.2. At tau = 1/2, beta drops out, and P(open) = sigma(a). At "
            "tau = 0, it is what the penalty counts; at tau = 1, it is the spike.")


def _sigma(x):
    return 1 / (1 + math.exp(-x))


def _logit(z):
    return math.log(z / (1 - z))


@exercise("4.3")
def half_open_border(answer):
    """answer: the worth, as a multiple of lambda, below which features close if their gates start at a = 0."""
    right, open_start = regression.kappa(0.0), regression.kappa(2.0)
    expect(isinstance(answer, int | float) and answer > 0, "The answer is a positive number: worth at the border / lambda.")
    expect(abs(answer - open_start) > 0.05, "That is the border for gates that start at 2. A gate at 0 is closed in half "
                                            "of the steps: compare (1 - g) dc/da with p (1 - p) there.")
    expect(answer > open_start, "The border moves up: from 0, a gate needs fewer steps downhill, and it gets no discount.")
    expect(abs(answer - 1) > 0.03, "1 is the naive border. The penalty counts gates with c > 0, more than those that are open, "
                                   "so the pull at a = 0 is not that of sigma(a): put a = 0 into kappa.")
    expect(abs(math.log(answer / right)) < 0.08, f"Not {answer:g}: kappa(0) is the number, and a mean over the noise gives it.")
    return (f"kappa(0) = {right:.2f}. Features worth {open_start:.2f} to {right:.2f} lambda stay if gates start open, and "
            "close if they start half open. So compare two starts at an equal number of heads, or look at heads and loss.")


@exercise("4.4")
def lambda_for_more(answer):
    """answer(times): the factor for lambda if each feature is split into `times` equal ones that are together worth as much."""
    for times in (2, 4):
        found = float(answer(times))
        worth = regression.WORTH.double().repeat_interleave(times) / times  # theta becomes theta / sqrt(times)
        share = float((worth > 0.66 * 0.3 * found).double().mean())
        before = float((regression.WORTH > 0.66 * 0.3).double().mean())
        kept = f"With {times} times the features, lambda 0.3 times {found:.3g} keeps {share:.0%} of them; before, {before:.0%}"
        expect(abs(found - 1) > 1e-9, f"{kept}: a feature is worth less now, and an open gate still costs lambda.")
        expect(found < 1, f"{kept}: lambda must fall, since each feature is worth less.")
        expect(abs(found - times ** -0.5) > 1e-9, f"{kept}: the weight falls by the root of {times}; the worth is its square.")
        expect(abs(found * times - 1) < 1e-9, f"{kept}: compare the worth of one feature before and after.")
    return ("1 / times. Cross-entropy is a mean and does not grow with the number of heads, while the penalty is a sum: a "
            "lambda belongs to one size, and each scale of this project has its own.")
