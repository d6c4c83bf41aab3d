"""Commands that carry finished runs from one machine to another: `pack` and `unpack`."""

import argparse
from pathlib import Path

from allatt.cli.options import add_command
from allatt.config import check


def add_commands(commands) -> None:
    """Add `pack` and `unpack`."""
    parser = add_command(commands, "pack", pack, "write finished runs as one small JSON file each: all but their weights")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids of finished runs, or the start of them (default: all)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for ID.json")

    parser = add_command(commands, "unpack", unpack, "read packed runs, such as those of figures/SCALE/runs, as finished runs")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folders with ID.json files, or such files")


def pack(options: argparse.Namespace) -> None:
    """Write the records of runs; none if one of them would replace the record of another training."""
    from allatt.runs import Run, find
    from allatt.runs.records import outcome, read_record, write_record
    from allatt.system.paths import home

    out = Path(options.out)
    check(options.out != "", "--out is empty; name a folder")
    check(not out.exists() or out.is_dir(), f"--out {out} is a file; name a folder")
    results = sorted((home() / "runs").glob("*/result.json"))
    runs = list(map(find, options.runs)) if options.runs else [Run(path.parent) for path in results]
    runs = list({run.id: run for run in runs}.values())  # a run may be named twice
    check(bool(runs), f"there are no finished runs in {home() / 'runs'}")
    for run in runs:
        path = out / f"{run.id}.json"
        if path.exists():
            here, there = outcome(run.result), outcome(read_record(path)[1]["result"])
            check(here == there, f"{path} has {there}, but run {run.id} has {here} here; remove it, or name another folder")
    for run in runs:
        write_record(run, out)
    print(f"{len(runs)} runs in {out}")


def unpack(options: argparse.Namespace) -> None:
    """Make the folders of runs from their records."""
    from allatt.runs.records import restore
    from allatt.system.paths import home

    paths = []
    for name in options.folders:
        folder = Path(name)
        check(name != "" and folder.exists(), f"there is no {name!r}; give folders with the records of runs, or such files")
        paths += sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    check(bool(paths), "these folders hold no records of runs (ID.json)")
    made = sum(map(restore, paths))
    print(f"{made} runs restored in {home() / 'runs'}, without weights; {len(paths) - made} were there already")
