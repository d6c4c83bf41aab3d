"""Wrong answers to the exercises of notebook 06, and the hint that each gets."""

import pytest

from allatt.course import nb06
from allatt.course.exercise import NOT_YET


@pytest.mark.parametrize(("wrong", "hint"), [
    ("warm-up", "-0.002"), ("scaling", "-0.010"), ("gates", "Choose one of"), (3, "Choose one of"),
])
def test_matters_most(wrong, hint):
    verdict = nb06.matters_most.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text


def right(k, H, rho):
    return (H * (1 + (H - 1) * rho) / (k * (1 + (k - 1) * rho))) ** 0.5


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda k, H, rho: H / k, "keeps the mean"),
    (lambda k, H, rho: (H / k) ** 0.5, "right angles"),
    (lambda k, H, rho: 1 / right(k, H, rho), "above 1"),
    (lambda k, H, rho: right(k, H, rho) ** 2, "root"),
    (lambda k, H, rho: rho * H / k + (1 - rho) * (H / k) ** 0.5, "k (k - 1)"),
])
def test_norm_factor(wrong, hint):
    verdict = nb06.norm_factor.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text


def at(heads, curve):
    low = max((q for q in curve if q.heads <= heads), key=lambda q: q.heads)
    high = min((q for q in curve if q.heads >= heads), key=lambda q: q.heads)
    share = (heads - low.heads) / (high.heads - low.heads) if high.heads > low.heads else 0
    return low.test_loss + share * (high.test_loss - low.test_loss)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda p, whole, curve: (p.test_loss - at(p.heads, curve), at(p.heads, curve) - whole.test_loss), "swapped"),
    (lambda p, whole, curve: (whole.test_loss - at(p.heads, curve), p.test_loss - at(p.heads, curve)), "wrong sign"),
    (lambda p, whole, curve: (at(p.heads, curve) - whole.test_loss, p.test_loss - whole.test_loss), "add up to"),
    (lambda p, whole, curve: (0, p.test_loss - whole.test_loss), "read the curve at this model's heads"),
    (lambda p, whole, curve: at(p.heads, curve), "two numbers"),
])
def test_split(wrong, hint):
    verdict = nb06.split.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda W, T: 1 - W / T, "half as strong"),
    (lambda W, T: 1 - W / (2 * T), "not 0"),
    (lambda W, T: (W - 1) / (2 * T), "missing"),
    (lambda W, T: 0.5, "Add (t + 1) / W"),
])
def test_share_of_the_pull(wrong, hint):
    verdict = nb06.share_of_the_pull.attempt(wrong)
    assert verdict.state == NOT_YET and hint in verdict.text
