"""Wrong answers to the exercises of notebook 00, each with its own hint."""

import math

import numpy as np
import pytest
import torch

from allatt.course import nb00
from allatt.course.exercise import NOT_YET, RIGHT


@pytest.mark.parametrize("answer, hint", [
    (50, "equally frequent"), (0.066, "fraction"), (20, "Less: "), (2, "More: "), ("some", "a number"), (0, "a number")])
def test_guesses_of_what_halving_costs(answer, hint):
    verdict = nb00.lost_by_halving.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


def test_the_share_that_halving_costs_has_a_closed_form():
    found = 100 * math.log(2) / (math.log(20_000) + 0.5772)
    verdict = nb00.lost_by_halving.attempt(found)
    assert verdict.state == RIGHT and f"It is {found:.1f}%" in verdict.text


@pytest.mark.parametrize("answer, hint", [
    (lambda p, t, w: p * t / w, "multiply"), (lambda p, t, w: p * w / t, "more, not less"), (lambda p, t, w: p, "per token"),
    (lambda p, t, w: p ** (w / t), "upside down"), (lambda p, t, w: math.log(p) * t / w, "exponential"),
    (lambda p, t, w: p + t, "the same in both"), (lambda p, t, w: "many", "you have many")])
def test_per_word(answer, hint):
    verdict = nb00.per_word.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text


@pytest.mark.parametrize("kind", [float, np.float32, torch.tensor])
def test_a_number_may_be_of_any_library(kind):
    assert nb00.per_word.attempt(lambda p, t, w: kind(p ** (t / w))).state == RIGHT


@pytest.mark.parametrize("answer, hint", [
    (lambda p, w, s: math.log2(p) * w / len(s), "characters"), (lambda p, w, s: math.log(p) * w / len(s.encode()), "ln 2 nats"),
    (lambda p, w, s: math.log2(p), "bits per word"), (lambda p, w, s: math.log2(p) / len(s.encode()), "one word's"),
    (lambda p, w, s: p * w / len(s.encode()), "logarithm"), (lambda p, w, s: math.log2(p) * w, "whole text"),
    (lambda p, w, s: math.log(p) * math.log(2) * w / len(s.encode()), "do not multiply"), (lambda p, w, s: 3.0, "you have")])
def test_bits_per_byte(answer, hint):
    verdict = nb00.bits_per_byte.attempt(answer)
    assert verdict.state == NOT_YET and hint in verdict.text
