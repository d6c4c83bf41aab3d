"""The experiments that the notebooks compare, beyond the baselines and sweeps of `allatt.paper.study`.

Each function takes a study and a seed (None: its first). All models of a comparison train for the same number of steps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from allatt.config import ALL_ATTENTION, KINDS, RunConfig
from allatt.paper import calibration, pruning_rates, rivals, scales
from allatt.paper.study import Study
from allatt.system.machine import Machine

TRAINING_METHODS = {
    "all three": {},
    "gates start half open": {"initial": 0.0},
    "no penalty warm-up": {"penalty_warmup": 0},
    "no output scaling": {"output_scaling": False},
    "none of the three": {"initial": 0.0, "penalty_warmup": 0, "output_scaling": False},
}
"""Which of the paper's three training methods are left out, as switches of GateConfig. Claim 4: each method helps."""
UNTRAINED = "from random weights"
"""All three methods, but no converged model to start from."""

PAPER_KEPT = {
    0.01: (8, 3, 7, 6, 6, 6, 6, 7, 6, 7, 8, 8, 7, 8, 7, 6),
    0.015: (6, 4, 6, 5, 4, 5, 5, 6, 5, 6, 7, 5, 6, 6, 6, 5),
    0.02: (5, 2, 5, 4, 3, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3),
}
"""For each lambda, how many of 8 heads the paper's models kept in each of layers 1 to 16 (its official inference script)."""


def training_methods(study: Study, seed: int | None = None) -> dict[str, RunConfig]:
    """All-attention at the scale's example lambda with the three methods, with each left out, and with none."""
    lam = scales.get(study.scale).example
    return {name: replace(study.pruning(ALL_ATTENTION, lam, seed, **switches), name=f"{ALL_ATTENTION}, {name}")
            for name, switches in TRAINING_METHODS.items()}


def untrained(study: Study, seed: int | None = None) -> RunConfig:
    """All-attention with gates from the first step on, for as many steps as a baseline and its pruning take together.

    The gates train with the baseline's schedule, so this run also differs from pruning in its learning rates. The second phase,
    if the scale has one, is the same.
    """
    gated = study.pruning(ALL_ATTENTION, scales.get(study.scale).example, seed).gated
    train = replace(gated.start.train, steps=gated.start.train.steps + gated.train.steps)
    return study.finish(replace(gated, name=f"{ALL_ATTENTION}, {UNTRAINED}", train=train, start=None))


def method_comparison(study: Study, seed: int | None = None) -> dict[str, RunConfig]:
    """`training_methods`, and `untrained` if the study is complete (notebook 06)."""
    more = {UNTRAINED: untrained(study, seed)} if study.is_complete else {}
    return training_methods(study, seed) | more


def everything(study: Study, seed: int | None = None) -> list[RunConfig]:
    """The runs of notebooks 03 to 08 that claims rest on, for one seed, and what the controls start from; each once."""
    configs = [study.baseline(kind, seed) for kind in KINDS]
    configs += [*method_comparison(study, seed).values(), *([rivals.learned(study, seed)] if study.is_complete else [])]
    configs += study.sweeps(seed)
    return list({config.id: config for config in configs}.values())


def most_telling_first(configs: list[RunConfig]) -> list[RunConfig]:
    """A sweep in the order that is most informative if it is interrupted: controls, then lambdas from the middle of each kind's
    grid outward. Other lists stay as they are."""
    if not all(config.gated for config in configs):
        return configs

    def place(config: RunConfig) -> int:
        grid = [other.gated.gates.lam for other in configs if other.model.kind == config.model.kind]
        at = grid.index(config.gated.gates.lam)
        return 1 + abs(at - len(grid) // 2) if at else 0

    return sorted(configs, key=place)


class Experiment(NamedTuple):
    """What `python -m allatt experiment` runs under a name."""

    about: str
    configs: Callable[[Study, int, Machine], list[RunConfig]]
    """(study, seed, machine) -> configs; `machine` first trains what the rivals need to know."""


EXPERIMENTS = {
    "baselines": Experiment("both models, dense, from random weights (notebook 03)",
                            lambda study, seed, machine: [study.baseline(kind, seed) for kind in KINDS]),
    "sweep": Experiment("both models, pruned more and more, after their controls (notebooks 07, 08)",
                        lambda study, seed, machine: study.sweeps(seed)),
    "methods": Experiment("All-attention with the three methods, each left out, none, and untrained (notebook 06)",
                          lambda study, seed, machine: [*training_methods(study, seed).values(), untrained(study, seed)]),
    "controls": Experiment("as many heads, found by gates and in other ways (notebook 11)",
                           lambda study, seed, machine: [*rivals.rivals(study, seed, machine).values()]),
    "characters": Experiment("the sweep on characters (notebook 12)",
                             lambda study, seed, machine: study.variant("characters").sweeps(seed)),
    "words": Experiment("the sweep on words, with the adaptive softmax (notebook 13)",
                        lambda study, seed, machine: study.variant("words").sweeps(seed)),
}
"""In the order in which `all` runs them."""
CALIBRATION = {
    "learning-rates": Experiment(f"both baselines at several learning rates, on seed {calibration.SEED}",
                                 lambda study, seed, machine: [*calibration.learning_rates(study).values()]),
    "lambdas": Experiment(f"gates at one lambda after the other, chosen by the heads that are left, on seed {calibration.SEED}",
                          lambda study, seed, machine: [*calibration.lambdas(study, machine).values()]),
    "pruning-rates": Experiment("the sweep at other learning rates of pruning, too: what the choice of the rate does",
                                lambda study, seed, machine: [config for some in pruning_rates.sweeps(study, seed).values()
                                                              for config in some]),
    "ladder": Experiment("both models, dense, at several sizes and for several numbers of tokens (notebook 03)",
                         lambda study, seed, machine: [*calibration.ladder(study, seed).values()]),
}
"""What a scale's settings rest on; `all` leaves it out."""
