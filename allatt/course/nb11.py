"""Exercises of notebook 11: what a control is compared with."""

import json
from itertools import combinations

import numpy as np

from allatt.course.answers import near
from allatt.course.exercise import exercise, expect
from allatt.paper.criteria import CRITERIA
from allatt.system.paths import repository

LEVEL = 0.001
"""A difference of this many nats per token counts as level with the gates."""
LOSSES = {"gates": 3.912, "start": 3.875, "late": 3.915}
"""Test losses of learned gates and of gradient importance with both budgets (figures/overnight/README.md, seed 0)."""


@exercise("11.1")
def how_many_below(start, late):
    """start, late: how many of the nine criteria end below the learned gates if heads are cut at the start, and if cut late."""
    rows = json.loads((repository() / "figures" / "overnight" / "11_rivals.json").read_text(encoding="utf-8"))["data"]["rows"]
    above = {budget: [np.mean(rows[name][budget]["values"]) for name in CRITERIA] for budget in ("start", "late")}
    right = {budget: sum(value < -LEVEL for value in values) for budget, values in above.items()}
    expect(all(0 <= number <= len(CRITERIA) for number in (start, late)), "Give two numbers from 0 to 9.")
    expect(late <= 2, "Cut late, all ways have the same weights and the same steps left; the gates had 2,400 steps to compare "
                      "heads, and a criterion looks once. Guess again, then look.")
    expect(start >= 5, "While gates choose, they disturb the training; the others have all steps for the heads that stay. "
                       "Guess again, then look.")
    return (f"{right['start']} and {right['late']} of {len(CRITERIA)}, in one seed: which way is better depends on the budget, "
            "and a blind draw can look like a good criterion.")


@exercise("11.2")
def importance(answer):
    """answer(outputs_XHV, targets_X): importance of each head (H) of a toy whose logits are the sum of its heads' outputs."""
    rng = np.random.default_rng(0)
    for texts, heads, vocab in ((1, 2, 3), (6, 4, 5)):
        outputs, targets = rng.normal(size=(texts, heads, vocab)), rng.integers(vocab, size=texts)
        slopes, removal = _slopes(outputs, targets), _removal(outputs, targets)
        found, right = np.asarray(answer(outputs, targets), float), np.abs(slopes).mean(0)
        expect(found.shape == (heads,), f"Return one number per head, {heads}; yours has the shape {found.shape}.")
        if np.allclose(found, right, atol=1e-5):
            continue
        expect(not np.allclose(found, slopes.mean(0), atol=1e-5),
               "Without absolute values, a head that helps one text and harms another seems to matter to neither.")
        expect(not np.allclose(found, np.abs(slopes.mean(0)), atol=1e-5),
               "Take the absolute value of each text's derivative, then the mean: signs of different texts must not cancel.")
        expect(not np.allclose(found, np.abs(slopes).sum(0), atol=1e-5), "Take the mean over texts, not the sum.")
        expect(not np.allclose(found, (slopes**2).mean(0), atol=1e-5), "Take absolute values, not squares.")
        expect(not np.allclose(found, np.abs(removal).mean(0), atol=1e-9),
               "That is the change when the head is removed: exact, but a pass per head. The derivative at 1 takes one pass "
               "for all.")
        expect(not np.allclose(found, _without_target(outputs, targets), atol=1e-5),
               "The derivative of -log softmax with respect to the logits is p minus the one-hot target.")
        expect(False, f"With X = {texts}, it is {np.round(right, 4).tolist()}, and you have {np.round(found, 4).tolist()}.")
    return "One gradient gives all heads at once: the slope at g = 1, while removal is the step from 1 to 0. Cheap, but rough."


@exercise("11.3")
def in_common(answer):
    """answer(ours, blind, heads): heads that a blind draw shares with ours on average; ours, blind: heads kept per layer."""
    for ours, blind, heads in (((8, 7, 4, 3), (8, 7, 4, 3), 8), ((3, 1), (2, 4), 5), ((0, 6), (3, 3), 6)):
        right = sum(np.mean([sum(head < a for head in draw) for draw in combinations(range(heads), b)])
                    for a, b in zip(ours, blind, strict=True))  # all draws of b heads, against the first a
        found = answer(ours, blind, heads)
        if near(found, right):
            continue
        expect(not near(found, sum(ours) * sum(blind) / (heads * len(ours))),
               "That is a draw from the whole model; here the draw has a given number of heads in each layer.")
        expect(not near(found, sum(map(min, ours, blind))), "That is the most they can share, not the mean.")
        expect(not near(found, right / sum(ours)), "Give the number of heads, not a share of them.")
        expect(False, f"{ours} and {blind} of {heads} heads per layer: {right:.2f}, and you have {found:.2f}.")
    return ("17.25 of 22, by chance: nearly four of five. A criterion that shares 18 with the gates has not shown that it "
            "sees what they see. This is why blind draws are the first control.")


@exercise("11.4")
def two_questions(answer):
    """answer(gates, start, late): (gain of the gates' choice, gain of gates as a method) over a rival with both budgets."""
    for losses in (LOSSES, {"gates": 4.0, "start": 4.2, "late": 4.5}, {"gates": 3.0, "start": 2.7, "late": 3.1}):
        choice, method = answer(losses["gates"], losses["start"], losses["late"])
        right = losses["late"] - losses["gates"], losses["start"] - losses["gates"]
        expect(not (near(choice, right[1]) and near(method, right[0])),
               "Cut late, a rival differs from the gates only in its heads: that is the choice (on weights "
               "that have trained with the gates' set, which favors that set). The other is the method.")
        expect(not (near(choice, -right[0]) and near(method, -right[1])), "Rival minus gates: positive if gates are better.")
        expect(near(choice, right[0]) and near(method, right[1]),
               f"{losses}: {right[0]:+.3f} and {right[1]:+.3f}, and you have {choice:+.3f} and {method:+.3f}.")
    return ("+0.003 and -0.037: in this seed gates choose about as well as the gradient (in five seeds better, by 0.018 on "
            "average, on weights that favor them), but for a small model at this scale, cut at once and train. A single budget "
            "would have shown one of the two, and hidden the other.")


def _loss(outputs, targets, gate):
    logits = np.einsum("h,xhv->xv", gate, outputs)
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(targets)), targets]


def _slopes(outputs, targets, step=1e-5):
    """Derivatives (X, H) at gates of 1, from finite differences."""
    ones = np.ones(outputs.shape[1])
    return np.stack([(_loss(outputs, targets, ones + step * one) - _loss(outputs, targets, ones - step * one)) / (2 * step)
                     for one in np.eye(len(ones))], 1)


def _removal(outputs, targets):
    ones = np.ones(outputs.shape[1])
    return np.stack([_loss(outputs, targets, ones - one) - _loss(outputs, targets, ones) for one in np.eye(len(ones))], 1)


def _without_target(outputs, targets):
    logits = outputs.sum(1)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.abs(np.einsum("xv,xhv->xh", p, outputs)).mean(0)
