"""Wrong answers to the exercises of notebook 12, each with its own hint."""

import math

import numpy as np
import pytest

from allatt.course import nb12
from allatt.course.exercise import NOT_YET


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda loss, tokens, characters: loss * tokens / characters, "in nats"),
    (lambda loss, tokens, characters: loss * tokens / characters * math.log(2), "divide by ln 2"),
    (lambda loss, tokens, characters: loss / math.log(2), "bits per token"),
    (lambda loss, tokens, characters: loss * characters / tokens / math.log(2), "divide by their number"),
    (lambda loss, tokens, characters: math.exp(loss) * tokens / characters, "do not add up"),
    (lambda loss, tokens, characters: 1.0, "and you have 1.000")])
def test_bits_per_character(wrong, hint):
    state, text = nb12.bits_per_character.attempt(wrong)
    assert state == NOT_YET and hint in text


def bigram(train, test, vocab, more=1, axis=1, turn=False):
    seen = np.full((vocab, vocab), float(more))
    np.add.at(seen, (train[1:], train[:-1]) if turn else (train[:-1], train[1:]), 1)
    share = seen / seen.sum(axis=axis, keepdims=True)
    return -np.log2(share[test[:-1], test[1:]])


def unigram(train, test, vocab):
    seen = np.bincount(train, minlength=vocab) + 1
    return -np.log2(seen / seen.sum())[test].mean()


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda train, test, vocab: bigram(train, test, vocab, more=0).mean() if vocab > 2 else bigram(train, test, 2).mean(),
     "never seen"),
    (lambda train, test, vocab: bigram(train, test, vocab).mean() * math.log(2), "base 2"),
    (lambda train, test, vocab: bigram(train, test, vocab).mean() * max(1, (vocab > 2) * (len(test) - 1)), "not their sum"),
    (lambda train, test, vocab: bigram(train, test, vocab).sum() / len(test), "first character is not predicted"),
    (unigram, "ignores the previous character"),
    (lambda train, test, vocab: bigram(train, test, vocab, axis=None).mean(), "not the whole table"),
    (lambda train, test, vocab: bigram(train, test, vocab, turn=True).mean(), "the one after it"),
    (lambda train, test, vocab: 1.5, "and you have 1.500")])
def test_bigram_bits(wrong, hint):
    state, text = nb12.bigram_bits.attempt(wrong)
    assert state == NOT_YET and hint in text
