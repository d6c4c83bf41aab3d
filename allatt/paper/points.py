"""A finished run as a point of the figures, and the mean of points over seeds.

In JSON (sidecars of figures, claims.json) the field `lam` is named "lambda", and optional fields that are None are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from allatt import cost
from allatt.config import check
from allatt.runs import Run


def json_values(items: Iterable[tuple[str, Any]]) -> dict:
    """The `dict_factory` of `asdict` for points and measurements."""
    names = {"lam": "lambda", "methods": "variants"}
    return {names.get(name, name): value for name, value in items if value is not None or name in ("lam", "target")}


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a model keeps, costs and loses: the fields that can be averaged over seeds."""

    lam: float | None
    """lambda; None for a dense model, and for one that is pruned to a target."""
    heads: float
    """Heads kept."""
    of: float
    """Heads before pruning."""
    sparsity: float
    """Share of the heads that is removed."""
    body_parameters: float
    """Parameters of the smaller model without embeddings and softmax."""
    body_multiply_adds: float
    """Multiply-adds per token of that body, as the paper counts them."""
    valid_loss: float
    """Nats per token on the validation text."""
    valid_perplexity: float
    """exp(valid_loss), per token."""
    valid_word_perplexity: float
    """Per word of the text, whatever its tokens are."""
    valid_bits_per_byte: float
    """Bits per byte of the text, whatever its tokens are."""
    test_loss: float
    """As valid_loss, on the test text; so are the next three."""
    test_perplexity: float
    test_word_perplexity: float
    test_bits_per_byte: float
    test_bits: float | None = None
    """Bits per character on the test text, of models on characters (`bits_per_character`)."""
    above: float | None = None
    """test_loss minus the control's, if compared with it (`curves.above_control`)."""
    valid_above: float | None = None
    """The same for valid_loss."""
    removed: float | None = None
    """Share of the control's body parameters that is removed, if compared with it."""

    def as_dict(self) -> dict:
        """As plain JSON values."""
        return asdict(self, dict_factory=json_values)


@dataclass(frozen=True, kw_only=True)
class Point(Measures):
    """A finished run."""

    run: str
    """Id of the run."""
    name: str
    """Name of its config, for people."""
    kind: str
    """all-attention or transformer-xl."""
    seed: int
    target: float | None
    """Share of the heads to keep, if lambda adapts to a target."""
    per_layer: list[int]
    """Heads kept in each layer."""
    flips: int | None = None
    """How often a head opened or closed late in the training of its gates (`histories.flips`), if counted."""
    undecided: int | None = None
    """Gates that were still near the border at the end (`histories.undecided`), if counted."""
    lost: int | None = None
    """Layers without any head, if counted."""

    @classmethod
    def of_run(cls, run: Run) -> Point:
        """The point of a finished run."""
        result, heads = run.result, run.result["heads"]
        gates = run.config.gated.gates if run.config.gated else None
        small = replace(run.config.model, kept=tuple(map(tuple, heads["kept"])))
        operations = cost.count(small)["multiply_adds"]["body"]
        losses = {f"{split}_{key}": result[split][key] for split in ("valid", "test")
                  for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte")}
        return cls(
            run=run.id, name=run.config.name, kind=run.config.model.kind, seed=run.config.train.seed,
            lam=gates.lam if gates and gates.target_kept is None else None, target=gates.target_kept if gates else None,
            heads=heads["total"], of=heads["of"], per_layer=heads["per_layer"], sparsity=1 - heads["total"] / heads["of"],
            body_parameters=result["parameters"]["body"], body_multiply_adds=operations, **losses)

    @classmethod
    def from_dict(cls, values: dict) -> Point:
        """The point that `as_dict` wrote."""
        return cls(**{"lam" if key == "lambda" else key: value for key, value in values.items()})


@dataclass(frozen=True, kw_only=True)
class Mean(Measures):
    """The mean over seeds of the points at one lambda."""

    seeds: int
    """Number of points that are averaged."""


def average(points: Iterable[Point]) -> list[Mean]:
    """Points of several seeds as one curve: the mean at each lambda, in ascending order."""
    points, means = list(points), []
    for lam in sorted({point.lam for point in points}):
        group = [point for point in points if point.lam == lam]
        values = {f.name: [getattr(point, f.name) for point in group] for f in fields(Measures) if f.name != "lam"}
        values = {name: None if None in numbers else math.fsum(numbers) / len(numbers) for name, numbers in values.items()}
        means.append(Mean(lam=lam, seeds=len(group), **values))
    return means


def bits_per_character(run: Run) -> float:
    """Bits per predicted character of the test text (all but the first), for a run on characters.

    Bits per byte, in contrast, are averaged over all bytes: a character of text8 is one byte, a Chinese character three.
    """
    tokens = run.config.data.tokens
    check(tokens == "characters", f"run {run.id} ({run.config.name}) predicts {tokens}; bits per character need characters")
    return run.result["test"]["loss"] / math.log(2)
