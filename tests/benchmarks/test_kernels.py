"""The persistent block's kernels: which are timed, and what is said of those that are not."""

import math

import pytest
import torch

from allatt.attention import reference
from allatt.benchmarks import band_triton, kernels, measure, report
from allatt.config import AllattError, ModelConfig
from allatt.kernels import band, persistent

SHAPE = ModelConfig(heads=8, d_model=32, d_head=4, persistent=16, segment=8, memory=8, positions=9)


def block(heads=2):
    draws = torch.Generator().manual_seed(0)
    return tuple(torch.randn(heads, size, 4, generator=draws) for size in (16, 16, 16, 16))


@pytest.fixture
def seconds(monkeypatch):
    """Each call takes a second."""
    def a_second(call, device):
        call()
        return 1.0

    monkeypatch.setattr(measure, "_time_call", a_second)


def test_flash_is_the_equation_and_its_gradient():
    q, pk, pv, grad = tensors = block()
    q, pk, pv = leaves = [x.clone().requires_grad_() for x in tensors[:3]]
    out = (q @ pk.mT).softmax(-1) @ pv
    expected = (out, *torch.autograd.grad(out, leaves, grad))
    for groups in kernels.GROUPS:
        for a, b in zip(kernels.flash(tensors, groups), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert persistent.GROUPS == 1, "as it was before"


def test_a_candidate_that_disagrees_or_is_not_here_is_named_and_not_timed(monkeypatch, seconds):
    def wrong(tensors, groups):
        return tuple(x * (1.5 if groups == 4 else 1.0) for x in kernels.flash(tensors, groups))

    def broken(tensors, groups):
        return tuple(x * math.nan for x in kernels.flash(tensors, groups))

    def absent(tensors, groups):
        raise NotImplementedError("not on this machine\nmore")

    candidates = {"flash": kernels.flash, "wrong": wrong, "broken": broken, "absent": absent}
    monkeypatch.setattr(kernels, "KERNELS", candidates)
    found = kernels.measure_kernels(SHAPE, 2, "cpu", "fp32", 2, math.inf)
    assert set(found["heads"]) == {8, 3, 1}
    for part in found["heads"].values():
        assert list(part["variants"]) == ["flash, 1 group", "flash, 4 groups", "flash, 8 groups", "wrong, 1 group",
                                          "wrong, 8 groups"]
    assert found["missing"]["wrong, 4 groups"].startswith("differs from flash by 50.0%")
    assert found["missing"]["broken, 1 group"].startswith("differs from flash by inf")
    assert found["missing"]["absent, 8 groups"] == "not on this machine"


def test_a_share_counts_seven_products(seconds):
    """Scores and output forward; scores, weights, and three gradients backward; each with two operations per multiply-add."""
    found = kernels.measure_kernels(SHAPE, 2, "cpu", "fp32", 2, math.inf)
    part = found["heads"][3]
    values = part["variants"]["flash, 1 group"]
    assert values["share"] * part["peak"] == pytest.approx(2 * 7 * 3 * 16 * 16 * 4) and values["off"] == 0
    assert found["copy"] == 2e8
    table = report.table("kernels", found)
    assert "kernels, 8 heads" in table and "kernels, 1 head (" in table and "left out" in table


def test_a_candidate_for_the_joint_attention_agrees_before_it_is_timed(monkeypatch, seconds):
    seen = []

    def other(*tensors):
        seen.append([tuple(x.shape) for x in tensors])
        return reference(*tensors)

    def wrong(*tensors):
        out = band.fast(*tensors)
        return out.detach() + 1.1 * (out - out.detach())  # its gradients alone

    def absent(*tensors):
        raise AllattError("")

    monkeypatch.setattr(kernels, "JOINT", {"band": band.fast, "other": other, "wrong": wrong, "absent": absent})
    found = kernels.measure_kernels(SHAPE, 2, "cpu", "fp32", 2, math.inf)
    assert list(found["joint"]) == [8, 3, 1] and seen[0][0] == (2, 8, 8, 4)
    for heads, part in found["joint"].items():
        assert list(part["variants"]) == ["band", "other"]
        assert part["variants"]["band"]["off"] == 0 < part["variants"]["other"]["off"] < 1e-4
        # Nine products with the 9 visible keys, seven with the 16 persistent vectors.
        share = 2 * heads * 2 * 8 * 4 * (9 * 9 + 7 * 16) / part["peak"]
        assert part["variants"]["other"]["share"] == pytest.approx(share)
    assert found["missing"]["wrong"].startswith("differs from band by 10.0%")
    assert found["missing"]["absent"] == "AllattError"
    assert "joint attention, 8 heads (" in report.table("kernels", found)


def test_tiles_are_those_that_were_asked_for(monkeypatch):
    seen, before = [], band_triton.TILE
    monkeypatch.setattr(band_triton, "fast", lambda *tensors: seen.append(band_triton.TILE))
    for path in list(kernels.JOINT.values())[1:]:
        path()
    assert seen == [32, 64] and band_triton.TILE == before


def test_without_a_candidate_the_joint_attention_is_not_timed_and_a_line_says_why(monkeypatch):
    monkeypatch.setattr(band_triton, "triton", None)
    missing = {}
    assert kernels.measure_joint(SHAPE, 2, 3, "cpu", "fp32", 2, math.inf, missing) is None
    needs = "the Triton kernel needs a GPU and the package triton (pip install triton)"
    assert missing == {"triton, tiles of 32": needs, "triton, tiles of 64": needs}
    found = {"heads": {}, "joint": {}, "missing": missing, "copy": 1.0}
    assert needs in report.table("kernels", found) and "joint" not in report.table("kernels", found)


def test_torch_has_the_candidate_as_it_is_called():
    """Names and order of its arguments; it runs on a GPU alone."""
    forward = torch.ops.aten._scaled_dot_product_cudnn_attention.default._schema
    names = [argument.name for argument in forward.arguments]
    assert names == ["query", "key", "value", "attn_bias", "compute_log_sumexp", "dropout_p", "is_causal", "return_debug_mask",
                     "scale"]
    assert len(forward.returns) == 9
    backward = torch.ops.aten._scaled_dot_product_cudnn_attention_backward.default._schema
    assert [argument.name for argument in backward.arguments] == [
        "grad_out", "query", "key", "value", "out", "logsumexp", "philox_seed", "philox_offset", "attn_bias", "cum_seq_q",
        "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal", "scale"]
