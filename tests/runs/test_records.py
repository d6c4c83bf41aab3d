"""Records: a run without its weights comes back as it was, and says so when the weights are asked for."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from allatt.config import AllattError, DataConfig, GateConfig, ModelConfig, RunConfig, TrainConfig
from allatt.config_json import from_dict
from allatt.data.tokens import pin
from allatt.runs import Run, finished, get_or_run
from allatt.runs.records import impossible, read_record, record, restore, write_record
from allatt.system.files import SEAL, read_json, seal
from allatt.system.machine import Machine
from allatt.system.paths import repository


@pytest.fixture(scope="module")
def run(tmp_path_factory, home_of_tests) -> Run:
    """A consolidated run of a few steps, with its first phase."""
    folder = tmp_path_factory.mktemp("text")
    for split in ("train", "valid", "test"):
        (folder / f"wiki.{split}.tokens").write_text("the head of a layer looks back at what was said before .\n" * 20)
    model = ModelConfig(layers=2, heads=2, d_model=8, d_head=4, persistent=4, segment=8, memory=8, positions=9)
    data, train = pin(DataConfig(corpus=str(folder), tokens="characters")), TrainConfig(steps=3, rows=2, lr=1e-2)
    gated = RunConfig("gated", data, model, train, GateConfig(initial=0.0, lr=0.1), RunConfig("start", data, model, train))
    return get_or_run(RunConfig("pruned", data, model, train, start=gated, consolidate=True), Machine(progress=False))


def without_files(result):
    return {key: value for key, value in result.items() if key not in ("files", SEAL)}


def test_a_run_comes_back_from_its_record_without_weights(run, tmp_path, home):
    (run.gated().folder / "rivals.json").write_text('{"random heads": [[0], [1]]}')
    paths = [write_record(one, tmp_path / "records") for one in (run.gated(), run)]
    assert [restore(path) for path in paths] == [True, True]
    again = Run(home / "runs" / run.id)
    assert again.id == run.id and without_files(again.result) == without_files(run.result)
    assert set(run.result["files"]) - set(again.result["files"]) == {"model.safetensors"}
    assert finished(run.config) and get_or_run(run.config).result == again.result, "read, not trained"
    first, gates = again.gated(), run.gated().gates()
    assert torch.equal(first.gates().logit_LH, gates.logit_LH) and first.gates().kept().tolist() == gates.kept().tolist()
    assert json.loads((first.folder / "rivals.json").read_text()) == {"random heads": [[0], [1]]}
    for old, new in zip(run.gated().metrics(), first.metrics(), strict=True):
        assert old.keys() == new.keys() and old["kept"] == new["kept"] and new["loss"] == pytest.approx(old["loss"], rel=1e-5)
    with pytest.raises(AllattError, match=rf"run {run.id} \(pruned\) is here without its weights, .* remove {again.folder}"):
        again.load()


def test_a_run_in_training_is_left_alone(run, tmp_path, home, capsys):
    """Until its first checkpoint only its lock tells; its log would get the record's lines between its own."""
    path = write_record(run, tmp_path)
    folder = home / "runs" / run.id
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("being written\n")
    with FileLock(folder.with_suffix(".lock")):
        assert restore(path) is False and not finished(run.config)
    assert capsys.readouterr().err == f"allatt: run {run.id} is in training here, so {path} is left out\n"
    assert [file.name for file in folder.iterdir()] == ["metrics.jsonl"]
    assert (folder / "metrics.jsonl").read_text() == "being written\n"
    assert restore(path) is True, "once the lock is free"


def test_a_text_without_a_checksum_gives_no_record(run, tmp_path):
    """A record holds the name of the text's folder alone: without the checksum it would be that of another run."""
    config = replace(run.gated().config.start, data=replace(run.config.data, text_sha256=""))
    other = get_or_run(config, Machine(progress=False))
    with pytest.raises(AllattError, match=f"run {other.id} is named by the path of its text, .*allatt.data.tokens.pin"):
        write_record(other, tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_run_that_is_there_is_left_alone(run, tmp_path):
    weights = (run.folder / "model.safetensors").read_bytes()
    assert restore(write_record(run, tmp_path)) is False
    assert (run.folder / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(("folder", "refused"), [("two\nlines", True), ("two\nlines/wiki", False)])
def test_what_could_not_be_unpacked_is_not_packed(run, folder, refused, tmp_path):
    text = tmp_path / folder
    shutil.copytree(run.config.data.corpus, text)
    config = replace(run.gated().config.start, data=pin(DataConfig(corpus=str(text), tokens="characters")))
    other = get_or_run(config, Machine(progress=False))
    if refused:
        with pytest.raises(AllattError, match=f"run {other.id} or its text has a name with control characters"):
            write_record(other, tmp_path / "records")
        assert not (tmp_path / "records").exists()
    else:  # a record holds the name of the folder alone
        assert read_record(write_record(other, tmp_path / "records"))[0].id == other.id


def test_what_was_measured_later_is_part_of_a_record(run):
    (run.folder / "attention.json").write_text('{"rows": 3}')
    assert record(run)["readings"] == {"attention": {"rows": 3}}


@pytest.mark.parametrize("change, message", [
    (lambda values: values["config"]["train"].update(lr=0.5), "but its config is that of run"),
    (lambda values: values.update(id="0" * 12), "holds run '000000000000', but its config is that of run"),
    (lambda values: values.pop("metrics"), "lacks metrics; it must be the record of a run"),
    (lambda values: values["result"]["test"].update(loss=1.0), "was changed after it was written"),
    (lambda values: values["config"].update(more=1), "RunConfig has no more"),
    (lambda values: values["config"].update(name="\x1b[31m"), "a name with control characters"),
    (lambda values: values["config"]["start"].update(name="\x9b31m"), "a name with control characters"),
])
def test_a_record_that_was_changed_is_refused(run, tmp_path, home, change, message):
    path = write_record(run, tmp_path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values if "after it was written" in message else seal(values)))
    with pytest.raises(AllattError, match=message):
        restore(path)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_other_files_are_one_clear_line(tmp_path, home, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(AllattError) as error:
        restore(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_record_names_no_path_and_has_the_run_s_id(run, tmp_path):
    provenance = run.provenance | {"resumed": [run.provenance]}  # a run that was interrupted has one more
    path = run.folder / "provenance.json"
    before = path.read_text()
    path.write_text(json.dumps(provenance))
    text = write_record(Run(run.folder), tmp_path).read_text()
    path.write_text(before)
    folder = run.config.data.corpus
    assert folder.startswith("/") and folder not in text and str(tmp_path.parent) not in text
    assert json.loads(text)["id"] == run.id


def test_the_committed_records_can_be_restored():
    """All of them; the oldest ones have neither log nor gates, and are figures' data alone."""
    figures = repository() / "figures"
    paths = [*figures.glob("*/runs/*.json"), *figures.glob("*/calibration/*.json")]
    paths = [path for path in paths if not path.relative_to(figures).parts[0].startswith("smoke")]  # made anew by every test
    assert len(paths) > 200
    for path in paths:
        values = json.loads(path.read_text())
        if "metrics" in values:
            assert read_record(path)[0].id == path.stem
        else:
            assert impossible(values["result"], values["provenance"]["data"], from_dict(RunConfig, values["config"])) == ""


def test_a_run_has_one_result_in_all_folders():
    """Except for those that were trained a second time (figures/*/again), which no table and no verdict uses."""
    figures, results = repository() / "figures", {}
    for path in figures.glob("*/*/*.json"):
        if path.parent.name in ("runs", "calibration", "rates") and not path.parts[-3].startswith("smoke"):
            result = json.loads(path.read_text())["result"]
            said = {name: result.get(name) for name in ("valid", "test", "heads")}
            assert results.setdefault(path.stem, said) == said, path
    assert len(results) > 1000


@pytest.mark.parametrize("place, value, message", [
    ("test.perplexity", 4.0, "its test perplexity is 4, but the other numbers give"),
    ("test.perplexity", "four", "its test perplexity is 'four', which is not a number"),
    ("valid.loss", 0.5, "its valid loss is 0.5, but"), ("valid.loss", -1, "its valid loss is -1, which is not"),
    ("valid.nats", True, "its valid nats is True, which is not"), ("test.nats", 10**400, "its test nats is 1000"),
    ("test.word_perplexity", 7.0, "its test word_perplexity is 7, but"),
    ("test.bits_per_byte", 9.0, "its test bits_per_byte is 9, but"), ("test.tokens", 10**9, "has 1000000000 tokens of"),
    ("test.tokens", 0, "has 0 tokens of"), ("test.tokens", 7.5, "has 7.5 tokens of"),
    ("test.unknown", 1.5, "150% of them unknown"),
    ("test.protocol", {"segment": 99, "memory": 8, "rows": 2}, "was read with"), ("test.protocol", 5, "TypeError"),
    ("test", {}, "KeyError: 'loss'"), ("valid", None, "TypeError"),
    ("seconds", None, "its seconds is None"), ("tokens_seen", "many", "its tokens_seen is 'many'"),
    ("heads.total", 99, "its heads have total 99, where"), ("heads.of", 16, "its heads have of 16, where 4"),
    ("heads.of", 4.0, "its heads have of 4.0"), ("heads.per_layer", [2, 2, 2], "its heads have per_layer"),
    ("heads.kept", [[99], [0]], "it cannot have these heads: kept heads of layer 1 are"),
    ("heads.kept", [[0, 0], [0]], "it cannot have these heads"), ("heads.kept", [[0.0], []], "it cannot have these heads"),
    ("heads.kept", [[0]], "kept names heads for 1 layers"), ("heads.kept", None, "its kept heads are no list"),
    ("heads.kept", [[], []], "its heads have "), ("heads", 5, "TypeError"),
    ("parameters.total", 1, "its parameters are 1 in total"), ("parameters.body", -5, "its parameters body is -5"),
])
def test_a_result_that_no_run_can_have_is_refused(run, tmp_path, home, place, value, message):
    path = write_record(run.gated(), tmp_path)
    values = json.loads(path.read_text())
    assert read_record(path)[0].id == run.gated().id, "as it was written"
    *sections, key = place.split(".")
    section = values["result"]
    for name in sections:
        section = section[name]
    section[key] = value
    path.write_text(json.dumps(seal(values)))
    with pytest.raises(AllattError, match="is not the record of a run") as error:
        restore(path)
    assert message in str(error.value) and "\n" not in str(error.value) and not (home / "runs").exists()


def test_the_heads_are_those_that_the_gates_or_the_config_keep(run, tmp_path, home):
    gated, start = run.gated(), Run(run.folder.parent / run.config.start.start.id)
    for one, kept in ((gated, [[0, 1], [0]]), (start, [[0], [1]])):
        values = record(one)
        values["gates"] = values["gates"] and values["gates"] | {"logit_LH": [[1.0, -1.0], [-1.0, -1.0]]}
        values["result"]["heads"] |= {"kept": kept, "per_layer": list(map(len, kept)), "total": sum(map(len, kept))}
        path = tmp_path / "x.json"
        path.write_text(json.dumps(values))
        with pytest.raises(AllattError, match="its heads have kept"):
            restore(path)


def test_the_laptop_scale_came_out_the_same_on_another_machine():
    """Two of its runs had two threads the first time, and one the second."""
    twice = [(read_json(path, "commit it"), read_json(path.parents[1] / "runs" / path.name, "commit it"))
             for path in sorted((repository() / "figures" / "laptop" / "again").glob("*.json"))]
    assert len(twice) == 34
    others = []
    for again, first in twice:
        assert again["result"]["heads"] == first["result"]["heads"]
        assert again["provenance"]["commit"] != first["provenance"]["commit"]
        if any(again["result"][split]["nats"] != first["result"][split]["nats"] for split in ("valid", "test")):
            others.append(again["id"])
            assert (again["provenance"]["threads"], first["provenance"]["threads"]) == (1, 2)
            assert again["result"]["test"]["loss"] == pytest.approx(first["result"]["test"]["loss"], abs=6e-5)
    assert others == ["056efbb7fbf1", "e010e27a779b"]


def test_on_another_kind_of_processor_a_run_came_out_as_another_seed_might():
    """figures/overnight/README.md: a baseline of seed 3, which differs by as much as the baselines of seeds do."""
    folder = repository() / "figures" / "overnight"
    again = read_json(folder / "again" / "2f54d65d1024.json", "commit it")
    first = read_json(folder / "runs" / "2f54d65d1024.json", "commit it")
    assert again["config"] == first["config"] and again["provenance"]["hardware"] != first["provenance"]["hardware"]
    losses = [(record["result"]["test"]["loss"], record["result"]["valid"]["loss"]) for record in (first, again)]
    assert [f"{test:.3f} {valid:.3f}" for test, valid in losses] == ["3.846 3.871", "3.842 3.860"]


def test_six_baselines_on_another_kind_of_processor():
    """figures/laptop/README.md: the start of seeds 2 to 4 at other rates of pruning."""
    folder, apart = repository() / "figures" / "laptop-5seeds", {"test": [], "valid": []}
    for path in sorted((folder / "again").glob("*.json")):
        again, first = read_json(path, "commit it"), read_json(folder / "runs" / path.name, "commit it")
        assert again["config"] == first["config"] and again["provenance"]["hardware"] != first["provenance"]["hardware"]
        for split, values in apart.items():
            values.append(abs(again["result"][split]["loss"] - first["result"][split]["loss"]))
    assert len(apart["test"]) == 6 and 0.004 < max(apart["test"]) < 0.005
    assert [value > 0.01 for value in sorted(apart["valid"])] == [False] * 5 + [True] and 0.038 < max(apart["valid"]) < 0.0395
