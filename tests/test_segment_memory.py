"""Memory and cache: a text read in segments gives what it gives in one piece, whatever is remembered of it."""

import pytest
import torch
from test_model import KINDS, PRUNED, TINY, build, read

import allatt.model
import allatt.segment_memory
from allatt.config import AllattError
from allatt.kernels import one_token
from allatt.segment_memory import Memory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["fast", "reference"])
def test_segments_with_memory_give_what_one_long_segment_gives(kind, path):
    """Same-length window: what a position sees does not depend on where the text is cut."""
    model = build(kind)
    model.path = path
    ids = torch.randint(0, 11, (2, 12))
    whole = read(model, ids, [12])
    for widths in ([4, 4, 4], [1] * 12, [5, 7], [2, 3, 1, 6]):
        assert (read(model, ids, widths) - whole).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["fast", "reference"])
@pytest.mark.parametrize("changes", [{}, *PRUNED, {"memory": 0}, {"memory": 1}])
def test_cached_keys_and_values_give_what_hidden_states_give(kind, path, changes):
    """Token by token and in segments, shorter and longer than the memory, from the first, unfilled one on."""
    model = build(kind, **changes)
    model.path = path
    ids = torch.randint(0, 11, (2, 16))
    for widths in ([16], [1] * 16, [4] * 4, [5, 1, 1, 9], [9, 1, 2, 1, 3]):
        whole = read(model, ids, widths)
        assert (read(model, ids, widths, cached=True) - whole).abs().max() < 1e-12
        assert (read(model, ids, [16]) - whole).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("cached", [False, True])
def test_a_compiled_model_is_not_compiled_for_each_filling_of_its_memory(cached, monkeypatch):
    """Each value of `filled` is a compilation of its own: the empty and the full memory get one, those between none."""
    def spy(function):
        def run(block, x_BTD, past, filled, *rest):
            seen.append(filled)
            return function(block, x_BTD, past, filled, *rest)
        return run

    monkeypatch.setattr(allatt.segment_memory, "compiled", spy)
    model, ids, seen = build(memory=6, positions=7), torch.randint(0, 11, (2, 14)), []
    plain = read(model, ids, [2] * 7, cached=cached)
    model.compiled = True
    assert torch.equal(read(model, ids, [2] * 7, cached=cached), plain)
    layers = model.config.layers
    assert seen == [0] * layers + [6] * (4 * layers), "2 and 4 are not compiled"


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_cached_in_single_precision(kind):
    model = build(kind)
    ids = torch.randint(0, 11, (2, 16))
    whole = read(model, ids, [16])
    assert (read(model.float(), ids, [3] + [1] * 13, cached=True) - whole).abs().max() < 1e-5 * whole.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("widths", [[4, 4, 4], [1] * 12])
def test_cached_with_gates(widths):
    model, gate = build(), torch.tensor([[1.0, 0.0, 0.3], [2.0, 1.0, 0.0]], dtype=torch.float64)
    ids = torch.randint(0, 11, (2, 12))
    assert (read(model, ids, widths, gate, cached=True) - read(model, ids, widths, gate)).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("width", [1, 3])
def test_a_cache_can_be_continued_twice(width):
    """It is a value: what one continuation adds, another does not see."""
    model, ids = build(), torch.randint(0, 11, (1, 8))
    _, cache = model(ids[:, :5], model.empty_cache(1))
    first = model(ids[:, 5:5 + width], cache)[0]
    model(ids[:, :width], cache)
    assert torch.equal(model(ids[:, 5:5 + width], cache)[0], first)


@torch.no_grad()
def test_single_tokens_take_the_path_for_single_tokens(monkeypatch):
    """From the first on, in every layer, and never through torch.compile; with longer segments it has nothing to do."""
    seen, attend = [], one_token.attend
    monkeypatch.setattr(one_token, "attend", lambda *given: seen.append(given) or attend(*given))
    for module in (allatt.segment_memory, allatt.model):
        monkeypatch.setattr(module, "compiled", lambda function: pytest.fail("compiled"))
    model, ids = build(), torch.randint(0, 11, (1, 7))
    read(model, ids, [4, 3], cached=True)
    assert not seen
    model.compiled = True
    read(model, ids, [1] * 7, cached=True)
    assert len(seen) == 7 * len(model.blocks)


def test_a_cache_is_for_weights_that_do_not_change():
    model, ids = build(), torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(AllattError, match="no_grad"):
        model(ids, model.empty_cache(1))
    with pytest.raises(AllattError, match="eval"), torch.no_grad():
        model.train()(ids, model.empty_cache(1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_past_is_seen_and_the_future_is_not(kind):
    model = build(kind, layers=1)
    ids = torch.randint(0, 11, (1, 12))
    base = read(model, ids, [4, 4, 4])
    for place in range(12):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] + 1) % 11
        differs = (read(model, changed, [4, 4, 4]) - base).abs().amax(-1)[0] > 1e-9
        assert differs.tolist() == [place <= i <= place + TINY.memory for i in range(12)]


def test_no_gradient_flows_into_memory():
    model = build()
    _, memory = model(torch.randint(0, 11, (1, 4)), model.empty_memory(1))
    assert not memory.hidden_LBMD.requires_grad and memory.filled == 4


def test_memory_that_holds_no_text_is_not_attended_to():
    model = build()
    ids = torch.randint(0, 11, (2, 4))
    junk = Memory(torch.randn_like(model.empty_memory(2).hidden_LBMD), 0)
    assert torch.equal(model(ids, junk)[0], model(ids, model.empty_memory(2))[0])
