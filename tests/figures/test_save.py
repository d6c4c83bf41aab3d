"""Saved figures: same data, same bytes; complete files or none; and each number leads to its config."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from allatt.config import (
    ALL_ATTENTION,
    KINDS,
    TRANSFORMER_XL,
    AllattError,
    GateConfig,
    ModelConfig,
    RunConfig,
    to_dict,
)
from allatt.config_json import from_dict
from allatt.cost import relative
from allatt.figures import redraw, save_figure
from allatt.figures.style import ALT, COLORS, DRAW, WIDTH, look, new_figure
from allatt.runs import Run
from allatt.runs.provenance import provenance


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of the smoke scale's figures."""
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "figures"))
    monkeypatch.delenv("ALLATT_NOTEBOOK", raising=False)
    return tmp_path / "figures" / "smoke"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Registers the figures that these tests save."""
    for name in ("cost", "main"):
        monkeypatch.setitem(DRAW, name, draw)
        monkeypatch.setitem(ALT, name, f"alternative text of {name}")


RESULT = {"valid": {}, "test": {"perplexity": 12.5}, "parameters": {}, "heads": {}, "seconds": 1.0}


@pytest.fixture
def run(tmp_path):
    """A finished run with a folder as allatt.runs writes it, without the training."""
    config = RunConfig("pruned", model=ModelConfig(layers=2, kept=((0, 1), ())), gates=GateConfig(lam=0.03),
                       start=RunConfig("baseline", model=ModelConfig(layers=2)))
    folder = tmp_path / "run"
    folder.mkdir()
    for name, values in (("config", to_dict(config)), ("result", RESULT),
                         ("provenance", provenance() | {"data": {"sha256": "abc"}})):
        (folder / f"{name}.json").write_text(json.dumps(values))
    save_file({"logit_LH": torch.zeros(2, 8)}, folder / "gates.safetensors")
    return Run(folder)


def draw(data):
    """A figure with everything that could make bytes differ: text, legend, clip paths, markers, image, error bar."""
    fig, (left, right) = new_figure(columns=2, height=3)
    for kind in KINDS:
        left.plot(data["pruned"], data[kind], label=kind, **look(kind))
    left.errorbar([0.5], [0.5], yerr=[0.1], **look("paper", linestyle=""))
    left.set_xlabel("share of heads removed")
    left.legend()
    right.imshow(np.reshape(data["pruned"][:4], (2, 2)))
    right.set_title(data.get("title", "a map"))
    return fig


DATA = {"pruned": [0.0, 0.25, 0.5, 0.75, 1.0], ALL_ATTENTION: [1.0, 0.75, 0.5, 0.25, 0.0],
        TRANSFORMER_XL: [1.0, 0.9, 0.8, 0.7, 0.6]}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_figure_is_a_png_an_svg_and_a_sidecar(folder):
    saved = save_figure("cost", DATA, "smoke")
    assert sorted(contents(folder)) == ["cost.json", "cost.png", "cost.svg"]
    assert (folder / "cost.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert ElementTree.parse(folder / "cost.svg").getroot().tag.endswith("svg")
    sidecar = json.loads((folder / "cost.json").read_text())
    assert sidecar["data"] == DATA
    assert (sidecar["name"], sidecar["scale"], sidecar["runs"], sidecar["notebook"]) == ("cost", "smoke", [], None)
    assert len(sidecar["date"]) == 10
    assert set(sidecar["provenance"]) == set(provenance())
    assert sidecar["provenance"]["versions"]["torch"] == torch.__version__
    assert [axes.get_title(loc="left") for axes in saved.figure.axes] == ["", "a map"]


def test_a_notebook_shows_the_file_itself_with_alternative_text_and_a_numbered_caption(folder, monkeypatch):
    monkeypatch.setitem(DRAW, "07_gains", draw)
    monkeypatch.setitem(ALT, "07_gains", "two panels")
    saved = save_figure("07_gains", DATA, "smoke")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda content, **options: shown.append((content, options)))
    saved._ipython_display_()
    (picture, options), (below, _) = shown
    assert picture == {"image/png": (folder / "07_gains.png").read_bytes(), "text/plain": repr(saved)}
    assert options == {"raw": True, "metadata": {"image/png": {"width": 800, "alt": "two panels"}}}
    assert re.match(r"\*\*Figure 7\.\d\.\*\* A figure with everything", below.data)
    assert "smoke/07_gains" in repr(saved) and str(folder) not in repr(saved)


def test_pictures_are_1200_pixels_wide(folder):
    png = save_figure("cost", DATA, "smoke").png.read_bytes()
    assert int.from_bytes(png[16:20], "big") == 1200 == WIDTH * 150


def test_same_data_same_bytes_in_any_process_with_any_settings(folder):
    save_figure("cost", DATA, "smoke")
    first = contents(folder)
    import matplotlib

    code = ("import json, sys, matplotlib; sys.path.insert(0, sys.argv[1]); matplotlib.rcParams['lines.linewidth'] = 9;"
            "import test_save as t; t.DRAW['cost'] = t.draw; t.save_figure('cost', t.DATA, 'smoke')")
    environment = os.environ | {"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "none", "savefig.dpi": 20}):
        save_figure("cost", DATA, "smoke")
    again = contents(folder)
    subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__)], env=environment, check=True)
    other = contents(folder)
    for name in ("cost.png", "cost.svg"):
        assert first[name] == again[name] == other[name], name


def test_other_data_other_bytes(folder):
    save_figure("cost", DATA, "smoke")
    first = contents(folder)
    save_figure("cost", DATA | {"title": "another map"}, "smoke")
    assert all(first[name] != contents(folder)[name] for name in first)


def test_a_number_leads_to_its_config_in_two_steps(folder, run):
    save_figure("main", DATA, "smoke", runs=[run, run])
    ids = json.loads((folder / "main.json").read_text())["runs"]
    assert ids == [run.id]
    record = json.loads((folder / "runs" / f"{ids[0]}.json").read_text())
    assert from_dict(RunConfig, record["config"]) == run.config
    assert from_dict(RunConfig, record["config"]).id == run.id
    assert record["config"]["start"]["name"] == "baseline"
    assert record["result"]["test"]["perplexity"] == 12.5
    assert record["provenance"]["data"]["sha256"] == "abc"


@pytest.mark.parametrize("variable, name", [("07_heads.ipynb", "07_heads"), ("/some/where/05_prune.ipynb", "05_prune"),
                                            ("07", "07"), ("", None)])
def test_the_notebook_is_named_without_its_folder(folder, monkeypatch, variable, name):
    monkeypatch.setenv("ALLATT_NOTEBOOK", variable)
    save_figure("main", DATA, "smoke")
    assert json.loads((folder / "main.json").read_text())["notebook"] == name


def test_redraw_restores_pictures_and_keeps_sidecars(folder, run):
    save_figure("main", DATA, "smoke", runs=[run])
    save_figure("cost", DATA | {"title": "another"}, "smoke")
    before = contents(folder)
    sidecars = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    (folder / "main.png").unlink()
    (folder / "cost.svg").write_text("broken")
    assert redraw(folder) == [
        folder / name for name in ("cost.png", "cost.svg", "main.png", "main.svg")]
    assert contents(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == sidecars


def test_redraw_uses_the_current_drawing_function(folder, monkeypatch):
    save_figure("cost", DATA, "smoke")
    before = contents(folder)
    monkeypatch.setitem(DRAW, "cost", lambda data: draw(data | {"title": "new"}))
    redraw(folder)
    assert before["cost.png"] != contents(folder)["cost.png"]
    assert before["cost.json"] == contents(folder)["cost.json"]


def test_redraw_ignores_other_json(folder):
    assert redraw(folder) == []
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text('{"claim 1": true}')
    assert redraw(folder) == []
    assert sorted(contents(folder)) == ["claims.json"]


@pytest.mark.parametrize("content", ["5", "[1]", '{"name": "cost", "scale": "smoke", "data": {"x": NaN}}'])
def test_redraw_of_no_object_or_no_number_is_one_clear_line(folder, content):
    folder.mkdir(parents=True)
    (folder / "cost.json").write_text(content)
    with pytest.raises(AllattError, match="cost.json (holds no JSON object|cannot be read .NaN is no number in JSON.); run "):
        redraw(folder)


def test_redraw_needs_no_torch(folder):
    save_figure("cost", DATA, "smoke")
    code = ("import sys; from pathlib import Path\n"
            "from allatt.figures import redraw; from allatt.figures.style import DRAW, new_figure\n"
            "DRAW['cost'] = lambda data: new_figure()[0]\n"
            "done = redraw(Path(sys.argv[1]))\n"
            "sys.exit(len(done) != 2 or 'torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


@pytest.mark.parametrize("text, words", [
    ("{", "cannot be read"), ('{"name": "old", "scale": "smoke", "data": {}}', "no figure old"),
])
def test_redraw_of_a_bad_sidecar_is_a_clear_error_and_draws_nothing(folder, text, words):
    save_figure("cost", DATA, "smoke")
    (folder / "cost.png").unlink()
    (folder / "old.json").write_text(text)
    with pytest.raises(AllattError, match=words) as error:
        redraw(folder)
    assert "\n" not in str(error.value) and "old.json" in str(error.value)
    assert not (folder / "cost.png").exists()


def test_a_figure_is_drawn_from_the_values_of_its_sidecar(folder, monkeypatch):
    """Tuples, numpy and torch values become plain before drawing, so `redraw` can show everything that a figure shows."""
    calls = []
    data = {"heads": (8, 3), "loss": np.float32(0.5), "array": np.arange(3), "tensor": torch.tensor([1.5]), 2: "two"}
    monkeypatch.setitem(DRAW, "cost", lambda data: calls.append(data) or draw(DATA))
    save_figure("cost", data, "smoke")
    assert calls == [{"heads": [8, 3], "loss": 0.5, "array": [0, 1, 2], "tensor": [1.5], "2": "two"}]
    assert json.loads((folder / "cost.json").read_text())["data"] == calls[0]


@pytest.mark.parametrize("bad, where", [
    ({"loss": [1.0, float("nan")]}, r"data\.loss\[1\]"), ({"a": {"b": float("inf")}}, r"data\.a\.b"),
    ({"x": np.array([[0.0, np.nan]])}, r"data\.x\[0\]\[1\]"),
])
def test_a_diverged_run_is_a_clear_error(folder, bad, where):
    with pytest.raises(AllattError, match=where):
        save_figure("cost", DATA | bad, "smoke")
    assert not folder.exists()


def test_data_that_is_not_plain_is_refused(folder):
    with pytest.raises(TypeError, match="not RunConfig"):
        save_figure("cost", DATA | {"run": RunConfig("x")}, "smoke")


@pytest.mark.parametrize("name, scale", [("../cost", "smoke"), ("a b", "smoke"), ("", "smoke"), ("cost", "../up")])
def test_names_must_be_file_names(folder, name, scale):
    with pytest.raises(AllattError, match="cannot name"):
        save_figure(name, DATA, scale)
    assert not folder.exists()


def test_an_unknown_figure_is_one_clear_line(folder):
    with pytest.raises(AllattError, match="there is no figure costs; choose from .*07_gains") as error:
        save_figure("costs", DATA, "smoke")
    assert "\n" not in str(error.value) and not folder.exists()


def test_a_failing_drawing_leaves_the_old_figure(folder):
    save_figure("cost", DATA, "smoke")
    before = contents(folder)
    with pytest.raises(KeyError):
        save_figure("cost", {"pruned": []}, "smoke")
    assert contents(folder) == before


def test_a_full_disk_leaves_the_old_figure_and_is_one_clear_line(folder, monkeypatch):
    save_figure("cost", DATA, "smoke")
    before = contents(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(AllattError, match=r"cost\.json: no space left; free some") as error:
        save_figure("cost", DATA | {"title": "another"}, "smoke")
    assert "\n" not in str(error.value)
    assert contents(folder) == before


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "file"))
    with pytest.raises(AllattError, match="cannot write"):
        save_figure("cost", DATA, "smoke")


def test_importing_does_not_import_matplotlib_nor_torch():
    code = "import sys, allatt.figures; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure_1_from_closed_form(folder, monkeypatch):
    """The paper's Figure 1 end to end, from `relative` to a file, with both models."""
    lines = {kind: relative(ModelConfig(kind=kind)) for kind in KINDS}

    def figure_1(data):
        fig, axes = new_figure(columns=2, sharey=True)
        for axis, quantity in zip(axes, ("parameters", "multiply_adds"), strict=True):
            for kind, values in data.items():
                axis.plot(values["pruned"], values[quantity], **look(kind, markevery=16))
        return fig

    monkeypatch.setitem(DRAW, "relative", figure_1)
    saved = save_figure("relative", lines, "smoke")
    assert [len(axis.lines) for axis in saved.figure.axes] == [2, 2]
    assert saved.figure.axes[0].lines[0].get_color() == COLORS[ALL_ATTENTION]
    assert len(json.loads((folder / "relative.json").read_text())["data"][ALL_ATTENTION]["pruned"]) == 129
