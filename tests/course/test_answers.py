"""What the checks ask of an answer."""

import math

import pytest

from allatt.course.answers import near, nothing
from allatt.course.exercise import NOT_TRIED, RIGHT, exercise, expect


def test_near_is_the_same_up_to_the_fourth_digit():
    assert near(1.0004, 1) and near(-200, -200.1) and near(0.0, 1e-9)
    assert not near(1.002, 1) and not near(0.2, -0.2) and not near(math.nan, 1)
    with pytest.raises(TypeError):
        near((1, 2), 1)


def test_no_answer_is_told_from_no_function(monkeypatch):
    monkeypatch.setattr("allatt.course.exercise.EXERCISES", {})

    @exercise("98.1")
    def root(answer):
        """answer(x): the square root, or None."""
        expect(answer(4) == 2, "of 4")
        expect(nothing(answer, -1), "of -1 there is none")
        return "Well done."

    assert root.attempt(lambda x: x**0.5 if x >= 0 else None).state == RIGHT
    assert root.attempt(lambda x: x**0.5 if x >= 0 else math.nan).state == RIGHT
    assert root.attempt(lambda x: abs(x) ** 0.5).text == "of -1 there is none"
    assert root.attempt(lambda x: None).state == NOT_TRIED
