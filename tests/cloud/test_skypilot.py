"""notebooks/cloud/skypilot.yaml: its scripts, executed on this machine; a folder is the bucket, another each machine."""

import json
import random
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import yaml
from stand_ins import CLOUD, program, run, signal_all, start, wait_for

from allatt.config import KINDS
from allatt.paper.study import Study
from allatt.runs.parallel import get_or_run_all
from allatt.system.files import checksum
from allatt.system.machine import Machine
from allatt.system.paths import repository

TASK = yaml.safe_load((CLOUD / "skypilot.yaml").read_text())
# The command line; where its argument 0 is "slow", each step takes a moment, so that it can be stopped in the middle.
COMMAND_LINE = """
import sys, time
from allatt.cli.main import main
from allatt.train import Trainer
step = Trainer.one_step
def slow(self):
    time.sleep(0.1)
    return step(self)
if sys.argv[1] == "slow":
    Trainer.one_step = slow
sys.exit(main(sys.argv[4:]))
"""


class Cloud:
    """A bucket, and machines with nothing but the repository on them."""

    def __init__(self, folder: Path, text: Path):
        self.folder, self.text, self.bucket = folder, text, folder / "bucket"
        self.code = folder / "command_line.py"
        folder.mkdir(exist_ok=True)
        self.code.write_text(COMMAND_LINE)

    def home(self, machine: str) -> Path:
        return self.folder / machine

    def start(self, part: str, machine: str, pace: str = "fast"):
        """`setup` or `run` of the task on a machine."""
        self.home(machine).mkdir(exist_ok=True)
        python = f'exec {sys.executable} {self.code} {pace} "$@"'
        program(self.folder / "bin", "pip", f'echo "pip $*" >>{self.folder}/installed')
        program(self.folder / "bin", "uv", f"""echo "uv $*" >>{self.folder}/installed
            if [ "$1" = venv ]; then mkdir -p "${{@: -1}}/bin"; printf '#!/bin/bash\\n%s\\n' {python!r} >"${{@: -1}}/bin/python"
            chmod +x "${{@: -1}}/bin/python"; fi""")
        envs = TASK["envs"] | {"BUCKET": "s3://stand-in", "EXPERIMENT": "baselines", "SCALE": "smoke", "DEVICE": "cpu",
                               "CORPUS": str(self.text), "HOME": str(self.home(machine))}
        script = TASK[part].replace("/bucket", str(self.bucket))
        return start(["bash", "-c", script], repository(), self.folder / "bin", **envs)

    def finish(self, *arguments) -> str:
        process = self.start(*arguments)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return err

    def finished(self) -> dict[str, dict]:
        """Runs in the bucket that are marked as finished."""
        return {path.parent.name: json.loads(path.read_text()) for path in self.bucket.glob("seed-0/runs/*/result.json")}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Made-up words, enough of them for the smoke scale's 500 subwords."""
    folder, chance = tmp_path_factory.mktemp("text"), random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(2, 8))) for _ in range(400)]
    for split, lines in (("train", 300), ("valid", 40), ("test", 40)):
        text = "".join(f" {' '.join(chance.choices(words, k=9))} \n" for _ in range(lines))
        (folder / f"wiki.{split}.tokens").write_text(text)
    return folder


def is_whole(folder: Path, result: dict) -> bool:
    files = result["files"]
    return {"model.safetensors", "metrics.jsonl"} <= set(files) and all(
        checksum(folder / name) == sha256 for name, sha256 in files.items())


@pytest.mark.rehearsal
def test_a_preempted_job_continues_and_ends_as_if_undisturbed(tmp_path, text, monkeypatch, one_thread):
    cloud = Cloud(tmp_path / "cloud", text)
    cloud.finish("setup", "first", "slow")
    process = cloud.start("run", "first")
    runs = cloud.home("first") / "allatt-home" / "runs"
    wait_for(lambda: any(len(path.read_text().splitlines()) > 8 for path in runs.glob("*/metrics.jsonl")), process)
    signal_all(process, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in TASK["resources"]["job_recovery"]["recover_on_exit_codes"]
    saved, = (path for path in cloud.bucket.glob("seed-0/runs/*") if not (path / "result.json").exists())
    step = int(next(saved.glob("checkpoint-*")).name.split("-")[1])
    assert 8 < step < 60 and len(cloud.finished()) < 2

    shutil.rmtree(cloud.home("first"))
    cloud.finish("setup", "second")
    assert "allatt: 1 runs restored" in cloud.finish("run", "second")
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "undisturbed"))
    study = Study("smoke", str(text))
    undisturbed = get_or_run_all([study.baseline(kind) for kind in KINDS], Machine(progress=False))
    expected = {finished_run.id: finished_run.result for finished_run in undisturbed}
    assert cloud.finished().keys() == expected.keys()
    for run_id, result in cloud.finished().items():
        assert is_whole(cloud.bucket / "seed-0" / "runs" / run_id, result)
        assert result["test"] == expected[run_id]["test"]
        assert result["files"]["model.safetensors"] == expected[run_id]["files"]["model.safetensors"]
    assert len(json.loads((saved / "provenance.json").read_text())["resumed"]) == 1, "it continued instead of starting again"
    assert {path.stem for path in cloud.bucket.glob("seed-0/records/*.json")} == expected.keys()
    assert not list(cloud.bucket.rglob("checkpoint-*")) and not list(cloud.bucket.rglob("*.part"))


def test_setup_installs_the_locked_versions_without_jupyter(tmp_path, text):
    cloud = Cloud(tmp_path, text)
    cloud.finish("setup", "machine")
    last = (tmp_path / "installed").read_text().splitlines()[-1]
    assert f"--python {tmp_path}/machine/allatt-env/bin/python -c requirements.lock.txt -e .[text,paper]" in last
    assert (repository() / "requirements.lock.txt").is_file()


def test_an_error_of_the_experiment_ends_the_job_with_its_line(tmp_path, text):
    """Nothing is packed, and SkyPilot does not start it again."""
    cloud = Cloud(tmp_path, text)
    cloud.finish("setup", "machine")
    program(tmp_path / "machine" / "allatt-env" / "bin", "python", "echo 'allatt: no such experiment' >&2; exit 2")
    process = cloud.start("run", "machine")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and err.splitlines()[-1] == "allatt: no such experiment"
    assert not (cloud.bucket / "seed-0" / "records").exists()


def test_every_variable_of_the_scripts_is_declared_and_every_declared_one_used():
    own = {"HOME", "ALLATT_HOME"}
    scripts = TASK["setup"] + TASK["run"]
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", scripts + json.dumps(TASK["file_mounts"])))
    assert used - own <= set(TASK["envs"]) and TASK["envs"]["BUCKET"] is None, "whoever forgets BUCKET is told so"
    assert set(TASK["envs"]) - used == {"SYNC_SECONDS", "ALLATT_COMMIT"}, "of sync.sh, and of allatt.runs.provenance"
    assert all(isinstance(value, str | None) for value in TASK["envs"].values())
    mount, = TASK["file_mounts"].values()
    assert mount == {"source": "${BUCKET}", "mode": "MOUNT"} and TASK["resources"]["use_spot"] is True


def test_options_are_those_of_the_command_line(tmp_path):
    options = re.findall(r"--([a-z-]+)", TASK["run"].split("allatt experiment")[1].split("\n  #")[0].split("~/")[0])
    status, out, _ = run([sys.executable, "-m", "allatt", "experiment", "--help"], repository())
    assert status == 0 and options and all(f"--{name}" in out for name in options)
