"""The Triton candidate: `band_triton_checks.py` in a process of its own, and what is said where Triton is missing."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch

from allatt.benchmarks import band_triton
from allatt.model import PATHS
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


@pytest.mark.skipif(not HAS_TRITON or os.environ.get("TRITON_INTERPRET") == "1", reason="needs triton, not its interpreter")
@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_for_a_gpu(capability, tmp_path, monkeypatch):
    """The interpreter takes what the compiler does not; this needs no GPU. Memory has to fit the smallest that has bfloat16."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"K": 64, "TILE": 64, "DROPS": True}
    types = {"norm": "*fp32", "delta": "*fp32", "seed": "*i64", "drop": "fp32", **dict.fromkeys(constants, "constexpr")}
    for kernel in (band_triton._forward, band_triton._backward_queries, band_triton._backward_keys):
        numbers = [name for name in kernel.arg_names if re.fullmatch(r"\w+_[bhts]|first|[A-Z]", name)]
        signature = {name: types.get(name, "i32" if name in numbers else "*bf16") for name in kernel.arg_names}
        built = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32),
                        options={"num_warps": 8, "num_stages": 2})
        assert "mma" in built.asm["ptx"], "no tensor cores"
        assert 0 < built.metadata.shared <= 99 * 1024


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
    said = one_line("sys.modules['triton'] = None")
    assert said == "the Triton kernel needs a GPU and the package triton (pip install triton)\n"


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
def test_without_a_gpu_one_line_says_what_to_do():
    said = one_line("", TRITON_INTERPRET="0")
    assert said == "the Triton kernel needs a GPU; to test without one, start Python with TRITON_INTERPRET=1\n"


def test_it_is_not_used_unless_chosen():
    assert band_triton.fast not in PATHS.values()
