"""Configs from JSON values, read strictly: unknown keys and wrong types are AllattErrors."""

import dataclasses
import json
import math
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from allatt.config import check


def from_dict(cls: type, values: dict) -> Any:
    """The config of class `cls` from JSON values. Unknown keys and wrong types are AllattErrors."""
    check(isinstance(values, dict), f"{cls.__name__} must be an object, not {type(values).__name__}")
    hints = get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    check(not unknown, f"{cls.__name__} has no {', '.join(unknown)}; it has {', '.join(hints)}")
    required = [f.name for f in dataclasses.fields(cls)
                if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    check(not missing, f"{cls.__name__} lacks {', '.join(missing)}")
    return cls(**{key: _read(hints[key], value, f"{cls.__name__}.{key}") for key, value in values.items()})


def to_float(number: float) -> float:
    """The number as a float; if it has too many digits for one, infinity, which configs refuse."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def alter(values: dict, change: str) -> None:
    """Apply one "SECTION.KEY=VALUE" (`--set` of the command line) to the JSON values of a config."""
    path, equals, text = change.partition("=")
    *sections, key = path.split(".")
    check(bool(equals and sections and key), f"--set {change!r}: write SECTION.KEY=VALUE, e.g. train.steps=100")
    for section in sections:
        have = ", ".join(k for k, v in values.items() if isinstance(v, dict))
        check(isinstance(values.get(section), dict), f"--set {path}: there is no section {section}; there is {have}")
        values = values[section]
    check(key in values, f"--set {path}: there is no {key}; there is {', '.join(values)}")
    try:
        values[key] = json.loads(text)
    except ValueError:
        values[key] = text


def _read(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `hint`; lists become tuples."""
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if get_origin(hint) is tuple:
        check(isinstance(value, (list, tuple)), f"{where} is {value!r}; it must be a list")
        return tuple(_read(get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = to_float(value)
    right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    check(right, f"{where} is {value!r}; it must be of type {hint.__name__}")
    return value
