"""Exported programs: equal to the model's own log-probabilities, whatever is read, and refused where they would not be."""

import json
from pathlib import Path

import pytest
import torch
from small_text import SMALL

from allatt.config import KINDS, AllattError, ModelConfig
from allatt.model import LanguageModel
from allatt.sharing import export as module
from allatt.sharing.export import FORMATS, export, largest_difference

ABOUT = {"run": "0123456789ab", "text": {"name": "a text"}}
VOCAB = 40


def model_of(kind: str, **changes) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(kind, **(SMALL | changes)), VOCAB)
    for parameter in model.parameters():  # the position biases start as zeros
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module", params=[(KINDS[0], ".onnx"), (KINDS[1], ".pt2")], ids=lambda param: param[1])
def exported(request, tmp_path_factory, home_of_tests):
    """Both formats, both kinds; one model with a layer without heads, and one with an adaptive softmax and a short memory."""
    kind, ending = request.param
    changes = {"kept": ((0, 1), ())} if ending == ".onnx" else {"cutoffs": (10,), "memory": 3, "kept": ((1,), (0, 1))}
    model, path = model_of(kind, **changes), tmp_path_factory.mktemp("exported") / f"model{ending}"
    return model, path, export(model, path, ABOUT)


def program(path: Path):
    """The file as somebody reads it who has no allatt, and what it says of itself."""
    if path.suffix == ".pt2":
        extra = {"about.json": ""}
        return torch.export.load(path, extra_files=extra).module(), json.loads(extra["about.json"])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs):
        values = dict(zip(("ids", "memory", "filled"), (tensor.numpy() for tensor in inputs), strict=True))
        names = ["log_probs", "memory_after", "filled_after"]
        return tuple(map(torch.from_numpy, session.run(names, values)))

    return run, json.loads(session.get_modelmeta().custom_metadata_map["about"])


def whole_window(model: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    """Log-probabilities after each token of a short text, read by one pass that needs no memory."""
    with torch.no_grad():
        return model.softmax.log_probs(model(ids, model.empty_memory(len(ids)))[0])


@pytest.mark.parametrize("rows, parts", [(1, (1, 1, 1, 1)), (3, (4,)), (2, (1, 3)), (5, (3, 1))])
def test_a_program_reads_in_parts_what_the_model_reads_at_once(exported, rows, parts):
    """Four tokens: the first see less than the memory, so that all masks occur. Not the computation of export's own check."""
    model, path, _ = exported
    run, _ = program(path)
    ids = torch.randint(VOCAB, (rows, sum(parts)), generator=torch.Generator().manual_seed(rows))
    memory, filled, seen = torch.zeros(2, rows, model.config.memory, 8), torch.tensor(0), []
    for part in ids.split(parts, dim=1):
        log_probs, memory, filled = run(part, memory, filled)
        seen.append(log_probs)
    torch.testing.assert_close(torch.cat(seen, dim=1), whole_window(model, ids), rtol=0, atol=1e-5)
    assert int(filled) == min(model.config.memory, 4)


def test_the_difference_is_measured_and_small(exported):
    model, path, difference = exported
    assert 0 < difference < 1e-5
    assert largest_difference(model, program(path)[0]) == pytest.approx(difference, rel=1)


def test_the_file_says_what_it_is(exported):
    assert program(exported[1])[1] == ABOUT


def test_a_program_of_another_model_is_noticed(exported):
    model, path, _ = exported
    with torch.no_grad():
        other = model_of(model.config.kind, **{name: getattr(model.config, name) for name in ("kept", "cutoffs", "memory")})
        other.blocks[0].position_HKD.mul_(1.01)
    assert largest_difference(other, program(path)[0]) > 1e-4


def test_what_computes_something_else_is_not_written(monkeypatch, tmp_path):
    model = model_of(KINDS[0], memory=0)
    monkeypatch.setitem(FORMATS, ".pt2", lambda program, model, about: (b"", lambda ids, memory, filled: (
        torch.full((*ids.shape, VOCAB), torch.nan), memory, filled)))
    with pytest.raises(AllattError, match=r"exported as \.pt2 differs from the model by inf nats; it was not written"):
        export(model, tmp_path / "model.pt2", ABOUT)
    assert not list(tmp_path.iterdir())


def test_other_formats_missing_packages_and_failing_exporters_are_one_clear_line(monkeypatch, tmp_path):
    model = model_of(KINDS[0])
    with pytest.raises(AllattError, match=r"ends in '\.bin'; choose \.pt2 or \.onnx"):
        export(model, tmp_path / "model.bin", ABOUT)
    for error, message in ((ModuleNotFoundError("x", name="onnxscript"), r"\.onnx needs the package onnxscript: pip install"),
                           (RuntimeError("no such shape\nmore"), r"cannot be exported as \.onnx \(RuntimeError: no such sh")):
        def fail(*given, error=error):
            raise error

        monkeypatch.setitem(FORMATS, ".onnx", fail)
        with pytest.raises(AllattError, match=message):
            export(model, tmp_path / "model.onnx", ABOUT)
    assert not list(tmp_path.iterdir())


def test_weights_that_one_onnx_file_cannot_hold_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(AllattError, match=r"the weights have [\d,]+ bytes, and one ONNX file holds 1,000; export as \.pt2"):
        export(model_of(KINDS[0]), tmp_path / "model.onnx", ABOUT)


def test_a_full_disk_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setitem(FORMATS, ".pt2", lambda program, model, about: (b"x", program.module()))
    (tmp_path / "a file").touch()
    with pytest.raises(AllattError, match="a part of the path is a file"):
        export(model_of(KINDS[0], memory=0), tmp_path / "a file" / "model.pt2", ABOUT)
