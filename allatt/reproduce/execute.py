"""One notebook in a process of its own, so that its time and peak memory can be told; executed notebooks fit to commit.

    this process --(orders, one JSON line on stdin)--> python -m allatt.reproduce.execute --> papermill --> the kernel

The middle process ends when its stdin does: however this process ends, SIGKILL included, no kernel is left behind.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from allatt.config import AllattError, check
from allatt.system import processes
from allatt.system.files import write
from allatt.system.paths import figures, home

LONGEST_CELL = 15
"""Lines of code that a cell of a committed notebook may have."""
HEADLINE = "Headline: "
"""A notebook prints its main number after this."""


@dataclass(frozen=True)
class Outcome:
    """What came of a notebook."""

    seconds: float
    peak_mb: int
    """Largest resident memory of one process of the notebook, in 10^6 bytes; 0 where it is not known."""
    error: str
    """One line that says what failed, where; "" if nothing did."""


def execute(notebook: Path, executed: Path, parameters: dict,
            tick: Callable[[float], bool] = lambda seconds: False) -> Outcome:
    """Run `notebook` with `parameters` by papermill in its own folder, with this Python; the result is `executed`.
    `tick(seconds so far)` is called ten times a second; where it returns True, the notebook is stopped and AllattError
    raised. What goes wrong in the notebook does not raise: it is in the outcome.
    """
    executed.unlink(missing_ok=True)
    log_path = executed.with_suffix(".log")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="allatt-") as scratch, open(log_path, "wb") as log:
        peak = Path(scratch) / "peak"
        orders = {"notebook": str(notebook), "executed": str(executed), "parameters": parameters, "peak": str(peak)}
        process = processes.start("allatt.reproduce.execute", orders, log, _environment(notebook, Path(scratch)))
        try:
            while process.poll() is None:
                if tick(time.monotonic() - began):
                    raise AllattError(f"stopped in {notebook.stem}; run the same command again to continue")
                time.sleep(0.1)
        finally:
            processes.end(process)
        bytes_used = int(peak.read_text()) if peak.exists() else 0
    error = _error(executed, log_path, process.returncode) if process.returncode else ""
    if not error:
        log_path.unlink()
    return Outcome(time.monotonic() - began, round(bytes_used / 1e6), error)


def _environment(notebook: Path, scratch: Path) -> dict[str, str]:
    """The environment of the kernel: this Python and this allatt, none of the user's Jupyter or IPython settings."""
    spec = scratch / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"})
    (spec / "kernel.json").write_text(text)
    env = dict(os.environ)
    env["JUPYTER_PATH"] = os.pathsep.join([str(scratch), *filter(None, [env.get("JUPYTER_PATH")])])
    # Folders as they are seen from here: the notebook runs in its own. Threads that wait spin a moment (10,000 rounds: as
    # fast as by default), then sleep: by default they spin on, and training on shared cores was 5 to 20 times slower.
    data = [str(Path(part).expanduser().resolve()) for part in env.get("ALLATT_DATA", "").split(os.pathsep) if part]
    return env | {
        "ALLATT_HOME": str(home()), "ALLATT_FIGURES": str(figures()),
        "ALLATT_DATA": os.pathsep.join(data), "ALLATT_NOTEBOOK": notebook.stem,
        "IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1", "GOMP_SPINCOUNT": env.get("GOMP_SPINCOUNT", "10000"),
    }


def _error(executed: Path, log: Path, code: int) -> str:
    """What went wrong, in one line: the exception of the notebook's cell, else the last line of the log."""
    count = 0
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # it had not begun, or there was no space to write it
        cells = []
    for cell in cells:
        count = cell.get("execution_count") or count
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return f"cell In [{cell['execution_count']}]: {_exception(output)}"
    if code < 0:
        return f"its process was killed by signal {-code} at cell In [{count}]; was there enough memory?"
    lines = log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), f"exit status {code}")
    if "DeadKernelError" in last:
        return f"the kernel died at cell In [{count}]; was there enough memory?"
    return f"{last.strip()} (at cell In [{count}])"


def _exception(output: dict) -> str:
    """An error output in one line: of AllattError only the message, of a bare assert the line of code."""
    value = (output["evalue"].strip() or "\n").splitlines()[0]
    if output["ename"] == "AllattError":
        return value
    if not value:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
        code = re.findall(r"^-+> *\d+ (.*)$", trace, flags=re.MULTILINE)
        value = code[-1].strip() if code else ""
    return f"{output['ename']}: {value}".rstrip(": ")


def headline(executed: Path) -> str:
    """What follows the last "Headline: " in an executed notebook's outputs; "" where there is none."""
    found = ""
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        for output in _merged(cell.get("outputs", [])):
            for line in "".join(output.get("text", ())).splitlines():
                found = line.removeprefix(HEADLINE).strip() if line.startswith(HEADLINE) else found
    return found


def _merged(outputs: list[dict]) -> list[dict]:
    """Outputs in which what a stream wrote at a stretch is one piece: how it is cut differs from run to run."""
    merged: list[dict] = []
    for output in outputs:
        before = ""
        if merged and output["output_type"] == "stream" and output["name"] == merged[-1].get("name"):
            before = "".join(merged.pop()["text"])
        if output["output_type"] == "stream":
            output = output | {"text": (before + "".join(output["text"])).splitlines(keepends=True)}
        merged.append(output)
    return merged


def clean_executed(notebook: Path) -> None:
    """Execute a committed notebook in place with its own defaults, and keep only what does not change from run to run.

    Counts of execution stay: without them nbval compares nothing. Standard error, timings, papermill's metadata and
    absolute paths go. AllattError, and the file stays as it was, where a cell fails or has more than 15 lines.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for place, cell in enumerate(cells, start=1):
        lines = len("".join(cell["source"]).strip().splitlines())
        check(cell["cell_type"] != "code" or lines <= LONGEST_CELL,
              f"{notebook.name}: cell {place} has {lines} lines; at most {LONGEST_CELL}: move logic into allatt")
    executed = notebook.with_name(f".{notebook.name}.executed")
    try:
        outcome = execute(notebook, executed, {})
        check(not outcome.error, f"{notebook.name}: {outcome.error}; the file is as it was")
        cleaned = clean(json.loads(executed.read_text(encoding="utf-8")), notebook.resolve().parents[1])
        write(notebook, (json.dumps(cleaned, indent=1, ensure_ascii=False) + "\n").encode())
    finally:
        executed.unlink(missing_ok=True)
        executed.with_suffix(".log").unlink(missing_ok=True)


def clean(notebook: dict, root: Path) -> dict:
    """A notebook (as JSON) without what differs between machines and runs; paths below `root` become relative."""
    kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells = []
    for cell in notebook["cells"]:
        kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}, "source": cell["source"]}
        if cell["metadata"].get("tags"):
            kept["metadata"] = {"tags": cell["metadata"]["tags"]}
        if cell["cell_type"] == "code":
            outputs = _merged([output for output in cell["outputs"] if output.get("name") != "stderr"])
            kept |= {"execution_count": cell["execution_count"], "outputs": _without_paths(outputs, root)}
        cells.append({key: kept[key] for key in sorted(kept)})
    return {"cells": cells, "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
            "nbformat": notebook["nbformat"], "nbformat_minor": notebook["nbformat_minor"]}


def _without_paths(outputs: list, root: Path) -> list:
    """Outputs in which the repository's folder is ".", and the user's home "~"."""
    text = json.dumps(outputs)
    for folder, short in ((root, "."), (Path.home(), "~")):
        text = text.replace(json.dumps(str(folder))[1:-1], short)
    return json.loads(text)


def _main() -> None:
    """The middle process: reads its orders, runs papermill, and ends with its stdin; the kernel then ends within a second."""
    orders = processes.orders()
    import papermill  # here: whoever only asks for an outcome does not wait for it

    try:
        papermill.execute_notebook(orders["notebook"], orders["executed"], orders["parameters"], kernel_name="python3",
                                   cwd=str(Path(orders["notebook"]).parent), progress_bar=False)
    finally:
        # Asked here and not in the first process: a child's peak never reads lower than its parent's size at the fork.
        unit = 1 if sys.platform == "darwin" else 1024
        Path(orders["peak"]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit))


if __name__ == "__main__":
    _main()
