"""Runs in their folders. `get_or_run` reads a finished run, continues an interrupted one, and trains a new one.

A run's folder is named by the hash of its config:

    config.json         the config                     metrics.jsonl        loss, perplexity, tokens/s ... while it trains
    provenance.json     versions, hardware, commit     model.safetensors    weights and shape (all heads, before removal)
    result.json         written last: the run is done  gates.safetensors    the gates, if any
"""

import json
import math
import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save

from allatt.config import AllattError, RunConfig, check, to_dict
from allatt.config_json import from_dict
from allatt.data.corpora import locate
from allatt.data.tokens import Tokens, load
from allatt.evaluate import evaluate
from allatt.gates import HeadGates, output_scale
from allatt.model import LanguageModel
from allatt.prune import head_mask, kept_heads, remove, remove_closed
from allatt.runs.provenance import provenance
from allatt.system.checkpoint import has_checkpoint, remove_checkpoint
from allatt.system.files import SEAL, checksum, is_unchanged, read_json, seal, write, write_json
from allatt.system.machine import OVER, Interrupted, Machine, rank_and_world
from allatt.system.messages import note
from allatt.system.paths import home
from allatt.train import DIVERGED, Trainer

ADVICE = "remove its folder and run again"
WAIT = 60
"""Seconds between two attempts to get the lock of a run that another process trains."""
FILES = ("model.safetensors", "gates.safetensors", "metrics.jsonl")
"""Files whose checksums are in result.json."""


class Busy(AllattError):
    """Another process is training this run."""


class NoWeights(AllattError):
    """The run is here without its weights."""


class Run:
    """A finished run: its config, its measurements, and its model."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config: RunConfig = from_dict(RunConfig, read_json(folder / "config.json", ADVICE))
        self.result: dict = read_json(folder / "result.json", ADVICE, ("valid", "test", "parameters", "heads", "seconds"))
        self.provenance: dict = read_json(folder / "provenance.json", ADVICE, ("data",))
        check(SEAL in self.result or not {"id", "files"} & set(self.result),
              f"{folder / 'result.json'} lacks its seal; {ADVICE}")
        names = {self.result.get("id", self.id)} | ({folder.name} if re.fullmatch("[0-9a-f]{12}", folder.name) else set())
        check(names == {self.id}, f"{folder} holds the config of run {self.id}, but the name or the result of another: files "
                                  f"were exchanged, or an older version wrote them; {ADVICE}")

    @property
    def id(self) -> str:
        return self.config.id

    def metrics(self) -> list[dict]:
        """The lines logged during training, in order."""
        path = self._file("metrics.jsonl")
        try:
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        except (ValueError, OSError) as error:
            raise AllattError(f"{path} is damaged ({error}); {ADVICE}") from None

    def _file(self, name: str) -> Path:
        """The path of one of FILES. AllattError if the file was changed since the run ended."""
        path, sha256 = self.folder / name, self.result.get("files", {}).get(name)
        check(sha256 is None or not path.is_file() or is_unchanged(path, sha256),
              f"run {self.id} ({self.config.name}) is damaged: {path} was changed after the run ended; {ADVICE}")
        return path

    def load(self) -> LanguageModel:
        """The trained model with all its heads (see `gates` and `pruned`), in evaluation mode on the CPU."""
        path = self._file("model.safetensors")
        if not path.exists():
            raise NoWeights(f"run {self.id} ({self.config.name}) is here without its weights, as after `unpack`; to train it "
                            f"again, remove {self.folder}")
        try:
            return LanguageModel.load(path).eval()
        except AllattError as error:
            raise AllattError(f"run {self.id} is damaged: {error}; remove the folder {self.folder}") from None

    def gated(self) -> "Run | None":
        """The run that trained the gates of a pruned model: this one, or the first phase that it consolidates."""
        chosen = self.config.gated
        if chosen is None or chosen == self.config:
            return self if chosen else None
        folder = self.folder.parent / chosen.id
        check((folder / "result.json").exists(), f"run {self.id} consolidates run {chosen.id}, which is not in {folder.parent}")
        return Run(folder)

    def gates(self) -> HeadGates | None:
        """The gates that this run trained; None for a run without gates."""
        if self.config.gates is None:
            return None
        gates = HeadGates(self.config.gates, self.config.model.layers, self.config.model.heads)
        path = self._file("gates.safetensors")
        try:
            gates.load_state_dict(load_file(path))
        except Exception as error:
            raise AllattError(f"{path} does not hold the gates ({error}); {ADVICE}") from None
        return gates

    def pruned(self) -> LanguageModel:
        """The model with its closed heads physically removed; for a run without gates, the model itself."""
        gates = self.gates()
        return self.load() if gates is None else remove_closed(self.load(), gates)


def find(run_id: str) -> Run:
    """The finished run whose id starts with `run_id`."""
    results = list((home() / "runs").glob(f"{run_id}*/result.json")) if run_id.isalnum() else []
    check(len(results) == 1, f"{len(results)} finished runs start with {run_id!r} in {home() / 'runs'}; give the id of one")
    return Run(results[0].parent)


def get_or_run(config: RunConfig, machine: Machine | None = None, wait: bool = True) -> Run:
    """The run of this config: read if finished, else trained, from its last checkpoint if it was interrupted.

    The run in `config.start` is trained first if necessary. Safe to call from several processes: the second one waits, or,
    with `wait` False, raises Busy. Under torchrun, all processes train together. AllattError if the config, the text or a
    checkpoint is wrong.
    """
    machine = machine or Machine()
    folder = home() / "runs" / config.id
    if _finished(folder):
        if has_checkpoint(folder):  # it was killed after its last line, before it had tidied up
            with suppress(OSError):
                remove_checkpoint(folder)
        return _same_text(Run(folder))
    start = get_or_run(config.start, machine, wait) if config.start is not None else None
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not _acquire(lock, 0):
        busy = f"another process is training run {config.id} ({config.name})"
        if not wait:
            raise Busy(busy)
        if rank_and_world()[0] == 0:
            note(f"waiting: {busy}")
        while not _acquire(lock, WAIT if machine.until is None else min(WAIT, max(0.1, machine.until - time.time()))):
            if machine.until is not None and time.time() >= machine.until:
                raise Interrupted(OVER, f"another process trains run {config.id}")
    try:
        if not _finished(folder):
            # A notebook's random numbers must not depend on whether a run was cached. Of GPUs, only the current one's
            # state is kept: asking the others for theirs would take memory on each of them.
            with torch.random.fork_rng([torch.cuda.current_device()] if machine.resolve() == "cuda" else []):
                _execute(config, start, folder, machine)
        _finished(folder)  # a barrier: the run is read after its result is written
    finally:
        lock.release()
    return Run(folder)


def finished(config: RunConfig) -> bool:
    """Whether the run of this config is finished."""
    return (home() / "runs" / config.id / "result.json").exists()


def _acquire(lock: FileLock, seconds: float) -> bool:
    """Whether process 0 has the lock, for all processes, within so many seconds. They are told each time, since
    torch would end them if they waited in silence for longer than it allows."""
    rank, world = rank_and_world()
    has = [True]
    if rank == 0:
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            has = [False]
    if world > 1:
        dist.broadcast_object_list(has, 0)
    return has[0]


def _finished(folder: Path) -> bool:
    """Whether the run is finished. Process 0 decides for all: with different answers they would all wait for each other."""
    done = [(folder / "result.json").exists()]
    if rank_and_world()[1] > 1:
        dist.broadcast_object_list(done, 0)
    return done[0]


def _same_text(run: Run) -> Run:
    """The run. AllattError if its corpus is present and has a different text by now (if the config holds no checksum)."""
    if not run.config.data.text_sha256:
        try:
            text = locate(run.config.data.corpus).sha256
        except AllattError:  # not present: nothing to compare with
            return run
        check(text == run.provenance["data"]["sha256"],
              f"run {run.id} ({run.config.name}) was trained on another text of {run.config.data.corpus}; "
              f"remove {run.folder} to train it again")
    return run


def _execute(config: RunConfig, start: Run | None, folder: Path, machine: Machine) -> None:
    """Train, evaluate, and write the results; result.json comes last."""
    device = machine.resolve()
    tokens = load(config.data)
    for split in ("valid", "test"):
        check(len(getattr(tokens, split)) > 1, f"the {split} text of {config.data.corpus} has {len(getattr(tokens, split))} "
                                               "tokens, and nothing to predict; give it a longer one")
    torch.manual_seed(config.train.seed)
    model, gates = _build(config, start, tokens)
    model.to(device)
    if gates is not None:
        gates.to(device)
    rank, _ = rank_and_world()
    if rank == 0:
        write_json(folder / "config.json", to_dict(config))
        origin = provenance(device) | {"compiled": machine.compiles(config.train.steps), "data": tokens.meta,
                                       "micro_rows": machine.micro_rows, "processes": rank_and_world()[1]}
        path = folder / "provenance.json"
        if has_checkpoint(folder) and path.exists():  # the first part's is kept, and this part's added
            first = read_json(path, ADVICE)
            origin = first | {"resumed": [*first.get("resumed", []), origin]}
        write_json(path, origin)
    trainer = Trainer(config, model, gates, tokens.train, folder, machine)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.run()
    if rank == 0:
        used = {"peak_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
        result = measure(config, model, gates, tokens)
        result |= {"seconds": trainer.seconds,
                   "tokens_seen": config.train.steps * config.train.rows * config.model.segment} | used
        model.save(folder / "model.safetensors")
        if gates is not None:
            write(folder / "gates.safetensors", save({name: t.contiguous() for name, t in gates.state_dict().items()}))
        files = {name: checksum(folder / name) for name in FILES if (folder / name).exists()}
        write_json(folder / "result.json", seal(result | {"id": config.id, "files": files}))
        remove_checkpoint(folder)


def _build(config: RunConfig, start: Run | None, tokens: Tokens) -> tuple[LanguageModel, HeadGates | None]:
    """The model and gates at step 0: new weights, or those of the start without the heads that the config leaves out."""
    gates = HeadGates(config.gates, config.model.layers, config.model.heads) if config.gates is not None else None
    if start is None:
        return LanguageModel(config.model, tokens.vocab), gates
    model, trained = start.load(), start.gates()
    kept = kept_heads(trained.kept()) if config.consolidate else config.model.kept
    check(trained is None or kept is not None,
          f"{config.name} starts from run {start.id}, whose gates have closed heads; consolidate, or list the heads to keep in "
          "model.kept")
    check(model.vocab == tokens.vocab,
          f"run {start.id} has {model.vocab} tokens, but the text of {config.name} has {tokens.vocab}; "
          "a run and its start need the same text and tokens")
    if kept != model.config.kept and kept is not None:
        scaled = trained is not None and trained.config.output_scaling
        model = remove(model, kept, output_scale(head_mask(kept, config.model.heads))[:, 0] if scaled else None)
    heads, weights = model.config.heads, model.state_dict()
    model = LanguageModel(replace(config.model, kept=kept), tokens.vocab)
    own = model.state_dict()
    wrong = [name for name in own | weights if name not in own or name not in weights or own[name].shape != weights[name].shape]
    wrong += ["heads"] if heads != config.model.heads else []  # tensors of the heads that are left may fit anyway
    check(not wrong, f"run {start.id} does not fit the model of {config.name}: {', '.join(wrong[:3])} differ")
    model.load_state_dict(weights)
    return model, gates


def measure(config: RunConfig, model: LanguageModel, gates: HeadGates | None, tokens: Tokens) -> dict:
    """Perplexities on valid and test, and sizes; with gates, of the model without its closed heads."""
    tensors = [*model.parameters(), *(gates.parameters() if gates is not None else ())]
    check(all(bool(tensor.isfinite().all()) for tensor in tensors),
          f"run {config.id} ({config.name}): a weight is not finite after the last step; {DIVERGED}")
    small, train, result = model if gates is None else remove_closed(model, gates), config.train, {}
    for split in ("valid", "test"):
        ids = getattr(tokens, split)
        part = ids[:train.evaluated + 1] if train.evaluated else ids
        share = (len(part) - 1) / (len(ids) - 1)  # 1 for the whole text; else words and bytes per token as in all of it
        counts = {name: tokens.meta["splits"][split][name] * share for name in ("words", "bytes")}
        result[split] = evaluate(small, part, counts, train.rows, precision=train.precision, unknown_id=tokens.unknown_id)
        check(math.isfinite(result[split]["loss"]), f"run {config.id} ({config.name}): the loss on the {split} text is "
                                                    f"{result[split]['loss']}; {DIVERGED}")
    heads = {"kept": small.config.kept_heads, "per_layer": small.config.heads_per_layer,
             "total": sum(small.config.heads_per_layer), "of": config.model.layers * config.model.heads}
    return result | {"parameters": small.parameter_counts(), "heads": heads}
