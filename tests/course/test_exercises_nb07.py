"""Wrong answers to the exercises of notebook 07, each with its own hint; and what they say of trained models."""

import json

import numpy as np
import pytest

from allatt.course import nb07
from allatt.course.exercise import NOT_YET, RIGHT
from allatt.system.paths import repository


@pytest.mark.parametrize(("wrong", "hint"), [
    (0.27, "In percent"), (-3, "a percentage"), (54, "feed-forward is left"), (0, "Unpruned"), (10, "a quarter of its own"),
    ("a third", "TypeError")])
def test_crossing(wrong, hint):
    state, text = nb07.crossing.attempt(wrong)
    assert state == NOT_YET and hint in text


@pytest.mark.parametrize("scale", ["gpu", "overnight-wiki2014-5seeds"])
def test_the_crossing_is_where_the_trained_models_have_it(scale):
    readings = json.loads((repository() / "figures" / scale / "07_gains.json").read_text())["data"]["readings"]["As they are"]
    below, above = ([percent for percent, group in readings.items() if all(sign * value > 0 for value in group["values"])]
                    for sign in (-1, 1))
    for percent in range(20, 39):
        assert nb07.crossing.attempt(percent).state == RIGHT
    assert max(int(one[:-1]) for one in below) >= 20 and min(int(one[:-1]) for one in above) <= 35


def needed(s, ours, theirs):
    return (theirs[0] - ours[1] - (1 - s) * (ours[0] - ours[1])) / (theirs[0] - theirs[1])


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda s, ours, theirs: s, "Equal sparsity"),
    (lambda s, ours, theirs: 1 - (ours[1] + (1 - s) * (ours[0] - ours[1])) / theirs[0], "only its heads can go"),
    (lambda s, ours, theirs: (ours[1] + (1 - s) * (ours[0] - ours[1])) / theirs[0], "not what is left"),
    (lambda s, ours, theirs: 2.6 * s, "; at 26.0%"),
    (lambda s, ours, theirs: needed(s, ours, theirs) if s <= 0.35 else None, "At 36%, ours is still larger"),
    (needed, "At 43%, ours is smaller"), (lambda s, ours, theirs: min(1, needed(s, ours, theirs)), "At 43%, ours is smaller")])
def test_sparsity_needed(wrong, hint):
    state, text = nb07.sparsity_needed.attempt(wrong)
    assert state == NOT_YET and hint in text


def unsorted(curve, size):
    return np.interp(size, *zip(*curve, strict=True))


def clamped(curve, size):
    return unsorted(sorted(curve), size)


def inside(curve, size):
    sizes = [x for x, _ in curve]
    return clamped(curve, size) if min(sizes) < size < max(sizes) else None


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda curve, size: min(curve, key=lambda p: abs(p[0] - size))[1], "nearest point"),
    (unsorted, "sort the points"), (clamped, "says nothing"), (lambda curve, size: 4.6, "you have 4.600"),
    (lambda curve, size: 4.7, "has"), (lambda curve, size: inside(curve, size) or 0.0, "first and last point")])
def test_loss_at(wrong, hint):
    state, text = nb07.loss_at.attempt(wrong)
    assert state == NOT_YET and hint in text


def readings(ours, theirs, start="control", absolute=1, own=1):
    rise = [model["pruned"] - model[start] for model in (theirs, ours)]
    return absolute * (theirs["pruned"] - ours["pruned"]), own * (rise[0] - rise[1])


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda ours, theirs: readings(ours, theirs, absolute=-1), "theirs minus ours"),
    (lambda ours, theirs: readings(ours, theirs, own=-1), "risen by more"),
    (lambda ours, theirs: readings(ours, theirs, "baseline"), "fewer steps"),
    (lambda ours, theirs: (theirs["pruned"] - ours["pruned"],) * 2, "its own control"),
    (lambda ours, theirs: (0.0, 0.0), "The absolute gain"),
    (lambda ours, theirs: (theirs["pruned"] - ours["pruned"], 0.0), "From their controls")])
def test_two_readings(wrong, hint):
    state, text = nb07.two_readings.attempt(wrong)
    assert state == NOT_YET and hint in text


def test_the_numbers_of_the_exercises_are_those_of_the_committed_runs():
    points = json.loads((repository() / "figures/overnight-wiki2014-5seeds/07_perplexity.json").read_text())["data"]["models"]
    for kind, losses in nb07.PAIR.items():
        control, *pruned = points[kind]["seeds"][0]
        assert round(control["test_loss"], 3) == losses["control"]
        assert losses["pruned"] in [round(point["test_loss"], 3) for point in pruned]
    theirs = {point["body_parameters"]: round(point["test_loss"], 3) for point in points["transformer-xl"]["seeds"][0]}
    assert (*nb07.LAST, nb07.WITHOUT_HEADS) == tuple((size, theirs[size]) for size, _ in (*nb07.LAST, nb07.WITHOUT_HEADS))
