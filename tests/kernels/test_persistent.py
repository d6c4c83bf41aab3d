"""Attention to persistent vectors alone: every kernel against the equations, dropout included."""

import math
from types import SimpleNamespace

import pytest
import torch
from test_attention import inputs, often

from allatt.attention import reference
from allatt.kernels import band, persistent
from allatt.kernels.band import fast


def draw(H=2, Q=5, N=7, K=8, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=g, dtype=dtype) for shape in ((H, Q, K), (H, N, K), (H, N, K))]


def written_down(q, pk, pv, mask=1.0):
    scores = q @ pk.mT
    return (scores.softmax(-1) * mask) @ pv, scores.logsumexp(-1)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
@pytest.mark.parametrize("kernel", ["cpu", "blocks"])
def test_every_kernel_is_the_equation(kernel, block, monkeypatch):
    monkeypatch.setattr(persistent, "BLOCK", block)
    monkeypatch.setattr(persistent, "_kernel", lambda q, drop: kernel)
    q, pk, pv = draw()
    got, expected = persistent.forward(q * 20, pk, pv, 0.0), written_down(q * 20, pk, pv)
    for a, b in zip(got, expected, strict=False):
        assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_groups_of_queries_change_nothing(groups, monkeypatch):
    """Twelve queries; the sum over groups of the vectors' gradients is theirs. Groups that do not divide them are left out."""
    q, pk, pv = draw(Q=12)
    grad, whole = torch.randn_like(q), persistent.forward(q, pk, pv, 0.0)
    expected = persistent.backward(grad, q, pk, pv, *whole[:2], 0.0, ())
    seen, kernel = [], persistent.aten._scaled_dot_product_flash_attention_for_cpu
    monkeypatch.setattr(persistent, "GROUPS", groups)
    monkeypatch.setattr(persistent.aten, "_scaled_dot_product_flash_attention_for_cpu",
                        lambda q, *more, **named: seen.append(tuple(q.shape)) or kernel(q, *more, **named))
    found = persistent.forward(q, pk, pv, 0.0)
    assert seen == [(groups, 2, 12 // groups, 8)]
    for a, b in zip((*found[:2], *persistent.backward(grad, q, pk, pv, *found[:2], 0.0, ())), (*whole[:2], *expected),
                    strict=True):
        assert a.shape == b.shape and (a - b).abs().max() < 1e-12
    persistent.forward(q[:, :7], pk, pv, 0.0)
    assert seen[-1] == (1, 2, 7, 8)


@pytest.mark.parametrize("block", [2, 100])
@pytest.mark.parametrize("kernel", ["cpu", "blocks"])
def test_gradients_of_a_block_given_the_joint_output(kernel, block, monkeypatch):
    """Of a softmax that has other keys too: all its gradients to this block's tensors."""
    monkeypatch.setattr(persistent, "BLOCK", block)
    monkeypatch.setattr(persistent, "_kernel", lambda q, drop: kernel)
    tensors = [t.requires_grad_() for t in draw()]
    q, pk, pv = tensors
    others = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(2, 4, 8, dtype=torch.float64)
    scores = torch.cat([others[0], q @ pk.mT], -1)
    out = scores.softmax(-1) @ torch.cat([others[1], pv], 1)
    grad = torch.randn_like(out)
    expected = torch.autograd.grad(out, tensors, grad)
    with torch.no_grad():
        got = persistent.backward(grad, q, pk, pv, out, scores.logsumexp(-1), 0.0, (torch.tensor(0),))
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() < 1e-12


@pytest.mark.parametrize("block", [2, 100])
def test_the_backward_pass_drops_what_the_forward_pass_dropped(block, monkeypatch):
    monkeypatch.setattr(persistent, "BLOCK", block)
    tensors = inputs(2, 2, 3, 2, 5, 4)

    def same_dropout(*t):
        torch.manual_seed(3)
        return fast(*t, drop=0.4)

    assert torch.autograd.gradcheck(same_dropout, tensors)
    assert (same_dropout(*tensors) - fast(*tensors)).abs().max() > 0.1, "nothing was dropped"


def test_dropout_has_the_spread_of_independent_weights():
    """Mean and variance of the outputs are those of dropout on each weight of the joint softmax, as the reference does it."""
    tensors = [t.detach() for t in inputs(1, 1, 2, 2, 6, 3)]
    torch.manual_seed(0)
    ours, theirs = (often(path, tensors, 6000, drop=0.3) for path in (fast, reference))
    error = math.sqrt(2 / 6000)
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * theirs.std(0) * error).all()
    assert ((ours.var(0) / theirs.var(0) - 1).abs() < 8 * error).all()


@pytest.mark.parametrize("drop", [0.2, 0.5, 0.001, 0.9999])
def test_a_mask_keeps_the_mean_and_drops_the_right_share(drop):
    torch.manual_seed(0)
    mask = persistent.mask(torch.empty(1000, 1003, dtype=torch.float64), drop)
    kept = mask[mask > 0]
    assert len(kept.unique()) == 1 and mask.shape == (1000, 1003)
    share = len(kept) / mask.numel()
    assert abs(share - (1 - drop)) < 5 * math.sqrt(drop * (1 - drop) / mask.numel()) + 1 / 65536
    assert abs(mask.mean() - 1) < 5 * math.sqrt(drop / (1 - drop) / mask.numel())
    apart = torch.corrcoef(torch.stack([mask.flatten()[:-1], mask.flatten()[1:]]))[0, 1]
    assert abs(apart) < 5 / math.sqrt(mask.numel()), "neighbors are not independent"


def test_a_mask_follows_torchs_seed():
    like = torch.empty(50, 50)
    torch.manual_seed(1)
    one, two = persistent.mask(like, 0.5), persistent.mask(like, 0.5)
    torch.manual_seed(1)
    assert torch.equal(one, persistent.mask(like, 0.5)) and not torch.equal(one, two)


def test_operations_tell_torch_compile_the_truth_about_themselves():
    q, pk, pv = draw(dtype=torch.float32)
    q, seed = q.transpose(0, 1).contiguous().transpose(0, 1), torch.tensor(5)
    out, norm = torch.ops.allatt.persistent_blocks(q, pk, pv, 0.2, seed)
    checks = ("test_schema", "test_faketensor")
    back = out, q, pk, pv, out, norm, 0.2, seed
    torch.library.opcheck(torch.ops.allatt.persistent_blocks, (q, pk, pv, 0.2, seed), test_utils=checks)
    torch.library.opcheck(torch.ops.allatt.persistent_blocks_backward, back, test_utils=checks)
    torch.library.opcheck(torch.ops.allatt.mask, (q, 0.2, seed), test_utils=checks)


class FlashOfGPU:
    """Stands in for the GPU's flash kernel, which no CPU has: its signature, and what its sources say that it computes."""

    @staticmethod
    def mask(seed, shape, drop):
        generator = torch.Generator().manual_seed(int(seed))
        return torch.rand(shape, generator=generator).ge(drop) / (1 - drop)

    @classmethod
    def forward(cls, q, k, v, dropout_p, is_causal, return_debug_mask, *, scale):
        assert q.shape[0] == 1 and not is_causal and not return_debug_mask
        seed, scores = torch.randint(1000, ()), scale * q @ k.mT
        out = (scores.float().softmax(-1) * cls.mask(seed, scores.shape, dropout_p)) @ v.float()
        return out.to(q.dtype), scores.float().logsumexp(-1), None, None, q.shape[2], k.shape[2], seed, torch.tensor(0), None

    @classmethod
    def backward(cls, grad, q, k, v, out, norm, cum_q, cum_k, max_q, max_k, dropout_p, is_causal, seed, offset, *, scale):
        assert (max_q, max_k) == (q.shape[2], k.shape[2]) and norm.dtype == torch.float32 and grad.dtype == q.dtype
        assert norm.is_contiguous()
        mask = cls.mask(seed, (*q.shape[:3], max_k), dropout_p).float()
        weights = (scale * (q @ k.mT).float() - norm[..., None]).exp()
        grad, out = grad.float(), out.float()
        scores = weights * (mask * (grad @ v.float().mT) - (grad * out).sum(-1, keepdim=True)) * scale
        return tuple(x.to(q.dtype) for x in (scores @ k.float(), scores.mT @ q.float(), (weights * mask).mT @ grad))


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_the_way_to_the_kernel_of_a_gpu(drop, monkeypatch):
    """In half precision: what reaches the kernel, and what is made of its answers, with a stand-in for the kernel."""
    monkeypatch.setattr(persistent, "_kernel", lambda q, drop: "gpu")
    monkeypatch.setattr(persistent, "aten", SimpleNamespace(_scaled_dot_product_flash_attention=FlashOfGPU.forward,
                                                            _scaled_dot_product_flash_attention_backward=FlashOfGPU.backward))
    tensors = inputs(2, 2, 5, 4, 6, 8, dtype=torch.bfloat16)

    def once():
        torch.manual_seed(0)
        return band._BandAttention.apply(*tensors, None, drop)

    out, grad = once(), torch.randn(2, 2, 5, 8).bfloat16()
    got = torch.autograd.grad(out, tensors, grad)
    assert out.dtype == torch.bfloat16 and all(a.dtype == torch.bfloat16 for a in got)
    exact = [t.detach().float().requires_grad_() for t in tensors]
    if drop:  # the same masks, in the order in which they are drawn
        torch.manual_seed(0)
        seed = torch.randint(1000, ())
        band_mask = persistent.mask(torch.empty(2, 2, 5, 5), drop)
        q, k, v, r, u, w, pk, pv = exact
        mask = FlashOfGPU.mask(seed, (2, 10, 6), drop).unflatten(1, (2, 5)).transpose(0, 1)
        scores = band._band((q + u[:, None]) @ k.mT, 5) + (q + w[:, None]) @ r.flip(-2).mT
        weights = torch.cat([scores / math.sqrt(8), q @ pk.mT], -1).softmax(-1) * torch.cat([band_mask, mask], -1)
        expected = band._unband(weights[..., :5]) @ v + weights[..., 5:] @ (math.sqrt(6) * pv)
    else:
        expected = reference(*exact)
    grads = torch.autograd.grad(expected, exact, grad.float())
    for a, b in zip([out, *got], [expected, *grads], strict=True):
        assert (a.float() - b).abs().max() < 0.05 * b.abs().max()


@pytest.mark.parametrize("device, dtype, K, expected", [
    ("cpu", torch.float32, 8, "cpu"), ("cuda", torch.bfloat16, 64, "gpu"), ("cuda", torch.float16, 256, "gpu"),
    ("cuda", torch.float32, 64, "blocks"), ("cuda", torch.bfloat16, 12, "blocks"), ("cuda", torch.bfloat16, 264, "blocks")])
def test_the_kernel_fits_what_it_gets(device, dtype, K, expected, monkeypatch):
    monkeypatch.setattr(persistent, "has_flash", lambda device: True)
    q = SimpleNamespace(device=SimpleNamespace(type=device), dtype=dtype, shape=(1, 5, K))
    assert persistent._kernel(q, 0.0) == expected
    assert persistent._kernel(q, 0.2) == ("blocks" if device == "cpu" else expected)
    monkeypatch.setattr(persistent, "has_flash", lambda device: False)  # an older GPU, or torch without flash
    assert persistent._kernel(q, 0.0) == ("cpu" if device == "cpu" else "blocks")


def test_torch_has_the_kernel_of_a_gpu_that_the_stand_in_stands_for():
    ops = torch.ops.aten
    forward, backward = (op.default._schema.arguments for op in (
        ops._scaled_dot_product_flash_attention, ops._scaled_dot_product_flash_attention_backward))
    assert [a.name for a in forward] == "query key value dropout_p is_causal return_debug_mask scale".split()
    assert [a.name for a in backward] == ("grad_out query key value out logsumexp cum_seq_q cum_seq_k max_q max_k dropout_p "
                                          "is_causal philox_seed philox_offset scale").split()
    returns = [r.name for r in ops._scaled_dot_product_flash_attention.default._schema.returns]
    assert returns[:2] == ["output", "logsumexp"] and returns[6] == "rng_state" and len(returns) == 9


def test_very_low_scores_count_as_much_as_others(monkeypatch):
    """The running maximum of the blocks starts below every score."""
    monkeypatch.setattr(persistent, "BLOCK", 2)
    monkeypatch.setattr(persistent, "_kernel", lambda q, drop: "blocks")
    q, pk, pv = torch.ones(1, 3, 1), torch.full((1, 5, 1), -400.0), torch.arange(5.0)[None, :, None]
    out, norm, _ = persistent.forward(q, pk, pv, 0.0)
    assert torch.allclose(out, torch.tensor(2.0)) and torch.allclose(norm, torch.tensor(-400 + math.log(5)))


@pytest.mark.parametrize("drop", [1e-7, 1 - 1e-9])
def test_a_mask_stays_finite_at_both_ends(drop):
    mask = persistent.mask(torch.empty(100, 100), drop)
    assert mask.isfinite().all() and (mask.max() > 1 or drop > 0.5)


