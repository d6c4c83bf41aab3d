"""Runs within a limit of time, by a clock that the test turns: a step takes ten seconds."""

import shutil
from dataclasses import replace

import pytest
from small_text import write_small_text

from allatt.config import AllattError, DataConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import anytime, finished, get_or_run
from allatt.runs.anytime import Budget
from allatt.runs.run import Busy
from allatt.system.checkpoint import has_checkpoint
from allatt.system.machine import Interrupted, Machine
from allatt.system.paths import home

MODEL = ModelConfig(layers=1, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit")
QUIET = Machine(device="cpu", log_every=5, progress=False)


@pytest.fixture(autouse=True)
def clock(home, clock_of_steps):
    """Seconds since the test began; `home` is empty."""
    return clock_of_steps(10)


@pytest.fixture
def dense(tmp_path):
    data = pin(DataConfig(corpus=str(write_small_text(tmp_path)), tokens="words", vocab_size=0))
    return lambda seed, steps=12: RunConfig(f"dense {seed}", data, MODEL, TrainConfig(steps=steps, rows=4, lr=0.01, seed=seed))


def test_what_does_not_fit_is_not_begun_and_what_fits_is(dense, clock):
    """Five minutes, runs of two: the third does not fit, a short one after it does."""
    budget = Budget(5, QUIET)
    done = [budget.run(config) for config in (dense(1), dense(2), dense(3), dense(4, steps=4))]
    assert [run and run.config.train.seed for run in done] == [1, 2, None, 4]
    assert budget.left_out == ["dense 3"] and clock[0] == 280
    assert not (home() / "runs" / dense(3).id).exists()


def test_what_still_trains_at_the_end_is_saved_and_continued(dense, clock):
    """The first run is begun in any case. What comes out in the end is what an undisturbed run gives."""
    budget = Budget(1, QUIET)
    assert budget.run(dense(1)) is None
    assert budget.left_out == [f"dense 1 (run {dense(1).id} is saved at step 6)"] and not finished(dense(1))
    assert has_checkpoint(home() / "runs" / dense(1).id)
    again = Budget(10, QUIET).run(dense(1))
    assert clock[0] == 120, "no step was taken twice"
    weights = (again.folder / "model.safetensors").read_bytes()
    assert [line["step"] for line in again.metrics()] == [5, 10, 12]


    shutil.rmtree(home() / "runs")
    assert (get_or_run(dense(1), QUIET).folder / "model.safetensors").read_bytes() == weights


def test_a_finished_run_needs_no_time(dense, clock):
    budget = Budget(3, QUIET)
    first = budget.run(dense(1))
    clock[0] = budget.end + 100
    assert budget.run(dense(1)).id == first.id and budget.left_out == []
    assert budget.run(dense(2)) is None and budget.left_out == ["dense 2"]


def test_a_runs_start_is_part_of_what_it_takes(dense, clock):
    """Both stages together do not fit, though either would."""
    later = replace(dense(2), name="later", start=dense(3))
    budget = Budget(5, QUIET)
    assert budget.run(dense(1)) and budget.run(later) is None and budget.left_out == ["later"]
    assert not (home() / "runs" / dense(3).id).exists()


def test_a_signal_from_outside_is_no_end_of_the_time(dense, monkeypatch):
    def stop(config, machine, wait):
        raise Interrupted(15)

    monkeypatch.setattr(anytime, "get_or_run", stop)
    with pytest.raises(Interrupted):
        Budget(5, QUIET).run(dense(1))


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number(minutes):
    with pytest.raises(AllattError, match="--minutes is"):
        Budget(minutes, QUIET)


def test_two_processes_share_a_list(dense, monkeypatch):
    """What another one trains comes last, and is then waited for."""
    configs, asked = [dense(number, steps=2) for number in (1, 2, 3)], []

    def ask(config, machine, wait):
        asked.append((config.train.seed, wait))
        if config.train.seed == 1 and not wait:
            raise Busy("another process is training it")
        return get_or_run(config, machine)

    monkeypatch.setattr(anytime, "get_or_run", ask)
    assert [config.train.seed for config, _ in Budget(50, QUIET).runs(configs)] == [2, 3, 1]
    assert asked == [(1, False), (2, False), (3, False), (1, False), (1, True)]


def test_waiting_for_another_process_says_nothing_about_a_rate(dense, clock, monkeypatch):
    """Its last second was waited for: with that as the rate, the next run would seem to fit."""
    def ask(config, machine, wait):
        if config.train.seed != 2:
            return get_or_run(config, machine, wait)
        if not wait:
            raise Busy("another process is training it")
        begin = clock[0]
        done = get_or_run(config, machine)
        clock[0] = begin + 1
        return done

    monkeypatch.setattr(anytime, "get_or_run", ask)
    budget = Budget(5, QUIET)
    assert budget.run(dense(1)) and clock[0] == 120
    clock[0] = 100
    assert budget.run(dense(2)) and clock[0] == 101
    clock[0] = 200
    assert budget.run(dense(3)) is None and budget.left_out == ["dense 3"]


def test_of_a_run_that_was_interrupted_only_the_rest_needs_time(dense, clock):
    assert Budget(1, QUIET).run(dense(1)) is None and clock[0] == 60
    budget = Budget(190 / 60, QUIET)
    assert budget.run(dense(2)) and clock[0] == 180
    assert budget.run(dense(1)) and clock[0] == 240, "70 seconds are left for 6 of its 12 steps"


def test_what_is_left_of_a_run_says_nothing_about_its_rate(dense, clock):
    """Half of a run was there: with its rate the next one would seem to fit, and would be begun for nothing."""
    assert Budget(1, QUIET).run(dense(1)) is None and clock[0] == 60
    budget = Budget(5, QUIET)
    assert budget.run(dense(2)) and budget.run(dense(1)) and clock[0] == 240
    assert budget.run(dense(3)) is None and budget.left_out == ["dense 3"]
