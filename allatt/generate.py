"""Text from a prompt, token by token: what a model writes.

    w_{t+1} ~ p(. | w_{<=t})^(1/temperature) / Z          of the top_k likeliest tokens, then of the top_p likeliest mass

The keys and values of earlier tokens are kept (`allatt.model.Cache`), so that a token costs one position, not a window;
the distributions are those of a pass over the whole text. Nothing ends a text before its length.

Shape suffixes:
    B rows   P tokens of a prompt   L tokens to write   V vocabulary   D d_model   T segment
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from allatt.config import check
from allatt.data.tokenizers import UNKNOWN
from allatt.data.tokens import Tokens
from allatt.data.wikitext import tokenize
from allatt.model import LanguageModel

SHARED = 1e6
"""Multiply-adds of a step from which several threads are faster than one: below, waking them takes longer than the work."""


def only_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """-inf for all but the k likeliest tokens of each row (Fan et al. 2018); 0: all stay."""
    if not 0 < k < logits_BV.shape[-1]:
        return logits_BV
    values_BK, ids_BK = logits_BV.topk(k)
    return torch.full_like(logits_BV, -math.inf).scatter(-1, ids_BK, values_BK)


def only_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """-inf for all but the nucleus of each row: the fewest likeliest tokens with a mass of p or more (Holtzman et al. 2020)."""
    if p >= 1:
        return logits_BV
    sorted_BV, ids_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    probs_BV = sorted_BV.softmax(-1)
    before_BV = probs_BV.cumsum(-1) - probs_BV  # of the first exactly 0, so that one always stays
    return torch.empty_like(logits_BV).scatter(-1, ids_BV, sorted_BV.masked_fill(before_BV >= p, -math.inf))


def draw(logits_BV: Tensor, noise_B: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """One token a row, from numbers that are uniform in [0, 1): where each falls among the summed probabilities.

    Temperature 0 is the likeliest token. The temperature comes first, so the nucleus is that of what is drawn from.
    """
    if temperature == 0:
        return logits_BV.argmax(-1)
    # From the largest on, in double precision: no temperature, however low, turns all of them into -inf.
    logits_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)).double() / temperature
    sums_BV = only_top_p(only_top_k(logits_BV, top_k), top_p).softmax(-1).cumsum(-1)
    # The sum of all is 1 but for rounding. A token of probability 0 adds nothing, so no number falls on it.
    return torch.searchsorted(sums_BV, noise_B[:, None] * sums_BV[:, -1:], right=True).squeeze(-1)


@torch.inference_mode()
def stream(model: LanguageModel, prompt_BP: Tensor, noise_BL: Tensor, temperature: float = 1.0, top_k: int = 0,
           top_p: float = 1.0) -> Iterator[list[int]]:
    """The next id of each row, L times. A prompt longer than a segment is read in segments.

    noise: see `draw`. The model is in evaluation mode until the stream ends or is closed.
    """
    training, device = model.training, model.distance_PD.device
    work = model.parameter_counts()["body"]
    model.eval()
    try:
        cache, input_BT = model.empty_cache(len(prompt_BP)), prompt_BP.to(device)
        for noise_B in noise_BL.to(device).T:
            with threads(1 if work * input_BT.numel() < SHARED else torch.get_num_threads()):
                for segment_BT in input_BT.split(model.config.segment, dim=1):
                    hidden_BTD, cache = model(segment_BT, cache)
                ids_B = draw(model.softmax.log_probs(hidden_BTD[:, -1]), noise_B, temperature, top_k, top_p)
            yield ids_B.tolist()
            input_BT = ids_B[:, None]
    finally:
        model.train(training)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """torch with so many threads on a CPU; as many as before, afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def noise(length: int, seed: int, sample: int) -> Tensor:
    """The random numbers (L,) of one text: they follow from seed and sample alone, on every device. A longer text goes on."""
    state = np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)
    return torch.rand(length, dtype=torch.float64, generator=torch.Generator().manual_seed(int(state[0])))


def generate(model: LanguageModel, prompts: Sequence[Sequence[int]], length: int, temperature: float = 1.0, top_k: int = 0,
             top_p: float = 1.0, seed: int = 0, samples: int = 1) -> Tensor:
    """What `model` writes after each prompt: ids (prompts, samples, length), on the CPU.

    A prompt is ids, at least one; prompts of equal length run as one batch. temperature: 0 takes the likeliest token each
    time, 1 is the model's own distribution. top_k, top_p: draw among these only (0 and 1: all). A text depends on its
    prompt, its number among the samples and the seed; not on what is written beside it, but for rounding. AllattError for
    values out of range.
    """
    verify(length, temperature, top_k, top_p, seed, samples)
    for prompt in prompts:
        check(len(prompt) >= 1, "a prompt has no token; it needs at least 1")
        check(0 <= min(prompt) and max(prompt) < model.vocab, f"a prompt has ids outside 0 to {model.vocab - 1}")
    noise_SL = torch.stack([noise(length, seed, sample) for sample in range(samples)])
    written = torch.empty(len(prompts), samples, length, dtype=torch.int64)
    for width in sorted({len(prompt) for prompt in prompts}):
        places = [place for place, prompt in enumerate(prompts) if len(prompt) == width]
        prompt_BP = torch.tensor([list(prompts[place]) for place in places]).repeat_interleave(samples, dim=0)
        ids = list(stream(model, prompt_BP, noise_SL.repeat(len(places), 1), temperature, top_k, top_p))
        written[places] = torch.tensor(ids).T.view(len(places), samples, length)
    return written


def verify(length: int, temperature: float, top_k: int, top_p: float, seed: int, samples: int) -> None:
    """AllattError for values that `generate` does not take."""
    check(length >= 1, f"length is {length}; it must be 1 or more")
    check(0 <= temperature < math.inf, f"temperature is {temperature}; it must be 0 (the likeliest token) or more")
    check(top_k >= 0, f"top-k is {top_k}; it must be 0 (all tokens) or more")
    check(0 < top_p <= 1, f"top-p is {top_p}; it must be above 0, and at most 1 (all tokens)")
    check(seed >= 0, f"seed is {seed}; it must be 0 or more")
    check(samples >= 1, f"samples is {samples}; it must be 1 or more")


def encode(tokens: Tokens, prompt: str) -> list[int]:
    """The ids of a prompt as a person types it; an empty one stands for an end of line, as before a new paragraph.

    For words and subwords it is first written as WikiText writes (`allatt.data.wikitext.tokenize`); characters are taken
    as they are. AllattError for what the vocabulary does not know; <unk> may be written out.
    """
    if tokens.meta["kind"] == "characters":
        text, known = prompt or "\n", set(tokens.vocabulary.codes)
        strange = [character for character in text if ord(character) not in known]
    else:
        text = "\n".join(map(tokenize, prompt.split("\n"))) or "\n"
        strange = [word for word in text.split() if word != UNKNOWN and tokens.unknown_id in tokens.encode(word)]
    check(bool(prompt) or not strange, "an empty prompt stands for an end of line, and this text has none; give a prompt")
    what = ", ".join(map(repr, strange[:3]))
    check(not strange, f"the model's vocabulary does not know {what} of the prompt; leave that out")
    return tokens.encode(text)


def say(model: LanguageModel, tokens: Tokens, prompts: Sequence[str], length: int, temperature: float = 1.0, top_k: int = 0,
        top_p: float = 1.0, seed: int = 0, samples: int = 1) -> Iterator[str]:
    """Pieces to print, prompts included: of one text as it is written, of several one block each.

    As `tokens.decode` gives them: words and punctuation stand apart, as in the text that the model has read.
    """
    verify(length, temperature, top_k, top_p, seed, samples)
    ids = [encode(tokens, prompt) for prompt in prompts]
    if len(ids) * samples > 1:
        written = generate(model, ids, length, temperature, top_k, top_p, seed, samples).flatten(0, 1).tolist()
        for number, new in enumerate(written):
            text = tokens.decode(ids[number // samples] + new).strip("\n")
            yield f"--- {number + 1} of {len(written)} ---\n{text}\n\n"
        return
    text_ids, shown = list(ids[0]), ""
    for new in stream(model, torch.tensor(ids), noise(length, seed, 0)[None], temperature, top_k, top_p):
        text_ids += new
        text = tokens.decode(text_ids).lstrip("\n")
        yield text[len(shown):]
        shown = text
    yield "\n"
