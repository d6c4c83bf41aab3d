"""Measures time and memory of several variants of one computation, interleaved.

A shared machine has slow and fast minutes. Therefore each round runs every variant once, and the result is the median over
rounds of the ratio of two variants within a round; best times are given too. A large matrix product runs in the same
rounds, as an estimate of the highest rate that the machine reached in the meantime.
"""

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
from allatt.cost import executed, trained
from allatt.model import LanguageModel
from allatt.prune import Kept, remove
from allatt.segment_memory import Memory

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of removed heads at which time and memory are measured (our choice)."""
PASSES = {"inference": False, "training": True}
"""Name of a pass -> whether the backward pass follows."""


def measure(variants: dict[str, Callable[[], object]], rounds: int, device: str = "cpu",
            precision: str = "fp32", limit: float = math.inf) -> dict:
    """Run all variants once per round, in random order, and compare each with the first.

    No round begins after `limit` seconds, except the first three: a busy machine measures less, not longer.

    Returns rounds (the number made); peak (operations per second of a matrix product in `precision`, the best of the
    same rounds; a multiply-add is two operations); and variants: for each its seconds (median, best) and how many times as fast
    as the first it is (times_as_fast: median of the ratios within a round; best_times_as_fast: ratio of the best times).
    """
    check(rounds >= 1, f"rounds is {rounds}; it must be 1 or more")
    check(len(variants) >= 1, "there is nothing to measure; name at least one variant")
    product, operations = _matrix_product(device, precision)
    calls = [*variants.items(), (None, product)]
    for _, call in calls:  # the first call allocates memory and chooses kernels
        _time_call(call, device)
    seconds: dict = {name: [] for name, _ in calls}
    order = random.Random(0)  # random, because the state of the caches depends on which variant ran before
    start = time.perf_counter()
    for finished_rounds in range(rounds):
        if finished_rounds >= 3 and time.perf_counter() - start > limit:
            rounds = finished_rounds
            break
        for name, call in order.sample(calls, len(calls)):
            seconds[name].append(_time_call(call, device))
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
              with_softmax: bool = False, precision: str = "fp32", cached: bool = False) -> Callable[[], None]:
    """A function that passes `rows` random segments through `model`, with a full memory (`cached`: as keys and values).

    Only the body runs, or, with `with_softmax`, the softmax too. With `train` the backward pass follows, without the
    optimizer's step, whose time depends only on the number of parameters. `gate_LH` closes heads without removing them.
    """
    c, device = model.config, model.distance_PD.device
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(model.vocab, (rows, c.segment + 1), generator=generator).to(device)
    memory = Memory(torch.randn(c.layers, rows, c.memory, c.d_model, generator=generator).to(device), c.memory)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    model.train(train)
    if cached:
        with torch.no_grad(), autocast:
            memory = model.empty_cache(rows)
            for _ in range(-(-c.memory // c.segment)):
                memory = model(ids_BT[:, :-1], memory)[1]

    def call() -> None:
        with torch.set_grad_enabled(train), autocast:
            if with_softmax:
                out = model.loss(ids_BT[:, :-1], ids_BT[:, 1:], memory, gate_LH)[0]
            else:
                out = model(ids_BT[:, :-1], memory, gate_LH)[0]
        if train:
            out.float().mean().backward()
            model.zero_grad(set_to_none=True)

    return call


def without_dropout(model: ModelConfig) -> ModelConfig:
    """The same model with every dropout at 0: dropout itself takes time, and in attention it rules out the flash kernel."""
    return replace(model, **{f.name: 0.0 for f in fields(model) if f.name.startswith("drop_")})


def body_only(model: ModelConfig) -> ModelConfig:
    """The same body with a single embedding table, so that embedding is a look-up and only the body takes time."""
    return replace(model, cutoffs=())


def kept_evenly(model: ModelConfig, share: float) -> Kept:
    """The kept heads if each layer loses `share` of its heads (rounded), the last ones first."""
    check(0 <= share <= 1, f"share is {share}; it must be between 0 and 1")
    return (tuple(range(model.heads - round(share * model.heads))),) * model.layers


def smaller_models(model: LanguageModel, shares: tuple[float, ...] = SHARES) -> dict[float, LanguageModel]:
    """The model without each share of its heads (physically removed), by share; share 0 is the model itself."""
    return {share: remove(model, kept_evenly(model.config, share)) if share else model for share in shares}


def closed_gates(model: LanguageModel, share: float) -> torch.Tensor:
    """Gates (layers, heads) that close the heads that `smaller_models` removes: the full model then gives the same outputs."""
    gate_LH = torch.zeros(model.config.layers, model.config.heads, device=model.distance_PD.device)
    gate_LH[:, list(kept_evenly(model.config, share)[0])] = 1  # the same heads in every layer
    return gate_LH


def compare(shape: ModelConfig, rows: int, rounds: int, train: bool = False, with_softmax: bool = False, vocab: int = 32,
            device: str = "cpu", precision: str = "fp32", limit: float = math.inf) -> dict:
    """Compare the time of models with heads removed, and with heads only gated off, with that of the full model.

    Returns the result of `measure`, plus table: one row per share of SHARES removed, then for half and all heads gated off:
    share, gates, time (relative to all heads, by the median ratio), best (the same by best times) and ideal (see `ideal`).
    """
    model = LanguageModel(shape if with_softmax else body_only(shape), vocab).to(device)
    options = {"train": train, "with_softmax": with_softmax, "precision": precision}
    cases = {(share, False): make_pass(small, rows, **options) for share, small in smaller_models(model).items()}
    cases |= {(share, True): make_pass(model, rows, closed_gates(model, share), **options) for share in (0.5, 1.0)}
    names = {f"{share:.0%}{' gated' * gates}": call for (share, gates), call in cases.items()}
    measured = measure(names, rounds, device, precision, limit)
    variants = dict(zip(cases, measured["variants"].values(), strict=True))
    time_of_none = 1 / variants[1.0, False]["times_as_fast"]
    return measured | {"table": [
        {"share": share, "gates": gates, "time": 1 / variant["times_as_fast"], "best": 1 / variant["best_times_as_fast"],
         "ideal": ideal(1.0, time_of_none, 0 if gates else share)} for (share, gates), variant in variants.items()]}


def memory(shape: ModelConfig, rows: int, device: str = "cpu", precision: str = "fp32") -> list[dict]:
    """One row per share of SHARES: share, and the smaller body's bytes: weights, and peak activations in each pass."""
    model = LanguageModel(body_only(shape), 32).to(device)
    bytes_per_number = model.distance_PD.element_size()
    return [{"share": share, "weights": small.parameter_counts()["body"] * bytes_per_number} | {
        name: activation_bytes(make_pass(small, rows, train=train, precision=precision), device)
        for name, train in PASSES.items()} for share, small in smaller_models(model).items()]


def ideal(full: float, none: float, share: float) -> float:
    """Time without `share` of the heads if each head took the same time: the line from all heads (`full`) to `none`."""
    return full + (none - full) * share


def share_of_peak(model: ModelConfig, rows: int, seconds: float, peak: float, train: bool = False) -> float:
    """The rate of the body's multiply-adds as a share of `peak` (operations per second)."""
    return 2 * (trained(model, rows) if train else executed(model, rows)["per_pass"]) / seconds / peak


def activation_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """Peak bytes that a call allocates: activations, and gradients if it trains.

    On a GPU this is the allocator's count. On a CPU it counts the tensors that torch's operations return; memory that a
    kernel uses internally and frees again is not counted.
    """
    call()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _StorageTracker() as tracker:
        call()
    return tracker.peak_bytes


class _StorageTracker(TorchDispatchMode):
    """Tracks the storages of all tensors that operations create, until they are freed; `peak_bytes` is their largest sum."""

    def __init__(self):
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.preexisting: set[int] = set()
        self.peak_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        # An input that was not created under the tracker existed before.
        self.preexisting |= {key for key, _ in _storages((args, kwargs))} - set(self.alive)
        out = function(*args, **kwargs or {})
        for key, storage in _storages(out):
            if key not in self.preexisting and key not in self.alive:
                self.alive[key] = StorageWeakRef(storage), storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self.alive.values()))
        return out


def _storages(values: object) -> list[tuple[int, torch.UntypedStorage]]:
    """The storages of all tensors in nested values, each with a key (torch's private handle) that identifies it."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return [(storage._cdata, storage) for storage in storages]


def _time_call(call: Callable[[], object], device: str) -> float:
    """Seconds that a call takes, including its work on the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _matrix_product(device: str, precision: str) -> tuple[Callable[[], object], int]:
    """A product of square matrices large enough to reach the device's highest rate, and its number of operations."""
    size, dtype = 8192 if device == "cuda" else 768, torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return lambda: a @ b, 2 * size ** 3
