"""Exercises of notebook 03: how far apart two models are, and in which unit."""

import math
import random

from allatt.course.answers import near, nothing
from allatt.course.exercise import exercise, expect

KINDS = ("all-attention", "transformer-xl")
RATES = (0.001, 0.002, 0.004)
OVERNIGHT = {"all-attention": {0.001: (4.057, 4.036), 0.002: (4.024, 4.002), 0.004: (4.079, 4.063)},
             "transformer-xl": {0.001: (3.922, 3.902), 0.002: (3.910, 3.890), 0.004: (3.966, 3.950)}}
"""Losses (validation, test) by learning rate: figures/overnight/README.md, seed 100, half of a baseline's steps."""


@exercise("3.1")
def word_perplexity(answer):
    """answer(loss, tokens, words): perplexity per word of a text, from the mean loss in nats per token."""
    for loss, tokens, words in ((3.675, 167_053, 99_898), (3.441, 128_602, 99_898), (2.0, 100, 100), (0.5, 300, 100)):
        found, right = answer(loss, tokens, words), math.exp(loss * tokens / words)
        if near(found, right):
            continue
        expect(not near(found, math.exp(loss)), "That is the perplexity per token, but a word has several tokens.")
        expect(not near(found, math.exp(loss) * tokens / words),
               "Nats add up over a word's tokens, so perplexities multiply: tokens per word are an exponent, not a factor.")
        expect(not near(found, math.exp(loss * words / tokens)), "The exponent is tokens per word, not words per token.")
        expect(not near(found, 2 ** (loss * tokens / words)), "The loss is in nats, not in bits: the base is e.")
        expect(not near(found, loss * tokens / words), "That is the loss in nats per word; its exponential is the perplexity.")
        expect(False, f"{loss} nats per token, {tokens:,} tokens and {words:,} words give {right:,.1f}.")
    return ("39.4 and 31.2 per token look similar; per word they are 467 and 84. They are from two Transformer-XL models of "
            "this project on one text, cut into 2,000 and 8,000 kinds of subwords.")


@exercise("3.2")
def gap_at(answer):
    """answer(ours, theirs, tokens): loss of ours minus loss of theirs after this many tokens; None outside of a curve."""
    ours, theirs = [(1, 6.0), (3, 4.0), (9, 3.4)], [(2, 5.0), (4, 3.8), (6, 3.5)]
    found = answer(ours, theirs, 5)
    expect(not near(found, 4.0 - 3.8), "That compares the second points of both, after 3 and after 4 million tokens.")
    expect(not near(found, 3.4 - 3.5), "That compares the ends of both curves, after 9 and after 6 million tokens.")
    expect(not any(near(found, a - b) for a in (4.0, 3.4) for b in (3.8, 3.5)), "Between two points, draw a straight line.")
    expect(near(found, 0.15), f"After 5 million tokens, ours has 3.8 and theirs 3.65; for the gap, you have {found:+.3f}.")
    expect(near(answer(ours, theirs, 4), 3.9 - 3.8), "After 4 million tokens, theirs has its own point, 3.8; ours is at 3.9.")
    for tokens, which in ((8, "theirs ends at 6"), (1.5, "theirs begins at 2"), (12, "both have ended")):
        outside = nothing(answer, ours, theirs, tokens) and nothing(answer, theirs, ours, tokens)  # whichever ends first
        expect(outside, f"After {tokens} million tokens, there is nothing to compare: {which}.")
    return "Compared point by point or at their ends, the same two curves would give 0.20 or -0.10 instead of 0.15."


@exercise("3.3")
def fair_gap(answer):
    """answer(losses): test loss of All-attention minus Transformer-XL, each at its own best learning rate."""
    draw = random.Random(0)
    tables = [{kind: {rate: (draw.uniform(3, 5), draw.uniform(3, 5)) for rate in RATES} for kind in KINDS} for _ in range(40)]
    for losses in (*tables, OVERNIGHT):
        best = [min(losses[kind], key=lambda rate, kind=kind: losses[kind][rate][0]) for kind in KINDS]
        right = losses[KINDS[0]][best[0]][1] - losses[KINDS[1]][best[1]][1]
        found = answer(losses)
        by_test = min(test for _, test in losses[KINDS[0]].values()) - min(test for _, test in losses[KINDS[1]].values())
        shared = [losses[KINDS[0]][rate][1] - losses[KINDS[1]][rate][1] for rate in losses[KINDS[0]]]
        valid = losses[KINDS[0]][best[0]][0] - losses[KINDS[1]][best[1]][0]
        if not near(found, right):
            expect(not near(found, -right), "Take All-attention minus Transformer-XL: positive if All-attention is worse.")
            expect(not near(found, by_test), "You chose by the test text, which must not take part in a choice.")
            expect(not near(found, valid), "Choose by validation loss, and then report the test loss of what you chose.")
            expect(not any(near(found, gap) for gap in shared), "You gave both the same rate; each has its own best one.")
            expect(False, f"{losses} gives {right:+.3f}, and you have {found:+.3f}.")
    return ("It is +0.112 at the overnight scale, where 0.002 is best for both. If both had 0.001, it would be 0.134: "
            "All-attention suffers more from too small a rate. A rate tuned for one model decides part of the comparison.")


@exercise("3.4")
def unigram_loss(answer):
    """answer(train_ids, test_ids, vocab): mean loss of predicting each token by its share of the training text."""
    draw = random.Random(1)
    texts = [([0, 0, 0, 2], [1, 1, 0], 4), ([0, 0, 1], [0, 1], 2)]
    texts += [([draw.randrange(5) for _ in range(30)], [draw.randrange(6) for _ in range(20)], 6) for _ in range(3)]
    for train, test, vocab in texts:
        def loss(seen=train, read=test, vocab=vocab):
            shares = [(seen.count(token) + 1) / (len(seen) + vocab) for token in range(vocab)]
            return -sum(math.log(shares[token]) for token in read) / len(read)

        found = float(answer(train, test, vocab))
        if near(found, loss()):
            continue
        expect(found < math.inf, "A token that the training text lacks must not have probability 0: add 1 to each count.")
        expect(not near(found, loss(seen=test)), "The counts are those of the training text; the test text is only predicted.")
        expect(not near(found, len(test) * loss()), "Take the mean over the test tokens, not their sum.")
        expect(not near(found, loss() / math.log(2)), "In nats, please: take the natural logarithm.")
        expect(not near(found, loss(read=range(vocab))), "Each token of the test text counts, as often as it occurs.")
        expect(False, f"From {train} to {test}, with a vocabulary of {vocab}: {loss():.3f}, and you have {found:.3f}.")
    return ("On the built-in excerpt this gives 5.45 nats per token, and 5.52 on its first 4,096, on which the smoke models "
            "have 5.6: they hardly know how frequent each token is. What a model gains below that line comes from the context.")
