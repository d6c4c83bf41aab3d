"""The strict runner behind `make reproduce`: chooses, orders, checks and executes notebooks, and records the results.

A wrong parameter stops everything before anything runs (papermill only warns); a failure stops only the notebooks that need
the failed one. A notebook is not executed again if its sources and parameters are unchanged and its figures are still there.

Executed notebooks and status.json are in .allatt/reproduce/<scale>-<corpus>-seed<seed>/. With several seeds, notebooks that
compare seeds have a separate folder there, and one for their figures; the others are the same as with one seed.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import re
import sys
import time
from collections import ChainMap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from allatt.config import AllattError, check
from allatt.data.corpora import full_name, locate
from allatt.figures import figures_folder
from allatt.paper import scales
from allatt.paper.study import Study, available_corpus
from allatt.reproduce.execute import execute, headline, left_out
from allatt.reproduce.parameters import bind, defaults, parse
from allatt.reproduce.status import duration, lock, read_status, state_folder
from allatt.system import paths
from allatt.system.files import checksum, write_json

NEEDS = {
    "01": ("00",), "03": ("00",), "04": ("03",), "05": ("03",), "06": ("03",), "07": ("03",), "08": ("07",),
    "09": ("05",), "10": ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "11", "12", "13", "14", "15"),
    "11": ("03",), "12": ("00",), "13": ("00",),
}
"""For each notebook, those whose runs or figures it reads: it is executed after them, and skipped if one of them fails."""

LONG = ("11", "12", "13")
"""Notebooks that are left out if the study is not complete (`Study.is_complete`), unless they are chosen by number."""
VARIANTS = {"12": "characters", "13": "words"}
"""Notebooks on tokens of another kind, and by default on another text."""
READ_TEXT = ("00", *VARIANTS)
"""Notebooks that tokenize the text anew, or count in it; with a packed corpus, which has ids but no text, they are left out."""


@dataclass(frozen=True)
class Job:
    """A notebook to execute: what its result depends on, and where the result goes."""

    notebook: Path
    parameters: dict[str, Any]
    fingerprint: str
    state: Path
    """Folder of the executed copy and of status.json."""
    figures: Path
    """Folder of its figures."""

    @property
    def name(self) -> str:
        """The file's name without .ipynb, as in status.json; it begins with the two digits of the notebook's number."""
        return self.notebook.stem


def select(folder: Path, numbers: str = "", needs: dict[str, tuple[str, ...]] = NEEDS) -> list[Path]:
    """The notebooks NN_name.ipynb of a folder in order of execution; `numbers`, e.g. "05 07", chooses among them.

    The order is that of their numbers, except that a notebook comes after those that it needs.
    """
    by_number = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    check(bool(by_number), f"there are no notebooks in {folder}; run this in a checkout of allatt")
    wanted = [number.zfill(2) for number in numbers.replace(",", " ").split()]
    unknown = [number for number in wanted if number not in by_number]
    check(not unknown, f"there is no notebook {', '.join(unknown)}; choose from {' '.join(by_number)}")
    waiting = {number: path for number, path in by_number.items() if number in wanted or not wanted}
    ordered = []
    while waiting:
        ready = next(number for number in waiting if waiting.keys().isdisjoint(needs.get(number, ())))
        ordered.append(waiting.pop(ready))
    return ordered


def fingerprint(notebook: Path, parameters: dict[str, Any], text: dict[str, str]) -> str:
    """Checksum of everything that determines an executed notebook: cells, parameters, allatt's sources, torch, `text`.

    `text`: from `_text`, since a user's own text may change under the same name, and a stand-in may be replaced.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [[cell["cell_type"], cell["source"]] for cell in cells]
    parts += [parameters, text, importlib.metadata.version("torch"), sources()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sources() -> dict[str, str]:
    """Checksum of every module of allatt, including sub-folders."""
    return {str(path.relative_to(paths.PACKAGE)): checksum(path) for path in paths.PACKAGE.rglob("*.py")}


def reproduce(scale: str = "auto", corpus: str = "", seed: int = 0, seeds: int = 1, notebooks: str = "", params: str = "",
              force: bool = False, folder: Path | None = None, needs: dict[str, tuple[str, ...]] = NEEDS,
              log: Callable[..., None] = print, stop_when: Callable[[], bool] = lambda: False) -> bool:
    """Execute the notebooks of `folder`/notebooks that are not up to date; True if none failed.

    `corpus` "" leaves the choice to the notebooks, `notebooks` "" takes all (except LONG), `params` is "name=value ...".
    `seeds` goes to the notebooks with that parameter; the others use `seed` alone. `stop_when` is polled while a notebook
    runs. AllattError, before anything runs, if an option is invalid or another process holds the lock.
    """
    for package in ("papermill", "ipykernel"):
        check(importlib.util.find_spec(package) is not None,
              f"notebooks need the package {package}; install them: pip install -e '.[notebooks]'")
    is_auto, scale = scale == "auto", scales.resolve(scale)
    study = Study(scale, seed=seed, count=seeds)
    selected = select((folder or paths.repository()) / "notebooks", notebooks, needs)
    left_out = [path for path in selected if path.name[:2] in LONG and not notebooks and not study.is_complete]
    without_text = [path for path in selected if path.name[:2] in READ_TEXT and corpus and not locate(corpus).files]
    check(not (notebooks and without_text), f"notebook {', '.join(path.name[:2] for path in without_text)} reads the text "
                                            f"itself, and {corpus} is packed: it has no text; leave that notebook out")
    jobs = _jobs([path for path in selected if path not in left_out + without_text], scale, corpus, seed, seeds, params)
    with ExitStack() as locks:
        for state in sorted({job.state for job in jobs}):
            state.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(lock(state).acquire(timeout=1))  # `status` holds it for a moment
            except Timeout:
                raise AllattError(f"another process is reproducing {state.name}; wait until it ends") from None
        if is_auto:
            log(f"SCALE=auto: {scale}, because torch sees {'a' if scale == 'gpu' else 'no'} GPU")
        log(f"{len(jobs)} notebook{'s' * (len(jobs) > 1)}: scale {scale}, "
            f"{f'seed {seed}' if seeds == 1 else f'seeds {seed} to {study.seeds[-1]}'}, "
            f"{f'corpus {corpus}' if corpus else 'default corpus'}; executed copies: {_relative(*(job.state for job in jobs))}")
        if left_out:
            log(f"Left out because they take long: {', '.join(path.stem for path in left_out)}; run them with SEEDS=3 or "
                f"NOTEBOOKS=\"{' '.join(path.name[:2] for path in left_out)}\"")
        if without_text:
            log(f"Left out because a packed corpus has no text: {', '.join(path.stem for path in without_text)}")
        return Runner(jobs, needs, log, stop_when).run(force)


def _jobs(notebooks: list[Path], scale: str, corpus: str, seed: int, seeds: int, params: str) -> list[Job]:
    """The notebooks with their parameters checked and their folders named; see `reproduce`."""
    # Notebooks run in their own folder, so a user's text needs its full path.
    full_corpus = full_name(corpus)
    values = {"scale": scale, "seed": str(seed)} | ({"corpus": full_corpus} if corpus else {})
    seeds_of = {path: seeds if "seeds" in defaults(path) else 1 for path in notebooks}
    if seeds > 1:
        check(max(seeds_of.values()) > 1,
              f"SEEDS is {seeds}, but notebook {', '.join(path.name[:2] for path in notebooks)} uses one seed "
              "(it has no parameter seeds); leave SEEDS out, or choose others")
        values["seeds"] = str(seeds)
    parameters = bind(notebooks, values | parse(params))
    return [Job(path, parameters[path.stem], fingerprint(path, parameters[path.stem], _text(path, scale, corpus)),
                state_folder(scale, full_corpus, seed, number),
                figures_folder(Study(scale, full_corpus, seed, number).folder))
            for path, number in seeds_of.items()]


def _text(notebook: Path, scale: str, corpus: str) -> dict[str, str]:
    """How a fingerprint identifies the text: by the checksums of CORPUS, or by the name of a variant's text, which may be a
    stand-in until that text can be downloaded."""
    if corpus:
        return locate(corpus).sha256
    tokens = VARIANTS.get(notebook.name[:2])
    return {"corpus": available_corpus(f"{scale}-{tokens}")} if f"{scale}-{tokens}" in scales.SCALES else {}


class Runner:
    """Executes jobs one after the other, and keeps the status.json of their folders."""

    def __init__(self, jobs: list[Job], needs: dict, log: Callable, stop_when: Callable[[], bool]):
        self.jobs, self.needs, self.log, self.stop_when = jobs, needs, log, stop_when
        self.status = {job.state: read_status(job.state) for job in jobs}
        # What notebooks of several seeds need may have been run with one seed, in a folder without the number of seeds.
        single = {state.with_name(re.sub(r"-\d+seeds$", "", state.name)) for state in self.status} - set(self.status)
        self.single = [read_status(state) for state in single]

    def run(self, force: bool) -> bool:
        """Run the jobs in order, with `force` even those that are up to date; True if none failed."""
        start, width = time.monotonic(), max(len(job.name) for job in self.jobs)
        failed: dict[str, str] = {}  # number of a failed or skipped notebook -> name of the one that failed
        for count, job in enumerate(self.jobs, start=1):
            prefix, number = f"[{count:2}/{len(self.jobs)}] {job.name:<{width}}", job.name[:2]
            cause = next((failed[needed] for needed in self.needs.get(number, ()) if needed in failed), None)
            if cause:
                self._record(job, {"state": "skipped", "headline": f"needs {cause}, which failed"})
                self.log(f"{prefix} skipped: needs {cause}, which failed", flush=True)
                failed[number] = cause
            elif not force and self._is_up_to_date(job):
                self.log(f"{prefix} unchanged | {self._entry(job)['headline']}", flush=True)
            elif not self._execute(job, prefix):
                failed[number] = job.name
        states = [self._entry(job)["state"] for job in self.jobs]
        counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "failed", "skipped") if state in states)
        figures = _relative(*(job.figures for job in self.jobs))
        self.log(f"{counts} in {duration(time.monotonic() - start)}; figures: {figures}", flush=True)
        return not failed

    def _is_up_to_date(self, job: Job) -> bool:
        """Whether a job is done, with the same fingerprint and after everything it needs, and its figures are intact."""
        entry, executed = self._entry(job), job.state / job.notebook.name
        if entry.get("state") != "done" or entry["fingerprint"] != job.fingerprint or not executed.exists():
            return False
        # A notebook that it needs may be in another folder; one in its own folder takes precedence.
        entries = ChainMap(self.status[job.state], *self.status.values(), *self.single)
        needs = self.needs.get(job.name[:2], ())
        if any(name[:2] in needs and other.get("finished", 0) > entry["finished"] for name, other in entries.items()):
            return False
        figures = {job.figures / name: sha256 for name, sha256 in entry["figures"].items()}
        return all(path.exists() and checksum(path) == sha256 for path, sha256 in figures.items())

    def _execute(self, job: Job, prefix: str) -> bool:
        """Execute a notebook and record the result; True if it did not fail."""
        self._record(job, {"state": "running", "started": time.time()})
        is_live = self.log is print and sys.stdout.isatty()
        self.log(prefix, end=" " if is_live else " ... ", flush=True)
        before, executed = _file_stamps(job.figures), job.state / job.notebook.name

        def tick(seconds: float) -> bool:
            if is_live:
                self.log(f"\r{prefix} {duration(int(seconds))} ", end="", flush=True)
            return self.stop_when()

        try:
            outcome = execute(job.notebook, executed, job.parameters, tick)
        except BaseException:
            self.log()  # so that the error message starts on a new line
            raise
        written = {name for name, stamp in _file_stamps(job.figures).items() if before.get(name) != stamp}
        summary = outcome.error or headline(executed)
        # If cells were left out, the notebook is executed again the next time: the weights may be here by then.
        fingerprint = "" if outcome.error or left_out(executed) else job.fingerprint
        self._record(job, {
            "state": "failed" if outcome.error else "done", "seconds": round(outcome.seconds, 1),
            "peak_mb": outcome.peak_mb, "finished": time.time(), "fingerprint": fingerprint,
            "figures": {name: checksum(job.figures / name) for name in sorted(written)}, "headline": summary})
        time_taken = duration(outcome.seconds)
        result = f"done {time_taken}, {outcome.peak_mb} MB | {summary}"
        if outcome.error:
            result = f"failed after {time_taken}: {summary} (see {_relative(executed)})"
        self.log((f"\r{prefix} " if is_live else "") + result, flush=True)
        return not outcome.error

    def _entry(self, job: Job) -> dict:
        return self.status[job.state].get(job.name, {})

    def _record(self, job: Job, entry: dict) -> None:
        self.status[job.state][job.name] = entry
        write_json(job.state / "status.json", self.status[job.state])


def _file_stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> (inode, time) of every file: a file that is written again differs, even if its content is the same."""
    return {str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.rglob("*")
            if file.is_file() and not file.name.startswith(".")}


def _relative(*paths: Path) -> str:
    """Each path once, relative to the current folder if it lies inside, separated by commas."""
    here = Path.cwd()
    return ", ".join(dict.fromkeys(str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths))
