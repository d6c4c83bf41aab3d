"""Exercises of notebook 00: the text."""

import math

from allatt.course.exercise import exercise, expect


def _close(found, right):
    try:
        return math.isclose(float(found), right, rel_tol=1e-6)
    except (TypeError, ValueError):
        return False


@exercise("0.1")
def lost_by_halving(answer):
    """answer: the percentage of a text that becomes unknown when the rarer half of 20,000 words goes; counts are 1 / rank."""
    counts = [1 / rank for rank in range(1, 20_001)]
    right = 100 * sum(counts[10_000:]) / sum(counts)
    expect(isinstance(answer, int | float) and 0 < answer <= 100, "The answer is a number in percent, up to 100.")
    expect(answer > 1 or answer == 1, "In percent, please: a number below 1 would be a fraction.")
    expect(answer < 45, f"{answer}% would become unknown if all words were equally frequent. But the rare half goes, and a few "
                        "frequent words make up most of a text.")
    expect(answer < 2 * right, "Less: the word of rank 15,000 occurs 15,000 times less often than the first.")
    expect(answer > right / 2, "More: each of these words is rare, but there are 10,000 of them.")
    return (f"It is {right:.1f}%: ln 2 divided by (ln 20,000 + 0.58). Each further halving costs as much again: a vocabulary "
            "has no natural end.")


@exercise("0.2")
def per_word(answer):
    """answer(per_token, tokens, words): perplexity per word from perplexity per token."""
    for ppl, tokens, words in ((50.0, 170, 100), (8.0, 1200, 200), (300.0, 90, 90)):
        right, found = ppl ** (tokens / words), answer(ppl, tokens, words)
        where = f"{ppl:.0f} per token, {tokens} tokens, {words} words"
        for wrong, hint in ((ppl * tokens / words, "nats add up over the tokens of a word, so perplexities multiply"),
                            (ppl * words / tokens, "a word is more than a token and harder to guess: more, not less"),
                            (ppl ** (words / tokens), "the exponent is upside down: a word has tokens / words tokens"),
                            (math.log(ppl) * tokens / words, "that is in nats per word; the perplexity is its exponential"),
                            (ppl, "that is the perplexity per token")):
            expect(not _close(found, wrong) or _close(found, right), f"{where}: {hint}.")
        expect(_close(found, right), f"{where}: it is {right:,.1f}; you have {found}. The text's nats are the same in both.")
    return "50 per subword is 773 per word at 1.7 subwords per word. Neither is better: they are one number in two units."


@exercise("0.3")
def bits_per_byte(answer):
    """answer(word_perplexity, words, text): bits per byte of a string, from its perplexity per word."""
    for ppl, text in ((20.0, "the cat sat on the mat"), (20.0, "Ἀχιλλεύς was a Greek hero"), (400.0, "naïve café – 5 €")):
        words = len(text.split())
        right, found = math.log2(ppl) * words / len(text.encode()), answer(ppl, words, text)
        nats, where = math.log(ppl) * words, f"A perplexity of {ppl:.0f} per word on {text!r}"
        for wrong, hint in (
                (math.log2(ppl) * words / len(text), "len(text) counts characters, and in UTF-8 some have several bytes"),
                (nats / len(text.encode()), "that is in nats per byte; a bit is ln 2 nats"),
                (nats / len(text), "that is in nats per character: a bit is ln 2 nats, and a letter can have several bytes"),
                (nats * math.log(2) / len(text.encode()), "divide the nats by ln 2, do not multiply: a bit is less than a nat"),
                (math.log2(ppl), "that is in bits per word"),
                (math.log2(ppl) * words, "that is the number of bits of the whole text"),
                (math.log2(ppl) / len(text.encode()), "that is one word's bits over all bytes, but there are several words"),
                (ppl * words / len(text.encode()), "a perplexity is not a number of bits: take its logarithm")):
            expect(not _close(found, wrong) or _close(found, right), f"{where}: {hint}.")
        expect(_close(found, right), f"{where}: it is {right:.3f}; you have {found}.")
    return ("The tokens have dropped out, so any two models can be compared on one text. But texts in two languages cannot be "
            "compared: a Greek letter has two bytes, so each byte is easier to guess.")
