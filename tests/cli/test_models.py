"""`prune`, `save`, `evaluate` and `generate`, on a run of a few steps."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest
from refusals import refused

from allatt.cli.main import main
from allatt.system.paths import repository


def test_prune_writes_the_smaller_model(gated, tmp_path, capsys):
    import torch

    from allatt import runs
    from allatt.model import LanguageModel

    run_id = gated[1]["id"]
    out = tmp_path / "new" / "small"
    assert main(["prune", run_id[:8], "--out", str(out)]) == 0
    small, run = LanguageModel.load(out), runs.find(run_id)
    about = json.loads((out / "about.json").read_text())
    assert about["run"] == run_id and about["heads_per_layer"] == gated[1]["heads"]["per_layer"]
    assert small.parameter_counts() == about["parameters"] == gated[1]["parameters"]
    expected = run.pruned().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in small.state_dict().items())
    assert f"{about['parameters']['body']:,} parameters instead of" in capsys.readouterr().out
    before = (out / "model.safetensors").read_bytes()
    assert "exists and is not an empty folder; name another" in refused(capsys, "prune", run_id, "--out", str(out))
    assert (out / "model.safetensors").read_bytes() == before


def test_save_writes_any_run_and_prune_those_with_gates(gated, tmp_path, capsys):
    from allatt import runs

    dense = runs.find(gated[1]["id"]).config.start.start.id
    assert "has no gates, so no closed heads; give a run" in refused(capsys, "prune", dense, "--out", str(tmp_path / "out"))
    assert main(["save", dense, "--out", str(tmp_path / "out")]) == 0
    assert "16 of 16 heads (8 8)" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["prune", "save"])
def test_where_a_model_cannot_be_saved_nothing_is_written(gated, command, tmp_path, capsys):
    run_id = gated[1]["id"]
    assert "0 finished runs start with 'ffffffff'" in refused(capsys, command, "ffffffff", "--out", str(tmp_path / "out"))
    (tmp_path / "file").touch()
    for out, message in ((tmp_path / "file", "is not an empty folder"), (tmp_path, "is not an empty folder"),
                         (tmp_path / "file" / "x", "a part of the path is a file"), ("", "--out is empty; name a new folder")):
        assert message in refused(capsys, command, run_id, "--out", str(out))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_export_writes_a_program_and_says_how_it_is_called(gated, tmp_path, capsys):
    import torch

    path = tmp_path / "model.pt2"
    assert main(["export", gated[1]["id"], "--out", str(path)]) == 0
    out = capsys.readouterr().out
    layers, memory, width = map(int, re.search(r"memory \((\d+), rows, (\d+), (\d+)\) float32", out).groups())
    run = torch.export.load(path).module()
    log_probs, *_ = run(torch.tensor([[1], [2]]), torch.zeros(layers, 2, memory, width), torch.tensor(0))
    assert f"log_probs (rows, tokens, {log_probs.shape[-1]})" in out and len(log_probs) == 2
    assert f"{path} exists; name another file" in refused(capsys, "export", gated[1]["id"], "--out", str(path))
    assert "ends in '.txt'; choose .pt2 or .onnx" in refused(capsys, "export", gated[1]["id"], "--out", str(tmp_path / "a.txt"))


def test_page_writes_a_web_page(gated, tmp_path, capsys):
    from allatt import runs

    path = tmp_path / "page.html"
    assert main(["page", gated[1]["id"], "--out", str(path)]) == 0
    content = path.read_text(encoding="utf-8")
    said = f"{path}: {path.stat().st_size:,} bytes; open it with a browser, here or on any other machine\n"
    assert capsys.readouterr().out == said
    data = json.loads(re.search('id="data">(.*)</script>', content)[1])
    assert data["kept"] == [list(heads) for heads in runs.find(gated[1]["id"]).pruned().config.kept_heads]
    assert data["tokens"]["kind"] == "characters" and data["about"]["run"] == gated[1]["id"]
    assert f"{path} exists; name another file" in refused(capsys, "page", gated[1]["id"], "--out", str(path))
    for name in ("page.txt", ""):
        assert f"--out is {name!r}; name a new file that ends in .html" in refused(capsys, "page", "x", "--out", name)
    assert path.read_text(encoding="utf-8") == content


def test_generate_with_a_run_and_with_a_saved_model(gated, tmp_path, capsys):
    """By id, by folder, and from the folder of the pruned model: the same text."""
    import allatt
    from allatt import runs
    from allatt.cli.prompts import encode
    from allatt.data.tokens import load
    from allatt.generate import generate

    assert main(["prune", gated[1]["id"], "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    options = ["--prompt", "the quick ", "--length", "20", "--seed", "4", "--top-k", "5", "--top-p", "0.9",
               "--temperature", "2"]
    texts = []
    for name in (gated[1]["id"][:8], gated[1]["folder"], str(tmp_path / "out")):
        assert main(["generate", name, *options, "--device", "cpu"]) == 0
        texts.append(capsys.readouterr().out)
    run = runs.find(gated[1]["id"])
    assert allatt.load(run.id).model.config.kept == run.pruned().config.kept, "closed heads are gone"
    tokens = load(run.config.data)
    ids = encode(tokens.vocabulary, "the quick ")
    new = generate(run.pruned(), [ids], 20, 2.0, 5, 0.9, seed=4).flatten().tolist()
    assert texts == [tokens.decode(ids + new) + "\n"] * 3 and texts[0].startswith("the quick ")
    assert main(["generate", str(tmp_path / "out"), "--length", "3"]) == 0
    assert len(capsys.readouterr().out.strip("\n")) <= 3, "without a prompt, only new text"


def test_a_saved_model_is_carried_to_another_machine(gated, text, tmp_path):
    """No text, no home, no path of where it was made: another folder, another process."""
    assert main(["prune", gated[1]["id"], "--out", str(tmp_path / "here")]) == 0
    (tmp_path / "here").rename(tmp_path / "there")
    held = b"".join(path.read_bytes() for path in (tmp_path / "there").iterdir())
    assert os.fsencode(text.parent) not in held and os.fsencode(tmp_path) not in held
    code = ("import sys, allatt; model, vocabulary, about = allatt.load(sys.argv[1]); "
            "print(vocabulary.decode(vocabulary.encode('the quick')), about['run'], model.training)")
    env = os.environ | {"ALLATT_HOME": str(tmp_path / "empty"), "PYTHONPATH": str(repository())}
    hidden = text.rename(text.with_name("moved"))
    try:
        for command in (["-c", code, "there"], ["-m", "allatt", "generate", "there", "--length", "5"]):
            done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert "-c" not in command or done.stdout == f"the quick {gated[1]['id']} False\n"
    finally:
        hidden.rename(text)
    assert not (tmp_path / "empty").exists()


def test_a_run_writes_without_its_text(gated, text, capsys):
    hidden = text.rename(text.with_name("moved"))
    try:
        assert main(["generate", gated[1]["id"], "--length", "3"]) == 0
    finally:
        hidden.rename(text)


def test_evaluate_repeats_the_result_and_takes_other_protocols(gated, text, tmp_path, capsys):
    from allatt import runs

    assert main(["save", gated[1]["id"], "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    trained = gated[1]
    config = runs.find(trained["id"]).config
    rows = ["--rows", str(config.train.rows), "--device", "cpu", "--json"]
    found = {}
    protocols = {"run": [], "short": ["--memory", "0"], "valid": ["--split", "valid"], "long": ["--segment", "24"]}
    for name, options in protocols.items():
        for model in (trained["id"], str(tmp_path / "out")):
            assert main(["evaluate", model, "--corpus", str(text), *options, *rows]) == 0
            found[name] = json.loads(capsys.readouterr().out)
    assert found["run"]["tokens"] == 40 * 89 - 1, "the whole text, while the run was evaluated on a part, if it is long"
    assert found["short"]["loss"] != found["run"]["loss"] and found["short"]["protocol"]["memory"] == 0
    assert found["long"]["loss"] == pytest.approx(found["run"]["loss"], rel=1e-5), "the same memory"
    assert (found["long"]["protocol"]["segment"], found["valid"]["split"]) == (24, "valid")
    for split, mine in (("test", found["run"]), ("valid", found["valid"])):
        assert mine["loss"] == pytest.approx(trained[split]["loss"], rel=1e-6)
        assert mine["word_perplexity"] == pytest.approx(math.exp(mine["nats"] / (40 * 20)))
        assert mine["bits_per_byte"] == pytest.approx(mine["nats"] / (40 * 89) / math.log(2))
    assert main(["evaluate", trained["id"], "--corpus", str(text)]) == 0
    assert "measured with  segment 16, memory 16, rows 16" in capsys.readouterr().out


def test_the_folder_of_a_run_is_taken_if_its_text_is_still_the_same(gated, text, tmp_path, capsys):
    import shutil

    for given in (gated[1]["id"], gated[1]["folder"]):
        assert main(["evaluate", given]) == 0
        assert f"{text}: perplexity" in capsys.readouterr().out
    stray = shutil.copytree(gated[1]["folder"], tmp_path / "stray")
    assert "is not known here; give --corpus" in refused(capsys, "evaluate", str(stray))
    path = text / "wiki.valid.tokens"
    before = path.read_text()
    path.write_text(before + " more \n")
    try:
        assert "is not, by its checksums, the text that" in refused(capsys, "evaluate", gated[1]["id"])
    finally:
        path.write_text(before)


@pytest.mark.parametrize("arguments, message", [
    (["--split", "all"], "--split is 'all'; choose train, valid or test"), (["--rows", "0"], "--rows is 0"),
    (["--segment", "0"], "segment is 0"), (["--memory", "-1"], "memory is -1"),
    (["--memory", "17"], "positions is 17; it must be at least memory + 1 = 18"), (["--device", "tpu"], "device is 'tpu'"),
    (["--corpus", "wikitext-104"], "did you mean wikitext-103?")])
def test_evaluate_refuses(gated, arguments, message, capsys):
    assert message in refused(capsys, "evaluate", gated[1]["id"], *arguments)


def test_a_text_without_words_cannot_be_evaluated(gated, text, tmp_path, capsys):
    for split in ("train", "valid"):
        shutil.copy(text / f"wiki.{split}.tokens", tmp_path)
    (tmp_path / "wiki.test.tokens").write_text("   ")  # an end of line would be a word
    assert "wiki.test.tokens holds no words; give a text" in refused(
        capsys, "evaluate", gated[1]["id"], "--corpus", str(tmp_path))


def test_a_text_with_other_characters_cannot_be_evaluated(gated, tmp_path, capsys):
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text(" the 7 dogs \n")
    assert "'7' is not one of the characters of this text; the model cannot read it" in refused(
        capsys, "evaluate", gated[1]["id"], "--corpus", str(tmp_path))


def test_many_unknown_words_withhold_what_would_mislead():
    from allatt.cli.models import perplexities

    result = {"perplexity": 2.9, "word_perplexity": 2.9, "bits_per_byte": 0.081}
    assert perplexities(result | {"unknown": 0.47}) == (
        "perplexity 2.90 per token; per word and byte it would mislead: 47.0% of the tokens are <unk>")
    assert perplexities(result | {"unknown": 0.0005}).endswith(
        "2.90 per word; 0.081 bits per byte; 0.05% of the tokens are <unk>")
    assert perplexities(result | {"unknown": 0.0}) == perplexities(result) == (
        "perplexity 2.90 per token, 2.90 per word; 0.081 bits per byte")


def test_generate_prints_several_texts_as_blocks(gated, capsys):
    assert main(["generate", gated[1]["id"], "--prompt", "the", "--prompt", "a dog", "--samples", "2", "--length", "5"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^--- (\d) of 4 ---\n(the|a d)", out, flags=re.MULTILINE) == \
        [("1", "the"), ("2", "the"), ("3", "a d"), ("4", "a d")]


@pytest.mark.parametrize("arguments, message", [
    (["--length", "0"], "length is 0; it must be 1 to 10,000,000"),
    (["--temperature", "-1"], "temperature is -1.0; it must be 0 (the likeliest token) or more"),
    (["--top-k", "-1"], "top-k is -1; it must be 0 (all tokens) or more"),
    (["--top-p", "0"], "top-p is 0.0; it must be above 0, and at most 1 (all tokens)"),
    (["--seed", "-1"], "seed is -1; it must be 0 or more"),
    (["--samples", "0"], "samples is 0; it must be 1 to 10,000"),
    (["--length", str(10**15)], "length is 1000000000000000; it must be 1 to 10,000,000"),
    (["--length", str(10**20)], "it must be 1 to 10,000,000"),
    (["--samples", str(10**9)], "samples is 1000000000; it must be 1 to 10,000"),
    (["--samples", "10000", "--length", "100000"], "1,000,000,000 tokens in all; at most 100,000,000 are written at once"),
    (["--prompt", "caf\udce9"], "the prompt has bytes that are not UTF-8"),
    (["--device", "tpu"], "device is 'tpu'; choose auto, cuda or cpu"),
    (["--prompt", "the 7 dogs"], "the model's vocabulary does not have '7' of the prompt; leave that out"),
])
def test_generate_refuses(gated, arguments, message, capsys):
    assert message in refused(capsys, "generate", gated[1]["id"], *arguments)


def test_the_command_that_prune_names_works_in_a_shell(gated, tmp_path, capsys):
    assert main(["prune", gated[1]["id"], "--out", str(tmp_path / "sm all")]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"python -m allatt generate '{tmp_path}/sm all'")


def test_generate_ends_quietly_with_ctrl_c(gated, monkeypatch, capsys):
    def stream_text(*given):
        yield "the"
        raise KeyboardInterrupt

    monkeypatch.setattr("allatt.cli.prompts.stream_text", stream_text)
    assert main(["generate", gated[1]["id"]]) == 130
    assert capsys.readouterr() == ("the\n", "")


def test_generate_ends_with_the_status_of_a_signal(gated, monkeypatch, capsys):
    import signal

    from allatt.system.machine import Interrupted

    def stream_text(*given):
        yield "the"
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("allatt.cli.prompts.stream_text", stream_text)
    assert main(["generate", gated[1]["id"]]) == 143


# Damaged folders

@pytest.fixture
def folder(gated, tmp_path):
    assert main(["save", gated[1]["id"], "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["model.safetensors", "characters.json", "README.md"])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:-1] + b"x", None])
def test_a_changed_or_missing_file_is_refused(folder, name, change, capsys):
    path = folder / name
    path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    capsys.readouterr()
    for command in ("generate", "evaluate"):
        assert f"{path} is missing, or was changed; save the run again" in refused(capsys, command, str(folder))


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", "[" * 100_000, '{"run": 1}'])
def test_about_of_another_form_is_one_clear_line(folder, content, capsys):
    (folder / "about.json").write_text(content)
    capsys.readouterr()
    assert "save the run again" in refused(capsys, "generate", str(folder))


def test_generate_refuses_a_folder_without_a_model(tmp_path, capsys):
    assert "0 finished runs start with 'ffffffff'" in refused(capsys, "generate", "ffffffff")
    assert "neither the folder of a finished run nor one that" in refused(capsys, "generate", str(tmp_path))


def test_files_of_two_models_do_not_go_together(folder, gated, capsys):
    """Even with the right checksums."""
    from allatt.system.files import checksum, seal

    (folder / "characters.json").write_text(json.dumps({"codes": [97, 98], "unknown": False}))
    about = json.loads((folder / "about.json").read_text())
    about["files"]["characters.json"] = checksum(folder / "characters.json")
    (folder / "about.json").write_text(json.dumps(seal(about)))
    capsys.readouterr()
    assert "tokens, but its vocabulary 2; save the run again" in refused(capsys, "generate", str(folder))
