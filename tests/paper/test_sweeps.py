"""Sweeps of both models: means, gains and tables, seed by seed."""

import pytest
from made_up import pruned_point

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL
from allatt.paper import sweeps as module
from allatt.paper.curves import gain
from allatt.paper.points import average
from allatt.paper.stats import interval
from allatt.paper.study import Study
from allatt.paper.sweeps import Sweeps


@pytest.fixture
def sweeps():
    """Two seeds; of seed 3, Transformer-XL's sweep ends early."""
    def curve(kind, *points):
        return [pruned_point(kind, kept, loss, lam) for kept, loss, lam in points]

    return Sweeps(seeds=range(2, 4), points={
        (2, ALL_ATTENTION): curve(ALL_ATTENTION, (8, 4.0, 0.0), (6, 4.2, 0.1), (4, 4.5, 0.2)),
        (2, TRANSFORMER_XL): curve(TRANSFORMER_XL, (8, 4.1, 0.0), (4, 4.5, 0.1), (0, 5.0, 0.2)),
        (3, ALL_ATTENTION): curve(ALL_ATTENTION, (8, 4.2, 0.0), (6, 4.3, 0.1), (4, 4.4, 0.2)),
        (3, TRANSFORMER_XL): curve(TRANSFORMER_XL, (8, 4.0, 0.0), (7, 4.1, 0.1), (6, 4.3, 0.2)),
    }, baselines={(seed, kind): pruned_point(kind, 8, 4.0 + seed) for seed in (2, 3) for kind in KINDS})


def test_means_are_over_seeds(sweeps):
    assert sweeps.mean(ALL_ATTENTION) == average(sweeps.points[2, ALL_ATTENTION] + sweeps.points[3, ALL_ATTENTION])
    assert [mean.test_loss for mean in sweeps.mean(ALL_ATTENTION)] == pytest.approx([4.1, 4.25, 4.45])
    assert sweeps.mean_baseline(TRANSFORMER_XL).test_loss == 6.5


def test_gains_are_those_of_the_seeds_that_reach(sweeps):
    gains = sweeps.gains(sparsities=(0.1, 0.25, 0.6))
    first = [gain(*pair, 0.1) for pair in sweeps.pairs()]
    assert gains[0.1] == first and None not in first
    assert len(gains[0.25]) == 1, "both have 60 parameters there, fewer than seed 3's Transformer-XL ever has"
    assert gains[0.6] == [] and list(sweeps.gains()) == list(module.SPARSITIES)
    assert sweeps.control_gains() == pytest.approx([0.1, -0.2])


def test_above_control_compares_with_the_control_of_the_same_seed(sweeps):
    above = sweeps.above_control()
    assert [point.above for point in above.points[3, ALL_ATTENTION]] == pytest.approx([0, 0.1, 0.2])
    assert [mean.above for mean in above.mean(ALL_ATTENTION)] == pytest.approx([0, 0.15, 0.35])
    assert above.control_gains("above") == [0, 0] and above.gains("above", [0.1])[0.1] != sweeps.gains(sparsities=[0.1])[0.1]
    assert sweeps.points[2, ALL_ATTENTION][0].above is None, "the sweeps themselves are as they were"


def test_the_data_of_a_figure(sweeps):
    models = sweeps.as_dict()
    assert list(models) == list(KINDS) and set(models[ALL_ATTENTION]) == {"baseline", "mean", "seeds"}
    assert [[point["test_loss"] for point in seed] for seed in models[ALL_ATTENTION]["seeds"]] == [[4.0, 4.2, 4.5],
                                                                                                  [4.2, 4.3, 4.4]]
    assert models[TRANSFORMER_XL]["baseline"]["lambda"] is None and models[ALL_ATTENTION]["mean"][1]["lambda"] == 0.1
    assert set(sweeps.above_control().as_dict()[ALL_ATTENTION]) == {"mean", "seeds"}


def test_a_table_has_a_line_for_each_mean(sweeps):
    header, *lines = sweeps.table({"loss": lambda mean: f"{mean.test_loss:.2f}"}).splitlines()
    assert header.split() == "means over seeds heads body loss nats above the control".split() and len(lines) == 6
    assert lines[0].split() == ["All-attention", "lambda", "0", "8.0", "80", "4.10"]
    assert lines[1].split() == ["All-attention", "lambda", "0.1", "6.0", "60", "4.25", *str(interval([0.2, 0.1])).split()]
    assert lines[3].startswith("Transformer-XL lambda 0")


def test_sweeps_of_a_study_are_its_runs(monkeypatch, pruned):
    asked = []
    monkeypatch.setattr(module, "get_or_run_all", lambda configs: asked.extend(config.id for config in configs))
    monkeypatch.setattr(module, "get_or_run", lambda config: config)
    monkeypatch.setattr(module, "_point", lambda config: config.id)
    study = Study("smoke", seed=3, count=2)
    sweeps = Sweeps.of(study)
    assert sweeps.points == {(seed, kind): [config.id for config in study.sweep(kind, seed)]
                             for seed in (3, 4) for kind in KINDS}
    assert sweeps.baselines == {(seed, kind): study.baseline(kind, seed).id for seed in (3, 4) for kind in KINDS}
    assert sorted(asked) == sorted(run.id for run in sweeps.runs) and len(set(asked)) == len(asked)
    monkeypatch.undo()
    assert module._point(pruned).test_bits == pytest.approx(pruned.result["test"]["loss"] / 0.693147, rel=1e-5)
