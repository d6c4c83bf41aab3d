"""Time and memory of variants of one computation, measured side by side.

A machine that others use too has slow and fast minutes. So every round runs every variant once, and what counts is the
ratio of two variants within a round: its median over the rounds. Best times are given beside it. A large product of
matrices runs in the same rounds: the highest rate that this machine reached in these minutes.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from allatt.config import ModelConfig, check
from allatt.cost import executed
from allatt.memory import Memory
from allatt.model import LanguageModel
from allatt.prune import Kept, remove

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of heads that the paper companion removes to measure time."""


def measure(variants: dict[str, Callable[[], object]], rounds: int, device: str = "cpu",
            dtype: torch.dtype = torch.float32, limit: float = math.inf) -> dict:
    """Run all variants once a round, in random order, and compare each with the first.

    After `limit` seconds no further round begins (but three are always made): a busy machine measures less, not longer.
    Returns rounds (made); peak (operations a second of a product of matrices of `dtype`, the best of the same rounds; a
    multiply-add is two); and variants: for each its seconds (median, best) and how many times as fast as the first it
    is (times_as_fast: median of the ratios within a round; best_times_as_fast: ratio of the best times).
    """
    check(rounds >= 1, f"rounds is {rounds}; it must be 1 or more")
    check(len(variants) >= 1, "there is nothing to measure; name at least one variant")
    product, operations = _product(device, dtype)
    calls = [*variants.items(), (None, product)]
    for _, call in calls:  # the first call allocates, and chooses kernels
        _seconds(call, device)
    seconds: dict = {name: [] for name, _ in calls}
    order = random.Random(0)  # not just turns: what a variant finds in the caches depends on which one ran before it
    began = time.perf_counter()
    for made in range(rounds):
        if made >= 3 and time.perf_counter() - began > limit:
            rounds = made
            break
        for name, call in order.sample(calls, len(calls)):
            seconds[name].append(_seconds(call, device))
    first = seconds[next(iter(variants))]
    return {
        "rounds": rounds, "peak": operations / min(seconds[None]),
        "variants": {name: {
            "median": statistics.median(seconds[name]), "best": min(seconds[name]),
            "times_as_fast": statistics.median(a / b for a, b in zip(first, seconds[name], strict=True)),
            "best_times_as_fast": min(first) / min(seconds[name]),
        } for name in variants},
    }


def make_pass(model: LanguageModel, rows: int, gate_LH: torch.Tensor | None = None, train: bool = False,
              whole: bool = False, precision: str = "fp32", cached: bool = False) -> Callable[[], None]:
    """A call that takes `rows` random segments through `model`, with a full memory (`cached`: as keys and values).

    The body alone, or, with `whole`, the softmax too. With `train` the backward pass follows; the optimizer's step,
    whose time is that of the parameters alone, is left out. `gate_LH` closes heads without removing them.
    """
    c, device = model.config, model.distance_PD.device
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(model.vocab, (rows, c.segment + 1), generator=generator).to(device)
    hidden_LBMD = torch.randn(c.layers, rows, c.memory, c.d_model, generator=generator).to(device)
    memory = Memory(hidden_LBMD, c.memory)
    model.train(train)
    if cached:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            memory = model.empty_cache(rows)
            for _ in range(-(-c.memory // c.segment)):
                memory = model(ids_BT[:, :-1], memory)[1]

    def call() -> None:
        with torch.set_grad_enabled(train), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            if whole:
                out = model.loss(ids_BT[:, :-1], ids_BT[:, 1:], memory, gate_LH)[0]
            else:
                out = model(ids_BT[:, :-1], memory, gate_LH)[0]
        if train:
            out.float().mean().backward()
            model.zero_grad(set_to_none=True)

    return call


def without_dropout(model: ModelConfig) -> ModelConfig:
    """The same model with every dropout at 0: it takes time of its own, and in attention rules out the flash kernel."""
    return replace(model, **{f.name: 0.0 for f in fields(model) if f.name.startswith("drop_")})


def body_only(model: ModelConfig) -> ModelConfig:
    """The same body under one table of tokens, so that embedding is a look-up and only the body takes time."""
    return replace(model, cutoffs=())


def evenly(model: ModelConfig, share: float) -> Kept:
    """The heads that are left when each layer loses `share` of its heads (rounded), the last ones first."""
    check(0 <= share <= 1, f"share is {share}; it must be between 0 and 1")
    return (tuple(range(model.heads - round(share * model.heads))),) * model.layers


def lighter(model: LanguageModel, shares: tuple[float, ...] = SHARES) -> dict[float, LanguageModel]:
    """Models from which those shares of heads are physically removed, by share; 0 is the model itself."""
    return {share: remove(model, evenly(model.config, share)) if share else model for share in shares}


def closed(model: LanguageModel, share: float) -> torch.Tensor:
    """Gates (layers, heads) that close the heads which `lighter` removes: the same outputs from the full model."""
    gate_LH = torch.zeros(model.config.layers, model.config.heads, device=model.distance_PD.device)
    for layer, heads in enumerate(evenly(model.config, share)):
        gate_LH[layer, list(heads)] = 1
    return gate_LH


def compare(shape: ModelConfig, rows: int, rounds: int, train: bool = False, whole: bool = False, vocab: int = 32,
            device: str = "cpu", precision: str = "fp32", limit: float = math.inf) -> dict:
    """Time of really smaller models beside all heads, and beside gates that are closed without removing anything.

    Returns what `measure` does, and table: a row for each of SHARES removed, then for half and all of the heads gated:
    share, gates, time (relative to all heads, by the median ratio), best (the same by best times) and ideal.
    """
    model = LanguageModel(shape if whole else body_only(shape), vocab).to(device)
    options = {"train": train, "whole": whole, "precision": precision}
    cases = {(share, False): make_pass(m, rows, **options) for share, m in lighter(model).items()}
    cases |= {(share, True): make_pass(model, rows, closed(model, share), **options) for share in (0.5, 1.0)}
    names = {f"{share:.0%}{' gated' * gates}": call for (share, gates), call in cases.items()}
    measured = measure(names, rounds, device, torch.bfloat16 if precision == "bf16" else torch.float32, limit)
    found = dict(zip(cases, measured["variants"].values(), strict=True))
    none = 1 / found[1.0, False]["times_as_fast"]
    return measured | {"table": [
        {"share": share, "gates": gates, "time": 1 / one["times_as_fast"], "best": 1 / one["best_times_as_fast"],
         "ideal": ideal(1.0, none, 0 if gates else share)} for (share, gates), one in found.items()]}


def memory(shape: ModelConfig, rows: int, device: str = "cpu", precision: str = "fp32") -> list[dict]:
    """For each of SHARES: share, and bytes of the smaller body: weights, peak activations at inference and training."""
    model = LanguageModel(body_only(shape), 32).to(device)
    return [{"share": share, "weights": weight_bytes(m)} | {
        name: activation_bytes(make_pass(m, rows, train=train, precision=precision), device)
        for name, train in (("inference", False), ("training", True))} for share, m in lighter(model).items()]


def ideal(full: float, none: float, share: float) -> float:
    """Time with `share` of the heads removed, if every head took the same time: a line from all heads to none."""
    return full + (none - full) * share


def share_of_peak(model: ModelConfig, rows: int, seconds: float, peak: float, train: bool = False) -> float:
    """The body's multiply-adds in `seconds`, as a share of `peak` (operations a second); backward counts twice."""
    return 2 * executed(model, rows)["per_pass"] * (3 if train else 1) / seconds / peak


def weight_bytes(model: LanguageModel) -> int:
    """Bytes of the body's parameters."""
    return model.parameter_counts()["body"] * model.distance_PD.element_size()


def activation_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """Most bytes that a call holds at a time, beyond what was there before: activations, and gradients if it trains.

    On a GPU the allocator's own count. On a CPU the tensors that torch's operations return; what a kernel uses inside
    and frees again is not seen.
    """
    call()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _Watch() as watch:
        call()
    return watch.most


class _Watch(TorchDispatchMode):
    """Sees every tensor that an operation makes, and when its storage is gone."""

    def __init__(self):
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.old: set[int] = set()
        self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        # What comes in without having been made here was there before the call.
        self.old |= {key for key, _ in _storages((args, kwargs))} - set(self.alive)
        out = function(*args, **kwargs or {})
        for key, storage in _storages(out):
            if key not in self.old and key not in self.alive:
                self.alive[key] = StorageWeakRef(storage), storage.nbytes()
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return out


def _storages(values: object) -> list[tuple[int, torch.UntypedStorage]]:
    """The storages of all tensors in nested values, with a key each."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return [(storage._cdata, storage) for storage in storages]


def _seconds(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _product(device: str, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    """A product of square matrices, large enough for the device's highest rate, and its operations."""
    size = 8192 if device == "cuda" else 768
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return lambda: a @ b, 2 * size ** 3
