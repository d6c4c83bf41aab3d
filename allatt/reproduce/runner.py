"""The strict runner behind `make reproduce`: which notebooks, with which parameters, in which order, what came of them.

papermill only warns of a parameter that no cell knows, and stops at the first failure. Here a wrong parameter stops
everything before anything runs, and a failure stops only the notebooks that need the failed one. A notebook that has
been executed from the same sources, with the same parameters, and whose figures are still there, is not executed again.

State lies in .allatt/reproduce/<scale>-<corpus>-seed<seed>/: the executed notebooks, and status.json. With several seeds,
notebooks that compare them have a folder of their own beside it, as have their figures; others are what they are with one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from allatt.config import AllattError, check
from allatt.data.corpora import CORPORA, locate
from allatt.figures import figures_folder
from allatt.paper import scales
from allatt.reproduce.execute import Outcome, execute, headline
from allatt.reproduce.parameters import bind, defaults, parse
from allatt.system import paths
from allatt.system.files import checksum, write_json

NEEDS = {
    "01": ("00",), "03": ("00",), "04": ("03",), "05": ("03",), "06": ("03",), "07": ("03",), "08": ("07",),
    "09": ("05",), "10": ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "11", "12", "13"),
    "11": ("03",), "12": ("00",), "13": ("00",),
}
"""For each notebook, those whose runs or figures it reads: it comes after them, and is skipped where one of them fails."""


LONG = ("11", "12", "13")
"""Notebooks that are left out if the study is not complete (`Study.is_complete`), unless they are asked for."""


def find(folder: Path, numbers: str = "", needs: dict[str, tuple[str, ...]] = NEEDS) -> list[Path]:
    """The notebooks NN_name.ipynb of a folder as they are to be executed; `numbers`, e.g. "05 07", chooses some.

    In the order of their numbers, but that one that needs others comes after them.
    """
    found = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    check(bool(found), f"there are no notebooks in {folder}; run this in a checkout of allatt")
    wanted = [number.zfill(2) for number in numbers.replace(",", " ").split()]
    unknown = [number for number in wanted if number not in found]
    check(not unknown, f"there is no notebook {', '.join(unknown)}; choose from {' '.join(found)}")
    waiting = {number: path for number, path in found.items() if number in wanted or not wanted}
    ordered = []
    while waiting:
        ready = next(number for number in waiting if waiting.keys().isdisjoint(needs.get(number, ())))
        ordered.append(waiting.pop(ready))
    return ordered


@dataclass(frozen=True)
class Place:
    """Where the executed copy of a notebook and its status are, and where its figures."""

    state: Path
    figures: Path


def target(scale: str, corpus: str, seed: int, seeds: int = 1) -> Path:
    """The folder of the executed notebooks and their status."""
    name = corpus or "default"
    if name not in CORPORA and corpus:
        name = f"{Path(corpus).name}-{hashlib.sha256(corpus.encode()).hexdigest()[:8]}"
    return paths.home() / "reproduce" / (f"{scale}-{name}-seed{seed}" + (f"-{seeds}seeds" if seeds > 1 else ""))


def fingerprint(notebook: Path, parameters: dict[str, Any], text: dict[str, str]) -> str:
    """Checksum of all that an executed notebook follows from: cells, parameters, allatt's sources, torch, `text`.

    `text`: checksums of a corpus that was chosen by CORPUS, for one's own may change under the same name.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [[cell["cell_type"], cell["source"]] for cell in cells]
    parts += [parameters, text, importlib.metadata.version("torch"), sources()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sources() -> dict[str, str]:
    """Checksum of every module of allatt, sub-folders included."""
    return {str(path.relative_to(paths.PACKAGE)): checksum(path) for path in paths.modules()}


def reproduce(scale: str = "auto", corpus: str = "", seed: int = 0, seeds: int = 1, numbers: str = "", params: str = "",
              force: bool = False, folder: Path | None = None, needs: dict[str, tuple[str, ...]] = NEEDS,
              say: Callable[..., None] = print, stop_when: Callable[[], bool] = lambda: False) -> bool:
    """Execute the notebooks of `folder`/notebooks that are not up to date; True if none failed.

    `corpus` "" leaves the choice to the notebooks, `numbers` "" takes all (but LONG), `params` is "name=value ...". `seeds`
    goes to the notebooks that have such a parameter; the others show one. `stop_when` is asked while a notebook runs.
    AllattError, before anything runs, where a choice is wrong or another process is at it.
    """
    for package in ("papermill", "ipykernel"):
        check(importlib.util.find_spec(package) is not None,
              f"notebooks need the package {package}; install them: pip install -e '.[notebooks]'")
    from allatt.paper.study import Study  # imports torch, which `status` does without

    folder = folder or paths.repository()
    scale, asked = scales.resolve(scale), scale
    study = Study(scale, seed=seed, count=seeds)
    notebooks = find(folder / "notebooks", numbers, needs)
    left_out = [] if numbers or study.is_complete else [path for path in notebooks if path.name[:2] in LONG]
    notebooks = [path for path in notebooks if path not in left_out]
    # Notebooks run in their own folder, so a folder of text is named in full.
    full = corpus if not corpus or corpus in CORPORA else str(Path(corpus).expanduser().resolve())
    chosen = {"scale": scale, "seed": str(seed)} | ({"corpus": full} if corpus else {})
    shown = {path.stem: seeds if "seeds" in defaults(path) else 1 for path in notebooks}
    if seeds > 1:
        check(max(shown.values()) > 1, f"SEEDS is {seeds}, and notebook {', '.join(path.name[:2] for path in notebooks)} shows "
                                       "one seed (no parameter seeds); leave SEEDS out, or choose others")
        chosen["seeds"] = str(seeds)
    parameters = bind(notebooks, chosen | parse(params))
    text = locate(corpus).sha256 if corpus else {}
    marks = {path.stem: fingerprint(path, parameters[path.stem], text) for path in notebooks}
    places = {stem: Place(target(scale, full, seed, n), figures_folder(Study(scale, full, seed, n).folder))
              for stem, n in shown.items()}
    with ExitStack() as locks:
        for state in sorted({place.state for place in places.values()}):
            state.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(_lock(state).acquire(timeout=1))  # `status` holds it for a moment
            except Timeout:
                raise AllattError(f"another process is reproducing {state.name}; wait until it ends") from None
        if asked == "auto":
            say(f"SCALE=auto: {scale}, since torch sees {'a' if scale == 'gpu' else 'no'} GPU")
        say(f"{len(notebooks)} notebook{'s' * (len(notebooks) > 1)} at scale {scale}, "
            f"{f'seed {seed}' if seeds == 1 else f'seeds {seed} to {study.seeds[-1]}'}, corpus {corpus or 'of the scale'}; "
            f"executed ones go to {_listed(place.state for place in places.values())}")
        if left_out:
            say(f"Left out, since they take long: {', '.join(path.stem for path in left_out)}; SEEDS=3 runs them, or NOTEBOOKS="
                f"\"{' '.join(path.name[:2] for path in left_out)}\"")
        return Runner(places, needs, say, stop_when).run(notebooks, parameters, marks, force)


class Runner:
    """Executes notebooks one after the other, and keeps the status.json of their places."""

    def __init__(self, places: dict[str, Place], needs: dict, say: Callable, stop_when: Callable[[], bool]):
        self.places, self.needs, self.say, self.stop_when = places, needs, say, stop_when
        self.status = {place.state: read_status(place.state) for place in places.values()}

    def run(self, notebooks: list[Path], parameters: dict[str, dict], marks: dict[str, str], force: bool) -> bool:
        """All notebooks, in order; True if none failed."""
        began, bad, width = time.monotonic(), {}, max(len(path.stem) for path in notebooks)
        for count, path in enumerate(notebooks, start=1):
            prefix = f"[{count:2}/{len(notebooks)}] {path.stem:<{width}}"
            cause = next((bad[n] for n in self.needs.get(path.name[:2], ()) if n in bad), None)
            if cause:
                entry = {"state": "skipped", "headline": f"needs {cause}, which failed"}
                self.say(f"{prefix} skipped: {entry['headline']}", flush=True)
                bad[path.name[:2]] = cause
                self._note(path.stem, entry)
                continue
            mark = marks[path.stem]
            if not force and self._up_to_date(path, mark):
                self.say(f"{prefix} unchanged | {self._entry(path.stem)['headline']}", flush=True)
                continue
            entry = self._execute(path, parameters[path.stem], mark, prefix)
            if entry["state"] == "failed":
                bad[path.name[:2]] = path.stem
        states = [self._entry(path.stem)["state"] for path in notebooks]
        counts = ", ".join(f"{states.count(s)} {s}" for s in ("done", "failed", "skipped") if s in states)
        figures = _listed(self.places[path.stem].figures for path in notebooks)
        self.say(f"{counts} in {duration(time.monotonic() - began)}; figures: {figures}", flush=True)
        return not bad

    def _up_to_date(self, path: Path, mark: str) -> bool:
        """Whether it is done, from the same sources, later than all that it needs, and its figures are there."""
        entry, place = self._entry(path.stem), self.places[path.stem]
        if entry.get("state") != "done" or entry["fingerprint"] != mark or not (place.state / path.name).exists():
            return False
        needs = self.needs.get(path.name[:2], ())
        known = {}  # what it needs may be in the other place; where it is in both, the own one counts
        for entries in (*self.status.values(), self.status[place.state]):
            known |= entries
        before = [e.get("finished", 0) for stem, e in known.items() if stem[:2] in needs]
        figures = [(place.figures / name, sha) for name, sha in entry["figures"].items()]
        intact = all(path.exists() and checksum(path) == sha for path, sha in figures)
        return intact and max(before, default=0) <= entry["finished"]

    def _execute(self, path: Path, parameters: dict, mark: str, prefix: str) -> dict:
        self._note(path.stem, {"state": "running", "started": time.time()})
        live = self.say is print and sys.stdout.isatty()
        self.say(prefix, end=" " if live else " ... ", flush=True)
        place = self.places[path.stem]
        executed, old, seen = place.state / path.name, _stats(place.figures), [0]

        def tick(seconds: float) -> bool:
            if live and int(seconds) > seen[0]:
                seen[0] = int(seconds)
                self.say(f"\r{prefix} {duration(seen[0])} ", end="", flush=True)
            return self.stop_when()

        try:
            outcome = execute(path, executed, parameters, tick)
        except BaseException:
            self.say()  # what is said of it begins on a line of its own
            raise
        written = {name for name, stat in _stats(place.figures).items() if old.get(name) != stat}
        entry = {"state": "failed" if outcome.error else "done", "seconds": round(outcome.seconds, 1),
                 "peak_mb": outcome.peak_mb, "finished": time.time(), "fingerprint": mark,
                 "figures": {name: checksum(place.figures / name) for name in sorted(written)},
                 "headline": outcome.error or headline(executed)}
        self._note(path.stem, entry)
        self.say(("\r" + prefix + " " if live else "") + _line(outcome, entry, executed), flush=True)
        return entry

    def _entry(self, stem: str) -> dict:
        return self.status[self.places[stem].state].get(stem, {})

    def _note(self, stem: str, entry: dict) -> None:
        state = self.places[stem].state
        self.status[state][stem] = entry
        write_json(state / "status.json", self.status[state])


def _line(outcome: Outcome, entry: dict, executed: Path) -> str:
    if outcome.error:
        return f"failed after {duration(outcome.seconds)}: {outcome.error} (see {_short(executed)})"
    return f"done {duration(outcome.seconds)}, {outcome.peak_mb} MB | {entry['headline']}"


def _stats(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> (inode, time) of every figure: a file that is written anew differs, even with the same content."""
    files = folder.rglob("*") if folder.is_dir() else ()
    return {str(f.relative_to(folder)): (f.stat().st_ino, f.stat().st_mtime_ns) for f in files
            if f.is_file() and not f.name.startswith(".")}


def read_status(state: Path) -> dict[str, dict]:
    """status.json of a target, by notebook; empty where there is none or it cannot be read."""
    try:
        return json.loads((state / "status.json").read_text())
    except (OSError, ValueError):
        return {}


def status(scale: str = "") -> str:
    """The table of `make status`: each notebook's state, time, peak memory and headline, of every target."""
    names = f"{scales.resolve(scale)}-*" if scale else "*"
    folders = sorted(path.parent for path in (paths.home() / "reproduce").glob(f"{names}/status.json"))
    if not folders:
        return "nothing has been reproduced yet; run `make reproduce`"
    lines = []
    for folder in folders:
        entries = read_status(folder)
        width = max(map(len, ["notebook", *entries]))
        lines += [folder.name, f"  {'notebook':<{width}} {'state':<11} {'time':>12} {'memory':>9}  headline"]
        for stem, entry in sorted(entries.items()):
            state = "interrupted" if entry["state"] == "running" and not _locked(folder) else entry["state"]
            seconds, peak = entry.get("seconds"), entry.get("peak_mb")
            lines.append(f"  {stem:<{width}} {state:<11} {duration(seconds) if seconds is not None else '':>12} "
                         f"{f'{peak} MB' if peak else '':>9}  {entry.get('headline', '')}".rstrip())
    return "\n".join(lines)


def _lock(state: Path) -> FileLock:
    return FileLock(state.parent / f"{state.name}.lock")


def _locked(state: Path) -> bool:
    try:
        with _lock(state).acquire(timeout=0):
            return False
    except Timeout:
        return True


def duration(seconds: float) -> str:
    """12.3 s, 4 min 5 s, 2 h 3 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if isinstance(seconds, float) else f"{seconds} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(dict.fromkeys(map(_short, paths)))


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
