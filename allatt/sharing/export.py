"""A model as a program that needs no allatt: a file of torch.export (.pt2), or ONNX (.onnx).

One call reads T tokens of B rows and predicts the next ones; the memory is passed from call to call. T may be a whole prompt, a
segment, or one token. (A model in another precision has floats of that precision.)

    inputs    ids (B, T) int64     memory (L, B, M, D) float32, at first zeros     filled () int64, at first 0
    outputs   log_probs (B, T, V) float32 of each next token; memory and filled for the next call

The reference path is exported: its operations are standard ones, and its mask may depend on `filled` as a tensor. The program
is read back and compared with the model before the file is kept.

Shape suffixes:
    L layers   B rows   T tokens   M memory   D d_model   V vocabulary
"""

import io
import json
import logging
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from allatt.config import AllattError, check
from allatt.model import LanguageModel
from allatt.system.files import write
from allatt.system.messages import brief

INPUTS, OUTPUTS = ("ids", "memory", "filled"), ("log_probs", "memory_after", "filled_after")
TOLERANCE = 1e-4
"""Largest difference of a log-probability, in nats (rounding: a few 1e-6)."""
LARGEST = 2_000_000_000
"""Bytes of the weights of an ONNX file: its format, protobuf, holds 2 GB."""
Program = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Step(nn.Module):
    """One call of the exported program."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, memory: Tensor, filled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        model, T, remembered = self.model, ids.shape[1], []
        x_BTD = model.softmax.embed(ids, 0.0)
        for layer, block in enumerate(model.blocks):
            remembered.append(torch.cat([memory[layer], x_BTD], dim=1)[:, T:])
            x_BTD = block(x_BTD, memory[layer], filled, model.head_vectors(layer), None, "reference")
        return model.softmax.log_probs(x_BTD), torch.stack(remembered), (filled + T).clamp(max=model.config.memory)


@torch.no_grad()
def export(model: LanguageModel, path: Path, about: dict) -> float:
    """Write a model in evaluation mode as a program; the end of the name, .pt2 or .onnx, is its format. `about` goes into the
    file as JSON. The model is moved to the CPU. Returns the largest difference from the model's own log-probabilities.

    AllattError if the format is not known, a package is missing, the model is too large for the format, the exporter fails, or
    the program computes something else. In these cases no file is written.
    """
    check(path.suffix in FORMATS, f"{path} ends in {path.suffix!r}; choose {' or '.join(FORMATS)}")
    step, rows, tokens = Step(model.cpu()), torch.export.Dim("rows"), torch.export.Dim("tokens")
    example = (torch.zeros(2, 3, dtype=torch.int64), model.empty_memory(2).hidden_LBMD, torch.tensor(0))
    try:
        with _quiet():
            program = torch.export.export(step, example, dynamic_shapes=({0: rows, 1: tokens}, {1: rows}, None))
            content, run = FORMATS[path.suffix](program, model, json.dumps(about))
    except ImportError as error:
        raise AllattError(f"{path.suffix} needs the package {error.name}: pip install -e '.[export]'") from error
    except AllattError:
        raise
    except Exception as error:  # the exporters raise errors of many kinds
        other, = FORMATS.keys() - {path.suffix}
        raise AllattError(f"this model cannot be exported as {path.suffix} ({type(error).__name__}: {brief(error)}); try "
                          f"{other}, or `save`") from error
    difference = largest_difference(model, run)
    check(difference <= TOLERANCE, f"the program exported as {path.suffix} differs from the model by {difference:.1e} nats; it "
                                   "was not written")
    write(path, content)
    return difference


@torch.no_grad()
def largest_difference(model: LanguageModel, run: Program) -> float:
    """The largest difference between a program's log-probabilities and the model's, over successive calls of several sizes,
    past the end of the memory, so that all of the mask's cases occur. NaN counts as infinite."""
    draws, worst = torch.Generator().manual_seed(0), 0.0
    for rows in (1, 3):
        expected_memory = model.empty_memory(rows)
        memory, filled = expected_memory.hidden_LBMD, torch.tensor(0)
        for tokens in (model.config.memory // 2 + 1, 1, model.config.segment, 1):
            ids = torch.randint(model.vocab, (rows, tokens), generator=draws)
            hidden_BTD, expected_memory = model(ids, expected_memory)
            log_probs, memory, filled = run(ids, memory, filled)
            difference = (log_probs - model.softmax.log_probs(hidden_BTD)).abs().max()
            worst = max(worst, float(difference.nan_to_num(nan=torch.inf)))
    return worst


def _torch(program: torch.export.ExportedProgram, model: LanguageModel, about: str) -> tuple[bytes, Program]:
    """The file's content, and the program read back from it."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"about.json": about})
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


def _onnx(program: torch.export.ExportedProgram, model: LanguageModel, about: str) -> tuple[bytes, Program]:
    """Like `_torch`; onnxruntime runs the program."""
    import onnxruntime
    import onnxscript  # noqa: F401 (torch's exporter needs it; imported here to name a missing package)

    size = sum(p.numel() * p.element_size() for p in model.parameters())
    check(size < LARGEST, f"the weights have {size:,} bytes, and one ONNX file holds {LARGEST:,}; export as .pt2")
    axes = {"ids": {0: "rows", 1: "tokens"}, "memory": {1: "rows"}, "filled": None}
    proto = torch.onnx.export(program, input_names=INPUTS, output_names=OUTPUTS, dynamic_shapes=axes, dynamo=True,
                              verbose=False).model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "about", about
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        values = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, values)))

    return content, run


FORMATS = {".pt2": _torch, ".onnx": _onnx}


@contextmanager
def _quiet():
    """Suppress the exporters' remarks: on packages that they could use, on names, and on what they may change one day."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
