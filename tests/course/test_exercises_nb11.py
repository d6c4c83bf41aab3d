"""Wrong answers to the exercises of notebook 11, each with its own hint."""

import json

import numpy as np
import pytest

from allatt.course import nb11
from allatt.course.exercise import NOT_YET, RIGHT
from allatt.system.paths import repository


@pytest.mark.parametrize(("wrong", "hint"), [((2, 0), "they disturb"), ((7, 5), "looks once"), ((10, 0), "0 to 9"),
                                           ((7, -1), "0 to 9")])
def test_how_many_below(wrong, hint):
    state, text = nb11.how_many_below.attempt(*wrong)
    assert state == NOT_YET and hint in text


def test_how_many_below_tells_what_the_figure_shows():
    state, text = nb11.how_many_below.attempt(6, 1)
    assert state == RIGHT and text.startswith("7 and 0 of 9"), "figures/overnight/README.md: seven below, two level; none late"


def slopes(outputs, targets):
    logits = outputs.sum(1)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.einsum("xv,xhv->xh", p - np.eye(p.shape[1])[targets], outputs)


def removed(outputs, targets):
    rest = outputs.sum(1, keepdims=True) - outputs
    nll = [np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, targets.reshape(-1, *[1] * (z.ndim - 1)), -1)[..., 0]
           for z in (rest, outputs.sum(1))]
    return np.abs(nll[0] - nll[1][:, None]).mean(0)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda outputs, targets: slopes(outputs, targets).mean(0), "Without absolute values"),
    (lambda outputs, targets: np.abs(slopes(outputs, targets).mean(0)), "must not cancel"),
    (lambda outputs, targets: np.abs(slopes(outputs, targets)).sum(0), "not the sum"),
    (lambda outputs, targets: (slopes(outputs, targets) ** 2).mean(0), "not squares"),
    (removed, "head is removed"), (lambda outputs, targets: np.abs(slopes(outputs, targets)), "one number per head"),
    (lambda outputs, targets: np.abs(slopes(outputs, [0] * len(targets)) * 0.5).mean(0), "and you have")])
def test_importance(wrong, hint):
    state, text = nb11.importance.attempt(wrong)
    assert state == NOT_YET and hint in text


def test_importance_without_the_target():
    outputs, targets = np.random.default_rng(1).normal(size=(3, 2, 4)), np.zeros(3, int)
    assert not np.allclose(nb11._without_target(outputs, targets), np.abs(slopes(outputs, targets)).mean(0))
    assert "one-hot" in nb11.importance.attempt(nb11._without_target).text


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda ours, blind, heads: sum(ours) * sum(blind) / (heads * len(ours)), "whole model"),
    (lambda ours, blind, heads: sum(map(min, ours, blind)), "the most they can share"),
    (lambda ours, blind, heads: sum(a * b for a, b in zip(ours, blind, strict=True)) / heads / sum(ours), "not a share"),
    (lambda ours, blind, heads: 17.25, "and you have 17.25")])
def test_in_common(wrong, hint):
    state, text = nb11.in_common.attempt(wrong)
    assert state == NOT_YET and hint in text


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda gates, start, late: (start - gates, late - gates), "only in its heads"),
    (lambda gates, start, late: (gates - late, gates - start), "Rival minus gates"),
    (lambda gates, start, late: (late - gates, start - late), "and you have")])
def test_two_questions(wrong, hint):
    state, text = nb11.two_questions.attempt(wrong)
    assert state == NOT_YET and hint in text


def test_the_numbers_are_those_of_the_committed_runs():
    rows = json.loads((repository() / "figures/overnight/11_rivals.json").read_text())["data"]["rows"]
    found = {budget: rows["gradient importance"][budget]["values"][0] for budget in ("start", "late")}
    assert all(abs(nb11.LOSSES[budget] - nb11.LOSSES["gates"] - value) < 0.001 for budget, value in found.items())
