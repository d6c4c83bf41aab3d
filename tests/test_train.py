"""The loop: schedules, accumulation, resuming, processes, and that gates and weights learn."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from allatt.config import AllattError, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.gates import HeadGates
from allatt.model import LanguageModel
from allatt.system.machine import Machine
from allatt.system.paths import repository
from allatt.train import Trainer, backward

MODEL = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=4, memory=4, positions=5, init="unit",
                    drop_attention=0.1, drop_projection=0.1, drop_word=0.1)
TRAIN = TrainConfig(steps=12, rows=4, lr=0.01, warmup=2)
GATES = GateConfig(lam=0.3, penalty_warmup=3, lr=0.2)
DENSE = RunConfig("dense", model=MODEL, train=TRAIN)
GATED = RunConfig("gated", model=MODEL, train=TRAIN, gates=GATES)
TARGET = replace(GATED, name="target", gates=replace(GATES, lam=0.0, target_kept=0.5))
SKIPPING = replace(GATED, name="skipping", train=replace(TRAIN, skip=7))
QUIET = Machine(device="cpu", log_every=3, checkpoint_seconds=1e9, progress=False)
IDS = np.random.default_rng(0).integers(0, 9, 150).astype(np.uint8)  # two epochs and a bit in 12 steps of 4 x 4


def trainer(config, folder, machine=QUIET):
    torch.manual_seed(0)
    model = LanguageModel(config.model, 9)
    gates = HeadGates(config.gates, 2, 2) if config.gates else None
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(config, model, gates, IDS, folder, machine)


def state(t):
    parts = {f"model.{k}": v for k, v in t.model.state_dict().items()}
    return parts | ({f"gates.{k}": v for k, v in t.gates.state_dict().items()} if t.gates else {})


def metrics(folder):
    keys = ("step", "loss", "grad_norm", "lr", "kept", "lambda")
    return [{k: line[k] for k in keys if k in line} for line in map(json.loads, (folder / "metrics.jsonl").open())]


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("micro_rows", [1, 2, 3])
def test_micro_batches_change_nothing(gated, micro_rows):
    torch.manual_seed(0)
    config = replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0)
    model, gates = LanguageModel(config, 9).double(), HeadGates(GATES, 2, 2).double()
    ids = torch.randint(0, 9, (4, 9))
    memory = model(ids[:, :4], model.empty_memory(4))[1]
    found = []
    for rows in (4, micro_rows):
        model.zero_grad()
        gates.zero_grad()
        gate = gates.sample(torch.Generator().manual_seed(2)) if gated else None
        loss, after = backward(model, ids[:, 4:8], ids[:, 5:], memory, gate, rows, "fp32")
        gradients = [p.grad.clone() for p in [*model.parameters(), *(gates.parameters() if gated else ())]]
        found.append([loss, after.hidden_LBMD, *gradients])
    assert max((a - b).abs().max() for a, b in zip(*found, strict=True)) < 1e-12


@pytest.mark.parametrize("config", [DENSE, GATED, TARGET, SKIPPING], ids=["dense", "gated", "target", "skipping"])
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_an_interrupted_run_continues_bitwise(config, optimizer, tmp_path):
    config = replace(config, train=replace(config.train, optimizer=optimizer))
    whole = trainer(config, tmp_path / "whole")
    whole.run()
    first = trainer(config, tmp_path / "cut")
    often = replace(QUIET, checkpoint_seconds=0.0)
    first.machine = often
    original = first.one_step

    def dies_in_step_8():
        if first.step == 8:
            raise KeyboardInterrupt
        return original()

    first.one_step = dies_in_step_8
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = trainer(config, tmp_path / "cut")
    torch.manual_seed(12345)  # whatever a process has drawn before must not matter
    second.run()
    assert second.step == 12
    for name, tensor in state(whole).items():
        assert torch.equal(tensor, state(second)[name]), name
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def test_noise_of_the_gates_depends_on_the_seed_alone(tmp_path, monkeypatch):
    """With and without dropout, and whatever torch's own generator has drawn: the numbers of a generator of this seed."""
    without = replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0)
    half = GateConfig(initial=0.0, lr=0.0, output_scaling=False)
    generator, expected = torch.Generator().manual_seed(5), HeadGates(half, 2, 2)
    expected = [expected.sample(generator).detach() for _ in range(6)]
    for number, model in enumerate((MODEL, without)):
        t = trainer(replace(GATED, model=model, gates=half, train=replace(TRAIN, seed=5)), tmp_path / str(number))
        torch.manual_seed(number)
        sample, samples = t.gates.sample, []
        monkeypatch.setattr(t.gates, "sample", lambda *given, of=sample, to=samples: (to.append(of(*given)), to[-1])[1])
        for _ in range(6):
            t.one_step()
        assert all(torch.equal(ours.detach(), theirs) for ours, theirs in zip(samples, expected, strict=True))


def test_memory_starts_empty_at_each_epoch(tmp_path, monkeypatch):
    t, filled = trainer(DENSE, tmp_path), []
    loss = t.model.loss
    monkeypatch.setattr(t.model, "loss", lambda i, o, memory, gate: (filled.append(memory.filled), loss(i, o, memory, gate))[1])
    for _ in range(2 * t.stream.steps_per_epoch):
        t.one_step()
    epoch = [0] + [4] * (t.stream.steps_per_epoch - 1)
    assert filled == epoch * 2 and len(epoch) > 2


def batches_read(t, steps, monkeypatch):
    """What `steps` steps give to the model: the ids of each batch, and how much memory there was before."""
    read, loss = [], t.model.loss
    monkeypatch.setattr(t.model, "loss", lambda i, o, memory, gate: (read.append((i.tolist(), o.tolist(), memory.filled)),
                                                                    loss(i, o, memory, gate))[1])
    for _ in range(steps):
        t.one_step()
    return read


def test_a_later_stage_reads_on_where_the_earlier_one_stopped(tmp_path, monkeypatch):
    """Two stages see the text of one, in the same order, across the end of an epoch of 9 steps."""
    whole = batches_read(trainer(DENSE, tmp_path), 20, monkeypatch)
    assert [target for _, target, _ in whole[:9]] != [target for _, target, _ in whole[11:]]
    assert whole[0][0][1] == IDS[37:41].tolist() and whole[8][1][3] == IDS[111 + 33:111 + 37].tolist(), "rows of 37 ids"
    later = replace(DENSE, train=replace(TRAIN, skip=13))
    ids = [read[:2] for read in whole]
    rest = batches_read(trainer(later, tmp_path), 7, monkeypatch)
    assert [read[:2] for read in rest] == ids[13:] and ids[13] == ids[4]
    assert [filled for *_, filled in rest] == [0, 4, 4, 4, 4, 0, 4], "a new run has no memory, and an epoch begins at step 18"


@pytest.mark.parametrize("config", [GATED, TARGET], ids=["gated", "target"])
def test_skipped_steps_are_no_steps_of_training(config, tmp_path):
    """The learning rates and lambda begin at their warm-ups; tokens are counted from the run's own start."""
    seen, losses = [], []
    for skip in (0, 7):
        gates = replace(config.gates, lr=0.0)  # so that a lambda that is steered follows from the step alone
        t = trainer(replace(config, gates=gates, train=replace(TRAIN, skip=skip)), tmp_path / str(skip))
        steps = [(t.one_step(), [group["lr"] for group in t.optimizer.param_groups]) for _ in range(5)]
        seen.append([(float(measured["lambda"]), measured["lr"], rates) for measured, rates in steps])
        losses.append([measured["loss"].item() for measured, _ in steps])
        t.losses = [steps[-1][0]["loss"]]
        assert t.metrics_line(steps[-1][0])["tokens"] == 5 * 16
    assert seen[0] == seen[1] and losses[0] != losses[1]
    assert len({lam for lam, *_ in seen[0]}) >= 3 and [rates[0] for *_, rates in seen[0]][:2] == [0.005, 0.01]


@pytest.mark.parametrize("skip", [0, 30])
def test_each_step_has_its_batch_ready_and_prepares_the_next(skip, tmp_path, monkeypatch):
    t, calls = trainer(replace(DENSE, train=replace(TRAIN, skip=skip)), tmp_path), []
    batch, stepped = t.feed.batch, t.optimizer.step
    monkeypatch.setattr(t.feed, "batch", lambda step, device: (calls.append(("batch", step)), batch(step, device))[1])
    monkeypatch.setattr(t.feed, "prepare", lambda step, device: calls.append(("prepare", step)))
    monkeypatch.setattr(t.optimizer, "step", lambda: (calls.append("work is queued"), stepped())[1])
    t.step = 5
    t.one_step()
    assert calls == [("batch", skip + 5), "work is queued", ("prepare", skip + 6)]


def test_the_model_learns_and_heavy_pruning_closes_heads(tmp_path):
    pattern = np.tile(np.arange(6, dtype=np.uint8), 200)
    config = replace(GATED, train=replace(TRAIN, steps=150), gates=replace(GATES, lam=5.0),
                     model=replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0))
    torch.manual_seed(0)
    model, gates = LanguageModel(config.model, 9), HeadGates(config.gates, 2, 2)
    Trainer(config, model, gates, pattern, tmp_path, QUIET).run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[0]["loss"] > 1.5 and lines[-1]["loss"] < lines[0]["loss"] - 0.5
    assert gates.kept().sum() == 0 and lines[-1]["kept"] == ["00", "00"]
    assert lines[-1]["lambda"] == 5.0 and lines[0]["expected_open"] > lines[-1]["expected_open"]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_target_is_met_within_one_head(share, tmp_path):
    config = replace(TARGET, model=replace(MODEL, heads=4), train=replace(TRAIN, steps=40),
                     gates=replace(TARGET.gates, target_kept=share))
    torch.manual_seed(0)
    gates = HeadGates(config.gates, 2, 4)
    Trainer(config, LanguageModel(config.model, 9), gates, IDS, tmp_path, QUIET).run()
    assert abs(gates.kept().sum() - 8 * share) <= (share not in (0, 1))
    lambdas = [line["lambda"] for line in metrics(tmp_path)]
    assert max(lambdas) > 0.01 if share < 1 else max(lambdas) <= 0, "metrics tell how hard it had to press"


def test_lambda_zero_is_training_without_pressure(tmp_path):
    """The control: gates are sampled, and the penalty adds nothing to their gradient."""
    gradients = []
    for lam in (0.0, 0.3):
        t = trainer(replace(GATED, gates=GateConfig(lam=lam, lr=0.2, initial=0.0)), tmp_path / str(lam))
        t.optimizer.zero_grad = lambda **kwargs: None
        t.one_step()
        gradients.append(t.gates.logit_LH.grad)
    pressure = torch.autograd.grad(t.gates.penalty(), t.gates.logit_LH)[0]  # after the step: nearly where it was before
    assert torch.allclose(gradients[1] - gradients[0], 0.3 * pressure, rtol=0.3)
    assert gradients[0].abs().sum() > 0


def test_gates_have_their_own_learning_rate_and_no_decay(tmp_path):
    t = trainer(replace(GATED, train=replace(TRAIN, weight_decay=0.3)), tmp_path)
    groups = [(g["base_lr"], g["weight_decay"]) for g in t.optimizer.param_groups]
    assert groups == [(0.01, 0.3), (0.01, 0.0), (0.2, 0.0)]
    names = {id(p): name for name, p in t.model.named_parameters()}
    plain = {names[id(p)] for p in t.optimizer.param_groups[1]["params"]}
    assert plain == {name for name in names.values() if "bias" in name or "norm" in name} and len(plain) == 11
    counted = sum(len(g["params"]) for g in t.optimizer.param_groups)
    assert counted == len(list(t.model.parameters())) + 1


@pytest.mark.parametrize("clipped", [True, False])
def test_gates_are_clipped_with_the_weights_or_not_at_all(clipped, tmp_path, monkeypatch):
    """One factor for all gradients that are clipped, so that their norm together is the largest one allowed."""
    found = []
    for clip in (1e9, 1e-3):
        gates = replace(GATES, initial=0.0, clipped=clipped)
        t = trainer(replace(GATED, gates=gates, train=replace(TRAIN, clip=clip)), tmp_path / str(clip))
        monkeypatch.setattr(t.optimizer, "step", lambda of=t: found.append((
            torch.cat([p.grad.flatten() for p in of.model.parameters()]), of.gates.logit_LH.grad.flatten().clone())))
        norm = t.one_step()["grad_norm"]
    (weights, gates), (small_weights, small_gates) = found
    assert gates.norm() > 0.01 * weights.norm() > 0
    if clipped:
        weights, small_weights = torch.cat([weights, gates]), torch.cat([small_weights, small_gates])
    else:
        assert torch.equal(small_gates, gates)
    assert norm == pytest.approx(weights.norm().item(), rel=1e-5)
    assert torch.allclose(small_weights, weights * 1e-3 / weights.norm(), rtol=1e-2, atol=1e-9)


def test_the_log_holds_every_gate(tmp_path):
    t = trainer(replace(GATED, gates=replace(GATES, initial=0.0, lam=0.01)), tmp_path)
    t.run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    last = lines[-1]
    assert torch.allclose(torch.tensor(last["logits"]), t.gates.logit_LH, atol=6e-4) and t.gates.logit_LH.min() < -0.1
    assert last["kept"] == ["".join("10"[a < 0] for a in layer) for layer in t.gates.logit_LH.tolist()]
    assert all(line["logits"] != last["logits"] for line in lines[:-1])
    trainer(DENSE, tmp_path / "dense").run()
    assert not {"logits", "kept", "lambda"} & set(json.loads((tmp_path / "dense" / "metrics.jsonl").open().readline()))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    t = trainer(replace(DENSE, train=replace(TRAIN, lr=1e12, clip=1e12, warmup=0)), tmp_path)
    with pytest.raises(AllattError, match="the (loss|gradient) is (nan|inf).* at step"):
        t.run()


def test_weights_stay_fp32_in_bf16_and_the_loss_is_near(tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        t = trainer(replace(DENSE, train=replace(TRAIN, precision=precision)), tmp_path / precision)
        losses[precision] = [t.one_step()["loss"].item() for _ in range(3)]
        assert all(p.dtype == torch.float32 for p in t.model.parameters())
    assert np.allclose(losses["fp32"], losses["bf16"], atol=0.05) and losses["fp32"] != losses["bf16"]


PROCESSES = """
import sys, torch, torch.distributed as dist
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_train import *
dist.init_process_group("gloo")
model = replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0)
t = trainer(replace(TARGET if sys.argv[3] == "target" else GATED, model=model), Path(sys.argv[1]))
t.run()
if dist.get_rank() == 0:
    t.model.save(Path(sys.argv[1]) / "model.safetensors")
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # as allatt.__main__ does
"""


@pytest.mark.parametrize("config, processes", [(TARGET, 2), (GATED, 4)], ids=["target by two", "gated by four"])
def test_processes_are_one_process_with_as_many_rows(config, processes, tmp_path):
    model = replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0)
    alone = trainer(replace(config, model=model), tmp_path / "one")
    alone.run()
    script = tmp_path / "two.py"
    script.write_text(PROCESSES)
    root = repository()
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(script),
                    str(tmp_path / "two"), str(root / "tests"), config.name], check=True, capture_output=True, timeout=120,
                   env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"})
    together = load_file(tmp_path / "two" / "model.safetensors")
    for name, tensor in alone.model.state_dict().items():
        assert torch.allclose(tensor, together[name], atol=1e-5), name
    a, b = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [line["kept"] for line in a] == [line["kept"] for line in b]
    assert np.allclose([line["lambda"] for line in a], [line["lambda"] for line in b], atol=1e-5)
    assert np.allclose([line["loss"] for line in a], [line["loss"] for line in b], atol=1e-5)


def test_rows_must_divide_among_processes(monkeypatch, tmp_path):
    monkeypatch.setattr("allatt.train.rank_and_world", lambda: (0, 3))
    with pytest.raises(AllattError, match="4 rows do not divide among 3 processes"):
        trainer(DENSE, tmp_path)


def test_perplexity_is_the_exponential_of_the_loss(tmp_path):
    trainer(DENSE, tmp_path).run()
    for line in map(json.loads, (tmp_path / "metrics.jsonl").open()):
        assert line["perplexity"] == pytest.approx(math.exp(line["loss"]))
        assert line["tokens"] == line["step"] * 16


def test_a_run_of_less_than_a_second_shows_no_bar(tmp_path, monkeypatch, capsys):
    """Dozens of them in one cell would flood the notebook; a longer one shows a line, and where it stands."""
    for change, shown in (({}, False), ({"delay": 0}, True)):
        monkeypatch.setattr("allatt.train.tqdm", lambda change=change, **given: tqdm(**given | change))
        trainer(DENSE, tmp_path / str(shown), replace(QUIET, progress=True)).run()
        assert ("dense" in capsys.readouterr().err) == shown


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_is_the_same_but_for_rounding(tmp_path):
    """All three kinds of dropout off: a compiled pass draws its own random numbers."""
    plain = replace(MODEL, drop_attention=0.0, drop_projection=0.0, drop_word=0.0)
    config = replace(GATED, model=plain, train=replace(TRAIN, steps=3))
    runs = {}
    for compile in ("off", "on"):
        t = trainer(config, tmp_path / compile, replace(QUIET, compile=compile, log_every=1))
        t.run()
        assert not t.model.compiled, "the evaluation's shapes would be compiled, too"
        runs[compile] = metrics(tmp_path / compile)
    for one, other in zip(runs["off"], runs["on"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5) and one["kept"] == other["kept"]
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("rate, price", [(0.0, ""), (6.0, r" \(1,234\.00 at 6 per hour\)")])
def test_a_long_run_says_once_how_long_it_takes_and_what_it_costs(tmp_path, monkeypatch, capsys, rate, price):
    """By a clock on which everything takes the same time: the rest after 15 of 40 steps takes the 25 that are left."""
    t = trainer(replace(DENSE, train=replace(TRAIN, steps=40)), tmp_path)
    t.machine, t.log_every = replace(t.machine, rate=rate), 5
    seconds = 1234 / 6 * 3600 / 25 if rate else 60
    ticks = iter(range(10**6))
    monkeypatch.setattr("allatt.train.time.monotonic", lambda: next(ticks) * seconds)
    monkeypatch.setattr(t, "due", lambda seconds: False)
    t.run()
    said = capsys.readouterr().err.splitlines()
    minutes = f"{25 * seconds / 60:,.0f}"
    assert len(said) == 1 and said[0].startswith(f"allatt: run {t.config.id} (")
    assert re.search(rf"\): [\d,]+ tokens/s, about {minutes} minutes{price} of training left$", said[0])


def test_a_short_run_says_nothing(tmp_path, capsys):
    trainer(DENSE, tmp_path).run()
    assert capsys.readouterr().err == ""
