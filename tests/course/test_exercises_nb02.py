"""Wrong answers to the exercises of notebook 02, each with its own hint."""

from dataclasses import replace

import pytest

from allatt.course import nb02
from allatt.course.exercise import NOT_YET, RIGHT


@pytest.mark.parametrize(("wrong", "hint"), [
    ((0.5, 0.8), "In percent"), ((70, 80), "belongs to no head"), ((50, 50), "feed-forward"), ((50, 61), "without any head"),
    ((50, 70), "half of these go"), (50, "TypeError")])
def test_half_of_the_heads(wrong, hint):
    state, text = nb02.half_of_the_heads.attempt(wrong)
    assert state == NOT_YET and hint in text


def window(factor=3, projections=4, persistent=2, own=1):
    def share(m):
        looks, rest = factor * (m.memory + m.segment), projections * m.d_model + persistent * m.persistent
        return looks / (own * looks + rest)

    return share


@pytest.mark.parametrize(("wrong", "hint"), [
    (window(own=0), "share of the whole"), (window(projections=5), "four projections"), (window(factor=2), "three times"),
    (window(persistent=0), "persistent vectors"), (window(persistent=1), "multiply-adds"),
    (lambda m: 0.1579, "3648"), (window(factor=3.1), "73,728 of 466,944")])
def test_window_share(wrong, hint):
    state, text = nb02.window_share.attempt(wrong)
    assert state == NOT_YET and hint in text


def most_heads(beside=3, biases=2, vectors=True):
    """An answer in closed form: what a layer has beside its heads, per unit of width, and each head's biases."""
    def answer(ours, theirs):
        head = (5 * ours.d_model + 2 * ours.persistent + biases) * ours.d_head
        floor = nb02._body(replace(theirs, kept=((),) * theirs.layers))
        if not vectors:
            floor = theirs.layers * 2 * theirs.d_model * theirs.feed_forward
        return max(n for n in range(ours.layers * ours.heads + 1) if n * head + beside * ours.layers * ours.d_model < floor)
    return answer


def test_heads_below_the_floor():
    for wrong in (lambda ours, theirs: 79, lambda ours, theirs: 77, lambda ours, theirs: 78,  # right at the paper's size alone
                  lambda ours, theirs: 78.0 * ours.d_model, lambda ours, theirs: "many"):
        assert nb02.heads_below_the_floor.attempt(wrong).state == NOT_YET
    for forgetful in (most_heads(beside=0), most_heads(beside=0, biases=0, vectors=False)):  # the latter: matrices alone
        assert nb02.heads_below_the_floor.attempt(forgetful).state == NOT_YET
    assert nb02.heads_below_the_floor.attempt(most_heads()).state == RIGHT
    assert "no longer smaller" in nb02.heads_below_the_floor.attempt(lambda ours, theirs: 79).text


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda q: 2.5 * q / (1 - q), "The smaller the feed-forward"), (lambda q: 5 * (1 / q - 1), "two matrices"),
    (lambda q: 2 * (1 / q - 1), "five projections"), (lambda q: 4.0, "not 50.0%"), (lambda q: -q, "you have -"),
    (lambda q: 2.5 * (1 - q), "not 38.5%")])
def test_feed_forward_for_share(wrong, hint):
    state, text = nb02.feed_forward_for_share.attempt(wrong)
    assert state == NOT_YET and hint in text
