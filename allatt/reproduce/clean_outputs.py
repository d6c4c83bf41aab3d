"""Makes executed notebooks fit to commit: removes everything that differs between machines or from run to run."""

import json
from pathlib import Path

from allatt.config import check
from allatt.reproduce.execute import execute, merge_streams
from allatt.system.files import write
from allatt.system.messages import PROGRESS

LONGEST_CELL = 15
"""Maximum number of lines of code in a cell of a committed notebook."""


def execute_in_place(notebook: Path) -> None:
    """Execute a committed notebook with its default parameters, clean it, and write it back.

    AllattError, and the file stays as it was, if a cell fails or has more than LONGEST_CELL lines.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for position, cell in enumerate(cells, start=1):
        lines = len("".join(cell["source"]).strip().splitlines())
        check(cell["cell_type"] != "code" or lines <= LONGEST_CELL,
              f"{notebook.name}: cell {position} has {lines} lines; at most {LONGEST_CELL} are allowed: move logic into allatt")
    executed = notebook.with_name(f".{notebook.name}.executed")
    try:
        outcome = execute(notebook, executed, {})
        check(not outcome.error, f"{notebook.name}: {outcome.error}; the file is unchanged")
        root = notebook.resolve().parents[2 if notebook.parent.name == "solutions" else 1]
        cleaned = clean(json.loads(executed.read_text(encoding="utf-8")), root)
        write(notebook, (json.dumps(cleaned, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    finally:
        executed.unlink(missing_ok=True)
        executed.with_suffix(".log").unlink(missing_ok=True)


def clean(notebook: dict, root: Path) -> dict:
    """A notebook (as JSON) without standard error, progress bars, timings, papermill's metadata and absolute paths.

    Paths below `root` become relative. Execution counts stay, since nbval compares nothing without them.
    """
    kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells = []
    for cell in notebook["cells"]:
        metadata = {key: value for key, value in cell["metadata"].items() if key == "tags" and value}
        cells.append({"cell_type": cell["cell_type"], "id": cell["id"], "metadata": metadata, "source": cell["source"]})
        if cell["cell_type"] == "code":
            outputs = merge_streams([output for output in cell["outputs"] if output.get("name") != "stderr"
                                     and PROGRESS not in output.get("metadata", {})])
            cells[-1] |= {"execution_count": cell["execution_count"], "outputs": _without_paths(outputs, root)}
    return {"cells": cells, "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
            "nbformat": notebook["nbformat"], "nbformat_minor": notebook["nbformat_minor"]}


def _without_paths(outputs: list, root: Path) -> list:
    """Outputs in which `root` is written as ".", and the user's home as "~"."""
    text = json.dumps(outputs)
    for folder, short in ((root, "."), (Path.home(), "~")):
        text = text.replace(json.dumps(str(folder))[1:-1], short)
    return json.loads(text)
