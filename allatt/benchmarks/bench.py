"""`make bench`: how fast this code is, beside its own reference path, beside x-transformers, and after pruning.

Five tables, each from interleaved rounds (`measure`), with the product of matrices that the machine reached in them:

    paths        the ways to compute one body at the paper's layer shape, and x-transformers at the same shape
    dropout      the same in training with the recipe's attention dropout
    removal      bodies and whole models without 0 to 100 % of their heads, and with gates that only close them
    lists        the paper's three lists of kept heads, removed in earnest
    generation   tokens written with cached keys and values, beside recomputing the window for each

Results go to figures/bench/<device>.json, with hardware and versions; `python -m allatt.benchmarks.bench` puts those of the
CPU into the README. x-transformers (`pip install -e '.[bench]'`; the lock file has it) is left out where it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from allatt import generate
from allatt.benchmarks import measure
from allatt.config import KIND_NAMES, AllattError, ModelConfig, check
from allatt.cost import executed
from allatt.figures import figures_folder
from allatt.model import LanguageModel
from allatt.paper import experiments, scales
from allatt.runs import provenance
from allatt.system.files import put_between, write_json
from allatt.system.paths import repository

OURS, THEIRS = "all-attention", "transformer-xl"
PASSES = {"inference": False, "training": True}
SECTIONS = ("paths", "dropout", "removal", "lists", "generation")
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
ROWS = {"cpu": 2, "cuda": 32}
"""Rows of a pass at the paper's shape (our choice)."""


def run(device: str = "cpu", rounds: int = 24, sections: tuple[str, ...] = SECTIONS, quick: bool = False,
        say: Callable[[str], None] = print) -> dict:
    """Measure; returns {section: ...} with "provenance", and says each table as it is there.

    `quick` takes toy shapes and few rounds: it shows that everything runs, and nothing else.
    """
    unknown = [name for name in sections if name not in SECTIONS]
    check(not unknown, f"there is no section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    shape = _paper(OURS, layers=2 if device == "cpu" else 16)
    if quick:
        rounds, shape = min(rounds, 3), replace(shape, d_model=32, persistent=32, segment=8, memory=8, positions=9)
    precision = "bf16" if device == "cuda" else "fp32"
    bench = Bench(device, precision, ROWS[device], rounds, shape)
    found: dict = {"provenance": provenance(device), "device": device, "precision": precision, "rows": ROWS[device],
                   "rounds": rounds, "quick": quick}
    for name in sections:
        found[name] = getattr(bench, name)()
        say(table(name, found[name]))
    return found


class Bench:
    """The five measurements, at one shape on one device.

    `limit`: seconds after which a measurement begins no further round (`measure.measure`). `variants`: names of those that
    paths and dropout measure, where all would take too long (to compile one takes up to half a minute); None: all.
    """

    def __init__(self, device: str, precision: str, rows: int, rounds: int, shape: ModelConfig, limit: float = math.inf,
                 variants: tuple[str, ...] | None = None):
        self.device, self.precision, self.rows, self.rounds, self.shape = device, precision, rows, rounds, shape
        self.limit, self.variants = limit, variants
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def paths(self) -> dict:
        """Reference and fast path, as they are and compiled; inference also with keys and values cached."""
        found = {}
        for what, train in PASSES.items():
            calls = {f"{path}{', compiled' * compiled}": self.ours(path, train, compiled=compiled)
                     for path in ("reference", "fast") for compiled in (False, True)}
            if not train:
                calls |= {"fast, cached": self.ours("fast", train, cached=True),
                          "fast, cached, compiled": self.ours("fast", train, cached=True, compiled=True)}
            found[what] = self.measured(self.chosen(calls | self.x_transformers(train)), train)
        return found

    def dropout(self, drop: float = 0.2) -> dict:
        """Training with dropout 0.2 on the attention (the released recipe)."""
        shape = replace(self.shape, drop_attention=drop)
        calls = {"reference": self.ours("reference", True, shape), "fast": self.ours("fast", True, shape),
                 "fast, compiled": self.ours("fast", True, shape, compiled=True)}
        return {"training": self.measured(self.chosen(calls | self.x_transformers(True, drop)), True)}

    def removal(self) -> dict:
        """By pass and model kind: body, at inference and in training; and the whole model, at inference, with 10,000 tokens."""
        found = {}
        for what, train in PASSES.items():
            found[f"body, {what}"] = {kind: self.compared(kind, train=train) for kind in scales.KINDS}
        found["whole model, inference"] = {kind: self.compared(kind, whole=True, vocab=10_000) for kind in scales.KINDS}
        return found

    def lists(self) -> dict:
        """Bodies of 16 layers with the paper's lists of kept heads: time relative to all heads, beside two expectations.

        ideal: what the heads' shares would give, between the times of all heads and of none. counted: multiply-adds.
        """
        full, found = replace(self.shape, layers=16), {}
        kept = {"all heads": (8,) * 16, **{f"lambda {lam:g}": heads for lam, heads in experiments.PAPER_KEPT.items()},
                "no heads": (0,) * 16}
        bodies = {kind: {name: replace(full, kind=kind, feed_forward=full.persistent,
                                       kept=tuple(tuple(range(n)) for n in heads))
                         for name, heads in kept.items()} for kind in scales.KINDS}
        for what, train in PASSES.items():
            for kind, shapes in bodies.items():
                calls = {name: self.ours("fast", train, shape) for name, shape in shapes.items()}
                measured = measure.measure(calls, max(3, self.rounds // 2), self.device, self.dtype, self.limit)
                times = {name: 1 / one["times_as_fast"] for name, one in measured["variants"].items()}
                operations = {name: executed(shape, self.rows)["per_pass"] for name, shape in shapes.items()}
                found.setdefault(what, {})[kind] = [
                    {"name": name, "heads": sum(heads), "time": times[name],
                     "ideal": measure.ideal(1.0, times["no heads"], 1 - sum(heads) / 128),
                     "counted": operations[name] / operations["all heads"]} for name, heads in kept.items()]
        return found

    def generation(self) -> dict:
        """Tokens a second at the laptop shape: cached (one row, and sixteen), and recomputing the window for each token.

        A token's distribution depends on L M + 1 tokens, since each layer looks M further back. A window of M + T is cheaper,
        and gives other distributions.
        """
        torch.manual_seed(0)
        model, length = LanguageModel(scales.model("laptop", OURS), scales.vocab("laptop")).to(self.device).eval(), 128
        c = model.config
        exact, short = c.layers * c.memory + 1, c.memory + c.segment
        prompts = torch.randint(model.vocab, (16, exact), generator=torch.Generator().manual_seed(0)).tolist()
        calls = {f"recomputing {exact} tokens": lambda: recompute(model, prompts[0], 8, exact),
                 f"recomputing {short} tokens, inexact": lambda: recompute(model, prompts[0], 8, short),
                 "cached": lambda: generate.generate(model, [prompts[0][:1]], length),
                 "cached, 16 rows": lambda: generate.generate(model, [prompt[:1] for prompt in prompts], length)}
        tokens = dict(zip(calls, (8, 8, length, 16 * length), strict=True))
        found = measure.measure(calls, self.rounds, self.device, self.dtype, self.limit)
        for name, one in found["variants"].items():
            one["tokens_per_second"] = tokens[name] / one["median"]
            one["times_as_fast"] *= tokens[name] / 8
            one["best_times_as_fast"] *= tokens[name] / 8
        return found

    def ours(self, path: str, train: bool, shape: ModelConfig | None = None, compiled: bool = False,
             cached: bool = False) -> Callable[[], None]:
        """A pass of the body through one path."""
        torch.manual_seed(0)
        model = LanguageModel(shape or self.shape, 32).to(self.device)
        model.path, model.compiled = path, compiled
        return measure.make_pass(model, self.rows, train=train, precision=self.precision, cached=cached)

    def x_transformers(self, train: bool, drop: float = 0.0) -> dict[str, Callable[[], None]]:
        """Passes of x-transformers' decoder of attention alone, with persistent vectors and memory; none where it is missing.

        Its flash attention, pre-norm, rotary positions (which cost less than relative ones); every query sees all of the
        memory (ours: M positions). It has no projection of distances, so 6.3M parameters instead of 6.8M.
        """
        if importlib.util.find_spec("x_transformers") is None:
            return {}
        from x_transformers import Decoder

        c = self.shape
        torch.manual_seed(0)
        x_BTD, memory_BMD = (torch.randn(self.rows, n, c.d_model, device=self.device) for n in (c.segment, c.memory))

        def make(compiled: bool) -> Callable[[], None]:
            decoder = Decoder(dim=c.d_model, depth=c.layers, heads=c.heads, attn_dim_head=c.d_head, attn_flash=True,
                              attn_num_mem_kv=c.persistent, attn_dropout=drop, custom_layers=("a",) * c.layers,
                              rotary_pos_emb=True).to(self.device).train(train)
            forward = torch.compile(decoder, dynamic=False) if compiled else decoder

            def call() -> None:
                half = self.precision == "bf16"
                with torch.set_grad_enabled(train), torch.autocast(self.device, torch.bfloat16, enabled=half):
                    out = forward(x_BTD, mems=[memory_BMD] * c.layers)
                if train:
                    out.float().mean().backward()
                    decoder.zero_grad(set_to_none=True)

            return call

        return {"x-transformers": make(False), "x-transformers, compiled": make(True)}

    def chosen(self, calls: dict) -> dict:
        """The calls that `variants` names."""
        return calls if self.variants is None else {name: call for name, call in calls.items() if name in self.variants}

    def measured(self, calls: dict, train: bool) -> dict:
        """What `measure.measure` returns, and for each variant bytes (peak activations) and share (of the peak rate)."""
        found = measure.measure(calls, self.rounds, self.device, self.dtype, self.limit)
        for name, one in found["variants"].items():
            one["share"] = measure.share_of_peak(self.shape, self.rows, one["median"], found["peak"], train)
            if "compiled" not in name:  # what a compiled pass allocates inside is not seen on a CPU
                one["bytes"] = measure.activation_bytes(calls[name], self.device)
        return found

    def compared(self, kind: str, train: bool = False, **options) -> dict:
        """`measure.compare` of one kind; rows of really smaller bodies have bytes too: weights and the pass's activations."""
        shape = replace(self.shape, kind=kind, feed_forward=self.shape.persistent)
        where = {"device": self.device, "precision": self.precision}
        found = measure.compare(shape, self.rows, self.rounds, train, limit=self.limit, **where, **options)
        if not options.get("whole"):
            peaks = measure.memory(shape, self.rows, **where)
            for row, peak in zip(found["table"], peaks, strict=False):  # rows that are only gated come last
                row["bytes"] = peak["weights"] + peak["training" if train else "inference"]
        return found


def _paper(kind: str, layers: int) -> ModelConfig:
    """The paper's layer shape, without dropout, under one small table of tokens."""
    return replace(measure.body_only(measure.without_dropout(scales.model("paper", kind))), layers=layers)


@torch.no_grad()
def recompute(model: LanguageModel, prompt: list[int], length: int, window: int) -> list[int]:
    """The likeliest tokens after a prompt the slow way: a whole window of tokens anew for each. Returns the new ids."""
    ids = list(prompt)
    for _ in range(length):
        input_BT = torch.tensor([ids[-window:]], device=model.distance_PD.device)
        hidden_BTD, _ = model(input_BT, model.empty_memory(1))
        ids.append(int(model.softmax.log_probs(hidden_BTD[0, -1]).argmax()))
    return ids[len(prompt):]


def table(section: str, found: dict) -> str:
    """A section as aligned text."""
    if section == "generation":
        rows = [("", "tokens/s", "x", "x by best")]
        rows += [(name, f"{one['tokens_per_second']:,.0f}", f"{one['times_as_fast']:.2f}", f"{one['best_times_as_fast']:.2f}")
                 for name, one in found["variants"].items()]
        return _aligned("generation, laptop shape", rows)
    blocks = []
    for what, part in found.items():
        if section in ("paths", "dropout"):
            rows = [("", "ms", "best", "x", "x by best", "of peak", "MB")]
            rows += [(name, f"{1e3 * one['median']:.1f}", f"{1e3 * one['best']:.1f}", f"{one['times_as_fast']:.2f}",
                      f"{one['best_times_as_fast']:.2f}", f"{one['share']:.0%}",
                      f"{one['bytes'] / 1e6:.0f}" if "bytes" in one else "")
                     for name, one in part["variants"].items()]
            title = f"{section}, {what} ({part['rounds']} rounds, products of matrices at {part['peak'] / 1e9:,.0f} GFLOP/s)"
            blocks.append(_aligned(title, rows))
            continue
        for kind, lines in part.items():
            rows = [("", "time", "ideal", "off by", "counted" if section == "lists" else "MB")]
            for one in lines if section == "lists" else lines["table"]:
                name = f"{one['name']}, {one['heads']} heads" if section == "lists" else \
                    f"{one['share']:.0%} {'gated' if one['gates'] else 'removed'}"
                rows.append((name, f"{one['time']:.3f}", f"{one['ideal']:.3f}", f"{one['time'] / one['ideal'] - 1:+.1%}",
                             f"{one['counted']:.3f}" if "counted" in one else
                             f"{one['bytes'] / 1e6:.1f}" if "bytes" in one else ""))
            blocks.append(_aligned(f"{section}, {what}, {KIND_NAMES[kind]}", rows))
    return "\n\n".join(blocks)


def _aligned(title: str, rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
             for row in rows]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def markdown(found: dict) -> str:
    """What `run` found, in three small tables: what the README shows."""
    parts = {"inference": found["paths"]["inference"], "training": found["paths"]["training"],
             "training, dropout 0.2": found["dropout"]["training"]}
    names = ("reference", "reference, compiled", "fast", "fast, compiled", "fast, cached", "fast, cached, compiled",
             "x-transformers", "x-transformers, compiled")
    lines = [f"| times as fast as the reference | {' | '.join(parts)} |", "|---|" + "---|" * len(parts)]
    for name in names:
        cells = [part["variants"].get(name) for part in parts.values()]
        if any(cells):
            texts = (f"{one['times_as_fast']:.2f} ({one['best_times_as_fast']:.2f}), {1e3 * one['median']:.0f} ms"
                     if one else "" for one in cells)
            lines.append(f"| {name} | {' | '.join(texts)} |")
    shares = " | ".join(f"{share:.0%}" for share in measure.SHARES if share)
    lines += ["", f"| time left, of 1 (ideal), heads removed: | {shares} | 50%, gated |",
              "|---|" + "---|" * len(measure.SHARES)]
    for what, kinds in found["removal"].items():
        for kind, one in kinds.items():
            removed = [row for row in one["table"] if not row["gates"] and row["share"]]
            gated = next(row for row in one["table"] if row["gates"])
            cells = [f"{row['time']:.2f} ({row['ideal']:.2f})" for row in removed] + [f"{gated['time']:.2f}"]
            lines.append(f"| {KIND_NAMES[kind]}, {what} | {' | '.join(cells)} |")
    lines += ["", "| tokens a second, laptop shape | |", "|---|---|"]
    lines += [f"| {name} | {one['tokens_per_second']:,.0f} |" for name, one in found["generation"]["variants"].items()]
    return "\n".join(lines)


def save(found: dict, out: Path | None = None) -> Path:
    """Write what `run` returned; where it goes by default is figures/bench/<device>.json, for full runs."""
    path = out or figures_folder("bench") / f"{found['device']}{'-quick' if found['quick'] else ''}.json"
    return write_json(path, found)


def main() -> int:
    """Bring the README's tables up to date with figures/bench/cpu.json."""
    path, readme = figures_folder("bench") / "cpu.json", repository() / "README.md"
    try:
        check(path.exists(), f"there is no {path}; run `make bench` first")
        changed = put_between(readme, BEGIN, END, markdown(json.loads(path.read_text())))
    except AllattError as error:
        print(f"allatt: {error}", file=sys.stderr)
        return 2
    print(f"{readme.name}: the benchmark's tables {'are new' if changed else 'were up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
