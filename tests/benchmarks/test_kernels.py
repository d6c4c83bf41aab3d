"""The persistent block's kernels: which are timed, and what is said of those that are not."""

import math

import pytest
import torch

from allatt.benchmarks import kernels, measure, report
from allatt.config import ModelConfig
from allatt.kernels import persistent

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
