"""Removed = gated: the smaller model gives the same outputs, and is really smaller."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import KINDS, TINY, build, read

from allatt.config import AllattError, GateConfig
from allatt.gates import HeadGates
from allatt.model import LanguageModel
from allatt.prune import head_mask, kept_heads, remove, remove_closed

OPEN = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=2)


def gates_open(open_LH, scaling):
    gates = HeadGates(GateConfig(output_scaling=scaling), 2, 3).double()
    gates.logit_LH.data = torch.tensor(open_LH).double() * 2 - 1
    return gates


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(KINDS), open_LH=OPEN, scaling=st.booleans())
def test_removed_equals_gated(kind, open_LH, scaling):
    model, gates = build(kind), gates_open(open_LH, scaling)
    ids = torch.randint(0, 11, (2, 8), generator=torch.Generator().manual_seed(1))
    gated = read(model, ids, [4, 4], gates.evaluation())
    small = remove_closed(model, gates)
    assert (read(small, ids, [4, 4]) - gated).abs().max() < 1e-12
    in_float = read(remove_closed(model.float(), gates.float()), ids, [4, 4])
    assert (in_float - gated).abs().max() < 1e-5 * gated.abs().max()
    kept = sum(map(sum, open_LH))
    per_head = 5 * 12 * 4 + (2 * 5 * 4 + 2 * 4 if kind == "all-attention" else 0)
    assert model.parameter_counts()["body"] - small.parameter_counts()["body"] == (6 - kept) * per_head


@pytest.mark.parametrize("kind", KINDS)
def test_all_heads_of_all_layers_gone(kind, tmp_path):
    model, gates = build(kind), gates_open([[False] * 3] * 2, True)
    small = remove_closed(model, gates)
    ids = torch.randint(0, 11, (2, 8))
    assert (read(small, ids, [4, 4]) - read(model, ids, [4, 4], gates.evaluation())).abs().max() < 1e-12
    small.save(tmp_path / "m.safetensors")
    again = LanguageModel.load(tmp_path / "m.safetensors").double().eval()
    assert torch.allclose(read(again, ids, [4, 4]), read(small, ids, [4, 4]))


@pytest.mark.parametrize("kind", KINDS)
def test_heads_can_be_removed_in_two_steps(kind):
    model = build(kind)
    once = remove(model, ((2,), (0,)))
    twice = remove(remove(model, ((0, 2), (0, 1))), ((2,), (0,)))
    ids = torch.randint(0, 11, (2, 4))
    assert torch.equal(read(once, ids, [4]), read(twice, ids, [4]))


def test_the_given_model_is_not_changed():
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = remove(model, ((0,), ()), torch.tensor([3.0, 3.0]))
    for parameter in small.parameters():
        parameter.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_heads_that_are_not_there_cannot_be_kept():
    model = remove(build(), ((0, 1), (2,)))
    with pytest.raises(AllattError, match="layer 2 has no head 1; it has 2"):
        remove(model, ((0,), (1, 2)))
    with pytest.raises(AllattError, match="3 layers; the model has 2"):
        remove(model, ((), (), ()))


def test_kept_heads_of_booleans():
    assert kept_heads(torch.tensor([[True, False, True], [False] * 3])) == ((0, 2), ())


@given(OPEN)
def test_a_mask_of_kept_heads_is_where_they_are(open_LH):
    mask_LH = head_mask(kept_heads(torch.tensor(open_LH)), 3)
    assert mask_LH.dtype == torch.bool and mask_LH.tolist() == open_LH
    assert head_mask(((), (2,)), 4).tolist() == [[False] * 4, [False, False, True, False]]


def test_a_removed_head_no_longer_costs_time_or_memory():
    """Counted, not timed: the smaller model runs fewer multiply-adds on the same input."""
    from torch.utils.flop_counter import FlopCounterMode

    def flops(model):
        model.path = "reference"  # torch's counter knows matrix products, not the fused kernel on a CPU
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(2, 4, dtype=torch.long), model.empty_memory(2))
        return counter.get_total_flops()

    model = build()
    assert flops(remove(model, ((0,), (0,)))) * 3 == flops(model)
    assert flops(remove(model, ((), ()))) == 0
    assert TINY.heads == 3
