"""The parameters of notebooks: what their cells with the tag `parameters` hold, and what of a command fits them."""

from __future__ import annotations

import ast
import difflib
import json
import shlex
from pathlib import Path
from typing import Any

from allatt.config import AllattError, check


def defaults(notebook: Path) -> dict[str, Any]:
    """The parameters of a notebook and their defaults: the literals of its cell with the tag `parameters`."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ())]
        tree = ast.parse("\n".join(sources))
        return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)}
    except (ValueError, KeyError, AttributeError, SyntaxError) as error:
        raise AllattError(f"{notebook.name} is no notebook with literal parameters ({error}); restore it") from None


def bind(notebooks: list[Path], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each notebook (by name) the given parameters that it knows, each of its default's type.

    AllattError where no notebook knows a parameter, or a value has the wrong type.
    """
    known = {path.stem: defaults(path) for path in notebooks}
    names = sorted(set().union(*known.values()))
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise AllattError(f"no notebook here has a parameter {name}; {hint}they have {', '.join(names)}")
    return {stem: {name: _typed(text, has[name], f"{name} of {stem}") for name, text in given.items() if name in has}
            for stem, has in known.items()}


def _typed(text: str, default: Any, where: str) -> Any:
    """`text` as a value of the type of `default`."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        value = type(default)(value)
    right = default is None or type(value) is type(default)
    check(right, f"{where} is {text!r}; it must be of type {type(default).__name__}, like {default!r}")
    return value


def parse(params: str) -> dict[str, str]:
    """"lam=0.1 name='two words'" as a dict of texts."""
    try:
        pairs = [word.partition("=") for word in shlex.split(params)]
    except ValueError as error:
        raise AllattError(f"PARAMS is {params!r}: {error}") from None
    for name, equals, _ in pairs:
        check(bool(equals) and name.isidentifier(), f"PARAMS has {name!r}; write name=value, with spaces between them")
        check(name not in ("scale", "corpus", "seed", "seeds"), f"PARAMS has {name}; write {name.upper()}=... instead")
    return {name: value for name, _, value in pairs}
