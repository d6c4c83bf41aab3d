"""Measuring: order, ratios and shares are exact; times themselves are never asserted."""

import math
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from allatt import cost
from allatt.benchmarks import measure
from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, AllattError
from allatt.model import LanguageModel
from allatt.paper import scales

MODELS = {kind: replace(scales.model("smoke", kind), segment=8, memory=8) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    return LanguageModel(measure.body_only(MODELS[request.param]), 32)


def operations(model, *arguments, **options):
    """Operations that torch counts in a pass of the reference path (its counter needs weights without gradients)."""
    model.requires_grad_(False)
    model.path = "reference"
    with FlopCounterMode(display=False) as counter:
        measure.make_pass(model, *arguments, **options)()
    return counter.get_total_flops()


class Clock:
    """A clock that only the variants move on."""

    def __init__(self, monkeypatch):
        self.now, self.log = 0.0, []
        monkeypatch.setattr(measure.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(measure, "_matrix_product", lambda device, precision: (self.variant("product", 2.0), 100))

    def variant(self, name, seconds):
        times = iter(seconds) if isinstance(seconds, list) else None

        def call():
            self.log.append(name)
            self.now += next(times) if times else seconds
        return call


def test_every_round_has_every_variant_once_in_changing_order(monkeypatch):
    """In a fixed order a variant would always run after the same other one, with the same state of the caches."""
    clock = Clock(monkeypatch)
    result = measure.measure({name: clock.variant(name, 1.0) for name in "abc"}, 60)
    rounds = [clock.log[i:i + 4] for i in range(0, len(clock.log), 4)]
    assert result["rounds"] == 60 and len(rounds) == 61, "each is called once before, which does not count"
    assert all(sorted(r) == ["a", "b", "c", "product"] for r in rounds)
    before = {name: {x for r in rounds[1:] for x, y in pairwise(r) if y == name} for name in "abc"}
    assert before == {"a": {"b", "c", "product"}, "b": {"a", "c", "product"}, "c": {"a", "b", "product"}}


def test_ratios_are_paired_within_a_round(monkeypatch):
    """A machine that is ten times slower in the third round changes no ratio."""
    clock = Clock(monkeypatch)
    result = measure.measure({"first": clock.variant("first", [9.0, 4.0, 4.0, 40.0]),
                            "half": clock.variant("half", [9.0, 2.0, 2.0, 20.0])}, 3)
    half = result["variants"]["half"]
    assert half["times_as_fast"] == half["best_times_as_fast"] == 2.0
    assert (half["median"], half["best"]) == (2.0, 2.0)
    assert result["variants"]["first"]["times_as_fast"] == 1.0
    assert result["peak"] == 50.0, "100 operations in 2 seconds"


def test_the_first_call_does_not_count(monkeypatch):
    clock = Clock(monkeypatch)
    result = measure.measure({"a": clock.variant("a", [1000.0, 1.0])}, 1)
    assert result["variants"]["a"]["median"] == 1.0


def test_a_median_ratio_is_not_a_ratio_of_medians(monkeypatch):
    clock = Clock(monkeypatch)
    times = {"a": [0.0, 1.0, 2.0, 6.0], "b": [0.0, 1.0, 4.0, 4.0]}
    result = measure.measure({name: clock.variant(name, seconds) for name, seconds in times.items()}, 3)
    assert result["variants"]["b"]["times_as_fast"] == 1.0  # of 1, 1/2 and 3/2; the medians are 2 and 4
    assert result["variants"]["b"]["median"] == 4.0


@pytest.mark.parametrize("limit, rounds", [(0.0, 3), (4.0, 3), (11.5, 4), (1000.0, 10)])
def test_a_busy_machine_measures_less(monkeypatch, limit, rounds):
    clock = Clock(monkeypatch)  # 3 seconds per round
    result = measure.measure({"a": clock.variant("a", 1.0)}, 10, limit=limit)
    assert result["rounds"] == rounds and clock.log.count("a") == rounds + 1


def test_nothing_to_measure_is_a_clear_error():
    with pytest.raises(AllattError, match="rounds is 0"):
        measure.measure({"a": lambda: None}, 0)
    with pytest.raises(AllattError, match="nothing to measure"):
        measure.measure({}, 3)


def test_real_measurement_has_finite_numbers(model):
    small = measure.smaller_models(model, (0.0, 0.5))
    result = measure.measure({str(share): measure.make_pass(m, 2) for share, m in small.items()}, 2)
    values = [v for variant in result["variants"].values() for v in variant.values()] + [result["peak"]]
    assert all(math.isfinite(v) and v > 0 for v in values)


@pytest.mark.parametrize("share, heads", [(0, 8), (0.25, 6), (0.3, 6), (0.5, 4), (0.75, 2), (1, 0)])
def test_kept_evenly_removes_the_last_heads_of_each_layer(share, heads):
    assert measure.kept_evenly(MODELS[ALL_ATTENTION], share) == (tuple(range(heads)),) * 2


def test_a_share_above_one_is_a_clear_error():
    with pytest.raises(AllattError, match="share is 1.5"):
        measure.kept_evenly(MODELS[ALL_ATTENTION], 1.5)


def test_models_with_heads_removed_are_physically_smaller(model):
    small = measure.smaller_models(model)
    assert small[0.0] is model and tuple(small) == measure.SHARES
    for share, m in small.items():
        shape = replace(model.config, kept=measure.kept_evenly(model.config, share))
        assert m.parameter_counts()["body"] == cost.count(shape, 32)["parameters"]["body"]


def test_smaller_models_do_the_operations_of_the_closed_form(model):
    """Counted by torch on the reference path, so exact on any machine."""
    for small in measure.smaller_models(model).values():
        assert operations(small, 3) == 2 * cost.executed(small.config, 3)["per_pass"]


def test_closed_gates_give_the_outputs_of_removal_but_save_nothing(model):
    ids, memory = torch.arange(16).view(2, 8), model.empty_memory(2)
    for share in (0.5, 1.0):
        small = measure.smaller_models(model, (share,))[share]
        gate_LH = measure.closed_gates(model, share)
        torch.testing.assert_close(model(ids, memory, gate_LH)[0], small(ids, memory)[0], atol=1e-6, rtol=1e-5)
        assert operations(model, 3, gate_LH) == 2 * cost.executed(model.config, 3)["per_pass"], "gates save nothing"


def test_a_pass_trains_or_does_not(model):
    before = {name: p.clone() for name, p in model.named_parameters()}
    seen = []
    model.distance_PD.register_hook(seen.append)
    measure.make_pass(model, 2)()
    assert not seen and not model.training
    measure.make_pass(model, 2, train=True)()
    assert len(seen) == 1 and seen[0].abs().sum() > 0 and model.training, "the backward pass reached the weights"
    assert all(p.grad is None and torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_the_whole_model_adds_the_softmax(model):
    more = operations(model, 3, with_softmax=True) - operations(model, 3)
    assert more == 2 * 3 * 8 * cost.count(model.config, 32)["multiply_adds"]["softmax_head"]


def test_a_pass_uses_its_full_memory(model):
    """An empty memory would be cheaper to attend to, and a running model does not have one."""
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[1:3]))
    measure.make_pass(model, 2)()
    memory_BMD, filled = seen[0]
    assert filled == model.config.memory and memory_BMD.std() > 0.5


def test_body_only_has_no_bands():
    assert measure.body_only(scales.model("paper", ALL_ATTENTION)).cutoffs == ()


def test_without_dropout_nothing_else_changes():
    paper = scales.model("paper", ALL_ATTENTION)
    still = measure.without_dropout(paper)
    changed = {f.name for f in fields(paper) if getattr(paper, f.name) != getattr(still, f.name)}
    assert changed == {"drop_attention", "drop_projection", "drop_input", "drop_output", "drop_word"}
    assert all(getattr(still, name) == 0 for name in changed)


def test_ideal_is_the_line_between_the_two_ends():
    assert [measure.ideal(8.0, 2.0, share) for share in (0, 0.5, 1)] == [8.0, 5.0, 2.0]


def test_share_of_peak_counts_the_backward_pass():
    shape = MODELS[ALL_ATTENTION]
    operations = 2 * cost.executed(shape, 4)["per_pass"]
    assert measure.share_of_peak(shape, 4, 2.0, operations) == pytest.approx(0.5)
    both = 2 * cost.trained(shape, 4)
    assert measure.share_of_peak(shape, 4, 2.0, both, train=True) == pytest.approx(0.5)


def test_comparison_has_removed_and_gated_rows_and_an_ideal_line(monkeypatch):
    seconds = {"0%": 8.0, "25%": 7.0, "50%": 5.0, "75%": 4.0, "100%": 2.0, "50% gated": 8.0, "100% gated": 10.0}
    monkeypatch.setattr(measure, "measure", lambda variants, *options: {"peak": 1.0, "variants": {
        name: {"times_as_fast": 8 / seconds[name], "best_times_as_fast": 8 / seconds[name]} for name in variants}})
    table = measure.compare(MODELS[ALL_ATTENTION], 2, 3)["table"]
    assert [(row["share"], row["gates"]) for row in table] == [
        (0.0, False), (0.25, False), (0.5, False), (0.75, False), (1.0, False), (0.5, True), (1.0, True)]
    assert [row["time"] for row in table] == pytest.approx([1, 7 / 8, 5 / 8, 1 / 2, 1 / 4, 1, 10 / 8])
    assert [row["ideal"] for row in table] == pytest.approx([1, 13 / 16, 10 / 16, 7 / 16, 1 / 4, 1, 1])


# Memory

def test_memory_of_smaller_bodies():
    shape = MODELS[TRANSFORMER_XL]
    table = measure.memory(shape, 2)
    assert [row["share"] for row in table] == list(measure.SHARES)
    for row in table:
        small = replace(shape, kept=measure.kept_evenly(shape, row["share"]))
        assert row["weights"] == 4 * cost.count(small, 32)["parameters"]["body"]
        assert row["training"] > row["inference"] > 0


def test_activations_are_those_alive_at_once():
    start = torch.zeros(1000)

    def call():
        a = start + 1  # 4,000 bytes
        b = a.view(10, 100)[:5]  # none: the same storage
        c = torch.cat([a, a])  # 8,000
        del a, b
        d = c * 2  # 8,000, when a is gone
        return d
    assert measure.activation_bytes(call) == 16_000


def test_activations_do_not_count_tensors_that_existed_before():
    weight = torch.zeros(1000)
    assert measure.activation_bytes(lambda: weight.view(10, 100).add_(1)) == 0


def test_training_holds_more_and_fewer_heads_hold_less(model):
    peaks = {train: [measure.activation_bytes(measure.make_pass(m, 4, train=train))
                     for m in measure.smaller_models(model, (0.0, 0.5, 1.0)).values()] for train in (False, True)}
    assert all(more > less for more, less in zip(peaks[True], peaks[False], strict=True))
    assert peaks[True][0] > peaks[True][1] > peaks[True][2]


def test_activations_agree_with_the_allocator(model):
    """Only torch's allocator sees the internal buffers of kernels, which are small beside as many rows."""
    from torch.profiler import ProfilerActivity, profile

    call = measure.make_pass(model, 16, train=True)
    watched = measure.activation_bytes(call)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    now = most = 0
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    assert watched == pytest.approx(most, rel=0.1)
