"""How a scale was set, and how far it can be trusted: learning rates, lambdas, and a ladder of sizes and tokens.

Each kind of model has its own learning rate. It is the best of RATES by validation loss, on a seed that no result uses, with
the same budget for both kinds: half of a baseline's steps. Lambdas are chosen on the same seed by the number of heads that
they leave, and never by a loss. The ladder trains both kinds, unpruned, at several sizes and for
several numbers of tokens: does the gap between them close (claim 2b)?
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, RunConfig, TrainConfig
from allatt.paper import scales
from allatt.paper.curves import SPARSITIES
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.runs.parallel import get_or_run_all
from allatt.system.machine import Machine

SEED = 100
"""The seed that settings are chosen on. No result uses it."""
RATES = (1e-3, 2e-3, 4e-3)
"""Learning rates that are tried for each kind (our choice)."""
WIDTHS = (64, 96, 128, 192)
"""d_model of the ladder's models, at the scale's number of steps."""
BUDGET = 1 / 2
"""Share of the scale's steps with which learning rates are compared (our choice)."""
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Shares of the scale's steps, at the scale's own d_model."""

TRIES = 8
"""Lambdas that are tried for each kind, at most (our choice)."""


def learning_rates(study: Study) -> dict[tuple[str, float], RunConfig]:
    """The baselines of each kind at each of RATES, on the seed for calibration, by kind and rate."""
    configs = {}
    for kind in KINDS:
        baseline = study.baseline(kind, SEED)
        for rate in RATES:
            train = _shortened(replace(baseline.train, lr=rate), BUDGET)
            configs[kind, rate] = replace(baseline, name=f"{kind}, learning rate {rate:g}", train=train)
    return configs


def ladder(study: Study, seed: int | None = None) -> dict[tuple[str, int, int], RunConfig]:
    """Baselines by kind, d_model and steps: the scale's width at SHARES of its steps, and WIDTHS at all of its steps.

    Learning rates are the scale's own at every rung.
    """
    configs = {}
    for kind in KINDS:
        baseline = study.baseline(kind, seed)
        own = baseline.model
        for width, share in [*((own.d_model, share) for share in SHARES), *((width, 1) for width in WIDTHS)]:
            shape = scales.geometry(width, own.segment)
            model = replace(own, **{name: getattr(shape, name) for name in ("d_model", "d_head", "persistent", "feed_forward")})
            train = _shortened(baseline.train, share)
            name = f"{kind}, width {width}, {train.steps} steps"
            configs[kind, width, train.steps] = replace(baseline, name=name, model=model, train=train)
    return configs


def lambdas(study: Study, machine: Machine | None = None) -> dict[tuple[str, float], RunConfig]:
    """First phases for choosing a sweep's lambdas, by kind and lambda; trains them, since each depends on those before it.

    They use the seed for calibration and full-length baselines. `next_lambda` chooses, beginning with the scale's `example`.
    """
    scale, wanted, configs = scales.get(study.scale), removals(study.scale), {}
    kept: dict[str, dict[float, int]] = {kind: {} for kind in KINDS}
    for _ in range(TRIES):
        lams = {kind: next_lambda(kept[kind], sum(scale.model.heads_per_layer), wanted[kind], scale.example) for kind in KINDS}
        new = {(kind, lam): study.pruning(kind, lam, SEED).gated for kind, lam in lams.items() if lam is not None}
        if machine is None or machine.until is None:
            get_or_run_all(new.values(), machine)  # in parallel; within a time limit, one by one
        for (kind, lam), config in new.items():
            kept[kind][lam] = get_or_run(config, machine).result["heads"]["total"]
        configs |= new
    return dict(sorted(configs.items()))


def removals(scale: str) -> dict[str, tuple[float, ...]]:
    """Shares of removed heads that a sweep of each kind should come near: those at which models of equal size are compared."""
    counts = {kind: cost.count(scales.model(scale, kind))["parameters"] for kind in KINDS}
    heads, ours = sum(scales.model(scale, ALL_ATTENTION).heads_per_layer), counts[ALL_ATTENTION]
    sizes = [ours["body"] - share * heads * ours["per_head"] for share in SPARSITIES]
    return {kind: tuple((c["body"] - size) / c["per_head"] / heads for size in sizes) for kind, c in counts.items()}


def next_lambda(kept: dict[float, int], heads: int, removed: Iterable[float], first: float) -> float | None:
    """The lambda to try next, so that a sweep has a point near each share of removed heads; None if it already does.

    kept: heads that each lambda left, of `heads`; only these numbers decide, never a loss. first: where to begin. Next comes
    the share that is farthest from every point: between two lambdas by interpolation in the heads left, on a logarithmic scale,
    and beyond all of them by a factor of 2. Near means within a 32nd of the heads; some point must reach the largest share.
    """
    if not kept:
        return first
    left = [(1 - share) * heads for share in removed]
    wanted = [math.floor(some + 1e-9) if some == min(left) else round(some) for some in left]  # the sweep must reach the last
    distance = {number: min(abs(number - have) for have in kept.values()) for number in wanted}
    if min(kept.values()) > min(wanted):
        distance[min(wanted)] = heads
    for number in sorted(distance, key=distance.get, reverse=True):
        if distance[number] <= heads / 32:
            return None
        low = max((lam for lam, have in kept.items() if have > number), default=None)
        high = min((lam for lam, have in kept.items() if have < number and (low is None or lam > low)), default=None)
        if low is None:
            lam = high / 2
        elif high is None:
            lam = low * 2
        else:
            lam = low * (high / low) ** ((kept[low] - number) / (kept[low] - kept[high]))
        lam = float(f"{lam:.2g}")
        if lam not in kept:
            return lam
    return None


def _shortened(train: TrainConfig, share: float) -> TrainConfig:
    """The same training, with all its parts shortened to this share of the steps."""
    return replace(train, steps=round(share * train.steps), warmup=round(share * train.warmup))
