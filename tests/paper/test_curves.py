"""Training curves, and points of finished runs: what is read from them, and no more."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from allatt import cost
from allatt.config import AllattError, GateConfig, RunConfig, TrainConfig, to_dict
from allatt.data.tokens import load
from allatt.evaluate import nll
from allatt.paper import curves
from allatt.paper.curves import flips, history
from allatt.paper.study import Study
from allatt.runs import Run, get_or_run

KIND = "all-attention"
KEPT = [["11", "11"], ["10", "11"], ["11", "11"], ["11", "01"]]


@pytest.fixture
def logged(tmp_path):
    def make(gates):
        lines = [{"step": step, "tokens": 8 * step, "loss": 5.0 - step, "lambda": 0.1 * step,
                  "expected_open": 4.0 - step, "kept": kept} for step, kept in enumerate(KEPT, start=1)]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        config = RunConfig("test", train=TrainConfig(steps=4), gates=gates)
        folder = SimpleNamespace(folder=tmp_path)
        return SimpleNamespace(config=config, metrics=lambda: Run.metrics(folder))

    return make


def test_history_of_a_pruning_run(logged):
    columns = history(logged(GateConfig()))
    assert columns["step"] == [1, 2, 3, 4] and columns["tokens"] == [8, 16, 24, 32]
    assert columns["kept"] == [4, 3, 4, 3] and columns["expected"] == [3.0, 2.0, 1.0, 0.0]
    assert columns["loss"] == [4.0, 3.0, 2.0, 1.0] and columns["lambda"][0] == 0.1


def test_history_of_dense_training_has_no_gates(logged):
    assert set(history(logged(None))) == {"step", "tokens", "loss"}


def test_flips_count_every_change_after_the_given_share(logged):
    run = logged(GateConfig())
    # Head 2 closes and opens again, head 3 closes: one change from line to line.
    assert flips(run, after=0.0) == 3
    assert flips(run, after=0.5) == 2 and flips(run, after=0.75) == 1 and flips(run, after=1.0) == 0


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
    config = Study("smoke").pruning(KIND, lam, seed)
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
