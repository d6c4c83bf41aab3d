"""The command line: its options, and how mistakes are told. What a subcommand does is in `allatt.cli.verbs`.

`python -m allatt --help` imports no torch, and nothing but `reproduce` and `notebooks` needs Jupyter.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

from allatt import __version__
from allatt.cli import verbs
from allatt.config import AllattError, DataConfig

KINDS = ("all-attention", "transformer-xl")
FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "your disk quota is used up"}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 (a notebook failed), 2 (a mistake of the user's), 130 (Ctrl-C)."""
    arguments = _parser().parse_args(argv)
    # Before torch is imported: its idle threads spin a moment, then sleep (`allatt.reproduce.execute`).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        status = arguments.handler(arguments)
        sys.stdout.flush()
        return status
    except AllattError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("interrupted; the same command continues where this stopped", 130)
    except BrokenPipeError:  # the reader of our output, e.g. `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in FULL:
            where = f" ({error.filename})" if error.filename else ""
            return _complain(f"{FULL[error.errno]}{where}; free some, then run the same command again: what was "
                             "finished is kept", 2)
        if isinstance(error, PermissionError):
            return _complain(f"{error.filename} may not be written or read; set ALLATT_HOME to a folder that may", 2)
        raise
    except ModuleNotFoundError as error:
        if (error.name or "allatt").startswith("allatt"):
            raise
        return _complain(f"this needs the package {error.name}; install it: pip install -e '.[notebooks]'", 2)
    except Exception as error:
        kind = type(error).__name__  # of torch and safetensors, which may not be imported here
        if kind == "OutOfMemoryError":
            return _complain("the GPU's memory is too small; try --micro-rows 8, then 4 (the result stays the same)", 2)
        if kind == "SafetensorError" and f"os error {errno.ENOSPC}" in str(error):
            return _complain(f"{FULL[errno.ENOSPC]}; free some, then run the same command again: what was finished is kept", 2)
        raise


def _complain(message: str, status: int) -> int:
    print(f"allatt: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="allatt", description="All-attention language models whose heads are pruned: "
                                     "a companion to Shim et al. 2021. `make help` lists the usual ways in.")
    parser.add_argument("--version", action="version", version=f"allatt {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    scale = "smoke, laptop, gpu or paper"

    data = _add(commands, "data", verbs.data, "describe a corpus: size, words, tokens, unknown rate, first lines, licence")
    data.add_argument("--corpus", default=DataConfig.corpus, help="name or folder (default: %(default)s)")
    data.add_argument("--tokens", default=DataConfig.tokens, help="words, subwords, characters (default: %(default)s)")
    data.add_argument("--vocab-size", type=int, default=DataConfig.vocab_size,
                      help="subwords, or at most so many words; words: 0 is no limit (default: %(default)s)")
    data.add_argument("--min-count", type=int, default=DataConfig.min_count,
                      help="words seen less often are <unk> (default: %(default)s)")

    cost = _add(commands, "cost", verbs.cost, "count parameters and multiply-adds, exactly, without building the model")
    cost.add_argument("--scale", default="paper", help=f"{scale} (default: %(default)s)")
    cost.add_argument("--model", default=KINDS[0], help=f"{' or '.join(KINDS)} (default: %(default)s)")
    cost.add_argument("--kept", default="", metavar="8,3,7,...", help="kept heads of each layer (default: all)")
    cost.add_argument("--json", action="store_true", help="print JSON")

    run = _add(commands, "run", verbs.run, "train one model, or read its result if it has been trained")
    run.add_argument("--config", type=Path, metavar="FILE.json", help="a config, like config.json of a run's folder")
    run.add_argument("--scale", default="", help=scale)
    run.add_argument("--model", default="", help=" or ".join(KINDS))
    run.add_argument("--lam", type=float, metavar="LAMBDA", help="train gates from the baseline, with this penalty")
    run.add_argument("--target-kept", type=float, metavar="SHARE",
                     help="train gates from the baseline, until this share of the heads is left: lambda adapts")
    run.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    run.add_argument("--seed", type=int, help="(default: 0)")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
                     help="change one value, e.g. train.steps=100; may be repeated")
    _machine(run)

    experiment = _add(commands, "experiment", verbs.experiment, "train all runs of an experiment of the paper, without Jupyter")
    experiment.add_argument("name", nargs="?", default="", metavar="NAME", help="which, or all; without it, they are listed")
    experiment.add_argument("--scale", default="auto", help=f"auto, {scale} (default: %(default)s)")
    experiment.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    experiment.add_argument("--seed", type=int, default=0, help="the first (default: %(default)s)")
    experiment.add_argument("--seeds", type=int, default=1, metavar="N", help="how many (default: %(default)s)")
    _machine(experiment)

    prune = _add(commands, "prune", verbs.prune, "remove a run's closed heads, and write the smaller model")
    prune.add_argument("run", metavar="RUN", help="the id of a finished run with gates, or how it starts")
    prune.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where model.safetensors goes")

    write = _add(commands, "generate", verbs.generate, "write text with a trained model, its closed heads removed")
    write.add_argument("run", metavar="RUN", help="the id of a finished run, or how it starts; or a folder that prune wrote")
    write.add_argument("--prompt", action="append", metavar="TEXT", help="how a text starts (default: a new line); repeatable")
    for name, value, text in (("length", 100, "tokens to write"), ("temperature", 1.0, "0 takes the likeliest token"),
                              ("top-k", 0, "draw among so many likeliest tokens; 0 is all"),
                              ("top-p", 1.0, "draw among the likeliest tokens with this mass; 1 is all"),
                              ("seed", 0, "of the random numbers"), ("samples", 1, "texts a prompt")):
        write.add_argument(f"--{name}", type=type(value), default=value, help=f"{text} (default: %(default)s)")
    write.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")

    reproduce = _add(commands, "reproduce", verbs.reproduce, "run the notebooks, and make every figure and table")
    reproduce.add_argument("--scale", default="auto", help=f"auto, {scale} (default: %(default)s)")
    reproduce.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    reproduce.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    reproduce.add_argument("--seeds", type=int, default=1, metavar="N",
                           help="compare so many seeds, from --seed on, where a notebook can (default: %(default)s)")
    reproduce.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    reproduce.add_argument("--params", default="", metavar="'lam=0.1'", help="parameters of the notebooks")
    reproduce.add_argument("--force", action="store_true", help="execute also what is unchanged")
    reproduce.add_argument("--stop-with-parent", action="store_true", help="end when the calling process (make) does")

    bench = _add(commands, "bench", verbs.bench, "measure speed and memory, beside the reference path and x-transformers")
    bench.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    bench.add_argument("--rounds", type=int, default=24, help="interleaved rounds (default: %(default)s)")
    bench.add_argument("--sections", default="", metavar="'paths removal'", help="only these (default: all)")
    bench.add_argument("--quick", action="store_true", help="toy shapes: shows that it runs, and nothing else")
    bench.add_argument("--out", type=Path, metavar="FILE.json", help="where results go (default: figures/bench)")

    status = _add(commands, "status", verbs.status, "show each notebook's state, time, peak memory and headline number")
    status.add_argument("--scale", default="", help=f"auto, {scale} (default: all that were used)")
    figures = _add(commands, "figures", verbs.figures, "redraw the figures from their results, without training")
    figures.add_argument("--scale", default="", help=f"auto, {scale} (default: all that have figures)")
    notebooks = _add(commands, "notebooks", verbs.notebooks, "execute the committed notebooks in place, and clean them")
    notebooks.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    return parser


def _machine(parser: argparse.ArgumentParser) -> None:
    """What `run` and `experiment` say of the machine, and of what they print."""
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    parser.add_argument("--micro-rows", type=int, default=0, metavar="ROWS",
                        help="rows at once, where memory is short; changes no result (default: all)")
    parser.add_argument("--compile", default="auto", help="on, off, or auto: torch.compile on a GPU (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add(commands, name: str, handler, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(handler=handler)
    return parser


if __name__ == "__main__":
    sys.exit(main())
