"""Executes one notebook in a separate process, which measures its time and peak memory, and reports the outcome.

    this process --(orders, one JSON line on stdin)--> python -m allatt.reproduce.execute --> papermill --> the kernel

The middle process exits when its stdin closes, so no kernel is left behind even if this process is SIGKILLed.
"""

import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from allatt.config import AllattError, check
from allatt.system import processes
from allatt.system.paths import absolute, figures, home


class Outcome(NamedTuple):
    """Result of executing a notebook."""

    seconds: float
    peak_mb: int
    """Largest resident memory of any process of the notebook, in 10^6 bytes; 0 if unknown."""
    error: str
    """One line: what failed, and in which cell; "" if nothing failed."""


def execute(notebook: Path, executed: Path, parameters: dict,
            tick: Callable[[float], bool] = lambda seconds: False) -> Outcome:
    """Execute `notebook` with `parameters` by papermill, in its own folder and with this Python; writes `executed`.

    `tick(seconds so far)` is called ten times per second; if it returns True, the notebook is stopped and AllattError
    raised. Errors inside the notebook are not raised: they are in the outcome.
    """
    check(not executed.is_dir(), f"{executed} is a folder; remove it")
    executed.unlink(missing_ok=True)
    log_path = executed.with_suffix(".log")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="allatt-") as scratch, open(log_path, "wb") as log:
        peak_path = Path(scratch) / "peak"
        orders = {"notebook": str(notebook), "executed": str(executed), "parameters": parameters, "peak": str(peak_path)}
        process = processes.start("allatt.reproduce.execute", orders, log, _environment(notebook, Path(scratch)))
        try:
            while process.poll() is None:
                if tick(time.monotonic() - start):
                    raise AllattError(f"stopped in {notebook.stem}; run the same command again to continue")
                time.sleep(0.1)
        finally:
            processes.end(process)
        peak_bytes = int(peak_path.read_text()) if peak_path.exists() else 0
    error = _error(executed, log_path, process.returncode) if process.returncode else ""
    if not error:
        log_path.unlink()
    return Outcome(time.monotonic() - start, round(peak_bytes / 1e6), error)


def _environment(notebook: Path, scratch: Path) -> dict[str, str]:
    """The kernel's environment: this Python and this allatt, without the user's Jupyter and IPython settings."""
    spec = scratch / "kernels" / "python3"
    spec.mkdir(parents=True)
    kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
              "display_name": "Python 3 (ipykernel)", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    # The notebook runs in another folder, so paths are made absolute. Waiting threads spin for a moment (10,000 rounds, as
    # fast as the default), then sleep; by default they keep spinning, and training on shared cores was 5 to 20 times slower.
    data_folders = filter(None, os.environ.get("ALLATT_DATA", "").split(os.pathsep))
    return {"GOMP_SPINCOUNT": "10000"} | os.environ | {
        "ALLATT_HOME": str(home()), "ALLATT_FIGURES": str(figures()), "ALLATT_NOTEBOOK": notebook.stem,
        "ALLATT_DATA": os.pathsep.join(str(absolute(folder)) for folder in data_folders),
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(scratch), os.environ.get("JUPYTER_PATH")])),
        "IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _error(executed: Path, log: Path, code: int) -> str:
    """One line: the exception of the notebook's cell, else the last line of the log."""
    count = 0
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # execution had not begun, or the disk is full
        cells = []
    for cell in cells:
        count = cell.get("execution_count") or count
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return f"cell In [{cell['execution_count']}]: {_exception(output)}"
    if code < 0:
        return f"its process was killed by signal {-code} at cell In [{count}]; was there enough memory?"
    last = log.read_text(errors="replace").strip().split("\n")[-1].strip() or f"exit status {code}"
    if "DeadKernelError" in last:
        return f"the kernel died at cell In [{count}]; was there enough memory?"
    return f"{last} (at cell In [{count}])"


def _exception(output: dict) -> str:
    """An error output as one line: for AllattError only the message, for a bare assert the line of code."""
    value = (output["evalue"].strip() or "\n").splitlines()[0]
    if output["ename"] == "AllattError":
        return value
    if not value:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
        code = re.findall(r"^-+> *\d+ (.*)$", trace, flags=re.MULTILINE)
        value = code[-1].strip() if code else ""
    return f"{output['ename']}: {value}".rstrip(": ")


def headline(executed: Path) -> str:
    """The text after the last "Headline: " in the outputs of an executed notebook; "" if there is none.

    If cells were left out (`allatt.reproduce.without_weights`), it ends with their number.
    """
    lines, cells = _lines(executed), left_out(executed)
    headlines = [line.removeprefix("Headline: ") for line in lines if line.startswith("Headline: ")]
    more = [f"{cells} cell{'s' * (cells > 1)} left out: runs are here without their weights"] if cells else []
    return "; ".join([*(line.strip() for line in headlines[-1:]), *more])


def left_out(executed: Path) -> int:
    """How many cells were left out because they need weights that are not here."""
    return sum(line.startswith("left out: ") for line in _lines(executed))


def _lines(executed: Path) -> list[str]:
    """All lines that an executed notebook has printed."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in merge_streams(cell.get("outputs", []))]
    return [line for output in outputs for line in "".join(output.get("text", ())).splitlines()]


def merge_streams(outputs: list[dict]) -> list[dict]:
    """Outputs (as JSON) with consecutive pieces of a stream joined; how a kernel cuts them differs from run to run.

    nbclient's own option (coalesce_streams) also joins pieces that have other outputs between them, so it is not used.
    """
    merged: list[dict] = []
    for output in outputs:
        before = ""
        if merged and output["output_type"] == "stream" and output["name"] == merged[-1].get("name"):
            before = "".join(merged.pop()["text"])
        if output["output_type"] == "stream":
            output = output | {"text": (before + "".join(output["text"])).splitlines(keepends=True)}
        merged.append(output)
    return merged


def _main() -> None:
    """The middle process: runs papermill, and exits when its stdin closes; the kernel then exits within a second."""
    orders = processes.read_orders(_interrupt_kernels)
    import papermill  # here, so that importing this module stays fast

    from allatt.reproduce.without_weights import register

    try:
        notebook, executed = (orders[name].replace("{", "{{").replace("}", "}}") for name in ("notebook", "executed"))
        # papermill takes braces in these two for parameters
        papermill.execute_notebook(notebook, executed, orders["parameters"], kernel_name="python3",
                                   cwd=str(Path(orders["notebook"]).parent), progress_bar=False, engine_name=register())
    finally:
        # Measured here, not in the first process: a child's peak is never lower than its parent's size at the fork.
        unit = 1 if sys.platform == "darwin" else 1024
        Path(orders["peak"]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit))


def _interrupt_kernels() -> None:
    """Like Ctrl-C in Jupyter: a run in training is saved, the cell fails, and papermill ends."""
    import psutil  # every kernel needs it, too

    kernels = psutil.Process().children(recursive=True)
    for kernel in kernels:
        with suppress(psutil.Error):
            kernel.send_signal(signal.SIGINT)
    if not kernels:
        processes.terminate()


if __name__ == "__main__":
    _main()
