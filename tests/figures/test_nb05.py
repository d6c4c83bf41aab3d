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
    assert [text.get_text() for text in end.texts] == ["+0.4", "-0.2", "1", "-3.0", "+1.0", "1"]
    assert end.collections[0].get_array().reshape(2, 2).tolist() == [[1, 0], [0, 1]]
