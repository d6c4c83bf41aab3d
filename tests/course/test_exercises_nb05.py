"""Wrong answers to the exercises of notebook 05."""

import pytest
import torch

from allatt import prune
from allatt.course import nb05
from allatt.course.exercise import NOT_YET, RIGHT
from allatt.evaluate import nll


def hint(exercise, *answers):
    state, text = exercise.attempt(*answers)
    assert state == NOT_YET
    return text


@pytest.mark.parametrize("heads, layer, part", [
    (32, 4, "is between"), (8, 4, "is between"), (13, 4, "Fewer heads closed"), (29, 4, "More heads closed"),
    (22, 0, "Which of the layers 1 to 4"), (22, 1, "layer 1 keeps 8 of 8"), (22, 3, "layer 3 keeps 4 of 8")])
def test_heads_at_lambda(heads, layer, part):
    assert part in hint(nb05.heads_at_lambda, heads, layer)
    assert nb05.heads_at_lambda.attempt(20, 4.0).state == RIGHT, "to within 3"


def removed(weights, head, k, rows=None, skip=(), transposed=False, last=("u", "w", "M_k", "M_v")):
    """The solution, with a mistake: `skip` stays whole, `rows` are removed from the matrices, `transposed`: W_o loses rows."""
    heads = len(weights["u"])
    keep = torch.ones(heads * k, dtype=torch.bool)
    keep[slice(head * k, head * k + k) if rows is None else rows] = False
    others = [other for other in range(heads) if other != head]
    small = {}
    for name, tensor in weights.items():
        if name in skip or name == "b_o":
            small[name] = tensor
        elif name == "W_o":
            small[name] = tensor[:-k] if transposed else tensor[:, keep]
        elif name.startswith("W"):
            small[name] = tensor[keep]
        else:
            small[name] = tensor[others] if name in last else tensor[1:]
    return small


@pytest.mark.parametrize("wrong, part", [
    (lambda w, h, k: removed(w, h, k, skip=("W_o",)), "W_o still has all columns"),
    (lambda w, h, k: removed(w, h, k, transposed=True), "W_o still has all columns"),
    (lambda w, h, k: removed(w, h, k, skip=("W_r",)), "W_r is (12, 10); without a head, it is (9, 10)"),
    (lambda w, h, k: removed(w, h, k, skip=("M_v",)), "M_v is (4, 5, 3)"),
    (lambda w, h, k: removed(w, h, k, rows=slice(h, None, 4)), "W_q has lost the wrong rows"),
    (lambda w, h, k: removed(w, h, k) | {"b_o": w["b_o"] * 0}, "b_o belongs to the layer"),
    (lambda w, h, k: removed(w, h, k, last=("u", "w", "M_k")), "no longer match those of W_q"),
    (lambda w, h, k: w.update(removed(w, h, k)) or w, "given have changed"),
    (lambda w, h, k: {name: t for name, t in removed(w, h, k).items() if name != "u"}, "the same names")])
def test_remove_head(wrong, part):
    assert part in hint(nb05.remove_head, wrong)
    assert nb05.remove_head.attempt(removed).state == RIGHT


def folded(biases, empty, into):
    biases[into] = biases[into] + biases[empty]
    return biases[:empty] + biases[empty + 1:]


@pytest.mark.parametrize("wrong, part", [
    (lambda b, e: b[:e] + b[e + 1:], "still added its bias"), (lambda b, e: folded(b, e, e + 1), "too late"),
    (lambda b, e: folded(b, e, 0), "Layer 3 of 4 is gone, but"), (lambda b, e: b, "There were four layers"),
    (lambda b, e: [bias.sum() for bias in b[1:]], "the width of the model")])
def test_without_empty_layer(wrong, part):
    assert part in hint(nb05.without_empty_layer, wrong)


def loss(model, layer, ids, emptied=(), sums=False):
    kept = list(model.config.kept_heads)
    for place in {layer, *emptied}:
        kept[place] = ()
    total, predicted = nll(prune.remove(model, tuple(kept)), ids, 1)
    return total if sums else total / predicted


def whole(model, ids):
    total, predicted = nll(model, ids, 1)
    return total / predicted


@pytest.mark.parametrize("wrong, cheapest, part", [
    (lambda m, n, ids: loss(m, n, ids, sums=True), 3, "the sum over all tokens"),
    (lambda m, n, ids: whole(m, ids), 3, "still has heads"),
    (lambda m, n, ids: loss(m, n, ids) - whole(m, ids), 3, "This is the rise"),
    (lambda m, n, ids: loss(m, n, ids, emptied=(1,)), 3, "Are the other layers unchanged"),
    (lambda m, n, ids: loss(m, n - 1, ids), 3, "Are the other layers unchanged"),
    (loss, 4, "has the fewest heads"), (loss, 1, "Try all four"), (loss, 0, "Which of the layers")])
def test_loss_without(wrong, cheapest, part):
    assert part in hint(nb05.loss_without, wrong, cheapest)
    assert nb05.loss_without.attempt(loss, 3).state == RIGHT
