"""`run` and `experiment`, on runs of a few steps."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from refusals import refused

from allatt.cli.main import main
from allatt.cli.training import _remark
from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, DataConfig, GateConfig, RunConfig
from allatt.config_json import from_dict
from allatt.system.paths import repository

SMALL = ("--set", "train.steps=2", "--set", "model.layers=1", "--set", "data.tokens=characters")


def test_run_trains_what_the_config_says(gated, capsys):
    path, result = gated
    config = from_dict(RunConfig, json.loads(path.read_text()))
    assert result["id"] == config.id
    assert result["heads"]["of"] == 16 and result["tokens_seen"] == 2 * 4 * 16
    assert json.loads((Path(result["folder"]) / "result.json").read_text())["test"] == result["test"]
    assert main(["run", "--config", str(path)]) == 0
    table = capsys.readouterr().out
    assert f"{config.id} ({config.name})" in table
    assert re.search(rf"^test +perplexity {result['test']['perplexity']:.2f} per token", table, flags=re.MULTILINE)


@pytest.mark.parametrize("gates, kept, said", [
    (GateConfig(lam=0.01), 16, "lambda 0.01 closes no head; try a larger one"), (GateConfig(lam=0.01), 15, ""),
    (GateConfig(lam=0.0), 16, ""), (GateConfig(lam=9.0), 0, "lambda 9 closes all heads; try a smaller one"),
    (GateConfig(target_kept=0.5), 8, ""), (GateConfig(target_kept=0.0), 0, ""),
    (GateConfig(target_kept=0.5), 9, "9 heads are kept, where 8 were asked for; longer training comes nearer")])
def test_run_says_what_is_odd_about_the_number_of_heads(gates, kept, said):
    gated = RunConfig("gated", gates=gates)
    for config in (gated, RunConfig("second", start=gated, consolidate=True)):
        assert _remark(config, {"total": kept, "of": 16}) == said
    assert _remark(RunConfig("dense"), {"total": 16, "of": 16}) == ""


def test_run_of_a_scale_with_changes(text, monkeypatch, capsys):
    """--set changes the config, including the run it starts from; other values are the scale's."""
    from allatt import runs
    from allatt.paper.study import Study

    class Requested(Exception):
        pass

    def stop(config, machine):
        raise Requested(config, machine)

    monkeypatch.setattr(runs, "get_or_run", stop)
    with pytest.raises(Requested) as requested:
        main(["run", "--scale", "smoke", "--model", TRANSFORMER_XL, "--seed", "4", "--micro-rows", "2",
              "--device", "cpu"])
    config, machine = requested.value.args
    assert config == Study("smoke", seed=4).baseline(TRANSFORMER_XL)
    assert (machine.micro_rows, machine.device) == (2, "cpu")
    with pytest.raises(Requested) as requested:
        main(["run", "--scale", "smoke", "--model", ALL_ATTENTION, "--lam", "0.5", "--corpus", str(text), *SMALL,
              "--set", "start.train.lr=0.25", "--set", "gates.output_scaling=false"])
    config = requested.value.args[0]
    gated = config.start
    assert (gated.gates.lam, gated.gates.output_scaling, gated.train.lr) == (0.5, False, 0.25)
    assert config.consolidate and config.train.steps == 2 and gated.train.steps > 2, "train.* is the last stage's"
    for stage in (config, gated, gated.start):
        assert (stage.model.layers, stage.data.tokens) == (1, "characters"), "--set reaches the runs that it starts from"
        assert stage.data.text_sha256, "a text of the user's is identified by its checksum"
    with pytest.raises(Requested) as requested:
        main(["run", "--scale", "smoke", "--model", ALL_ATTENTION, "--lam", "0.5", "--one-phase"])
    config = requested.value.args[0]
    assert config == Study("smoke", one_phase=True).pruning(ALL_ATTENTION, 0.5) and config.gates.lam == 0.5
    with pytest.raises(Requested) as requested:
        main(["run", "--scale", "smoke", "--model", ALL_ATTENTION, "--target-kept", "0.5"])
    assert requested.value.args[0] == Study("smoke").to_target(ALL_ATTENTION, 0.5)
    with pytest.raises(Requested) as requested:
        main(["run", "--scale", "laptop-words", "--model", ALL_ATTENTION])
    assert requested.value.args[0] == Study("laptop-words").baseline(ALL_ATTENTION)
    assert capsys.readouterr().err == ""

SMOKE = ("--scale", "smoke", "--model", ALL_ATTENTION)


@pytest.mark.parametrize("arguments, message", [
    ([], "say what to train: --config FILE.json, or --scale SCALE and --model MODEL"),
    (["--scale", "smoke"], "say what to train"),
    (["--config", "none.json"], "--config none.json cannot be read as JSON"),
    (["--config", "none.json", "--seed", "0"], "so --seed cannot be given too"),
    (["--scale", "smoke", "--model", "gpt"], "model is 'gpt'"),
    ([*SMOKE, "--lam", "-1"], "lam is -1.0; it must be 0 or more"),
    ([*SMOKE, "--target-kept", "50"], "target_kept is 50.0; it is a share of all heads, between 0 and 1"),
    ([*SMOKE, "--target-kept", "0.5", "--lam", "0"], "--lam fixes lambda, --target-kept adapts it; give only one"),
    (["--config", "none.json", "--target-kept", "0"], "so --target-kept cannot be given too"),
    ([*SMOKE, "--one-phase"], "--one-phase is about pruning; give --lam or --target-kept with it"),
    ([*SMOKE, "--device", "tpu"], "device is 'tpu'; choose auto, cuda or cpu"),
    ([*SMOKE, "--micro-rows", "-1"], "--micro-rows is -1"),
    ([*SMOKE, "--set", "steps=1"], "--set 'steps=1': write SECTION.KEY=VALUE"),
    ([*SMOKE, "--set", "train.step=1"], "there is no step; there is steps, skip, rows"),
    ([*SMOKE, "--set", "gates.lam=1"], "there is no section gates"),
    ([*SMOKE, "--set", "train.steps=many"], "it must be of type int"),
    ([*SMOKE, "--set", "train.steps=-1"], "steps is -1; it must be 0 or more"),
])
def test_run_refuses(arguments, message, capsys):
    assert message in refused(capsys, "run", *arguments)


def test_run_refuses_a_broken_config(tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text('{"name": ')
    assert "cannot be read as JSON" in refused(capsys, "run", "--config", str(path))
    path.write_text('{"name": "a", "trian": {}}')
    assert "RunConfig has no trian" in refused(capsys, "run", "--config", str(path))

TINY = {"steps": 3, "rows": 4}


@pytest.fixture
def tiny(text, monkeypatch):
    """Replace the smoke scale by one that takes a second, on a small text; returns the options of `experiment` for it."""
    from allatt.paper import scales

    monkeypatch.setitem(scales.SCALES, "smoke", tiny_scale())
    monkeypatch.setitem(scales.SCALES, "smoke-words", replace(tiny_scale(), data=DataConfig(tokens="words", vocab_size=0)))
    return ["--scale", "smoke", "--corpus", str(text), "--device", "cpu"]


def tiny_scale():
    """A scale with four heads and one lambda."""
    from allatt.paper import scales

    smoke = scales.get("smoke")
    model = replace(smoke.model, layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=32, memory=32, positions=33)
    return replace(
        smoke, data=DataConfig(tokens="characters"), model=model, prune=replace(smoke.prune, **TINY),
        consolidation=replace(smoke.consolidation, **TINY), baseline=scales.each(smoke.baseline, **TINY),
        lambdas=dict.fromkeys(KINDS, (0.3,)))


def test_experiments_are_listed(capsys):
    from allatt.paper.experiments import CALIBRATION, EXPERIMENTS

    assert main(["experiment"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*EXPERIMENTS, "all", *CALIBRATION]
    assert all(len(line.split()) > 3 for line in lines)


def test_experiment_trains_its_runs_seed_by_seed(tiny, capsys):
    from allatt import runs
    from allatt.paper.study import Study
    from allatt.system.paths import home

    assert main(["experiment", "sweep", *tiny, "--seed", "3", "--seeds", "2"]) == 0
    header, *rows, last = capsys.readouterr().out.splitlines()
    configs = [config for seed in (3, 4) for kind in KINDS
               for config in Study("smoke", tiny[3]).sweep(kind, seed)]
    assert [row.split()[0] for row in rows] == [config.id for config in configs], "in order, each once"
    for row, config in zip(rows, configs, strict=True):
        result = runs.find(config.id).result
        heads = f"{result['heads']['total']}/4"
        expected = [config.id, *config.name.split(), config.train.seed, f"{config.gated.gates.lam:g}", heads,
                    f"{result['parameters']['body']:,}", f"{result['valid']['perplexity']:.2f}",
                    f"{result['test']['perplexity']:.2f}", *result["heads"]["per_layer"]]
        assert row.split() == list(map(str, expected))
    assert header.split()[:8] == ["run", "name", "seed", "lambda", "heads", "body", "valid", "test"]
    assert last == f"{len(configs)} runs, each in its folder RUN in {home() / 'runs'}"


def test_a_variant_s_lambdas_can_be_chosen_though_it_is_for_single_runs(tiny, monkeypatch, capsys):
    """Its gates are trained at one lambda after the other, on the seed for calibration."""
    from allatt.paper import calibration

    monkeypatch.setattr(calibration, "TRIES", 3)
    words = ["--scale", "smoke-words", *tiny[2:]]
    assert "a variant for single runs" in refused(capsys, "experiment", "sweep", *words)
    assert main(["experiment", "lambdas", *words]) == 0
    _, *rows, last = capsys.readouterr().out.splitlines()
    line = r"(\w+) +(all-attention|transformer-xl) lambda (\S+), first phase +100 +(\S+) +\d/4 "
    found = [re.match(line, row) for row in rows]
    assert all(found) and last.startswith("6 runs") and len({match[1] for match in found}) == 6
    assert [match[3] for match in found] == [match[4] for match in found] and {match[2] for match in found} == set(KINDS)


def test_experiment_continues_where_it_was_interrupted(tiny, monkeypatch, tmp_path, capsys):
    """Ctrl-C in the second run: the same command then reads the first and trains the second."""
    from allatt.runs import run as run_module

    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    trained, execute = [], run_module._execute

    def stop(config, *rest):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(config.name)
        execute(config, *rest)

    monkeypatch.setattr(run_module, "_execute", stop)
    assert main(["experiment", "baselines", *tiny]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    monkeypatch.setattr(run_module, "_execute", lambda config, *rest: trained.append(config.name) or execute(config, *rest))
    assert main(["experiment", "baselines", *tiny]) == 0
    assert trained == ["all-attention baseline", "transformer-xl baseline"]


def test_an_experiment_within_minutes_names_what_it_left_out(tiny, clock_of_steps, monkeypatch, tmp_path, capsys):
    """A clock by which a step takes a minute: baselines of 3 steps, then sweeps of 2 x 6, controls first."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    clock_of_steps(60)
    assert main(["experiment", "all", *tiny, "--minutes", "2"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"allatt: 2 minutes are too few for any run: \S+ baseline \(run \w+ is saved at step 2\);", message)
    assert main(["experiment", "all", *tiny, "--minutes", "17"]) == 0
    out, err = capsys.readouterr()
    names = [line[14:].split("  ")[0] for line in out.splitlines()[1:-1]]
    assert names[:4] == [f"{kind} {stage}" for stage in ("baseline", "lambda 0") for kind in KINDS]
    left = err.splitlines()[-1]
    assert left.startswith("allatt: not run or not finished, for lack of time: ") and "all-attention lambda 0.3" in left


def test_all_experiments_as_json(tiny, monkeypatch, capsys):
    """The points of the figures, named by experiment; an experiment that trains to list its runs gets the machine."""
    from allatt import runs
    from allatt.paper import experiments
    from allatt.paper.criteria import CRITERIA
    from allatt.paper.points import Point

    def staged(study, seed, machine):
        assert machine.micro_rows == 2
        first = runs.get_or_run(study.baseline(ALL_ATTENTION, seed), machine)
        return [replace(first.config, name="the same, by another name")]

    monkeypatch.setitem(experiments.EXPERIMENTS, "staged", experiments.Experiment("in two stages", staged))
    assert main(["experiment", "all", *tiny, "--micro-rows", "2", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    groups = {name: [p for p in points if p["experiment"] == name] for name in experiments.EXPERIMENTS}
    assert sum(groups.values(), []) == points, "in order"
    assert [p["kind"] for p in groups["baselines"]] == list(KINDS)
    assert [p["name"] for p in groups["methods"]] == [
        f"all-attention, {name}" for name in (*experiments.TRAINING_METHODS, experiments.UNTRAINED)]
    assert [(p["kind"], p["lambda"]) for p in groups["sweep"]] == [
        (kind, lam) for kind in KINDS for lam in (0.0, 0.3)]
    assert len(groups["controls"]) == 1 + 2 * len(CRITERIA) + 7
    assert len({p["heads"] for p in groups["controls"][:-2]}) == 1, "as many heads, but for the last two, which have all"
    assert [p["run"] for p in groups["characters"]] == [p["run"] for p in groups["sweep"]], "the small scale has characters"
    assert len(groups["words"]) == 4 and not {p["run"] for p in groups["words"]} & {p["run"] for p in groups["sweep"]}
    assert [(p["name"], p["run"]) for p in groups["staged"]] == \
        [("the same, by another name", groups["baselines"][0]["run"])]
    for point in points:
        assert point == Point.of_run(runs.find(point["run"])).as_dict() | {key: point[key] for key in ("name", "experiment")}


@pytest.mark.parametrize("arguments, message", [
    (["sweeps"], "there is no experiment 'sweeps'; choose from baselines, sweep, methods, controls,"),
    (["sweep", "--scale", "huge"], "scale is 'huge'; choose one of"),
    (["sweep", "--seeds", "0"], "seeds is 0; it is how many seeds there are, 1 or more"),
    (["sweep", "--seed", "-1"], "seed is -1; it must be 0 or more"),
    (["sweep", "--micro-rows", "-1"], "--micro-rows is -1"),
    (["sweep", "--device", "tpu"], "device is 'tpu'; choose auto, cuda or cpu"),
    (["sweep", "--scale", "smoke", "--corpus", "wikitext-104"], "wikitext-104"),
])
def test_experiment_refuses(arguments, message, capsys):
    assert message in refused(capsys, "experiment", *arguments)


def test_experiment_under_torchrun_without_notebook_packages(tiny, text, tmp_path, monkeypatch):
    """Two processes train together and only the first prints; a copy of their runs is read, not trained again."""
    from allatt.runs import run as run_module

    script = tmp_path / "experiment.py"
    script.write_text(f"""
import sys
sys.modules.update(dict.fromkeys(("scipy", "matplotlib", "papermill", "nbformat", "IPython", "ipykernel")))
sys.path.append({str(repository() / "tests" / "cli")!r})
from test_training import tiny_scale
from allatt.paper import scales
from allatt.cli.main import main
from allatt.cli.training import _remark
scales.SCALES["smoke"] = tiny_scale()
sys.exit(main({["experiment", "methods", *tiny, "--json"]!r}))
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ALLATT_HOME": str(tmp_path / "home"),
                        "PYTHONPATH": str(repository())}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)
    assert len(points) == 6 and len({point["run"] for point in points}) == 6

    shutil.copytree(tmp_path / "home" / "runs", tmp_path / "another" / "runs")
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "another"))
    monkeypatch.setattr(run_module, "_execute", lambda *rest: pytest.fail("trained again"))
    assert main(["experiment", "methods", *tiny]) == 0


@pytest.mark.parametrize("name", ["learning-rates", "lambdas"])
@pytest.mark.parametrize("option", ["--seed", "--seeds"])
def test_what_is_chosen_on_a_seed_of_its_own_takes_no_other(name, option, capsys):
    message = refused(capsys, "experiment", name, "--scale", "smoke", option, "2")
    assert f"{name} are chosen on a seed of their own; leave --seed and --seeds out" in message


def test_all_experiments_leave_out_the_variants_that_a_scale_or_text_cannot_have(tiny, monkeypatch, capsys):
    from allatt.config import AllattError
    from allatt.paper import experiments
    from allatt.paper.experiments import Experiment
    from allatt.paper.study import Study

    def cannot(study, seed, machine):
        raise AllattError("this text has no such tokens")

    monkeypatch.setattr(Study, "can_have", lambda study, tokens: tokens != "words")
    one = Experiment("one run", lambda study, *rest: [study.baseline(KINDS[0])])
    for name in experiments.EXPERIMENTS:
        monkeypatch.setitem(experiments.EXPERIMENTS, name, one)
    monkeypatch.setitem(experiments.EXPERIMENTS, "words", Experiment("none", cannot))
    assert main(["experiment", "all", *tiny, "--seeds", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    expected = [name for name in experiments.EXPERIMENTS if name != "words" for _ in range(2)]
    assert [point["experiment"] for point in json.loads(out)] == expected
    assert err.count("words are left out: this text has no such tokens") == 1
    assert "this text has no such tokens" in refused(capsys, "experiment", "words", *tiny)
    monkeypatch.setitem(experiments.EXPERIMENTS, "characters", Experiment("none", cannot))
    assert main(["experiment", "all", *tiny]) == 2, "a mistake while a variant is prepared that there is: a full disk, say"
    monkeypatch.setitem(experiments.EXPERIMENTS, "characters", one)
    capsys.readouterr()
    monkeypatch.setitem(experiments.EXPERIMENTS, "baselines", Experiment("none", cannot))
    assert "this text has no such tokens" in refused(capsys, "experiment", "all", *tiny), "what each text can have"
    monkeypatch.setitem(experiments.EXPERIMENTS, "baselines", one)
    monkeypatch.setitem(experiments.EXPERIMENTS, "methods", Experiment("none", cannot))
    assert main(["experiment", "all", *tiny, "--json"]) == 2
    out, err = capsys.readouterr()
    before = list(experiments.EXPERIMENTS)[:list(experiments.EXPERIMENTS).index("methods")]
    assert [point["experiment"] for point in json.loads(out)] == before, "what was finished before the failure"
    assert err.strip().endswith("this text has no such tokens")
