"""A candidate for a GPU: the band of context scores in a Triton kernel that never writes the softmax's weights.

It has not run on a GPU. It was run in Triton's interpreter on a CPU, and compiled for GPUs of compute capability 8.0 and 9.0,
with Triton 3.9. The benchmark (`python -m allatt bench --sections kernels`) measures it beside `allatt.kernels.band`; nothing
else uses it.

`fast` computes what `allatt.kernels.band.fast` does, with the same two blocks in one softmax (see there). The context's block
differs: content scores are computed tile by tile in the kernel, with the softmax's running maximum and sum. Position scores
come from one matrix product outside; their column c is distance M - c. Query i meets column c at key j = i + c, so the kernel
reads them, and writes their gradient, along skewed addresses: row i, column j - i. These two are the only arrays of the size
B H T C.

The backward pass computes the weights again, P = exp(S - L), from the joint normalizer L. It has two kernels: one over tiles
of queries for the gradients of queries and position scores, one over tiles of keys for those of keys and values. A single
kernel would compute the scores once instead of twice, but several of its programs would add to the same numbers by atomic
operations, in an order that changes from run to run. Here each number belongs to one program, which adds in a fixed order:
the same seed gives the same run.

Dropout draws by a counter (Philox): the number of a weight depends only on the seed, its row and head, i and c, so both
passes and all tilings drop the same weights.

Shape suffixes:
    B rows   H heads   T queries   M memory   S = M + T keys   C = M + 1 visible keys (the band)   K d_head
    W columns of the position scores: C, or more for alignment   Q = B T queries of all rows   N persistent vectors per head
    t queries of a tile   s keys of a tile
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from allatt.config import AllattError
from allatt.kernels import persistent
from allatt.kernels.band import _aligned, _fold, _unfold

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # not a dependency: torch brings it only for GPUs
    triton = None

    def jit(function):
        return function


TILE = 64
"""Queries, and keys, of a tile: 16, 32 or 64 (the benchmark measures two). In float32 at most 16, for lack of registers."""
WIDTHS, DTYPES = (16, 32, 64), (torch.float32, torch.float16, torch.bfloat16)


def fast(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HCK: Tensor, u_HK: Tensor, w_HK: Tensor,
         pk_HNK: Tensor | None = None, pv_HNK: Tensor | None = None, filled: int | None = None,
         drop: float = 0.0) -> Tensor:
    """The same values and gradients as `allatt.kernels.band.fast`, with the same arguments; no float64.

    Without a GPU it runs only in Triton's interpreter, for tests: set TRITON_INTERPRET=1 before Python starts.
    """
    device, K = q_BHTK.device.type, q_BHTK.shape[-1]
    if triton is None:
        raise AllattError("the Triton kernel needs a GPU and the package triton (pip install triton)")
    if device != "cuda" and isinstance(_forward, triton.runtime.JITFunction):
        raise AllattError("the Triton kernel needs a GPU; to test without one, start Python with TRITON_INTERPRET=1")
    if K not in WIDTHS or q_BHTK.dtype not in DTYPES:
        raise AllattError(f"the Triton kernel takes d_head 16, 32 or 64 in float32, float16 or bfloat16, not {K} in "
                          f"{str(q_BHTK.dtype).removeprefix('torch.')}; use allatt.kernels.band.fast")
    dtype = torch.float32 if device == "cpu" else q_BHTK.dtype
    tensors = [None if x is None else x.to(dtype) for x in (q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK)]
    with torch.autocast(device, enabled=False), torch.cuda.device_of(q_BHTK):
        return _TritonAttention.apply(*tensors, filled, drop)


class _TritonAttention(torch.autograd.Function):
    """One softmax over two blocks, the band of context scores and the persistent vectors, with its gradient written by hand."""

    @staticmethod
    def forward(ctx, q_BHTK, k_BHSK, v_BHSK, r_HCK, u_HK, w_HK, pk_HNK, pv_HNK, filled, drop):
        B, H, T, K = q_BHTK.shape
        M, dtype, scale = r_HCK.shape[-2] - 1, q_BHTK.dtype, 1 / math.sqrt(K)
        first = 0 if filled is None else max(0, M - filled)
        qu_BHTK, qw_HQK = (q_BHTK + u_HK[:, None]) * scale, _fold((q_BHTK + w_HK[:, None]) * scale)
        r_HWK = _aligned(r_HCK.flip(-2))
        position_HQW = qw_HQK @ r_HWK.mT
        tile = TILE if dtype != torch.float32 else min(TILE, 16)
        # On the device, so that nothing waits for it; from torch's own generator there.
        seed = torch.randint(2 ** 62, (1,), device=q_BHTK.device) if drop else None
        out_BHTK, joint_BHT = q_BHTK.new_empty(B, H, T, K), q_BHTK.new_empty(B, H, T, dtype=torch.float32)
        _run(_forward, tile, T, (*_strided(qu_BHTK, k_BHSK, v_BHSK), position_HQW, out_BHTK, joint_BHT, seed),
             drop, first, B, H, T, M, r_HWK.shape[1])
        saved = [k_BHSK, v_BHSK, r_HWK, qu_BHTK, qw_HQK, position_HQW, seed]
        if pk_HNK is not None:
            q_HQK = _fold(q_BHTK)
            out_HQK, norm_HQ, random = persistent.forward(q_HQK, pk_HNK, pv_HNK, drop)
            own_BHT, other_BHT = joint_BHT, _unfold(norm_HQ, B)
            joint_BHT = torch.logaddexp(own_BHT, other_BHT).contiguous()
            gain_BHT1 = (other_BHT - joint_BHT).exp()[..., None] * math.sqrt(pk_HNK.shape[-2])
            out_BHTK = torch.addcmul(out_BHTK * (own_BHT - joint_BHT).exp()[..., None], _unfold(out_HQK, B), gain_BHT1)
            saved += [q_HQK, pk_HNK, pv_HNK, *random]
        out_BHTK = out_BHTK.to(dtype)
        ctx.save_for_backward(out_BHTK, joint_BHT, *saved)
        ctx.drop, ctx.first, ctx.M, ctx.tile = drop, first, M, tile
        return out_BHTK

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BHTK):
        (out_BHTK, joint_BHT, k_BHSK, v_BHSK, r_HWK, qu_BHTK, qw_HQK, position_HQW, seed,
         *persistent_block) = ctx.saved_tensors
        B, H, T, K = grad_BHTK.shape
        scale = 1 / math.sqrt(K)
        with torch.autocast(grad_BHTK.device.type, enabled=False), torch.cuda.device_of(grad_BHTK):
            grad_BHTK = grad_BHTK.to(out_BHTK.dtype)
            delta_BHT = (grad_BHTK * out_BHTK).sum(-1, dtype=torch.float32).contiguous()  # a gradient may have any strides
            # What the kernel does not visit is 0: masked memory, and columns added for alignment.
            grad_position_HQW = torch.zeros_like(position_HQW)
            grad_qu, grad_k, grad_v = (x.new_empty(x.shape) for x in (qu_BHTK, k_BHSK, v_BHSK))
            given = (*_strided(qu_BHTK, k_BHSK, v_BHSK, grad_BHTK), position_HQW, joint_BHT, delta_BHT, seed)
            sizes = ctx.drop, ctx.first, B, H, T, ctx.M, r_HWK.shape[1]
            _run(_backward_queries, ctx.tile, T, (*given, grad_qu, grad_position_HQW), *sizes)
            _run(_backward_keys, ctx.tile, ctx.M + T, (*given, grad_k, grad_v), *sizes)
            grad_qw = grad_position_HQW @ r_HWK
            grad_r = (grad_position_HQW.mT @ qw_HQK)[:, :ctx.M + 1].flip(-2)
            grad_u, grad_w = grad_qu.sum((0, 2)) * scale, grad_qw.sum(1) * scale
            grad_q = (grad_qu + _unfold(grad_qw, B)) * scale
            grad_pk = grad_pv = None
            if persistent_block:
                q_HQK, pk_HNK, pv_HNK, *random = persistent_block
                root = math.sqrt(pk_HNK.shape[-2])
                grad_HQK, grad_pk, grad_pv = persistent.backward(
                    _fold(grad_BHTK * root), q_HQK, pk_HNK, pv_HNK, _fold(out_BHTK / root),
                    _fold(joint_BHT[..., None])[..., 0], ctx.drop, random)
                grad_q = grad_q + _unfold(grad_HQK, B)
        return grad_q, grad_k, grad_v, grad_r, grad_u, grad_w, grad_pk, grad_pv, None, None


def _strided(*tensors: Tensor) -> tuple:
    """Each tensor, and its strides of rows, heads and positions; the K numbers of a vector are contiguous."""
    packed = [x if x.stride(-1) == 1 else x.contiguous() for x in tensors]
    return tuple(part for x in packed for part in (x, *x.stride()[:3]))


def _run(kernel, tile: int, size: int, arguments: tuple, drop: float, *sizes: int) -> None:
    """Run a program for each row, head and tile of `size` queries or keys."""
    B, H, _, K = arguments[0].shape
    kernel[B * H, triton.cdiv(size, tile)](*arguments, drop, *sizes, K, tile, drop > 0, num_warps=8 if tile == 64 else 4,
                                           num_stages=2)


@jit
def _base(row_stride, head_stride, H):
    """Where the program's row and head begin: in int64, so that a tensor may be large. Inside a tile, int32 is enough."""
    return (tl.program_id(0) // H).to(tl.int64) * row_stride + (tl.program_id(0) % H).to(tl.int64) * head_stride


@jit
def _rows(of, stride, start, size, K: tl.constexpr, TILE: tl.constexpr):
    """A tile of vectors from position `start` on; 0 from `size` on."""
    t = tl.arange(0, TILE)[:, None]
    of += tl.cast(start, tl.int64) * stride
    return tl.load(of + (t * stride + tl.arange(0, K)[None, :]), mask=start + t < size, other=0.0)


@jit
def _put(to, values, start, size, K: tl.constexpr, TILE: tl.constexpr):
    """Write a tile of the program's row and head into a new tensor (B, H, size, K)."""
    t = tl.arange(0, TILE)[:, None]
    to += (tl.program_id(0).to(tl.int64) * size + start) * K
    tl.store(to + (t * K + tl.arange(0, K)[None, :]), values.to(to.dtype.element_ty), mask=start + t < size)


@jit
def _columns(i0, j0, TILE: tl.constexpr):
    """Columns c = j - i of queries from i0 on (rows) and keys from j0 on."""
    return (j0 - i0 + tl.arange(0, TILE))[None, :] - tl.arange(0, TILE)[:, None]


@jit
def _skewed(position, i0, j0, W, TILE: tl.constexpr):
    """Addresses of row i, column j - i of the position scores."""
    inside = (tl.arange(0, TILE) * (W - 1))[:, None] + (j0 - i0 + tl.arange(0, TILE))[None, :]
    return position + tl.cast(i0, tl.int64) * W + inside


@jit
def _scores(q_tK, k_sK, position, i0, j0, first, T, M, W, TILE: tl.constexpr):
    """Scores in units of log 2, since exp2 is what a GPU computes; -infinity where query i does not see key j."""
    c = _columns(i0, j0, TILE)
    tile = tl.arange(0, TILE)
    seen = (c >= 0) & (c <= M) & (j0 + tile >= first)[None, :] & (i0 + tile < T)[:, None]
    position_ts = tl.load(_skewed(position, i0, j0, W, TILE), mask=seen, other=0.0).to(tl.float32)
    # "ieee": float32 is not rounded to TensorFloat-32; it says nothing about half precision.
    scores_ts = tl.dot(q_tK, tl.trans(k_sK), input_precision="ieee") + position_ts
    return tl.where(seen, scores_ts * 1.4426950408889634, float("-inf"))


@jit
def _mask(seed, i0, j0, M, drop, TILE: tl.constexpr):
    """Dropout's factor per weight, 0 or 1 / (1 - drop). Each row and head has its own seed, so int32 suffices for the rest."""
    number_ts = (i0 + tl.arange(0, TILE))[:, None] * (M + 1) + _columns(i0, j0, TILE)
    return tl.where(tl.rand(tl.load(seed) + tl.program_id(0), number_ts) >= drop, 1 / (1 - drop), 0.0)


@jit
def _forward(qu, qu_b, qu_h, qu_t, k, k_b, k_h, k_s, v, v_b, v_h, v_s, position, out, norm, seed, drop, first, B, H, T, M, W,
             K: tl.constexpr, TILE: tl.constexpr, DROPS: tl.constexpr):
    """Output and normalizer of the band, for a tile of queries."""
    i0 = tl.program_id(1) * TILE
    k, v, position = k + _base(k_b, k_h, H), v + _base(v_b, v_h, H), position + _base(T * W, B * T * W, H)
    q_tK = _rows(qu + _base(qu_b, qu_h, H), qu_t, i0, T, K, TILE)
    top_t = tl.full([TILE], float("-inf"), tl.float32)
    sum_t, out_tK = tl.zeros([TILE], tl.float32), tl.zeros([TILE, K], tl.float32)
    for j0 in range(tl.maximum(i0, first), tl.minimum(i0 + TILE, T) + M, TILE):
        k_sK, v_sK = _rows(k, k_s, j0, M + T, K, TILE), _rows(v, v_s, j0, M + T, K, TILE)
        scores_ts = _scores(q_tK, k_sK, position, i0, j0, first, T, M, W, TILE)
        new_t = tl.maximum(top_t, tl.max(scores_ts, 1))
        # Rows past the last query see no key: -infinity - -infinity would be NaN. A query sees a key in its first tile.
        shift_t = tl.where(new_t == float("-inf"), 0.0, new_t)
        weights_ts, shrink_t = tl.exp2(scores_ts - shift_t[:, None]), tl.exp2(top_t - shift_t)
        sum_t = sum_t * shrink_t + tl.sum(weights_ts, 1)
        if DROPS:
            weights_ts *= _mask(seed, i0, j0, M, drop, TILE)
        out_tK = out_tK * shrink_t[:, None] + tl.dot(weights_ts.to(v_sK.dtype), v_sK, input_precision="ieee")
        top_t = new_t
    i = i0 + tl.arange(0, TILE)
    sum_t = tl.where(i < T, sum_t, 1.0)
    _put(out, out_tK / sum_t[:, None], i0, T, K, TILE)
    tl.store(norm + tl.program_id(0).to(tl.int64) * T + i, (top_t + tl.log2(sum_t)) * 0.6931471805599453, mask=i < T)


@jit
def _gradients(q_tK, k_sK, v_sK, grad_tK, position, norm, delta, seed, drop, i0, j0, first, T, M, W,
               TILE: tl.constexpr, DROPS: tl.constexpr):
    """The weights as dropout leaves them, and the gradient of the scores: P * (dropped(dO V^T) - sum(dO * O))."""
    i = i0 + tl.arange(0, TILE)
    at = tl.program_id(0).to(tl.int64) * T + i
    norm_t = tl.load(norm + at, mask=i < T, other=0.0) * 1.4426950408889634
    delta_t = tl.load(delta + at, mask=i < T, other=0.0)
    weights_ts = tl.exp2(_scores(q_tK, k_sK, position, i0, j0, first, T, M, W, TILE) - norm_t[:, None])
    grad_ts = tl.dot(grad_tK, tl.trans(v_sK), input_precision="ieee")
    dropped_ts = weights_ts
    if DROPS:
        mask_ts = _mask(seed, i0, j0, M, drop, TILE)
        grad_ts, dropped_ts = grad_ts * mask_ts, weights_ts * mask_ts
    return dropped_ts.to(q_tK.dtype), (weights_ts * (grad_ts - delta_t[:, None])).to(q_tK.dtype)


@jit
def _backward_queries(qu, qu_b, qu_h, qu_t, k, k_b, k_h, k_s, v, v_b, v_h, v_s, grad, grad_b, grad_h, grad_t, position, norm,
                      delta, seed, grad_qu, grad_position, drop, first, B, H, T, M, W,
                      K: tl.constexpr, TILE: tl.constexpr, DROPS: tl.constexpr):
    """Gradients of a tile of queries, and of its position scores."""
    i0, shift = tl.program_id(1) * TILE, _base(T * W, B * T * W, H)
    k, v, position, grad_position = k + _base(k_b, k_h, H), v + _base(v_b, v_h, H), position + shift, grad_position + shift
    q_tK = _rows(qu + _base(qu_b, qu_h, H), qu_t, i0, T, K, TILE)
    grad_tK = _rows(grad + _base(grad_b, grad_h, H), grad_t, i0, T, K, TILE)
    sum_tK = tl.zeros([TILE, K], tl.float32)
    for j0 in range(tl.maximum(i0, first), tl.minimum(i0 + TILE, T) + M, TILE):
        k_sK, v_sK = _rows(k, k_s, j0, M + T, K, TILE), _rows(v, v_s, j0, M + T, K, TILE)
        _, grad_ts = _gradients(q_tK, k_sK, v_sK, grad_tK, position, norm, delta, seed, drop, i0, j0, first, T, M, W,
                                TILE, DROPS)
        c = _columns(i0, j0, TILE)
        is_there = (c >= 0) & (c <= M) & (i0 + tl.arange(0, TILE) < T)[:, None]
        tl.store(_skewed(grad_position, i0, j0, W, TILE), grad_ts, mask=is_there)
        sum_tK += tl.dot(grad_ts, k_sK, input_precision="ieee")
    _put(grad_qu, sum_tK, i0, T, K, TILE)


@jit
def _backward_keys(qu, qu_b, qu_h, qu_t, k, k_b, k_h, k_s, v, v_b, v_h, v_s, grad, grad_b, grad_h, grad_t, position, norm,
                   delta, seed, grad_k, grad_v, drop, first, B, H, T, M, W,
                   K: tl.constexpr, TILE: tl.constexpr, DROPS: tl.constexpr):
    """Gradients of a tile of keys and values, from the queries that see one of them."""
    j0 = tl.program_id(1) * TILE
    qu, grad, position = qu + _base(qu_b, qu_h, H), grad + _base(grad_b, grad_h, H), position + _base(T * W, B * T * W, H)
    k_sK = _rows(k + _base(k_b, k_h, H), k_s, j0, M + T, K, TILE)
    v_sK = _rows(v + _base(v_b, v_h, H), v_s, j0, M + T, K, TILE)
    key_sK, value_sK = tl.zeros([TILE, K], tl.float32), tl.zeros([TILE, K], tl.float32)
    for i0 in range(tl.maximum(j0 - M, 0), tl.minimum(j0 + TILE, T), TILE):
        q_tK, grad_tK = _rows(qu, qu_t, i0, T, K, TILE), _rows(grad, grad_t, i0, T, K, TILE)
        dropped_ts, grad_ts = _gradients(q_tK, k_sK, v_sK, grad_tK, position, norm, delta, seed, drop, i0, j0, first, T, M, W,
                                         TILE, DROPS)
        key_sK += tl.dot(tl.trans(grad_ts), q_tK, input_precision="ieee")
        value_sK += tl.dot(tl.trans(dropped_ts), grad_tK, input_precision="ieee")
    _put(grad_k, key_sK, j0, M + T, K, TILE)
    _put(grad_v, value_sK, j0, M + T, K, TILE)
