"""What is read off finished runs: points of the figures, training curves, and comparisons on straight lines between points.

Nothing is extrapolated: where a curve does not reach, the answer is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from allatt import cost
from allatt.config import check
from allatt.runs import Run


def point(run: Run) -> dict:
    """One run as a point of the figures: heads kept, parameters and multiply-adds of the smaller model, perplexities."""
    heads, result, gates = run.result["heads"], run.result, run.config.gates
    model = replace(run.config.model, kept=tuple(map(tuple, heads["kept"])))
    body = cost.count(model)["multiply_adds"]["body"]
    return {
        "run": run.id, "name": run.config.name, "kind": run.config.model.kind, "seed": run.config.train.seed,
        "lambda": gates.lam if gates and gates.target_kept is None else None, "target": gates.target_kept if gates else None,
        "heads": heads["total"], "of": heads["of"], "per_layer": heads["per_layer"],
        "sparsity": 1 - heads["total"] / heads["of"],
        "body_parameters": result["parameters"]["body"], "body_multiply_adds": body,
        **{f"{split}_{key}": result[split][key] for split in ("valid", "test")
           for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte")},
    }


def bits_per_character(run: Run, split: str = "test") -> float:
    """Mean over all characters that are predicted, each but the first of a text; of a run on characters.

    Bits per byte, by contrast, are shared out among all bytes: a character of text8 is one, a Chinese one is three.
    """
    tokens = run.config.data.tokens
    check(tokens == "characters", f"run {run.id} ({run.config.name}) predicts {tokens}; bits per character need characters")
    return run.result[split]["loss"] / math.log(2)


def history(run: Run) -> dict[str, list]:
    """What training logged, as columns: step, tokens, loss; with gates also lambda, expected and kept (heads)."""
    lines = run.metrics()
    columns = {key: [line[key] for line in lines] for key in ("step", "tokens", "loss")}
    if run.config.gates is not None:
        columns |= {"lambda": [line["lambda"] for line in lines], "expected": [line["expected_open"] for line in lines],
                    "kept": ["".join(line["kept"]).count("1") for line in lines]}
    return columns


def flips(run: Run, after: float = 0.5) -> int:
    """How often a head opened or closed from one logged line to the next, after this share of the steps; 0: settled."""
    kept = ["".join(line["kept"]) for line in run.metrics() if line["step"] >= after * run.config.train.steps]
    return sum(a != b for old, new in pairwise(kept) for a, b in zip(old, new, strict=True))


def interpolate(points: list[dict], x: str, y: str, at: float) -> float | None:
    """y at x = `at`, on straight lines between the points; None outside of them (nothing is extrapolated).

    Points at the same x (two lambdas that keep as many heads) count as one, with their mean.
    """
    there: dict[float, list[float]] = {}
    for p in points:
        there.setdefault(p[x], []).append(p[y])
    ordered = [(x0, math.fsum(some) / len(some)) for x0, some in sorted(there.items())]
    if len(ordered) == 1 and ordered[0][0] == at:
        return ordered[0][1]
    for (x0, y0), (x1, y1) in pairwise(ordered):
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return None


def at_equal_parameters(ours: list[dict], theirs: list[dict], y: str = "test_loss") -> list[dict]:
    """For each pruned point of `ours`, how far its loss (nats a token) is below `theirs` at as many body parameters."""
    rows = []
    for p in ours:
        other = interpolate(theirs, "body_parameters", y, p["body_parameters"])
        if other is not None:
            rows.append({"body_parameters": p["body_parameters"], "sparsity": p["sparsity"], "ours": p[y], "theirs": other,
                         "gain": other - p[y]})
    return rows


def gain(ours: list[dict], theirs: list[dict], sparsity: float, y: str = "test_loss") -> float | None:
    """How far the loss of `ours` (nats a token) is below `theirs` at as many body parameters as `ours` has at this sparsity.

    Both are read from the straight lines between their points; None where one of them does not reach.
    """
    size = interpolate(ours, "sparsity", "body_parameters", sparsity)
    if size is None:
        return None
    a, b = (interpolate(points, "body_parameters", y, size) for points in (ours, theirs))
    return None if a is None or b is None else b - a


def sparsity_at_equal_loss(ours: list[dict], theirs: list[dict], sparsity: float, y: str = "test_loss") -> float | None:
    """The highest sparsity at which `ours` is still as good as `theirs` is at `sparsity` (the paper: 43% against 25%).

    None where it never is. Where its smallest model is better still, that one's sparsity, a bound.
    """
    level, smallest = interpolate(theirs, "sparsity", y, sparsity), max(ours, key=lambda p: p["sparsity"])
    if level is not None and smallest[y] <= level:
        return smallest["sparsity"]
    size = None if level is None else parameters_needed(ours, level, y)
    return None if size is None else interpolate(ours, "body_parameters", "sparsity", size)


def off_the_curve(p: dict, curve: list[dict], y: str = "test_loss") -> float | None:
    """How far the loss of a model (nats a token) is above that of `curve` at as many heads; None where it does not reach.

    A model with fewer heads than all of the curve, and yet a lower loss than its smallest one, is below the curve wherever it
    may go on, since it rises to that side: then the difference to the smallest one is given, which is a bound.
    """
    there = interpolate(curve, "heads", y, p["heads"])
    if there is None:
        heads, smallest = min((q["heads"], q[y]) for q in curve)
        there = smallest if p["heads"] < heads and p[y] < smallest else None
    return None if there is None else p[y] - there


def average(points: list[dict]) -> list[dict]:
    """Points of several seeds as one curve: for each lambda, ascending, the mean over seeds of all that is a number."""
    groups: dict[float | None, list[dict]] = {}
    for p in points:
        groups.setdefault(p["lambda"], []).append(p)
    curve = []
    for lam in sorted(groups):
        some = groups[lam]
        numbers = [key for key, value in some[0].items() if isinstance(value, (int, float)) and key != "seed"]
        means = {key: math.fsum(p[key] for p in some) / len(some) for key in numbers}
        curve.append(means | {"lambda": lam, "seeds": len(some)})
    return curve


def parameters_needed(points: list[dict], loss: float, y: str = "test_loss") -> float | None:
    """The fewest body parameters at which the straight lines between `points` come down to `loss`.

    None where they never do, and where the smallest model is already as good: nothing is extrapolated.
    """
    ordered = sorted((p["body_parameters"], p[y]) for p in points)
    if not ordered or ordered[0][1] < loss:
        return None
    for (x0, y0), (x1, y1) in pairwise([ordered[0], *ordered]):
        if y0 >= loss >= y1:
            return x0 + (x1 - x0) * (y0 - loss) / (y0 - y1) if y0 > y1 else x0
    return None


def above_control(points: list[dict], control: dict) -> list[dict]:
    """`points`, each with `above`: its test loss (nats a token) minus the control's; and `removed`: the share of the
    control's body parameters that it lacks."""
    return [p | {"above": p["test_loss"] - control["test_loss"],
                 "removed": 1 - p["body_parameters"] / control["body_parameters"]} for p in points]


def blindly(per_layer: list[int], heads: int, seed: int = 0, draws: int = 20_000) -> np.ndarray:
    """As many heads kept in all, of so many `heads` a layer, but chosen blindly: kept heads a layer, (draws, layers)."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_hypergeometric([heads] * len(per_layer), sum(per_layer), size=draws)


def unevenness(per_layer: list[int], heads: int) -> float:
    """How far kept heads differ by layer: their variance over layers, as a multiple of what chance gives.

    Chance: as many heads, removed at random from the whole model of so many `heads` a layer (a hypergeometric
    distribution). 1: as uneven as chance; 0: all layers alike; nan where nothing or everything was removed.
    """
    layers, mean = len(per_layer), sum(per_layer) / len(per_layer)
    share = mean / heads
    chance = heads * share * (1 - share) * (layers - 1) * heads / (layers * heads - 1)
    return sum((kept - mean) ** 2 for kept in per_layer) / layers / chance if chance > 0 else math.nan


def kept_by_layer(runs: Iterable[Run]) -> dict[float, list[list[int]]]:
    """By lambda, how many heads each layer kept: a list a run, in the runs' order (one a seed)."""
    lists: dict[float, list[list[int]]] = {}
    for run in runs:
        lists.setdefault(run.config.gates.lam, []).append(run.result["heads"]["per_layer"])
    return lists


def over_lambdas(lists: dict[float, list[list[int]]]) -> list[list[float]]:
    """Each seed's kept heads by layer, averaged over lambda > 0: lambdas of one seed share a baseline, and count once."""
    seeds = zip(*(lists[lam] for lam in lists if lam > 0), strict=True)
    return [np.mean(seed, axis=0).tolist() for seed in seeds]


def kept_above(values_LH: Sequence, kept_LH: Sequence, by_layer: bool = False) -> float | None:
    """How often a kept head has the larger value, of all pairs of a kept and a pruned head; 0.5: the value tells nothing.

    A tie counts half: this is the area under the ROC curve. `by_layer` asks pairs of one layer only, so that what merely
    tells layers apart drops out. None without pairs.
    """
    values, kept = np.asarray(values_LH), np.asarray(kept_LH, dtype=bool)
    layer = np.indices(kept.shape)[0].ravel()
    values, kept = values.ravel(), kept.ravel()
    pairs = kept[:, None] & ~kept & ((layer[:, None] == layer) | (not by_layer))
    wins = np.sign(values[:, None] - values) / 2 + 0.5
    return float(wins[pairs].mean()) if pairs.any() else None
