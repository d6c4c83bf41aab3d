"""The attention of `allatt.attention` for one query a row: what generation does, token by token.

With a single query, the band of visible keys is the memory and the query's own position. What follows from the weights
alone is prepared once. With x running over the C = M + 1 context positions, then over the N persistent vectors,

    score      s[x] = q . left_x + bias_x + [x < C] (q + u) . k_x / sqrt(K)
    prepared   left = [r backwards / sqrt(K); pk]     bias = [w . r backwards / sqrt(K); 0]     values = sqrt(N) pv

At such sizes most time goes into starting operations, so there are few of them.

Shape suffixes:
    B rows   H heads that are there   C = M + 1 visible keys   N persistent vectors a head   X = C + N   K d_head
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Prepared = tuple[Tensor, Tensor, Tensor, Tensor | None]


def prepare(r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor, pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None) -> Prepared:
    """left_HKX, bias_HX, u and values_HNK (None without persistent vectors): what `single` takes from the weights."""
    # Key j = 0..M of the memory stands at distance M - j.
    left_HCK = r_HCK.flip(-2) / math.sqrt(r_HCK.shape[-1])
    bias_HC = (left_HCK @ w_HK[:, :, None]).squeeze(-1)
    if pk_HNK is None:
        return left_HCK.mT.contiguous(), bias_HC, u_HK, None
    N = pk_HNK.shape[-2]
    left_HKX = torch.cat([left_HCK, pk_HNK], dim=-2).mT.contiguous()
    return left_HKX, F.pad(bias_HC, (0, N)), u_HK, math.sqrt(N) * pv_HNK


def single(q_BH1K: Tensor, k_BHCK: Tensor, v_BHCK: Tensor, left_HKX: Tensor, bias_HX: Tensor, u_HK: Tensor,
           values_HNK: Tensor | None, filled: int | None = None, drop: float = 0.0) -> Tensor:
    """The same values as `attention.reference` with T = 1, out_BH1K; without gradients and dropout."""
    C = k_BHCK.shape[-2]
    # Rows next to each other: the vectors of a head are read once, not once a row.
    scores_HBX = torch.baddbmm(bias_HX[:, None], q_BH1K.squeeze(2).transpose(0, 1), left_HKX)
    content_BH1C = (q_BH1K + u_HK[:, None]) @ k_BHCK.mT
    scores_HBX[..., :C].add_(content_BH1C.squeeze(2).transpose(0, 1), alpha=1 / math.sqrt(q_BH1K.shape[-1]))
    if filled is not None and filled < C - 1:
        scores_HBX[..., :C - 1 - filled] = -math.inf
    weights_HBX = scores_HBX.softmax(-1)
    out_BH1K = weights_HBX[..., :C].transpose(0, 1).unsqueeze(2) @ v_BHCK
    if values_HNK is None:
        return out_BH1K
    return out_BH1K + torch.bmm(weights_HBX[..., C:], values_HNK).transpose(0, 1).unsqueeze(2)
