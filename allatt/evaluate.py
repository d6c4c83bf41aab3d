"""Perplexity and bits per byte, and the protocol under which they were measured."""

import math

import numpy as np
import torch
from torch import Tensor

from allatt.config import check
from allatt.model import LanguageModel


@torch.no_grad()
def nll(model: LanguageModel, ids: np.ndarray, rows: int, gate_LH: Tensor | None = None,
        precision: str = "fp32") -> tuple[float, int]:
    """Total negative log-likelihood (nats), and the number of predicted tokens: each token but the first, once.

    The text is cut into `rows` contiguous streams that are read side by side, in segments of T with M of memory; only the
    first M tokens of a stream have a shorter context. Leaves the model's mode as it was.
    """
    T, device = model.config.segment, model.distance_PD.device
    check(len(ids) >= 2, f"the text has {len(ids)} tokens; perplexity needs at least 2")
    predicted = len(ids) - 1
    rows = min(rows, predicted)
    length = math.ceil(predicted / rows)
    training = model.training
    model.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        memory = model.empty_cache(rows)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for begin in range(0, length, T):
        width = min(T, length - begin)
        # Streams are padded at the end of the text: padding repeats its last token and is not counted.
        position_BT = np.arange(rows)[:, None] * length + begin + np.arange(width)
        counted_BT = torch.from_numpy(position_BT < predicted).to(device)
        position_BT = position_BT.clip(max=predicted - 1)
        input_BT = torch.from_numpy(np.asarray(ids[position_BT], dtype=np.int64)).to(device)
        target_BT = torch.from_numpy(np.asarray(ids[position_BT + 1], dtype=np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            nll_BT, memory = model.loss(input_BT, target_BT, memory, gate_LH)
        total += nll_BT.double()[counted_BT].sum()
    model.train(training)
    return total.item(), predicted


def evaluate(model: LanguageModel, ids: np.ndarray, counts: dict, rows: int, gate_LH: Tensor | None = None,
             precision: str = "fp32", unknown_id: int | None = None) -> dict:
    """Perplexities of one split, the share of its tokens that are <unk>, and the protocol.

    `counts` are the split's words (ends of line included) and bytes (`allatt.data.tokens`). Compare a model of subwords
    with one of words by `word_perplexity` = exp(total nats / words), never by the perplexity of its own tokens. Predicting that
    a word is unknown is easy, so with many unknown words all numbers look better than they are.
    """
    total, predicted = nll(model, ids, rows, gate_LH, precision)
    return {
        "loss": total / predicted,
        "perplexity": _exp(total / predicted),
        "word_perplexity": _exp(total / counts["words"]),
        "bits_per_byte": total / counts["bytes"] / math.log(2),
        "nats": total,
        "tokens": predicted,
        "unknown": 0.0 if unknown_id is None else float(np.mean(np.asarray(ids[1:]) == unknown_id)),
        "protocol": {"segment": model.config.segment, "memory": model.config.memory, "rows": min(rows, predicted),
                     "same_length": True, "precision": precision},
    }


def _exp(nats: float) -> float:
    """exp, at most 1e304 (e^700): JSON has no infinity, and a word of a text without spaces may be that improbable."""
    return math.exp(min(nats, 700))
