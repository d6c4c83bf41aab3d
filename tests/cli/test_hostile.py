"""Whatever the environment and the file system hold: one clear line, and exit status 2."""

import json
import os
import zipfile

import pytest
from refusals import refused

from allatt.cli.main import main

RUN = ("run", "--scale", "smoke", "--model", "all-attention")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current folder, and a home below it."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALLATT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def last_line(capsys, *arguments):
    """As `refused`, of a command that has told what it does."""
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("allatt: ") for line in said)
    return said[-1]


@pytest.mark.parametrize("home, message", [
    ("file", "a part of the path is a file"), ("/proc/nope", "No such file or directory"), ("loop", "symbolic links"),
    ("~nosuchuser/x", "there is no user for ~nosuchuser/x"), ("x" * 300, "File name too long")])
@pytest.mark.parametrize("command", [RUN, ("data",), ("reproduce", "--scale", "smoke", "--notebooks", "02")])
def test_a_home_that_cannot_be_used(place, command, home, message, monkeypatch, capsys):
    monkeypatch.setenv("ALLATT_HOME", home)
    assert message in refused(capsys, *command)


@pytest.mark.parametrize("corpus, message", [
    ("~nosuchuser/x", "there is no user for ~nosuchuser/x"), ("x" * 300, "File name too long"),
    ("loop", "there is no corpus 'loop'"), ("./loop", "there is no folder"), ("file", "is a file; name the folder")])
@pytest.mark.parametrize("command", [RUN, ("data",)])
def test_a_corpus_that_is_none(place, command, corpus, message, capsys):
    assert message in refused(capsys, *command, "--corpus", corpus)


def test_an_empty_corpus_is_not_the_current_folder(place, capsys):
    (place / "a.txt").write_text("one two.\n\nthree four.\n\nfive six.\n" * 9)
    assert "the corpus has no name" in refused(capsys, *RUN, "--set", 'data.corpus=""')
    assert "the corpus has no name" in refused(capsys, "data", "--corpus", "")


def test_offline_folders_of_an_unknown_user(place, monkeypatch, capsys):
    monkeypatch.setenv("ALLATT_DATA", "~nosuchuser")
    assert "there is no user for ~nosuchuser" in refused(capsys, "data", "--corpus", "text8")


@pytest.mark.parametrize("value", ["2147483648", "1" + 30 * "0"])
def test_more_subwords_than_sentencepiece_counts(place, value, capsys):
    assert f"vocab_size is {value}; it must be 0 (words: no limit) to" in refused(capsys, "data", "--vocab-size", value)


@pytest.mark.parametrize("change", [{"flag_bits": 1}, {"compress_type": 99}], ids=["encrypted", "an unknown method"])
def test_an_archive_that_cannot_be_opened(place, change, monkeypatch, capsys):
    with zipfile.ZipFile(place / "text8.zip", "w") as archive:
        archive.writestr("text8", "the cat " * 99)
    content = bytearray((place / "text8.zip").read_bytes())
    for start, shift in ((content.index(b"PK\x03\x04"), 6), (content.index(b"PK\x01\x02"), 8)):
        if "flag_bits" in change:
            content[start + shift] |= 1
        else:
            content[start + shift + 2] = change["compress_type"]
    (place / "text8").mkdir()
    (place / "text8" / "text8.zip").write_bytes(content)
    monkeypatch.setenv("ALLATT_DATA", str(place))
    assert "is truncated, damaged or encrypted" in last_line(capsys, "data", "--corpus", "text8", "--tokens", "characters")


def test_a_config_and_records_that_are_no_files(place, capsys):
    os.mkfifo(place / "pipe.json")
    for path in ("pipe.json", "/dev/zero"):
        assert f"--config {path} cannot be read as JSON: it is a device or a pipe" in refused(capsys, "run", "--config", path)
        assert f"{path} cannot be read (it is a device or a pipe" in refused(capsys, "unpack", path)
    assert "pipe.json cannot be read" in refused(capsys, "unpack", str(place))
    (place / "pipe.json").unlink()
    (place / "huge.json").touch()
    os.truncate(place / "huge.json", 10**12)
    assert "huge.json cannot be read (it has 1,000,000,000,000 bytes" in refused(capsys, "unpack", str(place))
    assert "cannot be read as JSON: it has 1,000,000,000,000 bytes" in refused(capsys, "run", "--config", "huge.json")


@pytest.mark.parametrize("content", ["[]", "null", "5", "[" * 100_000])
def test_a_config_of_another_form(place, content, capsys):
    (place / "config.json").write_text(content)
    assert "--config config.json " in refused(capsys, "run", "--config", "config.json")


# Files in the home

@pytest.mark.parametrize("content", ["[]", "null", "5", '{"00_data": 5}', '{"00_data": {}}', '{"00_data": {"state": []}}',
                                     '{"00_data": {"state": "done", "seconds": "x"}}', "{", "[" * 100_000, ""])
def test_a_broken_status_is_as_none(place, content, capsys):
    folder = place / "home" / "reproduce" / "smoke-default-seed0"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(content)
    assert main(["status"]) == 0
    assert "smoke-default-seed0" in capsys.readouterr().out


@pytest.fixture
def dense(place):
    """The id of a run that has not begun."""
    from allatt.config import ALL_ATTENTION
    from allatt.paper.study import Study

    return Study("smoke").baseline(ALL_ATTENTION).id


@pytest.mark.parametrize("name, is_folder", [("{}", False), ("{}.lock", True), ("{}/metrics.jsonl", True),
                                             ("{}/config.json", True)])
def test_files_and_folders_in_each_other_s_place(place, dense, name, is_folder, capsys):
    path = place / "home" / "runs" / name.format(dense)
    path.parent.mkdir(parents=True)
    if is_folder:
        path.mkdir()
        (path / "x").write_text("")
    else:
        path.write_text("")
    assert str(path) in last_line(capsys, *RUN)


def test_a_sidecar_without_its_data(place, monkeypatch, capsys):
    monkeypatch.setenv("ALLATT_FIGURES", str(place / "figures"))
    folder = place / "figures" / "smoke"
    folder.mkdir(parents=True)
    for data in ({}, [], None, {"kinds": 5}):
        (folder / "03_baselines.json").write_text(json.dumps({"name": "03_baselines", "scale": "smoke", "data": data}))
        said = refused(capsys, "figures", "--scale", "smoke")
        assert "03_baselines.json does not hold what its figure shows" in said or "there is no figure 03_baselines" in said


def test_a_folder_in_the_place_of_an_executed_notebook(place, capsys):
    folder = place / "home" / "reproduce" / "smoke-default-seed0" / "02_cost_of_a_head.ipynb"
    folder.mkdir(parents=True)
    assert f"{folder} is a folder; remove it" in last_line(capsys, "reproduce", "--scale", "smoke", "--notebooks", "02")


def test_bench_looks_where_it_will_write_before_it_measures(place, monkeypatch, capsys):
    monkeypatch.setattr("allatt.benchmarks.bench.Bench", None)
    for out, message in ((place, "is a folder; name a file"), (place / "file" / "x.json", "a part of the path is a file")):
        assert message in refused(capsys, "bench", "--quick", "--out", str(out))
    assert sorted(os.listdir(place)) == ["file", "loop"]


# Models of somebody else

@pytest.fixture(scope="module")
def built_in(home_of_tests):
    """A run that learned from a built-in corpus."""
    from allatt.config import ALL_ATTENTION
    from allatt.paper.study import Study
    from allatt.runs import get_or_run
    from allatt.system.machine import Machine

    return get_or_run(Study("smoke-characters").baseline(ALL_ATTENTION), Machine(device="cpu", progress=False))


def with_text(folder, run, **changes):
    """The saved run, with another text in its about.json; its seal fits."""
    from allatt.sharing import saved
    from allatt.system.files import seal

    about = json.loads((saved.save(run, folder) / "about.json").read_text())
    about["text"] |= changes
    (folder / "about.json").write_text(json.dumps(seal(about)))
    return str(folder)


def test_a_built_in_corpus_is_taken_if_it_is_the_text_that_was_learned(built_in, tmp_path, monkeypatch, capsys):
    """Which text is measured; the measuring itself would take a while."""
    from allatt.data.corpora import locate
    from allatt.sharing import saved

    sha256, read = built_in.provenance["data"]["sha256"], []
    monkeypatch.setattr(saved, "measure", lambda opened, path, rows: read.append(path) or built_in.result["test"])
    for given in (built_in.id, with_text(tmp_path / "good", built_in)):
        assert main(["evaluate", given, "--device", "cpu"]) == 0
        assert "text8-like: perplexity" in capsys.readouterr().out
    for number, other in enumerate((sha256 | {"test": "0" * 64}, {}, None)):
        folder = with_text(tmp_path / str(number), built_in, sha256=other)
        said = refused(capsys, "evaluate", folder)
        assert f"text8-like is not, by its checksums, the text that {folder} learned from; give that, or another, with" in said
        assert main(["evaluate", folder, "--corpus", "text8-like"]) == 0, "as the user says"
        capsys.readouterr()
    assert read == [locate("text8-like").files["test"]] * 5


def test_a_folder_that_a_file_names_is_not_looked_at(built_in, text, tmp_path, monkeypatch, capsys):
    """Neither by its path nor as a folder of the current one, even if it is the text."""
    from allatt.data.corpora import locate

    monkeypatch.chdir(text.parent)
    sha256 = locate(str(text)).sha256
    for number, name in enumerate((str(text), text.name, ".", "/etc", "x\x1b[31m")):
        folder = with_text(tmp_path / str(number), built_in, name=name, sha256=sha256)
        with monkeypatch.context() as patch:
            patch.setattr("allatt.data.corpora.locate", None)
            said = refused(capsys, "evaluate", folder)
        assert said.endswith("is not known here; give --corpus") and said.isprintable()


def test_weights_so_large_that_numbers_overflow(built_in, tmp_path, monkeypatch, capsys):
    import torch

    model = built_in.load()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(1e38)
    monkeypatch.setattr("allatt.runs.run.Run.pruned", lambda run: model)
    assert "its weights are too large" in refused(capsys, "evaluate", built_in.id, "--device", "cpu")
    for options in (["--length", "1"], ["--length", "3"], ["--length", "3", "--samples", "2"]):
        assert main(["generate", built_in.id, "--device", "cpu", "--prompt", "the", *options]) == 2
        assert "allatt: the model's weights are too large, so" in capsys.readouterr().err
