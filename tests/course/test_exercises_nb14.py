"""Wrong answers to the exercises of notebook 14."""

import numpy as np
import pytest
import torch

from allatt.course import nb14
from allatt.course.exercise import NOT_YET


def hint(exercise, *answers):
    state, text = exercise.attempt(*answers)
    assert state == NOT_YET
    return text


@pytest.mark.parametrize("answer, part", [(0.914, "In percent"), (9, "How many persistent vectors"), (83, "N of N + M + 1")])
def test_scores_of_persistent_vectors(answer, part):
    assert part in hint(nb14.scores_of_persistent_vectors, answer)


def spread(band, S, step=1, dtype=torch.double, fill=0.0):
    out = torch.full((len(band), S), fill, dtype=dtype)
    for t, row in enumerate(band):
        start = t * step if step >= 0 else len(band) - 1 + t * step
        out[t, start:start + len(row)] = row
    return out


@pytest.mark.parametrize("wrong, part", [
    (lambda band, S: spread(band, S, step=0), "begin at the same key"),
    (lambda band, S: spread(band, S, fill=-1.0), "begin with zeros"),
    (lambda band, S: spread(band.flip(0), S).flip(0), "move to the left"), (lambda band, S: band, "the scores are 3 by 5"),
    (lambda band, S: spread(band, S, dtype=torch.float32), "have become torch.float32"),
    (lambda band, S: spread(band.mul_(2), S), "given has changed"),
    (lambda band, S: spread(band.flip(1), S), "look at your row 1"),
    (lambda band, S: spread(band, S) if len(band) == 3 else spread(2 * band, S), "For T = 5, M = 3")])
def test_spread(wrong, part):
    assert part in hint(nb14.spread, wrong)


def merged(outputs, normalizers, weights):
    return (weights[..., None] * torch.stack(outputs)).sum(0), torch.stack(normalizers).logsumexp(0)


@pytest.mark.parametrize("wrong, part", [
    (lambda o, E: (sum(o) / len(o), torch.stack(E).logsumexp(0)), "not all alike"),
    (lambda o, E: (sum(o), torch.stack(E).logsumexp(0)), "have to sum to 1"),
    (lambda o, E: merged(o, E, (w := torch.stack(E).exp()) / w.sum(0)), "exp(800) is infinite"),
    (lambda o, E: (merged(o, E, torch.stack(E).softmax(0))[0], sum(E)), "the joint normalizer is the log"),
    (lambda o, E: merged(o, E, torch.stack(E).sigmoid()), "not that of one softmax"),
    (lambda o, E: merged(o, E, torch.stack(E).softmax(0))[::-1], "an output (T, K)")])
def test_merge(wrong, part):
    assert part in hint(nb14.merge, wrong)


@pytest.mark.parametrize("wrong, part", [
    (lambda mine, exact: torch.equal(mine, exact.float()), "size 1, you reject a right kernel"),
    (lambda mine, exact: torch.allclose(mine.double(), exact), "size 1, you reject a right kernel"),
    (lambda mine, exact: torch.allclose(mine.double(), exact, rtol=1e-3, atol=0), "size 1, you reject a right kernel"),
    (lambda mine, exact: torch.allclose(mine.double(), exact, rtol=0, atol=1e-3), "size 0.0001, you accept a kernel"),
    (lambda mine, exact: (mine - exact).abs().max() < 1e-3 * exact.abs().max() and exact.abs().max() < 99, "10000, you reject"),
    (lambda mine, exact: (mine - exact).abs().max() < 3e-3 * exact.abs().max(), "size 1, you accept a kernel without"),
    (lambda mine, exact: np.abs((mine - exact).numpy()).max() < 3e-3 * exact.abs().max().item(), "size 1, you accept a kernel"),
    (lambda mine, exact: 7, "True or False")])
def test_same(wrong, part):
    assert part in hint(nb14.same, wrong)
