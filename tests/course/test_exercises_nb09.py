"""Wrong answers to the exercises of notebook 09."""

import pytest

from allatt.course import nb09
from allatt.course.exercise import NOT_YET


def hint(exercise, *answers):
    state, text = exercise.attempt(*answers)
    assert state == NOT_YET
    return text


@pytest.mark.parametrize("answers, part", [
    ((50, 50, 73), "By then the head has been computed"), ((60, 100, 73), "everything that is multiplied belongs to a head"),
    ((50, 100, 50), "feed-forward, which belongs to no head"), ((50, 100, 90), "of the other half"),
    ((0.5, 1, 0.73), "These are percent"), ((50, 200, 73), "These are percent")])
def test_multiply_adds_left(answers, part):
    assert part in hint(nb09.multiply_adds_left, *answers)


@pytest.mark.parametrize("wrong, part", [
    (lambda f, s: f + (1 - f) * (1 - s), "1 over it"), (lambda f, s: 1 / max(1 - s, 1e-3), "becomes of the share f"),
    (lambda f, s: 1 / (f + (1 - f) * s), "share that is gone"), (lambda f, s: 1 / ((1 - f) + f * (1 - s)), "*without* heads"),
    (lambda f, s: 1 / (f + (1 - f) * (1 - s)) + 0.1 * (s == 1), "With f = 0.5 and s = 1, it is 2 times")])
def test_times_as_fast(wrong, part):
    assert part in hint(nb09.times_as_fast, wrong)


def rows(config, heads=None, layers=None, more=1):
    heads = sum(config.heads_per_layer) if heads is None else heads
    d, k = config.d_model, config.d_head
    body = heads * (5 * d * k + 2 * config.persistent * k + 2 * k) + config.layers * 3 * d
    return body // ((layers or config.layers) * config.memory * d) + more


@pytest.mark.parametrize("wrong, part", [
    (lambda config: rows(config, layers=1), "Each layer remembers"), (lambda config: rows(config, more=0), "not yet more"),
    (lambda config: rows(config, heads=config.layers * config.heads), "With 3 heads per layer"),
    (lambda config: rows(config, more=2), "would already be enough")])
def test_rows_until_memory_outweighs(wrong, part):
    assert part in hint(nb09.rows_until_memory_outweighs, wrong)
