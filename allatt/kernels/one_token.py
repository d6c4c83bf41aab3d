"""A layer's attention for one new token per row: generation, token by token.

The band of visible keys is then the memory and the token's own position. Everything that depends on the weights alone is
prepared once: the LayerNorm's weights move into one product, which gives queries, keys and values together. With x running
over the C = M + 1 context positions, then over the N persistent vectors,

    score      s[x] = q . left_x + bias_x + [x < C] qu . k_x,        qu = (q + u) / sqrt(K)
    prepared   left = [r backwards / sqrt(K); pk]     bias = [w . r backwards / sqrt(K); 0]     values = sqrt(N) pv

At such sizes most of the time goes into launching operations, so there are few of them.

Shape suffixes:
    B rows   D d_model   H kept heads   M memory   C = M + 1 visible keys   N persistent vectors per head   X = C + N
    K d_head   E = 4 H K: q, qu, k and v of all heads
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prepared(NamedTuple):
    """A layer's weights, in the form that `attend` takes."""

    weight_ED: Tensor
    bias_E: Tensor
    eps: float
    """Epsilon of the LayerNorm, whose weights are in the two fields above."""
    left_HKX: Tensor
    bias_HX: Tensor
    values_HNK: Tensor | None
    """None without persistent vectors."""


def prepare(norm: nn.LayerNorm, query_HKD: Tensor, key_HKD: Tensor, value_HKD: Tensor, r_HCK: Tensor, u_HK: Tensor,
            w_HK: Tensor, pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None) -> Prepared:
    """Prepares a layer's LayerNorm and projections, and its `HeadVectors`."""
    root = math.sqrt(r_HCK.shape[-1])
    plain_4HKD = torch.stack([query_HKD, query_HKD / root, key_HKD, value_HKD])
    weight_ED = (plain_4HKD * norm.weight).flatten(0, 2)
    bias_4HK = plain_4HKD @ norm.bias
    bias_4HK[1] += u_HK / root
    # Context key j = 0..M is at distance M - j.
    left_HCK = r_HCK.flip(-2) / root
    bias_HC = (left_HCK @ w_HK[:, :, None]).squeeze(-1)
    weights = weight_ED, bias_4HK.flatten(), norm.eps
    if pk_HNK is None:
        return Prepared(*weights, left_HCK.mT.contiguous(), bias_HC, None)
    N = pk_HNK.shape[-2]
    left_HKX = torch.cat([left_HCK, pk_HNK], dim=-2).mT.contiguous()
    return Prepared(*weights, left_HKX, F.pad(bias_HC, (0, N)), math.sqrt(N) * pv_HNK)


def attend(x_B1D: Tensor, past_k_MBHK: Tensor, past_v_MBHK: Tensor, prepared: Prepared,
           filled: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The heads' outputs (B, 1, H, K), and keys and values of the last M positions: as from `Block.attend` with T = 1."""
    weight_ED, bias_E, eps, left_HKX, bias_HX, values_HNK = prepared
    M, B, H, K = past_k_MBHK.shape
    C = M + 1
    normed_BD = F.layer_norm(x_B1D.squeeze(1), x_B1D.shape[2:], eps=eps)
    q_BHK, qu_BHK, k_BHK, v_BHK = F.linear(normed_BD, weight_ED, bias_E).view(B, 4, H, K).unbind(1)
    k_CBHK, v_CBHK = torch.cat([past_k_MBHK, k_BHK[None]]), torch.cat([past_v_MBHK, v_BHK[None]])
    # With the rows next to each other, the vectors of a head are read once, not once per row.
    scores_HBX = torch.baddbmm(bias_HX[:, None], q_BHK.transpose(0, 1), left_HKX)
    content_BH1C = qu_BHK.unsqueeze(2) @ k_CBHK.permute(1, 2, 3, 0)
    scores_HBX[..., :C].add_(content_BH1C.squeeze(2).transpose(0, 1))
    if filled < M:
        scores_HBX[..., :M - filled] = -math.inf
    weights_HBX = scores_HBX.softmax(-1)
    out_BH1K = weights_HBX[..., :C].transpose(0, 1).unsqueeze(2) @ v_CBHK.permute(1, 2, 0, 3)
    out_HBK = out_BH1K.squeeze(2).transpose(0, 1)
    if values_HNK is not None:
        out_HBK = torch.baddbmm(out_HBK, weights_HBX[..., C:], values_HNK)
    return out_HBK.transpose(0, 1).unsqueeze(1), (k_CBHK[1:], v_CBHK[1:])
