"""Prompts as people type them, and generated text as they read it."""

from collections.abc import Iterator, Sequence

import torch

from allatt.config import check
from allatt.data.tokenizers import UNKNOWN
from allatt.data.tokens import Tokens
from allatt.data.wikitext_format import tokenize
from allatt.generate import generate, noise, stream, verify
from allatt.model import LanguageModel


def encode(tokens: Tokens, prompt: str) -> list[int]:
    """Token ids of a prompt as a person types it; an empty prompt stands for an end of line, as before a new paragraph.

    For words and subwords it is first converted to WikiText's format (`allatt.data.wikitext_format.tokenize`); characters are
    taken as they are. AllattError if the vocabulary lacks a word or character; <unk> may be written out.
    """
    if tokens.meta["kind"] == "characters":
        text, known = prompt or "\n", set(tokens.vocabulary.codes)
        unknown = [character for character in text if ord(character) not in known]
    else:
        text = "\n".join(map(tokenize, prompt.split("\n"))) or "\n"
        unknown = [word for word in text.split() if word != UNKNOWN and tokens.unknown_id in tokens.encode(word)]
    check(bool(prompt) or not unknown, "an empty prompt stands for an end of line, and this text has none; give a prompt")
    names = ", ".join(map(repr, unknown[:3]))
    check(not unknown, f"the model's vocabulary does not have {names} of the prompt; leave that out")
    return tokens.encode(text)


def stream_text(model: LanguageModel, tokens: Tokens, prompts: Sequence[str], length: int, temperature: float = 1.0,
                top_k: int = 0, top_p: float = 1.0, seed: int = 0, samples: int = 1) -> Iterator[str]:
    """Yields generated text to print, prompts included: a single text token by token, several texts one block each.

    Words and punctuation are separated by spaces, as in the training text.
    """
    verify(length, temperature, top_k, top_p, seed, samples)
    ids = [encode(tokens, prompt) for prompt in prompts]
    if len(ids) * samples > 1:
        texts = generate(model, ids, length, temperature, top_k, top_p, seed, samples).flatten(0, 1).tolist()
        for number, new_ids in enumerate(texts):
            text = tokens.decode(ids[number // samples] + new_ids).strip("\n")
            yield f"--- {number + 1} of {len(texts)} ---\n{text}\n\n"
        return
    text_ids, printed = list(ids[0]), ""
    for new_ids in stream(model, torch.tensor(ids), noise(length, seed, 0)[None], temperature, top_k, top_p):
        text_ids += new_ids
        text = tokens.decode(text_ids).lstrip("\n")
        yield text[len(printed):]
        printed = text
    yield "\n"
