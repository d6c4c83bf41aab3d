"""The five measurements; and operations and memory of a pass, which must not grow unnoticed: counted, never timed."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from allatt import generate
from allatt.benchmarks import bench, measure
from allatt.cli.main import main
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL, AllattError
from allatt.kernels import persistent
from allatt.model import LanguageModel
from allatt.paper import scales

SHAPE = replace(bench.paper_shape(ALL_ATTENTION, layers=2), d_model=32, d_head=8, persistent=256, segment=16, memory=16,
                positions=17)


def body(**changes):
    torch.manual_seed(0)
    return LanguageModel(replace(SHAPE, **changes), 32)


class Counter(TorchDispatchMode):
    """Counts operations that compute something, and the elements of the largest tensor that one returns."""

    def __init__(self):
        super().__init__()
        self.operations, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        self.operations += not any(function._schema.returns[i].alias_info for i in range(len(function._schema.returns)))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return out


def counted(model, train, **options):
    call = measure.make_pass(model, 2, train=train, **options)
    call()
    with Counter() as counter:
        call()
    return counter


@pytest.mark.parametrize("drop", [0.0, 0.2])
@pytest.mark.parametrize("train", [False, True])
def test_the_scores_of_persistent_vectors_are_never_kept(train, drop):
    model = body(drop_attention=drop)
    scores = 2 * model.config.heads * model.config.segment * model.config.persistent
    assert counted(model, train).largest < scores
    model.path = "reference"
    assert counted(model, train).largest >= scores, "or the counter would not see them"


def test_blocks_keep_the_scores_of_one_block_of_vectors_at_a_time():
    q, pk, pv = (torch.randn(2, n, 8) for n in (30, 3 * persistent.BLOCK, 3 * persistent.BLOCK))
    with Counter() as counter:  # an operation's internals are seen if it is called as a function
        out, norm = persistent._blocks._init_fn(q, pk, pv, 0.2, torch.tensor(1))
        persistent._blocks_backward._init_fn(out, q, pk, pv, out, norm, 0.2, torch.tensor(1))
    assert 2 * 30 * persistent.BLOCK == counter.largest


@pytest.mark.parametrize("train, most", [(False, 0.2), (True, 0.35)])
def test_the_fast_path_needs_a_fraction_of_the_references_memory(train, most):
    """A sixth at inference, three tenths in training, at this shape."""
    model = body()
    fast = measure.activation_bytes(measure.make_pass(model, 2, train=train))
    model.path = "reference"
    assert fast < most * measure.activation_bytes(measure.make_pass(model, 2, train=train))


@pytest.mark.parametrize("options, most", [({"train": False}, 54), ({"train": True}, 146),
                                           ({"train": False, "cached": True}, 44)])
def test_operations_of_a_layer_do_not_creep_up(options, most):
    """Operations of two layers minus those of one; at small sizes their number determines the time."""
    two, one = (counted(body(layers=layers), **options).operations for layers in (2, 1))
    assert two - one <= most


def test_removed_heads_leave_no_operation_behind():
    """A layer with half of the heads does the same operations on smaller tensors; one without heads does almost none."""
    half = counted(body(kept=((0, 1, 2, 3),) * 2), False)
    full, none = counted(body(), False), counted(body(kept=((), ())), False)
    assert half.operations <= full.operations and half.largest <= full.largest
    assert none.operations < 0.4 * full.operations


def test_recomputing_the_window_writes_the_same_text():
    """The slow way must do the same work: it gives the same likeliest tokens, and a smaller window does not."""
    torch.manual_seed(0)
    model = LanguageModel(replace(scales.model("smoke", ALL_ATTENTION), layers=3), 50).double().eval()
    for name, tensor in model.blocks.named_parameters():
        if name.endswith("HKD"):  # heads that outweigh the token itself, which would otherwise be repeated
            torch.nn.init.normal_(tensor)
    prompt = torch.randint(50, (60,)).tolist()
    written = generate.generate(model, [prompt], 30, temperature=0)[0, 0].tolist()
    assert len(set(written)) > 5, "with few distinct tokens any window would agree"
    assert bench.recompute(model, prompt, 30, window=3 * 16 + 1) == written
    assert bench.recompute(model, prompt, 30, window=2 * 16) != written


def test_a_run_has_every_section_with_its_table_and_provenance(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench.measure, "measure", lambda calls, *rest, **options: {"rounds": 3, "peak": 1e9, "variants": {
        name: {"median": 1.0 + i, "best": 1.0, "times_as_fast": 1 / (1 + i), "best_times_as_fast": 1.0}
        for i, name in enumerate(calls)}})
    monkeypatch.setattr(bench.Bench, "x_transformers", lambda *rest: {})
    with torch.compiler.set_stance("force_eager"):  # tests/kernels compile
        assert main(["bench", "--quick", "--device", "cpu", "--out", str(tmp_path / "out.json")]) == 0
    results = json.loads((tmp_path / "out.json").read_text())
    assert results["provenance"]["hardware"] and results["quick"] and set(bench.SECTIONS) < set(results)
    assert set(results["paths"]["inference"]["variants"]) >= {"reference", "fast", "fast, compiled", "fast, cached"}
    lists = results["lists"]["training"][TRANSFORMER_XL]
    assert [row["heads"] for row in lists] == [128, 106, 87, 59, 0]
    assert lists[0]["ideal"] == 1.0 and lists[-1]["ideal"] == lists[-1]["time"]
    assert 0 < lists[-1]["counted"] < lists[3]["counted"] < lists[0]["counted"] == 1, "the feed-forward stays"
    assert all(row["counted"] == row["heads"] / 128 for row in results["lists"]["training"][ALL_ATTENTION])
    printed = capsys.readouterr().out
    assert all(f"\n{section}" in "\n" + printed for section in bench.SECTIONS)


def test_a_bench_measures_the_chosen_variants_within_its_limit(monkeypatch):
    calls_and_limits = []
    monkeypatch.setattr(bench.Bench, "x_transformers", lambda *rest: {"x-transformers": lambda: None})
    make, made = bench.Bench.body_pass, []
    monkeypatch.setattr(bench.Bench, "body_pass", lambda self, **options: made.append(options) or make(self, **options))

    def measure(calls, rounds, device, precision, limit):
        calls_and_limits.append((list(calls), limit))
        return {"rounds": 3, "peak": 1e9, "variants": {name: {"median": 1.0} for name in calls}}

    monkeypatch.setattr(bench.measure, "measure", measure)
    measurements = bench.Bench("cpu", "fp32", 1, 3, SHAPE, limit=2.5, variants=("x-transformers", "reference", "fast, cached"))
    measurements.paths()
    measurements.dropout()
    assert calls_and_limits == [(["reference", "fast, cached", "x-transformers"], 2.5), (["reference", "x-transformers"], 2.5),
                     (["reference", "x-transformers"], 2.5)]
    assert not any(options.get("compiled") for options in made) and len(made) == 4, "what is not chosen is not compiled either"


def test_unknown_sections_and_wrong_rounds_are_refused(capsys):
    with pytest.raises(AllattError, match="no section speed; choose from paths"):
        bench.run(sections=("speed",))
    assert main(["bench", "--rounds", "0"]) == 2
    assert "--rounds is 0" in capsys.readouterr().err
