"""pyproject.toml, the lock file, environment.yml, the Makefile and CITATION.cff say the same; the core needs little."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import allatt
from allatt.reproduce import parameters
from allatt.reproduce.runner import select
from allatt.system.paths import repository

ROOT = repository()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
METHOD = ("attention", "batches", "config", "config_json", "cost", "evaluate", "gates", "generate", "importance",
          "model", "optimizer", "prune", "segment_memory", "softmax", "train")
CORE = METHOD + ("kernels", "system", "data", "runs", "sharing", "cli", "paper.scales")
"""What a GPU machine without Jupyter uses: modules and folders of allatt."""
LINUX = {"sys_platform": "linux", "platform_system": "Linux"}


UNLOCKED = "cloud"
"""The extra that the lock file leaves out: no test needs the clouds' own clients (Google's brings 20 packages)."""


def wanted() -> list[Requirement]:
    """Every requirement of pyproject.toml but allatt's own extras and UNLOCKED."""
    project = PROJECT["project"]
    texts = project["dependencies"] + [t for name, extra in project["optional-dependencies"].items() if name != UNLOCKED
                                       for t in extra]
    return [r for r in map(Requirement, texts) if r.name != "allatt"]


def locked() -> dict[str, str]:
    """Name -> version of the lock file."""
    lines = [line for line in (ROOT / "requirements.lock.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), "exact versions only"
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_locked_package_but_torch_has_checksums():
    blocks = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$",
                        (ROOT / "requirements.hashes.txt").read_text(), re.MULTILINE)
    assert {canonicalize_name(name): version for name, version, _ in blocks} | {"torch": locked()["torch"]} == locked()


def test_lock_satisfies_every_range():
    versions = locked()
    for requirement in wanted():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


PYTHONS = ("3.11", "3.12", "3.13")
UNUSED = {("papermill", "aiohttp")}
"""papermill asks for aiohttp with Python 3.12 alone, and does not import it."""


def needs_of(name: str) -> list[Requirement]:
    """What a locked package needs with any of PYTHONS. Skips the test if another version of it is installed."""
    if importlib.metadata.version(name).split("+")[0] != locked()[canonicalize_name(name)]:
        pytest.skip(f"another {name} is installed than the locked one")
    needs = map(Requirement, importlib.metadata.requires(name) or ())
    variants = [{**LINUX, "python_version": version, "python_full_version": f"{version}.0"} for version in PYTHONS]
    # Which of these torch needs depends on its build (CPU or a CUDA), and each build pins them itself.
    return [need for need in needs if (canonicalize_name(name), need.name) not in UNUSED
            and not (name == "torch" and need.name.startswith(("nvidia", "cuda", "triton")))
            and (need.marker is None or any(need.marker.evaluate({"extra": "", **variant}) for variant in variants))]


def test_lock_holds_everything_that_its_packages_need():
    versions, missing = locked(), []
    for name in versions:
        for need in needs_of(name):
            version = versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                missing.append(f"{name} needs {need}, locked is {version}")
    assert not missing


def test_lock_holds_nothing_that_no_package_needs():
    versions = locked()
    reached, todo = set(), wanted()
    while todo:
        need = todo.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key not in reached:
            reached.add(key)
            texts = map(Requirement, importlib.metadata.requires(need.name) or ())
            extras = [r for r in texts if "extra ==" in str(r.marker) and any(
                r.marker.evaluate({"extra": e, **LINUX, "python_version": v}) for e in need.extras for v in PYTHONS)]
            todo += [*needs_of(need.name), *extras]
    assert sorted(set(versions) - {name for name, _ in reached}) == []


def test_torch_is_locked_first():
    assert next(iter(locked())) == "torch", "without its pin, the packages before it could bring another torch"


def test_conda_environment_agrees():
    conda = [item for item in ENVIRONMENT["dependencies"] if isinstance(item, str)]
    python = next(item for item in conda if item.startswith("python=")).removeprefix("python=")
    assert ENVIRONMENT["name"] == PROJECT["project"]["name"] == "allatt"
    assert Requirement("python" + PROJECT["project"]["requires-python"]).specifier.contains(python)
    assert {item.split("=")[0] for item in conda} == {"python", "pip", "make"}, "packages come from the lock file alone"
    assert ENVIRONMENT["dependencies"][-1] == {"pip": ["-r requirements.lock.txt", "-e ."]}


def test_extras_hold_what_the_base_must_not():
    base = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert base == {"torch", "numpy", "sentencepiece", "safetensors", "filelock", "tqdm"}


def test_every_dependency_says_why():
    lines = [s for s in (ROOT / "pyproject.toml").read_text().splitlines() if re.match(r'    "[\w.,[\]-]+[<>=]', s)]
    assert len(lines) == len(wanted()) + len(PROJECT["project"]["optional-dependencies"][UNLOCKED])
    assert [line for line in lines if "#" not in line] == []


def test_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == allatt.__version__
    assert citation["license"] == PROJECT["project"]["license"] == "MIT"
    assert "Layer-wise Pruning of Transformer Attention Heads" in citation["preferred-citation"]["title"]


def test_no_file_is_tied_to_one_machine():
    locks = "requirements.lock.txt", "requirements.hashes.txt"
    for name in ("pyproject.toml", *locks, "environment.yml", "Makefile", ".ci/run"):
        assert not re.search(r"https?://|/root/|/home/|/opt/|find-links|index-url", (ROOT / name).read_text()), name


def imports_at_the_top(path: Path) -> set[str]:
    """Names of the packages that a module imports when it is imported itself."""
    tree = ast.parse(path.read_text())
    nodes = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return {name.split(".")[0] for name in names | {n.module for n in nodes if isinstance(n, ast.ImportFrom)}}


@pytest.mark.parametrize("name", CORE)
def test_core_imports_few_packages(name):
    path = ROOT / "allatt" / name.replace(".", "/")
    modules = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    allowed = {"torch", "numpy", "sentencepiece", "safetensors", "filelock", "tqdm", "allatt", *sys.stdlib_module_names}
    assert modules and {str(m): found for m in modules if (found := imports_at_the_top(m) - allowed)} == {}


def loaded(*imports: str) -> set[str]:
    """The modules that a fresh Python has after these imports."""
    code = "".join(f"import {name}\n" for name in imports) + "import sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_allatt_imports_nothing():
    assert loaded("allatt") - loaded() == {"allatt"}


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests run in one process")
def test_workers_together_have_no_more_threads_than_cores():
    """The first process once set as many as there are cores, and each worker inherited that: all took twice as long."""
    import torch

    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    assert torch.get_num_threads() * workers <= max(workers, os.cpu_count()), "unset OMP_NUM_THREADS"


def test_core_and_experiments_cost_little_beside_torch():
    """What takes long is torch's own; nothing of the notebooks, and no part of torch that it does not load itself."""
    deep = "data.tokens", "runs.parallel", "cli.main", "reproduce.runner", "paper.claims"
    more = loaded("torch", *(f"allatt.{name}" for name in CORE + deep)) - loaded("torch")
    assert "allatt.runs" in more
    assert {name.split(".")[0] for name in more} - sys.stdlib_module_names \
        <= {"allatt", "safetensors", "sentencepiece", "_sentencepiece", "filelock", "tqdm", "numpy", "torch"}
    assert {name for name in more if name.startswith("torch._")} == set(), "its compiler alone takes seconds"


def test_every_module_has_a_place_in_the_order():
    order, no_service, no_method = PROJECT["tool"]["importlinter"]["contracts"]
    top = {path.relative_to(ROOT / "allatt").parts[0].removesuffix(".py") for path in modules_of(ROOT)} - {"__init__"}
    assert {name for layer in order["layers"] for name in layer.split(" : ")} == top and order["exhaustive"]
    files = {path.stem for path in (ROOT / "allatt").glob("*.py")} - {"__init__", "__main__"}
    assert files == set(METHOD), "whatever lies on top of allatt/ is the method"
    method = {f"allatt.{name}" for name in METHOD if name not in ("config", "config_json")} | {"allatt.kernels"}
    assert set(no_service["source_modules"]) == set(no_method["forbidden_modules"]) == method
    services = {f"allatt.system.{path.stem}" for path in (ROOT / "allatt" / "system").glob("[a-z]*.py")}
    services -= {f"allatt.system.{name}" for name in ("files", "machine", "checkpoint", "messages", "tensorboard")}
    assert set(no_service["forbidden_modules"]) == {"allatt.data"} | services


def test_every_module_has_a_test_file_in_its_place():
    """allatt/data/tokens.py is tested by tests/data/test_tokens.py; all drawings by tests/figures/test_drawings.py."""
    modules = [path.relative_to(ROOT / "allatt") for path in modules_of(ROOT) if not path.stem.startswith("__")]
    modules = [path for path in modules if not re.fullmatch(r"nb\d\d", path.stem)]
    missing = [str(path) for path in modules if not (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()]
    assert len(modules) > 50 and missing == []


def test_the_method_stays_small():
    files = [*(ROOT / "allatt").glob("*.py"), *(ROOT / "allatt" / "kernels").glob("*.py")]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 2400


def test_modules_stay_short():
    lengths = {path: len(path.read_text().splitlines()) for path in modules_of(ROOT)}
    assert len(lengths) > 40 and any(path.parent.name != "allatt" for path in lengths)
    assert {str(path): length for path, length in lengths.items() if length > 300} == {}


def modules_of(root: Path) -> list[Path]:
    """Every module of allatt, at every level."""
    return sorted((root / "allatt").rglob("*.py"))


def test_a_wheel_holds_every_module_and_the_built_in_text(tmp_path):
    source = tmp_path / "source"
    excerpt = ROOT / "allatt" / "data" / "excerpt"
    ours = [*modules_of(ROOT), excerpt / "README.md", excerpt / "wikipedia-excerpt.tar.xz",
            *(ROOT / "allatt" / "sharing" / "page").iterdir()]
    for path in [*ours, *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE"))]:
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheel, = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("allatt/")}
    assert held == {str(path.relative_to(ROOT)) for path in ours}
    # Unpacked elsewhere, the package finds its text.
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "from allatt.data.corpora import CORPORA, locate; print(locate('text8-like').sha256 == CORPORA['text8-like'].sha256)"
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "ALLATT_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout == "True\n", done.stderr


def test_one_module_alone_looks_for_places():
    """A second one that counts parents of its own file would look elsewhere, without a word, when it is moved."""
    looking = [str(path.relative_to(ROOT)) for path in modules_of(ROOT) if "__file__" in path.read_text()]
    assert looking == ["allatt/system/paths.py"]


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = ["make", "-C", str(ROOT), "--no-print-directory", *arguments]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True)


def test_make_alone_lists_every_target_in_a_line():
    shown = make()
    assert shown.returncode == 0
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[0].split()
    assert re.findall(r"^  make ([\w-]+) +\w", shown.stdout, flags=re.MULTILINE) == targets
    assert make("help").stdout == shown.stdout


@pytest.mark.parametrize("variables, expected", [
    ({}, str(ROOT / ".venv")),
    ({"VIRTUAL_ENV": "/some/venv"}, "/some/venv"),
    ({"CONDA_PREFIX": "/some/conda/envs/allatt", "CONDA_DEFAULT_ENV": "allatt"}, "/some/conda/envs/allatt"),
    ({"CONDA_PREFIX": "/some/conda", "CONDA_DEFAULT_ENV": "base"}, str(ROOT / ".venv")),
    ({"VIRTUAL_ENV": "/some/venv", "CONDA_PREFIX": "/some/conda/envs/a", "CONDA_DEFAULT_ENV": "a"}, "/some/venv"),
])
def test_make_takes_the_active_environment(variables, expected):
    shown = make("--dry-run", "status", **variables)
    assert f'exec "{expected}/bin/python" -m allatt status' in shown.stdout


@pytest.mark.parametrize("version, good", [("3.9", False), ("3.10", False), ("3.11", True), ("3.13", True)])
def test_make_asks_for_a_new_enough_python(tmp_path, version, good):
    """A python that is too old, or cannot make an environment, is one clear line."""
    for name in ("Makefile", "requirements.lock.txt", "requirements.hashes.txt", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    fake = tmp_path / "python"
    old = 1 if good else 0  # what the question "too old?" exits with
    fake.write_text("#!/bin/sh\n"
                    f'case "$2" in *sys.exit*) exit {old};; *print*) echo {version};; *) exit 7;; esac\n')
    fake.chmod(0o755)
    done = subprocess.run(["make", "-C", str(tmp_path), "env", f"PYTHON={fake}"], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]})
    said = [line for line in done.stderr.splitlines() if line.startswith("allatt:")]
    assert done.returncode != 0 and len(said) == 1
    expected = "cannot make a virtual environment" if good else f"needs Python 3.11 or later, {fake} is {version}"
    assert expected in said[0]


def test_ci_does_what_the_readme_promises():
    script = (ROOT / ".ci" / "run").read_text()
    commands = [line for line in script.splitlines() if line.startswith("make ")]
    seeded = sorted(path.name[:2] for path in select(ROOT / "notebooks") if "seeds" in parameters.defaults(path))
    several = f'make reproduce SCALE=smoke SEEDS=2 NOTEBOOKS="{" ".join(seeded)}"'
    assert commands == ["make test", "make reproduce SCALE=smoke", several], "what compares seeds runs with two as well"
    assert "set -euo pipefail" in script
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job, = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"][0] == "3.11"
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]


def test_the_list_of_licenses_names_what_is_locked():
    """Written by `python tests/licenses.py`; a package of the lock file without its line is a package nobody looked at."""
    listed = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "tests" / "licenses.md").read_text(), flags=re.MULTILINE)
    rows = {name: (version, text) for name, version, text in listed if name != "package"}
    assert {canonicalize_name(name): version for name, (version, _) in rows.items()} == locked() and len(rows) > 80
    assert not any(re.search(r"(?<!L)GPL|not stated", text) for _, text in rows.values()), "none may ask more than MIT does"
