"""Head importance by gradient: the one-shot criterion that learned gates have to beat (Michel et al. 2019).

    I_h = E_x | dL(x) / dg_h |  at g = 1                      equation 2 of "Are Sixteen Heads Really Better than One?"

x is one segment of training text, L its mean loss, g_h a factor of the head's output. As in that paper, the scores of a
layer are divided by their l2 norm, since layers differ in scale; then the heads of all layers are ranked together.
Shape suffixes: L layers, H heads, B rows, T tokens.
"""

import numpy as np
import torch
from torch import Tensor

from allatt.batches import Stream
from allatt.config import check
from allatt.model import LanguageModel
from allatt.prune import Kept, kept_heads

SEGMENTS, ROWS = 16, 16
"""The expectation is taken over this many segments of this many rows (our choice)."""


def head_importance(model: LanguageModel, ids: np.ndarray, rows: int = ROWS, segments: int = SEGMENTS) -> Tensor:
    """Scores (L, H) of a model with all its heads; those of a layer have norm 1. Leaves the model's mode as it was.

    The text is cut into `rows` streams, of which `segments` segments are read in order, with memory. Each row of each
    segment is one x, since the absolute value is inside the expectation.
    """
    check(model.config.kept is None, "importance ranks all heads; this model has heads removed")
    c, device, training = model.config, model.distance_PD.device, model.training
    model.eval()
    stream, total_LH = Stream(ids, rows, c.segment), torch.zeros(c.layers, c.heads, device=device)
    steps = min(segments, stream.steps_per_epoch)
    memories = [model.empty_memory(1) for _ in range(rows)]
    for step in range(steps):
        input_BT, target_BT, _ = stream.batch(step)
        for row in range(rows):
            gate_LH = torch.ones(c.layers, c.heads, device=device, requires_grad=True)
            x = slice(row, row + 1)
            nll_BT, memories[row] = model.loss(input_BT[x].to(device), target_BT[x].to(device), memories[row], gate_LH)
            total_LH += torch.autograd.grad(nll_BT.mean(), gate_LH)[0].abs()
    model.train(training)
    return total_LH / total_LH.norm(dim=-1, keepdim=True).clamp(min=torch.finfo().tiny)


def most_important(score_LH: Tensor, count: int) -> Kept:
    """The `count` heads with the highest scores in the whole model, by layer."""
    check(0 <= count <= score_LH.numel(), f"{count} heads cannot be kept of {score_LH.numel()}")
    kept_LH = torch.zeros(score_LH.numel(), dtype=torch.bool)
    kept_LH[score_LH.flatten().cpu().topk(count).indices] = True
    return kept_heads(kept_LH.view(score_LH.shape))


def top_per_layer(score_LH: Tensor, counts: list[int]) -> Kept:
    """The heads with the highest scores in each layer; `counts` gives their number."""
    return tuple(tuple(sorted(layer.topk(count).indices.tolist())) for layer, count in zip(score_LH, counts, strict=True))
