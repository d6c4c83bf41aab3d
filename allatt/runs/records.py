"""A finished run as one JSON file: all of it but its weights.

Figures keep the records of their runs. `restore` makes a run's folder from a record, so that results from another machine are
read like runs that finished here. Whatever needs their weights then says that they are not there.
"""

import json
import re
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors.torch import save

from allatt.config import AllattError, RunConfig, check, to_dict
from allatt.config_json import from_dict
from allatt.runs.run import FILES, Run, finished
from allatt.system.files import SEAL, checksum, read_json, seal, write, write_json
from allatt.system.paths import home

OWN = ("config.json", "provenance.json", "result.json")
"""A run's files that a record holds under their own names; other JSON files in its folder are readings of it."""


def record(run: Run) -> dict:
    """The run as JSON values: id, config, result, provenance, metrics (columns, with 6 digits), gates, and readings: what was
    measured later and is kept in its folder, such as the importance of its heads."""
    lines, gates = run.metrics(), run.gates()
    return {
        "id": run.id, "config": _without_paths(to_dict(run.config)),
        "result": {key: value for key, value in run.result.items() if key not in (SEAL, "files")},
        "provenance": _without_paths(run.provenance),
        "metrics": {key: [_short(line[key]) for line in lines] for key in (lines[0] if lines else ())},
        "gates": {name: tensor.tolist() for name, tensor in gates.state_dict().items()} if gates else None,
        "readings": {path.stem: read_json(path, "remove it and run again") for path in sorted(run.folder.glob("*.json"))
                     if path.name not in OWN}}


def write_record(run: Run, folder: Path) -> Path:
    """Write the run's record, ID.json, into a folder; compact, since there are hundreds of them."""
    return write(folder / f"{run.id}.json", (json.dumps(seal(record(run)), separators=(",", ":")) + "\n").encode())


def restore(path: Path) -> bool:
    """Make the run's folder from a record, unless the run is there; True if it was made. AllattError for other files."""
    keys = ("id", "config", "result", "provenance", "metrics", "gates", "readings")
    values = read_json(path, "it must be the record of a run, as `python -m allatt pack` writes it", keys)
    config = from_dict(RunConfig, values["config"])
    check(config.id == values["id"], f"{path} holds run {values['id']}, but its config is that of run {config.id}: it was "
                                     "changed, or written when configs meant something else")
    if finished(config):
        return False
    folder = home() / "runs" / config.id
    try:
        contents = _contents(values)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise AllattError(f"{path} is not the record of a run ({reason})") from None
    write_json(folder / "config.json", values["config"])
    write_json(folder / "provenance.json", values["provenance"])
    for name, content in contents.items():
        write(folder / name, content)
    files = {name: checksum(folder / name) for name in FILES if (folder / name).exists()}
    write_json(folder / "result.json", seal(values["result"] | {"id": config.id, "files": files}))  # last: now it is finished
    return True


def _contents(values: dict) -> dict[str, bytes]:
    """The files of a record's log, gates and readings. Other exceptions than AllattError if it is none."""
    metrics, readings = values["metrics"], values["readings"]
    lines = [dict(zip(metrics, line, strict=True)) for line in zip(*metrics.values(), strict=True)]
    contents = {"metrics.jsonl": "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()}
    if values["gates"] is not None:
        contents["gates.safetensors"] = save({name: torch.tensor(array) for name, array in values["gates"].items()})
    for name, reading in readings.items():
        if not re.fullmatch("[A-Za-z0-9_-]{1,40}", name) or f"{name}.json" in OWN:
            raise ValueError(f"a reading is named {name!r}")
        contents[f"{name}.json"] = (json.dumps(reading, allow_nan=False) + "\n").encode()
    if not isinstance(values["result"], dict) or not isinstance(values["provenance"], dict):
        raise TypeError("result and provenance are objects")
    json.dumps([values["result"], values["provenance"], values["config"]], allow_nan=False)
    return contents


def _without_paths(values: Any) -> Any:
    """JSON values in which a folder of text is its name alone: a record is read by others."""
    if isinstance(values, list):
        return [_without_paths(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {key: PurePath(value).name if key in ("corpus", "source") and value.startswith("/") else _without_paths(value)
            for key, value in values.items()}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
