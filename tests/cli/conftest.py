"""What the tests of commands share: a small text, and a run with gates."""

import json
import subprocess
import sys

import pytest

from allatt.config import ALL_ATTENTION, to_dict
from allatt.system.paths import repository


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with enough text for a few small segments."""
    folder = tmp_path_factory.mktemp("text")
    line = " the quick brown fox jumps over the lazy dog and comes back for more of the same text . \n"
    for split in ("train", "valid", "test"):
        (folder / f"wiki.{split}.tokens").write_text(line * 40)
    return folder


@pytest.fixture(scope="module")
def gated(text, home_of_tests, tmp_path_factory):
    """A run with gates, trained by `run --config`: the config's path and the printed result."""
    from allatt.paper.study import Study

    values = to_dict(Study("smoke", str(text)).pruning(ALL_ATTENTION, 0.1))
    for stage in (values, values["start"], values["start"]["start"]):
        stage["train"] |= {"steps": 2, "rows": 4}
        stage["data"] |= {"tokens": "characters"}
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(json.dumps(values))
    command = [sys.executable, "-m", "allatt", "run", "--config", str(path), "--json", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository())
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)
