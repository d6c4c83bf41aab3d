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
from torch.autograd.function import once_differentiable

from allatt.kernels import persistent


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
    so its T x N scores are never kept (`allatt.kernels.persistent`); the two parts meet through their normalizers.
    Half precision is kept on a GPU; a CPU, where it is emulated, computes in float32.
    """
    device = q_BHTK.device.type
    dtype = torch.float32 if device == "cpu" and q_BHTK.dtype != torch.float64 else q_BHTK.dtype
    tensors = [None if x is None else x.to(dtype) for x in (q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK)]
    with torch.autocast(device, enabled=False):
        return _Fast.apply(*tensors, filled, drop)


PATHS = {"fast": fast, "reference": reference}


class _Fast(torch.autograd.Function):
    """One softmax over two blocks, and its gradient by hand: the band of context scores, and the persistent vectors.

    Each block has its own normalizer, E_c and E_p (the logarithm of a sum of exponentials); together L = logaddexp(E_c, E_p).
    The output is the sum of the blocks', each times its share exp(E - L) of the weight. Given L and the joint output O, a
    block's gradients need nothing of the other block:

        dS = P * (dropped(dO V^T) - sum(dO * O)),   P = exp(S - L)

    Normalizers are free of dropout, since it follows the softmax; so this holds with dropout too. Band weights are saved
    as exp(S - top), with the largest score of their row at 1; what is left to P, exp(top - L), scales small tensors.
    """

    @staticmethod
    def forward(ctx, q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK, filled, drop):
        B, H, T, K = q_BHTK.shape
        C, dtype, wide = r_HCK.shape[-2], q_BHTK.dtype, _wide(q_BHTK.dtype)
        scale = 1 / math.sqrt(K)
        qu_BHTK = (q_BHTK + u_HK[:, None]) * scale
        # What does not depend on the row of the batch: there the rows fold into the queries, Q = B T, one product a head.
        qw_HQK = _fold((q_BHTK + w_HK[:, None]) * scale)
        # Column c of the band is distance M - c, so the table of distances is read backwards once: no relative shift is left.
        r_HCK = r_HCK.flip(-2)
        band_BHTC = _band(qu_BHTK @ k_BHSK.mT, C).to(wide) + _unfold(qw_HQK @ r_HCK.mT, B)
        if filled is not None and filled < C - 1:
            column_C = torch.arange(C, device=q_BHTK.device)
            row_T = torch.arange(T, device=q_BHTK.device)
            band_BHTC = band_BHTC.masked_fill(row_T[:, None] + column_C < C - 1 - filled, -math.inf)
        top_BHT1 = band_BHTC.amax(-1, keepdim=True)
        weights_BHTC = (band_BHTC - top_BHT1).exp_()
        joint_BHT1 = top_BHT1 + weights_BHTC.sum(-1, keepdim=True).log()
        if pk_HNK is not None:
            q_HQK = _fold(q_BHTK)
            out_HQK, norm_HQ, random = persistent.forward(q_HQK, pk_HNK, pv_HNK, drop)
            norm_BHT1 = _unfold(norm_HQ[..., None], B)
            joint_BHT1 = torch.logaddexp(joint_BHT1, norm_BHT1)
        share_BHT1 = (top_BHT1 - joint_BHT1).exp()
        weights_BHTS = dropped_BHTS = _unband(weights_BHTC.to(dtype))
        if drop:
            dropped_BHTS = _unband((weights_BHTC * persistent.mask(weights_BHTC, drop)).to(dtype))
        out_BHTK = (dropped_BHTS @ v_BHSK) * share_BHT1
        saved = [k_BHSK, v_BHSK, r_HCK, qu_BHTK, qw_HQK, weights_BHTS, dropped_BHTS, share_BHT1]
        if pk_HNK is not None:
            # sqrt(N) of the values multiplies what is read, not the N vectors.
            gain_BHT1 = (norm_BHT1 - joint_BHT1).exp() * math.sqrt(pk_HNK.shape[-2])
            out_BHTK = torch.addcmul(out_BHTK, _unfold(out_HQK, B), gain_BHT1)
            saved += [joint_BHT1, q_HQK, pk_HNK, pv_HNK, *random]
        out_BHTK = out_BHTK.to(dtype)
        ctx.save_for_backward(out_BHTK, *saved)
        ctx.drop = drop
        return out_BHTK

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BHTK):
        (out_BHTK, k_BHSK, v_BHSK, r_HCK, qu_BHTK, qw_HQK, weights_BHTS, dropped_BHTS, share_BHT1,
         *persistent_block) = ctx.saved_tensors
        B, H, T, K = grad_BHTK.shape
        C, dtype, scale = r_HCK.shape[-2], out_BHTK.dtype, 1 / math.sqrt(K)
        with torch.autocast(grad_BHTK.device.type, enabled=False):
            grad_BHTK = grad_BHTK.to(dtype)
            delta_BHT1 = (grad_BHTK * out_BHTK).sum(-1, keepdim=True, dtype=share_BHT1.dtype)
            shared_BHTK = (grad_BHTK * share_BHT1).to(dtype)
            grad_v = dropped_BHTS.mT @ shared_BHTK
            # Outside the band the weights are 0, and so is the gradient of the scores.
            grad_BHTS = shared_BHTK @ v_BHSK.mT
            if ctx.drop:
                grad_BHTS = (grad_BHTS * dropped_BHTS - weights_BHTS * (delta_BHT1 * share_BHT1)).to(dtype)
            else:
                grad_BHTS = grad_BHTS.sub_((delta_BHT1 * share_BHT1).to(dtype)).mul_(weights_BHTS)
            grad_qu, grad_k = grad_BHTS @ k_BHSK, grad_BHTS.mT @ qu_BHTK
            grad_HQC = _fold(_band(grad_BHTS, C))
            grad_qw, grad_r = grad_HQC @ r_HCK, (grad_HQC.mT @ qw_HQK).flip(-2)
            grad_u, grad_w = grad_qu.sum((0, 2)) * scale, grad_qw.sum(1) * scale
            grad_q = (grad_qu + _unfold(grad_qw, B)) * scale
            grad_pk = grad_pv = None
            if persistent_block:
                joint_BHT1, q_HQK, pk_HNK, pv_HNK, *random = persistent_block
                root = math.sqrt(pk_HNK.shape[-2])
                grad_HQK, grad_pk, grad_pv = persistent.backward(
                    _fold(grad_BHTK * root), q_HQK, pk_HNK, pv_HNK, _fold(out_BHTK / root), _fold(joint_BHT1)[..., 0],
                    ctx.drop, random)
                grad_q = grad_q + _unfold(grad_HQK, B)
        return grad_q, grad_k, grad_v, grad_r, grad_u, grad_w, grad_pk, grad_pv, None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """What a softmax is computed in: float32 at least."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _fold(x_BHTk: Tensor) -> Tensor:
    """(B, H, T, k) -> (H, B T, k): the rows of the batch one after the other, head by head."""
    return x_BHTk.transpose(0, 1).flatten(1, 2)


def _unfold(x_HQk: Tensor, rows: int) -> Tensor:
    """The inverse of `_fold`."""
    return x_HQk.unflatten(1, (rows, -1)).transpose(0, 1)


def _band(full_BHTS: Tensor, C: int) -> Tensor:
    """Row i's columns i .. i+C-1 of (B, H, T, S), S = C - 1 + T, as a view: each row starts S + 1 numbers after the last."""
    return full_BHTS.flatten(-2).unfold(-1, C, full_BHTS.shape[-1] + 1)


def _unband(band_BHTC: Tensor) -> Tensor:
    """The inverse of `_band`: (B, H, T, C) -> (B, H, T, S) with zeros outside the band."""
    B, H, T, C = band_BHTC.shape
    S = C - 1 + T
    return F.pad(band_BHTC, (0, S + 1 - C)).flatten(-2)[..., :T * S].view(B, H, T, S)
