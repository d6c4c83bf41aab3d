"""The attention of `allatt.attention`, with its softmax over the band of visible keys only.

Two blocks share one softmax: the band of C = M + 1 context scores per query, and the N persistent scores, which are never
stored (`kernels.persistent`). Each block has its own normalizer, E_c and E_p (the logarithm of a sum of exponentials);
together L = logaddexp(E_c, E_p). The output is the sum of the blocks' outputs, each times its share exp(E - L) of the
weight. Given L and the joint output O, a block's gradients need nothing from the other block:

    dS = P * (dropped(dO V^T) - sum(dO * O)),   P = exp(S - L)

Dropout follows the softmax, so the normalizers do not depend on it, and this holds with dropout too. Band weights are saved
as exp(S - top), which is 1 at the largest score of each row; the other factor of P, exp(top - L), scales small tensors.

Shape suffixes:
    B rows   H kept heads   T queries   M memory   S = M + T keys   C = M + 1 visible keys (the band)
    N persistent vectors per head   K d_head   Q = B T queries of all rows
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from allatt.kernels import persistent


def fast(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor,
         pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None, filled: int | None = None,
         drop: float = 0.0) -> Tensor:
    """The same values and gradients as `allatt.attention.reference`, with the same arguments.

    Half precision is kept on a GPU; a CPU, which only emulates it, computes in float32, and rounds the result.
    """
    device = q_BHTK.device.type
    dtype = torch.float32 if device == "cpu" and q_BHTK.dtype != torch.float64 else q_BHTK.dtype
    tensors = [None if x is None else x.to(dtype) for x in (q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK)]
    with torch.autocast(device, enabled=False):
        return _BandAttention.apply(*tensors, filled, drop).to(q_BHTK.dtype)


class _BandAttention(torch.autograd.Function):
    """One softmax over two blocks, the band of context scores and the persistent vectors, with its gradient by hand."""

    @staticmethod
    def forward(ctx, q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK, filled, drop):
        B, H, T, K = q_BHTK.shape
        C, dtype, wide = r_HCK.shape[-2], q_BHTK.dtype, _softmax_dtype(q_BHTK.dtype)
        scale = 1 / math.sqrt(K)
        qu_BHTK = (q_BHTK + u_HK[:, None]) * scale
        # These factors are equal for all rows of the batch, so the rows fold into the queries (Q = B T): one product per head.
        qw_HQK = _fold((q_BHTK + w_HK[:, None]) * scale)
        # Column c of the band is distance M - c, so the table of distances is reversed once: no relative shift is needed.
        r_HCK = _aligned(r_HCK.flip(-2))
        band_BHTC = _band(qu_BHTK @ k_BHSK.mT, C).to(wide) + _unfold((qw_HQK @ r_HCK.mT)[..., :C], B)
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
            # The factor sqrt(N) of the values multiplies the block's output, not the N vectors.
            gain_BHT1 = (norm_BHT1 - joint_BHT1).exp() * math.sqrt(pk_HNK.shape[-2])
            out_BHTK = torch.addcmul(out_BHTK, _unfold(out_HQK, B), gain_BHT1)
            saved += [joint_BHT1, q_HQK, pk_HNK, pv_HNK, *random]
        if out_BHTK.dtype != dtype:  # only if needed: without this test, compiled by torch 2.11, all gradients were 0
            out_BHTK = out_BHTK.to(dtype)
        ctx.save_for_backward(out_BHTK, *saved)
        ctx.drop, ctx.C = drop, C
        return out_BHTK

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BHTK):
        (out_BHTK, k_BHSK, v_BHSK, r_HCK, qu_BHTK, qw_HQK, weights_BHTS, dropped_BHTS, share_BHT1,
         *persistent_block) = ctx.saved_tensors
        B, H, T, K = grad_BHTK.shape
        C, dtype, scale = ctx.C, out_BHTK.dtype, 1 / math.sqrt(K)
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
            grad_HQC = _fold_padded(_band(grad_BHTS, C), r_HCK.shape[-2])
            grad_qw, grad_r = grad_HQC @ r_HCK, (grad_HQC.mT @ qw_HQK)[:, :C].flip(-2)
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


def _softmax_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which a softmax is computed: at least float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _aligned(r_HCK: Tensor) -> Tensor:
    """The distances; on a GPU in half precision, padded with zeros to a multiple of 8: products with 193 take ten times as long
    as with 200."""
    is_half = r_HCK.is_cuda and r_HCK.dtype in (torch.float16, torch.bfloat16)
    return F.pad(r_HCK, (0, 0, 0, -r_HCK.shape[-2] % 8)) if is_half else r_HCK


def _fold(x_BHTk: Tensor) -> Tensor:
    """(B, H, T, k) -> (H, B T, k): the rows of the batch one after the other, head by head."""
    return x_BHTk.transpose(0, 1).flatten(1, 2)


def _fold_padded(x_BHTC: Tensor, width: int) -> Tensor:
    """`_fold` with zeros after the last column, up to this width."""
    B, H, T, C = x_BHTC.shape
    if C == width:
        return _fold(x_BHTC)
    padded_HBTC = x_BHTC.new_zeros(H, B, T, width)
    padded_HBTC[..., :C] = x_BHTC.transpose(0, 1)
    return padded_HBTC.flatten(1, 2)


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
