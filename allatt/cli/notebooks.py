"""Commands about notebooks and results: `reproduce`, `bench`, `status`, `figures`, `report` and `notebooks`."""

import argparse
import os
import shlex
from pathlib import Path

from allatt.cli.options import SCALES, add_command
from allatt.config import check


def add_commands(commands) -> None:
    """Add `reproduce`, `bench`, `status`, `figures`, `report` and `notebooks`."""
    parser = add_command(commands, "reproduce", reproduce, "run the notebooks, which make every figure and table")
    parser.add_argument("--scale", default="auto", help=f"auto, {SCALES} (default: %(default)s)")
    parser.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="number of seeds, in notebooks that compare seeds (default: %(default)s)")
    parser.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    parser.add_argument("--params", default="", metavar="'lam=0.1'", help="parameters of the notebooks")
    parser.add_argument("--force", action="store_true", help="execute unchanged notebooks too")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when the calling process (make) is gone")

    parser = add_command(commands, "bench", bench, "compare speed and memory with the reference path and x-transformers")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=24, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--sections", default="", metavar="'paths removal'", help="only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to check that everything runs")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="file for the results (default: in figures/bench)")

    parser = add_command(commands, "status", status, "show each notebook's state, time, peak memory and headline number")
    parser.add_argument("--scale", default="", help=f"auto, {SCALES} (default: all scales that were used)")

    parser = add_command(commands, "figures", figures, "redraw the figures from their results, without training")
    parser.add_argument("--scale", default="", help=f"auto, {SCALES} (default: all scales that have figures)")

    parser = add_command(commands, "report", report, "write the report of a scale's claims, as one HTML file")
    parser.add_argument("--scale", default="laptop", help=f"{SCALES} (default: %(default)s)")
    parser.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="number of seeds (default: %(default)s)")

    parser = add_command(commands, "notebooks", notebooks, "execute the committed notebooks in place and clean them")
    parser.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    parser.add_argument("--links", action="store_true", help="only write the links between them (and badges), execute nothing")


def reproduce(options: argparse.Namespace) -> int:
    """Execute the notebooks that are not up to date; exit status 1 if one failed."""
    from allatt.reproduce import runner

    parent = os.getppid()
    succeeded = runner.reproduce(
        options.scale, options.corpus, options.seed, options.seeds, options.notebooks, options.params, options.force,
        stop_when=lambda: options.stop_with_parent and os.getppid() != parent)
    return 0 if succeeded else 1


def bench(options: argparse.Namespace) -> None:
    """Measure, print each section's table, and save the results."""
    from allatt.benchmarks import bench, report
    from allatt.system.files import check_writable
    from allatt.system.machine import choose_device

    check(options.device in ("auto", "cuda", "cpu"), f"--device is {options.device!r}; choose auto, cuda or cpu")
    check(options.rounds >= 1, f"--rounds is {options.rounds}; it must be 1 or more")
    sections = tuple(options.sections.split()) or bench.SECTIONS
    if options.out:
        check_writable(options.out)
    results = bench.run(choose_device(options.device), options.rounds, sections, options.quick,
                        log=lambda text: print(text + "\n", flush=True))
    print(report.save(results, options.out))


def status(options: argparse.Namespace) -> None:
    """Print the table of executed notebooks."""
    from allatt.reproduce.status import status_table

    print(status_table(options.scale))


def figures(options: argparse.Namespace) -> None:
    """Redraw the figures of one scale, or of all, and print the paths of the files."""
    from allatt.figures import redraw
    from allatt.paper import scales
    from allatt.system import paths

    names = [scales.resolve(options.scale)] if options.scale else scales.NAMES
    # Folders are named laptop, or laptop-text8, laptop-seed3, laptop-3seeds for other corpora and seeds.
    folders = [folder for name in names for folder in sorted(paths.figures().glob("*")) if folder.name.split("-")[0] == name]
    drawings = [path for folder in folders for path in redraw(folder)]
    searched = paths.figures() / names[0] if options.scale else paths.figures()
    check(bool(drawings), f"there are no results in {searched}; run `make reproduce` first")
    print("\n".join(os.path.relpath(path) for path in drawings))


def report(options: argparse.Namespace) -> None:
    """Write the report from the claims.json of these seeds, and print its path."""
    from allatt.data.corpora import full_name
    from allatt.figures import figures_folder
    from allatt.paper import scales
    from allatt.paper.reproduction_report import write_report
    from allatt.paper.study import Study

    scale = scales.resolve(options.scale)
    # `reproduce` names a folder of text by its full path; `claim_table --judge` as it was given.
    folders = [figures_folder(Study(scale, corpus, options.seed, options.seeds).folder)
               for corpus in (options.corpus, full_name(options.corpus))]
    folder = next((found for found in folders if (found / "claims.json").is_file()), folders[-1])
    parameters = {"SCALE": scale, "CORPUS": options.corpus, "SEED": options.seed, "SEEDS": options.seeds, "NOTEBOOKS": "10"}
    command = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in parameters.items() if value)
    check((folder / "claims.json").is_file(),
          f"there is no {os.path.relpath(folder / 'claims.json')}; judge the claims first: make reproduce {command}")
    print(os.path.relpath(write_report(folder)))


def notebooks(options: argparse.Namespace) -> None:
    """Execute and clean the committed notebooks in place."""
    from allatt.reproduce import navigation
    from allatt.reproduce.clean_outputs import execute_in_place
    from allatt.reproduce.runner import select
    from allatt.system.paths import repository

    chosen = select(repository() / "notebooks", options.notebooks)
    for path in navigation.update(repository() / "notebooks"):
        print(f"{path.name}: links written")
    for path in [] if options.links else chosen:
        for book in (path, path.parent / "solutions" / path.name):
            if book.is_file():
                execute_in_place(book)
                print(f"{book.relative_to(path.parent)}: executed and cleaned", flush=True)
