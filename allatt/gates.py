"""Hard-concrete gates on heads: sampling, the L0 penalty, its warm-up, and output scaling.

    train   z = sigmoid((log x - log(1 - x) + a) / beta),  x ~ U(0, 1)          Louizos et al. 2018, equations 10-11
            c = clamp(z (zeta - gamma) + gamma, 0, 1)
            g = [c >= 1/2], with the gradient of c (straight-through)
    eval    a head is kept iff a >= 0: there is no third state
    L0      expected number of open heads = sum sigmoid(a - beta log(-gamma / zeta))

One scalar a per layer and head, one sample per layer and optimizer step (Voita et al. 2019; the paper, section 3).
Shape suffixes: L layers, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from allatt.config import GateConfig


class HeadGates(nn.Module):
    """A gate for each head of each layer: `logit_LH`, all starting at `config.initial`."""

    def __init__(self, config: GateConfig, layers: int, heads: int):
        super().__init__()
        self.config = config
        self.logit_LH = nn.Parameter(torch.full((layers, heads), float(config.initial)))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Open (1) or closed (0) for this step, with the straight-through gradient; scaled if the config says so.

        The noise is drawn on the CPU from `generator`, so that a run's gates do not depend on its device, nor on how
        many random numbers its dropouts take.
        """
        c = self.config
        x_LH = torch.rand(self.logit_LH.shape, generator=generator, dtype=torch.float64)
        x_LH = x_LH.clamp(1e-12, 1 - 1e-12)
        noise_LH = (x_LH.log() - (-x_LH).log1p()).to(self.logit_LH)
        z_LH = torch.sigmoid((noise_LH + self.logit_LH) / c.beta)
        soft_LH = (z_LH * (c.zeta - c.gamma) + c.gamma).clamp(0, 1)
        hard_LH = (soft_LH >= 0.5).to(soft_LH)
        return self._scaled(hard_LH + (soft_LH - soft_LH.detach()), hard_LH)

    def evaluation(self) -> Tensor:
        """What multiplies each head at evaluation: 0 or 1, times the output scaling of its layer."""
        open_LH = self.kept().to(self.logit_LH)
        return self._scaled(open_LH, open_LH)

    def kept(self) -> Tensor:
        """Which heads are kept, as booleans (L, H): those with a >= 0, where an open gate is as likely as not."""
        return self.logit_LH.detach() >= 0

    def penalty(self) -> Tensor:
        """The expected number of open heads in the whole model (a scalar): the L0 norm of the stretched gates."""
        c = self.config
        return torch.sigmoid(self.logit_LH - c.beta * math.log(-c.gamma / c.zeta)).sum()

    def lam(self, step: int) -> float:
        """lambda at a step (counted from 0): a linear rise over `penalty_warmup` steps, then `lam`."""
        warmup = self.config.penalty_warmup
        return self.config.lam * (min(1.0, (step + 1) / warmup) if warmup else 1.0)

    def _scaled(self, gate_LH: Tensor, open_LH: Tensor) -> Tensor:
        return gate_LH * output_scale(open_LH) if self.config.output_scaling else gate_LH


def output_scale(open_LH: Tensor) -> Tensor:
    """Attention-output scaling: heads / open heads for each layer (L, 1), detached, at most the number of heads.

    It keeps the size of a layer's output when heads close. The README of the released code names it as one of the three
    methods; there, the line is commented out and its place (here: on the concatenated heads, before Wo) is all it says.
    """
    heads = open_LH.shape[-1]
    return (heads / open_LH.detach().sum(-1, keepdim=True).clamp(min=1)).clamp(max=heads)
