"""What a model remembers of earlier segments: hidden states while it trains, keys and values once its weights are fixed.

Shape suffixes:
    L layers   B rows   T segment   M memory   D d_model   H heads   K d_head
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from allatt.attention import HeadVectors
from allatt.kernels import one_token
from allatt.kernels.compiled import compiled

if TYPE_CHECKING:
    from allatt.model import LanguageModel

KeysValues = tuple[Tensor, Tensor]
"""A layer's keys and values of earlier segments, (M, B, H, K) each: position first, which makes appending fast."""


class Memory(NamedTuple):
    """What each layer remembers of earlier segments: the hidden states that entered it, without gradient."""

    hidden_LBMD: Tensor
    filled: int
    """How many of the M positions (the last ones) hold text; the rest are masked."""

    def run_layer(self, model: LanguageModel, layer: int, x_BTD: Tensor, gate_H: Tensor | None) -> tuple[Tensor, Tensor]:
        """The layer's output, and its input, which the next memory keeps."""
        block = model.blocks[layer]
        few = self.filled in (0, self.hidden_LBMD.shape[2])  # each value of `filled` would be compiled anew
        run = compiled(type(block).forward) if model.compiled and few else type(block).__call__
        vectors, hidden_BMD = model.head_vectors(layer), self.hidden_LBMD[layer]
        return run(block, x_BTD, hidden_BMD, self.filled, vectors, gate_H, model.path), x_BTD.detach()

    def after(self, entered: list[Tensor], T: int) -> Memory:
        """The memory for the next segment, from the input of each layer, (B, T, D)."""
        M = self.hidden_LBMD.shape[2]
        hidden_LBMD = torch.stack([entered_BTD[:, max(0, T - M):] for entered_BTD in entered]).to(self.hidden_LBMD)
        if T < M:
            hidden_LBMD = torch.cat([self.hidden_LBMD[:, :, T:], hidden_LBMD], dim=2)
        return Memory(hidden_LBMD, min(M, self.filled + T))


class Cache(NamedTuple):
    """A memory for weights that do not change: each layer's keys and values, instead of the hidden states behind them.

    The outputs are the same as with `Memory`, without projecting M positions again for every segment.
    """

    past: tuple[KeysValues, ...]
    filled: int
    """As in `Memory`."""
    vectors: tuple[HeadVectors, ...]
    prepared: tuple[one_token.Prepared, ...]
    """The weights of each layer, prepared for segments of one token."""

    def run_layer(self, model: LanguageModel, layer: int, x_BTD: Tensor, gate_H: Tensor | None) -> tuple[Tensor, KeysValues]:
        """The layer's output, and the keys and values of the last M positions."""
        block, past = model.blocks[layer], self.past[layer]
        if x_BTD.shape[1] == 1 and model.path == "fast":
            heads_BTHK, past = one_token.attend(x_BTD, *past, self.prepared[layer], self.filled)
            return block.finish(x_BTD, heads_BTHK, gate_H), past
        forward = type(block).forward_cached
        run = compiled(forward) if model.compiled and self.filled in (0, len(past[0])) else forward
        return run(block, x_BTD, past, self.filled, self.vectors[layer], gate_H, model.path)

    def after(self, past: list[KeysValues], T: int) -> Cache:
        """The cache for the next segment."""
        M = len(past[0][0])
        return self._replace(past=tuple(past), filled=min(M, self.filled + T))


Past = TypeVar("Past", Memory, Cache)
