"""A finished run as one JSON file: everything but its weights.

Figures keep the records of their runs. `restore` makes a run's folder from a record, so results from another machine are read
like runs that finished here. Code that needs their weights then says that they are missing.
"""

import json
import math
import re
from pathlib import Path, PurePath
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save

from allatt.config import AllattError, ModelConfig, RunConfig, check, to_dict
from allatt.config_json import from_dict
from allatt.runs.run import FILES, Run, finished
from allatt.system.checkpoint import has_checkpoint
from allatt.system.files import SEAL, checksum, read_json, seal, write, write_json
from allatt.system.messages import note
from allatt.system.paths import home

OWN = ("config.json", "provenance.json", "result.json")
"""A run's files that a record holds under their own names; other JSON files in its folder are readings of it."""

NUMBERS = ("loss", "perplexity", "word_perplexity", "bits_per_byte", "nats", "tokens")
"""What was measured on a text."""
ROUNDING = 1e-6
"""Relative difference below which two numbers are the same (our choice; those of one program differ by far less)."""


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
    """Write the run's record, ID.json, into a folder; compact, since there are hundreds of them.

    AllattError for a run that `restore` would refuse: its name or that of its text has control characters, or its config names
    a folder of text without the text's checksum.
    """
    values = record(run)
    shared = from_dict(RunConfig, values["config"])
    check(shared.id == run.id, f"run {run.id} is named by the path of its text, which no record has; give its config the "
                               "text's checksum (allatt.data.tokens.pin), and train it again")
    check(_names(shared).isprintable(),
          f"run {run.id} or its text has a name with control characters, which no record may have; give another name, and "
          "train again")
    return write(folder / f"{run.id}.json", (json.dumps(seal(values), separators=(",", ":")) + "\n").encode())


def outcome(result: dict) -> str:
    """A run's result in a few words: two results that differ are not from the same training."""
    try:
        return f"test loss {result['test']['loss']}, valid loss {result['valid']['loss']}, {result['heads']['total']} heads"
    except (LookupError, TypeError):  # a result without a seal that somebody edited
        return "a result of another form"


def restore(path: Path) -> bool:
    """Make the run's folder from a record; True if it was made. AllattError for other files.

    A run that is there, finished or half trained, is left alone; if the record differs from it, a line says so.
    """
    config, values, contents = read_record(path)
    folder = home() / "runs" / config.id
    if finished(config):
        here, there = outcome(Run(folder).result), outcome(values["result"])
        if here != there:
            note(f"run {config.id} is here with {here}, but {path} has {there}; it is left as it is (to take the record, "
                 f"remove {folder} and unpack again)")
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            if has_checkpoint(folder) or finished(config):
                note(f"run {config.id} is half trained here, so {path} is left out; train it to its end, or remove {folder} "
                     "and unpack again")
                return False
            write_json(folder / "config.json", values["config"])
            write_json(folder / "provenance.json", values["provenance"])
            for name, content in contents.items():
                write(folder / name, content)
            files = {name: checksum(folder / name) for name in FILES if (folder / name).exists()}
            write_json(folder / "result.json", seal(values["result"] | {"id": config.id, "files": files}))  # now it is finished
    except Timeout:
        note(f"run {config.id} is in training here, so {path} is left out")
        return False
    return True


def read_record(path: Path) -> tuple[RunConfig, dict, dict[str, bytes]]:
    """A record's config, its values, and the files that they make: log, gates and readings.

    AllattError if the file is not a record, or if no run can have had such a result.
    """
    keys = ("id", "config", "result", "provenance", "metrics", "gates", "readings")
    values = read_json(path, "it must be the record of a run, as `python -m allatt pack` writes it", keys)
    config = from_dict(RunConfig, values["config"])
    check(config.id == values["id"], f"{path} holds run {values['id']!r:.40}, but its config is that of run {config.id}: it "
                                     "was changed, or written when configs meant something else")
    check(_names(config).isprintable(), f"{path} has a name with control characters, which a terminal would obey; change it")
    try:
        contents = _contents(values)
        problem = impossible(values["result"], values["provenance"]["data"], config, values["gates"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise AllattError(f"{path} is not the record of a run ({reason})") from None
    check(not problem, f"{path} is not the record of a run: {problem}; pack the run again")
    return config, values, contents


def _names(config: RunConfig) -> str:
    """The names of a run and of those that it starts from, and of their texts."""
    return f"{config.name}{config.data.corpus}{_names(config.start) if config.start else ''}"


def impossible(result: dict, text: dict, config: RunConfig, gates: dict | None = None) -> str:
    """What a result says that no run of this config can have measured; "" if nothing.

    text: the run's `provenance["data"]`. Exceptions other than AllattError if an argument has another form.
    """
    numbers = {name: result.get(name, 0) for name in ("tokens_seen", "peak_bytes")} | {"seconds": result["seconds"]}
    parts = {name: result["parameters"][name] for name in ("body", "positions", "softmax", "total")}
    numbers |= {f"parameters {name}": value for name, value in parts.items()}
    for split in ("valid", "test"):
        numbers |= {f"{split} {name}": result[split][name] for name in NUMBERS}
        numbers[f"{split} unknown"] = result[split].get("unknown", 0)
    for name, value in numbers.items():  # the largest perplexity is 1e304; NaN is not in this range either
        if type(value) not in (int, float) or not 0 <= value < 1e305:
            return f"its {name} is {value!r:.40}, which is not a number that can be measured"
    if sum(parts.values()) != 2 * parts["total"]:
        return f"its parameters are {parts['total']} in total, but their parts have {sum(parts.values()) - parts['total']}"
    return (_impossible_heads(result["heads"], config, gates) or _impossible_losses(result["valid"], "valid", text, config)
            or _impossible_losses(result["test"], "test", text, config))


def _impossible_heads(heads: dict, config: RunConfig, gates: dict | None) -> str:
    if not isinstance(heads["kept"], list):
        return "its kept heads are no list"
    try:
        model = from_dict(ModelConfig, to_dict(config.model) | {"kept": heads["kept"]})
    except AllattError as error:
        return f"it cannot have these heads: {error}"
    chosen = model.kept_heads if config.gated is not None else config.model.kept_heads
    if config.gates is not None and gates is not None:
        chosen = [[head for head, logit in enumerate(layer) if logit >= 0] for layer in gates["logit_LH"]]
    expected = {"kept": chosen, "per_layer": model.heads_per_layer, "total": sum(model.heads_per_layer),
                "of": model.layers * model.heads}
    for name, value in expected.items():
        if json.dumps(heads[name]) != json.dumps(value):
            return f"its heads have {name} {heads[name]!r:.80}, where {json.dumps(value):.80} is expected"
    return ""


def _impossible_losses(measured: dict, split: str, text: dict, config: RunConfig) -> str:
    """All numbers of a text follow from its nats, as `allatt.evaluate.evaluate` computes them."""
    nats, tokens, whole = measured["nats"], measured["tokens"], text["splits"][split]
    if type(tokens) is not int or not 1 <= tokens < whole["tokens"] or measured.get("unknown", 0) > 1:
        return f"its {split} text has {tokens} tokens of {whole['tokens']}, {measured.get('unknown', 0):.0%} of them unknown"
    share = tokens / (whole["tokens"] - 1)
    expected = {"loss": nats / tokens, "perplexity": math.exp(min(measured["loss"], 700)),
                "word_perplexity": math.exp(min(nats / (whole["words"] * share), 700)),
                "bits_per_byte": nats / (whole["bytes"] * share) / math.log(2)}
    for name, value in expected.items():
        if not math.isclose(measured[name], value, rel_tol=ROUNDING):
            return f"its {split} {name} is {measured[name]:.6g}, but the other numbers give {value:.6g}"
    expected = {"segment": config.model.segment, "memory": config.model.memory, "rows": min(config.train.rows, tokens)}
    protocol = {name: measured["protocol"][name] for name in expected}
    return "" if protocol == expected else f"its {split} text was read with {protocol!r:.80}, but its config says {expected}"


def _contents(values: dict) -> dict[str, bytes]:
    """The files of a record's log, gates and readings. Exceptions other than AllattError if it is not one."""
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
    """JSON values in which a folder of text is reduced to its name, since others read the record."""
    if isinstance(values, list):
        return [_without_paths(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {key: PurePath(value).name if key in ("corpus", "source") and value.startswith("/") else _without_paths(value)
            for key, value in values.items()}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
