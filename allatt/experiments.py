"""The paper's experiments as lists of runs, and what is read off them.

    baselines     All-attention and Transformer-XL of equal size, from random weights              notebook 03
    pruning       gates on a baseline, at one lambda                                               notebook 05
    techniques    the same with one of the three training methods left out, and with none           notebook 06
    sweep         several lambdas, and the control: gates with lambda 0, as many steps               notebooks 07, 08

Every pruning run starts from the baseline of its own seed. The fair comparison of a pruned model is with the control, which
trained as long, not with the baseline.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise

from allatt import cost, scales
from allatt.config import DataConfig, RunConfig, check
from allatt.runs import Run
from allatt.tokens import pin

TECHNIQUES = {
    "all three": {},
    "gates start half open": {"initial": 0.0},
    "no penalty warm-up": {"penalty_warmup": 0},
    "no output scaling": {"output_scaling": False},
    "none of the three": {"initial": 0.0, "penalty_warmup": 0, "output_scaling": False},
}
"""The variants of notebook 06: the paper's claim 4 is that each method helps."""

PAPER_KEPT = {
    0.01: (8, 3, 7, 6, 6, 6, 6, 7, 6, 7, 8, 8, 7, 8, 7, 6),
    0.015: (6, 4, 6, 5, 4, 5, 5, 6, 5, 6, 7, 5, 6, 6, 6, 5),
    0.02: (5, 2, 5, 4, 3, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3),
}
"""By lambda, how many of their 8 heads layers 1 to 16 of the paper's models kept (its official inference script)."""

LABELS = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}


def data(scale: str, corpus: str = "") -> DataConfig:
    """The scale's text, or another corpus cut into tokens the same way."""
    config = scales.get(scale).data
    return pin(replace(config, corpus=corpus) if corpus else config)


def baseline(scale: str, kind: str, corpus: str = "", seed: int = 0) -> RunConfig:
    """Dense training from random weights."""
    s, model = scales.get(scale), scales.model(scale, kind)
    check(seed >= 0, f"seed is {seed}; it must be 0 or more")
    return RunConfig(f"{kind} baseline", data(scale, corpus), model, replace(s.baselines[kind], seed=seed))


def pruning(scale: str, kind: str, lam: float, corpus: str = "", seed: int = 0, **switches) -> RunConfig:
    """Gated training from the baseline, at one lambda; `switches` are fields of GateConfig, e.g. output_scaling=False."""
    s, start = scales.get(scale), baseline(scale, kind, corpus, seed)
    gates = replace(s.gates, lam=lam, **switches)
    return RunConfig(f"{kind} lambda {lam:g}", start.data, start.model, replace(s.prune, seed=seed), gates, start)


def sweep(scale: str, kind: str, corpus: str = "", seed: int = 0) -> list[RunConfig]:
    """The scale's lambdas in ascending order, after the control."""
    return [pruning(scale, kind, lam, corpus, seed) for lam in (0.0, *scales.get(scale).lambdas[kind])]


def techniques(scale: str, corpus: str = "", seed: int = 0, lam: float | None = None) -> dict[str, RunConfig]:
    """All-attention at one lambda with the three methods, with each left out, and with none."""
    lam = scales.get(scale).example if lam is None else lam
    return {name: replace(pruning(scale, "all-attention", lam, corpus, seed, **switches), name=f"all-attention, {name}")
            for name, switches in TECHNIQUES.items()}


def everything(scale: str, corpus: str = "", seed: int = 0) -> list[RunConfig]:
    """All runs that the notebooks use, each once, in the order in which they are first used."""
    configs = [baseline(scale, kind, corpus, seed) for kind in scales.KINDS]
    configs += techniques(scale, corpus, seed).values()
    configs += [config for kind in scales.KINDS for config in sweep(scale, kind, corpus, seed)]
    return list({config.id: config for config in configs}.values())


def point(run: Run) -> dict:
    """One run as a point of the figures: heads kept, parameters and multiply-adds of the smaller model, perplexities."""
    heads, result = run.result["heads"], run.result
    model = replace(run.config.model, kept=tuple(map(tuple, heads["kept"])))
    body = cost.count(model, scales.vocab("paper"))["multiply_adds"]["body"]  # any vocabulary: it is not in the body
    return {
        "run": run.id, "name": run.config.name, "kind": run.config.model.kind, "seed": run.config.train.seed,
        "lambda": run.config.gates.lam if run.config.gates else None,
        "heads": heads["total"], "of": heads["of"], "per_layer": heads["per_layer"],
        "sparsity": 1 - heads["total"] / heads["of"],
        "body_parameters": result["parameters"]["body"], "body_multiply_adds": body,
        **{f"{split}_{key}": result[split][key] for split in ("valid", "test")
           for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte")},
    }


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
    """y at x = `at`, on straight lines between the points; None outside of them (nothing is extrapolated)."""
    ordered = sorted((p[x], p[y]) for p in points)
    for (x0, y0), (x1, y1) in pairwise(ordered):
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0) if x1 > x0 else (y0 + y1) / 2
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


def unevenness(per_layer: list[int], heads: int) -> float:
    """How far kept heads differ by layer: their variance over layers, as a multiple of what chance gives.

    Chance: as many heads, removed at random from the whole model of so many `heads` a layer (a hypergeometric
    distribution). 1: as uneven as chance; 0: all layers alike; nan where nothing or everything was removed.
    """
    layers, mean = len(per_layer), sum(per_layer) / len(per_layer)
    share = mean / heads
    chance = heads * share * (1 - share) * (layers - 1) * heads / (layers * heads - 1)
    return sum((kept - mean) ** 2 for kept in per_layer) / layers / chance if chance > 0 else math.nan


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's rank correlation, e.g. of kept heads a layer in two models (nan where one of them is constant)."""
    from scipy.stats import spearmanr  # of the notebooks' dependencies

    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan
    return float(spearmanr(a, b).statistic)


def label(scale: str, corpus: str = "", seed: int = 0) -> str:
    """The folder of figures: the scale's name; with another corpus or seed than its own, a name that says so."""
    parts = [scale] + ([re.sub(r"[^A-Za-z0-9]+", "-", corpus).strip("-")] if corpus else []) + ([f"seed{seed}"] if seed else [])
    return "-".join(parts)
