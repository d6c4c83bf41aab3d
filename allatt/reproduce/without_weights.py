"""Notebooks on runs that are here without their weights, as after `unpack`: cells that need them are left out, the others run.

A cell that asks for weights fails with NoWeights. Whatever it would have defined is missing from then on, and cells that read
a missing name are left out in turn, until a cell that runs defines it anew. Each cell left out says so in its output.
"""

import ast
from collections.abc import Iterator
from contextlib import suppress

from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

NAME = "without weights"
"""The engine's name for papermill."""
SAYS = "left out: "
"""How the output of a cell that was left out begins."""


def defined(source: str) -> set[str]:
    """Names that a cell defines or binds, its functions and imports included."""
    return {name for name, _ in _bound(_parse(source))}


def read(source: str) -> set[str]:
    """Names that a cell reads before it binds them itself, those that are read in its functions included."""
    tree = _parse(source)
    bound = dict(sorted(_bound(tree), key=lambda pair: -pair[1]))  # by the first line that binds a name
    names = {(node.id, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return {name for name, line in names if name not in bound or line < bound[name]}


def _parse(source: str) -> ast.Module:
    """The cell's code, without what only IPython can read: its lines that begin with % or !, or, if need be, all of it."""
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    for code in (source, plain):  # a line of Python may begin with %, too
        with suppress(SyntaxError):
            return ast.parse(code)
    return ast.Module([], [])  # a mistake is the kernel's to report


def _bound(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that are bound, each with its line. In `x = f(x)`, which reads x first, x is bound after its line; loops,
    comprehensions and parameters bind theirs before."""
    early = {name.id for node in ast.walk(tree) if isinstance(node, (ast.For, ast.comprehension))
             for name in ast.walk(node.target) if isinstance(name, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, 0 if node.id in early else node.lineno + 1
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, 0
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0], 0


class Client(PapermillNotebookClient):
    """Executes the cells that can be executed."""

    def papermill_execute_cells(self) -> None:
        missing: set[str] = set()
        for index, cell in enumerate(self.nb.cells):
            needed = read(cell.source) & missing if cell.cell_type == "code" else set()
            try:
                self.nb_man.cell_start(cell, index)
                if needed:
                    _leave_out(cell, f"needs {', '.join(sorted(needed))}, which a cell above could not compute")
                else:
                    self.execute_cell(cell, index)
            except CellExecutionError as error:
                if error.ename != "NoWeights":
                    self.nb_man.cell_exception(cell, cell_index=index, exception=error)
                    break
                _leave_out(cell, error.evalue)
                needed = {"weights"}
            finally:
                self.nb_man.cell_complete(cell, cell_index=index)
            if cell.cell_type == "code":
                missing = missing | defined(cell.source) if needed else missing - defined(cell.source)


class Engine(NBClientEngine):
    """papermill's own engine, with this client."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, start_timeout=60, **options):
        return Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, timeout=options.get("execution_timeout"),
                      log_output=False).execute()


def _leave_out(cell: NotebookNode, reason: str) -> None:
    cell.outputs = [new_output("stream", name="stdout", text=f"{SAYS}{reason}\n")]


def register() -> str:
    """Make the engine known to papermill; returns its name."""
    papermill_engines.register(NAME, Engine)
    return NAME
