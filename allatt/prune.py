"""From gates to a physically smaller model that gives the same outputs.

Every tensor of a head has the head as its first index, so removing heads is indexing. Output scaling, which at
evaluation multiplies a layer's heads by heads / kept heads, is folded into the output projection. (The released code gates
heads and never removes them.)
"""

from dataclasses import replace

import torch
from torch import Tensor

from allatt.config import check
from allatt.gates import HeadGates
from allatt.model import LanguageModel

Kept = tuple[tuple[int, ...], ...]

HEAD_TENSORS = ("query_HKD", "key_HKD", "value_HKD", "position_HKD", "output_HKD", "content_bias_HK", "position_bias_HK",
            "persistent_key_HNK", "persistent_value_HNK")
"""A block's tensors whose first index is the head."""


def kept_heads(kept_LH: Tensor) -> Kept:
    """For each layer, the indices of its kept heads, from booleans (layers, heads)."""
    return tuple(tuple(layer.nonzero().flatten().tolist()) for layer in kept_LH.bool().cpu())


def head_mask(kept: Kept, heads: int) -> Tensor:
    """The inverse of `kept_heads`: booleans (layers, heads) of the kept heads."""
    return torch.tensor([[head in layer for head in range(heads)] for layer in kept])


@torch.no_grad()
def remove(model: LanguageModel, kept: Kept, scale: Tensor | None = None) -> LanguageModel:
    """A new model with only the heads `kept`, numbered as in the model before any pruning; `model` is not changed.

    `scale` (layers,) multiplies each layer's output projection: the output scaling of the gated model. AllattError for
    heads that the model does not have.
    """
    check(len(kept) == model.config.layers, f"kept names {len(kept)} layers; the model has {model.config.layers}")
    for layer, (old, new) in enumerate(zip(model.config.kept_heads, kept, strict=True), start=1):
        gone = sorted(set(new) - set(old))
        check(not gone, f"layer {layer} has no head {', '.join(map(str, gone))}; it has {', '.join(map(str, old))}")
    small = LanguageModel(replace(model.config, kept=kept), model.vocab)
    small = small.to(device=model.distance_PD.device, dtype=model.distance_PD.dtype)
    state = model.state_dict()
    for layer, (old, new) in enumerate(zip(model.config.kept_heads, kept, strict=True)):
        rows = [old.index(head) for head in new]
        for name in HEAD_TENSORS:
            key = f"blocks.{layer}.{name}"
            if key in state:
                state[key] = state[key][rows]
        if scale is not None:
            state[f"blocks.{layer}.output_HKD"] = state[f"blocks.{layer}.output_HKD"] * scale[layer]
    small.load_state_dict(state)
    small.path = model.path
    return small.train(model.training)


def remove_closed(model: LanguageModel, gates: HeadGates) -> LanguageModel:
    """The smaller model whose outputs equal those of `model` with these gates at evaluation."""
    # All open heads of a layer have the same factor: 1, or its output scaling.
    return remove(model, kept_heads(gates.kept()), gates.evaluation().amax(dim=-1))
