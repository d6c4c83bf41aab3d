"""The true training step: what it counts and which step it takes; never how long it takes."""

import pytest
import torch

from allatt import cost
from allatt.benchmarks import report, step
from allatt.config import ALL_ATTENTION, KINDS
from allatt.paper import scales
from allatt.train import Trainer


@pytest.fixture
def seen(monkeypatch):
    """The trainers that take steps, and a clock by which a step takes a second."""
    trainers, now, one_step = [], [0.0], Trainer.one_step

    def counted(self):
        if self not in trainers:
            trainers.append(self)
        now[0] += 1
        return one_step(self)

    monkeypatch.setattr(Trainer, "one_step", counted)
    monkeypatch.setattr(step.time, "perf_counter", lambda: now[0])
    return trainers


@pytest.mark.parametrize("kind", KINDS)
def test_rates_are_those_of_whole_steps(seen, kind):
    found = step.measure_step("smoke", kind, "cpu", steps=2)
    tokens = 16 * 16
    assert (found["seconds"], found["worst"], found["first_seconds"]) == (1, 1, step.WARM)
    assert seen[0].step == step.WARM + 2 * step.REPEATS
    assert found["tokens_per_second"] == tokens
    # Twice a multiply-add: the body's, forward and backward, and three products of hidden states with the table of words.
    body = cost.trained(scales.model("smoke", kind), 16)
    assert found["flop_per_second"] == pytest.approx(2 * body + 2 * 3 * tokens * 32 * 500)


def test_a_step_is_what_its_arguments_say(seen):
    step.measure_step("smoke", ALL_ATTENTION, "cpu", 1, gated=True, rows=3, drop_attention=0.1, path="reference")
    trainer, = seen
    assert trainer.gates is not None and trainer.gates.config.lam == scales.get("smoke").example
    assert trainer.config.train.rows == 3 and trainer.config.train.lr == scales.get("smoke").prune.lr
    assert trainer.model.path == "reference" and trainer.model.config.drop_attention == 0.1
    rates = {group["base_lr"] for group in trainer.optimizer.param_groups}
    assert rates == {trainer.config.train.lr, scales.get("smoke").gates.lr}


def test_removed_heads_are_not_there(seen):
    whole = step.measure_step("smoke", ALL_ATTENTION, "cpu", 1)
    half = step.measure_step("smoke", ALL_ATTENTION, "cpu", 1, removed=0.5)
    assert seen[-1].model.config.heads_per_layer == (4, 4)
    assert half["flop_per_token"] < whole["flop_per_token"]


def test_lamb_can_be_measured(seen):
    step.measure_step("smoke", ALL_ATTENTION, "cpu", 1, optimizer="lamb")
    assert type(seen[0].optimizer).__name__ == "Lamb"


def test_ids_reach_every_band_of_a_vocabulary():
    ids = step._ids(1000, 100_000)
    counts = torch.bincount(torch.from_numpy(ids).long(), minlength=1000)
    assert len(counts) == 1000 and counts[0] > counts[10] > counts[500] > 0


def test_the_table_has_a_line_per_variant(seen):
    variants = [{}, {"gated": True}, {"removed": 0.5}]
    results = [step.measure_step("smoke", ALL_ATTENTION, "cpu", 1, **variant) for variant in variants]
    text = report.table("step", results)
    assert [line.split(",")[1].strip() for line in text.splitlines()[2:]] == ["dense", "gates", "50% removed"]
    assert "256" in text.splitlines()[2]
