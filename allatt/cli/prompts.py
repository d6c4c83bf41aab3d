"""Prompts as people type them, and generated text as they read it."""

import unicodedata
from collections.abc import Iterator, Sequence

import torch

from allatt.config import AllattError, check
from allatt.data.tokenizers import UNKNOWN, Characters, Vocabulary
from allatt.data.wikitext_format import tokenize
from allatt.generate import generate, noise, stream, verify
from allatt.model import LanguageModel

LARGE = 1e6
"""Size that no weight reaches in training: with larger weights, numbers overflow in the forward pass (our choice)."""


def encode(vocabulary: Vocabulary, prompt: str) -> list[int]:
    """Token ids of a prompt as a person types it; an empty prompt stands for an end of line, as before a new paragraph.

    For words and subwords it is first converted to WikiText's format (`allatt.data.wikitext_format.tokenize`); characters are
    composed as in that format (NFC). AllattError if the vocabulary lacks a word or character; <unk> may be written out.
    """
    check(prompt.isprintable() or not any("\ud800" <= c <= "\udfff" for c in prompt),
          "the prompt has bytes that are not UTF-8; write it in UTF-8")
    if isinstance(vocabulary, Characters):
        text, known = unicodedata.normalize("NFC", prompt) or "\n", set(vocabulary.codes)
        unknown = [character for character in text if ord(character) not in known]
    else:
        text = "\n".join(map(tokenize, prompt.split("\n"))) or "\n"
        unknown = [word for word in text.split() if word != UNKNOWN and vocabulary.unknown_id in vocabulary.encode(word)]
    check(bool(prompt) or not unknown, "an empty prompt stands for an end of line, and this text has none; give a prompt")
    names = ", ".join(map(repr, unknown[:3]))
    check(not unknown, f"the model's vocabulary does not have {names} of the prompt; leave that out")
    return vocabulary.encode(text).tolist()


def stream_text(model: LanguageModel, vocabulary: Vocabulary, prompts: Sequence[str], length: int, temperature: float = 1.0,
                top_k: int = 0, top_p: float = 1.0, seed: int = 0, samples: int = 1) -> Iterator[str]:
    """Yields generated text to print, prompts included: a single text token by token, several texts one block each.

    Words and punctuation are separated by spaces, as in the training text. AllattError if the model's weights are so large that
    its probabilities are not numbers.
    """
    try:
        yield from _stream_text(model, vocabulary, prompts, length, temperature, top_k, top_p, seed, samples)
    except IndexError as error:  # among such probabilities, `draw` finds no token
        if all(bool(tensor.abs().max() < LARGE) for tensor in model.state_dict().values() if tensor.numel()):
            raise
        raise AllattError("the model's weights are too large, so its probabilities are not finite; take "
                          "another model") from error


def _stream_text(model: LanguageModel, vocabulary: Vocabulary, prompts: Sequence[str], length: int, temperature: float,
                 top_k: int, top_p: float, seed: int, samples: int) -> Iterator[str]:
    verify(length, temperature, top_k, top_p, seed, samples, len(prompts))
    ids = [encode(vocabulary, prompt) for prompt in prompts]
    if len(ids) * samples > 1:
        texts = generate(model, ids, length, temperature, top_k, top_p, seed, samples).flatten(0, 1).tolist()
        for number, new_ids in enumerate(texts):
            text = vocabulary.decode(ids[number // samples] + new_ids).strip("\n")
            yield f"--- {number + 1} of {len(texts)} ---\n{text}\n\n"
        return
    text_ids, printed = list(ids[0]), ""
    for new_ids in stream(model, torch.tensor(ids), noise(length, seed, 0)[None], temperature, top_k, top_p):
        text_ids += new_ids
        text = vocabulary.decode(text_ids).lstrip("\n")
        yield text[len(printed):]
        printed = text
    yield "\n"
