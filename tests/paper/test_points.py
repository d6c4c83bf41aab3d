"""A finished run as a point, its JSON, and means of points over seeds."""

import json
import math
from dataclasses import replace

import pytest
import torch
from made_up import some_point

from allatt import cost
from allatt.config import ALL_ATTENTION, AllattError, to_dict
from allatt.data.tokens import load
from allatt.evaluate import nll
from allatt.paper.points import Mean, Point, average, bits_per_character
from allatt.runs import get_or_run


def test_point_of_a_real_run(pruned):
    point = Point.of_run(pruned)
    small = pruned.pruned()
    assert point.run == pruned.id and point.name == "tiny pruned" and point.kind == ALL_ATTENTION
    assert point.lam == 1e-4 and point.seed == 0 and point.of == 4
    assert point.per_layer == list(small.config.heads_per_layer) and point.heads == sum(point.per_layer)
    assert 0 < point.heads < 4, "the fixture should close some heads and not all"
    assert point.sparsity == 1 - point.heads / 4
    assert point.body_parameters == small.parameter_counts()["body"]
    assert point.body_multiply_adds == cost.count(small.config, small.vocab)["multiply_adds"]["body"]
    assert point.test_perplexity == pytest.approx(math.exp(point.test_loss))
    assert point.test_loss == pruned.result["test"]["loss"] != point.valid_loss
    assert Point.of_run(get_or_run(pruned.config.start)).lam is None


def test_a_consolidated_model_has_the_lambda_or_the_target_of_its_gates(pruned):
    """And its name, seed and id are its own. A rival that trained no gates and consolidates none has neither."""
    class Second:
        id, result = "abc", pruned.result
        config = replace(pruned.config, name="second", gates=None, start=pruned.config, consolidate=True)

    point = Point.of_run(Second())
    assert (point.run, point.name, point.lam, point.target) == ("abc", "second", 1e-4, None)
    to_target = replace(pruned.config, gates=replace(pruned.config.gates, target_kept=0.5))
    Second.config = replace(Second.config, start=to_target)
    assert (Point.of_run(Second()).lam, Point.of_run(Second()).target) == (None, 0.5)
    Second.config = replace(Second.config, consolidate=False)
    assert (Point.of_run(Second()).lam, Point.of_run(Second()).target) == (None, None)


def test_bits_per_character_are_those_of_the_predicted_characters(pruned):
    """By hand: nats of the text, each character but the first once. Bits per byte share them out among all bytes."""
    tokens = load(pruned.config.data)
    nats, predicted = nll(pruned.pruned(), tokens.test, rows=2)
    assert predicted == len(tokens.test) - 1
    bits = bits_per_character(pruned)
    assert bits == pytest.approx(nats / math.log(2) / predicted, rel=1e-6)
    found, text = pruned.result["test"], tokens.meta["splits"]["test"]
    assert text["bytes"] == text["tokens"] == predicted + 1, "a-z and spaces: a character is a byte"
    assert found["bits_per_byte"] == pytest.approx(bits * predicted / (predicted + 1))


def test_bits_per_character_of_other_tokens_are_refused(pruned):
    class Other:
        id, result = "abc", pruned.result
        config = replace(pruned.config, start=None, data=replace(pruned.config.data, tokens="words"))

    with pytest.raises(AllattError, match="run abc .* predicts words; bits per character need characters"):
        bits_per_character(Other)


def test_a_finished_run_is_read_and_not_trained_again(pruned, monkeypatch):
    """What another notebook gets is what lies in the folder."""
    monkeypatch.setattr("allatt.runs.run._execute", lambda *given: pytest.fail("trained again"))
    again = get_or_run(replace(pruned.config, name="another name"))
    assert again.folder == pruned.folder and torch.equal(again.gates().logit_LH, pruned.gates().logit_LH)
    assert to_dict(again.config) == to_dict(pruned.config)


def test_a_point_comes_back_from_json(pruned):
    point = Point.of_run(pruned)
    values = json.loads(json.dumps(point.as_dict()))
    assert Point.from_dict(values) == point and values["lambda"] == 1e-4 and "lam" not in values
    assert set(values) == {
        "run", "name", "kind", "seed", "lambda", "target", "heads", "of", "per_layer", "sparsity", "body_parameters",
        "body_multiply_adds", *(f"{split}_{key}" for split in ("valid", "test")
                                for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte"))}


def test_optional_fields_are_left_out_of_json_and_others_are_not():
    values = some_point(flips=0, test_bits=2.5).as_dict()
    assert (values["flips"], values["test_bits"], values["lambda"], values["target"]) == (0, 2.5, None, None)
    assert {"lost", "undecided", "above", "valid_above", "removed"}.isdisjoint(values)
    assert Point.from_dict(values) == some_point(flips=0, test_bits=2.5)
    counted = some_point(undecided=0, lost=2, above=0.0, valid_above=0.1, removed=0.5)
    assert counted.as_dict().items() >= {"undecided": 0, "lost": 2, "above": 0.0, "valid_above": 0.1, "removed": 0.5}.items()
    assert Point.from_dict(counted.as_dict()) == counted


def test_average_is_over_seeds_at_each_lambda():
    points = [some_point(lam=lam, heads=heads, seed=seed, test_bits=heads / 2)
              for seed, lam, heads in ((0, 0.1, 4), (0, 0.0, 8), (1, 0.1, 6), (1, 0.0, 8))]
    control, pruned = average(points)
    assert (control.lam, control.heads, control.seeds) == (0.0, 8, 2)
    assert (pruned.lam, pruned.heads, pruned.seeds, pruned.test_bits, pruned.above) == (0.1, 5, 2, 2.5, None)
    assert isinstance(pruned, Mean) and {"run", "seed", "per_layer", "above"}.isdisjoint(pruned.as_dict())
    dense, = average([some_point(test_loss=loss) for loss in (4.0, 5.0)])
    assert (dense.lam, dense.test_loss, dense.as_dict()["lambda"]) == (None, 4.5, None)
