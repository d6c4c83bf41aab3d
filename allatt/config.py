"""The configuration of a run: frozen dataclasses whose hash names the run's folder; `allatt.config_json` reads them back.

Only what can change a result belongs here. Device, micro-batches and logging are in `allatt.system.machine.Machine`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import PurePath
from typing import Any

# Increment when the meaning of a config changes, so that an old run is never mistaken for a new one.
FORMAT = 1
ADAPTIVE_FORMAT = 2
"""For models with cutoffs. In format 1, the cluster rows of the adaptive softmax were multiplied by Q h instead of h."""

# Fields added later, with their defaults: a default is left out of the hash, so earlier runs keep their names.
LATER = {"target_kept": None, "clipped": False, "skip": 0, "evaluated": 0, "consolidate": False}

ALL_ATTENTION, TRANSFORMER_XL = KINDS = ("all-attention", "transformer-xl")
KIND_NAMES = {ALL_ATTENTION: "All-attention", TRANSFORMER_XL: "Transformer-XL"}
"""The two kinds of models, and their names in prose. Code refers to a kind by these constants."""


class AllattError(Exception):
    """A mistake that the user can correct. The message is one line: what is wrong, where, and what to do."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


def check(condition: bool, message: str) -> None:
    """Raise AllattError(message) unless `condition` holds."""
    if not condition:
        raise AllattError(message)


def check_finite(config: Any) -> None:
    """AllattError if a float of a config is infinite or not a number."""
    for name, value in vars(config).items():
        check(not isinstance(value, float) or math.isfinite(value), f"{name} is {value}; it must be a finite number")


@dataclass(frozen=True)
class DataConfig:
    """The text, and how it becomes token ids."""

    corpus: str = "wikipedia-excerpt"
    """A name of `allatt.data.corpora.CORPORA`, or the path of a user's folder."""
    tokens: str = "subwords"
    """words, subwords (sentencepiece) or characters."""
    vocab_size: int = 2000
    """Number of subwords; largest number of words (0: no limit); not used for characters."""
    min_count: int = 1
    """Words that occur less often in the training text become <unk>. Not used for subwords and characters."""
    text_sha256: str = ""
    """Checksum of the text if known, filled in by `allatt.data.tokens.pin`, so a changed text makes a different run."""

    def __post_init__(self):
        kinds = ("words", "subwords", "characters")
        check(self.tokens in kinds, f"tokens is {self.tokens!r}; choose one of {', '.join(kinds)}")
        check(0 <= self.vocab_size < 2**31, f"vocab_size is {self.vocab_size}; it must be 0 (words: no limit) to 2,147,483,647")
        check(self.tokens != "subwords" or self.vocab_size >= 32,
              f"vocab_size is {self.vocab_size}; subwords need at least 32")
        check(self.min_count >= 1, f"min_count is {self.min_count}; it must be 1 or more")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a language model, and its dropouts. Defaults are the paper's All-attention model."""

    kind: str = ALL_ATTENTION
    """all-attention (persistent vectors, no feed-forward) or transformer-xl (feed-forward, no persistent vectors)."""
    layers: int = 16
    heads: int = 8
    """Heads per layer before pruning."""
    d_model: int = 512
    d_head: int = 64
    persistent: int = 2048
    """Persistent key-value pairs per head (N). Not used by transformer-xl."""
    feed_forward: int = 2048
    """Hidden units of the feed-forward. Not used by all-attention."""
    segment: int = 192
    """Tokens predicted in one pass (T)."""
    memory: int = 192
    """Hidden states of earlier tokens that each layer attends to (M); every query sees M + 1 positions."""
    positions: int = 512
    """Rows of the learned table of distances; at least M + 1 (the released code: 512)."""
    cutoffs: tuple[int, ...] = ()
    """Ids at which the adaptive input and softmax start a new band; none: one tied table with a bias."""
    band_divisor: int = 4
    """Factor by which each band of the adaptive softmax is narrower than the one before."""
    kept: tuple[tuple[int, ...], ...] | None = None
    """The heads of each layer, ascending; None: all heads. A layer may have no heads."""
    init: str = "released"
    """released: U(-s, s), s = sqrt(1/(d L)) (released code); unit: persistent keys N(0,1)/sqrt(d_head) and values
    N(0,1)/sqrt(N) (Sukhbaatar et al. 2019), the rest as released."""
    persistent_gain: float = 1.0
    """Persistent values start this many times larger (our choice; 1 is the published initialization)."""
    drop_attention: float = 0.0
    drop_projection: float = 0.0
    drop_input: float = 0.0
    drop_output: float = 0.0
    drop_word: float = 0.0
    """Probability that a row of the embedding table is dropped for a whole pass."""
    variational: bool = False
    """One dropout mask for all positions of a segment (projection, input, output) instead of one per position."""

    def __post_init__(self):
        check_finite(self)
        check(self.kind in KINDS, f"model kind is {self.kind!r}; choose one of {', '.join(KINDS)}")
        for name in ("layers", "heads", "d_model", "d_head", "persistent", "feed_forward", "segment", "band_divisor"):
            check(1 <= getattr(self, name) < 2**31, f"{name} is {getattr(self, name)}; it must be 1 to 2,147,483,647")
        check(self.memory >= 0, f"memory is {self.memory}; it must be 0 or more")
        check(self.positions >= self.memory + 1,
              f"positions is {self.positions}; it must be at least memory + 1 = {self.memory + 1}")
        check(self.init in ("released", "unit"), f"init is {self.init!r}; choose released or unit")
        check(self.persistent_gain > 0, f"persistent_gain is {self.persistent_gain}; it must be positive")
        for name, value in vars(self).items():
            check(not name.startswith("drop_") or 0 <= value < 1, f"{name} is {value}; it must be at least 0 and below 1")
        check(list(self.cutoffs) == sorted(set(self.cutoffs)) and all(c > 0 for c in self.cutoffs),
              f"cutoffs are {self.cutoffs}; they must be positive and ascending")
        if self.kept is not None:
            check(len(self.kept) == self.layers, f"kept names heads for {len(self.kept)} layers; the model has {self.layers}")
            for layer, heads in enumerate(self.kept, start=1):
                good = list(heads) == sorted(set(heads)) and all(0 <= h < self.heads for h in heads)
                check(good, f"kept heads of layer {layer} are {heads}; they must be ascending, between 0 and {self.heads - 1}")

    @property
    def kept_heads(self) -> tuple[tuple[int, ...], ...]:
        """The heads of each layer (all of them if `kept` is None)."""
        return self.kept if self.kept is not None else (tuple(range(self.heads)),) * self.layers

    @property
    def heads_per_layer(self) -> tuple[int, ...]:
        """Number of heads of each layer."""
        return tuple(len(heads) for heads in self.kept_heads)

    def bands(self, vocab: int) -> list[tuple[int, int, int]]:
        """(first id, id after the last, width of the table) of each band of the softmax over `vocab` words.

        AllattError if the cutoffs do not fit the vocabulary, or a band would have no width.
        """
        check(vocab >= 1, f"the vocabulary has {vocab} words; it needs at least 1")
        check(not self.cutoffs or self.cutoffs[-1] < vocab,
              f"cutoffs {self.cutoffs} do not fit a vocabulary of {vocab:,} words; leave out those not below it")
        edges = pairwise((0, *self.cutoffs, vocab))
        bands = [(start, end, self.d_model // self.band_divisor ** band) for band, (start, end) in enumerate(edges)]
        check(bands[-1][2] >= 1, f"d_model {self.d_model} divided {len(self.cutoffs)} times by band_divisor "
                                 f"{self.band_divisor} leaves no width; use fewer cutoffs or a smaller divisor")
        return bands


@dataclass(frozen=True)
class GateConfig:
    """Hard-concrete gates with an L0 penalty, and the paper's three training methods as switches."""

    lam: float = 0.01
    """Weight of the expected number of gates above 0, lambda of the paper. 0 is the control: gates without a penalty."""
    initial: float = 2.0
    """Initial logit of every gate: 2, nearly open ("proper gate initialization"), or 0, half open."""
    penalty_warmup: int = 0
    """Steps over which lambda rises linearly from 0 ("sparsity-loss warm-up"); 0: no warm-up."""
    output_scaling: bool = True
    """A layer's output times heads / open heads, detached ("attention-output scaling")."""
    lr: float = 1e-3
    """Learning rate of the gates (paper: ten times that of the weights); no weight decay."""
    clipped: bool = False
    """Whether the gates are part of the gradient whose norm is clipped (released code: yes)."""
    beta: float = 0.333
    gamma: float = -0.1
    zeta: float = 1.1
    """Temperature and stretch of the hard concrete distribution (Louizos et al. 2018)."""
    target_kept: float | None = None
    """Share of all heads to keep (our addition): lambda starts at `lam` and adapts to the last step; runs with
    the targets tried ended within one head. None: lambda is fixed, and determines the share."""

    def __post_init__(self):
        check_finite(self)
        check(self.lam >= 0, f"lam is {self.lam}; it must be 0 or more")
        check(self.target_kept is None or 0 <= self.target_kept <= 1,
              f"target_kept is {self.target_kept}; it is a share of all heads, between 0 and 1")
        check(self.penalty_warmup >= 0, f"penalty_warmup is {self.penalty_warmup}; it must be 0 or more")
        check(self.lr >= 0, f"the gates' lr is {self.lr}; it must be 0 or more")
        check(self.beta > 0 and self.gamma < 0 and math.isclose(self.gamma + self.zeta, 1),  # so that 1/2 belongs to logit 0
              f"beta {self.beta}, gamma {self.gamma}, zeta {self.zeta}; need beta > 0, gamma < 0 and zeta = 1 - gamma")


@dataclass(frozen=True)
class TrainConfig:
    """One stage of training."""

    steps: int = 1000
    """Optimizer steps. 0: evaluate the start as it is."""
    skip: int = 0
    """Steps of the text to skip, because earlier stages have read them; the text starts over after its end."""
    rows: int = 16
    """Contiguous streams per optimizer step (the batch); tokens per step = rows x segment."""
    optimizer: str = "adamw"
    """adamw, or lamb (the paper's baseline recipe)."""
    lr: float = 1e-3
    schedule: str = "cosine"
    """cosine (down to lr x final_lr) or constant, after the warm-up."""
    final_lr: float = 0.1
    warmup: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    weight_decay: float = 0.0
    beta2: float = 0.999
    clip: float = 0.5
    """Largest norm of the gradient of the weights (of the gates too, if `GateConfig.clipped`)."""
    precision: str = "fp32"
    """fp32, or bf16: autocast, weights stay fp32."""
    evaluated: int = 0
    """Tokens that the finished model predicts of the valid and of the test text, each from its beginning; 0: all of them."""
    seed: int = 0

    def __post_init__(self):
        check_finite(self)
        for name in ("steps", "skip", "evaluated"):
            check(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must be 0 or more")
        check(0 <= self.seed < 2**31, f"seed is {self.seed}; it must be between 0 and 2,147,483,647")
        check(self.rows >= 1, f"rows is {self.rows}; it must be 1 or more")
        check(self.optimizer in ("adamw", "lamb"), f"optimizer is {self.optimizer!r}; choose adamw or lamb")
        check(self.schedule in ("cosine", "constant"), f"schedule is {self.schedule!r}; choose cosine or constant")
        check(self.precision in ("fp32", "bf16"), f"precision is {self.precision!r}; choose fp32 or bf16")
        check(self.lr > 0, f"lr is {self.lr}; it must be positive")
        check(0 <= self.final_lr <= 1, f"final_lr is {self.final_lr}; it is a share of lr, between 0 and 1")
        check(self.warmup >= 0, f"warmup is {self.warmup}; it must be 0 or more")
        check(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it must be 0 or more")
        check(0 < self.beta2 < 1, f"beta2 is {self.beta2}; it must be between 0 and 1")
        check(self.clip > 0, f"clip is {self.clip}; it must be positive")


@dataclass(frozen=True)
class RunConfig:
    """A run: text, model, training; gates if it prunes; the run that it starts from, if any."""

    name: str
    """For people: not part of the hash."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    gates: GateConfig | None = None
    start: RunConfig | None = None
    """The run whose weights this one starts from. Heads of that run that `model.kept` leaves out are removed."""
    consolidate: bool = False
    """Second phase of pruning: the heads that the start's gates closed are removed, and training continues without gates."""

    def __post_init__(self):
        start = self.start
        if self.consolidate:
            check(start is not None and start.gates is not None,
                  f"{self.name} consolidates; it must start from a run with gates, whose closed heads it removes")
            check(self.gates is None and self.model.kept is None,
                  f"{self.name} consolidates; it keeps the heads that its start's gates keep, without gates of its own")
        if start is not None:
            differ = _different_text(self.data, start.data)
            check(not differ, f"{self.name} starts from a run with another {' and '.join(differ)} of the text; take the same")

    @property
    def gated(self) -> RunConfig | None:
        """The run that chose the heads with gates: this one, or the start that it consolidates; None for other runs."""
        return self.start if self.consolidate else self if self.gates is not None else None

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits that name the run: the same for the same config, whatever its name."""
        version = ADAPTIVE_FORMAT if self.model.cutoffs else FORMAT
        text = json.dumps({"format": version, **_anonymous(to_dict(self))}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _different_text(a: DataConfig, b: DataConfig) -> list[str]:
    """The settings in which two texts differ; if both have a checksum, the names of their corpora do not count."""
    text = "text_sha256" if a.text_sha256 and b.text_sha256 else "corpus"
    return [name for name in (text, "tokens", "vocab_size", "min_count") if getattr(a, name) != getattr(b, name)]


def _anonymous(values: Any) -> Any:
    """A RunConfig's dict without the names (its own and its start's) and without later fields at their defaults.

    A folder of text is identified by its name and checksum, not by its path, so runs can move between machines.
    """
    if not isinstance(values, dict):
        return values
    if values.get("text_sha256"):
        values = values | {"corpus": PurePath(values["corpus"]).name}
    return {k: _anonymous(v) for k, v in values.items() if k != "name" and not (k in LATER and v == LATER[k])}


def to_dict(config: Any) -> dict:
    """A config as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
