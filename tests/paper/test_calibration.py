"""Learning rates, lambdas and the ladder: fair between the kinds, and in the paper's proportions at every rung."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from allatt import cost
from allatt.config import KINDS
from allatt.optimizer import lr_factor
from allatt.paper import calibration, scales
from allatt.paper.calibration import RATES, SHARES, TRIES, WIDTHS, ladder, lambdas, learning_rates, next_lambda, removals
from allatt.paper.study import Study
from allatt.system.files import read_json
from allatt.system.machine import Machine
from allatt.system.paths import repository

OVERNIGHT = Study("overnight", seed=2, count=3)


def test_learning_rates_are_chosen_on_a_seed_that_no_result_uses():
    """The same one, whatever the seeds of the study are."""
    configs = learning_rates(OVERNIGHT)
    assert {config.train.seed for config in configs.values()} == {100}
    assert {key: config.id for key, config in learning_rates(Study("overnight")).items()} == {
        key: config.id for key, config in configs.items()}


def test_both_kinds_are_tried_at_each_rate_with_half_of_a_baseline_s_steps():
    configs = learning_rates(OVERNIGHT)
    assert list(configs) == [(kind, rate) for kind in KINDS for rate in RATES]
    for (kind, rate), config in configs.items():
        baseline = OVERNIGHT.baseline(kind, 100)
        assert (config.model, config.data, config.gates, config.start) == (baseline.model, baseline.data, None, None)
        assert 2 * config.train.steps == baseline.train.steps and 2 * config.train.warmup == baseline.train.warmup
        assert max(config.train.lr * lr_factor(config.train, step) for step in range(config.train.steps)) == rate
    ours, theirs = ([configs[kind, rate].train for rate in RATES] for kind in KINDS)
    assert ours == theirs, "one budget"
    assert len({config.id for config in configs.values()}) == len(configs)


def test_the_overnight_scale_s_rates_are_among_those_that_were_tried():
    assert all(scales.get("overnight").baseline[kind].lr in RATES for kind in KINDS)


@pytest.mark.parametrize("scale", ["laptop", "overnight", "smoke"])
def test_every_rung_of_the_ladder_has_the_paper_s_proportions(scale):
    study = Study(scale)
    for (kind, width, steps), config in ladder(study).items():
        model, own = config.model, scales.model(scale, kind)
        assert (model.kind, model.d_model, config.train.steps) == (kind, width, steps)
        assert model.persistent == model.feed_forward == 4 * width and model.heads * model.d_head == width
        assert model.heads == 8 and model.segment == model.memory
        shape = {name: getattr(own, name) for name in ("d_model", "d_head", "persistent", "feed_forward")}
        assert replace(model, **shape) == own, "nothing else changes"


@pytest.mark.parametrize("scale", ["laptop", "overnight"])
def test_the_ladder_climbs_in_tokens_and_in_size(scale):
    study, rungs = Study(scale), ladder(Study(scale))
    for kind in KINDS:
        whole, own = study.baseline(kind), scales.model(scale, kind).d_model
        tokens = {(own, int(share * whole.train.steps)) for share in SHARES}
        assert {key[1:] for key in rungs if key[0] == kind} == tokens | {(width, whole.train.steps) for width in WIDTHS}
        assert rungs[kind, own, whole.train.steps].id == whole.id, "the baseline itself is a rung, trained once"
        for width, steps in tokens:
            train = rungs[kind, width, steps].train
            share = steps / whole.train.steps
            assert train.warmup == pytest.approx(share * whole.train.warmup, abs=0.5), "the same share, to the nearest step"
            assert train.lr == whole.train.lr and train.lr * lr_factor(train, steps) == pytest.approx(train.lr * train.final_lr)
    assert min(SHARES) <= 1 / 8 and max(WIDTHS) / min(WIDTHS) >= 3


@pytest.mark.parametrize("scale", ["laptop", "overnight"])
def test_both_kinds_stand_on_the_same_rungs_with_bodies_of_equal_size(scale):
    rungs = ladder(Study(scale))
    keys = [{key[1:] for key in rungs if key[0] == kind} for kind in KINDS]
    assert keys[0] == keys[1]
    for key in keys[0]:
        ours, theirs = (cost.count(rungs[kind, *key].model)["parameters"]["body"] for kind in KINDS)
        assert ours == pytest.approx(theirs, rel=0.01)


def test_the_ladder_takes_the_seed_that_is_asked_for():
    assert {config.train.seed for config in ladder(OVERNIGHT).values()} == {2}
    assert {config.train.seed for config in ladder(OVERNIGHT, 4).values()} == {4}


@pytest.mark.parametrize("scale, steep", [(0.001, 1), (0.05, 2), (3, 0.7), (0.05, 6)])
def test_lambdas_are_found_by_the_heads_they_leave(scale, steep):
    """Heads fall along a made-up curve; every wanted share gets a point, and the search ends."""
    wanted, kept = (0.1, 0.2, 0.3, 0.35), {}
    while (lam := next_lambda(kept, 64, wanted, 0.04)) is not None:
        assert lam not in kept and len(kept) < 25
        kept[lam] = round(64 / (1 + (lam / scale) ** steep))
    for share in wanted:
        assert min(abs(have - 64 * (1 - share)) for have in kept.values()) <= 2.61  # 2 heads, and rounding
    assert min(kept.values()) <= 64 * 0.65, "a sweep that ends above cannot be compared there"


@pytest.mark.parametrize("kept, heads, share, expected", [
    ({0.02: 24, 0.05: 15, 0.12: 7, 0.3: 3}, 32, 0.9199, 0.6), ({0.02: 24, 0.05: 15, 0.12: 7, 0.3: 2}, 32, 0.9199, None),
    ({0.02: 29, 0.04: 26, 0.06: 22, 0.085: 21}, 32, 0.35, 0.17), ({0.02: 29, 0.04: 26, 0.06: 22, 0.085: 20}, 32, 0.35, None)])
def test_the_last_share_is_reached_and_not_only_rounded_to(kept, heads, share, expected):
    """2.57 heads are not reached by 3, nor 20.8 by 21."""
    assert next_lambda(kept, heads, (share,), 0.1) == expected


def test_the_search_for_lambdas_ends_if_heads_fall_in_one_step():
    kept = {}
    while (lam := next_lambda(kept, 64, (0.5,), 1.0)) is not None:
        kept[lam] = 64 if lam < 0.7 else 0
        assert len(kept) < 30
    assert {64, 0} == set(kept.values())


@pytest.fixture
def heads_by_lambda(monkeypatch):
    """Runs whose heads fall along a made-up curve, and which have no losses; the value is what was trained side by side."""
    together = []
    monkeypatch.setattr(calibration, "get_or_run_all", lambda configs, machine: together.append(list(configs)))

    def fake(config, machine):
        share = 1 / (1 + (config.gates.lam / {"all-attention": 0.2, "transformer-xl": 0.02}[config.model.kind]) ** 2)
        return SimpleNamespace(result={"heads": {"total": round(share * 32)}})

    monkeypatch.setattr(calibration, "get_or_run", fake)
    return together


def test_lambdas_of_a_sweep_are_chosen_by_counts_alone(heads_by_lambda):
    """On the seed for calibration, from baselines of full length; each kind gets points near what its sweep has to reach."""
    configs = lambdas(OVERNIGHT)
    assert [len({config.model.kind for config in pair}) for pair in heads_by_lambda[:2]] == [2, 2], "side by side"
    trained = [config for pair in heads_by_lambda for config in pair]
    assert sorted(config.id for config in trained) == sorted(config.id for config in configs.values()), "each once"
    for (kind, lam), config in configs.items():
        assert config.start == OVERNIGHT.baseline(kind, 100) and config == OVERNIGHT.pruning(kind, lam, 100).gated
    for kind in KINDS:
        lams = [lam for k, lam in configs if k == kind]
        assert scales.get("overnight").example in lams and lams == sorted(lams) and 3 <= len(lams) <= TRIES
        kept = [calibration.get_or_run(configs[kind, lam], None).result["heads"]["total"] for lam in lams]
        assert min(kept) <= 32 * (1 - removals("overnight")[kind][-1]) + 1, "the last comparison is reached"


def test_within_a_limit_of_time_lambdas_are_tried_one_by_one(heads_by_lambda):
    assert lambdas(OVERNIGHT, Machine(until=1e12)).keys() == lambdas(OVERNIGHT).keys()
    assert lambdas(OVERNIGHT, Machine(until=1e12)) and len(heads_by_lambda) == TRIES, "only the second one's"


def test_sweeps_are_wanted_where_bodies_are_compared_at_equal_size():
    """At the paper's size: 10, 20, 30 and 35% of All-attention's heads, and what a Transformer-XL as small has lost."""
    shares = removals("paper")
    assert shares["all-attention"] == pytest.approx((0.1, 0.2, 0.3, 0.35))
    assert [round(100 * share) for share in shares["transformer-xl"]] == [26, 52, 78, 91]
    bodies = []
    for kind, removed in (("all-attention", 32), ("transformer-xl", round(128 * shares["transformer-xl"][1] * 25 / 20))):
        model = scales.model("paper", kind)
        kept = tuple(tuple(range(8 - (layer < removed % 16) - removed // 16)) for layer in range(16))
        bodies.append(cost.count(replace(model, kept=kept))["parameters"]["body"])
    assert bodies[0] == pytest.approx(bodies[1], rel=0.01), "a quarter of All-attention's heads, in between"


def test_the_committed_ladder_is_that_of_its_records():
    """figures/overnight/README.md, both tables: losses, runs and gaps; 7 rungs, of which the scale's own is in both."""
    folder = repository() / "figures" / "overnight"
    loss, gap = r"([\d.]+) \(([\d.]+)\) \| ([0-9a-f]{12})", r"([\d.]+) \(([\d.]+)\)"
    rows = re.findall(rf"\| {loss} \| {loss} \| {gap} \|", (folder / "README.md").read_text(encoding="utf-8"))
    assert len(rows) == 8 and len({row[2] for row in rows}) == 7
    for row in rows:
        pair = [read_json(folder / "runs" / f"{run}.json", "commit it") for run in (row[2], row[5])]
        assert [record["config"]["model"]["kind"] for record in pair] == list(KINDS)
        for i, split in enumerate(("test", "valid")):
            ours, theirs = (record["result"][split]["loss"] for record in pair)
            assert (row[i], row[3 + i], row[6 + i]) == (f"{ours:.3f}", f"{theirs:.3f}", f"{ours - theirs:.3f}")
