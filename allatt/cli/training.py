"""Commands that train: `run` and `experiment`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from allatt.cli.models import perplexities
from allatt.cli.options import SCALES, add_command, add_training_options, machine
from allatt.config import KINDS, AllattError, DataConfig, RunConfig, check, to_dict
from allatt.config_json import alter, from_dict
from allatt.system.messages import note
from allatt.system.text_tables import table

if TYPE_CHECKING:
    from allatt.paper.experiments import Experiment
    from allatt.paper.study import Study
    from allatt.runs.anytime import Budget
    from allatt.system.machine import Machine

ROW = "{:<12}  {:<36}  {:>4}  {:>6}  {:>7}  {:>10}  {:>7}  {:>7}  {}"
"""A line of `experiment`. Its widths are fixed, because each line is printed as soon as its run is finished."""
HEADER = ROW.format("run", "name", "seed", "lambda", "heads", "body", "valid", "test",
                    "heads per layer (valid, test: perplexity per token)")

ONE_PHASE = "prune in one phase, as in the paper: gates for all steps, no consolidation"


def add_commands(commands) -> None:
    """Add `run` and `experiment`."""
    parser = add_command(commands, "run", run, "train one model, or show its result if it is already trained")
    parser.add_argument("--config", type=Path, metavar="FILE.json", help="a run's config, such as config.json in its folder")
    parser.add_argument("--scale", default="", help=SCALES)
    parser.add_argument("--model", default="", help=" or ".join(KINDS))
    parser.add_argument("--lam", type=float, metavar="LAMBDA", help="train gates from the baseline with this penalty")
    parser.add_argument("--target-kept", type=float, metavar="SHARE",
                        help="train gates from the baseline until this share of the heads is left; lambda adapts")
    parser.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    parser.add_argument("--seed", type=int, help="random seed (default: 0)")
    parser.add_argument("--one-phase", action="store_true", help=ONE_PHASE)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
                        help="change one value, e.g. train.steps=100 (start.train.steps: of the run that it starts from); "
                             "data.* and model.* change all runs that it starts from, too; may be repeated")
    add_training_options(parser)

    parser = add_command(commands, "experiment", experiment, "train all runs of an experiment of the paper, without Jupyter")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="an experiment, or all (default: list them)")
    parser.add_argument("--scale", default="auto", help=f"auto, {SCALES} (default: %(default)s)")
    parser.add_argument("--corpus", default="", help="name or folder (default: the scale's)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="number of seeds (default: %(default)s)")
    parser.add_argument("--one-phase", action="store_true", help=ONE_PHASE)
    parser.add_argument("--minutes", type=float, metavar="N",
                        help="stop in time: one run after the other, the most telling first, and none that does not fit")
    add_training_options(parser)


def run(options: argparse.Namespace) -> None:
    """Train a run, or read it, and print its result."""
    from allatt import runs
    from allatt.system.machine import join_torchrun, leave_torchrun

    config, this_machine = _config(options), machine(options)
    is_first_process = join_torchrun(this_machine.resolve())
    finished_run = runs.get_or_run(config, this_machine)
    if is_first_process:
        values = {"id": finished_run.id, "name": finished_run.config.name, "folder": str(finished_run.folder),
                  **finished_run.result}
        print(json.dumps(values, indent=1) if options.json else _result_table(values))
        remark = _remark(config, finished_run.result["heads"])
        if remark:
            note(remark)
    leave_torchrun()


def _config(options: argparse.Namespace) -> RunConfig:
    """The RunConfig that the options of `run` describe."""
    from allatt.data.tokens import pin

    values = _read_config(options) if options.config else to_dict(_config_of_scale(options))
    for change in options.set:
        for stage in _stages_of(values, change):
            alter(stage, change)
    for stage in _stages(values):  # after --set, since data.corpus may name another text
        stage["data"] = to_dict(pin(from_dict(DataConfig, stage.get("data", {}))))
    return from_dict(RunConfig, values)


def _stages(values: dict) -> list[dict]:
    """The values of a run and of the runs it starts from."""
    return [values, *(_stages(values["start"]) if isinstance(values.get("start"), dict) else [])]


def _stages_of(values: dict, change: str) -> list[dict]:
    """The stages that one --set changes: all for the text and the model, the gated stage for gates, else the last."""
    section, key = change.split(".")[0], change.partition("=")[0]
    if section in ("data", "model") and key != "model.kept":
        return _stages(values)
    if section == "gates":
        return [stage for stage in _stages(values) if stage.get("gates")][:1] or [values]
    return [values]


def _read_config(options: argparse.Namespace) -> dict:
    """The values of --config, which excludes the options that choose a run by scale."""
    from allatt.system.files import parse

    choices = [name.replace("_", "-") for name in ("scale", "model", "lam", "target_kept", "corpus", "seed", "one_phase")
               if getattr(options, name) not in ("", None) and getattr(options, name) is not False]
    check(not choices, f"--config is a complete run, so --{'/--'.join(choices)} cannot be given too; use --set")
    try:
        values = parse(options.config)
    except (OSError, ValueError) as error:
        raise AllattError(f"--config {options.config} cannot be read as JSON: {error}; give a run's config.json") from None
    check(isinstance(values, dict), f"--config {options.config} holds no JSON object; give a run's config.json")
    return values


def _config_of_scale(options: argparse.Namespace) -> RunConfig:
    """The baseline of a scale and model, or its pruning with --lam or --target-kept."""
    from allatt.paper.study import Study

    check(options.scale and options.model, "say what to train: --config FILE.json, or --scale SCALE and --model MODEL")
    study = Study(options.scale, options.corpus, options.seed or 0, one_phase=options.one_phase)
    check(options.lam is None or options.target_kept is None,
          "--lam fixes lambda, --target-kept adapts it; give only one (or --target-kept with --set gates.lam=FIRST_VALUE)")
    if options.target_kept is not None:
        return study.to_target(options.model, options.target_kept)
    if options.lam is not None:
        return study.pruning(options.model, options.lam)
    check(not options.one_phase, "--one-phase is about pruning; give --lam or --target-kept with it")
    return study.baseline(options.model)


def _remark(config: RunConfig, heads: dict) -> str:
    """What is unexpected about the number of heads that gates kept, in one line; "" if nothing is."""
    if config.gated is None:
        return ""
    gates, kept, of = config.gated.gates, heads["total"], heads["of"]
    if gates.target_kept is not None:
        wanted = round(gates.target_kept * of)
        return f"{kept} heads are kept, where {wanted} were asked for; longer training comes nearer" * (kept != wanted)
    if kept == of:
        return f"lambda {gates.lam:g} closes no head; try a larger one" * (gates.lam > 0)
    return f"lambda {gates.lam:g} closes all heads; try a smaller one" * (kept == 0)


def _result_table(values: dict) -> str:
    """A run's result as aligned lines."""
    heads, parameters = values["heads"], values["parameters"]
    rows = [("run", f"{values['id']} ({values['name']})"), ("folder", values["folder"]),
            ("heads kept", f"{heads['total']} of {heads['of']}: {' '.join(map(str, heads['per_layer']))}"),
            ("parameters", f"{parameters['total']:,} (body {parameters['body']:,})")]
    for split in ("valid", "test"):
        result = values[split]
        rows.append((split, perplexities(result)))
    protocol = values["test"]["protocol"]
    rows.append(("measured with", ", ".join(f"{key} {value}" for key, value in protocol.items())))
    rows.append(("training time", f"{values['seconds']:.1f} s"))
    return table(rows, "<<")


def experiment(options: argparse.Namespace) -> None:
    """List the experiments, or train all runs of one (or all) and print a line per run."""
    from allatt.paper import scales
    from allatt.paper.experiments import CALIBRATION, EXPERIMENTS
    from allatt.paper.points import Point
    from allatt.paper.study import Study
    from allatt.runs.anytime import Budget
    from allatt.runs.parallel import get_or_run_all
    from allatt.system.machine import join_torchrun, leave_torchrun, rank_and_world
    from allatt.system.paths import home

    known = EXPERIMENTS | CALIBRATION
    about = {name: entry.about for name, entry in EXPERIMENTS.items()} | {"all": "all of these, in this order"}
    about |= {name: entry.about for name, entry in CALIBRATION.items()}
    if not options.name:
        print(table(list(about.items()), "<<"))
        return
    check(options.name in about, f"there is no experiment {options.name!r}; choose from {', '.join(about)}")
    scale = scales.resolve(options.scale, variants=options.name in CALIBRATION)
    check(options.name not in ("learning-rates", "lambdas") or (options.seed, options.seeds) == (0, 1),
          f"{options.name} are chosen on a seed of their own; leave --seed and --seeds out")
    study = Study(scale, options.corpus, options.seed, options.seeds, options.one_phase)
    this_machine = machine(options)
    budget = None if options.minutes is None else Budget(options.minutes, this_machine)
    is_first_process, points = join_torchrun(this_machine.resolve()), []
    check(budget is None or rank_and_world()[1] == 1, "--minutes is for one process; leave it out, or start without torchrun")
    try:
        for name in EXPERIMENTS if options.name == "all" else [options.name]:
            for seed in study.seeds:
                try:
                    configs = _configs(known[name], study, seed, this_machine, budget)
                except AllattError as error:
                    if options.name != "all" or name not in ("characters", "words") or study.can_have(name):
                        raise
                    note(f"{name} are left out: {error}")
                    break
                pairs = budget.runs(configs) if budget else zip(configs, get_or_run_all(configs, this_machine), strict=True)
                for config, finished_run in pairs:
                    # A run that two experiments share keeps the name it was trained under; show this experiment's name.
                    points.append(Point.of_run(finished_run).as_dict() | {"experiment": name, "name": config.name})
                    if is_first_process and not options.json:
                        if len(points) == 1:
                            print(HEADER)
                        print(_line(points[-1]), flush=True)
    finally:
        if is_first_process and options.json and points:  # what is finished, even if a later run fails
            print(json.dumps(points, indent=1), flush=True)
    if budget and budget.left_out:
        first = "; ".join(budget.left_out[:2])
        check(bool(points), f"{options.minutes:g} minutes are too few for any run: {first}; run the same again to continue, or "
                            "with more")
        note(f"not run or not finished, for lack of time: {', '.join(budget.left_out)}")
    if is_first_process and not options.json:
        print(f"{len({point['run'] for point in points})} runs, each in its folder RUN in {home() / 'runs'}")
    leave_torchrun()


def _configs(entry: Experiment, study: Study, seed: int, this_machine: Machine, budget: Budget | None) -> list[RunConfig]:
    """The runs of an experiment; within a budget, the most telling first. It may first train what it needs to know."""
    from allatt.paper.experiments import most_telling_first
    from allatt.system.machine import OVER, Interrupted

    if budget is None:
        return entry.configs(study, seed, this_machine)
    try:
        return most_telling_first(entry.configs(study, seed, budget.machine))
    except Interrupted as error:
        if error.number != OVER:
            raise
        budget.left_out.append(f"{entry.about} ({error.saved})")
        return []


def _line(point: dict) -> str:
    """A run's line below HEADER."""
    lam = "" if point["lambda"] is None else f"{point['lambda']:g}"
    return ROW.format(point["run"], point["name"], point["seed"], lam, f"{point['heads']}/{point['of']}",
                      f"{point['body_parameters']:,}", f"{point['valid_perplexity']:.2f}", f"{point['test_perplexity']:.2f}",
                      " ".join(map(str, point["per_layer"])))
