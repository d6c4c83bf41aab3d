"""Which heads survive: kept heads by layer, over lambdas and seeds, and compared with chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from allatt.runs import Run


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
        lists.setdefault(run.config.gates.lam, []).append(run.result["heads"]["per_layer"])
    return lists


def mean_over_lambdas(lists: dict[float, list[list[int]]]) -> list[list[float]]:
    """Each seed's kept heads by layer, averaged over lambda > 0: lambdas of one seed share a baseline, and count once."""
    seeds = zip(*(lists[lam] for lam in lists if lam > 0), strict=True)
    return [np.mean(seed, axis=0).tolist() for seed in seeds]


def kept_above(values_LH: Sequence, kept_LH: Sequence, by_layer: bool = False) -> float | None:
    """Share of the pairs of a kept and a pruned head in which the kept head has the larger value; 0.5: it tells nothing.

    A tie counts half: this is the area under the ROC curve. With `by_layer`, only pairs within a layer count, so that
    differences between layers drop out. None without pairs.
    """
    values, kept = np.asarray(values_LH), np.asarray(kept_LH, dtype=bool)
    layer = np.indices(kept.shape)[0].ravel()
    values, kept = values.ravel(), kept.ravel()
    pairs = kept[:, None] & ~kept & ((layer[:, None] == layer) | (not by_layer))
    wins = np.sign(values[:, None] - values) / 2 + 0.5
    return float(wins[pairs].mean()) if pairs.any() else None


def chance_of_kept_above(values_LH: np.ndarray, kept_LH: np.ndarray, by_layer: bool = False, draws: int = 2000) -> float:
    """p-value of `kept_above` within one model: share of random choices of survivors that are at least as far from 0.5.

    With `by_layer`, every layer keeps its number of heads.
    """
    rng, distance = np.random.default_rng(0), abs(kept_above(values_LH, kept_LH, by_layer) - 0.5)
    choices = (rng.permuted(kept_LH, axis=1 if by_layer else None) for _ in range(draws))
    return float(np.mean([abs(kept_above(values_LH, choice, by_layer) - 0.5) >= distance - 1e-9 for choice in choices]))


def mean_rank_correlation(z_SL: np.ndarray) -> np.ndarray:
    """Mean correlation over all pairs of seeds (S), from standardized ranks of layers (L): (..., S, L) -> (...)."""
    seeds = z_SL.shape[-2]
    return ((z_SL.sum(-2) ** 2).mean(-1) - seeds) / (seeds * (seeds - 1))
