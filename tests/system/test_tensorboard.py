"""`--tensorboard`: the log of a run as TensorBoard itself reads it."""

import json
import signal

import pytest
from small_text import SMALL, write_small_text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.data.tokens import pin
from allatt.runs import get_or_run
from allatt.system.machine import Interrupted, Machine
from allatt.system.tensorboard import events, verify


@pytest.fixture
def config(home, tmp_path):
    (tmp_path / "text").mkdir()
    data = pin(DataConfig(str(write_small_text(tmp_path / "text")), "words", vocab_size=0))
    dense = RunConfig("dense", data, ModelConfig(**SMALL), TrainConfig(steps=4, rows=4, lr=0.01))
    return RunConfig("a / gated run", data, dense.model, dense.train, GateConfig(initial=0.0, lr=0.5), start=dense)


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    log = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def test_tensorboard_reads_what_metrics_jsonl_holds(config, tmp_path):
    machine = Machine("cpu", progress=False, log_every=1, tensorboard=str(tmp_path / "board"))
    run = get_or_run(config, machine)
    folders = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert folders == sorted([f"{config.start.id} dense", f"{config.id} a - gated run"])
    read = scalars(tmp_path / "board" / f"{config.id} a - gated run")
    lines = list(map(json.loads, (run.folder / "metrics.jsonl").open()))
    assert len(lines) == 4
    for name in ("loss", "perplexity", "lr", "lambda", "expected_open"):
        assert read[name] == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]
    assert read["kept heads/layer 2"] == [(line["step"], line["kept"][1].count("1")) for line in lines]


def test_a_run_that_continues_has_each_step_once(config, tmp_path, monkeypatch):
    from allatt.train import Trainer

    one_step = Trainer.one_step

    def stop_at_two(self):
        if self.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return one_step(self)

    machine = Machine("cpu", progress=False, log_every=1, tensorboard=str(tmp_path / "board"))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", stop_at_two)
        with pytest.raises(Interrupted):
            get_or_run(config.start, machine)
    get_or_run(config.start, machine)
    read = scalars(tmp_path / "board" / f"{config.start.id} dense")
    assert [step for step, _ in read["loss"]] == [1, 2, 3, 4]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events("", "a run", ['{"step": 1, "loss": 2.0}'])({"step": 2, "loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_is_said_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(AllattError, match="--tensorboard .*file is a file; name a folder"):
        verify(str(tmp_path / "file"))
    with pytest.raises(AllattError, match="--tensorboard .*file/below/it: .*file is a file; name a folder"):
        verify(str(tmp_path / "file" / "below" / "it"))
    verify(str(tmp_path / "not" / "yet"))
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(AllattError, match="--tensorboard needs the package tensorboard: pip install tensorboard"):
        verify(str(tmp_path / "board"))
    verify("")
