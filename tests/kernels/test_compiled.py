"""torch.compile: one compilation per function, for as many shapes as pruned layers have."""

import torch

from allatt.kernels.compiled import compiled


def add_one(x):
    return x + 1


def test_a_function_is_compiled_once_and_gives_the_same(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: calls.append((function, dynamic)) or function)
    compiled.cache_clear()
    assert compiled(add_one) is compiled(add_one) and calls == [(add_one, False)]
    assert compiled(add_one)(torch.ones(2)).tolist() == [2, 2]
    assert torch._dynamo.config.recompile_limit >= 64, "each number of heads is a shape of its own"
    compiled.cache_clear()
