"""Experiments share runs, and differ in what they say they differ in."""

from dataclasses import fields, replace

import pytest
import torch

from allatt.config import ALL_ATTENTION, AllattError, GateConfig
from allatt.data.tokens import load
from allatt.importance import head_importance, most_important
from allatt.paper import experiments, scales
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.train import Machine


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_notebooks_share_runs(scale):
    study = Study(scale)
    example = study.pruning(ALL_ATTENTION, scales.get(scale).example)
    swept = {config.id for config in study.sweep(ALL_ATTENTION)}
    assert example.id in swept, "the pruned model of notebook 05 is one of the sweep"
    assert experiments.training_methods(study)["all three"].id == example.id
    assert example.start.id == study.baseline(ALL_ATTENTION).id


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_everything_has_each_run_once_and_each_start(scale):
    configs = experiments.everything(Study(scale, count=2))
    ids = [config.id for config in configs]
    assert len(ids) == len(set(ids))
    lambdas = scales.get(scale).lambdas
    # Two baselines, the sweeps with a control each, four of the training methods (the fifth, all three, is in the sweep), one
    # from random weights, and one to a target.
    assert len(ids) == 2 + sum(1 + len(values) for values in lambdas.values()) + 4 + 2
    seen = set()
    for config in configs:
        assert config.start is None or config.start.id in seen, f"{config.name} comes before its start"
        seen.add(config.id)


def test_training_methods_differ_in_exactly_the_named_switch():
    methods = experiments.training_methods(Study("laptop"))
    full = methods["all three"]
    assert full.gates.initial == 2 and full.gates.penalty_warmup > 0 and full.gates.output_scaling
    expected = {"all three": set(), "gates start half open": {"initial"}, "no penalty warm-up": {"penalty_warmup"},
                "no output scaling": {"output_scaling"},
                "none of the three": {"initial", "penalty_warmup", "output_scaling"}}
    assert set(methods) == set(expected)
    for name, config in methods.items():
        changed = {f.name for f in fields(GateConfig) if getattr(config.gates, f.name) != getattr(full.gates, f.name)}
        assert changed == expected[name], name
        assert replace(config, name=full.name, gates=full.gates) == full, name


def test_gates_on_random_weights_have_the_same_number_of_steps_in_all():
    study = Study("laptop")
    full, config = experiments.training_methods(study)["all three"], experiments.untrained(study)
    assert config.start is None and (config.gates, config.model, config.data) == (full.gates, full.model, full.data)
    assert config.train.steps == full.train.steps + full.start.train.steps
    assert replace(config.train, steps=full.start.train.steps) == full.start.train


def test_an_incomplete_study_leaves_out_the_untrained_model():
    one, three = Study("laptop"), Study("laptop", count=3)
    short, long = experiments.everything(one), experiments.everything(three)
    assert [config for config in long if config not in short] == [experiments.untrained(one)]
    assert set(experiments.method_comparison(one)) == set(experiments.TRAINING_METHODS)
    assert set(experiments.method_comparison(three)) == set(experiments.method_comparison(Study("smoke"))) == {
        *experiments.TRAINING_METHODS, experiments.UNTRAINED}


def test_rivals_keep_as_many_heads_in_as_many_steps(home_of_tests):
    """Real runs at the smoke scale: the target, and then what follows from it."""
    machine, study = Machine(device="cpu", progress=False), Study("smoke", seed=5)
    rivals = experiments.rivals(study, machine=machine)
    gates, base = get_or_run(rivals[experiments.GATES]), get_or_run(rivals[experiments.GATES].start)
    learned, total = gates.result["heads"]["kept"], gates.result["heads"]["total"]
    assert rivals[experiments.GATES] == experiments.to_half(study)
    steps = base.config.train.steps + gates.config.train.steps
    for name, config in rivals.items():
        assert config.train.steps + (config.start.train.steps if config.start else 0) == steps, name
        assert config.train.seed == 5 and (name == experiments.GATES or sum(config.model.heads_per_layer) == total), name
    random, even, gradient, scratch = (rivals[name].model.kept for name in (
        "random heads", "even layers", "gradient importance", "its shape from scratch"))
    assert [*map(len, random)] == [*map(len, learned)] and [list(heads) for heads in scratch] == learned
    small = rivals["its shape from scratch"].start
    assert small == replace(base.config, name=small.name, model=rivals["its shape from scratch"].model)
    assert rivals["its shape from scratch"].train == rivals["random heads"].train, "the same two stages"
    assert max(map(len, even)) - min(map(len, even)) <= 1
    logit_LH = gates.gates().logit_LH
    for layer, heads in enumerate(even):
        others = [h for h in range(4) if h not in heads]
        assert not heads or not others or min(logit_LH[layer, list(heads)]) >= max(logit_LH[layer, others])
    assert gradient == most_important(head_importance(base.load(), load(base.config.data).train), total)
    assert rivals == experiments.rivals(Study("smoke"), 5, machine)
    run = get_or_run(rivals["random heads"], machine)
    assert run.result["heads"]["kept"] == [list(heads) for heads in random]


def test_heads_are_ranked_by_gradient_once(pruned, monkeypatch):
    base = get_or_run(pruned.config.start)
    scores = experiments._importance(base)
    assert torch.equal(scores, head_importance(base.load(), load(base.config.data).train))
    monkeypatch.delattr(experiments, "head_importance")
    assert torch.equal(experiments._importance(base), scores), "read, bit for bit"
    monkeypatch.setattr(experiments, "ROWS", 1)
    with pytest.raises(NameError):
        experiments._importance(base)  # scores of another amount of text are not read
    (base.folder / "importance.json").write_text("{")
    with pytest.raises(AllattError, match=r"importance\.json cannot be read .* remove it and run again"):
        experiments._importance(base)
    (base.folder / "importance.json").unlink()


def test_paper_s_lists():
    assert {lam: sum(kept) for lam, kept in experiments.PAPER_KEPT.items()} == {0.01: 106, 0.015: 87, 0.02: 59}
    assert all(len(kept) == 16 and min(kept) == kept[1] for kept in experiments.PAPER_KEPT.values())
