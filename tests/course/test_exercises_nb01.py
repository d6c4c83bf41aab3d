"""Wrong answers to the exercises of notebook 01, each with its own hint."""

import pytest
import torch

from allatt.course import nb01
from allatt.course.exercise import NOT_YET, RIGHT


@pytest.mark.parametrize("answer, hint", [
    (0.57, "percent"), ("half", "percent"), (98, "alike"), (75, "Less: "), (40, "More: ")])
def test_guesses_of_the_share(answer, hint):
    verdict = nb01.share_of_the_sentence.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


def test_the_share_on_persistent_vectors_is_what_the_notebook_says():
    assert 54 < nb01.mean_share() < 60
    assert nb01.share_of_the_sentence.attempt(60).state == RIGHT


@pytest.mark.parametrize("answer, hint", [
    (lambda j, T, M: T, "only its own"), (lambda j, T, M: min(T, j + 1), "future"),
    (lambda j, T, M: T - max(0, j - M), "more than M"), (lambda j, T, M: min(T, j + 1, M, M + T - j), "you have"),
    (lambda j, T, M: sum(0 <= M + i - j < M for i in range(T)), "M + 1 places"),
    (lambda j, T, M: sum(0 < M + i - j <= M for i in range(T)), "sees itself"),
    (lambda j, T, M: sum(0 <= i - j + T <= M for i in range(M)), "you have"), (lambda j, T, M: M + 1, "Query i is at")])
def test_readers_of_a_place(answer, hint):
    verdict = nb01.readers.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


@pytest.mark.parametrize("answer, hint", [
    (lambda L, M, T: M, "one layer"), (lambda L, M, T: L * (M + 1), "no step back"), (lambda L, M, T: L * T, "cut"),
    (lambda L, M, T: L * (M + T), "cut"), (lambda L, M, T: L * M - 1, "you have")])
def test_the_reach(answer, hint):
    verdict = nb01.reach.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


def mix(share):
    def answer(s, t, y, z):
        pi = share(s, t)
        return (1 - pi) * y + pi * z

    return answer


def exact(s, t):
    return t.exp().sum(-1, keepdim=True) / (s.exp().sum(-1, keepdim=True) + t.exp().sum(-1, keepdim=True))


@pytest.mark.parametrize("answer, hint", [
    (mix(exact), "overflows"), (mix(lambda s, t: 1 - exact(s, t)), "swapped"), (mix(lambda s, t: 0.5), "not equal"),
    (lambda s, t, y, z: y + z, "not equal"), (mix(lambda s, t: t.shape[-1] / (s.shape[-1] + t.shape[-1])), "number of scores"),
    (mix(lambda s, t: exact(s, t).mean()), "share of its own"), (lambda s, t, y, z: y[0], "a tensor of"),
    (mix(lambda s, t: t.exp().mean(-1, keepdim=True) / (t.exp().mean(-1, keepdim=True) + s.exp().mean(-1, keepdim=True))),
     "not means"),
    (mix(lambda s, t: t.max(-1, keepdim=True).values.sigmoid()), "divided by the sum over everything"),
    (mix(lambda s, t: exact(s.clamp(max=100), t.clamp(max=100))), "must not change")])
def test_one_softmax_from_two(answer, hint):
    verdict = nb01.joined.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


def test_one_softmax_from_two_right():
    assert nb01.joined.attempt(
        mix(lambda s, t: torch.sigmoid(t.logsumexp(-1, keepdim=True) - s.logsumexp(-1, keepdim=True)))).state == RIGHT
