"""A study: the runs of one scale on one text, for one or several seeds, and the folder of its figures.

Every pruning run starts from the baseline of its own seed. Pruning has two phases, each a run of its own: gates, then
consolidation, which starts from the weights that the gates left. With one phase, as in the paper, the gates train for all
steps. The fair comparison of a pruned model is with the control (gates with lambda 0, through the same phases), which trained
for the same number of steps, not with the baseline.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass, replace

from allatt.config import KINDS, DataConfig, ModelConfig, RunConfig, TrainConfig, check
from allatt.data.corpora import locate
from allatt.data.download import Unreachable
from allatt.data.tokens import load, pin
from allatt.paper import scales
from allatt.system.messages import note

STAND_INS = {"wikitext-2": "wikipedia-excerpt", "wikitext-103": "wikipedia-excerpt", "text8": "text8-like"}
"""The corpus that replaces another one that cannot be downloaded; it needs no network."""


@functools.cache
def available_corpus(scale: str, corpus: str = "") -> str:
    """`corpus` if given, else the scale's own, or its stand-in if it cannot be downloaded.

    Cached per process, so that all seeds of a comparison read the same text even if the network fails in between. Callers
    print which text it was. Runs are named by their text, so nothing is mixed up.
    """
    own = scales.get(scale).data.corpus
    if corpus or own not in STAND_INS:
        return corpus or own
    try:
        locate(own)
        return own
    except Unreachable as error:
        note(f"{error}. Until then: {STAND_INS[own]}")
        return STAND_INS[own]


@dataclass(frozen=True)
class Study:
    """Which runs are compared. Methods that take a `seed` default to the study's first seed.

    Bad values raise AllattError when the study is made.
    """

    scale: str
    """A scale or a variant; "auto" becomes gpu or laptop."""
    corpus: str = ""
    """A corpus, or the path of a folder; "" is the scale's own."""
    seed: int = 0
    """The first seed."""
    count: int = 1
    """Number of seeds."""
    one_phase: bool = False
    """Prune in one phase, as in the paper, for as many steps as the scale's two phases have together."""

    def __post_init__(self):
        object.__setattr__(self, "scale", scales.resolve(self.scale, variants=True))
        check(self.seed >= 0, f"seed is {self.seed}; it must be 0 or more")
        check(self.count >= 1, f"seeds is {self.count}; it is how many seeds there are, 1 or more")

    @property
    def seeds(self) -> range:
        """All seeds of the study."""
        return range(self.seed, self.seed + self.count)

    @property
    def folder(self) -> str:
        """Name of the folder of figures: the scale, then the corpus, seed and number of seeds if they are not the defaults."""
        parts = [self.scale]
        if self.corpus:
            parts.append(_label(self.corpus))
        if self.seed:
            parts.append(f"seed{self.seed}")
        if self.one_phase:
            parts.append("one-phase")
        if self.count > 1:
            parts.append(f"{self.count}seeds")
        return "-".join(parts)

    @property
    def is_complete(self) -> bool:
        """Whether all comparisons are made. The laptop scale with one seed leaves some out, to take only 20 minutes: gates on
        random weights, the rivals, characters and words."""
        return self.scale != "laptop" or self.count > 1

    @property
    def has_variants(self) -> bool:
        """Whether characters and words are measured too. At the overnight scale they are not: the night would not suffice. A
        packed corpus has one kind of tokens."""
        if not self.is_complete or self.scale == "overnight" or self.scale not in scales.NAMES:
            return False
        return not self.corpus or bool(locate(self.corpus).files)

    def can_have(self, tokens: str) -> bool:
        """Whether there is a variant on "characters" or "words": not every scale has one, and no packed corpus does."""
        known = scales.get(self.scale).data.tokens == tokens or f"{self.scale}-{tokens}" in scales.SCALES
        return known and (not self.corpus or bool(locate(self.corpus).files))

    @property
    def data(self) -> DataConfig:
        """The study's text, split into the scale's kind of tokens."""
        config = scales.get(self.scale).data
        return pin(replace(config, corpus=self.corpus) if self.corpus else config)

    def variant(self, tokens: str) -> Study:
        """The same study on "characters" or "words", on a text that is available."""
        scale = scales.variant(self.scale, tokens)
        return replace(self, scale=scale, corpus=available_corpus(scale, self.corpus))

    def model(self, kind: str) -> ModelConfig:
        """The unpruned model: the scale's; on another text, without the bands of the softmax that it has no words for."""
        model = scales.model(self.scale, kind)
        if not (self.corpus and model.cutoffs):
            return model
        vocab = load(self.data).vocab
        return replace(model, cutoffs=tuple(cut for cut in model.cutoffs if cut < vocab))

    def baseline(self, kind: str, seed: int | None = None) -> RunConfig:
        """Dense training from random weights."""
        model = self.model(kind)
        train = replace(scales.get(self.scale).baseline[kind], seed=self.seed if seed is None else seed)
        return RunConfig(f"{kind} baseline", self.data, model, train)

    def pruning(self, kind: str, lam: float, seed: int | None = None, **switches) -> RunConfig:
        """Pruning of the baseline at one lambda; `switches` are fields of GateConfig, e.g. output_scaling=False."""
        scale, start = scales.get(self.scale), self.baseline(kind, seed)
        gates = replace(scale.gates, lam=lam, **switches)
        return self.finish(RunConfig(f"{kind} lambda {lam:g}", start.data, start.model, self.first_phase(start), gates, start))

    def to_target(self, kind: str, share: float, seed: int | None = None) -> RunConfig:
        """Pruning of the baseline until this share of all heads is kept: lambda starts at 0 and adapts."""
        gated = self.pruning(kind, 0.0, seed, target_kept=float(share)).gated
        return self.finish(replace(gated, name=f"{kind} target {share:g}"))

    def first_phase(self, start: RunConfig) -> TrainConfig:
        """Training of the first phase (or the only one) of pruning, from the place in the text where `start` stopped."""
        scale = scales.get(self.scale)
        more = scale.consolidation.steps if self.one_phase and scale.consolidation else 0
        return replace(scale.prune, steps=scale.prune.steps + more, seed=start.train.seed, skip=start.train.steps)

    def finish(self, first: RunConfig) -> RunConfig:
        """The second phase after `first`: closed heads removed if `first` has gates, and the falling learning rate.

        With one phase, `first` itself.
        """
        second = scales.get(self.scale).consolidation
        if second is None or self.one_phase:
            return first
        train = replace(second, seed=first.train.seed, skip=first.train.skip + first.train.steps)
        gated = first.gates is not None
        return replace(first, train=train, gates=None, start=replace(first, name=f"{first.name}, first phase"),
                       consolidate=gated)

    def sweep(self, kind: str, seed: int | None = None) -> list[RunConfig]:
        """The control, then the scale's lambdas in ascending order."""
        return [self.pruning(kind, lam, seed) for lam in (0.0, *scales.get(self.scale).lambdas[kind])]

    def sweeps(self, seed: int | None = None) -> list[RunConfig]:
        """The sweeps of both models."""
        return [config for kind in KINDS for config in self.sweep(kind, seed)]


def _label(corpus: str) -> str:
    """A corpus as part of a folder's name: a plain name as it is; anything else shortened, with a checksum of all of it."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", corpus):
        return corpus
    plain = re.sub(r"[^A-Za-z0-9]+", "-", corpus).strip("-")[-40:]
    return f"{plain}-{hashlib.sha256(os.fsencode(corpus)).hexdigest()[:6]}".lstrip("-")
