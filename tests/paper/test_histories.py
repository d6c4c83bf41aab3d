"""Training logs of finished runs: columns, differences, and how often heads changed their state."""

import json
from types import SimpleNamespace

import pytest

from allatt.config import GateConfig, RunConfig, TrainConfig
from allatt.paper.histories import flips, history, loss_gap, trajectory
from allatt.runs import Run

KEPT = [["11", "11"], ["10", "11"], ["11", "11"], ["11", "01"]]


@pytest.fixture
def logged(tmp_path):
    def make(gates):
        lines = [{"step": step, "tokens": 8 * step, "loss": 5.0 - step, "lambda": 0.1 * step,
                  "expected_open": 4.0 - step, "kept": kept} for step, kept in enumerate(KEPT, start=1)]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        config = RunConfig("test", train=TrainConfig(steps=4), gates=gates)
        folder = SimpleNamespace(folder=tmp_path)
        return SimpleNamespace(config=config, metrics=lambda: Run.metrics(folder))

    return make


def test_history_of_a_pruning_run(logged):
    columns = history(logged(GateConfig()))
    assert columns["step"] == [1, 2, 3, 4] and columns["tokens"] == [8, 16, 24, 32]
    assert columns["kept"] == [4, 3, 4, 3] and columns["expected"] == [3.0, 2.0, 1.0, 0.0]
    assert columns["loss"] == [4.0, 3.0, 2.0, 1.0] and columns["lambda"][0] == 0.1


def test_history_of_dense_training_has_no_gates(logged):
    assert set(history(logged(None))) == {"step", "tokens", "loss"}


def test_flips_count_every_change_after_the_given_share(logged):
    run = logged(GateConfig())
    # Head 2 closes and opens again, head 3 closes: one change from line to line.
    assert flips(run, after=0.0) == 3
    assert flips(run, after=0.5) == 2 and flips(run, after=0.75) == 1 and flips(run, after=1.0) == 0


def test_loss_gap_is_taken_where_both_logged():
    ours, theirs = {"tokens": [8, 16, 24], "loss": [5.0, 4.0, 3.5]}, {"tokens": [16, 24, 32], "loss": [4.5, 3.0, 2.0]}
    assert loss_gap(ours, theirs) == {"tokens": [16, 24], "loss": [-0.5, 0.5]}


def test_trajectory_is_above_the_control_at_the_same_step(logged):
    run = logged(GateConfig())
    control = SimpleNamespace(config=run.config, metrics=lambda: [line | {"loss": 1.0} for line in run.metrics()[:3]])
    assert trajectory(run, control) == {"step": [1, 2, 3, 4], "kept": [4, 3, 4, 3], "above": [3.0, 2.0, 1.0, None]}
