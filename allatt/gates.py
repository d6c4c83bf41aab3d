"""Hard-concrete gates on heads: sampling, the L0 penalty, its warm-up, and output scaling.

    train   z = sigmoid((log x - log(1 - x) + a) / beta),  x ~ U(0, 1)          Louizos et al. 2018, equations 10-11
            c = clamp(z (zeta - gamma) + gamma, 0, 1)
            g = [c >= 1/2], with the gradient of c (straight-through)
    eval    a head is kept iff a >= 0: there is no third state
    L0      expected number of heads above zero = sum sigmoid(a - beta log(-gamma / zeta))

One scalar a per layer and head, one sample per layer and optimizer step (Voita et al. 2019; the paper, section 3).

In the paper, lambda alone decides how many heads are kept. With a target (our addition), lambda is the Lagrange multiplier
of that number; a controller with a proportional and an integral part finds it while the gates train:

    error   e = b - r(t): b is midway between the logits of the last head to keep and the next one;
            r falls linearly from the gates' initial logit to 0 over the first FALL of the steps, then stays
    lambda  m(t) = m(t-1) + INTEGRAL e / steps;  lambda(t) = warm-up(t) (m(t) + PROPORTIONAL e)

At b = 0 the target is met. A lambda below 0 rewards open heads: if too few would be left, it holds them open.
Shape suffixes: L layers, H heads.
"""

import math

import torch
from torch import Tensor, nn

from allatt.config import GateConfig

FALL = 0.6
"""Share of a run's steps over which the reference falls and heads close; during the rest they settle (our choice)."""
PROPORTIONAL, INTEGRAL = 0.5, 1.0
"""Nats per head for an error of 1 in the logit: at once, and added up if it lasts the whole run (our choice)."""


class HeadGates(nn.Module):
    """A gate for each head of each layer: `logit_LH`, all starting at `config.initial`."""

    def __init__(self, config: GateConfig, layers: int, heads: int):
        super().__init__()
        self.config = config
        self.logit_LH = nn.Parameter(torch.full((layers, heads), float(config.initial)))
        if config.target_kept is not None:  # only then, so gates saved before targets existed still load
            self.register_buffer("integral", torch.tensor(float(config.lam)))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Gates (L, H) of one step: open (1) or closed (0), with the straight-through gradient; scaled if so configured.

        The noise is drawn on the CPU from `generator`, so a run's gates depend neither on its device nor on how many
        random numbers its dropouts draw.
        """
        c = self.config
        x_LH = torch.rand(self.logit_LH.shape, generator=generator, dtype=torch.float64)
        x_LH = x_LH.clamp(1e-12, 1 - 1e-12)
        noise_LH = (x_LH.log() - (-x_LH).log1p()).to(self.logit_LH.dtype)
        if self.logit_LH.is_cuda:  # with pinned memory the CPU need not wait for the GPU
            noise_LH = noise_LH.pin_memory().to(self.logit_LH.device, non_blocking=True)
        z_LH = torch.sigmoid((noise_LH + self.logit_LH) / c.beta)
        soft_LH = (z_LH * (c.zeta - c.gamma) + c.gamma).clamp(0, 1)
        hard_LH = (soft_LH >= 0.5).to(soft_LH)
        return self._scaled(hard_LH + (soft_LH - soft_LH.detach()), hard_LH)

    def evaluation(self) -> Tensor:
        """Factor of each head at evaluation (L, H): 0 or 1, times the output scaling of its layer."""
        open_LH = self.kept().to(self.logit_LH)
        return self._scaled(open_LH, open_LH)

    def kept(self) -> Tensor:
        """Kept heads as booleans (L, H): those with a >= 0, which are open with a probability of at least 1/2."""
        return self.logit_LH.detach() >= 0

    def penalty(self) -> Tensor:
        """The expected number of gates above 0 in the whole model (a scalar), their L0 norm; fewer are open, at 1/2 or more."""
        c = self.config
        return torch.sigmoid(self.logit_LH - c.beta * math.log(-c.gamma / c.zeta)).sum()

    def border(self) -> Tensor:
        """The logit midway between the last head that the target keeps and the next one (a scalar)."""
        logit_N = self.logit_LH.detach().flatten().sort(descending=True).values
        logit_N = torch.cat([logit_N[:1] + 1, logit_N, logit_N[-1:] - 1])  # so that keeping all or none has a border, too
        kept = self._target()
        return logit_N[kept:kept + 2].mean()

    def lambda_at(self, step: int, steps: int) -> Tensor | float:
        """lambda, nats per head, at a step (counted from 0) of a run of `steps`: a linear rise over `penalty_warmup` steps,
        then `config.lam`. With a target, lambda is steered: call this exactly once per step.

        A steered lambda depends on the logits alone, so all processes agree. It stays a tensor: reading it would wait for
        the GPU.
        """
        c, kept = self.config, self._target()
        if kept is None:
            return c.lam * self._warmup(step)
        # If all heads are to be kept, lambda must not be positive; if none, not negative.
        low, high = 0.0 if kept == 0 else -math.inf, 0.0 if kept == self.logit_LH.numel() else math.inf
        error = self.border() - c.initial * max(0.0, 1 - step / (FALL * steps))
        self.integral.add_(INTEGRAL * error / steps).clamp_(low, high)
        return self._warmup(step) * (self.integral + PROPORTIONAL * error).clamp(low, high)

    def _target(self) -> int | None:
        """Number of heads that the target keeps; None without a target."""
        share = self.config.target_kept
        return None if share is None else round(share * self.logit_LH.numel())

    def _warmup(self, step: int) -> float:
        warmup = self.config.penalty_warmup
        return min(1.0, (step + 1) / warmup) if warmup else 1.0

    def _scaled(self, gate_LH: Tensor, open_LH: Tensor) -> Tensor:
        return gate_LH * output_scale(open_LH) if self.config.output_scaling else gate_LH


def output_scale(open_LH: Tensor) -> Tensor:
    """Attention-output scaling: heads / open heads per layer (L, 1), detached, at most the number of heads.

    It keeps the size of a layer's output when heads close. The README of the released code names it as one of the three
    training methods; in the code it is commented out, and only its place is known (here: on the concatenated heads,
    before Wo).
    """
    heads = open_LH.shape[-1]
    return (heads / open_LH.detach().sum(-1, keepdim=True).clamp(min=1)).clamp(max=heads)
