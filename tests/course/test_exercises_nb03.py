"""Wrong answers to the exercises of notebook 03, each with its own hint."""

import math

import numpy as np
import pytest

from allatt.course import nb03
from allatt.course.exercise import NOT_YET


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda loss, tokens, words: math.exp(loss), "per token"),
    (lambda loss, tokens, words: math.exp(loss) * tokens / words, "not a factor"),
    (lambda loss, tokens, words: math.exp(loss * words / tokens), "not words per token"),
    (lambda loss, tokens, words: 2 ** (loss * tokens / words), "not in bits"),
    (lambda loss, tokens, words: loss * tokens / words, "its exponential"),
    (lambda loss, tokens, words: 1.0, "give 466.6")])
def test_word_perplexity(wrong, hint):
    state, text = nb03.word_perplexity.attempt(wrong)
    assert state == NOT_YET and hint in text


def at(curve, tokens):
    return np.interp(tokens, *zip(*curve, strict=True))


def before(curve, tokens):
    return [loss for seen, loss in curve if seen <= tokens][-1]


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda ours, theirs, tokens: ours[1][1] - theirs[1][1], "second points of both"),
    (lambda ours, theirs, tokens: ours[-1][1] - theirs[-1][1], "ends of both curves"),
    (lambda ours, theirs, tokens: before(ours, tokens) - theirs[-1][1], "straight line"),
    (lambda ours, theirs, tokens: at(theirs, tokens) - at(ours, tokens), "you have -0.150"),
    (lambda ours, theirs, tokens: 0.15, "After 4 million tokens"),
    (lambda ours, theirs, tokens: at(ours, tokens) - at(theirs, tokens), "After 8 million tokens, there is nothing to compare"),
    (lambda ours, theirs, tokens: at(ours, tokens) - at(theirs, tokens) if tokens <= 6 else None, "theirs begins at 2"),
    (lambda ours, theirs, tokens: at(ours, tokens) - at(theirs, tokens) if theirs[0][0] <= tokens <= theirs[-1][0] else None,
     "After 8 million tokens, there is nothing to compare")])
def test_gap_at(wrong, hint):
    state, text = nb03.gap_at.attempt(wrong)
    assert state == NOT_YET and hint in text


def gap(choose, report=1):
    """Of All-attention minus Transformer-XL; `choose` gives the rate for a kind."""
    return lambda losses: losses["all-attention"][choose(losses, "all-attention")][report] \
        - losses["transformer-xl"][choose(losses, "transformer-xl")][report]


def best(losses, kind, by=0):
    return min(losses[kind], key=lambda rate: losses[kind][rate][by])


@pytest.mark.parametrize(("wrong", "hint"), [
    (gap(lambda losses, kind: best(losses, kind, 1)), "must not take part"),
    (gap(best, 0), "then report the test loss"),
    (gap(lambda losses, kind: best(losses, "transformer-xl")), "the same rate"),
    (lambda losses: -gap(best)(losses), "positive if All-attention is worse"),
    (lambda losses: 0.112, "and you have +0.112")])
def test_fair_gap(wrong, hint):
    state, text = nb03.fair_gap.attempt(wrong)
    assert state == NOT_YET and hint in text


def shares(ids, vocab, more=1):
    return (np.bincount(ids, minlength=vocab) + more) / (len(ids) + more * vocab)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda train, test, vocab: -np.log(shares(train, vocab, 0))[test].mean(), "probability 0"),
    (lambda train, test, vocab: -np.log(shares(test, vocab))[test].mean(), "counts are those of the training text"),
    (lambda train, test, vocab: -np.log(shares(train, vocab))[test].sum(), "not their sum"),
    (lambda train, test, vocab: -np.log2(shares(train, vocab))[test].mean(), "natural logarithm"),
    (lambda train, test, vocab: -np.log(shares(train, vocab)).mean(), "Each token of the test text counts"),
    (lambda train, test, vocab: math.log(vocab), "you have 1.386")])
def test_unigram_loss(wrong, hint):
    state, text = nb03.unigram_loss.attempt(wrong)
    assert state == NOT_YET and hint in text
