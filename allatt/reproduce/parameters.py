"""Parameters of notebooks: the literals in their cells tagged `parameters`, and a command's values for them."""

import ast
import difflib
import json
import math
import shlex
from pathlib import Path
from typing import Any

from allatt.config import AllattError, check
from allatt.config_json import to_float


def defaults(notebook: Path) -> dict[str, Any]:
    """A notebook's parameters and their defaults: the literals in its cells tagged `parameters`."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        tree = ast.parse("\n".join(sources))
        return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)}
    except (ValueError, KeyError, AttributeError, SyntaxError) as error:
        raise AllattError(f"{notebook.name} has no parameters cell of literals ({error}); restore it") from None


def bind(notebooks: list[Path], values: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each notebook (by name), those of `values` that it has as parameters, converted to the types of its defaults.

    AllattError if no notebook has a parameter of that name, or a value has the wrong type.
    """
    defaults_of = {path.stem: defaults(path) for path in notebooks}
    names = sorted(set().union(*defaults_of.values()))
    for name in values:
        if name not in names:
            matches = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {matches[0]}? " if matches else ""
            raise AllattError(f"no notebook here has a parameter {name}; {hint}they have {', '.join(names)}")
    return {stem: {name: _typed(text, default[name], f"{name} of {stem}") for name, text in values.items() if name in default}
            for stem, default in defaults_of.items()}


def _typed(text: str, default: Any, name: str) -> Any:
    """`text` as a value of the type of `default`; `name` is for the error message."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = to_float(value)
    numbers, wanted = (value, "a list of finite numbers") if isinstance(value, list) else ([value], "a finite number")
    finite = all(math.isfinite(to_float(number)) for number in numbers if isinstance(number, int | float))
    check(finite, f"{name} is {text!r}; it must be {wanted}")
    check(type(value) is type(default), f"{name} is {text!r}; it must be of type {type(default).__name__}, like {default!r}")
    return value


def parse(params: str) -> dict[str, str]:
    """Parse PARAMS, e.g. "lam=0.1 name='two words'", into a dict of strings."""
    try:
        pairs = [word.partition("=") for word in shlex.split(params)]
    except ValueError as error:
        raise AllattError(f"PARAMS is {params!r}: {error}") from None
    for name, equals, _ in pairs:
        check(bool(equals) and name.isidentifier(), f"PARAMS has {name!r}; write name=value, separated by spaces")
        check(name not in ("scale", "corpus", "seed", "seeds"), f"PARAMS has {name}; write {name.upper()}=... instead")
    return {name: value for name, _, value in pairs}
