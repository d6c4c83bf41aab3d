"""Relative attention over memory, segment and persistent vectors, in ONE softmax: the equations, line by line.

    context score      s[i, j] = ((q_i + u) . k_j + (q_i + w) . r_{i-j}) / sqrt(K)      (Transformer-XL, Dai et al. 2019)
    persistent score   s[i, n] = q_i . (sqrt(K) pk_n) / sqrt(K) = q_i . pk_n             (Sukhbaatar et al. 2019, section 4)
    output             dropout(softmax([context, persistent])) [v; sqrt(N) pv]

Every query sees the same number of positions: itself and the M before it (the same-length mask of the paper). Persistent
vectors have no position and are never masked. Query i = 0..T-1 has the position of key M+i of the S = M+T keys.
`allatt.kernels.band` computes the same values and gradients faster.

Shape suffixes:
    B rows   H kept heads   T queries   M memory   S = M + T keys   C = M + 1 visible keys (the band)
    N persistent vectors per head   K d_head
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class HeadVectors(NamedTuple):
    """The inputs of a layer's attention that depend on the weights alone."""

    r_HCK: Tensor
    """Projected positions of the distances 0..M."""
    u_HK: Tensor
    w_HK: Tensor
    """Position biases: u of the content score, w of the position score."""
    pk_HNK: Tensor | None
    pv_HNK: Tensor | None
    """Persistent keys and values; None for Transformer-XL."""


def reference(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor,
              pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None, filled: int | None = None, drop: float = 0.0,
              return_weights: bool = False) -> Tensor | tuple[Tensor, Tensor]:
    """The heads' outputs (B, H, T, K); with `return_weights` also the softmax's weights (B, H, T, S + N), before dropout.

    r, u, w, pk and pv are those of `HeadVectors`. The last `filled` of the M memory positions hold text (None: all); the
    others are masked. `drop` is the attention dropout: pass 0 at evaluation.
    """
    T, S, K = q_BHTK.shape[-2], k_BHSK.shape[-2], q_BHTK.shape[-1]
    M = S - T
    content_BHTS = (q_BHTK + u_HK[:, None]) @ k_BHSK.mT
    position_BHTC = (q_BHTK + w_HK[:, None]) @ r_HCK.mT
    distance_TS = torch.arange(M, S, device=q_BHTK.device)[:, None] - torch.arange(S, device=q_BHTK.device)
    index_BHTS = distance_TS.clamp(0, M).expand_as(content_BHTS)
    scores = (content_BHTS + position_BHTC.gather(-1, index_BHTS)) / math.sqrt(K)
    hidden_TS = (distance_TS < 0) | (distance_TS > M)
    if filled is not None:
        hidden_TS = hidden_TS | (torch.arange(S, device=q_BHTK.device) < M - filled)
    scores = scores.masked_fill(hidden_TS, -math.inf)
    values = v_BHSK
    if pk_HNK is not None:
        N = pk_HNK.shape[-2]
        persistent_BHTN = q_BHTK @ (math.sqrt(K) * pk_HNK).mT / math.sqrt(K)
        scores = torch.cat([scores, persistent_BHTN], dim=-1)
        values = torch.cat([v_BHSK, (math.sqrt(N) * pv_HNK).expand(v_BHSK.shape[0], -1, -1, -1)], dim=-2)
    weights = scores.softmax(-1)
    out_BHTK = F.dropout(weights, drop) @ values
    return (out_BHTK, weights) if return_weights else out_BHTK
