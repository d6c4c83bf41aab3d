"""Exercises of notebook 12: bits per character."""

import math
import random
from collections import Counter

from allatt.course.answers import near
from allatt.course.exercise import exercise, expect


@exercise("12.1")
def bits_per_character(answer):
    """answer(loss, tokens, characters): bits per character, from the mean loss in nats per token; a token may be a word."""
    for loss, tokens, characters in ((0.9, 1000, 1000), (4.6, 200, 1140), (2.0, 300, 1000)):
        found, right = answer(loss, tokens, characters), loss * tokens / characters / math.log(2)
        if near(found, right):
            continue
        expect(not near(found, loss * tokens / characters), "That is in nats; a bit is ln 2 nats.")
        expect(not near(found, loss * tokens / characters * math.log(2)), "A nat is more than a bit: divide by ln 2.")
        expect(not near(found, loss / math.log(2)), "That is in bits per token; its characters share them.")
        expect(not near(found, loss * characters / tokens / math.log(2)),
               "A token's bits are for all its characters: divide by their number.")
        expect(not near(found, math.exp(loss) * tokens / characters), "Perplexities do not add up over tokens: take the loss.")
        expect(False, f"{loss} nats, {tokens} tokens, {characters} characters: {right:.3f}, and you have {found:.3f}.")
    return ("So a model of words can be compared with one of characters: 4.6 nats are a perplexity of 100 per word, or, at 5.7 "
            "characters per word and its space, 1.16 bits per character. The text has to be the same, down to the last space.")


@exercise("12.2")
def bigram_bits(answer):
    """answer(train_ids, test_ids, vocab): bits per character when each is predicted from the one before it."""
    draw = random.Random(0)
    texts = [([0, 1, 0, 1], [0, 1], 2)]
    texts += [([draw.randrange(4) for _ in range(40)], [draw.randrange(5) for _ in range(15)], 5) for _ in range(3)]
    for train, test, vocab in texts:
        pairs, starts, singles = Counter(zip(train, train[1:], strict=False)), Counter(train[:-1]), Counter(train)

        def bits(more=1, pairs=pairs, starts=starts, test=test, vocab=vocab):
            chances = [(pairs[pair] + more) / (starts[pair[0]] + more * vocab) for pair in zip(test, test[1:], strict=False)]
            return -sum(map(math.log2, chances)) / len(chances)

        found, n = float(answer(train, test, vocab)), len(test) - 1
        if near(found, bits()):
            continue
        alone = [(singles[one] + 1) / (len(train) + vocab) for one in test]
        whole = [(pairs[pair] + 1) / (len(train) - 1 + vocab**2) for pair in zip(test, test[1:], strict=False)]
        turned = Counter((after, before) for before, after in pairs.elements())
        expect(math.isfinite(found), "A pair that was never seen must not have probability 0: add 1 to each count.")
        expect(not near(found, bits() * math.log(2)), "In bits, please: take the logarithm to base 2.")
        expect(not near(found, bits() * n), "Take the mean over the characters that are predicted, not their sum.")
        expect(not near(found, bits() * n / len(test)), "The first character is not predicted: divide by one fewer.")
        expect(not near(found, -sum(map(math.log2, alone)) / len(test)), "That ignores the previous character.")
        expect(not near(found, -sum(map(math.log2, whole)) / n),
               "Divide by how often the first of the pair occurs: its row has to sum to 1, not the whole table.")
        expect(not near(found, bits(pairs=turned, starts=Counter(train[1:]))), "You predict a character from the one after it.")
        expect(False, f"From {train} to {test}: {bits():.3f}, and you have {found:.3f}.")
    return ("On the built-in excerpt this gives 3.42 bits, and single letters 4.11. The smoke All-attention, at 3.58, has not "
            "gotten as far as pairs. What a model gains below that line comes from a longer context: words, and what follows "
            "them.")
