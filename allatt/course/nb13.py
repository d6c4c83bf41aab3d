"""Exercises of notebook 13: the adaptive softmax."""

import math
import random

import numpy as np

from allatt import cost
from allatt.config import ModelConfig
from allatt.course.answers import near
from allatt.course.exercise import exercise, expect

PAPER = (20_000, 40_000, 200_000), 267_735


@exercise("13.1")
def probability(answer):
    """answer(w, head, tails, edges): probability of word w.

    head: logits of the shortlist, then one per other band; tails: logits of each other band's words; edges: where bands begin.
    """
    rng = np.random.default_rng(0)
    for edges in ((0, 2, 5), (0, 3, 5, 9)):
        sizes = np.diff(edges)
        head, tails = rng.normal(size=sizes[0] + len(sizes) - 1), [rng.normal(size=size) for size in sizes[1:]]
        weights = np.exp(head) / np.exp(head).sum()
        for w in range(edges[-1]):
            band = int(np.searchsorted(edges, w, side="right")) - 1
            found, name = float(answer(w, head, tails, edges)), f"Word {w} of band {band}, edges {edges}"
            if band == 0:
                expect(not near(found, math.exp(head[w]) / np.exp(head[:edges[1]]).sum()),
                       f"{name}: the shortlist shares its softmax with one row for each other band.")
                expect(near(found, weights[w]), f"{name}: {weights[w]:.4f}, and you have {found:.4f}.")
                continue
            tail = np.exp(tails[band - 1]) / np.exp(tails[band - 1]).sum()
            row, inside = edges[1] + band - 1, tail[w - edges[band]]
            expect(not near(found, inside), f"{name}: that is its share of the band; the band has to be chosen first.")
            expect(not near(found, weights[row]), f"{name}: that is the whole band; the word has a share of it.")
            expect(not near(found, weights[row] + inside), f"{name}: first the band, then the word, so probabilities multiply.")
            expect(not near(found, weights[row] * inside / tail.sum() * tail[0] / inside) or near(inside, tail[0]),
                   f"{name}: its place in the tail is w minus the edge where the band begins.")
            expect(near(found, weights[row] * inside), f"{name}: {weights[row]:.4f} times {inside:.4f}; you have {found:.4f}.")
    return "The words of a band share its one row in the head. All words together have probability 1, and most cost little."


@exercise("13.2")
def mean_cost(answer):
    """answer(shares, sizes, widths): mean multiply-adds per predicted word, from each band's share, words and width."""
    draw = random.Random(0)
    for cutoffs, vocab, d in ((*PAPER, 512), ((200, 1_000), 4_000, 32)):
        model = ModelConfig(d_model=d, cutoffs=cutoffs)
        sizes, widths = zip(*((end - start, width) for start, end, width in model.bands(vocab)), strict=True)
        counted = cost.count(model, vocab)["multiply_adds"]
        weights = [draw.random() for _ in sizes]
        shares = [weight / sum(weights) for weight in weights]
        found, head, tails = answer(shares, sizes, widths), counted["softmax_head"], counted["softmax_tail"]
        right = head + sum(share * tail for share, tail in zip(shares[1:], tails, strict=True))
        expect(not near(found, vocab * d), "That is one softmax over all words, which the bands are there to avoid.")
        expect(not near(found, head + sum(tails)), "A tail is computed only for its own words: weight it by its share.")
        expect(not near(found, shares[0] * head + right - head), "The head is computed for every word.")
        expect(not near(found, right - d * d), "The shortlist goes through Q first: d times d.")
        expect(not math.isclose(found, right - len(tails) * d, rel_tol=1e-9), "The head has a row for each other band, too.")
        projections = sum(share * d * width for share, width in zip(shares[1:], widths[1:], strict=True))
        expect(not math.isclose(found, right - projections, rel_tol=1e-9), "A tail begins with its projection, d to its width.")
        expect(math.isclose(found, right, rel_tol=1e-9),
               f"Sizes {sizes}, widths {widths} and shares {[round(share, 3) for share in shares]} give {right:,.0f}; you have "
               f"{found:,.0f}.")
    return ("At the paper's size, a word of the shortlist takes 10.5 million multiply-adds and another at most 15.6 million, "
            "instead of 137 million for one softmax. The body takes 59.8 million, so the words no longer outweigh it.")
