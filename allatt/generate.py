"""Generation: new token ids after a prompt, one by one.

    w_{t+1} ~ p(. | w_{<=t})^(1/temperature) / Z          among the top_k likeliest tokens, then among the top_p mass

The keys and values of earlier tokens are kept (`segment_memory.Cache`), so a token costs one position, not a window; the
distributions equal those of one pass over the whole text. A text always has the full length: nothing ends it early.

Shape suffixes:
    B rows   P tokens of a prompt   L tokens to write   V vocabulary   D d_model   T segment
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from allatt.config import check
from allatt.model import LanguageModel

MOST = 100_000_000
"""Largest number of tokens written at once, since they are kept in memory (our choice)."""
SHARED = 1e6
"""Multiply-adds per step from which several threads are faster than one; below it, waking them takes longer than the work."""


def only_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """The logits, with -inf for all but the k likeliest tokens of each row (Fan et al. 2018); k = 0 keeps all."""
    if not 0 < k < logits_BV.shape[-1]:
        return logits_BV
    values_BK, ids_BK = logits_BV.topk(k)
    return torch.full_like(logits_BV, -math.inf).scatter(-1, ids_BK, values_BK)


def only_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """The logits, with -inf outside the nucleus of each row: the fewest tokens with a mass of p (Holtzman et al. 2020)."""
    if p >= 1:
        return logits_BV
    sorted_BV, ids_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    probs_BV = sorted_BV.softmax(-1)
    before_BV = probs_BV.cumsum(-1) - probs_BV  # exactly 0 for the first token, so it always stays
    return torch.empty_like(logits_BV).scatter(-1, ids_BV, sorted_BV.masked_fill(before_BV >= p, -math.inf))


def draw(logits_BV: Tensor, noise_B: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """One token per row, by inverse transform: where its noise, uniform in [0, 1), falls among the cumulative probabilities.

    Temperature 0 takes the likeliest token. The temperature is applied before top_k and top_p.
    """
    if temperature == 0:
        return logits_BV.argmax(-1)
    # Relative to the largest logit, in double precision: then no temperature, however low, turns all into -inf.
    logits_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)).double() / temperature
    sums_BV = only_top_p(only_top_k(logits_BV, top_k), top_p).softmax(-1).cumsum(-1)
    # The total is 1 except for rounding. A token of probability 0 adds nothing, so it is never drawn.
    return torch.searchsorted(sums_BV, noise_B[:, None] * sums_BV[:, -1:], right=True).squeeze(-1)


@torch.inference_mode()
def stream(model: LanguageModel, prompt_BP: Tensor, noise_BL: Tensor, temperature: float = 1.0, top_k: int = 0,
           top_p: float = 1.0) -> Iterator[list[int]]:
    """Yields the next id of each row, L times. A prompt longer than a segment is read in segments.

    `noise` is that of `draw`. The model is in evaluation mode until the stream ends or is closed.
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
    """Run torch with this number of CPU threads; afterwards the previous number is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def noise(length: int, seed: int, sample: int) -> Tensor:
    """Random numbers (L,) of one text. They depend on seed and sample alone; a longer text has the same first numbers."""
    state = np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)
    return torch.rand(length, dtype=torch.float64, generator=torch.Generator().manual_seed(int(state[0])))


def generate(model: LanguageModel, prompts: Sequence[Sequence[int]], length: int, temperature: float = 1.0, top_k: int = 0,
             top_p: float = 1.0, seed: int = 0, samples: int = 1) -> Tensor:
    """New token ids after each prompt, (prompts, samples, length), on the CPU.

    A prompt is a sequence of ids, at least one; prompts of equal length run as one batch. temperature: 0 takes the likeliest
    token each time, 1 is the model's own distribution. top_k, top_p: draw among these tokens only (0 and 1: all). A text
    depends on its prompt, its number among the samples and the seed; other texts of the batch change only rounding.
    AllattError for values out of range.
    """
    verify(length, temperature, top_k, top_p, seed, samples, len(prompts))
    for prompt in prompts:
        check(len(prompt) >= 1, "a prompt has no token; it needs at least 1")
        check(0 <= min(prompt) and max(prompt) < model.vocab, f"a prompt has ids outside 0 to {model.vocab - 1}")
    noise_SL = torch.stack([noise(length, seed, sample) for sample in range(samples)])
    new_ids = torch.empty(len(prompts), samples, length, dtype=torch.int64)
    for width in sorted({len(prompt) for prompt in prompts}):
        batch = [index for index, prompt in enumerate(prompts) if len(prompt) == width]
        prompt_BP = torch.tensor([list(prompts[index]) for index in batch]).repeat_interleave(samples, dim=0)
        ids = list(stream(model, prompt_BP, noise_SL.repeat(len(batch), 1), temperature, top_k, top_p))
        new_ids[batch] = torch.tensor(ids).T.view(len(batch), samples, length)
    return new_ids


def verify(length: int, temperature: float, top_k: int, top_p: float, seed: int, samples: int, prompts: int = 1) -> None:
    """AllattError for values that `generate` does not accept, or for more than MOST tokens in total."""
    check(1 <= length <= 10_000_000, f"length is {length}; it must be 1 to 10,000,000")
    check(0 <= temperature < math.inf, f"temperature is {temperature}; it must be 0 (the likeliest token) or more")
    check(top_k >= 0, f"top-k is {top_k}; it must be 0 (all tokens) or more")
    check(0 < top_p <= 1, f"top-p is {top_p}; it must be above 0, and at most 1 (all tokens)")
    check(seed >= 0, f"seed is {seed}; it must be 0 or more")
    check(1 <= samples <= 10_000, f"samples is {samples}; it must be 1 to 10,000")
    total = prompts * samples * length
    check(total <= MOST, f"these are {total:,} tokens in all; at most {MOST:,} are written at once")
