"""Ways to choose which heads to keep, other than by gates. A new one is a function here, and a line in CRITERIA.

A criterion gets `Evidence`, and returns the heads to keep, `evidence.count` in all. Criteria that rank heads give them scores.

Shape suffixes: L layers, H heads, N all heads of the model, B rows, T tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from allatt.batches import Stream
from allatt.data.tokens import load
from allatt.importance import ROWS, SEGMENTS, head_importance, most_important, top_per_layer
from allatt.model import LanguageModel
from allatt.prune import HEAD_TENSORS, Kept
from allatt.runs import Run, get_or_run


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at: a baseline, and what gates have kept of it."""

    learned: Run
    """The run that trained the gates (its first phase)."""

    @cached_property
    def model(self) -> LanguageModel:
        """The baseline that the gates started from."""
        return get_or_run(self.learned.config.start).load()

    @cached_property
    def ids(self) -> np.ndarray:
        """The training text."""
        return load(self.learned.config.data).train

    @cached_property
    def logit_LH(self) -> Tensor:
        """The logits of the gates at the end of their training."""
        return self.learned.gates().logit_LH.detach()

    @property
    def per_layer(self) -> list[int]:
        """How many heads of each layer the gates kept."""
        return self.learned.result["heads"]["per_layer"]

    @property
    def count(self) -> int:
        """How many heads the gates kept."""
        return self.learned.result["heads"]["total"]

    def drawn(self, draw: int) -> Tensor:
        """Random scores (L, H) that depend only on the seed of the run and on the number of the draw."""
        generator = torch.Generator().manual_seed(1000 * self.learned.config.train.seed + draw)
        return torch.rand(self.logit_LH.shape, generator=generator)


def random_heads(evidence: Evidence, draw: int = 0) -> Kept:
    """The same number of heads per layer as the gates kept, drawn blindly: does the choice within a layer matter?"""
    return top_per_layer(evidence.drawn(draw), evidence.per_layer)


def even_layers(evidence: Evidence) -> Kept:
    """The same number in every layer, the heads with the highest gates: do the layers' shares matter?"""
    layers = len(evidence.logit_LH)
    share, rest = divmod(evidence.count, layers)
    return top_per_layer(evidence.logit_LH, [share + (layer < rest) for layer in range(layers)])


def top_layers_first(evidence: Evidence) -> Kept:
    """Whole layers from the top are removed, then some heads of the next one: layer counts that no gate has chosen."""
    layers, heads = evidence.logit_LH.shape
    height_LH = torch.arange(layers * heads, dtype=torch.float).view(layers, heads)
    return most_important(-height_LH, evidence.count)


def output_magnitude(model: LanguageModel) -> Tensor:
    """Norm of each head's output projection (L, H): the size of what it writes. Reads no text."""
    return torch.stack([block.output_HKD.detach().flatten(1).norm(dim=1) for block in model.blocks])


def taylor(model: LanguageModel, ids: np.ndarray, rows: int = ROWS, segments: int = SEGMENTS) -> Tensor:
    """Scores (L, H): E_x (sum_w w dL/dw)^2 over all weights w of a head (Molchanov et al. 2019, equation 8).

    To first order, the squared change of the loss if the head were removed. x is a segment of `rows` rows.
    """
    stream, memory, total_LH = Stream(ids, rows, model.config.segment), model.empty_memory(rows), 0.0
    training, device = model.training, model.distance_PD.device
    model.eval()
    tensors = [[tensor for name, tensor in block.named_parameters() if name in HEAD_TENSORS] for block in model.blocks]
    flat = [tensor for layer in tensors for tensor in layer]
    for step in range(min(segments, stream.steps_per_epoch)):
        input_BT, target_BT, _ = stream.batch(step)
        nll_BT, memory = model.loss(input_BT.to(device), target_BT.to(device), memory)
        grads = iter(torch.autograd.grad(nll_BT.mean(), flat))
        change_LH = [sum((tensor.detach() * next(grads)).flatten(1).sum(1) for tensor in layer) for layer in tensors]
        total_LH = total_LH + torch.stack(change_LH) ** 2
    model.train(training)
    return total_LH


@torch.no_grad()
def shapley(model: LanguageModel, ids: np.ndarray, draws: int = 4, rows: int = ROWS, segments: int = 2) -> Tensor:
    """Shapley values (L, H): by how much a head lowers the loss, averaged over the orders in which heads can be removed.

    Estimated from `draws` random orders and their reverses (Castro et al. 2009; for heads, Held and Yang 2023).
    """
    stream, c = Stream(ids, rows, model.config.segment), model.config
    training, device = model.training, model.distance_PD.device
    steps = min(segments, stream.steps_per_epoch)
    model.eval()

    def loss(gate_LH: Tensor) -> float:
        memory, total = model.empty_memory(rows), 0.0
        for step in range(steps):
            input_BT, target_BT, _ = stream.batch(step)
            nll_BT, memory = model.loss(input_BT.to(device), target_BT.to(device), memory, gate_LH)
            total += nll_BT.mean().item() / steps
        return total

    value_N, generator = torch.zeros(c.layers * c.heads), torch.Generator().manual_seed(0)
    full = loss(torch.ones(c.layers, c.heads, device=device))
    for _ in range(draws):
        order = torch.randperm(len(value_N), generator=generator)
        for heads in (order, order.flip(0)):
            gate_N, before = torch.ones(len(value_N), device=device), full
            for head in heads.tolist():
                gate_N[head] = 0
                after = loss(gate_N.view(c.layers, c.heads))
                value_N[head] += after - before
                before = after
    model.train(training)
    return (value_N / (2 * draws)).view(c.layers, c.heads)


def by_score(score: Callable[[Evidence], Tensor]) -> Callable[[Evidence], Kept]:
    """The criterion that keeps the heads of the whole model with the highest scores (L, H)."""
    return lambda evidence: most_important(score(evidence), evidence.count)


Criterion = Callable[[Evidence], Kept]
CRITERIA: dict[str, Criterion] = {
    "random heads": random_heads,
    "random heads, second draw": lambda evidence: random_heads(evidence, 1),
    "random in the whole model": by_score(lambda evidence: evidence.drawn(2)),
    "even layers": even_layers,
    "top layers first": top_layers_first,
    "gradient importance": by_score(lambda evidence: head_importance(evidence.model, evidence.ids)),
    "Taylor importance": by_score(lambda evidence: taylor(evidence.model, evidence.ids)),
    "output magnitude": by_score(lambda evidence: output_magnitude(evidence.model)),
    "Shapley values": by_score(lambda evidence: shapley(evidence.model, evidence.ids)),
}
"""Criteria by name. `allatt.paper.rivals` trains the heads that each of them keeps."""
