"""A pruned run of a few steps on a small text, for what is shared of it."""

from dataclasses import replace

import pytest
from small_text import SMALL, write_small_text

from allatt.config import KINDS, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import Run, get_or_run
from allatt.system.machine import Machine

QUIET = Machine(device="cpu", progress=False)


def pruned_run(folder, tokens: str, kind: str) -> Run:
    data = pin(DataConfig(str(write_small_text(folder)), tokens, vocab_size=0 if tokens == "words" else 40))
    dense = RunConfig("dense", data, ModelConfig(kind, **SMALL), TrainConfig(steps=3, rows=4, lr=0.01))
    return get_or_run(replace(dense, name="gated", gates=GateConfig(initial=0.0, lr=0.2), start=dense), QUIET)


@pytest.fixture(scope="module", params=["words", "subwords", "characters"])
def run(request, tmp_path_factory, home_of_tests):
    """One run for each kind of token; both kinds of models occur."""
    return pruned_run(tmp_path_factory.mktemp("text"), request.param, KINDS[request.param == "words"])


@pytest.fixture(scope="module")
def one_run(tmp_path_factory, home_of_tests):
    """The one of words, for tests to which the kind does not matter."""
    return pruned_run(tmp_path_factory.mktemp("text"), "words", KINDS[1])
