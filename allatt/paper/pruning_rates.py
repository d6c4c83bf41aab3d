"""Other learning rates of pruning: what claims 3a and 3b would be if each model had its own best rate at each size.

A rate that is good for a model that keeps all heads may leave the training of one that loses most of them unfinished. So the
sweeps are trained at several rates. At each size of the comparison, each model is read at the rate that is best for it there on
*validation* text, averaged over seeds, and so is its control; gains on test text follow. This module judges nothing:
`allatt.paper.verdicts` does, at the scale's own rate.

`python -m allatt experiment pruning-rates` trains what is missing, and `python -m allatt.paper.pruning_rates` shows the table;
test text is its honest column, since validation text chose the rates.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from allatt.config import ALL_ATTENTION, KIND_NAMES, KINDS, TRANSFORMER_XL, AllattError, RunConfig, check
from allatt.paper import scales
from allatt.paper.curves import SPARSITIES, interpolate
from allatt.paper.decisions import TEXTS
from allatt.paper.points import Point
from allatt.paper.stats import interval
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.runs.run import finished
from allatt.system.messages import note
from allatt.system.text_tables import markdown_table

SHARES = (1 / 4, 1 / 2, 1, 2)
"""Shares of the scale's own rate (our choice)."""

Sweeps = dict[float, list[list[Point]]]
"""One kind of model: by rate, the sweep of each seed, its control first."""


class Best(NamedTuple):
    """A model at the rate that is best for it."""

    rate: float
    losses: dict[str, list[float]]
    """By field ("test_loss", "valid_loss"), nats per token: one per seed."""


def at_rate(config: RunConfig, rate: float) -> RunConfig:
    """A pruned model of a sweep, with all phases of its pruning at another learning rate; its baseline stays as it is."""
    start = at_rate(config.start, rate) if config.consolidate else config.start
    return replace(config, name=f"{config.name}, rate {rate:g}", train=replace(config.train, lr=rate), start=start)


def sweeps(study: Study, seed: int | None = None, rates: Iterable[float] = ()) -> dict[float, list[RunConfig]]:
    """The sweeps of both models at each of these rates; without any, at SHARES of the scale's own."""
    rates = sorted(rates) or [share * scales.get(study.scale).prune.lr for share in SHARES]
    return {rate: [at_rate(config, rate) for config in study.sweeps(seed)] for rate in rates}


def best_control(curves: Sweeps) -> Best:
    """The control at the rate with its lowest validation loss, averaged over seeds."""
    return _best(curves, lambda points, field: getattr(points[0], field))


def best_at_size(curves: Sweeps, size: float) -> Best:
    """The model of `size` body parameters, on straight lines between the points, at the rate with the lowest mean validation
    loss (in a tie, the lowest rate). A rate whose sweeps do not reach it in every seed is left out; AllattError if all are."""
    return _best(curves, lambda points, field: interpolate(points, "body_parameters", field, size))


def _best(curves: Sweeps, loss: Callable[[list[Point], str], float | None]) -> Best:
    losses = {rate: {field: [loss(points, field) for points in seeds] for field in TEXTS} for rate, seeds in curves.items()}
    reached = {rate: found for rate, found in losses.items() if None not in found["valid_loss"]}
    kind = next(iter(curves.values()))[0][0].kind
    check(bool(reached), f"at no rate do the sweeps of {KIND_NAMES[kind]} reach each size of the comparison in every seed; "
                         "extend their lambdas")
    rate = min(reached, key=lambda rate: math.fsum(reached[rate]["valid_loss"]))
    return Best(rate, reached[rate])


class Gain(NamedTuple):
    """How far All-attention is below Transformer-XL at one size: nats per token, by field, one per seed."""

    rates: tuple[float, float]
    """Of All-attention and of Transformer-XL."""
    absolute: dict[str, list[float]]
    own: dict[str, list[float]]
    """Each model from its own control."""


def gain_at(ours: Sweeps, theirs: Sweeps, sparsity: float) -> Gain:
    """The gain at the size that `ours` has at this sparsity; models and controls at their own best rates."""
    sizes = (interpolate(points, "sparsity", "body_parameters", sparsity) for seeds in ours.values() for points in seeds)
    size = next((size for size in sizes if size is not None), None)  # the same in all that reach there: parameters per head
    check(size is not None, f"no sweep reaches {sparsity:.0%} of the heads removed")
    bests = [best_at_size(curves, size) for curves in (ours, theirs)]
    absolute, gap = _apart(*bests), _apart(*(best_control(curves) for curves in (ours, theirs)))
    own = {field: [x - y for x, y in zip(absolute[field], gap[field], strict=True)] for field in TEXTS}
    return Gain(tuple(best.rate for best in bests), absolute, own)


def _apart(ours: Best, theirs: Best) -> dict[str, list[float]]:
    return {field: [y - x for x, y in zip(ours.losses[field], theirs.losses[field], strict=True)] for field in TEXTS}


def report(ours: Sweeps, theirs: Sweeps) -> str:
    """The table in Markdown: a row per size and one for their mean, at best rates; below it, the means at each rate alone."""
    columns = [f"{what}, {text}" for what in ("gain", "from own control") for text in TEXTS.values()]
    header = ["heads removed", *(f"rate, {KIND_NAMES[kind]}" for kind in KINDS), *columns]
    sizes = [gain_at(ours, theirs, sparsity) for sparsity in SPARSITIES]
    rows = [(f"{sparsity:.0%}", *(f"{rate:g}" for rate in found.rates), *_cells([found]))
             for sparsity, found in zip(SPARSITIES, sizes, strict=True)]
    rows.append(("mean", *(f"best (control {best_control(curves).rate:g})" for curves in (ours, theirs)), *_cells(sizes)))
    for rate in ours:
        try:
            cells = _cells([gain_at({rate: ours[rate]}, {rate: theirs[rate]}, sparsity) for sparsity in SPARSITIES])
        except AllattError:  # some size is out of its reach
            cells = ["not reached"] * len(columns)
        rows.append(("mean", f"{rate:g}", f"{rate:g}", *cells))
    return markdown_table(header, rows)


def _cells(sizes: Sequence[Gain]) -> list[str]:
    """The mean over these sizes in each seed, then over seeds with an interval: absolute, and from each model's own control."""
    groups = [[part[field] for part in parts] for parts in ([found.absolute for found in sizes], [found.own for found in sizes])
              for field in TEXTS]
    return [str(interval([math.fsum(values) / len(values) for values in zip(*group, strict=True)])) for group in groups]


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table of finished runs; exit status 2 if one is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=(), help="default: a quarter to twice the scale's own")
    options = parser.parse_args(arguments)
    try:
        study = Study(options.scale, options.corpus, options.seed, options.seeds)
        configs = {seed: sweeps(study, seed, options.rates) for seed in study.seeds}
        missing = [config.name for by_rate in configs.values() for some in by_rate.values() for config in some
                   if not finished(config)]
        same = f"--scale {options.scale} --seed {options.seed} --seeds {options.seeds}"
        same += f" --corpus {options.corpus}" if options.corpus else ""
        check(not missing, f"{len(missing)} runs are not finished, {missing[:1]} first; train them with `python -m allatt "
                           f"experiment pruning-rates {same}`, or restore their records with `python -m allatt unpack`")
        curves: dict[str, Sweeps] = {kind: {} for kind in KINDS}
        for by_rate in configs.values():
            for rate, some in by_rate.items():
                for kind in KINDS:
                    points = [Point.of_run(get_or_run(config)) for config in some if config.model.kind == kind]
                    curves[kind].setdefault(rate, []).append(points)
        print(report(curves[ALL_ATTENTION], curves[TRANSFORMER_XL]))
    except AllattError as error:
        note(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
