"""Learning rates over the steps, and the optimizers: AdamW, and LAMB as in the paper."""

import math

import torch

from allatt.config import RunConfig, TrainConfig
from allatt.gates import HeadGates
from allatt.model import LanguageModel


def lr_factor(config: TrainConfig, step: int) -> float:
    """Factor of every learning rate at a step (counted from 0): linear warm-up, then cosine or constant."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(config: RunConfig, model: LanguageModel, gates: HeadGates | None) -> torch.optim.Optimizer:
    """AdamW or LAMB in three groups: matrices (weight decay), biases and norms (none), gates (their own lr, none)."""
    named = list(model.named_parameters())
    plain = [p for name, p in named if "bias" in name or "norm" in name]
    matrices = [p for name, p in named if not ("bias" in name or "norm" in name)]
    t = config.train
    groups = [{"params": matrices, "weight_decay": t.weight_decay, "base_lr": t.lr},
              {"params": plain, "weight_decay": 0.0, "base_lr": t.lr}]
    if gates is not None:
        groups.append({"params": list(gates.parameters()), "weight_decay": 0.0, "base_lr": config.gates.lr})
    if t.optimizer == "lamb":
        from pytorch_optimizer import Lamb  # not in torch; imported here, since most runs do not need it

        return Lamb(groups, lr=t.lr, betas=(0.9, t.beta2))
    return torch.optim.AdamW(groups, lr=t.lr, betas=(0.9, t.beta2), fused=True)
