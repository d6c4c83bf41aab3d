"""Exercises of notebook 08: which heads survive, and how much of that is chance."""

import math
from itertools import combinations

from allatt.course.exercise import exercise, expect
from allatt.course.trained import trained
from allatt.paper.experiments import PAPER_KEPT
from allatt.paper.stats import rank_correlation


@exercise("8.1")
def layer_with_fewest(papers, ours):
    """The layer that keeps the fewest heads: of 16 in the paper's model at lambda 0.02, and of 4 in our trained model."""
    lists = PAPER_KEPT[0.02], trained("all-attention-pruned")[0].config.heads_per_layer
    expect(1 <= papers <= 16 and 1 <= ours <= 4, "The paper's model has layers 1 to 16, ours 1 to 4.")
    for layer, kept, whose in zip((papers, ours), lists, ("the paper's", "our"), strict=True):
        expect(kept[layer - 1] == min(kept), f"In {whose} model, layer {layer} keeps {kept[layer - 1]} of 8 heads, but another "
                                             "keeps fewer. Look below.")
    return "Near the bottom in the paper's model, at the top in ours. So neither is a law of attention."


@exercise("8.2")
def at_least(answer):
    """answer(n, a, b, k): a of n heads are drawn blindly, then b of all n: how likely is it that k or more are in both?"""
    for n, a, b, k in ((6, 3, 2, 1), (7, 4, 3, 2), (8, 2, 5, 2), (6, 3, 3, 0), (5, 4, 4, 3)):
        first, draws = set(range(a)), list(combinations(range(n), b))
        shared = [len(first & set(draw)) for draw in draws]
        right, found = sum(count >= k for count in shared) / len(draws), answer(n, a, b, k)
        question = f"Of {n} heads, {a} and {b} are drawn, sharing {k} or more"
        expect(0 <= found <= 1 + 1e-9, f"{question}: {found:g} is not a probability.")
        if (n, a, b, k) == (6, 3, 2, 1):
            expect(abs(found - shared.count(k) / len(draws)) > 1e-9, "This is the probability of exactly k; take k *or more*.")
            expect(abs(found - sum(count > k for count in shared) / len(draws)) > 1e-9, "The case of k itself counts, too.")
            independent = sum(math.comb(b, j) * (a / n) ** j * (1 - a / n) ** (b - j) for j in range(k, b + 1))
            expect(abs(found - independent) > 1e-9, "No head is drawn twice, so the draws are not independent.")
        expect(abs(found - right) < 1e-9, f"{question}: it is {right:.4f} over all {len(draws)} draws; you have {found:.4f}.")
    return ("An overlap means little by itself: of many closed heads, many are shared by chance. Compare it with this "
            "probability, and draw within layers, too, since part of it is that both models close heads of the same layers.")


@exercise("8.3")
def spearman(answer):
    """answer(a, b): Spearman's rank correlation of two lists; tied values share the mean of their ranks."""
    cases = ([1, 5, 30, 31], [2, 4, 9, 8]), ([8, 3, 7, 6, 6, 6], [6, 4, 6, 5, 4, 5]), ([1, 2, 2, 5], [4, 4, 9, 1])
    for a, b in cases:
        right, found = rank_correlation(a, b), answer(list(a), list(b))
        is_right = abs(found - right) < 1e-9
        expect(is_right or abs(found - _pearson(a, b)) > 1e-9, "This is the correlation of the values, not of their ranks.")
        expect(is_right or abs(found - _pearson(_places(a), _places(b))) > 1e-9,
               f"{a} has equal values: they get the mean of the ranks that they cover, not one rank after another.")
        expect(is_right, f"For {a} and {b}, it is {right:.4f}, and you have {found:.4f}.")
    return "With ties, the shortcut 1 - 6 sum d^2 / (n^3 - n) is off; Pearson's correlation of mean ranks is not."


def _places(values):
    """Ranks without regard to ties."""
    order = sorted(range(len(values)), key=values.__getitem__)
    return [order.index(place) for place in range(len(values))]


def _pearson(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    x, y = [value - mean_a for value in a], [value - mean_b for value in b]
    return sum(p * q for p, q in zip(x, y, strict=True)) / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))
