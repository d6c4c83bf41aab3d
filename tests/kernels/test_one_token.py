"""A layer's attention for one token: the equations of the reference, in few operations."""

import pytest
import torch
from torch import nn

from allatt.attention import reference
from allatt.kernels.one_token import attend, prepare


def drawn(rows, heads, memory, width, persistent, model=8):
    """Hidden states of memory and token (B, M + 1, D), the LayerNorm, projections, and r, u, w, with pk and pv if any."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(model, eps=0.1, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    shapes = [(rows, memory + 1, model), *[(heads, width, model)] * 3, (heads, memory + 1, width),
              *[(heads, width)] * 2, *[(heads, persistent, width)] * (2 * bool(persistent))]
    x, *weights = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return x, norm, weights[:3], weights[3:]


@torch.no_grad()
@pytest.mark.parametrize("persistent", [0, 5])
@pytest.mark.parametrize("rows, heads, memory", [(1, 1, 0), (1, 3, 6), (4, 2, 6), (3, 1, 1)])
@pytest.mark.parametrize("filled", [0, 1, 6])
def test_it_is_the_reference_with_one_query(persistent, rows, heads, memory, filled):
    x, norm, projections, weights = drawn(rows, heads, memory, 4, persistent)
    filled = min(filled, memory)
    q, k, v = (torch.einsum("bsd,hkd->bhsk", norm(x), weight) for weight in projections)
    expected = reference(q[:, :, -1:], k, v, *weights, *[None] * (5 - len(weights)), filled)

    past = k[:, :, :-1].permute(2, 0, 1, 3), v[:, :, :-1].permute(2, 0, 1, 3)
    heads_B1HK, after = attend(x[:, -1:], *past, prepare(norm, *projections, *weights), filled)
    assert (heads_B1HK.transpose(1, 2) - expected).abs().max() < 1e-12
    for now, all_positions in zip(after, (k, v), strict=True):
        assert now.shape == past[0].shape
        assert torch.allclose(now, all_positions[:, :, 1:].permute(2, 0, 1, 3), atol=1e-12)
