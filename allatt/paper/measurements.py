"""Everything that the claims are judged by: exact counts, and the runs of each seed as points.

claims.json keeps it under "measured" (`Measurements.as_dict`), so that verdicts can be checked without any run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from allatt import cost
from allatt.config import ALL_ATTENTION, KINDS, RunConfig, check
from allatt.paper import experiments, scales
from allatt.paper.histories import flips, undecided
from allatt.paper.points import Point, json_values
from allatt.paper.rivals import LATE, learned
from allatt.paper.rivals import rivals as make_rivals
from allatt.paper.study import Study
from allatt.runs import get_or_run
from allatt.runs.parallel import get_or_run_all
from allatt.runs.run import finished

PARTS = ("parameters", "multiply_adds")
TOKENS = ("characters", "words")
"""Variants of a scale that are measured too, if the study is complete."""


@dataclass(frozen=True)
class Counts:
    """Exact counts of one model's body. Lists have two numbers: parameters, multiply-adds."""

    body: int
    """Parameters of the body with all heads."""
    left: dict[str, list[float]]
    """Share of the body that is left with "all", "half" and "none" of the heads."""
    feed_forward: list[float]
    """Share of the feed-forward in the body with all heads."""
    untouched: bool
    """Whether the feed-forward is the same with all, half and none of the heads."""


@dataclass(frozen=True)
class SeedResults:
    """Points of one seed. Experiments that were not run are empty or None."""

    seed: int
    baselines: dict[str, Point]
    """By kind of model."""
    sweeps: dict[str, list[Point]]
    """By kind of model: the control, then ascending lambdas."""
    methods: dict[str, Point]
    """By name in `experiments.method_comparison`, with flips, undecided gates and lost layers; "variants" in claims.json."""
    rivals: dict[str, Point]
    """By name in `rivals.rivals`."""
    characters: dict[str, list[Point]] | None = None
    """Sweeps on characters."""
    words: dict[str, list[Point]] | None = None
    """Sweeps on words."""

    @classmethod
    def from_dict(cls, values: dict) -> SeedResults:
        """The results that `Measurements.as_dict` wrote."""
        points = {name: _from_dicts(group) for name, group in values.items() if name != "seed"}
        return cls(seed=values["seed"], methods=points.pop("variants"), **points)


@dataclass(frozen=True)
class Measurements:
    """What `verdicts.judge` judges."""

    scale: str
    seeds: list[SeedResults]
    folder: str
    """Folder of the figures that compare the seeds."""
    single: str
    """Folder of the figures that show one seed."""
    heads: int
    """Heads per layer of All-attention at this scale."""
    counts: dict[str, Counts]
    """By kind of model, at the paper's size."""
    corpora: dict[str, str]
    """Texts of "characters" and "words"."""

    def as_dict(self) -> dict:
        """As plain JSON values."""
        return asdict(self, dict_factory=json_values)

    @classmethod
    def from_dict(cls, values: dict) -> Measurements:
        """The measurements that `as_dict` wrote."""
        seeds = [SeedResults.from_dict(results) for results in values["seeds"]]
        counts = {kind: Counts(**counts) for kind, counts in values["counts"].items()}
        return cls(**values | {"seeds": seeds, "counts": counts})


def measure(study: Study, train: bool = True) -> Measurements:
    """Read the notebooks' runs. Missing runs are trained, or (train False) left out: claims that need them are not measured.
    AllattError if train is False and a baseline or a run of a sweep is missing."""
    variants = {tokens: study.variant(tokens) for tokens in TOKENS} if study.has_variants else {}
    if train:
        configs = [config for seed in study.seeds for config in experiments.everything(study, seed)]
        configs += [config for variant in variants.values() for seed in study.seeds for config in variant.sweeps(seed)]
        get_or_run_all(configs)
    rivals = {seed: make_rivals(study, seed) if study.is_complete and (train or finished(learned(study, seed).gated)) else {}
              for seed in study.seeds}
    if train:
        get_or_run_all(config for configs in rivals.values() for config in configs.values())

    def there(configs: dict[str, RunConfig]) -> dict[str, RunConfig]:
        return {name: config for name, config in configs.items() if train or finished(config)}

    def in_all_budgets(configs: dict[str, RunConfig]) -> dict[str, RunConfig]:
        """Without a rival that one of its budgets lacks: the other budget alone would be judged as if it were the only one."""
        found = there(configs)
        half = {name.removesuffix(LATE) for name in configs if name not in found}
        return {name: config for name, config in found.items() if name.removesuffix(LATE) not in half}

    def sweeps(other: Study, seed: int) -> dict[str, list[Point]] | None:
        configs = other.sweeps(seed)
        return _by_kind(configs) if train or all(map(finished, configs)) else None

    main = [study.baseline(kind, seed) for seed in study.seeds for kind in KINDS]
    main += [config for seed in study.seeds for config in study.sweeps(seed)]
    lacking = [] if train else [config.name for config in main if not finished(config)]
    check(not lacking, f"{len(lacking)} of {len(main)} runs of the baselines and sweeps are not finished, {lacking[:1]} "
                       "first; train them with `make reproduce`, or restore their records with `python -m allatt unpack`")
    seeds = [SeedResults(
        seed=seed,
        baselines={kind: _point(study.baseline(kind, seed)) for kind in KINDS},
        sweeps=_by_kind(study.sweeps(seed), _with_gates),
        methods={name: _with_gates(config) for name, config in there(experiments.method_comparison(study, seed)).items()},
        rivals={name: _point(config) for name, config in in_all_budgets(rivals[seed]).items()},
        **{tokens: sweeps(variant, seed) for tokens, variant in variants.items()},
    ) for seed in study.seeds]
    return Measurements(
        scale=study.scale, seeds=seeds, folder=study.folder, single=replace(study, count=1).folder,
        heads=scales.model(study.scale, ALL_ATTENTION).heads, counts={kind: count("paper", kind) for kind in KINDS},
        corpora={tokens: variant.data.corpus for tokens, variant in variants.items()})


def count(scale: str, kind: str) -> Counts:
    """Exact counts of a scale's body, with all, half and none of its heads."""
    model = scales.model(scale, kind)
    by_heads = {}
    for name, heads in (("all", model.heads), ("half", model.heads // 2), ("none", 0)):
        small = replace(model, kept=(tuple(range(heads)),) * model.layers)
        by_heads[name] = cost.count(small, scales.vocab(scale))
    full = by_heads["all"]
    feed_forward = {name: [counts[part]["parts"]["feed_forward"] for part in PARTS] for name, counts in by_heads.items()}
    return Counts(
        body=full["parameters"]["body"],
        left={name: [counts[part]["body"] / full[part]["body"] for part in PARTS] for name, counts in by_heads.items()},
        feed_forward=[number / full[part]["body"] for number, part in zip(feed_forward["all"], PARTS, strict=True)],
        untouched=feed_forward["all"] == feed_forward["half"] == feed_forward["none"])


def _point(config: RunConfig) -> Point:
    return Point.of_run(get_or_run(config))


def _with_gates(config: RunConfig) -> Point:
    run = get_or_run(config)
    lost = run.result["heads"]["per_layer"].count(0)
    return replace(Point.of_run(run), flips=flips(run), undecided=undecided(run), lost=lost)


def _by_kind(configs: list[RunConfig], point: Callable[[RunConfig], Point] = _point) -> dict[str, list[Point]]:
    return {kind: [point(config) for config in configs if config.model.kind == kind] for kind in KINDS}


def _from_dicts(values: dict) -> dict:
    """Points, or lists of them, by name."""
    return {name: [Point.from_dict(point) for point in value] if isinstance(value, list) else Point.from_dict(value)
            for name, value in values.items()}
