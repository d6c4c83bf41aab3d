"""Notebooks from and to s3://, by plain papermill: on a local server that speaks S3 (moto)."""

import json
import signal
import sys

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from small_text import write_small_text
from stand_ins import start, wait_for

from allatt.config import DataConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.data.tokens import pin
from allatt.runs import Run, get_or_run
from allatt.system.machine import Machine
from allatt.system.paths import repository

QUIET = Machine(device="cpu", log_every=4, progress=False)
MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9, init="unit",
                    drop_attention=0.1)
TRAINING = """
import time
from allatt.config import RunConfig
from allatt.config_json import from_dict
from allatt.runs import get_or_run
from allatt.system.machine import Machine
from allatt.train import Trainer
step = Trainer.one_step
def slow(self):
    time.sleep(seconds_per_step)
    return step(self)
Trainer.one_step = slow
run = get_or_run(from_dict(RunConfig, config), Machine(device="cpu", log_every=4, checkpoint_seconds=0.0, progress=False))
"""


@pytest.fixture(scope="module")
def s3():
    """A client of the server, with a bucket; `environment` is what programs need that use it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up",
              "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "*"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="notebooks")
        client.environment = values
        yield client
    server.stop()


def put(s3, name, content):
    s3.put_object(Bucket="notebooks", Key=name, Body=content)


def get(s3, name):
    return json.loads(s3.get_object(Bucket="notebooks", Key=name)["Body"].read())


def papermill(s3, tmp_path, source, target, *parameters):
    command = [sys.executable, "-m", "papermill", f"s3://notebooks/{source}", f"s3://notebooks/{target}", "--no-progress-bar"]
    for name, value in parameters:
        command += ["-p", name, value]
    own = {"ALLATT_HOME": str(tmp_path / "home"), "ALLATT_FIGURES": str(tmp_path / "figures"),
           "IPYTHONDIR": str(tmp_path / "ipython")}
    return start(command, tmp_path, **s3.environment, **own)


def finish(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def counts(book):
    """The execution count of each cell of code; None for one that was not executed."""
    return [cell["execution_count"] for cell in book["cells"] if cell["cell_type"] == "code"]


def test_a_notebook_of_the_project_goes_to_a_bucket_and_back(s3, tmp_path):
    put(s3, "02.ipynb", (repository() / "notebooks" / "02_cost_of_a_head.ipynb").read_bytes())
    finish(papermill(s3, tmp_path, "02.ipynb", "out/02.ipynb", ("seed", "3")))
    book = get(s3, "out/02.ipynb")
    assert None not in counts(book) and len(counts(book)) > 5
    injected, = ("".join(cell["source"]) for cell in book["cells"] if "injected-parameters" in cell["metadata"].get("tags", ()))
    assert "seed = 3" in injected
    printed = "".join("".join(output.get("text", "")) for cell in book["cells"] for output in cell.get("outputs", ()))
    assert "Headline: " in printed and list((tmp_path / "figures").rglob("02_*.png"))


@pytest.mark.rehearsal
def test_killed_in_a_training_the_same_command_continues_from_the_checkpoint(s3, tmp_path, monkeypatch, one_thread):
    data = pin(DataConfig(corpus=str(write_small_text(tmp_path)), tokens="words", vocab_size=0))
    config = RunConfig("in a bucket", data, MODEL, TrainConfig(steps=40, rows=4, lr=0.01))
    sources = ("config, seconds_per_step = {}, 0.0", TRAINING, 'print("test loss", run.result["test"]["loss"])')
    book = new_notebook(cells=[new_code_cell(source) for source in sources])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.cells[0].source = book.cells[0].source.replace("{}", repr(to_dict(config)))
    put(s3, "training.ipynb", nbformat.writes(book))
    folder = tmp_path / "home" / "runs" / config.id

    process = papermill(s3, tmp_path, "training.ipynb", "out/training.ipynb", ("seconds_per_step", "0.1"))
    wait_for(lambda: list(folder.glob("checkpoint-*")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "result.json").exists() and None in counts(get(s3, "out/training.ipynb"))

    finish(papermill(s3, tmp_path, "training.ipynb", "out/training.ipynb", ("seconds_per_step", "0.0")))
    book = get(s3, "out/training.ipynb")
    assert None not in counts(book)
    resumed = Run(folder)
    assert len(resumed.provenance["resumed"]) == 1, "it continued instead of starting again"
    assert f"test loss {resumed.result['test']['loss']}" in "".join(book["cells"][-1]["outputs"][0]["text"])
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "undisturbed"))
    whole = get_or_run(config, QUIET)
    assert resumed.result["test"] == whole.result["test"]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(
        resumed.load().state_dict().values(), whole.load().state_dict().values(), strict=True))
