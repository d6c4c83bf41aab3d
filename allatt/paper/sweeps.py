"""The sweeps of both models over all seeds of a study: what notebooks 07, 12 and 13 compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from allatt.config import ALL_ATTENTION, KIND_NAMES, KINDS, TRANSFORMER_XL
from allatt.paper.curves import SPARSITIES, above_control, gain
from allatt.paper.points import Mean, Point, average, bits_per_character
from allatt.paper.stats import describe
from allatt.paper.study import Study
from allatt.runs import Run, get_or_run
from allatt.runs.parallel import get_or_run_all


@dataclass(frozen=True)
class Sweeps:
    """Points of the sweeps of both models. Keys are (seed, kind)."""

    seeds: range
    points: dict[tuple[int, str], list[Point]]
    """The control, then ascending lambdas."""
    baselines: dict[tuple[int, str], Point] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    """All runs behind the points."""

    @classmethod
    def of(cls, study: Study) -> Sweeps:
        """Read the runs of a study, and train those that are missing. Points on characters have their bits per character."""
        keys = [(seed, kind) for seed in study.seeds for kind in KINDS]
        get_or_run_all([study.baseline(kind, seed) for seed, kind in keys]
                       + [config for seed in study.seeds for config in study.sweeps(seed)])
        points, baselines, runs = {}, {}, []
        for seed, kind in keys:
            group = [get_or_run(config) for config in (study.baseline(kind, seed), *study.sweep(kind, seed))]
            baselines[seed, kind], *points[seed, kind] = map(_point, group)
            runs += group
        return cls(study.seeds, points, baselines, runs)

    def pairs(self) -> list[tuple[list[Point], list[Point]]]:
        """For each seed, the points of All-attention and of Transformer-XL."""
        return [(self.points[seed, ALL_ATTENTION], self.points[seed, TRANSFORMER_XL]) for seed in self.seeds]

    def mean(self, kind: str) -> list[Mean]:
        """The curve of a model: means over seeds, in the order of `points`."""
        return average(point for seed in self.seeds for point in self.points[seed, kind])

    def mean_baseline(self, kind: str) -> Mean:
        """The mean over seeds of a model's baselines."""
        baseline, = average(self.baselines[seed, kind] for seed in self.seeds)
        return baseline

    def above_control(self) -> Sweeps:
        """The same points, each compared with the control of its own seed and kind (fields `above` and `removed`)."""
        points = {key: above_control(points, points[0]) for key, points in self.points.items()}
        return replace(self, points=points, baselines={})

    def gains(self, y: str = "test_loss", sparsities: Iterable[float] = SPARSITIES) -> dict[float, list[float]]:
        """For each sparsity of All-attention, how far it is below Transformer-XL at equal parameters: one value per seed
        whose curves both reach there."""
        by_sparsity = {sparsity: [gain(*pair, sparsity, y) for pair in self.pairs()] for sparsity in sparsities}
        return {sparsity: [value for value in values if value is not None] for sparsity, values in by_sparsity.items()}

    def control_gains(self, y: str = "test_loss") -> list[float]:
        """For each seed, how far All-attention's control is below Transformer-XL's."""
        return [getattr(theirs[0], y) - getattr(ours[0], y) for ours, theirs in self.pairs()]

    def table(self, columns: dict[str, Callable[[Mean], str]], y: str = "test_loss", unit: str = "nats") -> str:
        """Means over seeds at each lambda, as lines of text: heads, body, `columns`, and how far the field `y` (in `unit`) is
        above the control."""
        cells = "".join(f"{name:>11}" for name in columns)
        lines = [f"{'means over seeds':<26} {'heads':>6} {'body':>11}{cells}   {unit} above the control"]
        for kind in KINDS:
            for index, mean in enumerate(self.mean(kind)):
                sweeps = (self.points[seed, kind] for seed in self.seeds)
                rises = [getattr(points[index], y) - getattr(points[0], y) for points in sweeps]
                cells = "".join(f"{text(mean):>11}" for text in columns.values())
                lines.append(f"{KIND_NAMES[kind]:<14} lambda {mean.lam:<5g}{mean.heads:>6.1f} {mean.body_parameters:>11,.0f}"
                             f"{cells}   {describe(rises) if index else ''}".rstrip())
        return "\n".join(lines)

    def as_dict(self) -> dict[str, dict]:
        """Data of a figure: for each kind the baseline and the curve (means), and the points of each seed."""
        models = {}
        for kind in KINDS:
            models[kind] = {"baseline": self.mean_baseline(kind).as_dict()} if self.baselines else {}
            models[kind] |= {"mean": [mean.as_dict() for mean in self.mean(kind)],
                             "seeds": [[point.as_dict() for point in self.points[seed, kind]] for seed in self.seeds]}
        return models


def _point(run: Run) -> Point:
    point = Point.of_run(run)
    return replace(point, test_bits=bits_per_character(run)) if run.config.data.tokens == "characters" else point
