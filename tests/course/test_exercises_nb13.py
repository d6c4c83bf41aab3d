"""Wrong answers to the exercises of notebook 13, each with its own hint."""

import numpy as np
import pytest

from allatt.course import nb13
from allatt.course.exercise import NOT_YET


def soft(logits):
    return np.exp(logits) / np.exp(logits).sum()


def parts(w, head, tails, edges):
    """The band's probability and the word's within it; for the shortlist, the word's and 1."""
    band = sum(w >= edge for edge in edges[1:-1])
    return (soft(head)[w], 1.0) if band == 0 else (soft(head)[edges[1] + band - 1], soft(tails[band - 1])[w - edges[band]])


def shortlist_alone(w, head, tails, edges):
    return soft(head[:edges[1]])[w] if w < edges[1] else np.prod(parts(w, head, tails, edges))


@pytest.mark.parametrize(("wrong", "hint"), [
    (shortlist_alone, "shares its softmax"),
    (lambda w, *rest: parts(w, *rest)[w >= rest[2][1]], "share of the band"),
    (lambda w, *rest: parts(w, *rest)[0], "the whole band"),
    (lambda w, *rest: sum(parts(w, *rest)) if w >= rest[2][1] else parts(w, *rest)[0], "probabilities multiply"),
    (lambda w, head, tails, edges: np.prod(parts(max(e for e in edges if e <= w) if w >= edges[1] else w, head, tails, edges)),
     "minus the edge"),
    (lambda w, head, tails, edges: 1 / edges[-1], "and you have 0.2000")])
def test_probability(wrong, hint):
    state, text = nb13.probability.attempt(wrong)
    assert state == NOT_YET and hint in text


def cost(q=1, rows=1, weigh=True, project=1, head_share=False):
    def mean(shares, sizes, widths):
        d, others = widths[0], len(sizes) - 1
        head = q * d * d + (sizes[0] + rows * others) * d
        tails = [project * d * width + width * size for size, width in zip(sizes[1:], widths[1:], strict=True)]
        weights = shares[1:] if weigh else [1] * others
        return (shares[0] if head_share else 1) * head + sum(share * tail for share, tail in zip(weights, tails, strict=True))

    return mean


@pytest.mark.parametrize(("wrong", "hint"), [
    (cost(q=0), "goes through Q"), (cost(rows=0), "a row for each other band"), (cost(weigh=False), "only for its own words"),
    (cost(project=0), "begins with its projection"), (cost(head_share=True), "for every word"),
    (lambda shares, sizes, widths: sum(sizes) * widths[0], "over all words"),
    (lambda shares, sizes, widths: 1.0, "you have 1")])
def test_mean_cost(wrong, hint):
    state, text = nb13.mean_cost.attempt(wrong)
    assert state == NOT_YET and hint in text
