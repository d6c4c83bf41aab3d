"""Gates on the features of a linear regression: the problem with a known answer in notebooks 04 and 06.

    y = sum over 15 features j of theta_j x_j,   x_j independent with variance 1,   theta_j^2 = WORTH[j]

Closing the gate of a feature adds its worth to the squared error, and an open gate costs lambda. Each row of gates has its
own lambda, so one training run shows ten. Either only the gates are learned, or the gates and the weights.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from allatt.config import GateConfig

WORTH = torch.logspace(0, -2, 15)
"""Squared weights of the features, from 1 down to 0.01."""
LAMBDAS = torch.logspace(-1.8, 0, 10)
"""One per row of gates."""
DEFAULTS = GateConfig()
EDGE = DEFAULTS.beta * math.log(-DEFAULTS.gamma / DEFAULTS.zeta)
"""Where sigma(a - EDGE) is the probability that a hard concrete gate is not exactly 0."""
KINDS = ("rounded", "hard concrete", "sigmoid")
"""Gates in training: rounded with the straight-through gradient (the paper), not rounded, and not drawn at all: sigma(a)."""


class Trained(NamedTuple):
    """The result of a training run."""

    logits: Tensor
    """By step, lambda and feature."""
    weights: Tensor
    """By lambda and feature, at the end; the known ones if they were not learned."""


def stretched(z: Tensor) -> Tensor:
    """z stretched, then clamped: exactly 0 and exactly 1 at its ends."""
    return (z * (DEFAULTS.zeta - DEFAULTS.gamma) + DEFAULTS.gamma).clamp(0, 1)


def sample(kind: str, logit: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gates of one step in training, and what the penalty counts for each."""
    if kind == "sigmoid":
        return torch.sigmoid(logit), torch.sigmoid(logit)
    uniform = torch.rand(logit.shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    noise = (uniform.log() - (-uniform).log1p()).to(logit)
    c = stretched(torch.sigmoid((noise + logit) / DEFAULTS.beta))
    gate = c if kind == "hard concrete" else (c >= 0.5).to(c) + (c - c.detach())
    return gate, torch.sigmoid(logit - EDGE)


def train(kind: str = "rounded", initial: float = 2.0, warmup: int = 50, steps: int = 600, learned_from: Tensor | None = None,
          weights_lr: float = 0.05, seed: int = 0) -> Trained:
    """Train gates with Adam, 256 examples per step; if `learned_from` is given, also the weights, starting from it."""
    theta, rows = WORTH.sqrt(), len(LAMBDAS)
    logit = torch.full((rows, len(WORTH)), float(initial), requires_grad=True)
    weights = (theta if learned_from is None else learned_from).expand(rows, -1).clone()
    groups = [{"params": [logit]}]
    if learned_from is not None:
        groups.append({"params": [weights.requires_grad_()], "lr": weights_lr})
    optimizer = torch.optim.Adam(groups, lr=0.05)
    generator, path = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        x = torch.randn(256, len(WORTH), generator=generator)
        gate, counted = sample(kind, logit, generator)
        squared = (x @ (theta - weights * gate).T).square().mean(0)
        lam = LAMBDAS * (min(1, (step + 1) / warmup) if warmup else 1)
        (squared + lam * counted.sum(-1)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        path.append(logit.detach().clone())
    return Trained(torch.stack(path), weights.detach())


def soft(logits: Tensor) -> Tensor:
    """The gate at evaluation without noise and without rounding: a factor between 0 and 1."""
    return stretched(torch.sigmoid(logits))


def error(weights: Tensor, gates: Tensor) -> Tensor:
    """Expected squared error with these gates, by row: sum over j of (theta_j - w_j g_j)^2."""
    return (WORTH.sqrt() - weights * gates).square().sum(-1)


def kappa(initial: float, points: int = 100_000) -> float:
    """Gates that start at this logit close where the worth is below kappa lambda: kappa = p (1 - p) / (2 E[(1 - g) dc/da]).

    E is over the noise, computed by substituting c for it: the density of the noise at the place where the gate is c, over
    0 < c < 1/2.
    """
    c = (torch.arange(points, dtype=torch.float64) + 0.5) / (2 * points)
    z = (c - DEFAULTS.gamma) / (DEFAULTS.zeta - DEFAULTS.gamma)
    place = torch.sigmoid(DEFAULTS.beta * torch.logit(z) - initial)
    p = 1 / (1 + math.exp(EDGE - initial))
    return p * (1 - p) / (2 * 0.5 * (place * (1 - place)).mean().item())


def border(kept: Tensor) -> float:
    """Geometric mean of (worth of the last kept, worth of the first closed) / lambda, over rows that keep some, not all."""
    rows = [(WORTH[row].min() * WORTH[~row].max()).sqrt() / lam
            for lam, row in zip(LAMBDAS, kept, strict=True) if 0 < row.sum() < len(row)]
    return torch.stack(rows).log().mean().exp().item()
