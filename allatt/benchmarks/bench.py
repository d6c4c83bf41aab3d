"""The seven measurements of `make bench`: speed and memory of this code, of its reference path and of x-transformers.

Each comes from interleaved rounds (see `measure`), with the rate of a matrix product in the same rounds:

    paths        ways to compute one body at the paper's layer shape, and x-transformers at the same shape
    dropout      the same in training with the recipe's attention dropout
    removal      bodies and whole models with 0 to 100 % of their heads removed, and with heads only gated off
    lists        the paper's three lists of kept heads, physically removed
    generation   tokens written with cached keys and values, or by recomputing the window for each token
    step         the true training step of a scale: tokens and operations per second (see `step`)
    kernels      the persistent block by every kernel that could compute it, with all heads and with few (see `kernels`)

Results go to figures/bench/<device>.json, with hardware and versions (see `report`). x-transformers (`pip install -e
'.[bench]'`; it is in the lock file) is left out if it is not installed.
"""

import functools
import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace

import torch

from allatt import generate
from allatt.benchmarks import kernels, measure, report, step
from allatt.benchmarks.measure import PASSES
from allatt.config import ALL_ATTENTION, KINDS, ModelConfig, check
from allatt.cost import executed
from allatt.model import LanguageModel
from allatt.paper import experiments, scales
from allatt.runs.provenance import provenance

SECTIONS = ("paths", "dropout", "removal", "lists", "generation", "step", "kernels")
ROWS = {"cpu": 2, "cuda": 32}
"""Rows per pass at the paper's shape (our choice)."""


def run(device: str = "cpu", rounds: int = 24, sections: tuple[str, ...] = SECTIONS, quick: bool = False,
        log: Callable[[str], None] = print) -> dict:
    """Make the measurements and log each section's table when it is done; returns {section: results, "provenance": ...}.

    `quick` uses tiny shapes and few rounds, only to check that everything runs.
    """
    unknown = [name for name in sections if name not in SECTIONS]
    check(not unknown, f"there is no section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    shape = paper_shape(ALL_ATTENTION, layers=2 if device == "cpu" else 16)
    if quick:
        rounds, shape = min(rounds, 3), replace(shape, d_model=32, persistent=32, segment=8, memory=8, positions=9)
    precision = "bf16" if device == "cuda" else "fp32"
    bench = Bench(device, precision, ROWS[device], rounds, shape)
    results: dict = {"provenance": provenance(device), "device": device, "precision": precision, "rows": ROWS[device],
                     "rounds": rounds, "quick": quick}
    for name in sections:
        results[name] = getattr(bench, name)()
        log(report.table(name, results[name]))
    return results


def paper_shape(kind: str, layers: int) -> ModelConfig:
    """The paper's layer shape, without dropout, with a single small embedding table."""
    return replace(measure.body_only(measure.without_dropout(scales.model("paper", kind))), layers=layers)


class Bench:
    """The seven measurements, at one shape on one device.

    `limit`: seconds after which a measurement starts no further round (see `measure.measure`).
    `variants`: the variants that paths and dropout measure, if all would take too long (compiling one takes up to half a
    minute); None: all.
    """

    def __init__(self, device: str, precision: str, rows: int, rounds: int, shape: ModelConfig, limit: float = math.inf,
                 variants: tuple[str, ...] | None = None):
        self.device, self.precision, self.rows, self.rounds, self.shape = device, precision, rows, rounds, shape
        self.limit, self.variants = limit, variants

    def step(self) -> list[dict]:
        """Steps of the gpu scale on a GPU, of the laptop scale on a CPU, or of smoke at a tiny shape, one after the other."""
        scale = "smoke" if self.shape.d_model < 64 else "gpu" if self.device == "cuda" else "laptop"
        return [step.measure_step(scale, device=self.device, steps=self.rounds, **variant) for variant in step.VARIANTS]

    def kernels(self) -> dict:
        """The persistent block at the paper's layer shape."""
        return kernels.measure_kernels(self.shape, self.rows, self.device, self.precision, self.rounds, self.limit)

    def paths(self) -> dict:
        """Reference and fast path, plain and compiled; at inference also with cached keys and values."""
        results = {}
        for name, train in PASSES.items():
            ours = {f"{path}{', compiled' * compiled}": {"path": path, "compiled": compiled}
                    for path in ("reference", "fast") for compiled in (False, True)}
            if not train:
                ours |= {f"fast, cached{', compiled' * compiled}": {"path": "fast", "cached": True, "compiled": compiled}
                         for compiled in (False, True)}
            results[name] = self._measure_variants(ours, self.x_transformers(train), train)
        return results

    def dropout(self, drop: float = 0.2) -> dict:
        """Training with attention dropout 0.2 (the released recipe)."""
        shape = replace(self.shape, drop_attention=drop)
        ours = {"reference": {"path": "reference", "shape": shape}, "fast": {"path": "fast", "shape": shape},
                "fast, compiled": {"path": "fast", "shape": shape, "compiled": True}}
        return {"training": self._measure_variants(ours, self.x_transformers(True, drop), True)}

    def removal(self) -> dict:
        """By pass and kind of model: bodies, at inference and in training; whole models with 10,000 tokens, at inference.

        Rows of bodies with heads removed also have bytes (weights and peak activations).
        """
        results = {**{f"body, {name}": {} for name in PASSES}, "whole model, inference": {}}
        machine = {"device": self.device, "precision": self.precision}
        for kind in KINDS:
            shape = replace(self.shape, kind=kind, feed_forward=self.shape.persistent)
            compare = functools.partial(measure.compare, shape, self.rows, self.rounds, limit=self.limit, **machine)
            used = measure.memory(shape, self.rows, **machine)
            for name, train in PASSES.items():
                part = results[f"body, {name}"][kind] = compare(train=train)
                for row, bytes_of in zip(part["table"], used, strict=False):  # the gated rows come last, without bytes
                    row["bytes"] = bytes_of["weights"] + bytes_of[name]
            results["whole model, inference"][kind] = compare(with_softmax=True, vocab=10_000)
        return results

    def lists(self) -> dict:
        """Bodies of 16 layers with the paper's lists of kept heads: time relative to all heads, and two expectations.

        ideal: interpolated by the share of heads between the times of all heads and of none. counted: multiply-adds.
        """
        full, results = replace(self.shape, layers=16), {}
        all_heads = full.layers * full.heads
        kept = {"all heads": (full.heads,) * full.layers,
                **{f"lambda {lam:g}": heads for lam, heads in experiments.PAPER_KEPT.items()},
                "no heads": (0,) * full.layers}
        for pass_name, train in PASSES.items():
            results[pass_name] = {}
            for kind in KINDS:
                shapes = {name: replace(full, kind=kind, feed_forward=full.persistent,
                                        kept=tuple(tuple(range(number)) for number in heads))
                          for name, heads in kept.items()}
                calls = {name: self.body_pass("fast", train, shape) for name, shape in shapes.items()}
                measured = measure.measure(calls, max(3, self.rounds // 2), self.device, self.precision, self.limit)
                times = {name: 1 / values["times_as_fast"] for name, values in measured["variants"].items()}
                operations = {name: executed(shape, self.rows)["per_pass"] for name, shape in shapes.items()}
                results[pass_name][kind] = [
                    {"name": name, "heads": sum(heads), "time": times[name],
                     "ideal": measure.ideal(1.0, times["no heads"], 1 - sum(heads) / all_heads),
                     "counted": operations[name] / operations["all heads"]} for name, heads in kept.items()]
        return results

    def generation(self) -> dict:
        """Tokens per second at the laptop shape: cached (one row, and sixteen), and recomputing the window for each token.

        A token's distribution depends on L M + 1 tokens, since each layer looks M tokens further back. A window of M + T
        tokens is cheaper, but gives different distributions.
        """
        torch.manual_seed(0)
        model = LanguageModel(scales.model("laptop", ALL_ATTENTION), scales.vocab("laptop")).to(self.device).eval()
        c, length, recomputed = model.config, 128, 8
        exact, short = c.layers * c.memory + 1, c.memory + c.segment
        prompts = torch.randint(model.vocab, (16, exact), generator=torch.Generator().manual_seed(0)).tolist()
        calls = {f"recomputing {exact} tokens": lambda: recompute(model, prompts[0], recomputed, exact),
                 f"recomputing {short} tokens, inexact": lambda: recompute(model, prompts[0], recomputed, short),
                 "cached": lambda: generate.generate(model, [prompts[0][:1]], length),
                 "cached, 16 rows": lambda: generate.generate(model, [prompt[:1] for prompt in prompts], length)}
        tokens = dict(zip(calls, (recomputed, recomputed, length, 16 * length), strict=True))
        results = measure.measure(calls, self.rounds, self.device, self.precision, self.limit)
        for name, values in results["variants"].items():
            values["tokens_per_second"] = tokens[name] / values["median"]
            values["times_as_fast"] *= tokens[name] / recomputed
            values["best_times_as_fast"] *= tokens[name] / recomputed
        return results

    def body_pass(self, path: str, train: bool, shape: ModelConfig | None = None, compiled: bool = False,
                  cached: bool = False) -> Callable[[], None]:
        """A function that runs our body once, by the reference or the fast path."""
        torch.manual_seed(0)
        model = LanguageModel(shape or self.shape, 32).to(self.device)
        model.path, model.compiled = path, compiled
        return measure.make_pass(model, self.rows, train=train, precision=self.precision, cached=cached)

    def x_transformers(self, train: bool, drop: float = 0.0) -> dict[str, Callable[[], None]]:
        """Passes of x-transformers' attention-only decoder with persistent vectors and memory; empty if it is not installed.

        It uses its flash attention, pre-norm and rotary positions (cheaper than relative ones), and every query sees all of
        the memory (ours: M positions). It does not project distances, so it has 6.3M parameters instead of 6.8M.
        """
        if importlib.util.find_spec("x_transformers") is None:
            return {}
        from x_transformers import Decoder

        c = self.shape
        torch.manual_seed(0)
        x_BTD = torch.randn(self.rows, c.segment, c.d_model, device=self.device)
        memory_BMD = torch.randn(self.rows, c.memory, c.d_model, device=self.device)

        def make(compiled: bool) -> Callable[[], None]:
            decoder = Decoder(dim=c.d_model, depth=c.layers, heads=c.heads, attn_dim_head=c.d_head, attn_flash=True,
                              attn_num_mem_kv=c.persistent, attn_dropout=drop, custom_layers=("a",) * c.layers,
                              rotary_pos_emb=True).to(self.device).train(train)
            forward = torch.compile(decoder, dynamic=False) if compiled else decoder

            def call() -> None:
                is_half = self.precision == "bf16"
                with torch.set_grad_enabled(train), torch.autocast(self.device, torch.bfloat16, enabled=is_half):
                    out = forward(x_BTD, mems=[memory_BMD] * c.layers)
                if train:
                    out.float().mean().backward()
                    decoder.zero_grad(set_to_none=True)

            return call

        return {"x-transformers": make(False), "x-transformers, compiled": make(True)}

    def _measure_variants(self, ours: dict[str, dict], others: dict[str, Callable], train: bool) -> dict:
        """`measure.measure` of the chosen variants; adds bytes (peak activations) and share (of the peak rate) to each.

        `ours` holds options of `body_pass`, `others` calls. Variants that are not chosen are not made: that alone may compile.
        """
        chosen = {*ours, *others} if self.variants is None else set(self.variants)
        calls = {name: self.body_pass(train=train, **options) for name, options in ours.items() if name in chosen}
        calls |= {name: call for name, call in others.items() if name in chosen}
        results = measure.measure(calls, self.rounds, self.device, self.precision, self.limit)
        for name, values in results["variants"].items():
            values["share"] = measure.share_of_peak(self.shape, self.rows, values["median"], results["peak"], train)
            if "compiled" not in name:  # on a CPU, allocations inside a compiled pass cannot be counted
                values["bytes"] = measure.activation_bytes(calls[name], self.device)
        return results


@torch.no_grad()
def recompute(model: LanguageModel, prompt: list[int], length: int, window: int) -> list[int]:
    """Ids of the likeliest tokens after a prompt, computed the slow way: a whole window of tokens for each new one."""
    ids = list(prompt)
    for _ in range(length):
        input_BT = torch.tensor([ids[-window:]], device=model.distance_PD.device)
        hidden_BTD, _ = model(input_BT, model.empty_memory(1))
        ids.append(int(model.softmax.log_probs(hidden_BTD[0, -1]).argmax()))
    return ids[len(prompt):]
