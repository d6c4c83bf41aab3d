"""The experiments that the notebooks compare, beyond the baselines and sweeps of `allatt.paper.study`.

Each function takes a study and a seed (None: its first). All models of a comparison train for the same number of steps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from allatt.config import ALL_ATTENTION, KINDS, RunConfig
from allatt.data.tokens import load
from allatt.importance import ROWS, SEGMENTS, head_importance, most_important, top_per_layer
from allatt.paper import scales
from allatt.paper.study import Study
from allatt.runs import Run, get_or_run
from allatt.system.files import read_json, write_json
from allatt.train import Machine

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

HALF = 0.5
"""Share of the heads that notebook 11 keeps."""
GATES = "learned gates"

PAPER_KEPT = {
    0.01: (8, 3, 7, 6, 6, 6, 6, 7, 6, 7, 8, 8, 7, 8, 7, 6),
    0.015: (6, 4, 6, 5, 4, 5, 5, 6, 5, 6, 7, 5, 6, 6, 6, 5),
    0.02: (5, 2, 5, 4, 3, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3),
}
"""For each lambda, how many of their 8 heads layers 1 to 16 of the paper's models kept (its official inference script)."""


def training_methods(study: Study, seed: int | None = None) -> dict[str, RunConfig]:
    """All-attention at the scale's example lambda with the three methods, with each left out, and with none."""
    lam = scales.get(study.scale).example
    return {name: replace(study.pruning(ALL_ATTENTION, lam, seed, **switches), name=f"{ALL_ATTENTION}, {name}")
            for name, switches in TRAINING_METHODS.items()}


def untrained(study: Study, seed: int | None = None) -> RunConfig:
    """All-attention with gates from the first step on, for as many steps as a baseline and its pruning take together.

    It has one stage, with the baseline's schedule, so it also differs from pruning in its learning rates.
    """
    scale = scales.get(study.scale)
    config = study.pruning(ALL_ATTENTION, scale.example, seed)
    train = replace(config.start.train, steps=config.start.train.steps + scale.prune.steps)
    return replace(config, name=f"{ALL_ATTENTION}, {UNTRAINED}", train=train, start=None)


def method_comparison(study: Study, seed: int | None = None) -> dict[str, RunConfig]:
    """`training_methods`, and `untrained` if the study is complete (notebook 06)."""
    more = {UNTRAINED: untrained(study, seed)} if study.is_complete else {}
    return training_methods(study, seed) | more


def to_half(study: Study, seed: int | None = None) -> RunConfig:
    """All-attention, pruned by gates to half of its heads: what the rivals have to beat."""
    return study.to_target(ALL_ATTENTION, HALF, seed)


def rivals(study: Study, seed: int | None = None, machine: Machine | None = None) -> dict[str, RunConfig]:
    """`to_half`, and other ways to the same number of heads in the same number of steps; trains `to_half`, to know the number.

    Removed at once from the baseline, then trained like the gates' weights:
        random heads          per layer as many as the gates kept, drawn at random: does the choice within a layer matter?
        even layers           the same number in every layer, those with the highest gates: do the layers' shares matter?
        gradient importance   the same number in all, by Michel et al.'s scores (`allatt.importance`)
    And the gates' final shape, trained from random weights in the same two stages: does it take a larger model to find it?
    """
    target = to_half(study, seed)
    run = get_or_run(target, machine)
    logit_LH, heads = run.gates().logit_LH.detach(), run.result["heads"]
    random_LH = torch.rand(logit_LH.shape, generator=torch.Generator().manual_seed(target.train.seed))
    share, rest = divmod(heads["total"], len(logit_LH))
    kept_by_name = {
        "random heads": top_per_layer(random_LH, heads["per_layer"]),
        "even layers": top_per_layer(logit_LH, [share + (layer < rest) for layer in range(len(logit_LH))]),
        "gradient importance": most_important(_importance(get_or_run(target.start)), heads["total"]),
    }
    configs = {name: replace(target, name=f"{ALL_ATTENTION}, {name}", model=replace(target.model, kept=kept), gates=None)
               for name, kept in kept_by_name.items()}
    shape = replace(target.model, kept=tuple(map(tuple, heads["kept"])))
    small = replace(target.start, name=f"{ALL_ATTENTION} baseline of that shape", model=shape)
    scratch = replace(target, name=f"{ALL_ATTENTION}, its shape from scratch", model=shape, gates=None, start=small)
    return {GATES: target, **configs, "its shape from scratch": scratch}


def _importance(run: Run) -> torch.Tensor:
    """`head_importance` of a run's model on its training text.

    Saved in the run's folder: it takes seconds, and other hardware might round it to another order, and so to another rival.
    """
    path, amount = run.folder / "importance.json", {"rows": ROWS, "segments": SEGMENTS}
    saved = read_json(path, "remove it and run again") if path.exists() else {}
    if not amount.items() <= saved.items():
        saved = amount | {"scores": head_importance(run.load(), load(run.config.data).train).tolist()}
        write_json(path, saved)
    return torch.tensor(saved["scores"])


def everything(study: Study, seed: int | None = None) -> list[RunConfig]:
    """All runs of notebooks 03 to 08 for one seed, each once, in the order in which they are first used."""
    configs = [study.baseline(kind, seed) for kind in KINDS]
    configs += [*method_comparison(study, seed).values(), to_half(study, seed)]
    configs += study.sweeps(seed)
    return list({config.id: config for config in configs}.values())


class Experiment(NamedTuple):
    """What `python -m allatt experiment` runs under a name."""

    about: str
    configs: Callable[[Study, int, Machine], list[RunConfig]]
    """(study, seed, machine) -> configs; `machine` trains what `rivals` needs to know first."""


EXPERIMENTS = {
    "baselines": Experiment("both models, dense, from random weights (notebook 03)",
                            lambda study, seed, machine: [study.baseline(kind, seed) for kind in KINDS]),
    "sweep": Experiment("both models, pruned more and more, after their controls (notebooks 07, 08)",
                        lambda study, seed, machine: study.sweeps(seed)),
    "methods": Experiment("All-attention with the three methods, each left out, none, and untrained (notebook 06)",
                          lambda study, seed, machine: [*training_methods(study, seed).values(), untrained(study, seed)]),
    "controls": Experiment("half of the heads, found by gates and in other ways (notebook 11)",
                           lambda study, seed, machine: [*rivals(study, seed, machine).values()]),
    "characters": Experiment("the sweep on characters (notebook 12)",
                             lambda study, seed, machine: study.variant("characters").sweeps(seed)),
    "words": Experiment("the sweep on words, with the adaptive softmax (notebook 13)",
                        lambda study, seed, machine: study.variant("words").sweeps(seed)),
}
"""In the order in which `all` runs them."""
