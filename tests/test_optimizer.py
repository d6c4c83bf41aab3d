"""Learning rates over the steps."""

from dataclasses import replace

import pytest

from allatt.config import TrainConfig
from allatt.optimizer import lr_factor


def test_schedules():
    t = TrainConfig(steps=110, warmup=10, final_lr=0.1)
    assert lr_factor(t, 0) == 0.1 and lr_factor(t, 9) == 1.0
    assert lr_factor(t, 10) == 1.0
    assert lr_factor(t, 60) == pytest.approx(0.55)
    assert lr_factor(t, 110) == pytest.approx(0.1)
    assert all(lr_factor(t, s) > lr_factor(t, s + 1) for s in range(10, 109))
    constant = replace(t, schedule="constant")
    assert [lr_factor(constant, s) for s in (4, 10, 109)] == [0.5, 1.0, 1.0]
