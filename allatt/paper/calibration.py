"""How a scale was set, and how far it can be trusted: learning rates, and a ladder of sizes and tokens.

Each kind of model has its own learning rate. It is the best of RATES by validation loss, on a seed that no result uses, with
the same budget for both kinds: half of a baseline's steps. The ladder trains both kinds, unpruned, at several sizes and for
several numbers of tokens: does the gap between them close (claim 2b)?
"""

from collections.abc import Iterable
from dataclasses import replace

from allatt.config import KINDS, RunConfig, TrainConfig
from allatt.paper import scales
from allatt.paper.study import Study

SEED = 100
"""The seed that settings are chosen on. No result uses it."""
RATES = (1e-3, 2e-3, 4e-3)
"""Learning rates that are tried for each kind (our choice)."""
WIDTHS = (64, 96, 128, 192)
"""d_model of the ladder's models, at the scale's number of steps."""
BUDGET = 1 / 2
"""Share of the scale's steps with which learning rates are compared (our choice)."""
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of the scale's steps, at the scale's own d_model."""


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
    """Baselines of each kind by kind, d_model and steps: the scale's width at SHARES of its steps, and WIDTHS at all steps.

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


def next_lambda(kept: dict[float, int], heads: int, removed: Iterable[float], first: float) -> float | None:
    """The lambda to try next, so that a sweep has a point near each share of removed heads; None if it has.

    kept: heads that each lambda left, of `heads`; only these numbers choose, no loss does. first: where to begin. Next comes
    the share that is farthest from every point: between two lambdas by the heads that they left, on a logarithmic scale, and
    beyond all of them by a factor of 2. Near is a 32nd of the heads; beyond the largest share there must be a point.
    """
    if not kept:
        return first
    wanted = [round((1 - share) * heads) for share in removed]
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
