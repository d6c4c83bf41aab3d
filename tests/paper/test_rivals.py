"""Rivals: as many heads, as many steps, and one thing that differs. On real runs of a tiny scale."""

import json
from dataclasses import replace

import pytest

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, AllattError, DataConfig, GateConfig, ModelConfig, TrainConfig
from allatt.data.tokens import load
from allatt.evaluate import nll
from allatt.optimizer import lr_factor
from allatt.paper import rivals as module
from allatt.paper import scales
from allatt.paper.criteria import CRITERIA, Evidence
from allatt.paper.rivals import (
    CONTROL,
    EVEN_SCRATCH,
    GATES,
    LATE,
    NO_GATES,
    RESTARTED,
    REWOUND,
    SCRATCH,
    SHORT_SCRATCH,
    budget,
    chosen_heads,
    learned,
    rivals,
)
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.system.machine import Machine

QUIET = Machine(device="cpu", progress=False)
TINY = scales.Scale(
    name="smoke", data=DataConfig(tokens="characters", vocab_size=0), vocab=20,
    model=ModelConfig(layers=2, heads=4, d_model=8, d_head=2, persistent=4, feed_forward=4, segment=8, memory=8, positions=9,
                      init="unit"),
    baseline=scales.both(TrainConfig(steps=6, rows=2, lr=1e-2, warmup=2)), **scales.two_phases(20, rows=2, lr=2e-3),
    gates=GateConfig(initial=0.5, lr=0.2), lambdas=dict.fromkeys(KINDS, (0.1,)), example=0.1)


@pytest.fixture(scope="module")
def tiny(text, home_of_tests):
    """One study with two phases and one with a single phase, of a tiny scale in the place of smoke."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scales.SCALES, "smoke", TINY)
        yield {one_phase: Study("smoke", str(text), seed=5, one_phase=one_phase) for one_phase in (False, True)}


@pytest.fixture(params=[False, True], ids=["two phases", "one phase"])
def case(tiny, request):
    """A study, the run that trained its gates, and its rivals."""
    study = tiny[request.param]
    configs = rivals(study, machine=QUIET)
    return study, get_or_run(configs[GATES].gated, QUIET), configs


def stages(config):
    """From the first stage to the last one."""
    return [*(stages(config.start) if config.start else []), config]


def test_all_have_as_many_heads_of_the_same_seed_and_text(case):
    study, gates, configs = case
    total = gates.result["heads"]["total"]
    assert 0 < total < 8 and configs[GATES] == learned(study) == study.to_target(ALL_ATTENTION, module.KEPT)
    for name, config in configs.items():
        assert {stage.train.seed for stage in stages(config)} == {5}, name
        assert {stage.data for stage in stages(config)} == {study.data}, name
        assert config.model.kind == ALL_ATTENTION, name
    kept = {name: config.model.kept for name, config in configs.items()}
    assert {name for name, heads in kept.items() if heads is None} == {GATES, CONTROL, NO_GATES} | ({REWOUND} & set(kept))
    assert all(sum(map(len, heads)) == total for heads in kept.values() if heads is not None)
    assert len({config.name for config in configs.values()}) == len(configs)


def test_all_have_as_many_steps_from_a_text_that_goes_on(case):
    """But the short one from scratch, which has those of pruning alone."""
    _, gates, configs = case
    whole = budget(configs[GATES])
    assert whole == sum(stage.train.steps for stage in stages(configs[GATES])) == 26
    for name, config in configs.items():
        steps = [stage.train.steps for stage in stages(config)]
        assert budget(config) == sum(steps) == (20 if name == SHORT_SCRATCH else whole), name
        read = [stage.train.skip for stage in stages(config)]
        assert read == [sum(steps[:i]) + (6 if name == SHORT_SCRATCH else 0) for i in range(len(steps))], name


def test_heads_that_are_cut_at_the_start_have_the_baseline_s_weights_and_all_of_pruning(case):
    study, gates, configs = case
    target = configs[GATES]
    for name in (*CRITERIA, RESTARTED):
        config = configs[name]
        assert stages(config)[0] == study.baseline(ALL_ATTENTION), name
        assert [stage.train for stage in stages(config)] == [stage.train for stage in stages(target)], name
        assert {stage.gates for stage in stages(config)} == {None} and not config.consolidate, name
        assert [stage.model.kept for stage in stages(config)[1:]] == [config.model.kept] * (len(stages(target)) - 1), name
    assert [list(heads) for heads in configs[RESTARTED].model.kept] == gates.result["heads"]["kept"]


def test_heads_that_are_cut_late_have_the_weights_of_the_gates_and_their_consolidation(case):
    study, gates, configs = case
    late = {name for name in configs if name.endswith(LATE)}
    if study.one_phase:
        assert not late and REWOUND not in configs, "there is nothing to cut late in one phase"
        return
    assert late == {name + LATE for name in CRITERIA}
    for name in late:
        config = configs[name]
        assert config.start == gates.config and config.train == configs[GATES].train and config.gates is None
        assert config.model.kept == configs[name.removesuffix(LATE)].model.kept and not config.consolidate


def test_each_criterion_s_heads_are_what_it_says_of_the_gates(case):
    _, gates, configs = case
    seen = Evidence(gates)
    for name, criterion in CRITERIA.items():
        assert configs[name].model.kept == criterion(seen), name


def test_rewinding_takes_the_learned_set_at_the_baseline_s_rate(tiny):
    configs = rivals(tiny[False], machine=QUIET)
    rewound, target = configs[REWOUND], configs[GATES]
    assert rewound.consolidate and rewound.start.id == target.start.id
    rates = [rewound.train.lr * lr_factor(rewound.train, step) for step in range(rewound.train.steps)]
    assert max(rates) == TINY.baseline[ALL_ATTENTION].lr > target.train.lr and rates[-1] < rates[len(rates) // 2]
    assert replace(rewound.train, lr=target.train.lr, warmup=target.train.warmup) == target.train


def test_the_learned_shape_from_scratch_has_never_seen_the_baseline(case):
    study, gates, configs = case
    learned_set = tuple(map(tuple, gates.result["heads"]["kept"]))
    baseline = study.baseline(ALL_ATTENTION)
    for name in (SCRATCH, SHORT_SCRATCH):
        assert {stage.model for stage in stages(configs[name])} == {replace(baseline.model, kept=learned_set)}, name
        assert {stage.gates for stage in stages(configs[name])} == {None} and stages(configs[name])[0].start is None, name
    assert [stage.train for stage in stages(configs[SCRATCH])] == [stage.train for stage in stages(configs[GATES])]
    short = configs[SHORT_SCRATCH]
    assert short.start is None and short.train.schedule == "cosine" and short.train.lr == baseline.train.lr
    assert short.train.warmup / short.train.steps == pytest.approx(baseline.train.warmup / baseline.train.steps, abs=0.1)


def test_the_even_shape_from_scratch_differs_from_the_learned_one_in_its_heads_alone(case, monkeypatch):
    study, _, configs = case
    chosen, even = dict(chosen_heads(get_or_run(configs[GATES].gated))), ((1, 3), (0, 1, 2, 3))  # as the learned set is even
    monkeypatch.setattr(module, "chosen_heads", lambda run: chosen | {"even layers": even})
    pair = [stages(rivals(study, machine=QUIET)[name]) for name in (SCRATCH, EVEN_SCRATCH)]
    for learned_stage, stage in zip(*pair, strict=True):
        assert stage.model.kept == even != learned_stage.model.kept
        for name in ("model", "data", "train", "gates"):
            changes = {"model": replace(learned_stage.model, kept=even)}.get(name, getattr(learned_stage, name))
            assert getattr(stage, name) == changes, name


def test_all_heads_are_trained_with_gates_and_without(case):
    study, _, configs = case
    assert configs[CONTROL] == study.pruning(ALL_ATTENTION, 0.0)
    plain = configs[NO_GATES]
    assert {stage.gates for stage in stages(plain)} == {None} and {stage.model.kept for stage in stages(plain)} == {None}
    assert [stage.train for stage in stages(plain)] == [stage.train for stage in stages(configs[CONTROL])]


def test_a_study_s_first_seed_is_the_default(tiny, text):
    assert rivals(replace(tiny[False], seed=0), 5, QUIET) == rivals(tiny[False], machine=QUIET)


def test_the_runs_end_with_the_heads_that_were_chosen(case):
    """Two criteria and the learned set, trained; what is cut late starts from weights that gates have trained."""
    _, gates, configs = case
    names = {GATES, RESTARTED, "random heads", "random heads" + LATE, SCRATCH} & set(configs)
    losses = {}
    for name in names:
        run = get_or_run(configs[name], QUIET)
        kept = configs[name].model.kept or tuple(map(tuple, gates.result["heads"]["kept"]))
        assert run.pruned().config.kept == kept and tuple(map(tuple, run.result["heads"]["kept"])) == kept, name
        total, predicted = nll(run.pruned(), load(run.config.data).test, 2)
        losses[name] = run.result["test"]["loss"]
        assert total / predicted == pytest.approx(losses[name], abs=1e-6)
    assert len(set(losses.values())) == len(names), "each is another model"


def test_choices_are_made_once_and_read_from_then_on(tiny, monkeypatch):
    """Other hardware might rank heads otherwise; a criterion that is new is asked, and no other again."""
    run = get_or_run(learned(tiny[False]).gated, QUIET)
    chosen = chosen_heads(run)
    assert json.loads((run.folder / "rivals.json").read_text()).keys() == CRITERIA.keys()
    asked = []

    def ask(name):
        def criterion(evidence):
            asked.append((name, evidence.learned.id))
            return (), (1,)
        return criterion

    for name in [*CRITERIA, "another"]:
        monkeypatch.setitem(CRITERIA, name, ask(name))
    assert chosen_heads(run) == chosen_heads(run) == chosen | {"another": ((), (1,))}
    assert asked == [("another", run.id)]
    (run.folder / "rivals.json").write_text("{")
    with pytest.raises(AllattError, match=r"rivals\.json cannot be read .* remove it and run again"):
        chosen_heads(run)
    (run.folder / "rivals.json").unlink()


def test_the_control_s_share_is_what_the_module_says_of_transformer_xl():
    """All-attention with 70% of its heads is as small as Transformer-XL with 22% of its own."""
    ours, theirs = (cost.relative(scales.model("paper", kind))["parameters"] for kind in KINDS)
    left = ours[round(128 * (1 - module.KEPT))]
    nearest = min(range(129), key=lambda removed: abs(theirs[removed] - left))
    assert 1 - nearest / 128 == pytest.approx(0.22, abs=0.01)
