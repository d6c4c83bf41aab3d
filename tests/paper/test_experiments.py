"""Experiments share runs, and differ in what they say they differ in."""

from dataclasses import fields, replace

import pytest

from allatt.config import ALL_ATTENTION, KINDS, GateConfig
from allatt.paper import calibration, experiments, rivals, scales
from allatt.paper.experiments import most_telling_first, training_methods
from allatt.paper.rivals import budget
from allatt.paper.study import Study
from allatt.system.machine import Machine
from allatt.system.paths import repository


@pytest.mark.parametrize("scale", ["smoke", "laptop", "overnight"])
def test_notebooks_share_runs(scale):
    study = Study(scale)
    example = study.pruning(ALL_ATTENTION, scales.get(scale).example)
    swept = {config.id for config in study.sweep(ALL_ATTENTION)}
    assert example.id in swept, "the pruned model of notebook 05 is one of the sweep"
    assert experiments.training_methods(study)["all three"].id == example.id
    assert example.gated.start.id == study.baseline(ALL_ATTENTION).id


@pytest.mark.parametrize("one_phase", [False, True])
@pytest.mark.parametrize("scale", ["smoke", "laptop", "overnight"])
def test_everything_has_each_run_once_after_its_baseline(scale, one_phase):
    configs = experiments.everything(Study(scale, count=2, one_phase=one_phase))
    ids = [config.id for config in configs]
    assert len(ids) == len(set(ids))
    lambdas = scales.get(scale).lambdas
    # Two baselines, the sweeps with a control each, four of the training methods (the fifth, all three, is in the sweep), one
    # from random weights, and one to a target.
    assert len(ids) == 2 + sum(1 + len(values) for values in lambdas.values()) + 4 + 2
    seen = set()
    for config in configs:
        first = config.gated or config
        assert first.start is None or first.start.id in seen, f"{config.name} comes before its baseline"
        seen.add(config.id)
    assert {config.gated is not None for config in configs[:2]} == {False}, "the baselines come first"
    assert sum(config.consolidate for config in configs) == (0 if one_phase else len(configs) - 2)


def test_training_methods_differ_in_exactly_the_named_switch():
    methods = experiments.training_methods(Study("laptop"))
    full = methods["all three"]
    assert full.gated.gates.initial == 2 and full.gated.gates.penalty_warmup > 0 and full.gated.gates.output_scaling
    expected = {"all three": set(), "gates start half open": {"initial"}, "no penalty warm-up": {"penalty_warmup"},
                "no output scaling": {"output_scaling"},
                "none of the three": {"initial", "penalty_warmup", "output_scaling"}}
    off = {"initial": 0.0, "penalty_warmup": 0, "output_scaling": False}
    assert set(methods) == set(expected)
    for name, config in methods.items():
        gates, gated = config.gated.gates, full.gated
        changed = {f.name for f in fields(GateConfig) if getattr(gates, f.name) != getattr(gated.gates, f.name)}
        assert changed == expected[name] and all(getattr(gates, switch) == off[switch] for switch in changed), name
        assert replace(config, name=full.name, start=replace(config.start, name=gated.name, gates=gated.gates)) == full, name


@pytest.mark.parametrize("one_phase", [False, True])
@pytest.mark.parametrize("scale", ["laptop", "overnight"])
def test_gates_on_random_weights_have_the_same_number_of_steps_in_all(scale, one_phase):
    study = Study(scale, one_phase=one_phase)
    full, config = experiments.training_methods(study)["all three"], experiments.untrained(study)
    first, baseline = config.gated, full.gated.start
    assert first.start is None and (first.gates, first.model, first.data) == (full.gated.gates, full.model, full.data)
    assert budget(config) == budget(full) and first.train.skip == 0
    assert replace(first.train, steps=baseline.train.steps) == baseline.train, "with the baseline's schedule"
    assert config.consolidate != one_phase and (one_phase or config.train == full.train), "the second phase is the same"


def test_an_incomplete_study_leaves_out_the_untrained_model_and_what_only_controls_read():
    one, three = Study("laptop"), Study("laptop", count=3)
    short, long = experiments.everything(one), experiments.everything(three)
    assert [config for config in long if config not in short] == [experiments.untrained(one), rivals.learned(one)]
    assert set(experiments.method_comparison(one)) == set(experiments.TRAINING_METHODS)
    assert set(experiments.method_comparison(three)) == set(experiments.method_comparison(Study("smoke"))) == {
        *experiments.TRAINING_METHODS, experiments.UNTRAINED}


def test_the_laptop_scale_s_records_are_all_that_its_notebooks_read():
    """So that whoever unpacks them can draw its figures and judge its claims without a training."""
    records = {path.stem for path in (repository() / "figures" / "laptop" / "runs").glob("*.json")}
    assert {config.id for config in experiments.everything(Study("laptop"))} <= records


def test_every_experiment_is_about_the_seed_that_is_asked_for(monkeypatch):
    """Except learning rates and lambdas, which are chosen on a seed of their own."""
    monkeypatch.setattr(calibration, "lambdas", lambda study, machine: {0.1: study.pruning(KINDS[0], 0.1, calibration.SEED)})
    monkeypatch.setattr(rivals, "rivals", lambda study, seed, machine: {"gates": rivals.learned(study, seed)})
    study, machine = Study("smoke", count=9), Machine()
    seeds = {}
    for name, experiment in (experiments.EXPERIMENTS | experiments.CALIBRATION).items():
        configs = experiment.configs(study, 7, machine)
        seeds[name] = {config.train.seed for config in configs}
        assert experiment.about and configs, name
    assert seeds.pop("learning-rates") == seeds.pop("lambdas") == {100} and 100 not in study.seeds
    assert all(found == {7} for found in seeds.values()), seeds
    sweep = experiments.EXPERIMENTS["sweep"].configs(study, 7, machine)
    assert {config.model.kind for config in sweep} == set(KINDS)


def test_paper_s_lists():
    assert {lam: sum(kept) for lam, kept in experiments.PAPER_KEPT.items()} == {0.01: 106, 0.015: 87, 0.02: 59}
    assert all(len(kept) == 16 and min(kept) == kept[1] for kept in experiments.PAPER_KEPT.values())


def test_what_tells_most_comes_first():
    """Controls, then the middle of each grid; a list without gates stays as it is."""
    study = Study("overnight")
    lams = {kind: [config.gated.gates.lam for config in most_telling_first(study.sweeps()) if config.model.kind == kind]
            for kind in KINDS}
    assert lams["all-attention"] == [0, 0.08, 0.065, 0.11, 0.055, 0.16, 0.045, 0.3]
    assert lams["transformer-xl"][:3] == [0, 0.1, 0.07] and sorted(lams["transformer-xl"])[1:] == \
        list(scales.get("overnight").lambdas["transformer-xl"])
    assert {config.gated.gates.lam for config in most_telling_first(study.sweeps())[:2]} == {0}
    baselines = [study.baseline(kind) for kind in KINDS]
    assert most_telling_first(baselines) == baselines
    methods = [*training_methods(study).values()]
    assert most_telling_first(methods) == methods
