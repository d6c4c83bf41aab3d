"""The true training step: softmax, dropout, clipping and optimizer included, on made-up ids. Nothing is left out.

`python -m allatt bench --sections step` measures VARIANTS, `measure_step` any other.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from allatt.benchmarks.measure import Kept, kept_evenly
from allatt.config import KINDS, RunConfig
from allatt.cost import count, trained
from allatt.gates import HeadGates
from allatt.model import LanguageModel
from allatt.paper import scales
from allatt.system.machine import Machine
from allatt.train import Trainer

WARM = 4
"""Steps before the clock starts: memory is allocated, kernels are chosen and compiled, the memory of the model is full."""
REPEATS = 3
VARIANTS = [{"kind": kind} | more for kind in KINDS for more in ({}, {"gated": True}, {"removed": 0.5}, {"path": "reference"})]
"""What `make bench` measures, as arguments of `measure_step`."""


def measure_step(scale: str, kind: str, device: str, steps: int, gated: bool = False, compiled: bool = False,
                 path: str = "fast", removed: float = 0.0, optimizer: str = "", rows: int = 0,
                 drop_attention: float | None = None) -> dict:
    """Seconds per optimizer step (best and worst of REPEATS repeats of `steps`), tokens per second, and operations per second.

    removed: share of each layer's heads that is removed. optimizer, rows, drop_attention: instead of the scale's. flop: two per
    multiply-add of the body and the first band of the softmax, forward and backward; operations that do not multiply are not
    counted. first_seconds: of the first WARM steps, including what is compiled in them. bytes: peak memory, on a GPU.
    """
    at = scales.get(scale)
    kept: Kept | None = kept_evenly(at.model, removed) if removed else None
    model = replace(scales.model(scale, kind), kept=kept)
    if drop_attention is not None:
        model = replace(model, drop_attention=drop_attention)
    train = replace(at.prune if gated else at.baseline[kind], steps=10**6)
    train = replace(train, optimizer=optimizer or train.optimizer, rows=rows or train.rows)
    gates = replace(at.gates, lam=at.example) if gated else None
    with tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(0)
        network = LanguageModel(model, at.vocab).to(device).train()
        network.path, network.compiled = path, compiled
        trainer = Trainer(RunConfig("step", at.data, model, train, gates), network,
                          HeadGates(gates, model.layers, model.heads).to(device) if gates else None,
                          _ids(at.vocab, train.rows * model.segment * 40 + 1), Path(scratch),
                          Machine(device=device, progress=False))
        first, *seconds = _times(trainer, steps)
    tokens = train.rows * model.segment
    flop = 2 * (trained(model, train.rows) / tokens + 3 * count(model, at.vocab)["multiply_adds"]["softmax_head"])
    return {"scale": scale, "kind": kind, "gated": gated, "compiled": compiled, "path": path, "removed": removed,
            "rows": train.rows, "drop_attention": model.drop_attention, "optimizer": train.optimizer, "steps": steps,
            "seconds": min(seconds), "worst": max(seconds), "first_seconds": first,
            "tokens_per_second": tokens / min(seconds), "flop_per_token": flop,
            "flop_per_second": flop * tokens / min(seconds),
            "bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None}


def _ids(vocab: int, number: int) -> np.ndarray:
    """Ids about as frequent as words, so that every band of an adaptive softmax has its share."""
    return (np.minimum(np.random.default_rng(0).zipf(1.2, number), vocab) - 1).astype(np.int32)


def _times(trainer: Trainer, steps: int) -> Iterator[float]:
    """Seconds of the first steps together, then seconds per step of each repeat."""
    is_gpu = trainer.model.distance_PD.is_cuda
    for repeat in range(REPEATS + 1):
        number = steps if repeat else WARM
        if is_gpu and repeat == 1:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(number):
            trainer.one_step()
        if is_gpu:
            torch.cuda.synchronize()
        yield (time.perf_counter() - start) / (number if repeat else 1)
