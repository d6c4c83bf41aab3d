"""What the heads of a trained model look at.

Shape suffixes:
    L layers   B rows   H heads   T tokens   N persistent vectors
"""

import torch
from torch import Tensor

from allatt.attention import reference
from allatt.model import LanguageModel


@torch.no_grad()
def attention_of(model: LanguageModel, ids_BT: Tensor) -> list[Tensor]:
    """Each layer's attention weights (B, H, T, T + N) on a text that begins with these tokens; Transformer-XL has N = 0.

    A list, since a pruned model has layers of different numbers of heads. The text is at most M + 1 tokens long, so that every
    query sees all tokens before it.
    """
    found = []
    memory = model.empty_memory(len(ids_BT))
    x_BTD = model.softmax.embed(ids_BT)
    for layer, block in enumerate(model.blocks):
        past, vectors = block.project_memory(memory.hidden_LBMD[layer]), model.head_vectors(layer)
        if not block.heads:
            x_BTD = block.finish(x_BTD, x_BTD.new_empty(*x_BTD.shape[:2], 0, model.config.d_head), None)
            found.append(x_BTD.new_empty(len(ids_BT), 0, ids_BT.shape[1], ids_BT.shape[1]))
            continue
        normed = block.norm(x_BTD)
        q, k, v = (torch.einsum("btd,hkd->bhtk", normed, weight)
                   for weight in (block.query_HKD, block.key_HKD, block.value_HKD))
        k, v = (torch.cat([before.permute(1, 2, 0, 3), now], dim=2) for before, now in zip(past, (k, v), strict=True))
        heads_BHTK, weights = reference(q, k, v, *vectors, filled=0, return_weights=True)
        found.append(weights[..., model.config.memory:])
        x_BTD = block.finish(x_BTD, heads_BHTK.transpose(1, 2), None)
    return found


def written(pieces: list[str]) -> list[str]:
    """Subwords as a figure shows them: without the mark of a word's beginning, and with a hyphen where a word goes on."""
    return [piece.removeprefix("▁") if piece.startswith("▁") else f"-{piece}" for piece in pieces]
