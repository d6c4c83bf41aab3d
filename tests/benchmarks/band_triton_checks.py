"""The Triton candidate against the equations in float64: values, every gradient, dropout. `test_band_triton.py` runs this.

    TRITON_INTERPRET=1 python -m pytest tests/benchmarks/band_triton_checks.py      without a GPU
    python -m pytest tests/benchmarks/band_triton_checks.py                         on a GPU

A file of its own, since Triton decides when it is imported whether it interprets: other tests of the same process would be
interpreted, too.
"""

import math
import os

import pytest
import torch
from test_attention import inputs, often

from allatt.attention import reference
from allatt.benchmarks import band_triton
from allatt.benchmarks.band_triton import fast
from allatt.config import AllattError
from allatt.kernels import band

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NAMES = "out q k v r u w pk pv".split()


def near(*shape, persistent=True, seed=0):
    """Inputs in float64 whose numbers are those of float32, and the same in float32 on the device."""
    exact = [t.detach().float().double().requires_grad_() for t in inputs(*shape, persistent=persistent, seed=seed)]
    return exact, [t.detach().float().to(DEVICE).requires_grad_() for t in exact]


def off(a, b) -> float:
    """How far a is from b, relative to b's norm; or to 1, since gradients that should be 0 have rounding errors."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    assert a.shape == b.shape and a.isfinite().all()
    return ((a - b).norm() / b.norm().clamp(min=1)).item()


# Rows, heads, segment, memory, persistent vectors, d_head, and `filled`; tiles have 16 queries or keys.
SHAPES = [(2, 2, 37, 21, 9, 16, None), (2, 2, 37, 21, 9, 16, 0), (2, 3, 20, 50, 5, 32, 18), (1, 1, 32, 32, 4, 64, 16),
          (2, 1, 5, 3, 2, 16, 3), (2, 2, 19, 0, 3, 64, None), (2, 1, 1, 40, 6, 16, 7), (1, 1, 1, 0, 3, 64, None)]


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_every_gradient(shape, persistent):
    *sizes, filled = shape
    exact, single = near(*sizes, persistent=persistent)
    expected, got = reference(*exact, filled=filled), fast(*single, filled=filled)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    grads = torch.autograd.grad(expected, exact, grad.double())
    pairs = zip(NAMES, [got, *torch.autograd.grad(got, single, grad.to(DEVICE))], [expected, *grads], strict=False)
    errors = {name: off(a, b) for name, a, b in pairs}
    assert max(errors.values()) < 3e-5, errors


@pytest.mark.parametrize("layout", ["one number", "heads beside each other"])
def test_no_row_or_head_reads_another_ones_memory(layout):
    """Tensors as the model has them: views, with strides of their own, the gradient too."""
    exact, single = near(2, 3, 20, 18, 4, 16)
    grad = torch.ones(2, 3, 20, 16) if layout == "one number" else torch.randn(2, 3, 20, 16)
    expected = torch.autograd.grad(reference(*exact), exact, grad.double())
    grad = grad[:1, :1, :1, :1].expand_as(grad) if layout == "one number" else grad.transpose(1, 2).contiguous().transpose(1, 2)
    views = [t.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3) if i < 3 else t for i, t in enumerate(single)]
    views[2] = single[2].mT.contiguous().mT  # the numbers of a vector far apart
    assert not any(t.is_contiguous() for t in views[:3])
    for name, a, b in zip(NAMES[1:], torch.autograd.grad(fast(*views), single, grad.to(DEVICE)), expected, strict=True):
        assert off(a, b) < 1e-5, name


def test_columns_for_alignment_change_nothing(monkeypatch):
    """A GPU in half precision has some behind the last distance; here, float32 does."""
    monkeypatch.setattr(band_triton, "_aligned", lambda r: torch.nn.functional.pad(r, (0, 0, 0, 5)))
    exact, single = near(2, 2, 20, 18, 4, 16)
    got, expected = fast(*single, filled=3), reference(*exact, filled=3)
    grads = torch.autograd.grad(expected.square().sum(), exact)
    for name, a, b in zip(NAMES, [got, *torch.autograd.grad(got.square().sum(), single)], [expected, *grads], strict=True):
        assert off(a, b) < 1e-5, name


@pytest.mark.parametrize("tile", [16, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.skipif(
    DEVICE == "cpu", reason="Triton's interpreter multiplies no bfloat16 (its issue 11584)"))])
def test_half_precision(dtype, tile, monkeypatch):
    """As exact as `band.fast` in half precision is; on a CPU `fast` computes in float32, hence the kernel itself."""
    monkeypatch.setattr(band_triton, "TILE", tile)
    single = [t.detach().to(DEVICE, dtype).requires_grad_() for t in inputs(2, 2, 37, 45, 6, 16)]
    exact = [t.detach().double().cpu().requires_grad_() for t in single]
    got, expected = band_triton._TritonAttention.apply(*single, 30, 0.0), reference(*exact, filled=30)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    grads = torch.autograd.grad(expected, exact, grad.double())
    for name, a, b in zip(NAMES, [got, *torch.autograd.grad(got, single, grad.to(DEVICE))], [expected, *grads], strict=True):
        assert a.dtype == dtype and off(a, b) < (2e-2 if dtype == torch.bfloat16 else 3e-3), name


def test_large_scores_do_not_overflow():
    exact, single = near(1, 1, 20, 18, 3, 16)
    got, expected = fast(*(30 * t for t in single)), reference(*(30 * t for t in exact))
    assert off(got, expected) < 1e-3


def test_very_low_scores_count_as_much_as_others():
    """The running maximum starts below every score."""
    exact, single = ([tensors[0].detach().abs(), tensors[1].detach() - 100, *tensors[2:]]
                     for tensors in near(1, 1, 40, 37, 3, 16, persistent=False))
    assert off(fast(*single), reference(*exact)) < 1e-3


def with_seed(seed, tensors, **options):
    torch.manual_seed(seed)
    return fast(*tensors, **options)


def test_the_same_seed_gives_the_same_gradients_to_the_last_bit():
    _, single = near(1, 2, 37, 21, 9, 16)
    found = []
    for seed in (1, 1, 2):
        out = with_seed(seed, single, drop=0.3)
        found.append([out, *torch.autograd.grad(out.square().sum(), single)])
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True)), "the seed changes nothing"


@pytest.mark.parametrize("filled", [None, 9])
def test_both_passes_drop_the_same_weights(filled):
    """With the dropout fixed, the output is linear in (v, pv): <gradients, (v', pv')> = <output with (v', pv'), gradient>."""
    _, first = near(1, 2, 37, 21, 9, 16)
    draws = torch.Generator().manual_seed(2)
    second = [t.detach() for t in first]
    second[2], second[7] = (torch.randn(second[i].shape, generator=draws).to(DEVICE) for i in (2, 7))
    out = with_seed(1, first, drop=0.4, filled=filled)
    grad = torch.randn(out.shape, generator=draws).to(DEVICE)
    gradients = torch.autograd.grad(out, (first[2], first[7]), grad)
    left = (gradients[0] * second[2]).sum() + (gradients[1] * second[7]).sum()
    same, undropped = with_seed(1, second, drop=0.4, filled=filled), fast(*second, filled=filled)
    assert abs(left - (same * grad).sum()) < 1e-4 * (same * grad).norm()
    assert abs(left - (undropped * grad).sum()) > 1e-2 * (same * grad).norm(), "nothing was dropped"


def weights(drop, T=37, M=21):
    """The context's weights (B, H, T, S) as dropout leaves them, read by values that are the unit vectors of 16 keys each."""
    _, single = near(2, 2, T, M, 1, 16, persistent=False)
    parts = []
    for start in range(0, T + M, 16):
        values = torch.zeros_like(single[2])
        size = min(16, T + M - start)
        values[:, :, start:start + size, :size] = torch.eye(size, device=DEVICE)
        parts.append(with_seed(4, [*single[:2], values, *single[3:]], drop=drop).detach()[..., :size])
    return torch.cat(parts, -1).cpu()


def test_dropout_takes_its_share_and_scales_the_rest():
    whole, dropped = weights(0.0), weights(0.3)
    seen = whole > 0
    kept = dropped[seen] > 0
    assert seen.sum() == 2 * 2 * 37 * 22 and (dropped[~seen] == 0).all()
    assert torch.allclose(dropped[seen][kept], whole[seen][kept] / 0.7, rtol=1e-4)
    spread = math.sqrt(0.3 * 0.7 / kept.numel())
    assert abs(kept.float().mean() - 0.7) < 4 * spread
    masks = (dropped > 0).flatten(0, 1)
    assert not any(torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i]), "rows and heads share their dropout"
    band_BHTC = band._band((dropped > 0).double(), 22)
    pairs = (band_BHTC[..., 1:], band_BHTC[..., :-1]), (band_BHTC[..., 1:, :-1], band_BHTC[..., :-1, 1:])  # of a row, of a key
    for a, b in pairs:
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 5 / math.sqrt(a.numel())


@pytest.mark.parametrize("tile", [32, 64])
def test_tiles_change_no_dropout(tile, monkeypatch):
    single = [t.detach().to(DEVICE, torch.float16).requires_grad_() for t in inputs(1, 2, 37, 21, 4, 16)]
    found = []
    for size in (16, tile):
        monkeypatch.setattr(band_triton, "TILE", size)
        torch.manual_seed(5)
        out = band_triton._TritonAttention.apply(*single, None, 0.5)
        found.append([out, *torch.autograd.grad(out.float().sum(), single)])
    for name, a, b in zip(NAMES, *found, strict=True):
        assert off(a, b) < 1e-2, name


def test_gradients_with_dropout_by_finite_differences():
    """In float32, along one direction for all tensors at once."""
    _, single = near(1, 2, 18, 9, 4, 16)
    draws = torch.Generator().manual_seed(6)
    way = [torch.randn(t.shape, generator=draws).to(DEVICE) for t in single]
    probe = torch.randn(1, 2, 18, 16, generator=draws).double()

    def value(step):
        moved = [t.detach() + step * d for t, d in zip(single, way, strict=True)]
        return (with_seed(3, moved, drop=0.4).double().cpu() * probe).sum()

    gradients = torch.autograd.grad(with_seed(3, single, drop=0.4), single, probe.float().to(DEVICE))
    slope = sum((g * d).sum().item() for g, d in zip(gradients, way, strict=True))
    assert slope == pytest.approx(((value(2e-3) - value(-2e-3)) / 4e-3).item(), rel=5e-3)


def test_dropout_keeps_mean_and_spread():
    """The same as those of the reference, which drops weights by torch's own dropout."""
    _, single = near(1, 1, 3, 2, 4, 16)
    single = [t.detach() for t in single]
    torch.manual_seed(0)
    ours, theirs = (often(path, single, 240, drop=0.3).cpu() for path in (fast, reference))
    errors = (ours.mean(0) - fast(*single)[0].cpu()).abs() / (ours.std(0) / math.sqrt(240))
    assert errors.max() < 5 and errors.mean() < 1.3  # in standard errors; 0.8 is what a normal distribution gives
    assert (ours.var(0) / theirs.var(0)).log().mean().abs() < 0.25


@pytest.mark.parametrize("K, dtype", [(24, torch.float32), (128, torch.float32), (16, torch.float64)])
def test_what_it_does_not_compute_is_one_line(K, dtype):
    with pytest.raises(AllattError, match=r"^the Triton kernel takes d_head 16, 32 or 64 in .*; use allatt.kernels.band.fast$"):
        fast(*(t.to(DEVICE, dtype) for t in inputs(1, 1, 2, 2, 2, K)))
