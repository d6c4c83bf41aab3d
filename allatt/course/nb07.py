"""Exercises of notebook 07: curves at equal size, and what a control is for."""

import random

import numpy as np

from allatt import cost
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.course.answers import near, nothing
from allatt.course.exercise import exercise, expect
from allatt.paper import scales

PAIR = {"all-attention": {"baseline": 3.850, "control": 3.797, "pruned": 3.906},
        "transformer-xl": {"baseline": 3.732, "control": 3.675, "pruned": 3.878}}
"""Test losses at the overnight scale, seed 0; pruned: 588,000 and 581,000 parameters (figures/overnight/README.md)."""
LAST = (580_864, 3.878), (560_384, 3.942), (539_904, 4.124)
"""The last points of Transformer-XL's sweep there: parameters of the body, test loss, with 5, 3 and 1 heads."""
WITHOUT_HEADS = 529_664, 4.601
"""The same without any heads."""


@exercise("7.1")
def crossing(answer):
    """answer: percentage of All-attention's heads removed at which it gets ahead of a Transformer-XL of equal parameters."""
    expect(not 0 < answer < 1, "In percent, please: 25 is a quarter.")
    expect(0 <= answer <= 100, "The answer is a percentage.")
    expect(answer <= 38.5, "Past 38%, no Transformer-XL is that small: without any heads, its feed-forward is left.")
    expect(answer >= 5, "Unpruned, Transformer-XL is ahead in all our runs, and losing its first heads costs it next to "
                        "nothing.")
    expect(20 <= answer, "When a tenth of All-attention's heads are gone, Transformer-XL has lost a quarter of its own, which "
                         "hardly hurts. Where do its last heads begin to go?")
    return ("At 27% in one seed at the gpu scale, and at 32 to 34% in five at the overnight scale. According to the paper, "
            "All-attention is ahead everywhere.")


@exercise("7.2")
def sparsity_needed(answer):
    """answer(s, ours, theirs): the sparsity at which Transformer-XL is as small as All-attention at s; None if it cannot be.

    ours, theirs: (parameters of the body with all heads, without any).
    """
    for scale in ("paper", "laptop", "smoke"):
        ours, theirs = (_body(scale, kind) for kind in (ALL_ATTENTION, TRANSFORMER_XL))
        for s in (0.1, 0.25, 0.3, 0.36):
            expect(s < 0.3 or not nothing(answer, s, ours, theirs),
                   f"At {s:.0%}, ours is still larger than their feed-forward, so there is an answer.")
            found, size = answer(s, ours, theirs), ours[1] + (1 - s) * (ours[0] - ours[1])
            expect(not near(found, s), "Equal sparsity is not equal size: a Transformer-XL keeps its feed-forward.")
            expect(not near(found, 1 - size / theirs[0]), "That is a share of all its parameters, but only its heads can go.")
            expect(not near(found, size / theirs[0]), "The sparsity is what is removed, not what is left.")
            left = theirs[1] + (1 - found) * (theirs[0] - theirs[1])
            expect(abs(left - size) < 1, f"At the {scale} scale, ours has {size:,.0f} parameters at {s:.0%}; at {found:.1%}, "
                                         f"theirs has {left:,.0f}.")
        expect(nothing(answer, 0.43, ours, theirs), "At 43%, ours is smaller than their feed-forward: no sparsity leads there.")
    return ("10, 20, 30 and 35% of our heads match 26, 52, 78 and 91% of theirs. Past 38% nothing does, and the comparison at "
            "equal parameters ends.")


@exercise("7.3")
def loss_at(answer):
    """answer(curve, size): the loss at this size, on straight lines between points (size, loss); None outside."""
    draw, curve = random.Random(0), [(100, 5.0), (400, 4.0), (200, 4.4)]
    found = answer(curve, 150)
    expect(not near(found, 5.0) and not near(found, 4.4), "Do not take the nearest point, but the line between its neighbors.")
    expect(not near(found, np.interp(150, *zip(*curve, strict=True))) and not near(found, 5.0 - 50 / 300),
           "The runs are in no order of size: sort the points first.")
    expect(near(found, 4.7), f"Halfway between 100 and 200, the loss is halfway between 5.0 and 4.4; you have {found:.3f}.")
    for _ in range(20):
        points = sorted((draw.randint(1, 10**6), draw.uniform(3, 5)) for _ in range(6))
        size = draw.uniform(points[0][0], points[-1][0])
        right = np.interp(size, *zip(*points, strict=True))
        expect(near(answer(draw.sample(points, 6), size), right), f"{points} has {right:.3f} at {size:.0f}.")
    expect(near(answer(curve, 400), 4.0) and near(answer(curve, 100), 5.0), "A curve includes its own first and last point.")
    expect(nothing(answer, curve, 90) and nothing(answer, curve, 500), "Outside its points, a curve says nothing: return None.")
    (x1, y1), (x0, y0) = LAST[1:]
    line = y0 + (y1 - y0) * (WITHOUT_HEADS[0] - x0) / (x1 - x0)
    return (f"Going on would be wrong: a line through Transformer-XL with 3 heads and with 1 gives {line:.2f} without any, but "
            f"the loss is {WITHOUT_HEADS[1]:.2f}. The last head is worth more than any other.")


@exercise("7.4")
def two_readings(answer):
    """answer(ours, theirs): All-attention's gains (absolute, each from its own control), from losses by name."""
    draw = random.Random(1)
    pairs = [[{name: draw.uniform(3, 5) for name in ("baseline", "control", "pruned")} for _ in range(2)] for _ in range(5)]
    for ours, theirs in (*pairs, PAIR.values()):
        absolute, own = answer(ours, theirs)
        right = theirs["pruned"] - ours["pruned"]
        rises = {name: (theirs["pruned"] - theirs[name]) - (ours["pruned"] - ours[name]) for name in ("baseline", "control")}
        expect(not near(absolute, -right), "A gain is positive if All-attention's loss is lower: theirs minus ours.")
        expect(near(absolute, right), f"The absolute gain of {ours} over {theirs} is {right:+.3f}; you have {absolute:+.3f}.")
        expect(not near(own, rises["baseline"]), "Not the baseline: it had fewer steps, and more training alone lowers a loss.")
        expect(not near(own, -rises["control"]), "The gain is positive if Transformer-XL's loss has risen by more.")
        expect(not near(own, right), "Subtract from each loss that of its own control.")
        expect(near(own, rises["control"]), f"From their controls, {theirs} rose by {rises['control']:+.3f} more than {ours}.")
    return ("0.028 behind as it is, and yet 0.094 ahead from its control: pruning cost All-attention less. The difference is "
            "the 0.122 by which it was behind before any heads were removed.")


def _body(scale, kind):
    """Parameters with all heads, and without any."""
    counts = cost.count(scales.model(scale, kind))
    full = counts["parameters"]["body"]
    return full, full - counts["kept"] * counts["parameters"]["per_head"]
