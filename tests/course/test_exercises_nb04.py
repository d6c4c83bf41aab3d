"""Wrong answers to the exercises of notebook 04, and the hint that each gets."""

import math

import pytest
import torch

from allatt.course import nb04
from allatt.course.exercise import NOT_YET, RIGHT


def hard(c, k):
    return torch.zeros_like(c).scatter(-1, c.topk(k).indices, 1)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda c, k: hard(c, k) + c, "neither 0 nor 1"),
    (lambda c, k: c, "neither 0 nor 1"),
    (lambda c, k: (c >= 0.5).to(c) + c - c.detach(), "exactly 3 open"),
    (lambda c, k: hard(-c, k) + c - c.detach(), "not those with the largest"),
    (lambda c, k: hard(c, k), "there is no gradient"),
    (lambda c, k: hard(c, k) * c / c.detach(), "never open again"),
    (lambda c, k: hard(c, k) + 2 * c - 2 * c.detach(), "which is 1"),
    (lambda c, k: hard(c, k).sum(-1), "of the shape of c"),
    (lambda c, k: hard(c, 3) + c - c.detach(), "with k = 5"),
])
def test_top_heads(wrong, hint):
    verdict = nb04.top_heads.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text


def sigma(x):
    return 1 / (1 + math.exp(-x))


def logit(z):
    return math.log(z / (1 - z))


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda a, tau, beta: sigma(a), "needs no beta"),
    (lambda a, tau, beta: 1 - sigma(a - beta * logit((tau + 0.1) / 1.2)), "at most tau"),
    (lambda a, tau, beta: sigma(a - beta * logit(tau)), "undo the stretch"),
    (lambda a, tau, beta: sigma(a + beta * logit((tau + 0.1) / 1.2)), "sign"),
    (lambda a, tau, beta: sigma(a - logit((tau + 0.1) / 1.2)), "beta times the logit"),
    (lambda a, tau, beta: 0.3, "yours says 0.300"),
])
def test_above(wrong, hint):
    verdict = nb04.above.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text


@pytest.mark.parametrize(("wrong", "hint"), [
    (0.66, "start at 2"), (0.4, "moves up"), (1.0, "naive"), (1.3, "kappa(0) is the number"), ("up", "a positive number"),
])
def test_half_open_border(wrong, hint):
    verdict = nb04.half_open_border.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text
    assert nb04.half_open_border.attempt(0.85).state == RIGHT, "as it is measured"


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda times: 1, "less now"), (lambda times: times, "must fall"), (lambda times: times ** -0.5, "its square"),
    (lambda times: 0.5, "With 4 times"), (lambda times: times ** -2.0, "before and after"),
])
def test_lambda_for_more(wrong, hint):
    verdict = nb04.lambda_for_more.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text
