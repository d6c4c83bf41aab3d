"""The measurements of claims.json seed by seed, as tables in Markdown: each loss links to the record of its run.

`python -m allatt.paper.claim_table` puts them into the README.md beside claims.json.
"""

import math
from collections.abc import Iterable, Sequence

from allatt.config import ALL_ATTENTION, KIND_NAMES, KINDS, TRANSFORMER_XL
from allatt.paper.curves import SPARSITIES, above_control, crossing, gain
from allatt.paper.decisions import TEXTS
from allatt.paper.measurements import TOKENS, Measurements
from allatt.paper.points import Point
from allatt.paper.rivals import GATES
from allatt.paper.stats import describe
from allatt.system.text_tables import markdown_table

LOSSES, ABOVE = tuple(TEXTS), ("above", "valid_above")
"""The fields of a point for its losses, and for its losses above its own control: test text, validation text."""


def markdown(measured: Measurements) -> str:
    """All tables. Nats per token, on test text, and on validation text in parentheses."""
    seeds = measured.seeds
    parts = [
        ("Gains at equal parameters", _gains(measured, [results.sweeps for results in seeds])),
        ("Baselines", _baselines(measured)),
        *_sweeps(measured, [results.sweeps for results in seeds], "subwords"),
        ("Training methods", _by_name(measured, _methods_title(measured), [results.methods for results in seeds])),
        ("Controls", _by_name(measured, "heads kept by", [results.rivals for results in seeds], GATES))]
    for tokens in TOKENS:
        variant = [getattr(results, tokens) for results in seeds]
        if any(variant):
            variant = [by_kind or {kind: [] for kind in KINDS} for by_kind in variant]
            parts += [(f"Gains at equal parameters, {tokens}", _gains(measured, variant)), *_sweeps(measured, variant, tokens)]
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts if table)


def _gains(measured: Measurements, sweeps: Sequence[dict[str, list[Point]]]) -> str:
    """All-attention's gain in each seed, and the sparsity from which it is ahead; then each model from its own control."""
    pairs = [(by_kind[ALL_ATTENTION], by_kind[TRANSFORMER_XL]) for by_kind in sweeps]
    above = [tuple(above_control(points, points[0]) if points else [] for points in pair) for pair in pairs]
    names = _names(measured)
    rows = [_gain_row(name, *pair, LOSSES) for name, pair in zip(names, pairs, strict=True)]
    rows += [_gain_row(f"from its own control, {name}", *pair, ABOVE) for name, pair in zip(names, above, strict=True)]
    return markdown_table(["heads removed", *(f"{sparsity:.0%}" for sparsity in SPARSITIES), "mean", "ahead from"], rows)


def _gain_row(name: str, ours: Sequence[Point], theirs: Sequence[Point], fields: Sequence[str]) -> list[str]:
    gains = [[gain(ours, theirs, sparsity, field) for sparsity in SPARSITIES] for field in fields]
    cells = ["" if None in pair else _signed(*pair) for pair in zip(*gains, strict=True)]
    means = [None if None in values else math.fsum(values) / len(values) for values in gains]
    ahead = ["nowhere" if share is None else f"{share:.1%}" for share in (crossing(ours, theirs, field) for field in fields)]
    return [name, *cells, "" if None in means else _signed(*means), f"{ahead[0]} ({ahead[1]})" if ours and theirs else ""]


def _baselines(measured: Measurements) -> str:
    rows = []
    for results in measured.seeds:
        ours, theirs = (results.baselines[kind] for kind in KINDS)
        rows.append([f"seed {results.seed}", _loss(ours), _loss(theirs), _signed(*_difference(ours, theirs))])
    names = [KIND_NAMES[kind] for kind in KINDS]
    return markdown_table(["", *names, " minus ".join(names)], rows)


def _sweeps(measured: Measurements, sweeps: Sequence[dict[str, list[Point]]], what: str) -> Iterable[tuple[str, str]]:
    """A table for each kind of model: a row per lambda, a column per seed."""
    for kind in KINDS:
        by_lam = [{point.lam: point for point in by_kind[kind]} for by_kind in sweeps]
        rows = [[f"{lam:g}", *map(_model, (points.get(lam) for points in by_lam))]
                for lam in sorted({lam for points in by_lam for lam in points})]
        yield f"{KIND_NAMES[kind]}, {what}", markdown_table(["λ", *_names(measured)], rows)


def _methods_title(measured: Measurements) -> str:
    lams = {point.lam for results in measured.seeds for point in results.methods.values()}
    return f"All-attention at λ {' '.join(f'{lam:g}' for lam in sorted(lams))}, trained"


def _by_name(measured: Measurements, title: str, groups: Sequence[dict[str, Point]], against: str = "") -> str:
    """A row per name, a column per seed; the last two columns: the mean over its seeds minus `against`, test and validation."""
    rows = []
    for name in dict.fromkeys(name for group in groups for name in group):
        row = [name, *(_model(group.get(name)) for group in groups)]
        if against:
            pairs = [_difference(group[name], group[against]) for group in groups if {name, against} <= set(group)]
            row += [describe(values) if name != against else "" for values in zip(*pairs, strict=True)] or ["", ""]
        rows.append(row)
    return markdown_table([title, *_names(measured), *([f"minus {against}, test", "validation"] if against else [])], rows)


def _names(measured: Measurements) -> list[str]:
    return [f"seed {results.seed}" for results in measured.seeds]


def _model(point: Point | None) -> str:
    """Heads by layer, their number, and the loss; nothing for a model that was not trained."""
    return f"{' '.join(map(str, point.per_layer))} = {point.heads}: {_loss(point)}" if point else ""


def _loss(point: Point) -> str:
    return f"[{point.test_loss:.3f}](runs/{point.run}.json) ({point.valid_loss:.3f})"


def _difference(ours: Point, theirs: Point) -> tuple[float, float]:
    return ours.test_loss - theirs.test_loss, ours.valid_loss - theirs.valid_loss


def _signed(test: float, valid: float) -> str:
    test, valid = (round(value, 3) + 0.0 for value in (test, valid))  # + 0.0: no "-0.000"
    return f"{test:+.3f} ({valid:+.3f})"
