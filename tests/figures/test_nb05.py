"""The figures of notebook 05."""

import copy
import json
import math

import pytest
from samples import draw, lines

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.figures.save import save_figure
from allatt.figures.style import COLORS

GATES = {"step": [1, 2, 3], "tokens": [8, 16, 24], "loss": [3.0, 2.5, 2.4], "lambda": [0.0, 0.1, 0.2],
         "expected": [8.0, 6.0, 5.5], "kept": [8, 6, 5]}
CONSOLIDATION = {"step": [4, 5], "tokens": [32, 40], "loss": [2.3, 2.2], "lambda": [None, None], "expected": [None, None],
                 "kept": [5, 5]}


def data(phases):
    run = {name: values + (CONSOLIDATION[name] if phases == 2 else []) for name, values in GATES.items()}
    control = run | {"loss": [loss - 0.1 for loss in run["loss"]], "kept": [8] * len(run["kept"])}
    return {"run": run, "control": control, "lam": 0.2, "of": 8, "boundary": 3 if phases == 2 else None}


@pytest.mark.parametrize("phases", [1, 2])
def test_a_run_is_drawn_to_its_end_and_its_gates_while_there_are_any(phases):
    fig = draw("05_gates_over_steps", data(phases))
    heads, lam, loss = fig.axes
    expected, = [line for line in heads.lines if "expected" in line.get_label()]
    assert expected.get_color() == COLORS[ALL_ATTENTION]
    for line, name in ((expected, "expected"), (lam.lines[0], "lambda")):
        assert list(line.get_ydata())[:3] == GATES[name]
        assert all(math.isnan(value) for value in list(line.get_ydata())[3:])
    kept, = lines(heads, COLORS[TRANSFORMER_XL])
    run, = lines(loss, COLORS[ALL_ATTENTION])
    assert list(kept.get_ydata()) == data(phases)["run"]["kept"] and list(run.get_ydata()) == data(phases)["run"]["loss"]
    assert len(run.get_ydata()) == (3 if phases == 1 else 5)
    marks = [line for ax in fig.axes for line in ax.lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in marks] == ([] if phases == 1 else [[3, 3]] * 3)
    assert [text.get_text() for text in heads.texts] == ([] if phases == 1 else ["gates", "consolidation"])


def test_the_sidecar_keeps_the_data_as_it_was(tmp_path, monkeypatch):
    """A number that does not exist is null in JSON; NaN would be no JSON at all."""
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path))
    given = data(2)
    before = copy.deepcopy(given)
    save_figure("05_gates_over_steps", given, "smoke")
    text = (tmp_path / "smoke" / "05_gates_over_steps.json").read_text()
    assert given == before and "NaN" not in text and json.loads(text)["data"] == before


def test_each_head_has_its_row_and_each_gate_its_number():
    kept = [["11", "11"], ["11", "01"], ["10", "01"]]
    time, end = draw("05_kept_heads", {"step": [2, 4, 6], "kept": kept, "logits": [[0.4, -0.2], [-3.0, 1.0]]}).axes
    states = time.collections[0].get_array().reshape(4, 3)
    assert states.tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert time.collections[0].get_coordinates()[0, :, 0].tolist() == [0, 4, 6, 8], "a head closes at the step that logged it"
    assert [text.get_text() for text in end.texts] == ["0.40", "-0.20", "1", "-3.00", "1.00", "1"]
    assert end.collections[0].get_array().reshape(2, 2).tolist() == [[1, 0], [0, 1]]


def test_removal_takes_strips_of_every_matrix_and_leaves_the_bias():
    flow, weights = draw("05_removal", {"heads": 4, "kept": [0, 3], "d_model": 8, "d_head": 2, "persistent": 32}).axes
    gates = [text.get_text() for text in flow.texts if text.get_text() in ("0", "1")]
    assert gates == ["1", "0", "0", "1"]
    area = {True: 0.0, False: 0.0}
    for patch in weights.patches:
        if patch.get_width() * 4 > 0.2 and patch.get_height() > 0.2:  # without u, w and the bias, which are drawn too wide
            area[patch.get_linestyle() == ":"] += patch.get_width() * patch.get_height()
    assert area[True] == pytest.approx(area[False]) == pytest.approx((5 * 1 + 2 * 4) / 2), "in units of d times d, to scale"
    biases = [patch for patch in weights.patches if patch.get_height() == 1 and patch.get_width() < 0.1]
    assert len(biases) == 3 and all(b.get_linestyle() != ":" for b in biases), "bias and LayerNorm of the layer stay"
    said, = (text.get_text() for text in weights.texts if "weights leave" in text.get_text())
    head = 5 * 8 * 2 + 2 * 32 * 2 + 2 * 2
    assert f"{head:,} weights" in said and f"{2 * head:,}\nof {4 * head + 3 * 8:,} weights" in said


def test_attention_is_shown_where_a_head_is():
    weights = [[0.25, 0.0], [0.16, 0.09]]
    fig = draw("05_attention", {"tokens": ["a", "$b"], "heads": [
        {"layer": 3, "head": 2, "before": weights, "after": [[1.0, 0.0], [0.0, 1.0]]},
        {"layer": 3, "head": 1, "before": weights, "after": None}]})
    before, share, after, _, removed, _, empty, nothing, key = fig.axes
    assert key.get_xlabel() == "weight of one token"
    shown = before.images[0].get_array()
    assert shown[0][0] == 0.25 and shown[1].tolist() == [0.16, 0.09] and shown.mask[0][1]
    assert before.images[0].norm([0.25, 0.09, 1.0]).tolist() == pytest.approx([0.5, 0.3, 1.0]), "colors follow the square root"
    assert [bar.get_width() for bar in share.patches[2:]] == pytest.approx([0.75, 0.75]), "what is left is persistent"
    assert after.images and removed.images and not empty.images and not nothing.axison
    assert "removed" in empty.texts[0].get_text()
    assert [tick.get_text() for tick in before.get_yticklabels()] == ["a", "$b"]
