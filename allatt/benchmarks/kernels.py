"""The persistent block alone, forward and backward, by every kernel that could compute it, with all heads and with few.

flash is what `allatt.kernels.persistent` uses; cudnn is a candidate for a GPU in half precision. Each also with its queries in
groups, which fill a GPU when few heads are left. A candidate has to agree with flash before it is timed: one that does not, or
that this machine does not have, is named and left out. Beside them stand two ceilings: a matrix product, and a copy in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor

from allatt.benchmarks import measure
from allatt.config import ModelConfig
from allatt.kernels import persistent

aten = torch.ops.aten
HEADS, GROUPS = (8, 3, 1), (1, 4, 8)
"""Heads of a layer, and groups of its queries (our choice)."""
TOLERANCE = 0.02
"""Largest relative difference of a candidate's output and gradients from flash's; half precision rounds by 0.004."""
Block = tuple[Tensor, Tensor, Tensor, Tensor]
"""q, pk, pv, and the gradient of the output."""


def measure_kernels(shape: ModelConfig, rows: int, device: str, precision: str, rounds: int, limit: float) -> dict:
    """heads: by number of heads, `measure.measure` of each kernel, with share (of the matrix product's rate; two products are
    counted forward, five backward) and off (its largest relative difference from flash). missing: what was left out, and why.
    copy: bytes per second, read and written."""
    dtype, results, missing = torch.bfloat16 if precision == "bf16" else torch.float32, {}, {}
    for heads in HEADS:
        draws = torch.Generator().manual_seed(heads)
        sizes = ((rows * shape.segment, 1.0), (shape.persistent, shape.d_head ** -0.5), (shape.persistent, 1.0),
                 (rows * shape.segment, 1.0))
        block = tuple((torch.randn(heads, size, shape.d_head, generator=draws) * scale).to(device, dtype)
                      for size, scale in sizes)
        calls, off, expected = {}, {}, flash(block, 1)
        for (name, kernel), groups in ((item, groups) for item in KERNELS.items() for groups in GROUPS):
            label = f"{name}, {groups} group{'s' * (groups > 1)}"
            try:
                found = kernel(block, groups)
                off[label] = max(_difference(a, b) for a, b in zip(found, expected, strict=True))
            except (RuntimeError, NotImplementedError) as error:
                missing[label] = str(error).strip().splitlines()[0][:100]
                continue
            if off[label] > TOLERANCE:
                missing[label] = f"differs from flash by {off[label]:.1%} with {heads} heads"
            else:
                calls[label] = functools.partial(kernel, block, groups)
        part = results[heads] = measure.measure(calls, rounds, device, precision, limit)
        operations = 2 * 7 * heads * rows * shape.segment * shape.persistent * shape.d_head
        for label, values in part["variants"].items():
            values |= {"share": operations / values["median"] / part["peak"], "off": off[label]}
    return {"heads": results, "missing": missing, "copy": copy_rate(device)}


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
        # No bias is an undefined tensor for this operation, which Python writes as an empty one.
        grads = aten._scaled_dot_product_cudnn_attention_backward(
            grad, q, pk, pv, out, norm, seed, offset, q.new_empty(0), cum_q, cum_k, most_q, most_k, 0.0, False, scale=1.0)
        return persistent._whole(out), persistent._whole(grads[0]), grads[1].sum(0), grads[2].sum(0)


KERNELS: dict[str, Callable[[Block, int], tuple[Tensor, ...]]] = {"flash": flash, "cudnn": cudnn}


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
    """Relative to the norm of what is expected; infinite if a number is not finite."""
    found, expected = found.float(), expected.float()
    return float((found - expected).norm() / expected.norm()) if bool(found.isfinite().all()) else float("inf")
