"""`data` and `cost`: what they print, and what they refuse."""

import json
import re
import subprocess
import sys

import pytest
from refusals import refused

from allatt.cli.main import main
from allatt.config import DataConfig


def test_counting_needs_no_torch():
    code = "import sys; from allatt.cli.main import main; main(['cost']); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("kept, body, total", [
    ("", 54_566_912, 74_170_514),
    ("8,3,7,6,6,6,6,7,6,7,8,8,7,8,7,6", 45_192_448, 64_796_050),
    ("6,4,6,5,4,5,5,6,5,6,7,5,6,6,6,5", 37_096_320, 56_699_922),
    ("5,2,5,4,3,4,4,4,4,4,4,4,3,3,3,3", 25_165_184, 44_768_786),
])
def test_cost_of_the_papers_models(kept, body, total, capsys):
    assert main(["cost", "--scale", "paper", "--json", *(["--kept", kept] if kept else [])]) == 0
    parameters = json.loads(capsys.readouterr().out)["parameters"]
    assert (parameters["body"], parameters["total"]) == (body, total)


def test_cost_of_transformer_xl_as_a_table(capsys):
    assert main(["cost", "--model", "transformer-xl"]) == 0
    assert re.search(r"^body +54,608,896 ", capsys.readouterr().out, flags=re.MULTILINE)


@pytest.mark.parametrize("arguments, message", [
    (["--scale", "huge"],
     "scale is 'huge'; choose one of smoke, laptop, overnight, gpu, paper, or a variant such as laptop-characters"),
    (["--model", "gpt"], "model is 'gpt'; choose one of all-attention, transformer-xl"),
    (["--kept", "8,3"], "--kept has 2 numbers; the model has 16 layers"),
    (["--kept", "8,three"], "--kept is '8,three'; write one number per layer"),
    (["--scale", "smoke", "--kept", "8,9"], "--kept has 9; a layer keeps between 0 and 8 heads"),
    (["--scale", "smoke", "--kept", "8,-1"], "--kept has -1; a layer keeps between 0 and 8 heads"),
])
def test_cost_refuses(arguments, message, capsys):
    assert message in refused(capsys, "cost", *arguments)


@pytest.mark.parametrize("kind", ["all-attention", "transformer-xl"])
def test_cost_shows_the_counts_aligned(kind, capsys):
    options = ["cost", "--model", kind, "--kept", "5,2,5,4,3,4,4,4,4,4,4,4,3,3,3,3"]
    assert main([*options, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert main(options) == 0
    text = capsys.readouterr().out.rstrip("\n")
    assert text.startswith(f"{kind}: 16 layers, 59 of 128 heads (53.9% pruned)\n")
    assert "heads in each layer: 5 2 5 4 3 4 4 4 4 4 4 4 3 3 3 3\n" in text
    for name in ("body", "total", "positions", "softmax", "per_head"):
        assert re.search(rf"  {counts['parameters'][name]:,}(\s|$)", text)
    for part in (*counts["parameters"]["parts"].values(), *counts["multiply_adds"]["parts"].values()):
        assert part == 0 or f" {part:,}" in text
    assert f" {counts['multiply_adds']['body']:,}\n" in text
    lines = text.splitlines()[3:]
    ends = {len(line) for line in lines if line.endswith(tuple("0123456789"))}
    assert len(ends) <= 2 and max(len(line) for line in lines) <= 80
    assert ("feed-forward" in text, "persistent" in text) == (kind == "transformer-xl", kind == "all-attention")


def test_data_describes_the_chosen_corpus(monkeypatch, capsys):

    calls = []
    monkeypatch.setattr("allatt.data.summary.summarize", lambda config: calls.append(config) or "a description")
    options = ["--corpus", "text8", "--tokens", "characters", "--vocab-size", "100", "--min-count", "2"]
    assert main(["data", *options]) == 0
    assert calls == [DataConfig("text8", "characters", 100, 2)]
    assert capsys.readouterr().out == "a description\n"


def test_data_refuses(tmp_path, capsys):
    assert "wikitext-104" in refused(capsys, "data", "--corpus", "wikitext-104")
    assert "choose one of words, subwords, characters" in refused(capsys, "data", "--tokens", "letters")
    assert str(tmp_path) in refused(capsys, "data", "--corpus", str(tmp_path))
