"""Wrong answers to the exercises of notebook 08."""

import math

import pytest

from allatt.course import nb08
from allatt.course.exercise import NOT_YET, RIGHT


def hint(exercise, *answers):
    state, text = exercise.attempt(*answers)
    assert state == NOT_YET
    return text


@pytest.mark.parametrize("answers, part", [
    ((0, 4), "layers 1 to 16"), ((2, 5), "ours 1 to 4"), ((16, 4), "the paper's model, layer 16"),
    ((2, 2), "our model, layer 2")])
def test_layer_with_fewest(answers, part):
    assert part in hint(nb08.layer_with_fewest, *answers)
    assert nb08.layer_with_fewest.attempt(2, 4).state == RIGHT


def exactly(n, a, b, k):
    return math.comb(a, k) * math.comb(n - a, b - k) / math.comb(n, b) if 0 <= b - k else 0.0


def at_least(n, a, b, k):
    return sum(exactly(n, a, b, j) for j in range(k, b + 1))


@pytest.mark.parametrize("wrong, part", [
    (exactly, "exactly k"), (lambda n, a, b, k: at_least(n, a, b, k + 1), "k itself counts"),
    (lambda n, a, b, k: sum(math.comb(b, j) * (a / n) ** j * (1 - a / n) ** (b - j) for j in range(k, b + 1)),
     "not independent"),
    (lambda n, a, b, k: a * b / n + k, "is not a probability"),
    (lambda n, a, b, k: a * b / n / min(a, b), "over all 15 draws"),
    (lambda n, a, b, k: at_least(n, b, b, k) if n == 7 else at_least(n, a, b, k), "Of 7 heads, 4 and 3")])
def test_at_least(wrong, part):
    assert part in hint(nb08.at_least, wrong)


def of_ranks(a, b, low, high):
    ranks = [[low * sum(x < value for x in values) + high * sum(x <= value for x in values) for value in values]
             for values in (a, b)]
    return nb08._pearson(*ranks)


@pytest.mark.parametrize("wrong, part", [
    (nb08._pearson, "not of their ranks"),
    (lambda a, b: nb08._pearson(nb08._places(a), nb08._places(b)), "has equal values"),
    (lambda a, b: of_ranks(a, b, 1, 0), "and you have"),
    (lambda a, b: -of_ranks(a, b, 1, 1), "it is 0.8000, and you have -0.8000")])
def test_spearman(wrong, part):
    assert part in hint(nb08.spearman, wrong)
    assert nb08.spearman.attempt(lambda a, b: of_ranks(a, b, 1, 1)).state == RIGHT
