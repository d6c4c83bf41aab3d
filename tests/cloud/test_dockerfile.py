"""notebooks/cloud/Dockerfile, without Docker: its COPY lines, .dockerignore and pip commands, executed on this machine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from stand_ins import CLOUD, program, run

from allatt.system.paths import repository

ROOT = repository()
DOCKERFILE = CLOUD / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest of its line), continued lines joined."""
    text = re.sub(r"\\\n", "", DOCKERFILE.read_text())
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def all_of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def is_sent(path: Path) -> bool:
    """Whether .dockerignore lets a file into the build: the last rule that fits it, or a folder above it, decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip().removeprefix("!")
        parts = [path, *path.parents][:-1]
        if rule and not rule.startswith("#") and any(
                fnmatch(str(part), rule) or (rule.startswith("**/") and fnmatch(part.name, rule[3:])) for part in parts):
            sent = line.startswith("!")
    return sent


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder that the image's /src holds at last: what is sent and copied."""
    folder = tmp_path_factory.mktemp("image") / "src"
    for rest in all_of("COPY"):
        *sources, target = rest.split()
        for source in sources:
            files = [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*"))
            for path in filter(Path.is_file, files):
                inside = folder / target / (path.name if path == ROOT / source else path.relative_to(ROOT / source))
                if is_sent(path.relative_to(ROOT)):
                    inside.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, inside)
    return folder


def test_what_is_copied_is_a_package_that_works(image, tmp_path):
    """Installed from these files alone; the entry point and the user's variables as in the image."""
    options = ["-q", "--no-deps", "--no-build-isolation", "--target", tmp_path / "site"]
    install = [sys.executable, "-m", "pip", "install", *options, image]
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(install, capture_output=True, text=True, env=elsewhere)
    assert done.returncode == 0, done.stderr
    ours = {path.relative_to(ROOT) for path in (ROOT / "allatt").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    installed = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site" / "allatt").rglob("*.*") if path.is_file()}
    assert {path for path in installed if path.suffix != ".pyc"} == ours
    entry = all_of("ENTRYPOINT")
    assert entry == ['["python", "-m", "allatt"]']
    variables = dict(pair.split("=", 1) for pair in shlex.split(all_of("ENV")[-1]))
    assert variables["ALLATT_HOME"] == all_of("VOLUME")[-1] == "/allatt" and variables["ALLATT_COMMIT"] == "$COMMIT"
    state = tmp_path / "state"
    command = [sys.executable, "-P", "-m", "allatt", "data", "--corpus", "text8-like"]
    status, out, err = run(command, tmp_path, PYTHONPATH=str(tmp_path / "site"), ALLATT_HOME=str(state), HOME="/nonexistent")
    assert status == 0 and (state / "corpora" / "text8-like").is_dir(), err


def test_nothing_else_is_sent():
    for name in (".git/config", ".venv/bin/python", ".allatt/runs/a/result.json", "figures/README.md", "tests/conftest.py",
                 "allatt/__pycache__/config.pyc", "allatt/data/__pycache__/tokens.pyc", "notebooks/00_data.ipynb"):
        assert not is_sent(Path(name)), name
    assert is_sent(Path("allatt/data/excerpt/wikipedia-excerpt.tar.xz"))


def pip_commands(image, tmp_path, **arguments: str) -> list[str]:
    """The RUN lines with pip, executed by sh with a pip that only notes what it is asked for."""
    program(tmp_path / "bin", "pip", f'echo "$*" >>{tmp_path}/asked')
    for rest in all_of("RUN"):
        if rest.startswith("pip"):
            status, _, err = run(["sh", "-ec", rest], image, programs=tmp_path / "bin", **arguments)
            assert status == 0, err
    return (tmp_path / "asked").read_text().splitlines()


def test_torch_comes_first_in_its_locked_version_and_from_the_chosen_index(image, tmp_path):
    locked, = re.findall(r"^torch==\S+$", (ROOT / "requirements.lock.txt").read_text(), flags=re.MULTILINE)
    first, second = pip_commands(image, tmp_path, TORCH_INDEX="https://example.org/cpu")
    assert first == f"install --no-cache-dir --no-deps --index-url https://example.org/cpu {locked}"
    assert second == "install --no-cache-dir --constraint requirements.lock.txt .[text,paper]"
    assert any(re.fullmatch(r"TORCH_INDEX=https://\S+", rest) for rest in all_of("ARG"))


def test_the_lock_file_fits_what_is_installed(image, tmp_path):
    """pip's own resolver, on the packages that are here: they are the locked ones."""
    _, second = pip_commands(image, tmp_path, TORCH_INDEX="any")
    command = [sys.executable, "-m", *shlex.split(f"pip {second}"), "--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=image)
    if "No matching distribution" in done.stderr and "allatt" not in done.stderr:
        pytest.skip("other versions are installed than the locked ones")
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr


def test_it_is_not_root_and_each_file_it_names_is_there():
    named = [source for rest in all_of("COPY") for source in rest.split()[:-1]]
    assert all((ROOT / name).exists() and is_sent(Path(name)) for name in named) and {"README.md", "LICENSE"} <= set(named)
    assert all_of("USER") == ["1000"] and all_of("FROM") == ["python:3.11-slim"]
    assert [name for name, _ in instructions()].index("USER") > max(
        i for i, (name, _) in enumerate(instructions()) if name == "RUN"), "packages are installed before"


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and done.stdout == "", done.stdout
