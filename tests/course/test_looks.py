"""Attention weights of a model, read from it layer by layer."""

from dataclasses import replace

import pytest
import torch

from allatt.config import KINDS, ModelConfig
from allatt.course.looks import attention_of, written
from allatt.model import LanguageModel


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_those_of_the_model(kind):
    """Heads' outputs made of them give the model's own hidden states; a layer may have no heads."""
    torch.manual_seed(0)
    config = ModelConfig(kind=kind, layers=3, heads=2, d_model=8, d_head=4, persistent=5, feed_forward=6, segment=4, memory=6,
                         positions=7)
    model = LanguageModel(replace(config, kept=((0, 1), (), (1,))), vocab=9).double().eval()
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=0.5)
    ids = torch.randint(9, (2, 7))
    found = attention_of(model, ids)
    N = 5 if kind == KINDS[0] else 0
    assert [list(weights.shape) for weights in found] == [[2, 2, 7, 7 + N], [2, 0, 7, 7], [2, 1, 7, 7 + N]]
    with torch.no_grad():
        x = model.softmax.embed(ids)
        for block, weights in zip(model.blocks, found, strict=True):
            if block.heads:
                assert torch.allclose(weights.sum(-1), torch.ones(()).double())
                assert torch.equal(weights[..., :7], weights[..., :7].tril()), "nothing of the future"
                values = torch.einsum("btd,hkd->bhtk", block.norm(x), block.value_HKD)
                if N:
                    persistent = (N**0.5 * block.persistent_value_HNK).expand(2, -1, -1, -1)
                    values = torch.cat([values, persistent], dim=2)
                heads = (weights @ values).transpose(1, 2)
            else:
                heads = x.new_empty(2, 7, 0, 4)
            x = block.finish(x, heads, None)
        assert torch.allclose(x, model(ids, model.empty_memory(2))[0], atol=1e-12)


def test_pieces_as_words():
    assert written(["▁to", "ured", "▁", "▁,"]) == ["to", "-ured", "", ","]
