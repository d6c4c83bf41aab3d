"""Both attention paths against the equations, written as loops over queries and keys."""

import math

import pytest
import torch

from allatt.attention import reference
from allatt.model import PATHS


def inputs(B, H, T, M, N, K, persistent=True, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype, requires_grad=True)

    found = [draw(B, H, T, K), draw(B, H, M + T, K), draw(B, H, M + T, K), draw(H, M + 1, K), draw(H, K), draw(H, K)]
    return found + ([draw(H, N, K), draw(H, N, K)] if persistent else [])


def by_loops(q, k, v, r, u, w, pk=None, pv=None, filled=None):
    """softmax over the visible keys of each query, one query at a time: the paper's equations without any tensor tricks."""
    B, H, T, K = q.shape
    M = k.shape[2] - T
    filled = M if filled is None else filled
    out = torch.zeros_like(q)
    for b in range(B):
        for h in range(H):
            for i in range(T):
                scores, values = [], []
                for j in range(M + T):
                    distance = M + i - j
                    if 0 <= distance <= M and j >= M - filled:
                        scores.append(((q[b, h, i] + u[h]) @ k[b, h, j] + (q[b, h, i] + w[h]) @ r[h, distance]) / math.sqrt(K))
                        values.append(v[b, h, j])
                for n in range(0 if pk is None else pk.shape[1]):
                    scores.append(q[b, h, i] @ (math.sqrt(K) * pk[h, n]) / math.sqrt(K))
                    values.append(math.sqrt(pv.shape[1]) * pv[h, n])
                out[b, h, i] = torch.stack(scores).softmax(0) @ torch.stack(values)
    return out


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("filled", [None, 0, 2])
def test_paths_are_the_equations(path, persistent, filled):
    tensors = inputs(2, 2, 5, 3, 4, 3, persistent)
    got = PATHS[path](*tensors, filled=filled)
    pad = [] if persistent else [None, None]
    assert (got - by_loops(*tensors, *pad, filled)).abs().max() < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_every_query_sees_itself_and_the_M_positions_before_it(path):
    B, H, T, M = 1, 1, 6, 4
    q, k, v, *rest = inputs(B, H, T, M, 3, 2)
    gradient = torch.stack([torch.autograd.grad(PATHS[path](q, k, v, *rest)[0, 0, i].sum(), v)[0][0, 0].abs().sum(-1)
                            for i in range(T)])
    seen = gradient > 0
    expected = torch.tensor([[i <= j <= i + M for j in range(M + T)] for i in range(T)])
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("path", PATHS)
def test_persistent_vectors_take_part_in_the_same_softmax(path):
    """With all scores equal, C context keys and N persistent keys share the weight: out = sum of values / (C + N)."""
    T, M, N, K = 3, 2, 5, 4
    zero = [torch.zeros(1, 1, T, K), torch.zeros(1, 1, M + T, K)]
    v, pv = torch.ones(1, 1, M + T, K), torch.full((1, N, K), 2.0)
    out = PATHS[path](*zero, v, torch.zeros(1, M + 1, K), torch.zeros(1, K), torch.zeros(1, K),
                                torch.zeros(1, N, K), pv)
    assert torch.allclose(out, torch.tensor((M + 1 + N * math.sqrt(N) * 2) / (M + 1 + N)))


def often(path, tensors, times, **options):
    """Outputs (times, H, T, K) of one row that is computed so often, each time with dropout of its own; in four calls."""
    rows = [t.expand(times // 4, -1, -1, -1) for t in tensors[:3]]
    return torch.cat([path(*rows, *tensors[3:], **options) for _ in range(4)])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("persistent", [True, False])
def test_attention_dropout_is_right_on_average(path, persistent):
    tensors = [t.detach() for t in inputs(1, 2, 3, 2, 4, 2, persistent)]
    torch.manual_seed(0)
    many = often(PATHS[path], tensors, 4000, drop=0.3)
    expected = PATHS[path](*tensors)[0]
    assert many.std(0).min() > 0.05
    assert ((many.mean(0) - expected).abs() < 5 * many.std(0) / math.sqrt(len(many))).all()


@pytest.mark.parametrize("persistent", [True, False])
def test_weights_are_those_that_make_the_output(persistent):
    """One row per query over S context positions, then N persistent vectors; each sums to 1, and masked positions have 0."""
    q, k, v, *rest = [t.detach() for t in inputs(2, 2, 5, 3, 4, 3, persistent)]
    out, weights = reference(q, k, v, *rest, *[None] * (5 - len(rest)), filled=2, return_weights=True)
    assert weights.shape == (2, 2, 5, 8 + 4 * persistent)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 5, dtype=torch.float64))
    assert (weights[..., 0, 4:8] == 0).all() and (weights[..., 0] == 0).all(), "later positions, and memory without text"
    read = weights[..., :8] @ v + (weights[..., 8:] @ (2 * rest[-1]) if persistent else 0)
    assert torch.allclose(out, read)
