"""Training logs of finished runs: columns, differences, and how often heads changed their state."""

import json
from dataclasses import replace
from math import exp
from types import SimpleNamespace

import pytest

from allatt.config import GateConfig, RunConfig, TrainConfig
from allatt.paper.histories import NEAR, flips, history, loss_gap, trajectory, undecided
from allatt.runs import Run, get_or_run
from allatt.system.machine import Machine

KEPT = [["11", "11"], ["10", "11"], ["11", "11"], ["11", "01"]]
LOGITS = [[0.0, -0.49], [0.5, -0.5]]


@pytest.fixture
def logged(tmp_path):
    def make(gates, kept=KEPT, **values):
        lines = [{"step": step, "tokens": 8 * step, "loss": 5.0 - step}
                 | ({"lambda": 0.1 * step, "expected_open": 4.0 - step, "kept": states, "logits": LOGITS} if gates else {})
                 for step, states in enumerate(kept, start=1)]
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        config = RunConfig("test", train=TrainConfig(steps=len(kept)), gates=gates)
        files = SimpleNamespace(_file=lambda name: folder / name)
        run = SimpleNamespace(config=config, metrics=lambda: Run.metrics(files), **values)
        run.gated = lambda: run if gates else None
        return run

    return make


@pytest.fixture
def consolidated(logged):
    """Two phases: four steps with gates, two without."""
    first, second = logged(GateConfig()), logged(None, KEPT[:2], result={"heads": {"total": 3}})
    second.config, second.gated = replace(second.config, start=first.config, consolidate=True), lambda: first
    return second


def test_history_of_a_pruning_run(logged):
    columns = history(logged(GateConfig()))
    assert columns["step"] == [1, 2, 3, 4] and columns["tokens"] == [8, 16, 24, 32]
    assert columns["kept"] == [4, 3, 4, 3] and columns["expected"] == [3.0, 2.0, 1.0, 0.0]
    assert columns["loss"] == [4.0, 3.0, 2.0, 1.0] and columns["lambda"][0] == 0.1


def test_history_of_dense_training_has_no_gates(logged):
    assert set(history(logged(None))) == {"step", "tokens", "loss"}


def test_history_of_two_phases_is_one(consolidated):
    """Steps and tokens count on; after the gates there is no lambda, and no head opens or closes any more."""
    columns = history(consolidated)
    assert columns["step"] == [1, 2, 3, 4, 5, 6] and columns["tokens"] == [8 * step for step in columns["step"]]
    assert columns["loss"] == [4.0, 3.0, 2.0, 1.0, 4.0, 3.0] and columns["kept"] == [4, 3, 4, 3, 3, 3]
    assert columns["lambda"][3:] == [pytest.approx(0.4), None, None] and columns["expected"][3:] == [0.0, None, None]


def test_flips_count_every_change_after_the_given_share(logged):
    run = logged(GateConfig())
    # Head 2 closes and opens again, head 3 closes: one change from line to line.
    assert flips(run, after=0.0) == 3
    assert flips(run, after=0.5) == 2 and flips(run, after=0.75) == 1 and flips(run, after=1.0) == 0


def test_late_flips_are_those_of_the_last_fifth_of_the_gates_steps(logged):
    """Ten steps: only changes between the lines of steps 8, 9 and 10 are late."""
    def states(*opened):
        return [["1" if step in opened else "0", "1"] for step in range(1, 11)]

    assert flips(logged(GateConfig(), states(1, 3, 5, 7))) == 0, "7 times, but early"
    assert flips(logged(GateConfig(), states(8))) == 1 and flips(logged(GateConfig(), states(9))) == 2
    assert flips(logged(GateConfig(), states(10))) == 1 and flips(logged(GateConfig(), states(1, 2, 3, 4, 5, 6, 7))) == 0


def test_flips_and_undecided_gates_are_those_of_the_first_phase(consolidated):
    assert flips(consolidated, after=0.0) == 3 == flips(consolidated.gated(), after=0.0)
    assert undecided(consolidated) == undecided(consolidated.gated()) == 2


def test_undecided_gates_are_near_0_at_the_end(logged):
    assert undecided(logged(GateConfig())) == 2, "0 and -0.49; not 0.5 and -0.5"
    assert 1 / (1 + exp(-NEAR)) == pytest.approx(0.62, abs=0.005), "open with a probability of 38% to 62%"


def test_loss_gap_is_taken_where_both_logged():
    ours, theirs = {"tokens": [8, 16, 24], "loss": [5.0, 4.0, 3.5]}, {"tokens": [16, 24, 32], "loss": [4.5, 3.0, 2.0]}
    assert loss_gap(ours, theirs) == {"tokens": [16, 24], "loss": [-0.5, 0.5]}


def test_trajectory_is_above_the_control_at_the_same_step(logged):
    run = logged(GateConfig())
    control = SimpleNamespace(config=run.config, metrics=lambda: [line | {"loss": 1.0} for line in run.metrics()[:3]])
    assert trajectory(run, control) == {"step": [1, 2, 3, 4], "kept": [4, 3, 4, 3], "above": [3.0, 2.0, 1.0, None]}


def test_trajectory_goes_through_both_phases(consolidated):
    path = trajectory(consolidated, consolidated)
    assert path == {"step": [1, 2, 3, 4, 5, 6], "kept": [4, 3, 4, 3, 3, 3], "above": [0.0] * 6}


def test_real_runs_have_one_history_too(pruned):
    """Four more steps without the closed heads of a run of three."""
    config = replace(pruned.config, name="second", gates=None, start=pruned.config, consolidate=True,
                     train=TrainConfig(steps=4, rows=2, skip=6))
    run = get_or_run(config, Machine(device="cpu", progress=False))
    columns = history(run)
    assert columns["step"] == [1, 2, 3, 4, 5, 6, 7] and columns["tokens"] == [16 * step for step in columns["step"]]
    assert columns["kept"][2:] == [pruned.result["heads"]["total"]] * 5 and 0 < columns["kept"][-1] < 4
    assert undecided(run) == (pruned.gates().logit_LH.abs() < NEAR).sum()
    assert flips(run) == flips(pruned) == 0, "of a single line"
