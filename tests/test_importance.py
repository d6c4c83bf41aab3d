"""Michel's scores are the definition's, absolute values inside of the mean; and the kept heads are those with the highest."""

import numpy as np
import pytest
import torch

from allatt.batches import Stream
from allatt.config import AllattError, ModelConfig
from allatt.importance import head_importance, most_important, top_per_layer
from allatt.model import LanguageModel

IDS = np.random.default_rng(0).integers(0, 11, 200)


def tiny(kind="all-attention", **changes):
    torch.manual_seed(0)
    shape = {"layers": 2, "heads": 3, "d_model": 8, "d_head": 4, "persistent": 4, "feed_forward": 6, "segment": 5,
             "memory": 5, "positions": 6}
    return LanguageModel(ModelConfig(kind=kind, init="unit", **shape | changes), 11)


@pytest.mark.parametrize("kind", ["all-attention", "transformer-xl"])
def test_scores_are_finite_differences_of_single_gates(kind):
    model, rows, segments, step = tiny(kind).double().eval(), 2, 3, 1e-6
    expected, stream = torch.zeros(2, 3, dtype=torch.float64), Stream(IDS, rows, 5)
    with torch.no_grad():
        for row in range(rows):
            memory = model.empty_memory(1)
            for segment in range(segments):
                input_BT, target_BT, _ = stream.batch(segment, slice(row, row + 1))
                for layer in range(2):
                    for head in range(3):
                        both = []
                        for sign in (1, -1):
                            gate_LH = torch.ones(2, 3, dtype=torch.float64)
                            gate_LH[layer, head] += sign * step
                            both.append(model.loss(input_BT, target_BT, memory, gate_LH)[0].mean())
                        expected[layer, head] += ((both[0] - both[1]) / (2 * step)).abs()
                _, memory = model.loss(input_BT, target_BT, memory)
    expected /= expected.norm(dim=-1, keepdim=True)
    assert torch.allclose(head_importance(model, IDS, rows, segments).double(), expected, atol=1e-5)


def test_scores_leave_the_model_as_it_was_and_each_layer_with_norm_1():
    model = tiny(drop_attention=0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    score_LH = head_importance(model, IDS, 2, 3)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.allclose(score_LH.norm(dim=-1), torch.ones(2))
    assert torch.equal(score_LH, head_importance(model, IDS, 2, 3)), "dropout took part"


def test_a_head_that_writes_nothing_has_no_importance():
    model = tiny()
    with torch.no_grad():
        model.blocks[1].output_HKD[2] = 0
    score_LH = head_importance(model, IDS, 2, 3)
    assert score_LH[1, 2] == 0 and (score_LH > 0).sum() == 5


def test_a_text_shorter_than_asked_for_is_read_once():
    short = IDS[:31]  # three segments of two rows
    assert torch.equal(head_importance(tiny(), short, 2, 3), head_importance(tiny(), short, 2, 99))


def test_pruned_models_are_refused():
    with pytest.raises(AllattError, match="this one|this model has heads removed"):
        head_importance(tiny(kept=((0, 1), (2,))), IDS)


def test_the_highest_scores_are_kept():
    score_LH = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.2, 0.7]])
    assert most_important(score_LH, 3) == ((1,), (0, 2))
    assert most_important(score_LH, 0) == ((), ()) and most_important(score_LH, 6) == ((0, 1, 2),) * 2
    assert top_per_layer(score_LH, [2, 1]) == ((1, 2), (0,)) and top_per_layer(score_LH, [0, 3]) == ((), (0, 1, 2))
    with pytest.raises(AllattError, match="7 heads cannot be kept of 6"):
        most_important(score_LH, 7)
