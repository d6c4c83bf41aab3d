"""Everything that the claims are judged by: all runs are asked for, counts are the paper's, and JSON keeps it."""

import json
from dataclasses import replace

import pytest
from made_up import measurements, some_point

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, ModelConfig
from allatt.paper import experiments, scales
from allatt.paper import measurements as module
from allatt.paper.measurements import Measurements, count, measure
from allatt.paper.points import Point
from allatt.paper.study import Study
from allatt.prune import Kept


def test_measure_reads_all_runs_of_a_scale(monkeypatch):
    """Every run of the notebooks is asked for, and no other."""
    asked, together = [], []

    class Run:
        def __init__(self, config):
            asked.append(config.id)
            self.config, self.result = config, {"heads": {"per_layer": [0, 3]}}

    def rivals(study, seed):
        start = study.baseline(ALL_ATTENTION, seed)
        kept: Kept = ((0,), (1,))
        return {name: replace(start, model=ModelConfig(layers=2, kept=kept, heads=heads))
                for heads, name in enumerate([experiments.GATES, "random heads"], start=2)}

    monkeypatch.setattr(module, "get_or_run", Run)
    monkeypatch.setattr(module, "get_or_run_all", lambda configs: together.extend(config.id for config in configs))
    monkeypatch.setattr(Point, "of_run", lambda run: some_point(run=run.config.id))
    monkeypatch.setattr(module, "flips", lambda run: 7)
    monkeypatch.setattr(experiments, "rivals", rivals)
    study = Study("smoke", seed=3, count=2)
    measured = measure(study)
    expected = {config.id for seed in (3, 4) for config in experiments.everything(study, seed)}
    expected |= {config.id for seed in (3, 4) for config in rivals(study, seed).values()}
    expected |= {config.id for seed in (3, 4) for tokens in module.TOKENS for config in study.variant(tokens).sweeps(seed)}
    half = {experiments.to_half(study, seed).id for seed in (3, 4)}  # the stand-in for rivals leaves it out
    assert set(asked) == expected - half and set(together) == expected
    assert (measured.folder, measured.single, measured.heads) == ("smoke-seed3-2seeds", "smoke-seed3", 4)
    first = measured.seeds[0]
    assert [point.run for point in first.sweeps[ALL_ATTENTION]] == [config.id for config in study.sweep(ALL_ATTENTION, 3)]
    assert set(first.methods) == {*experiments.TRAINING_METHODS, experiments.UNTRAINED}
    assert (first.methods["all three"].flips, first.methods["all three"].lost) == (7, 1)
    assert first.baselines[ALL_ATTENTION].flips is None and set(first.characters) == set(first.words) == set(KINDS)
    assert measured.corpora == {"characters": "text8-like", "words": "wikipedia-excerpt"}


def test_an_incomplete_study_measures_less(monkeypatch):
    monkeypatch.setattr(module, "get_or_run", lambda config: config)
    monkeypatch.setattr(module, "get_or_run_all", list)
    monkeypatch.setattr(module, "_with_gates", lambda config: some_point(run=config.id))
    monkeypatch.setattr(Point, "of_run", lambda config: some_point(run=config.id))
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
