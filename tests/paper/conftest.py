"""A small text, and a finished pruning run on it."""

import pytest

from allatt.config import DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import Run, get_or_run
from allatt.system.machine import Machine


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    sentence = "the head of a layer looks back at what was said before .\n"
    for split, times in (("train", 40), ("valid", 5), ("test", 4)):
        (folder / f"wiki.{split}.tokens").write_text(sentence * times)
    return folder


@pytest.fixture(scope="module")
def pruned(text, home_of_tests) -> Run:
    """A real run of a few steps: two layers of two heads, and gates, some of which close."""
    model = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9)
    data = pin(DataConfig(corpus=str(text), tokens="characters"))
    start = RunConfig("tiny", data, model, TrainConfig(steps=3, rows=2, lr=1e-2))
    gates = GateConfig(lam=1e-4, initial=0.0, lr=0.1)  # the task alone pushes some up and some down
    return get_or_run(RunConfig("tiny pruned", data, model, TrainConfig(steps=3, rows=2), gates, start),
                      Machine(device="cpu", progress=False))
