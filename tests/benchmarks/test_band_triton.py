"""The Triton candidate: `band_triton_checks.py` in a process of its own, and what is said where Triton is missing."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch

from allatt.system.paths import repository

CHECKS = repository() / "tests" / "benchmarks" / "band_triton_checks.py"
HAS_TRITON = importlib.util.find_spec("triton") is not None


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed (it is no dependency): CONTRIBUTING.md says how")
@pytest.mark.parametrize("place", ["interpreter", pytest.param("gpu", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU"))])
def test_the_kernel_is_the_equations(place):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["TRITON_INTERPRET"] = "1" if place == "interpreter" else "0"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECKS], cwd=repository(),
                          env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 25


def one_line(code: str, **environment: str) -> str:
    """What `fast` says in a fresh Python, after this code."""
    code = ("import sys, torch\n"
            f"sys.path.insert(0, {str(repository() / 'tests')!r})\n" + code + "\n"
            "from test_attention import inputs\n"
            "from allatt.benchmarks import band_triton, bench\n"
            "from allatt.config import AllattError\n"
            "try:\n"
            "    band_triton.fast(*inputs(1, 1, 2, 2, 2, 16, dtype=torch.float32))\n"
            "except AllattError as error:\n"
            "    print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_triton_everything_is_imported_and_one_line_says_what_to_do():
    assert one_line("sys.modules['triton'] = None") == "the Triton kernel needs the package triton: pip install triton\n"


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
def test_without_a_gpu_one_line_says_what_to_do():
    said = one_line("", TRITON_INTERPRET="0")
    assert said == "the Triton kernel needs a GPU; to test without one, start Python with TRITON_INTERPRET=1\n"


def test_it_is_not_used_unless_chosen():
    from allatt.benchmarks import band_triton
    from allatt.model import PATHS

    assert band_triton.fast not in PATHS.values()
