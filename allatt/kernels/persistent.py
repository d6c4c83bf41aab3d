"""Attention to the persistent vectors, the larger part of an All-attention layer, without storing its Q x N weights.

    out[i] = sum_n dropout(exp(q_i . pk_n - E_i)) pv_n,      E_i = log sum_n exp(q_i . pk_n)

Given the joint normalizer L and joint output O of a softmax that has other keys too, `backward` computes the exact
gradients of this block (`allatt.kernels.band`). The kernel depends on the device:

    CPU                              torch's flash kernel; with dropout, which it does not support, blocks
    GPU, half precision              torch's flash kernel, which draws its dropout itself
    anything else                    blocks

A flash kernel stores no weights. Blocks store those of BLOCK vectors at a time, in the forward and in the backward pass.

Shape suffixes:
    H heads   Q queries (of all rows)   N persistent vectors per head   n persistent vectors of a block   K d_head
    G groups of queries   q queries of a group
"""

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten  # the flash kernels have no public interface that returns the normalizer, or takes a joint one

BLOCK = 512
"""Number of persistent vectors whose scores are stored at a time, if there is no flash kernel."""
GROUPS = 1
"""Number of parts of the queries that a flash kernel takes as a batch. A GPU works on batch x heads x blocks at a time, so more
parts might fill it when few heads are left; not measured on a GPU yet (`python -m allatt bench --sections kernels`)."""
_LEVELS = 2 ** 16


def forward(q_HQK: Tensor, pk_HNK: Tensor, pv_HNK: Tensor, drop: float) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """out_HQK, the normalizer E_HQ (at least float32), and the state of the dropout for `backward`."""
    kernel = _kernel(q_HQK, drop)
    if kernel == "blocks":
        seed = torch.randint(2 ** 32, ())
        out_HQK, norm_HQ = torch.ops.allatt.persistent_blocks(q_HQK, pk_HNK, pv_HNK, drop, seed)
        return out_HQK, norm_HQ, (seed,)
    q_GHqK, groups = _grouped(q_HQK), _groups(q_HQK)
    pk_GHNK, pv_GHNK = pk_HNK.expand(groups, -1, -1, -1), pv_HNK.expand(groups, -1, -1, -1)
    if kernel == "cpu":
        out_GHqK, norm_GHq = aten._scaled_dot_product_flash_attention_for_cpu(
            q_GHqK, pk_GHNK, pv_GHNK, 0.0, False, attn_mask=None, scale=1.0)
        return _whole(out_GHqK), _whole(norm_GHq), ()
    out_GHqK, norm_GHq, _, _, _, _, seed, offset, _ = aten._scaled_dot_product_flash_attention(
        q_GHqK, pk_GHNK, pv_GHNK, drop, False, False, scale=1.0)
    return _whole(out_GHqK), _whole(norm_GHq), (seed, offset)


def backward(grad_HQK: Tensor, q_HQK: Tensor, pk_HNK: Tensor, pv_HNK: Tensor, joint_out_HQK: Tensor, joint_norm_HQ: Tensor,
             drop: float, random: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, pk and pv, from the gradient, value and normalizer of the joint output."""
    kernel = _kernel(q_HQK, drop)
    if kernel == "blocks":
        return torch.ops.allatt.persistent_blocks_backward(
            grad_HQK, q_HQK, pk_HNK, pv_HNK, joint_out_HQK, joint_norm_HQ, drop, *random)
    grad_GHqK, q_GHqK, out_GHqK, norm_GHq = map(_grouped, (grad_HQK, q_HQK, joint_out_HQK, joint_norm_HQ))
    groups = _groups(q_HQK)
    tensors = (grad_GHqK, q_GHqK, pk_HNK.expand(groups, -1, -1, -1), pv_HNK.expand(groups, -1, -1, -1), out_GHqK,
               norm_GHq.contiguous())
    if kernel == "cpu":
        grad_q, grad_pk, grad_pv = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *tensors, 0.0, False, attn_mask=None, scale=1.0)
    else:
        grad_q, grad_pk, grad_pv = aten._scaled_dot_product_flash_attention_backward(
            *tensors, None, None, q_GHqK.shape[2], pk_HNK.shape[1], drop, False, *random, scale=1.0)
    if groups == 1:
        return grad_q[0], grad_pk[0], grad_pv[0]
    return _whole(grad_q), grad_pk.sum(0), grad_pv.sum(0)


def _kernel(q_HQK: Tensor, drop: float) -> str:
    if q_HQK.device.type == "cpu" and drop == 0:
        return "cpu"
    half, K = q_HQK.dtype in (torch.float16, torch.bfloat16), q_HQK.shape[-1]
    if q_HQK.device.type == "cuda" and half and K % 8 == 0 and K <= 256 and has_flash(q_HQK.device):
        return "gpu"
    return "blocks"


def _groups(q_HQK: Tensor) -> int:
    """GROUPS; 1 if they do not divide the queries."""
    return GROUPS if q_HQK.shape[1] % GROUPS == 0 else 1


def _grouped(x_HQk: Tensor) -> Tensor:
    """(H, Q, ...) -> (G, H, q, ...)."""
    return x_HQk.unflatten(1, (_groups(x_HQk), -1)).transpose(0, 1)


def _whole(x_GHqk: Tensor) -> Tensor:
    """The inverse of `_grouped`."""
    return x_GHqk[0] if len(x_GHqk) == 1 else x_GHqk.transpose(0, 1).flatten(1, 2)


def has_flash(device: torch.device) -> bool:
    """Whether torch's flash kernel runs on this GPU: Ampere (2020) or later, and a build of torch that has it."""
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def mask(like: Tensor, drop: float) -> Tensor:
    """Dropout's factor per weight, 0 or 1 / (1 - drop), in the shape and type of `like`; from torch's own generator."""
    if like.device.type == "cpu":
        return torch.ops.allatt.mask(like, drop, torch.randint(2 ** 32, ()))
    return F.dropout(torch.ones_like(like), drop)


def _draw(like: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """The same as `mask`, from a given generator.

    On a CPU, torch draws one number per weight, one after the other, which takes longer than the attention itself. Here one
    number of 64 bits gives four draws of 16, so `drop` is rounded to a multiple of 1/65536 and clipped to
    [1/65536, 65535/65536]. The factor uses the rounded value, so the mean is exact.
    """
    dropped = min(max(round(drop * _LEVELS), 1), _LEVELS - 1)
    bits = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    draws = bits.random_(-2 ** 63, None, generator=generator).view(torch.int16)[:like.numel()].view(like.shape)
    return (draws >= dropped - _LEVELS // 2).to(like.dtype).mul_(_LEVELS / (_LEVELS - dropped))


# Custom operations: torch.compile can trace neither a generator nor the short life of a block's scores.
@torch.library.custom_op("allatt::mask", mutates_args=())
def _mask(like: Tensor, drop: float, seed: Tensor) -> Tensor:
    return _draw(like, drop, torch.Generator(like.device).manual_seed(int(seed)))


@_mask.register_fake
def _(like, drop, seed):
    return like.new_empty(like.shape)


@torch.library.custom_op("allatt::persistent_blocks", mutates_args=())
def _blocks(q_HQK: Tensor, pk_HNK: Tensor, pv_HNK: Tensor, drop: float, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Block by block, with the softmax's running maximum and sum (Milakov and Gimelshein 2018; Dao et al. 2022)."""
    dtype = torch.float64 if q_HQK.dtype == torch.float64 else torch.float32
    generator = torch.Generator(q_HQK.device).manual_seed(int(seed))
    out_HQK = q_HQK.new_zeros(q_HQK.shape, dtype=dtype)
    sum_HQ1 = out_HQK.new_zeros(*q_HQK.shape[:2], 1)
    top_HQ1 = torch.full_like(sum_HQ1, -torch.inf)
    for pk_HnK, pv_HnK in zip(pk_HNK.split(BLOCK, 1), pv_HNK.split(BLOCK, 1), strict=True):
        scores_HQn = (q_HQK @ pk_HnK.mT).to(dtype)
        old_HQ1, top_HQ1 = top_HQ1, torch.maximum(top_HQ1, scores_HQn.amax(-1, keepdim=True))
        weights_HQn = scores_HQn.sub_(top_HQ1).exp_()
        shrink_HQ1 = (old_HQ1 - top_HQ1).exp_()
        sum_HQ1 = sum_HQ1 * shrink_HQ1 + weights_HQn.sum(-1, keepdim=True)
        if drop:
            weights_HQn = weights_HQn.mul_(_draw(weights_HQn, drop, generator))
        out_HQK = torch.baddbmm(out_HQK.mul_(shrink_HQ1), weights_HQn, pv_HnK.to(dtype))
    return (out_HQK / sum_HQ1).to(q_HQK.dtype), (top_HQ1 + sum_HQ1.log()).squeeze(-1)


@_blocks.register_fake
def _(q_HQK, pk_HNK, pv_HNK, drop, seed):
    dtype = torch.float64 if q_HQK.dtype == torch.float64 else torch.float32
    return q_HQK.new_empty(q_HQK.shape), q_HQK.new_empty(q_HQK.shape[:2], dtype=dtype)


@torch.library.custom_op("allatt::persistent_blocks_backward", mutates_args=())
def _blocks_backward(grad_HQK: Tensor, q_HQK: Tensor, pk_HNK: Tensor, pv_HNK: Tensor, out_HQK: Tensor, norm_HQ: Tensor,
                     drop: float, seed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dS = P * (dropped(dO V^T) - sum(dO * O)), block by block; the seed reproduces the same dropout."""
    generator = torch.Generator(q_HQK.device).manual_seed(int(seed))
    delta_HQ1 = (grad_HQK * out_HQK).sum(-1, keepdim=True, dtype=norm_HQ.dtype)
    grad_q, grads_pk, grads_pv = q_HQK.new_zeros(q_HQK.shape), [], []
    for pk_HnK, pv_HnK in zip(pk_HNK.split(BLOCK, 1), pv_HNK.split(BLOCK, 1), strict=True):
        weights_HQn = (q_HQK @ pk_HnK.mT).to(norm_HQ.dtype).sub_(norm_HQ[..., None]).exp_()
        grad_HQn = (grad_HQK @ pv_HnK.mT).to(norm_HQ.dtype)
        dropped_HQn = weights_HQn
        if drop:
            mask_HQn = _draw(weights_HQn, drop, generator)
            grad_HQn.mul_(mask_HQn)
            dropped_HQn = mask_HQn.mul_(weights_HQn)
        grads_pv.append(dropped_HQn.to(q_HQK.dtype).mT @ grad_HQK)
        grad_HQn = grad_HQn.sub_(delta_HQ1).mul_(weights_HQn).to(q_HQK.dtype)
        grad_q.baddbmm_(grad_HQn, pk_HnK)
        grads_pk.append(grad_HQn.mT @ q_HQK)
    return grad_q, torch.cat(grads_pk, 1), torch.cat(grads_pv, 1)


@_blocks_backward.register_fake
def _(grad_HQK, q_HQK, pk_HNK, pv_HNK, out_HQK, norm_HQ, drop, seed):
    return tuple(x.new_empty(x.shape) for x in (q_HQK, pk_HNK, pv_HNK))
