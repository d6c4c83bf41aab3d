"""The paper's experiments as lists of runs. What is read off them is in `allatt.paper.curves`.

    baselines     All-attention and Transformer-XL of equal size, from random weights              notebook 03
    pruning       gates on a baseline, at one lambda                                               notebook 05
    to_target     the same, but lambda adapts until a share of the heads is left                   notebook 05
    techniques    pruning with one of the three training methods left out, with none, and
                  without a trained model to start from                                            notebook 06
    sweep         several lambdas, and the control: gates with lambda 0, as many steps             notebooks 07, 08
    rivals        as many heads as gates have kept, chosen without gates                           notebook 11

Every pruning run starts from the baseline of its own seed. The fair comparison of a pruned model is with the control, which
trained as long, not with the baseline; all rivals have had as many steps in all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from allatt.config import DataConfig, RunConfig, check
from allatt.data.corpora import locate, note
from allatt.data.download import Unreachable
from allatt.data.tokens import load, pin
from allatt.importance import ROWS, SEGMENTS, head_importance, most_important, top_per_layer
from allatt.paper import scales
from allatt.runs import Run, get_or_run
from allatt.system.files import read_json, write_json
from allatt.train import Machine

TECHNIQUES = {
    "all three": {},
    "gates start half open": {"initial": 0.0},
    "no penalty warm-up": {"penalty_warmup": 0},
    "no output scaling": {"output_scaling": False},
    "none of the three": {"initial": 0.0, "penalty_warmup": 0, "output_scaling": False},
}
"""The variants of notebook 06: the paper's claim 4 is that each method helps."""
UNTRAINED = "from random weights"
"""One more: all three, but no converged model to start from."""

HALF = 0.5
"""Share of the heads that notebook 11 keeps."""
GATES = "learned gates"

PAPER_KEPT = {
    0.01: (8, 3, 7, 6, 6, 6, 6, 7, 6, 7, 8, 8, 7, 8, 7, 6),
    0.015: (6, 4, 6, 5, 4, 5, 5, 6, 5, 6, 7, 5, 6, 6, 6, 5),
    0.02: (5, 2, 5, 4, 3, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3),
}
"""By lambda, how many of their 8 heads layers 1 to 16 of the paper's models kept (its official inference script)."""

STAND_INS = {"wikitext-2": "wikipedia-excerpt", "wikitext-103": "wikipedia-excerpt", "text8": "text8-like"}
"""The corpus that replaces another if that cannot be downloaded; it needs no network."""

LABELS = {"all-attention": "All-attention", "transformer-xl": "Transformer-XL"}


def data(scale: str, corpus: str = "") -> DataConfig:
    """The scale's text, or another corpus cut into tokens the same way."""
    config = scales.get(scale).data
    return pin(replace(config, corpus=corpus) if corpus else config)


@functools.cache
def at_hand(scale: str, corpus: str = "") -> str:
    """The corpus to use: the one that is asked for, else the scale's own, or its stand-in if it cannot be downloaded.

    Cached per process, so that all seeds of a comparison read the same text even if the network fails in between. Wherever
    results are shown, their text must be named. Runs are named by their text, so nothing is mixed up.
    """
    if corpus:
        return corpus
    own = scales.get(scale).data.corpus
    if own in STAND_INS:
        try:
            locate(own)
        except Unreachable as error:
            note(f"{error}. Until then: {STAND_INS[own]}")
            return STAND_INS[own]
    return own


def baseline(scale: str, kind: str, corpus: str = "", seed: int = 0) -> RunConfig:
    """Dense training from random weights."""
    s, model = scales.get(scale), scales.model(scale, kind)
    check(seed >= 0, f"seed is {seed}; it must be 0 or more")
    return RunConfig(f"{kind} baseline", data(scale, corpus), model, replace(s.baselines[kind], seed=seed))


def pruning(scale: str, kind: str, lam: float, corpus: str = "", seed: int = 0, **switches) -> RunConfig:
    """Gated training from the baseline, at one lambda; `switches` are fields of GateConfig, e.g. output_scaling=False."""
    s, start = scales.get(scale), baseline(scale, kind, corpus, seed)
    gates = replace(s.gates, lam=lam, **switches)
    return RunConfig(f"{kind} lambda {lam:g}", start.data, start.model, replace(s.prune, seed=seed), gates, start)


def to_target(scale: str, kind: str, share: float, corpus: str = "", seed: int = 0) -> RunConfig:
    """Gated training from the baseline that keeps this share of all heads: lambda starts at 0 and adapts."""
    return replace(pruning(scale, kind, 0.0, corpus, seed, target_kept=float(share)), name=f"{kind} target {share:g}")


def sweep(scale: str, kind: str, corpus: str = "", seed: int = 0) -> list[RunConfig]:
    """The scale's lambdas in ascending order, after the control."""
    return [pruning(scale, kind, lam, corpus, seed) for lam in (0.0, *scales.get(scale).lambdas[kind])]


def sweeps(scale: str, corpus: str = "", seed: int = 0) -> list[RunConfig]:
    """The sweeps of both models."""
    return [config for kind in scales.KINDS for config in sweep(scale, kind, corpus, seed)]


def on(tokens: str, scale: str, corpus: str = "", seed: int = 0) -> list[RunConfig]:
    """The sweeps of both models on "characters" or "words", at this scale's variant and with the text that is at hand."""
    variant = scales.variant(scale, tokens)
    return sweeps(variant, at_hand(variant, corpus), seed)


def techniques(scale: str, corpus: str = "", seed: int = 0, lam: float | None = None) -> dict[str, RunConfig]:
    """All-attention at one lambda with the three methods, with each left out, and with none."""
    lam = scales.get(scale).example if lam is None else lam
    return {name: replace(pruning(scale, "all-attention", lam, corpus, seed, **switches), name=f"all-attention, {name}")
            for name, switches in TECHNIQUES.items()}


def untrained(scale: str, corpus: str = "", seed: int = 0, lam: float | None = None) -> RunConfig:
    """All-attention with gates from the first step on, for as many steps as a baseline and its pruning take together.

    There is one stage, with the baseline's schedule; so it differs from pruning in its learning rates, too.
    """
    s = scales.get(scale)
    config = pruning(scale, "all-attention", s.example if lam is None else lam, corpus, seed)
    train = replace(config.start.train, steps=config.start.train.steps + s.prune.steps)
    return replace(config, name=f"all-attention, {UNTRAINED}", train=train, start=None)


def to_half(scale: str, corpus: str = "", seed: int = 0) -> RunConfig:
    """All-attention, pruned by gates to half of its heads: what the rivals have to beat."""
    return to_target(scale, "all-attention", HALF, corpus, seed)


def rivals(scale: str, corpus: str = "", seed: int = 0, machine: Machine | None = None) -> dict[str, RunConfig]:
    """`to_half`, and other ways to a model of as many heads in as many steps; trains `to_half`, which says how many.

    Removed at once from the baseline, then trained like the gates' weights:
        random heads          as many a layer as the gates kept, but drawn blindly: is it the choice within a layer?
        even layers           as many in all, the same number a layer, those with the highest gates: is it the layers' share?
        gradient importance   as many in all, by Michel et al.'s scores (`allatt.importance`)
    And the gates' very shape, trained from random weights in the same two stages: does it take a larger model to find it?
    """
    chosen, s = to_half(scale, corpus, seed), scales.get(scale)
    run = get_or_run(chosen, machine)
    base, logit_LH = get_or_run(chosen.start), run.gates().logit_LH.detach()
    layers, heads = logit_LH.shape
    count, noise = run.result["heads"]["total"], torch.Generator().manual_seed(seed)
    blind_LH = torch.rand(layers, heads, generator=noise)
    share, rest = divmod(count, layers)
    score_LH = _importance(base)
    kept = {
        "random heads": top_per_layer(blind_LH, run.result["heads"]["per_layer"]),
        "even layers": top_per_layer(logit_LH, [share + (layer < rest) for layer in range(layers)]),
        "gradient importance": most_important(score_LH, count),
    }
    learned = tuple(map(tuple, run.result["heads"]["kept"]))
    configs = {name: RunConfig(f"all-attention, {name}", chosen.data, replace(chosen.model, kept=which),
                               replace(s.prune, seed=seed), None, chosen.start) for name, which in kept.items()}
    small = replace(chosen.start, name="all-attention baseline of that shape", model=replace(chosen.model, kept=learned))
    scratch = RunConfig("all-attention, its shape from scratch", chosen.data, small.model, chosen.train, None, small)
    return {GATES: chosen, **configs, "its shape from scratch": scratch}


def _importance(run: Run) -> torch.Tensor:
    """`head_importance` of a run's model on its training text.

    Kept in its folder: it takes seconds, and other hardware might round it to another order, and so to another rival.
    """
    path, text = run.folder / "importance.json", {"rows": ROWS, "segments": SEGMENTS}
    found = read_json(path, "remove it and run again") if path.exists() else {}
    if not text.items() <= found.items():
        found = text | {"scores": head_importance(run.load(), load(run.config.data).train).tolist()}
        write_json(path, found)
    return torch.tensor(found["scores"])


def variants(scale: str, corpus: str = "", seed: int = 0, seeds: int = 1) -> dict[str, RunConfig]:
    """The variants of the training that notebook 06 compares, one of as many `seeds`."""
    more = {UNTRAINED: untrained(scale, corpus, seed)} if whole(scale, seeds) else {}
    return techniques(scale, corpus, seed) | more


def everything(scale: str, corpus: str = "", seed: int = 0, seeds: int = 1) -> list[RunConfig]:
    """All runs of notebooks 03 to 08 for one of as many `seeds`, each once, in the order in which they are first used."""
    configs = [baseline(scale, kind, corpus, seed) for kind in scales.KINDS]
    configs += [*variants(scale, corpus, seed, seeds).values(), to_half(scale, corpus, seed)]
    configs += sweeps(scale, corpus, seed)
    return list({config.id: config for config in configs}.values())


def whole(scale: str, seeds: int) -> bool:
    """Whether all comparisons are made. At the laptop scale with one seed they are not, so that it takes 20 minutes: gates on
    random weights, the rivals, characters and words are left out."""
    return scale != "laptop" or seeds > 1


def numbers(seed: int = 0, seeds: int = 1) -> range:
    """The seeds of a comparison: `seeds` of them, from `seed` on."""
    check(seed >= 0, f"seed is {seed}; it must be 0 or more")
    check(seeds >= 1, f"seeds is {seeds}; it is how many seeds there are, 1 or more")
    return range(seed, seed + seeds)


def label(scale: str, corpus: str = "", seed: int = 0, seeds: int = 1) -> str:
    """The folder of figures: the scale's name; another corpus, seed or number of seeds is added to it."""
    parts = [scale] + ([re.sub(r"[^A-Za-z0-9]+", "-", corpus).strip("-")] if corpus else []) + ([f"seed{seed}"] if seed else [])
    return "-".join(parts + ([f"{seeds}seeds"] if seeds > 1 else []))


class Experiment(NamedTuple):
    """What `python -m allatt experiment` runs under a name."""

    about: str
    configs: Callable[[str, str, int, Machine], list[RunConfig]]
    """From scale, corpus, seed, and the machine on which it may train what it has to know before it can list its runs."""


EXPERIMENTS = {
    "baselines": Experiment("both models, dense, from random weights (notebook 03)", lambda scale, corpus, seed, machine:
                            [baseline(scale, kind, corpus, seed) for kind in scales.KINDS]),
    "sweep": Experiment("both models, pruned more and more, after their controls (notebooks 07, 08)",
                        lambda scale, corpus, seed, machine: sweeps(scale, corpus, seed)),
    "methods": Experiment("All-attention with the three methods, each left out, none, and untrained (notebook 06)",
                          lambda scale, corpus, seed, machine:
                          [*techniques(scale, corpus, seed).values(), untrained(scale, corpus, seed)]),
    "controls": Experiment("half of the heads, found by gates and in other ways (notebook 11)",
                           lambda scale, corpus, seed, machine: [*rivals(scale, corpus, seed, machine).values()]),
    "characters": Experiment("the sweep on characters (notebook 12)", lambda scale, corpus, seed, machine:
                             on("characters", scale, corpus, seed)),
    "words": Experiment("the sweep on words, with the adaptive softmax (notebook 13)", lambda scale, corpus, seed, machine:
                        on("words", scale, corpus, seed)),
}
"""In the order in which `all` runs them."""
