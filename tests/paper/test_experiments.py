"""Experiments share runs, differ in what they say they differ in, and read off what is there and no more."""

import math
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from allatt import cost
from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig, to_dict
from allatt.data.download import Unreachable
from allatt.data.tokens import load, pin
from allatt.evaluate import nll
from allatt.importance import head_importance, most_important
from allatt.paper import curves, experiments, scales, stats
from allatt.runs import Run, get_or_run
from allatt.train import Machine

KIND = "all-attention"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    sentence = "the head of a layer looks back at what was said before .\n"
    for split, times in (("train", 40), ("valid", 5), ("test", 4)):
        (folder / f"wiki.{split}.tokens").write_text(sentence * times)
    return folder


@pytest.fixture(scope="module")
def pruned(text, home_of_tests) -> Run:
    """A real run of a few steps: two layers of two heads, and gates of which some close."""
    model = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9)
    data = pin(DataConfig(corpus=str(text), tokens="characters"))
    start = RunConfig("tiny", data, model, TrainConfig(steps=3, rows=2, lr=1e-2))
    gates = GateConfig(lam=1e-4, initial=0.0, lr=0.1)  # the task alone pushes some up and some down
    return get_or_run(RunConfig("tiny pruned", data, model, TrainConfig(steps=3, rows=2), gates, start),
                      Machine(device="cpu", progress=False))


# Which runs there are

@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_notebooks_share_runs(scale):
    example = experiments.pruning(scale, KIND, scales.get(scale).example)
    swept = {config.id for config in experiments.sweep(scale, KIND)}
    assert example.id in swept, "the pruned model of notebook 05 is one of the sweep"
    assert experiments.techniques(scale)["all three"].id == example.id
    assert example.start.id == experiments.baseline(scale, KIND).id


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_everything_has_each_run_once_and_each_start(scale):
    configs = experiments.everything(scale, seeds=2)
    ids = [config.id for config in configs]
    assert len(ids) == len(set(ids))
    lambdas = scales.get(scale).lambdas
    # Two baselines, the sweeps with a control each, four variants (the fifth, all three, is in the sweep), one of random
    # weights, and one to a target.
    assert len(ids) == 2 + sum(1 + len(values) for values in lambdas.values()) + 4 + 2
    seen = set()
    for config in configs:
        assert config.start is None or config.start.id in seen, f"{config.name} comes before its start"
        seen.add(config.id)


def test_a_sweep_begins_with_its_control_and_changes_lambda_alone():
    control, *others = experiments.sweep("laptop", KIND)
    lambdas = [config.gates.lam for config in others]
    assert control.gates.lam == 0 and lambdas == sorted(lambdas) and lambdas[0] > 0
    for config in others:
        assert replace(config, name=control.name, gates=replace(config.gates, lam=0.0)) == control
        assert config.train.steps == control.train.steps


def test_techniques_differ_in_exactly_the_named_switch():
    variants = experiments.techniques("laptop")
    full = variants["all three"]
    assert full.gates.initial == 2 and full.gates.penalty_warmup > 0 and full.gates.output_scaling
    expected = {"all three": set(), "gates start half open": {"initial"}, "no penalty warm-up": {"penalty_warmup"},
                "no output scaling": {"output_scaling"},
                "none of the three": {"initial", "penalty_warmup", "output_scaling"}}
    assert set(variants) == set(expected)
    for name, config in variants.items():
        changed = {f.name for f in fields(GateConfig) if getattr(config.gates, f.name) != getattr(full.gates, f.name)}
        assert changed == expected[name], name
        assert replace(config, name=full.name, gates=full.gates) == full, name


def test_a_target_is_the_control_with_a_lambda_that_adapts():
    config = experiments.to_target("laptop", KIND, 0.5, seed=3)
    control = experiments.pruning("laptop", KIND, 0.0, seed=3)
    assert config.gates.target_kept == 0.5 and config.name == "all-attention target 0.5" and config.id != control.id
    assert replace(config, name=control.name, gates=replace(config.gates, target_kept=None)) == control
    assert experiments.to_target("laptop", KIND, 1).id == experiments.to_target("laptop", KIND, 1.0).id


@pytest.mark.parametrize("make, run_id", [
    (lambda: experiments.baseline("laptop", KIND), "6baf8f25072e"),
    (lambda: experiments.pruning("laptop", KIND, 0.07), "8831e2d18432"),
    (lambda: experiments.pruning("smoke", "transformer-xl", 0.3), "7b9023a01d38"),
], ids=["baseline", "pruning", "smoke"])
def test_runs_keep_their_names(make, run_id):
    """These are committed with the figures, and lie in users' folders."""
    assert make().id == run_id


def test_techniques_at_another_lambda_are_other_runs():
    assert all(config.gates.lam == 0.123 for config in experiments.techniques("smoke", lam=0.123).values())
    assert not ({c.id for c in experiments.techniques("smoke", lam=0.123).values()}
                & {c.id for c in experiments.techniques("smoke").values()})


def test_gates_on_random_weights_have_as_many_steps_as_all_others():
    full, config = experiments.techniques("laptop")["all three"], experiments.untrained("laptop")
    assert config.start is None and (config.gates, config.model, config.data) == (full.gates, full.model, full.data)
    assert config.train.steps == full.train.steps + full.start.train.steps
    assert replace(config.train, steps=full.start.train.steps) == full.start.train


def test_rivals_keep_as_many_heads_in_as_many_steps(home_of_tests):
    """Real runs at the smoke scale: the target, and then what follows from it."""
    machine = Machine(device="cpu", progress=False)
    rivals = experiments.rivals("smoke", "", 5, machine)
    gates, base = get_or_run(rivals[experiments.GATES]), get_or_run(rivals[experiments.GATES].start)
    learned, total = gates.result["heads"]["kept"], gates.result["heads"]["total"]
    assert rivals[experiments.GATES] == experiments.to_half("smoke", "", 5)
    steps = base.config.train.steps + gates.config.train.steps
    for name, config in rivals.items():
        assert config.train.steps + (config.start.train.steps if config.start else 0) == steps, name
        assert config.train.seed == 5 and (name == experiments.GATES or sum(config.model.heads_per_layer) == total), name
    random, even, gradient, scratch = (rivals[name].model.kept for name in (
        "random heads", "even layers", "gradient importance", "its shape from scratch"))
    assert [*map(len, random)] == [*map(len, learned)] and [list(heads) for heads in scratch] == learned
    small = rivals["its shape from scratch"].start
    assert small == replace(base.config, name=small.name, model=rivals["its shape from scratch"].model)
    assert rivals["its shape from scratch"].train == rivals["random heads"].train, "the same two stages"
    assert max(map(len, even)) - min(map(len, even)) <= 1
    logit_LH = gates.gates().logit_LH
    for layer, heads in enumerate(even):
        others = [h for h in range(4) if h not in heads]
        assert not heads or not others or min(logit_LH[layer, list(heads)]) >= max(logit_LH[layer, others])
    assert gradient == most_important(head_importance(base.load(), load(base.config.data).train), total)
    assert rivals == experiments.rivals("smoke", "", 5, machine)
    run = get_or_run(rivals["random heads"], machine)
    assert run.result["heads"]["kept"] == [list(heads) for heads in random]


def test_heads_are_ranked_by_gradient_once(pruned, monkeypatch):
    base = get_or_run(pruned.config.start)
    scores = experiments._importance(base)
    assert torch.equal(scores, head_importance(base.load(), load(base.config.data).train))
    monkeypatch.delattr(experiments, "head_importance")
    assert torch.equal(experiments._importance(base), scores), "read, bit for bit"
    monkeypatch.setattr(experiments, "ROWS", 1)
    with pytest.raises(NameError):
        experiments._importance(base)  # scores of another amount of text are not read
    (base.folder / "importance.json").write_text("{")
    with pytest.raises(AllattError, match=r"importance\.json cannot be read .* remove it and run again"):
        experiments._importance(base)
    (base.folder / "importance.json").unlink()


def test_off_the_curve_inside_and_beyond_its_end():
    curve = [{"heads": heads, "test_loss": loss} for heads, loss in ((8, 4.0), (4, 4.4), (2, 5.0))]
    at = curves.off_the_curve
    assert at({"heads": 6, "test_loss": 4.5}, curve) == pytest.approx(0.3)
    assert at({"heads": 1, "test_loss": 4.6}, curve) == pytest.approx(-0.4), "fewer heads and better than the smallest"
    assert at({"heads": 1, "test_loss": 5.1}, curve) is None and at({"heads": 9, "test_loss": 3.0}, curve) is None


def test_readings_at_equal_parameters_and_at_equal_loss_by_hand():
    ours = [{"sparsity": s, "body_parameters": 100 * (1 - s), "test_loss": loss} for s, loss in ((0, 4.0), (0.5, 4.2))]
    theirs = [{"sparsity": s, "body_parameters": 100 - 40 * s, "test_loss": loss} for s, loss in ((0, 4.0), (1, 4.8))]
    assert curves.gain(ours, theirs, 0.2) == pytest.approx(4.4 - 4.08)  # both at 80 parameters
    assert curves.gain(ours, theirs, 0.45) is None, "Transformer-XL ends at 60"
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.25) == pytest.approx(0.5)  # both lose 0.2
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.1) == pytest.approx(0.2)
    assert curves.sparsity_at_equal_loss(ours, theirs, 0.5) == 0.5, "even the smallest of ours is better: a bound"
    worse = [p | {"test_loss": p["test_loss"] + 1} for p in ours]
    assert curves.sparsity_at_equal_loss(worse, theirs, 0.25) is None, "never as good"
    twins = [{"x": x, "y": y} for x, y in ((0, 0.0), (1, 1.0), (1, 3.0), (2, 6.0))]
    assert curves.interpolate(twins, "x", "y", 1) == 2 and curves.interpolate(twins, "x", "y", 1.5) == 4
    assert curves.interpolate(twins, "x", "y", 0.5) == 1 and curves.interpolate(twins[1:3], "x", "y", 1) == 2


def test_average_is_over_seeds_at_each_lambda():
    points = [{"lambda": lam, "heads": heads, "seed": seed, "name": "a"}
              for seed, lam, heads in ((0, 0.1, 4), (0, 0.0, 8), (1, 0.1, 6), (1, 0.0, 8))]
    assert curves.average(points) == [{"lambda": 0.0, "heads": 8, "seeds": 2}, {"lambda": 0.1, "heads": 5, "seeds": 2}]


def test_one_seed_of_the_laptop_scale_leaves_out_what_is_long():
    assert not experiments.whole("laptop", 1) and experiments.whole("laptop", 2) and experiments.whole("smoke", 1)
    short, long = experiments.everything("laptop"), experiments.everything("laptop", seeds=3)
    assert [config for config in long if config not in short] == [experiments.untrained("laptop")]
    assert set(experiments.variants("laptop")) == set(experiments.TECHNIQUES)
    assert set(experiments.variants("laptop", seeds=2)) == set(experiments.variants("smoke")) == {
        *experiments.TECHNIQUES, experiments.UNTRAINED}


def test_a_seed_reaches_the_baseline_and_the_pruning():
    config = experiments.pruning("smoke", KIND, 0.1, seed=3)
    assert config.train.seed == config.start.train.seed == 3
    assert config.id != experiments.pruning("smoke", KIND, 0.1).id
    assert config.start.id != experiments.baseline("smoke", KIND).id


def test_another_corpus_keeps_the_scale_s_tokens(text):
    config = experiments.baseline("smoke", KIND, corpus=str(text))
    assert config.data.corpus == str(text) and config.data.vocab_size == scales.get("smoke").data.vocab_size
    checksums = {config.data.text_sha256, experiments.data("smoke").text_sha256}
    assert len(checksums) == 2 and "" not in checksums, "runs are named by the text they read"


@pytest.mark.parametrize("variant", ["smoke-characters", "laptop-words"])
def test_a_variant_has_sweeps_like_a_scale(variant):
    for kind in scales.KINDS:
        control, *pruned = experiments.sweep(variant, kind, seed=2)
        assert len(pruned) == len(scales.get(variant).lambdas[kind]) and control.gates.lam == 0
        assert control.start == experiments.baseline(variant, kind, seed=2)
        assert control.data == experiments.data(variant) and control.data.tokens == variant.split("-")[1]


def test_a_corpus_that_cannot_be_had_is_replaced_by_the_built_in_text_and_that_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    tried = []

    def unreachable(title, *rest):
        tried.append(title)
        raise Unreachable(f"cannot download {title}")

    monkeypatch.setattr("allatt.data.download.wikitext", unreachable)
    monkeypatch.setattr("allatt.data.download.text8", lambda *rest: unreachable("text8"))
    experiments.at_hand.cache_clear()
    assert experiments.at_hand("laptop-words") == "wikipedia-excerpt"
    assert "cannot download WikiText-2. Until then: wikipedia-excerpt" in capfd.readouterr().err
    assert experiments.at_hand("gpu-characters") == "text8-like" and experiments.at_hand("gpu-words") == "wikipedia-excerpt"
    assert "cannot download WikiText-103. Until then: wikipedia-excerpt" in capfd.readouterr().err
    assert tried == ["WikiText-2", "text8", "WikiText-103"]
    assert experiments.at_hand("laptop-words", "wikitext-103") == "wikitext-103", "what is asked for is never replaced"
    for split in ("train", "valid", "test"):
        (tmp_path / "wikitext-2").mkdir(exist_ok=True)
        (tmp_path / "wikitext-2" / f"wiki.{split}.tokens").write_text(" a word \n" if split != "test" else "")
    experiments.at_hand.cache_clear()
    with pytest.raises(AllattError, match="test.tokens is empty"):
        experiments.at_hand("laptop-words")  # damage is no reason to take another text
    (tmp_path / "wikitext-2" / "wiki.test.tokens").write_text(" a word \n")
    assert experiments.at_hand("laptop-words") == "wikitext-2" and len(tried) == 3
    experiments.at_hand.cache_clear()


def test_wrong_names_and_seeds_are_clear_errors():
    with pytest.raises(AllattError, match="scale is 'huge'; choose one of"):
        experiments.baseline("huge", KIND)
    with pytest.raises(AllattError, match="model is 'rnn'"):
        experiments.baseline("smoke", "rnn")
    with pytest.raises(AllattError, match="seed is -1"):
        experiments.baseline("smoke", KIND, seed=-1)


def test_paper_s_lists():
    assert {lam: sum(kept) for lam, kept in experiments.PAPER_KEPT.items()} == {0.01: 106, 0.015: 87, 0.02: 59}
    assert all(len(kept) == 16 and min(kept) == kept[1] for kept in experiments.PAPER_KEPT.values())


# A run as a point

def test_point_of_a_real_run(pruned):
    point = curves.point(pruned)
    small = pruned.pruned()
    assert point["run"] == pruned.id and point["name"] == "tiny pruned" and point["kind"] == KIND
    assert point["lambda"] == 1e-4 and point["seed"] == 0 and point["of"] == 4
    assert point["per_layer"] == list(small.config.heads_per_layer) and point["heads"] == sum(point["per_layer"])
    assert 0 < point["heads"] < 4, "the fixture should close some heads and not all"
    assert point["sparsity"] == 1 - point["heads"] / 4
    assert point["body_parameters"] == small.parameter_counts()["body"]
    assert point["body_multiply_adds"] == cost.count(small.config, small.vocab)["multiply_adds"]["body"]
    assert point["test_perplexity"] == pytest.approx(math.exp(point["test_loss"]))
    assert point["test_loss"] == pruned.result["test"]["loss"] != point["valid_loss"]
    assert curves.point(get_or_run(pruned.config.start))["lambda"] is None


def test_bits_per_character_are_those_of_the_predicted_characters(pruned):
    """By hand: nats of the text, each character but the first once. Bits per byte share them out among all bytes."""
    tokens = load(pruned.config.data)
    nats, predicted = nll(pruned.pruned(), tokens.test, rows=2)
    assert predicted == len(tokens.test) - 1
    bits = curves.bits_per_character(pruned)
    assert bits == pytest.approx(nats / math.log(2) / predicted, rel=1e-6)
    found, text = pruned.result["test"], tokens.meta["splits"]["test"]
    assert text["bytes"] == text["tokens"] == predicted + 1, "a-z and spaces: a character is a byte"
    assert found["bits_per_byte"] == pytest.approx(bits * predicted / (predicted + 1))
    assert curves.bits_per_character(pruned, "valid") != bits


def test_bits_per_character_of_other_tokens_are_refused(pruned):
    class Other:
        id, result = "abc", pruned.result
        config = replace(pruned.config, data=replace(pruned.config.data, tokens="words"))

    with pytest.raises(AllattError, match="run abc .* predicts words; bits per character need characters"):
        curves.bits_per_character(Other)


def test_a_finished_run_is_read_and_not_trained_again(pruned):
    """What another notebook gets is what lies in the folder: a change there shows."""
    path = pruned.folder / "gates.safetensors"
    before = load_file(path)
    save_file({"logit_LH": torch.ones(2, 2)}, path)
    again = get_or_run(replace(pruned.config, name="another name"))
    assert again.folder == pruned.folder and again.gates().kept().all()
    save_file(before, path)
    assert to_dict(again.config) == to_dict(pruned.config)


# What is read off

LINE = [{"body_parameters": x, "test_loss": y} for x, y in ((10, 5.0), (30, 3.0), (20, 4.5))]


def test_interpolation_on_straight_lines_in_any_order():
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 25) == pytest.approx(3.75)
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 20) == 4.5
    assert curves.interpolate(LINE, "body_parameters", "test_loss", 10) == 5.0


@pytest.mark.parametrize("at", [9.99, 30.01, math.nan])
def test_nothing_is_extrapolated(at):
    assert curves.interpolate(LINE, "body_parameters", "test_loss", at) is None
    assert curves.interpolate(LINE[:1], "body_parameters", "test_loss", at) is None


def test_two_points_at_one_place_give_their_mean():
    twins = [{"x": 1, "y": 2.0}, {"x": 1, "y": 4.0}]
    assert curves.interpolate(twins, "x", "y", 1) == 3.0


def test_at_equal_parameters_leaves_out_what_lies_outside():
    ours = [{"body_parameters": x, "sparsity": 0.1, "test_loss": 3.5} for x in (5, 20, 25)]
    rows = curves.at_equal_parameters(ours, LINE)
    assert [row["body_parameters"] for row in rows] == [20, 25]
    assert [row["gain"] for row in rows] == pytest.approx([1.0, 0.25]), "positive where ours is better"


@pytest.mark.parametrize("loss, parameters", [(5.0, 10), (4.75, 15), (4.5, 20), (3.75, 25), (3.0, 30)])
def test_parameters_needed_for_a_loss(loss, parameters):
    assert curves.parameters_needed(LINE, loss) == pytest.approx(parameters)
    at_equal = curves.interpolate(LINE, "body_parameters", "test_loss", parameters)
    assert at_equal == pytest.approx(loss), "the inverse of reading at equal parameters"


def test_parameters_needed_are_the_fewest_where_the_line_goes_up_and_down():
    wavy = [{"body_parameters": x, "test_loss": y} for x, y in ((10, 5.0), (20, 3.0), (30, 4.0), (40, 2.0))]
    assert curves.parameters_needed(wavy, 3.5) == 17.5
    assert curves.parameters_needed(wavy, 2.5) == 37.5


@pytest.mark.parametrize("loss", [2.9, 5.1])
def test_parameters_needed_are_not_extrapolated(loss):
    assert curves.parameters_needed(LINE, loss) is None
    assert curves.parameters_needed([], loss) is None


def test_above_control_measures_against_the_control():
    control = {"test_loss": 4.0, "body_parameters": 200}
    first, second = curves.above_control([control, {"test_loss": 4.5, "body_parameters": 50}], control)
    assert (first["above"], first["removed"]) == (0, 0)
    assert (second["above"], second["removed"]) == (0.5, 0.75)


def test_unevenness_of_chance_is_one():
    """Against throws: 2,000 models that lost heads at random have a mean unevenness of 1."""
    rng = np.random.default_rng(0)
    for layers, heads, kept in ((16, 8, 59), (4, 8, 15), (3, 4, 10)):
        throws = rng.multivariate_hypergeometric([heads] * layers, kept, size=2000)
        mean = np.mean([curves.unevenness(throw.tolist(), heads) for throw in throws])
        assert mean == pytest.approx(1, abs=0.08), (layers, heads, kept)


def test_unevenness_at_its_ends():
    assert curves.unevenness([3, 3, 3], 4) == 0
    assert curves.unevenness([4, 4, 0, 0], 4) > 4, "whole layers gone"
    assert math.isnan(curves.unevenness([4, 4], 4)) and math.isnan(curves.unevenness([0, 0], 4))


def listed(lam, seed, per_layer):
    """What `kept_by_layer` reads of a run."""
    config = experiments.pruning("smoke", KIND, lam, seed=seed)
    return SimpleNamespace(config=config, result={"heads": {"per_layer": per_layer}})


def test_kept_heads_are_by_lambda_and_then_by_seed(pruned):
    runs = [listed(lam, seed, [4 * seed, round(100 * lam)]) for seed in (0, 1) for lam in (0.0, 0.01, 0.03)]
    lists = curves.kept_by_layer(runs)
    assert lists == {0.0: [[0, 0], [4, 0]], 0.01: [[0, 1], [4, 1]], 0.03: [[0, 3], [4, 3]]}
    assert curves.over_lambdas(lists) == [[0, 2], [4, 2]], "a list a seed, and the control left out"
    assert curves.kept_by_layer([pruned]) == {1e-4: [curves.point(pruned)["per_layer"]]}


def test_a_seed_that_lacks_a_lambda_is_not_averaged():
    with pytest.raises(ValueError):
        curves.over_lambdas({0.1: [[1, 2], [3, 4]], 0.2: [[1, 2]]})


def test_kept_above_is_the_share_of_pairs():
    values, kept = [[5.0, 1.0, 3.0], [2.0, 9.0, 8.0]], [[1, 0, 0], [0, 1, 1]]
    # Kept 5, 9, 8 against pruned 1, 3, 2: every pair, in either way of asking.
    assert curves.kept_above(values, kept) == curves.kept_above(values, kept, by_layer=True) == 1
    assert curves.kept_above(values, 1 - np.array(kept)) == 0
    # Kept 5, 2 against pruned 1, 3, 9, 8: 5 is above two of four, 2 above one; within layers two of two, and none of two.
    other = [[1, 0, 0], [1, 0, 0]]
    assert curves.kept_above(values, other) == 3 / 8
    assert curves.kept_above(values, other, by_layer=True) == 2 / 4


def test_kept_above_of_ties_and_of_heads_at_random_is_a_half():
    assert curves.kept_above(torch.ones(2, 3), torch.eye(3)[:2]) == 0.5
    rng = np.random.default_rng(0)
    shares = [curves.kept_above(rng.random((4, 8)), rng.random((4, 8)) < 0.4, by_layer) for by_layer in (0, 1) * 300]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)


def test_what_tells_layers_apart_tells_nothing_within_them():
    values = [[1.0] * 4, [2.0] * 4]
    kept = [[1, 0, 0, 0], [1, 1, 1, 0]]
    assert curves.kept_above(values, kept) == (9 + 0.5 * (3 + 3)) / 16
    assert curves.kept_above(values, kept, by_layer=True) == 0.5


@pytest.mark.parametrize("kept, by_layer", [([[1, 1], [1, 1]], False), ([[0, 0], [0, 0]], False), ([[1, 1], [0, 0]], True)])
def test_kept_above_without_pairs_is_none(kept, by_layer):
    assert curves.kept_above([[1.0, 2.0], [3.0, 4.0]], kept, by_layer) is None


def test_rank_correlation():
    assert stats.rank_correlation([1, 2, 3], [2, 4, 9]) == pytest.approx(1)
    assert stats.rank_correlation([1, 2, 3], [9, 4, 2]) == pytest.approx(-1)
    assert math.isnan(stats.rank_correlation([1, 1, 1], [1, 2, 3])), "a constant has no rank"


def test_labels_are_the_scale_and_what_is_not_its_own():
    assert experiments.label("laptop") == "laptop"
    assert experiments.label("laptop", "wikitext-2", 3) == "laptop-wikitext-2-seed3"
    assert experiments.label("smoke", "/some where/my text.v2") == "smoke-some-where-my-text-v2"
    names = {experiments.label("smoke", corpus, seed) for corpus in ("", "text8") for seed in (0, 1)}
    assert len(names) == 4
