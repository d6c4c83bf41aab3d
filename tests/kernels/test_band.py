"""The fast attention against the reference: values, every gradient, half precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attention import inputs

from allatt.attention import reference
from allatt.kernels import band
from allatt.kernels.band import fast

SHAPES = st.fixed_dictionaries({"B": st.integers(1, 3), "H": st.integers(1, 3), "T": st.integers(1, 7),
                                "M": st.integers(0, 7), "N": st.integers(1, 9), "K": st.sampled_from([1, 3, 8])})


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, persistent=st.booleans(), seed=st.integers(0, 99), data=st.data())
def test_fast_equals_reference_in_value_and_every_gradient(shape, persistent, seed, data):
    filled = data.draw(st.one_of(st.none(), st.integers(0, shape["M"])))
    tensors = inputs(**shape, persistent=persistent, seed=seed)
    expected, got = reference(*tensors, filled=filled), fast(*tensors, filled=filled)
    grad = torch.randn_like(expected)
    pairs = zip([expected, *torch.autograd.grad(expected, tensors, grad)], [got, *torch.autograd.grad(got, tensors, grad)],
                strict=True)
    for name, (a, b) in zip("out q k v r u w pk pv".split(), pairs, strict=False):
        assert (a - b).abs().max() < 1e-10, name


def test_gradient_of_the_split_softmax_by_finite_differences():
    tensors = inputs(1, 2, 3, 2, 4, 2)
    assert torch.autograd.gradcheck(lambda *t: fast(*t, filled=1), tensors)


@pytest.mark.parametrize("persistent", [True, False])
def test_fast_path_under_bf16_autocast(persistent):
    tensors = inputs(2, 2, 5, 4, 6, 8, persistent, dtype=torch.float32)
    exact = reference(*tensors)
    with torch.autocast("cpu", torch.bfloat16):
        half = [t.bfloat16() if i < 4 else t for i, t in enumerate(tensors)]
        out = fast(*half)
    torch.autograd.grad(out.float().sum(), tensors)
    assert (out - exact).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_comes_out_has_the_precision_of_what_goes_in(dtype):
    """A CPU computes halves in single precision; the next product needs them as they were."""
    assert fast(*inputs(2, 2, 5, 4, 6, 8, dtype=dtype)).dtype == dtype


def test_large_scores_do_not_overflow():
    tensors = [t.detach() * 300 for t in inputs(1, 1, 4, 2, 3, 2)]
    assert (fast(*tensors) - reference(*tensors)).abs().max() < 1e-9


def test_gradients_are_exact_where_autocast_is_on_in_the_backward_pass_too():
    tensors = inputs(2, 2, 5, 3, 4, 8, dtype=torch.float32)
    expected = torch.autograd.grad(reference(*tensors).sum(), tensors)
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.autograd.grad(fast(*tensors).sum(), tensors)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max().clamp(min=1)


def test_aligned_distances_change_nothing(monkeypatch):
    """A GPU gets zeros behind the last distance (tests/test_gpu.py); here, the CPU does."""
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 6, 4), (2, 3, 11, 4), (2, 3, 11, 4), (3, 6, 4), (3, 4), (3, 4), (3, 7, 4), (3, 7, 4)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    found = []
    for width in (6, 8, 16):
        monkeypatch.setattr(band, "_aligned", lambda r, width=width: torch.nn.functional.pad(r, (0, 0, 0, width - 6)))
        out = band.fast(*tensors, filled=3)
        found.append([out, *torch.autograd.grad(out.square().sum(), tensors)])
    for padded in found[1:]:
        for a, b in zip(padded, found[0], strict=True):
            assert a.shape == b.shape and (a - b).abs().max() < 1e-12
