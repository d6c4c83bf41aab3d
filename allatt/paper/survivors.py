"""Which heads survive: kept heads by layer, over lambdas and seeds, compared with chance; and where heads look.

Shape suffixes:
    L layers   H heads   B rows   T queries   M memory   S = M + T keys   X = S + N keys and persistent vectors   D d_model
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from allatt.attention import HeadVectors, reference
from allatt.batches import Stream
from allatt.config import check
from allatt.data.tokens import load
from allatt.model import Block, LanguageModel
from allatt.runs import Run
from allatt.system.files import read_json, write_json


def kept_at_random(per_layer: Sequence[int], heads: int, seed: int = 0, draws: int = 20_000) -> np.ndarray:
    """The same number of heads in all, but chosen at random from layers of `heads` each: kept per layer, (draws, layers)."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_hypergeometric([heads] * len(per_layer), sum(per_layer), size=draws)


def unevenness(per_layer: Sequence[int], heads: int) -> float:
    """How much kept heads differ by layer: their variance over layers, as a multiple of what chance gives.

    Chance: the same number of heads, removed at random from the whole model with `heads` per layer (a hypergeometric
    distribution). 1: as uneven as chance; 0: all layers alike; nan if nothing or everything was removed.
    """
    layers, mean = len(per_layer), sum(per_layer) / len(per_layer)
    share = mean / heads
    chance = heads * share * (1 - share) * (layers - 1) * heads / (layers * heads - 1)
    return sum((kept - mean) ** 2 for kept in per_layer) / layers / chance if chance > 0 else math.nan


def kept_by_layer(runs: Iterable[Run]) -> dict[float, list[list[int]]]:
    """For each lambda, the number of heads that each layer kept: one list per run, in the runs' order (one per seed)."""
    lists: dict[float, list[list[int]]] = {}
    for run in runs:
        lists.setdefault(run.config.gated.gates.lam, []).append(run.result["heads"]["per_layer"])
    return lists


def mean_over_lambdas(lists: dict[float, list[list[int]]]) -> list[list[float]]:
    """Each seed's kept heads by layer, averaged over lambda > 0: lambdas of one seed share a baseline, and count once."""
    seeds = zip(*(lists[lam] for lam in lists if lam > 0), strict=True)
    return [np.mean(seed, axis=0).tolist() for seed in seeds]


def kept_above(values_LH: Sequence, kept_LH: Sequence, by_layer: bool = False) -> float | None:
    """Share of the pairs of a kept and a pruned head in which the kept head has the larger value; 0.5: no information.

    A tie counts half: this is the area under the ROC curve. With `by_layer`, only pairs within a layer count, so
    differences between layers drop out. None without pairs.
    """
    values, kept = np.asarray(values_LH), np.asarray(kept_LH, dtype=bool)
    layer = np.indices(kept.shape)[0].ravel()
    values, kept = values.ravel(), kept.ravel()
    pairs = kept[:, None] & ~kept & ((layer[:, None] == layer) | (not by_layer))
    wins = np.sign(values[:, None] - values) / 2 + 0.5
    return float(wins[pairs].mean()) if pairs.any() else None


def chance_of_kept_above(values_LH: np.ndarray, kept_LH: np.ndarray, by_layer: bool = False, draws: int = 2000) -> float:
    """p-value of `kept_above` within one model: share of random choices of survivors that are at least as far from 0.5, with
    the actual choice counted as one of them.

    With `by_layer`, every layer keeps its number of heads.
    """
    rng, distance = np.random.default_rng(0), abs(kept_above(values_LH, kept_LH, by_layer) - 0.5)
    choices = (rng.permuted(kept_LH, axis=1 if by_layer else None) for _ in range(draws))
    as_far = sum(abs(kept_above(values_LH, choice, by_layer) - 0.5) >= distance - 1e-9 for choice in choices)
    return float(as_far + 1) / (draws + 1)


def mean_rank_correlation(z_SL: np.ndarray) -> np.ndarray:
    """Mean correlation over all pairs of seeds (S), from standardized ranks of layers (L): (..., S, L) -> (...)."""
    seeds = z_SL.shape[-2]
    return ((z_SL.sum(-2) ** 2).mean(-1) - seeds) / (seeds * (seeds - 1))


def where_heads_look(run: Run, rows: int = 8, segments: int = 4) -> dict[str, Tensor]:
    """`attention_summary` of all heads (L, H) of an unpruned All-attention run, on validation text.

    It is taken from the last of `segments`, with a full memory, and kept in the run's folder, so it is available where
    the weights are not. AllattError unless the segment is as long as the memory.
    """
    path, amount = run.folder / "attention.json", {"rows": rows, "segments": segments}
    saved = read_json(path, "remove it and run again") if path.exists() else {}
    if not amount.items() <= saved.items():
        summary = _look(run, rows, segments)
        saved = amount | {"summary": {name: values.tolist() for name, values in summary.items()}}
        write_json(path, saved)
    return {name: torch.tensor(values) for name, values in saved["summary"].items()}


@torch.no_grad()
def _look(run: Run, rows: int, segments: int) -> dict[str, Tensor]:
    model = run.load()
    T, M = model.config.segment, model.config.memory
    check(T == M, f"run {run.id} has segments of {T} tokens and a memory of {M}; to read its attention, both must be equal")
    stream, memory = Stream(load(run.config.data).valid, rows, T), model.empty_memory(rows)
    for step in range(segments):
        before, (_, memory) = memory, model(stream.batch(step)[0], memory)
    summaries = []
    for layer, block in enumerate(model.blocks):  # as T = M, the new memory is what entered each layer
        weights_BHTX = attention_weights(block, memory.hidden_LBMD[layer], before.hidden_LBMD[layer], before.filled,
                                         model.head_vectors(layer))
        summaries.append(attention_summary(weights_BHTX, M))
    return {name: torch.stack([summary[name] for summary in summaries]) for name in summaries[0]}


def attention_weights(block: Block, x_BTD: Tensor, memory_BMD: Tensor, filled: int, vectors: HeadVectors) -> Tensor:
    """Attention weights (B, H, T, X) of a layer: S context positions, then the persistent vectors."""
    context_BSD = block.norm(torch.cat([memory_BMD, x_BTD], dim=1))
    q_BHTK = torch.einsum("btd,hkd->bhtk", context_BSD[:, memory_BMD.shape[1]:], block.query_HKD)
    k_BHSK, v_BHSK = (torch.einsum("bsd,hkd->bhsk", context_BSD, weight) for weight in (block.key_HKD, block.value_HKD))
    _, weights_BHTX = reference(q_BHTK, k_BHSK, v_BHSK, *vectors, filled, return_weights=True)
    return weights_BHTX


def attention_summary(weights_BHTX: Tensor, memory: int) -> dict[str, Tensor]:
    """For each head (H), averaged over rows and queries:

    persistent    share of its attention that goes to persistent vectors
    distance      mean distance, in tokens, of the rest of its attention
    """
    T = weights_BHTX.shape[-2]
    S = memory + T
    distance_TS = torch.arange(memory, S)[:, None] - torch.arange(S)
    context_BHTS = weights_BHTX[..., :S]
    share_BHT = context_BHTS.sum(-1)
    distance_BHT = (context_BHTS * distance_TS).sum(-1) / share_BHT
    return {"persistent": (1 - share_BHT).mean((0, 2)), "distance": distance_BHT.mean((0, 2))}


@torch.no_grad()
def attention_on(model: LanguageModel, ids: Sequence[int]) -> list[Tensor]:
    """Attention weights of each layer, (H, T, T + N), on a text that begins with these T ids; T is at most M.

    The first T columns are the tokens, the others the persistent vectors.
    """
    T, M = len(ids), model.config.memory
    check(0 < T <= M, f"the text has {T} tokens; it can have 1 to {M}, the length of the memory")
    empty = model.empty_memory(1)
    _, memory = model(torch.tensor([list(map(int, ids))]), empty)
    weights = [attention_weights(block, memory.hidden_LBMD[layer, :, M - T:], empty.hidden_LBMD[layer], 0,
                                 model.head_vectors(layer)) for layer, block in enumerate(model.blocks)]
    return [weights_BHTX[0, :, :, M:] for weights_BHTX in weights]
