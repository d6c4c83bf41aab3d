"""The persistent block alone, forward and backward, by every kernel that could compute it, with all heads and with few.

flash is what `allatt.kernels.persistent` uses; cudnn is a candidate for a GPU in half precision. Each also runs with its
queries in groups, which fill a GPU when few heads are left. A candidate has to agree with flash before it is timed; one that
does not, or that this machine lacks, is named and left out. Two ceilings are given: a matrix product, and a copy in memory.

The same is done for the joint attention, context and persistent vectors in one softmax: `allatt.kernels.band`, which is used,
and candidates, which have to agree with it. It is timed only where there is a candidate: on a GPU with Triton.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor

from allatt.benchmarks import band_triton, measure
from allatt.config import ModelConfig
from allatt.kernels import band, persistent

aten = torch.ops.aten
HEADS, GROUPS = (8, 3, 1), (1, 4, 8)
"""Heads of a layer, and groups of its queries (our choice)."""
TOLERANCE = 0.02
"""Largest relative difference of a candidate's output and gradients from what is used; half precision rounds by 0.004."""
Block = tuple[Tensor, Tensor, Tensor, Tensor]
"""q, pk, pv, and the gradient of the output."""


def measure_kernels(shape: ModelConfig, rows: int, device: str, precision: str, rounds: int, limit: float) -> dict:
    """heads: by number of heads, `measure.measure` of each kernel, with share (of the matrix product's rate; two products are
    counted forward, five backward) and off (its largest relative difference from flash). joint: the same of the joint attention
    (see `measure_joint`). missing: what was left out, and why. copy: bytes per second, read and written."""
    dtype, results, joint, missing = torch.bfloat16 if precision == "bf16" else torch.float32, {}, {}, {}
    for heads in HEADS:
        draws = torch.Generator().manual_seed(heads)
        sizes = ((rows * shape.segment, 1.0), (shape.persistent, shape.d_head ** -0.5), (shape.persistent, 1.0),
                 (rows * shape.segment, 1.0))
        block = tuple((torch.randn(heads, size, shape.d_head, generator=draws) * scale).to(device, dtype)
                      for size, scale in sizes)
        candidates = {f"{name}, {groups} group{'s' * (groups > 1)}": functools.partial(kernel, block, groups)
                      for name, kernel in KERNELS.items() for groups in GROUPS}
        calls, off = _agreeing(candidates, flash(block, 1), "flash", heads, missing)
        results[heads] = measure.measure(calls, rounds, device, precision, limit)
        _add_shares(results[heads], 7 * heads * rows * shape.segment * shape.persistent * shape.d_head, off)
        if (part := measure_joint(shape, rows, heads, device, precision, rounds, limit, missing)) is not None:
            joint[heads] = part
    return {"heads": results, "joint": joint, "missing": missing, "copy": copy_rate(device)}


def measure_joint(shape: ModelConfig, rows: int, heads: int, device: str, precision: str, rounds: int, limit: float,
                  missing: dict[str, str]) -> dict | None:
    """`measure.measure` of JOINT, with share and off; None without a candidate. For the context, three products are counted
    forward and six backward, those of a path that keeps its weights."""
    dtype, draws = torch.bfloat16 if precision == "bf16" else torch.float32, torch.Generator().manual_seed(heads)
    T, C, N, K = shape.segment, shape.memory + 1, shape.persistent, shape.d_head
    queries, keys = (rows, heads, T, K), (rows, heads, shape.memory + T, K)
    sizes = ((queries, 1.0), (keys, 1.0), (keys, 1.0), ((heads, C, K), 1.0), ((heads, K), 0.1), ((heads, K), 0.1),
             ((heads, N, K), K ** -0.5), ((heads, N, K), N ** -0.5), (queries, 1.0))
    *tensors, grad_BHTK = ((torch.randn(size, generator=draws) * scale).to(device, dtype) for size, scale in sizes)
    tensors = [x.requires_grad_() for x in tensors]

    def both_passes(path: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        out_BHTK = path(*tensors)
        return out_BHTK.detach(), *torch.autograd.grad(out_BHTK, tensors, grad_BHTK)

    candidates = {name: functools.partial(both_passes, path) for name, path in JOINT.items()}
    calls, off = _agreeing(candidates, both_passes(band.fast), "band", heads, missing)
    if len(calls) == 1:
        return None
    part = measure.measure(calls, rounds, device, precision, limit)
    _add_shares(part, heads * rows * T * K * (9 * C + 7 * N), off)
    return part


def _agreeing(candidates: dict[str, Callable[[], tuple[Tensor, ...]]], expected: tuple[Tensor, ...], used: str, heads: int,
              missing: dict[str, str]) -> tuple[dict[str, Callable], dict[str, float]]:
    """The candidates that agree with `expected`, and the difference of each; the others get a line in `missing`."""
    calls, off = {}, {}
    for label, candidate in candidates.items():
        try:
            off[label] = max(_difference(a, b) for a, b in zip(candidate(), expected, strict=True))
        except Exception as error:  # whatever a library raises if it lacks this kernel here
            missing[label] = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
            continue
        if off[label] > TOLERANCE:
            missing[label] = f"differs from {used} by {off[label]:.1%} with {heads} heads"
        else:
            calls[label] = candidate
    return calls, off


def _add_shares(part: dict, multiply_adds: int, off: dict[str, float]) -> None:
    for label, values in part["variants"].items():
        values |= {"share": 2 * multiply_adds / values["median"] / part["peak"], "off": off[label]}


def flash(block: Block, groups: int) -> tuple[Tensor, ...]:
    """Output and gradients by `allatt.kernels.persistent`."""
    q_HQK, pk_HNK, pv_HNK, grad_HQK = block
    with _groups(groups):
        out_HQK, norm_HQ, random = persistent.forward(q_HQK, pk_HNK, pv_HNK, 0.0)
        return out_HQK, *persistent.backward(grad_HQK, q_HQK, pk_HNK, pv_HNK, out_HQK, norm_HQ, 0.0, random)


def cudnn(block: Block, groups: int) -> tuple[Tensor, ...]:
    """The same by cuDNN's attention."""
    q_HQK, pk_HNK, pv_HNK, grad_HQK = block
    with _groups(groups):
        q, grad = persistent._grouped(q_HQK), persistent._grouped(grad_HQK)
        pk, pv = (x_HNK.expand(len(q), -1, -1, -1) for x_HNK in (pk_HNK, pv_HNK))
        out, norm, cum_q, cum_k, most_q, most_k, seed, offset, _ = aten._scaled_dot_product_cudnn_attention(
            q, pk, pv, None, True, 0.0, False, False, scale=1.0)
        # For this operation, no bias is an undefined tensor, which Python writes as an empty one.
        grads = aten._scaled_dot_product_cudnn_attention_backward(
            grad, q, pk, pv, out, norm, seed, offset, q.new_empty(0), cum_q, cum_k, most_q, most_k, 0.0, False, scale=1.0)
        return persistent._whole(out), persistent._whole(grads[0]), grads[1].sum(0), grads[2].sum(0)


def in_tiles(size: int, *tensors: Tensor) -> Tensor:
    """The joint attention by Triton, with `size` queries and keys per tile."""
    before, band_triton.TILE = band_triton.TILE, size
    try:
        return band_triton.fast(*tensors)  # the backward pass has tiles of the same size
    finally:
        band_triton.TILE = before


KERNELS: dict[str, Callable[[Block, int], tuple[Tensor, ...]]] = {"flash": flash, "cudnn": cudnn}
JOINT: dict[str, Callable[..., Tensor]] = {
    "band": band.fast, **{f"triton, tiles of {size}": functools.partial(in_tiles, size) for size in (32, 64)}}


def copy_rate(device: str) -> float:
    """Bytes per second, read and written, of a copy of a gigabyte (on a CPU, a tenth of that)."""
    source = torch.zeros(10**9 if device == "cuda" else 10**8, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = measure.measure({"copy": lambda: target.copy_(source)}, 5, device)["variants"]["copy"]["best"]
    return 2 * source.numel() / best


@contextmanager
def _groups(number: int):
    before, persistent.GROUPS = persistent.GROUPS, number
    try:
        yield
    finally:
        persistent.GROUPS = before


def _difference(found: Tensor, expected: Tensor) -> float:
    """Difference relative to the norm of `expected`; infinite if a number is not finite."""
    found, expected = found.float(), expected.float()
    return float((found - expected).norm() / expected.norm()) if bool(found.isfinite().all()) else float("inf")
