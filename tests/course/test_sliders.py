"""The sliders: what they show is right, and moving one draws again. The widgets themselves need ipywidgets."""

import builtins
import math

import pytest
import torch

from allatt.course import regression, sliders


def sigma(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("a", "beta"), [(0.0, 0.333), (1.5, 0.333), (-2.0, 1.0)])
def test_the_gates_distribution_agrees_with_its_closed_form(a, beta):
    data, sentence = sliders.gate(a, beta)
    place = beta * math.log(0.1 / 1.1)
    assert data["zero"][0] == pytest.approx(sigma(place - a), abs=1e-3) == pytest.approx(data["expected_zero"][0], abs=1e-3)
    assert data["one"][0] == pytest.approx(sigma(place + a), abs=1e-3) == pytest.approx(data["expected_one"][0], abs=1e-3)
    assert sum(data["inside"][0]) + data["zero"][0] + data["one"][0] == pytest.approx(1, abs=1e-3)
    assert f"{sigma(a):.3f}" in sentence and sliders._png("04_hard_concrete", data)[1:4] == b"PNG"


def test_the_lambda_slider_reads_a_cached_training():
    logits = torch.linspace(2, -2, 20)[:, None, None] * torch.ones(20, 10, 15)
    logits[-1, 3, :4] = 1.0
    data, sentence = sliders.kept_features(logits, 3)
    assert sentence == "λ = 0.063 keeps 4 of 15 features" and sum(data["kept"][3]) == 4 == sum(map(sum, data["kept"]))
    assert data["example"]["lambda"] == pytest.approx(10 ** -1.2) and len(data["example"]["logits"]) == 2
    assert data["border"] == pytest.approx(regression.kappa(2.0))
    assert sliders._png("04_watching_gates_close", data)[1:4] == b"PNG"


def test_without_ipywidgets_or_under_papermill_one_line_names_the_package(monkeypatch, capsys):
    calls = []
    monkeypatch.setenv("ALLATT_NOTEBOOK", "04_gates")
    assert sliders.show(lambda: calls.append(1)) is None
    monkeypatch.delenv("ALLATT_NOTEBOOK")
    found = builtins.__import__

    def without(name, *args, **options):
        if name == "ipywidgets":
            raise ImportError(name)
        return found(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert sliders.show(lambda: calls.append(1)) is None
    assert not calls and capsys.readouterr().out == 2 * (sliders.NEEDED + "\n") and "ipywidgets" in sliders.NEEDED


def test_moving_a_slider_draws_again(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("ALLATT_NOTEBOOK", raising=False)
    logits = regression.train(steps=20).logits
    for panel, value in ((sliders.gate_panel, -2.0), (lambda: sliders.lambda_panel(logits), 0)):
        box = sliders.show(panel)
        slider, sentence, picture = box.children[0], *box.children[-2:]
        before = bytes(picture.value), sentence.value
        assert before[0][1:4] == b"PNG" and sentence.value
        slider.value = value
        assert bytes(picture.value) != before[0] and sentence.value != before[1] and bytes(picture.value)[1:4] == b"PNG"
