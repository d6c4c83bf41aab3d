"""The command line: one thin subcommand a verb.

`python -m allatt --help` imports no torch, and nothing but `reproduce` and `notebooks` needs Jupyter.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from pathlib import Path

from allatt import __version__
from allatt.config import AllattError, DataConfig, check

KINDS = ("all-attention", "transformer-xl")
FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "your disk quota is used up"}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 (a notebook failed), 2 (a mistake of the user's), 130 (Ctrl-C)."""
    arguments = _parser().parse_args(argv)
    # Before torch is imported: its idle threads spin a moment, then sleep (`allatt.kernel`).
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

    data = _add(commands, "data", _data, "describe a corpus: size, words, tokens, unknown rate, first lines, licence")
    data.add_argument("--corpus", default=DataConfig.corpus, help="name or folder (default: %(default)s)")
    data.add_argument("--tokens", default=DataConfig.tokens, help="words, subwords, characters (default: %(default)s)")
    data.add_argument("--vocab-size", type=int, default=DataConfig.vocab_size,
                      help="subwords, or at most so many words; words: 0 is no limit (default: %(default)s)")
    data.add_argument("--min-count", type=int, default=DataConfig.min_count,
                      help="words seen less often are <unk> (default: %(default)s)")

    cost = _add(commands, "cost", _cost, "count parameters and multiply-adds, exactly, without building the model")
    cost.add_argument("--scale", default="paper", help=f"{scale} (default: %(default)s)")
    cost.add_argument("--model", default=KINDS[0], help=f"{' or '.join(KINDS)} (default: %(default)s)")
    cost.add_argument("--kept", default="", metavar="8,3,7,...", help="kept heads of each layer (default: all)")
    cost.add_argument("--json", action="store_true", help="print JSON")

    run = _add(commands, "run", _run, "train one model, or read its result if it has been trained")
    run.add_argument("--config", type=Path, metavar="FILE.json", help="a config, like config.json of a run's folder")
    run.add_argument("--scale", default="", help=scale)
    run.add_argument("--model", default="", help=" or ".join(KINDS))
    run.add_argument("--lam", type=float, metavar="LAMBDA", help="train gates from the baseline, with this penalty")
    run.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    run.add_argument("--seed", type=int, help="(default: 0)")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
                     help="change one value, e.g. train.steps=100; may be repeated")
    run.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    run.add_argument("--micro-rows", type=int, default=0, metavar="ROWS",
                     help="rows at once, where memory is short; changes no result (default: all)")
    run.add_argument("--compile", default="auto", help="on, off, or auto: torch.compile on a GPU (default: %(default)s)")
    run.add_argument("--json", action="store_true", help="print JSON")

    prune = _add(commands, "prune", _prune, "remove a run's closed heads, and write the smaller model")
    prune.add_argument("run", metavar="RUN", help="the id of a finished run with gates, or how it starts")
    prune.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where model.safetensors goes")

    write = _add(commands, "generate", _generate, "write text with a trained model, its closed heads removed")
    write.add_argument("run", metavar="RUN", help="the id of a finished run, or how it starts; or a folder that prune wrote")
    write.add_argument("--prompt", action="append", metavar="TEXT", help="how a text starts (default: a new line); repeatable")
    for name, value, text in (("length", 100, "tokens to write"), ("temperature", 1.0, "0 takes the likeliest token"),
                              ("top-k", 0, "draw among so many likeliest tokens; 0 is all"),
                              ("top-p", 1.0, "draw among the likeliest tokens with this mass; 1 is all"),
                              ("seed", 0, "of the random numbers"), ("samples", 1, "texts a prompt")):
        write.add_argument(f"--{name}", type=type(value), default=value, help=f"{text} (default: %(default)s)")
    write.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")

    reproduce = _add(commands, "reproduce", _reproduce, "run the notebooks, and make every figure and table")
    reproduce.add_argument("--scale", default="auto", help=f"auto, {scale} (default: %(default)s)")
    reproduce.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    reproduce.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    reproduce.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    reproduce.add_argument("--params", default="", metavar="'lam=0.1'", help="parameters of the notebooks")
    reproduce.add_argument("--force", action="store_true", help="execute also what is unchanged")
    reproduce.add_argument("--stop-with-parent", action="store_true", help="end when the calling process (make) does")

    bench = _add(commands, "bench", _bench, "measure speed and memory, beside the reference path and x-transformers")
    bench.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    bench.add_argument("--rounds", type=int, default=12, help="interleaved rounds (default: %(default)s)")
    bench.add_argument("--sections", default="", metavar="'paths removal'", help="only these (default: all)")
    bench.add_argument("--quick", action="store_true", help="toy shapes: shows that it runs, and nothing else")
    bench.add_argument("--out", type=Path, metavar="FILE.json", help="where results go (default: figures/bench)")

    status = _add(commands, "status", _status, "show each notebook's state, time, peak memory and headline number")
    status.add_argument("--scale", default="", help=f"auto, {scale} (default: all that were used)")
    figures = _add(commands, "figures", _figures, "redraw the figures from their results, without training")
    figures.add_argument("--scale", default="", help=f"auto, {scale} (default: all that have figures)")
    notebooks = _add(commands, "notebooks", _notebooks, "execute the committed notebooks in place, and clean them")
    notebooks.add_argument("--notebooks", default="", metavar="'05 07'", help="only these (default: all)")
    return parser


def _add(commands, name: str, handler, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(handler=handler)
    return parser


def _data(a: argparse.Namespace) -> int:
    from allatt import tokens

    print(tokens.describe(DataConfig(a.corpus, a.tokens, a.vocab_size, a.min_count)))
    return 0


def _cost(a: argparse.Namespace) -> int:
    from dataclasses import replace

    from allatt import cost, scales

    model = scales.model(scales.resolve(a.scale), a.model)
    if a.kept:
        try:
            heads = [int(number) for number in a.kept.split(",")]
        except ValueError:
            raise AllattError(f"--kept is {a.kept!r}; write one number a layer, with commas: 8,3,7,...") from None
        check(len(heads) == model.layers, f"--kept has {len(heads)} numbers; the model has {model.layers} layers")
        wrong = [h for h in heads if not 0 <= h <= model.heads]
        check(not wrong, f"--kept has {wrong[:1]}; a layer keeps between 0 and {model.heads} heads")
        model = replace(model, kept=tuple(tuple(range(number)) for number in heads))
    counts = cost.count(model, scales.vocab(scales.resolve(a.scale)))
    print(json.dumps(counts, indent=1) if a.json else cost.table(counts))
    return 0


def _run(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.train import Machine, join_torchrun, leave_torchrun

    check(a.micro_rows >= 0, f"--micro-rows is {a.micro_rows}; it must be 0 (all) or more")
    config = _config(a)
    machine = Machine(device=a.device, micro_rows=a.micro_rows, compile=a.compile, progress=sys.stderr.isatty())
    first = join_torchrun(machine.resolve())
    run = runs.get_or_run(config, machine)
    if first:
        values = {"id": run.id, "name": run.config.name, "folder": str(run.folder), **run.result}
        print(json.dumps(values, indent=1) if a.json else _table(values))
    leave_torchrun()
    return 0


def _config(a: argparse.Namespace):
    """The RunConfig that the options of `run` describe."""
    from allatt import experiments, scales
    from allatt.config import RunConfig, alter, from_dict, to_dict
    from allatt.tokens import pin

    if a.config:
        others = [name for name in ("scale", "model", "lam", "corpus", "seed") if getattr(a, name) not in ("", None)]
        check(not others, f"--config is a whole run, so --{'/--'.join(others)} cannot be given too; use --set")
        try:
            values = json.loads(a.config.read_text())
        except (OSError, ValueError) as error:
            raise AllattError(f"--config {a.config} cannot be read as JSON: {error}") from None
    else:
        check(a.scale and a.model, "say what to train: --config FILE.json, or --scale SCALE and --model MODEL")
        scale, corpus, seed = scales.resolve(a.scale), a.corpus, a.seed or 0
        config = experiments.baseline(scale, a.model, corpus, seed) if a.lam is None else \
            experiments.pruning(scale, a.model, a.lam, corpus, seed)
        values = to_dict(config)
    for change in a.set:
        alter(values, change)
    config = from_dict(RunConfig, values)
    data = pin(config.data)  # --set data.corpus may name another text
    return config if data == config.data else from_dict(RunConfig, values | {"data": to_dict(data)})


def _table(values: dict) -> str:
    """A run's result as aligned lines."""
    heads, parameters = values["heads"], values["parameters"]
    lines = [("run", f"{values['id']} ({values['name']})"), ("folder", values["folder"]),
             ("heads kept", f"{heads['total']} of {heads['of']}: {' '.join(map(str, heads['per_layer']))}"),
             ("parameters", f"{parameters['total']:,} (body {parameters['body']:,})")]
    for split in ("valid", "test"):
        r = values[split]
        lines.append((split, f"perplexity {r['perplexity']:.2f} a token, {r['word_perplexity']:.2f} a word; "
                             f"{r['bits_per_byte']:.3f} bits a byte"))
    protocol = values["test"]["protocol"]
    lines.append(("measured with", ", ".join(f"{key} {value}" for key, value in protocol.items())))
    lines.append(("training took", f"{values['seconds']:.1f} s"))
    return "\n".join(f"{name:<14} {text}" for name, text in lines)


def _prune(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.config import to_dict

    run = runs.find(a.run)
    check(run.config.gates is not None, f"run {run.id} ({run.config.name}) has no gates, so no closed heads; "
                                        "give a run that was trained with --lam")
    path = a.out / "model.safetensors"
    check(not a.out.exists() or a.out.is_dir(), f"--out {a.out} is a file; name a folder")
    check(not path.exists(), f"{path} exists already; choose another folder")
    full, small = run.load(), run.pruned()
    a.out.mkdir(parents=True, exist_ok=True)
    before, after = full.parameter_counts(), small.parameter_counts()
    heads = list(small.config.heads_per_layer)
    small.save(path)
    runs.write_json(a.out / "about.json", {"run": run.id, "name": run.config.name, "data": to_dict(run.config.data),
                                           "heads_per_layer": heads, "parameters": after, "parameters_before": before})
    print(f"{path}: {sum(heads)} of {small.config.layers * small.config.heads} heads ({' '.join(map(str, heads))})\n"
          f"body {after['body']:,} parameters instead of {before['body']:,}; in all {after['total']:,} instead of "
          f"{before['total']:,}\nLanguageModel.load(path) of allatt.model reads it")
    return 0


def _generate(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.generate import say
    from allatt.train import Machine

    model, tokens = runs.writer(a.run)
    model.to(Machine(device=a.device).resolve())
    try:
        for piece in say(model, tokens, a.prompt or [""], a.length, a.temperature, a.top_k, a.top_p, a.seed, a.samples):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:  # enough was read; there is nothing to continue
        print()
        return 130
    return 0


def _reproduce(a: argparse.Namespace) -> int:
    from allatt import notebooks

    parent = os.getppid()
    good = notebooks.reproduce(a.scale, a.corpus, a.seed, a.notebooks, a.params, a.force,
                               stop_when=lambda: a.stop_with_parent and os.getppid() != parent)
    return 0 if good else 1


def _bench(a: argparse.Namespace) -> int:
    from allatt import bench
    from allatt.train import Machine

    check(a.device in ("auto", "cuda", "cpu"), f"--device is {a.device!r}; choose auto, cuda or cpu")
    check(a.rounds >= 1, f"--rounds is {a.rounds}; it must be 1 or more")
    sections = tuple(a.sections.split()) or bench.SECTIONS
    found = bench.run(Machine(a.device).resolve(), a.rounds, sections, a.quick, say=lambda text: print(text + "\n", flush=True))
    print(bench.save(found, a.out))
    return 0


def _status(a: argparse.Namespace) -> int:
    from allatt import notebooks

    print(notebooks.status(a.scale))
    return 0


def _figures(a: argparse.Namespace) -> int:
    from allatt import scales
    from allatt.figures import figures_folder, redraw
    from allatt.plots import DRAW

    names = [scales.resolve(a.scale)] if a.scale else scales.NAMES
    # laptop, and what other corpora and seeds made at that scale: laptop-text8, laptop-seed3
    folders = [folder for name in names for folder in sorted(figures_folder(name).parent.glob("*"))
               if folder.is_dir() and folder.name.split("-")[0] == name]
    drawn = [path for folder in folders for path in redraw(folder, DRAW)]
    where = figures_folder(names[0]) if a.scale else figures_folder(names[0]).parent
    check(bool(drawn), f"there are no results in {where}; run `make reproduce` first")
    print("\n".join(os.path.relpath(path) for path in drawn))
    return 0


def _notebooks(a: argparse.Namespace) -> int:
    from allatt.kernel import clean_executed
    from allatt.notebooks import find, root

    for path in find(root() / "notebooks", a.notebooks):
        clean_executed(path)
        print(f"{path.name}: executed and cleaned", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
