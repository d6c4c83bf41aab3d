"""Everything that the claims are judged by: all runs are asked for, counts are the paper's, and JSON keeps it."""

import json
from dataclasses import replace

import pytest
from made_up import measurements, some_point

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, AllattError
from allatt.paper import experiments, rivals, scales
from allatt.paper import measurements as module
from allatt.paper.measurements import Measurements, count, measure
from allatt.paper.points import Point
from allatt.paper.study import Study


@pytest.fixture
def asked(monkeypatch):
    """Runs are not trained, but asked for: ids of single ones in "alone", and of those that are trained in parallel."""
    asked = {"alone": [], "together": []}

    class Run:
        def __init__(self, config):
            asked["alone"].append(config.id)
            self.config, self.id, self.result = config, config.id, {"heads": {"per_layer": [0, 3]}}

    monkeypatch.setattr(module, "get_or_run", Run)
    monkeypatch.setattr(module, "get_or_run_all", lambda configs: asked["together"].extend(config.id for config in configs))
    monkeypatch.setattr(module, "make_rivals", some_rivals)
    monkeypatch.setattr(Point, "of_run", lambda run: some_point(run=run.id))
    monkeypatch.setattr(module, "flips", lambda run: 7)
    monkeypatch.setattr(module, "undecided", lambda run: 5)
    return asked


def some_rivals(study, seed):
    target = rivals.learned(study, seed)
    return {rivals.GATES: target, "random heads": study.finish(replace(target.gated, name="random", gates=None))}


def test_measure_reads_all_runs_of_a_scale(asked):
    """Every run of the notebooks is asked for, and no other."""
    study = Study("smoke", seed=3, count=2)
    measured = measure(study)
    expected = {config.id for seed in (3, 4) for config in experiments.everything(study, seed)}
    expected |= {config.id for seed in (3, 4) for config in some_rivals(study, seed).values()}
    expected |= {config.id for seed in (3, 4) for tokens in module.TOKENS for config in study.variant(tokens).sweeps(seed)}
    assert set(asked["alone"]) == set(asked["together"]) == expected
    assert (measured.folder, measured.single, measured.heads) == ("smoke-seed3-2seeds", "smoke-seed3", 8)
    assert [results.seed for results in measured.seeds] == [3, 4]
    first = measured.seeds[0]
    for kind in KINDS:
        assert [point.run for point in first.sweeps[kind]] == [config.id for config in study.sweep(kind, 3)]
        assert [point.run for point in first.words[kind]] == [config.id for config in Study("smoke-words").sweep(kind, 3)]
    assert {name: point.run for name, point in first.rivals.items()} == {
        name: config.id for name, config in some_rivals(study, 3).items()}
    assert set(first.methods) == {*experiments.TRAINING_METHODS, experiments.UNTRAINED}
    for point in (first.methods["all three"], first.sweeps[TRANSFORMER_XL][1]):
        assert (point.flips, point.undecided, point.lost) == (7, 5, 1), "whether gates had settled"
    assert first.baselines[ALL_ATTENTION].flips is None and set(first.characters) == set(first.words) == set(KINDS)
    assert measured.corpora == {"characters": "text8-like", "words": "wikipedia-excerpt"}


def test_the_overnight_scale_has_controls_but_no_other_tokens(asked):
    measured = measure(Study("overnight"))
    assert set(measured.seeds[0].rivals) == {rivals.GATES, "random heads"} and measured.corpora == {}
    assert measured.seeds[0].characters is measured.seeds[0].words is None
    assert experiments.UNTRAINED in measured.seeds[0].methods


def test_finished_runs_alone_are_measured_without_training(asked, monkeypatch):
    study = Study("overnight")
    main = [*(study.baseline(kind) for kind in KINDS), *study.sweeps()]
    done = {config.id for config in main}
    monkeypatch.setattr(module, "finished", lambda config: config.id in done)
    measured = measure(study, train=False)
    assert asked["together"] == [] and set(asked["alone"]) == done
    assert set(measured.seeds[0].methods) == {"all three"} and measured.seeds[0].rivals == {}, "it is one of the sweep"
    assert [len(points) for points in measured.seeds[0].sweeps.values()] == [len(study.sweep(kind)) for kind in KINDS]

    methods = experiments.method_comparison(study)
    done |= {config.id for config in methods.values()} | {rivals.learned(study).gated.id}
    done -= {methods[experiments.UNTRAINED].id}
    some = measure(study, train=False).seeds[0]
    assert set(some.methods) == set(experiments.TRAINING_METHODS) and some.rivals == {}
    done |= {methods[experiments.UNTRAINED].id} | {config.id for config in some_rivals(study, 0).values()}
    all_ = measure(study, train=False).seeds[0]
    assert set(all_.methods) == set(methods) and set(all_.rivals) == {rivals.GATES, "random heads"}
    assert asked["together"] == []

    done -= {main[-1].id}
    with pytest.raises(AllattError, match=f"1 of {len(main)} runs of the baselines and sweeps .* finished, .*{main[-1].name}"):
        measure(study, train=False)


def test_a_rival_of_which_one_budget_is_not_finished_is_not_measured(asked, monkeypatch):
    """All runs that are cut at the start come first: an interrupted study has them, and none that was cut late."""
    study = Study("overnight")
    target = rivals.learned(study)
    names = [name + late for late in ("", rivals.LATE) for name in ("even layers", "top layers first")]
    configs = {name: replace(target, train=replace(target.train, seed=i))
               for i, name in enumerate([*names, rivals.GATES, rivals.SCRATCH])}
    monkeypatch.setattr(module, "make_rivals", lambda study, seed: configs)
    for left_out, measured in {
            ("even layers" + rivals.LATE,): {*configs} - {"even layers", "even layers" + rivals.LATE},
            ("top layers first",): {*configs} - {"top layers first", "top layers first" + rivals.LATE},
            ("even layers" + rivals.LATE, "top layers first" + rivals.LATE): {rivals.GATES, rivals.SCRATCH},
            (rivals.SCRATCH,): {*configs} - {rivals.SCRATCH}, (): {*configs}}.items():
        lacking = {configs[name].id for name in left_out}
        monkeypatch.setattr(module, "finished", lambda config, lacking=lacking: config.id not in lacking)
        assert set(measure(study, train=False).seeds[0].rivals) == measured


def test_one_phase_is_measured_in_a_folder_of_its_own(asked):
    measured = measure(Study("smoke", one_phase=True))
    assert (measured.folder, measured.single) == ("smoke-one-phase", "smoke-one-phase")
    control = measured.seeds[0].sweeps[ALL_ATTENTION][0]
    assert control.run == Study("smoke", one_phase=True).pruning(ALL_ATTENTION, 0.0).id
    assert not set(asked["alone"]) & {config.id for config in Study("smoke").sweeps()}


def test_an_incomplete_study_measures_less(asked):
    measured = measure(Study("laptop"))
    assert measured.seeds[0].rivals == measured.corpora == {}
    assert measured.seeds[0].characters is measured.seeds[0].words is None
    assert experiments.UNTRAINED not in measured.seeds[0].methods
    assert set(measured.as_dict()["seeds"][0]) == {"seed", "baselines", "sweeps", "variants", "rivals"}


def test_measurements_come_back_from_json():
    measured = measurements()
    values = json.loads(json.dumps(measured.as_dict()))
    assert values == measured.as_dict() and Measurements.from_dict(values) == measured
    assert set(values["seeds"][0]) == {"seed", "baselines", "sweeps", "variants", "rivals", "characters", "words"}
    assert values["seeds"][0]["sweeps"][ALL_ATTENTION][1]["lambda"] == 0.1


def test_counts_are_the_paper_s():
    ours, theirs = (count("paper", kind) for kind in (ALL_ATTENTION, TRANSFORMER_XL))
    assert (ours.body, theirs.body) == (54_566_912, 54_608_896)
    assert ours.left["all"] == [1, 1] and ours.feed_forward == [0, 0]
    assert ours.left["half"] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert ours.left["none"] == pytest.approx([0, 0], abs=1e-3)
    curve = cost.relative(scales.model("paper", TRANSFORMER_XL))
    for name, removed in (("half", 64), ("none", 128)):
        assert theirs.left[name] == pytest.approx([curve["parameters"][removed], curve["multiply_adds"][removed]])
    assert theirs.untouched and theirs.feed_forward == pytest.approx([0.615, 0.561], abs=1e-3)
