"""What each subcommand does: from options to a call of the module, and from its answer to text.

A verb imports what it needs itself, so that `python -m allatt --help` imports no torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from allatt.config import AllattError, DataConfig, check


def data(a: argparse.Namespace) -> int:
    from allatt.data import describe

    print(describe.describe(DataConfig(a.corpus, a.tokens, a.vocab_size, a.min_count)))
    return 0


def cost(a: argparse.Namespace) -> int:
    from dataclasses import replace

    from allatt import cost
    from allatt.paper import scales

    scale = scales.resolve(a.scale, variants=True)
    model = scales.model(scale, a.model)
    if a.kept:
        try:
            heads = [int(number) for number in a.kept.split(",")]
        except ValueError:
            raise AllattError(f"--kept is {a.kept!r}; write one number a layer, with commas: 8,3,7,...") from None
        check(len(heads) == model.layers, f"--kept has {len(heads)} numbers; the model has {model.layers} layers")
        wrong = [h for h in heads if not 0 <= h <= model.heads]
        check(not wrong, f"--kept has {wrong[:1]}; a layer keeps between 0 and {model.heads} heads")
        model = replace(model, kept=tuple(tuple(range(number)) for number in heads))
    counts = cost.count(model, scales.vocab(scale))
    print(json.dumps(counts, indent=1) if a.json else cost.table(counts))
    return 0


def run(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.train import join_torchrun, leave_torchrun

    config, machine = _config(a), _machine(a)
    first = join_torchrun(machine.resolve())
    run = runs.get_or_run(config, machine)
    if first:
        values = {"id": run.id, "name": run.config.name, "folder": str(run.folder), **run.result}
        print(json.dumps(values, indent=1) if a.json else _table(values))
    leave_torchrun()
    return 0


def _machine(a: argparse.Namespace):
    """The Machine that the options describe."""
    from allatt.train import Machine

    check(a.micro_rows >= 0, f"--micro-rows is {a.micro_rows}; it must be 0 (all) or more")
    return Machine(device=a.device, micro_rows=a.micro_rows, compile=a.compile, progress=sys.stderr.isatty())


def _config(a: argparse.Namespace):
    """The RunConfig that the options of `run` describe."""
    from allatt.config import RunConfig, alter, from_dict, to_dict
    from allatt.data.tokens import pin
    from allatt.paper.study import Study

    if a.config:
        others = [name.replace("_", "-") for name in ("scale", "model", "lam", "target_kept", "corpus", "seed")
                  if getattr(a, name) not in ("", None)]
        check(not others, f"--config is a whole run, so --{'/--'.join(others)} cannot be given too; use --set")
        try:
            values = json.loads(a.config.read_text())
        except (OSError, ValueError) as error:
            raise AllattError(f"--config {a.config} cannot be read as JSON: {error}") from None
    else:
        check(a.scale and a.model, "say what to train: --config FILE.json, or --scale SCALE and --model MODEL")
        study = Study(a.scale, a.corpus, a.seed or 0)
        check(a.lam is None or a.target_kept is None,
              "--lam fixes lambda, and with --target-kept it adapts; give one of them (or --set gates.lam: where it starts)")
        if a.target_kept is not None:
            config = study.to_target(a.model, a.target_kept)
        elif a.lam is not None:
            config = study.pruning(a.model, a.lam)
        else:
            config = study.baseline(a.model)
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


def experiment(a: argparse.Namespace) -> int:
    from allatt.paper import experiments, scales
    from allatt.paper.points import Point
    from allatt.paper.study import Study
    from allatt.runs.parallel import get_or_run_all
    from allatt.system.paths import home
    from allatt.train import join_torchrun, leave_torchrun

    known = {name: one.about for name, one in experiments.EXPERIMENTS.items()} | {"all": "all of these, in this order"}
    if not a.name:
        print("\n".join(f"{name:<12} {about}" for name, about in known.items()))
        return 0
    check(a.name in known, f"there is no experiment {a.name!r}; choose from {', '.join(known)}")
    study, machine = Study(scales.resolve(a.scale), a.corpus, a.seed, a.seeds), _machine(a)
    first, points = join_torchrun(machine.resolve()), []
    for name in experiments.EXPERIMENTS if a.name == "all" else [a.name]:
        for seed in study.seeds:
            configs = experiments.EXPERIMENTS[name].configs(study, seed, machine)
            for config, run in zip(configs, get_or_run_all(configs, machine), strict=True):
                # A run that two experiments share has the name of whichever came first; here it has the one of this experiment.
                points.append(Point.of_run(run).as_dict() | {"experiment": name, "name": config.name})
                if first and not a.json:
                    print(*([_HEADER] if len(points) == 1 else []), _row(points[-1]), sep="\n", flush=True)
    if first:
        ids = {point["run"] for point in points}
        print(json.dumps(points, indent=1) if a.json else f"{len(ids)} runs, each in its folder RUN in {home() / 'runs'}")
    leave_torchrun()
    return 0


_HEADER = (f"{'run':<12}  {'name':<36} {'seed':>4} {'lambda':>7} {'heads':>8} {'body':>11} {'valid':>8} {'test':>8}  "
           "heads by layer (valid, test: perplexity a token)")


def _row(point: dict) -> str:
    """A run as one line below _HEADER."""
    lam = "" if point["lambda"] is None else f"{point['lambda']:g}"
    heads = f"{point['heads']}/{point['of']}"
    return (f"{point['run']:<12}  {point['name']:<36} {point['seed']:>4} {lam:>7} {heads:>8} {point['body_parameters']:>11,} "
            f"{point['valid_perplexity']:>8.2f} {point['test_perplexity']:>8.2f}  {' '.join(map(str, point['per_layer']))}")


def prune(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.config import to_dict
    from allatt.system.files import write_json

    run = runs.find(a.run)
    check(run.config.gates is not None, f"run {run.id} ({run.config.name}) has no gates, so no closed heads; "
                                        "give a run that was trained with --lam or --target-kept")
    path = a.out / "model.safetensors"
    check(not a.out.exists() or a.out.is_dir(), f"--out {a.out} is a file; name a folder")
    check(not path.exists(), f"{path} exists already; choose another folder")
    full, small = run.load(), run.pruned()
    a.out.mkdir(parents=True, exist_ok=True)
    before, after = full.parameter_counts(), small.parameter_counts()
    heads = list(small.config.heads_per_layer)
    small.save(path)
    write_json(a.out / "about.json", {"run": run.id, "name": run.config.name, "data": to_dict(run.config.data),
                                      "heads_per_layer": heads, "parameters": after, "parameters_before": before})
    print(f"{path}: {sum(heads)} of {small.config.layers * small.config.heads} heads ({' '.join(map(str, heads))})\n"
          f"body {after['body']:,} parameters instead of {before['body']:,}; in all {after['total']:,} instead of "
          f"{before['total']:,}\nLanguageModel.load(path) of allatt.model reads it")
    return 0


def generate(a: argparse.Namespace) -> int:
    from allatt import runs
    from allatt.cli.prompts import stream_text
    from allatt.train import Machine

    model, tokens = runs.load_pruned(a.run)
    model.to(Machine(device=a.device).resolve())
    try:
        for piece in stream_text(model, tokens, a.prompt or [""], a.length, a.temperature, a.top_k, a.top_p, a.seed, a.samples):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:  # enough was read; there is nothing to continue
        print()
        return 130
    return 0


def reproduce(a: argparse.Namespace) -> int:
    from allatt.reproduce import runner

    parent = os.getppid()
    good = runner.reproduce(a.scale, a.corpus, a.seed, a.seeds, a.notebooks, a.params, a.force,
                               stop_when=lambda: a.stop_with_parent and os.getppid() != parent)
    return 0 if good else 1


def bench(a: argparse.Namespace) -> int:
    from allatt.benchmarks import bench
    from allatt.train import Machine

    check(a.device in ("auto", "cuda", "cpu"), f"--device is {a.device!r}; choose auto, cuda or cpu")
    check(a.rounds >= 1, f"--rounds is {a.rounds}; it must be 1 or more")
    sections = tuple(a.sections.split()) or bench.SECTIONS
    found = bench.run(Machine(a.device).resolve(), a.rounds, sections, a.quick, say=lambda text: print(text + "\n", flush=True))
    print(bench.save(found, a.out))
    return 0


def status(a: argparse.Namespace) -> int:
    from allatt.reproduce import runner

    print(runner.status(a.scale))
    return 0


def figures(a: argparse.Namespace) -> int:
    from allatt.figures import redraw
    from allatt.paper import scales
    from allatt.system import paths

    names = [scales.resolve(a.scale)] if a.scale else scales.NAMES
    # laptop, and what other corpora and seeds made at that scale: laptop-text8, laptop-seed3, laptop-3seeds
    folders = [folder for name in names for folder in sorted(paths.figures().glob("*"))
               if folder.is_dir() and folder.name.split("-")[0] == name]
    drawn = [path for folder in folders for path in redraw(folder)]
    where = paths.figures() / names[0] if a.scale else paths.figures()
    check(bool(drawn), f"there are no results in {where}; run `make reproduce` first")
    print("\n".join(os.path.relpath(path) for path in drawn))
    return 0


def notebooks(a: argparse.Namespace) -> int:
    from allatt.reproduce.execute import clean_executed
    from allatt.reproduce.runner import find
    from allatt.system.paths import repository

    for path in find(repository() / "notebooks", a.notebooks):
        clean_executed(path)
        print(f"{path.name}: executed and cleaned", flush=True)
    return 0
