"""Relative attention over memory, segment and persistent vectors, in ONE softmax: a readable path and a fast path.

    context score      s[i, j] = ((q_i + u) . k_j + (q_i + w) . r_{i-j}) / sqrt(K)      (Transformer-XL, Dai et al. 2019)
    persistent score   s[i, n] = q_i . (sqrt(K) pk_n) / sqrt(K) = q_i . pk_n             (Sukhbaatar et al. 2019, section 4)
    output             dropout(softmax([context, persistent])) [v; sqrt(N) pv]

Every query sees the same number of positions, itself and the M before it (the same-length mask of the paper). Persistent
keys have no position and are never masked. Queries i = 0..T-1 stand at keys M+i of the S = M+T keys.

Shape suffixes:
    B rows   H heads that are there   T queries   M memory   S = M + T keys   C = M + 1 visible keys (the band)
    N persistent vectors a head   K d_head
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


def reference(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor,
              pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None, filled: int | None = None,
              drop: float = 0.0) -> Tensor:
    """The equations, line by line. Returns out_BHTK.

    r_HCK[:, c] is the projected position of distance c = 0..M. `filled` is how many of the M memory positions hold text
    (None: all); the others are masked. `drop` is the attention dropout: pass 0 at evaluation. pk and pv are the persistent
    keys and values of All-attention; None for Transformer-XL.
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
        values = torch.cat([v_BHSK, (math.sqrt(N) * pv_HNK).expand(len(v_BHSK), -1, -1, -1)], dim=-2)
    return F.dropout(scores.softmax(-1), drop) @ values


def fast(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor,
         pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None, filled: int | None = None,
         drop: float = 0.0) -> Tensor:
    """The same values and gradients as `reference`, without work or memory for what is masked.

    Only the band of C = M + 1 visible keys goes through the softmax. The persistent block knows neither mask nor position,
    so it runs through torch's flash kernel, which never writes the T x N scores down; the two parts meet through their
    normalizers. With attention dropout, or where the kernel does not exist, the persistent scores are written down.
    """
    T, C, K = q_BHTK.shape[-2], r_HCK.shape[-2], q_BHTK.shape[-1]
    scale = 1 / math.sqrt(K)
    # Column c of the band is distance M - c, so the table of distances is read backwards once: no relative shift is left.
    band_BHTC = _band(((q_BHTK + u_HK[:, None]) * scale) @ k_BHSK.mT, C)
    band_BHTC = band_BHTC + ((q_BHTK + w_HK[:, None]) * scale) @ r_HCK.flip(-2).mT
    if filled is not None and filled < C - 1:
        column_C = torch.arange(C, device=q_BHTK.device)
        row_T = torch.arange(T, device=q_BHTK.device)
        band_BHTC = band_BHTC.masked_fill(row_T[:, None] + column_C < C - 1 - filled, -math.inf)
    if pk_HNK is None:
        return _unband(F.dropout(band_BHTC.softmax(-1), drop)) @ v_BHSK
    pv_HNK = math.sqrt(pv_HNK.shape[-2]) * pv_HNK
    if drop == 0 and q_BHTK.device.type == "cpu":
        return _SplitSoftmax.apply(band_BHTC, v_BHSK, q_BHTK, pk_HNK, pv_HNK)
    weights = torch.cat([band_BHTC, q_BHTK @ pk_HNK.mT], dim=-1).softmax(-1)
    context_BHTC, persistent_BHTN = F.dropout(weights, drop).split([C, pk_HNK.shape[-2]], dim=-1)
    return _unband(context_BHTC) @ v_BHSK + persistent_BHTN @ pv_HNK


PATHS = {"fast": fast, "reference": reference}


def _band(full_BHTS: Tensor, C: int) -> Tensor:
    """Row i's columns i .. i+C-1 of (B, H, T, S), S = C - 1 + T: rows of S read as rows of S + 1 slip one column a row."""
    B, H, T, S = full_BHTS.shape
    return F.pad(full_BHTS.flatten(-2), (0, T)).view(B, H, T, S + 1)[..., :C]


def _unband(band_BHTC: Tensor) -> Tensor:
    """The inverse of `_band`: (B, H, T, C) -> (B, H, T, S) with zeros outside the band."""
    B, H, T, C = band_BHTC.shape
    S = C - 1 + T
    return F.pad(band_BHTC, (0, S + 1 - C)).flatten(-2)[..., :T * S].view(B, H, T, S)


class _SplitSoftmax(torch.autograd.Function):
    """One softmax over two blocks: the band of context scores, and persistent keys inside the flash kernel.

    With the joint normalizer L = logaddexp(L_context, L_persistent) and the joint output O, a block's gradients need
    nothing of the other block: dS = P * (dO V^T - sum(dO * O)), P = exp(S - L). That is what the kernel's own backward
    computes when it is given the joint O and L in place of its own, so both blocks are exact.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # under autocast the kernel wants one type
    def forward(ctx, band_BHTC, v_BHSK, q_BHTK, pk_HNK, pv_HNK):
        # No mask and no position: the rows fold into the queries, so the vectors are read once, not once a row.
        q_1HQK = q_BHTK.transpose(0, 1).flatten(1, 2)[None]
        out_1HQK, norm_1HQ = aten._scaled_dot_product_flash_attention_for_cpu(
            q_1HQK, pk_HNK[None], pv_HNK[None], 0.0, False, attn_mask=None, scale=1.0)
        B, H, T, K = q_BHTK.shape
        out_BHTK, norm_BHT = out_1HQK.view(H, B, T, K).transpose(0, 1), norm_1HQ.view(H, B, T).transpose(0, 1)
        joint_BHT = torch.logaddexp(band_BHTC.logsumexp(-1), norm_BHT)
        weights_BHTC = (band_BHTC - joint_BHT[..., None]).exp_()
        out_BHTK = _unband(weights_BHTC) @ v_BHSK + (norm_BHT - joint_BHT).exp_()[..., None] * out_BHTK
        ctx.save_for_backward(weights_BHTC, v_BHSK, q_1HQK, pk_HNK, pv_HNK, out_BHTK, joint_BHT)
        return out_BHTK

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad_BHTK):
        weights_BHTC, v_BHSK, q_1HQK, pk_HNK, pv_HNK, out_BHTK, joint_BHT = ctx.saved_tensors
        B, H, T, K = grad_BHTK.shape
        delta_BHT1 = (grad_BHTK * out_BHTK).sum(-1, keepdim=True)
        grad_band = weights_BHTC * (_band(grad_BHTK @ v_BHSK.mT, weights_BHTC.shape[-1]) - delta_BHT1)
        grad_v = _unband(weights_BHTC).mT @ grad_BHTK

        def fold(x_BHT):
            return x_BHT.transpose(0, 1).flatten(1, 2)[None]

        grad_q, grad_pk, grad_pv = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            fold(grad_BHTK), q_1HQK, pk_HNK[None], pv_HNK[None], fold(out_BHTK), fold(joint_BHT), 0.0, False,
            attn_mask=None, scale=1.0)
        return grad_band, grad_v, grad_q.view(H, B, T, K).transpose(0, 1), grad_pk[0], grad_pv[0]
