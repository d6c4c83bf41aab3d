"""The controls: gates against simpler ways to the same number of heads, with both budgets (notebook 11).

A rival keeps the heads that a criterion chooses (`allatt.paper.criteria`). Models need steps to make up for heads that are cut,
and gates need steps to choose, so there are two fair budgets:

    at the start   removed from the baseline at once; then all steps of pruning, with its learning rates
    late           removed where the gates had settled, from the weights that trained with them; then the same consolidation

With one phase, as in the paper, there is only the first. Without a criterion: the learned set restarted from the baseline; the
learned shape from random weights, with all steps that the pruned model has had, and with those of pruning alone; the even shape
with all steps, to see whether the learned shape matters; the learned set at the baseline's learning rate (rewinding, Renda et
al. 2020); and all heads, with gates at lambda 0 and without gates.
"""

from dataclasses import replace

from allatt.config import ALL_ATTENTION, RunConfig
from allatt.paper.criteria import CRITERIA, Evidence
from allatt.paper.study import Study
from allatt.prune import Kept
from allatt.runs import Run, get_or_run
from allatt.system.files import read_json, write_json
from allatt.system.machine import Machine

KEPT = 0.7
"""Share of All-attention's heads that the controls keep: Transformer-XL is equally small with 22% of its heads."""
GATES = "learned gates"
LATE = ", cut late"
"""What follows a criterion's name if its heads are cut where the gates had settled."""
RESTARTED, REWOUND = "learned set, restarted", "learned set, rewound"
SCRATCH, SHORT_SCRATCH = "its shape from scratch", "its shape from scratch, short"
EVEN_SCRATCH = "even shape from scratch"
SCRATCHES = SCRATCH, EVEN_SCRATCH, SHORT_SCRATCH
CONTROL, NO_GATES = "all heads, gates at λ = 0", "all heads, no gates"


def learned(study: Study, seed: int | None = None) -> RunConfig:
    """All-attention, pruned by gates to KEPT of its heads: what the rivals have to beat."""
    return study.to_target(ALL_ATTENTION, KEPT, seed)


def rivals(study: Study, seed: int | None = None, machine: Machine | None = None) -> dict[str, RunConfig]:
    """`learned` and its rivals, by name; trains the gates first, to know how many heads they keep."""
    target, control = learned(study, seed), study.pruning(ALL_ATTENTION, 0.0, seed)
    gated = target.gated
    run = get_or_run(gated, machine)
    chosen = chosen_heads(run)
    set_of_gates = tuple(map(tuple, run.result["heads"]["kept"]))
    configs = {GATES: target}
    configs |= {name: _cut_at_start(study, gated, kept, name) for name, kept in chosen.items()}
    configs[RESTARTED] = _cut_at_start(study, gated, set_of_gates, RESTARTED)
    if target.consolidate:
        configs |= {name + LATE: _cut_late(target, kept, name + LATE) for name, kept in chosen.items()}
        rate = gated.start.train
        train = replace(target.train, lr=rate.lr, warmup=target.train.steps // 20)
        configs[REWOUND] = replace(target, name=f"{ALL_ATTENTION}, {REWOUND}", train=train)
    configs[SCRATCH] = _from_scratch(study, target, set_of_gates, SCRATCH)
    configs[EVEN_SCRATCH] = _from_scratch(study, target, chosen["even layers"], EVEN_SCRATCH)
    configs[SHORT_SCRATCH] = _from_scratch_in_short(target, set_of_gates)
    configs[CONTROL] = control
    configs[NO_GATES] = study.finish(replace(control.gated, name=f"{ALL_ATTENTION}, {NO_GATES}", gates=None))
    return configs


def chosen_heads(run: Run) -> dict[str, Kept]:
    """What each criterion keeps, given the run that trained the gates.

    Saved in that run's folder: choosing takes a while, and other hardware might round scores into another order and rival.
    """
    path = run.folder / "rivals.json"
    saved = read_json(path, "remove it and run again") if path.exists() else {}
    missing = [name for name in CRITERIA if name not in saved]
    if missing:
        evidence = Evidence(run)
        saved |= {name: CRITERIA[name](evidence) for name in missing}
        write_json(path, saved)
    return {name: tuple(map(tuple, saved[name])) for name in CRITERIA}


def _cut_at_start(study: Study, gated: RunConfig, kept: Kept, name: str) -> RunConfig:
    """All steps of pruning, without gates, with these heads of the baseline."""
    model = replace(gated.model, kept=kept)
    return study.finish(replace(gated, name=f"{ALL_ATTENTION}, {name}", model=model, gates=None))


def _cut_late(target: RunConfig, kept: Kept, name: str) -> RunConfig:
    """The consolidation of a pruned model, with other heads of the same weights."""
    return replace(target, name=f"{ALL_ATTENTION}, {name}", model=replace(target.model, kept=kept), consolidate=False)


def _from_scratch(study: Study, target: RunConfig, kept: Kept, name: str) -> RunConfig:
    """A shape from random weights, with the whole budget: a baseline's training, then all steps of pruning."""
    shape = replace(target.gated.start.model, kept=kept)
    small = replace(target.gated.start, name=f"{ALL_ATTENTION} baseline of that shape", model=shape)
    return study.finish(replace(target.gated, name=f"{ALL_ATTENTION}, {name}", model=shape, gates=None, start=small))


def _from_scratch_in_short(target: RunConfig, kept: Kept) -> RunConfig:
    """A shape from random weights, with the budget of pruning alone."""
    base, steps = target.gated.start, target.train.steps + (target.gated.train.steps if target.consolidate else 0)
    train = replace(base.train, steps=steps, skip=base.train.steps, warmup=round(base.train.warmup * steps / base.train.steps))
    return replace(base, name=f"{ALL_ATTENTION}, {SHORT_SCRATCH}", model=replace(base.model, kept=kept), train=train)


def budget(config: RunConfig) -> int:
    """Total number of steps that a model has been trained for, including its starts."""
    return config.train.steps + (budget(config.start) if config.start else 0)

