"""Runs within a time limit: no run is begun that does not fit, and a run that is still training at the end is saved."""

import time
from collections.abc import Iterator
from dataclasses import replace

from allatt.config import RunConfig, check
from allatt.runs.parallel import missing, work
from allatt.runs.run import Busy, Run, get_or_run
from allatt.system.checkpoint import has_checkpoint, steps_done
from allatt.system.machine import OVER, Interrupted, Machine
from allatt.system.paths import home


class Budget:
    """The time that is left for several runs, one after the other.

    A run's time is estimated from its work and the speed of the runs before it; the very first run is begun in any case.
    """

    def __init__(self, minutes: float, machine: Machine):
        check(0 < minutes <= 60 * 24 * 366, f"--minutes is {minutes}; it must be positive, and a year at most")
        self.end = time.time() + 60 * minutes
        self.machine = replace(machine, until=self.end)
        """The machine, whose runs save themselves and stop when the time is up."""
        self.seconds_per_work: dict[str, float] = {}
        """Of the fastest run so far, by kind of model."""
        self.left_out: list[str] = []
        """Names of the runs that were not begun, or not finished."""

    def runs(self, configs: list[RunConfig]) -> Iterator[tuple[RunConfig, Run]]:
        """Each config for whose run there is time, with its run. Runs that another process trains come last, so two processes
        can share a list."""
        busy = []
        for config in configs:
            try:
                found = self.run(config, wait=False)
            except Busy:
                busy.append(config)
                continue
            if found:
                yield config, found
        for config in busy:
            found = self.run(config)
            if found:
                yield config, found

    def run(self, config: RunConfig, wait: bool = True) -> Run | None:
        """The run of this config, read or trained; None if there is not enough time. Busy if another process trains it
        and `wait` is False."""
        to_do, begin = missing([config]), time.time()
        continued = any(has_checkpoint(home() / "runs" / run.id) for run in to_do)  # then its time is not that of all its steps
        needed = sum(map(_left, to_do)) * self._rate(config.model.kind)
        if to_do and begin + needed >= self.end:
            self.left_out.append(config.name)
            return None
        try:
            found, trained_here = self._train(config, wait)
        except Interrupted as error:
            if error.number != OVER:
                raise
            self.left_out.append(f"{config.name} ({error.saved})")
            return None
        if to_do and trained_here and not continued:  # waiting for another process is not work
            rate = (time.time() - begin) / sum(map(work, to_do))
            self.seconds_per_work[config.model.kind] = min(rate, self.seconds_per_work.get(config.model.kind, rate))
        return found

    def _train(self, config: RunConfig, wait: bool) -> tuple[Run, bool]:
        """The run, and whether no other process has trained it."""
        try:
            return get_or_run(config, self.machine, wait=False), True
        except Busy:
            if not wait:
                raise
            return get_or_run(config, self.machine, wait=True), False

    def _rate(self, kind: str) -> float:
        """Seconds per multiply-add: of this kind of model, else of the fastest other kind, else zero."""
        return self.seconds_per_work.get(kind) or min(self.seconds_per_work.values(), default=0.0)


def _left(config: RunConfig) -> float:
    """Multiply-adds that an unfinished run still needs."""
    return work(config) * (1 - steps_done(home() / "runs" / config.id) / max(1, config.train.steps))
