"""Attention for one query: the equations of the reference, in few operations."""

import pytest
import torch

from allatt.attention import reference
from allatt.single import prepare, single


def drawn(rows, heads, memory, width, persistent):
    """q, k, v, then r, u, w and the persistent vectors, if any."""
    torch.manual_seed(0)
    shapes = [(rows, heads, 1, width), *[(rows, heads, memory + 1, width)] * 2, (heads, memory + 1, width),
              *[(heads, width)] * 2, *[(heads, persistent, width)] * (2 * bool(persistent))]
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("persistent", [0, 5])
@pytest.mark.parametrize("rows, heads, memory", [(1, 1, 0), (1, 3, 6), (4, 2, 6), (3, 1, 1)])
@pytest.mark.parametrize("filled", [None, 0, 1, 6])
def test_single_is_the_reference_with_one_query(persistent, rows, heads, memory, filled):
    q, k, v, *weights = drawn(rows, heads, memory, 4, persistent)
    filled = filled if filled is None else min(filled, memory)
    expected = reference(q, k, v, *weights, *[None] * (5 - len(weights)), filled)
    assert (single(q, k, v, *prepare(*weights), filled) - expected).abs().max() < 1e-12
