"""Perplexity: every token but the first counted once, whatever the rows, and the three denominators."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import KINDS, build
from torch.utils.flop_counter import FlopCounterMode

from allatt.config import AllattError
from allatt.evaluate import evaluate, nll

IDS = np.random.default_rng(0).integers(0, 11, 57).astype(np.uint8)


def test_one_row_is_the_whole_text_read_at_once():
    model = build()
    ids = torch.from_numpy(IDS.astype(np.int64))[None]
    expected = model.loss(ids[:, :-1], ids[:, 1:], model.empty_memory(1))[0].sum().item()
    total, predicted = nll(model, IDS, rows=1)
    assert predicted == 56 and abs(total - expected) < 1e-9


@torch.no_grad()
def by_memory(model, ids, rows, gate=None, precision="fp32"):
    """`nll` with hidden states for memory, of a text that fills all rows."""
    streams = torch.from_numpy(ids[:-1].astype(np.int64)).view(rows, -1)
    targets = torch.from_numpy(ids[1:].astype(np.int64)).view(rows, -1)
    memory, total = model.empty_memory(rows), 0.0
    for begin in range(0, streams.shape[1], model.config.segment):
        part = slice(begin, begin + model.config.segment)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found, memory = model.loss(streams[:, part], targets[:, part], memory, gate)
        total += found.double().sum().item()
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"kept": ((1,), ())}, {"kept": ((), (0, 2))}, {"memory": 0}, {"segment": 9}])
@pytest.mark.parametrize("rows", [1, 4])
def test_cached_keys_and_values_give_the_same_nats(kind, changes, rows):
    """The first segments find a memory that is partly filled, the last one (rows 4) is short."""
    model = build(kind, **changes)
    assert abs(nll(model, IDS, rows)[0] - by_memory(model, IDS, rows)) < 1e-10
    assert nll(model.float(), IDS, rows)[0] == pytest.approx(by_memory(model.double(), IDS, rows), rel=1e-5)


@pytest.mark.parametrize("precision, error", [("fp32", 1e-5), ("bf16", 1e-3)])
def test_cached_nats_with_gates_and_in_half_precision(precision, error):
    # Half precision rounds elsewhere: a hidden memory is projected by weights that hold the LayerNorm, a cache is not.
    model = build(segment=5).float()  # of 14 tokens a row the last segment has 4, of 57 - 1 in one row it has 1
    gate = torch.tensor([[1.0, 0.0, 0.3], [2.0, 1.0, 0.0]])
    for rows in (1, 4):
        expected = by_memory(model, IDS, rows, gate, precision)
        assert nll(model, IDS, rows, gate, precision)[0] == pytest.approx(expected, rel=error)


def test_evaluation_projects_no_memory():
    """What torch counts on the reference path is less than with hidden states by just that, and by the distances."""
    model = build().requires_grad_(False)
    model.path = "reference"
    found = {}
    for call in (nll, by_memory):
        with FlopCounterMode(display=False) as counter:
            call(model, IDS, 4)
        found[call] = counter.get_total_flops() / 2
    c, rows, width, segments = model.config, 4, 3 * 4, 4  # 14 tokens a row in segments of 4
    once = c.layers * c.d_model * width * (c.memory + 1)
    prepared = c.layers * width * (c.memory + 1)  # w . r, for segments of one token
    saved = c.layers * 2 * c.d_model * width * rows * c.memory * segments + once * (segments - 1) - prepared
    assert found[by_memory] - found[nll] == saved


@settings(max_examples=25, deadline=None)
@given(length=st.integers(2, 57), rows=st.integers(1, 70))
def test_every_token_but_the_first_counts_once(length, rows):
    """A model that knows nothing but the unigram bias gives each token the same nats wherever it stands."""
    model = build()
    for parameter in model.parameters():
        parameter.data.zero_()
    model.softmax.bias.data = torch.randn(11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = -model.softmax.bias.log_softmax(0)
    total, predicted = nll(model, IDS[:length], rows)
    assert predicted == length - 1
    assert abs(total - each[torch.from_numpy(IDS[1:length].astype(np.int64))].sum().item()) < 1e-9


def test_perplexities_follow_from_the_same_nats():
    model = build()
    result = evaluate(model, IDS, {"words": 20, "bytes": 100}, rows=3)
    assert result["perplexity"] == pytest.approx(math.exp(result["nats"] / 56))
    assert result["word_perplexity"] == pytest.approx(math.exp(result["nats"] / 20))
    assert result["bits_per_byte"] == pytest.approx(result["nats"] / 100 / math.log(2))
    assert result["protocol"] == {"segment": 4, "memory": 6, "rows": 3, "same_length": True, "precision": "fp32"}


def test_evaluation_leaves_no_trace():
    model = build(drop_attention=0.5, drop_word=0.5)
    model.train()
    before = torch.get_rng_state()
    assert nll(model, IDS, 2) == nll(model, IDS, 2), "dropout is off"
    assert model.training and torch.equal(before, torch.get_rng_state())


def test_a_text_of_one_token_cannot_be_evaluated():
    with pytest.raises(AllattError, match="1 tokens"):
        nll(build(), IDS[:1], 1)


def test_the_share_of_unknown_tokens_is_that_of_the_predicted_ones():
    """The first token is read, and not predicted."""
    model, ids = build(), np.array([2, 2, 1, 2, 3])
    assert evaluate(model, ids, {"words": 2, "bytes": 9}, 1, unknown_id=2)["unknown"] == 2 / 4
    assert evaluate(model, ids, {"words": 2, "bytes": 9}, 1)["unknown"] == 0
    whole = evaluate(model, np.full(3, 1), {"words": 1e-9, "bytes": 9}, 1)
    assert whole["word_perplexity"] == math.exp(700), "not infinite, which JSON does not have"
