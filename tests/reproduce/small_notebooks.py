"""Builds small notebooks for the tests of the runner."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'scale = "smoke"\ncorpus = ""\nseed = 0\n'


def write_notebook(folder: Path, name: str, *sources: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a parameters cell and one cell for each source."""
    cells = [new_markdown_cell(f"# {name}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    book = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "notebooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path
