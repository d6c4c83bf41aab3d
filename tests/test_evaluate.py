"""Perplexity: every token but the first counted once, whatever the rows, and the three denominators."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import build

from allatt.config import AllattError
from allatt.evaluate import evaluate, nll

IDS = np.random.default_rng(0).integers(0, 11, 57).astype(np.uint8)


def test_one_row_is_the_whole_text_read_at_once():
    model = build()
    ids = torch.from_numpy(IDS.astype(np.int64))[None]
    expected = model.loss(ids[:, :-1], ids[:, 1:], model.empty_memory(1))[0].sum().item()
    total, predicted = nll(model, IDS, rows=1)
    assert predicted == 56 and abs(total - expected) < 1e-9


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
