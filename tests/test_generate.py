"""Writing text: the same distributions as a pass over the whole, drawn as asked, and cheaply."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import KINDS, PRUNED, build
from torch.utils.flop_counter import FlopCounterMode

from allatt import cost
from allatt import generate as writing
from allatt.config import AllattError
from allatt.generate import draw, generate, noise, only_top_k, only_top_p, stream
from allatt.model import LanguageModel
from allatt.paper import scales

LOGITS = st.lists(st.sampled_from([-math.inf, -2.0, 0.0, 0.5, 0.5, 1.0, 3.0]), min_size=2, max_size=9).filter(
    lambda row: max(row) > -math.inf)


@torch.no_grad()
def by_recomputing(model, prompt, length):
    """Greedy text; every token from a pass over all that is there so far."""
    ids = list(prompt)
    for _ in range(length):
        hidden, _ = model(torch.tensor([ids]), model.empty_memory(1))
        ids.append(model.softmax.log_probs(hidden[0, -1]).argmax().item())
    return ids[len(prompt):]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, *PRUNED, {"memory": 0}, {"memory": 1}])
@pytest.mark.parametrize("double", [True, False])
def test_greedy_text_is_that_of_recomputing(kind, changes, double):
    model = build(kind, **changes)
    model = model if double else model.float()
    prompts = [[3], [1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0], [5, 4]]  # of one token, longer than two segments, two together
    expected = [by_recomputing(model, prompt, 12) for prompt in prompts]
    assert generate(model, prompts, 12, temperature=0)[:, 0].tolist() == expected


@torch.no_grad()
def test_greedy_text_with_an_adaptive_softmax():
    model = build(vocab=40, cutoffs=(10, 20), band_divisor=2)
    assert generate(model, [[39, 2]], 8, temperature=0).flatten().tolist() == by_recomputing(model, [39, 2], 8)


@pytest.mark.parametrize("kind", KINDS)
def test_distributions_are_those_of_one_pass_over_the_text(kind, monkeypatch):
    """What `draw` is given, token by token, in single precision: at the laptop's shape, to 1e-5."""
    from allatt import generate as module

    torch.manual_seed(0)
    model = LanguageModel(scales.model("laptop", kind), 50).eval().requires_grad_(False)
    seen = []
    monkeypatch.setattr(module, "draw", lambda logits, *given: seen.append(logits) or draw(logits, *given))
    prompt = torch.randint(50, (100,)).tolist()
    ids = prompt + generate(model, [prompt], 80).flatten().tolist()
    hidden, _ = model(torch.tensor([ids]), model.empty_memory(1))
    assert (torch.cat(seen) - model.softmax.log_probs(hidden[0, 99:-1])).abs().max() < 1e-5


@given(LOGITS, st.integers(0, 10))
def test_top_k_keeps_the_k_likeliest(row, k):
    kept = only_top_k(torch.tensor([row, row]).double(), k)
    for found in kept.tolist():
        stays = [i for i, x in enumerate(found) if x > -math.inf]
        assert all(found[i] == row[i] for i in stays)
        assert sorted((row[i] for i in stays), reverse=True) == \
            [x for x in sorted(row, reverse=True)[:k or None] if x > -math.inf]


@given(LOGITS, st.sampled_from([1e-9, 0.1, 0.35, 0.6, 0.9, 0.999, 1.0]))
def test_top_p_keeps_the_fewest_that_reach_the_mass(row, p):
    """By brute force: the likeliest are taken, equal ones in order of their ids, until their mass is p."""
    logits = torch.tensor(row).double()
    probs, order, mass = logits.softmax(-1).tolist(), sorted(range(len(row)), key=lambda i: (-row[i], i)), 0.0
    nucleus = set()
    for index in order:
        nucleus.add(index)
        mass += probs[index]
        if mass >= p - 1e-12:
            break
    kept = only_top_p(torch.stack([logits, logits]), p)
    for found in kept.tolist():
        assert {i for i, x in enumerate(found) if x > -math.inf} == {i for i in nucleus if row[i] > -math.inf}
        assert all(x in (row[i], -math.inf) for i, x in enumerate(found))


@settings(deadline=None)
@given(LOGITS, st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 4), st.sampled_from([0.5, 0.9, 1.0]))
def test_tokens_are_drawn_in_proportion(row, temperature, k, p):
    """Numbers spread evenly over [0, 1) fall on each token as often as its probability says."""
    logits, even = torch.tensor([row]).double(), (torch.arange(2000) + 0.5).double() / 2000
    drawn = draw(logits.expand(2000, -1), even, temperature, k, p)
    expected = only_top_p(only_top_k(logits / temperature, k), p).softmax(-1)[0]
    share = torch.bincount(drawn, minlength=len(row)) / 2000
    assert (share - expected).abs().max() <= 1 / 2000 + 1e-9
    assert (share[expected == 0] == 0).all()


@pytest.mark.parametrize("temperature", [0, 1e-300, 5e-324, 1e-3])
def test_a_low_temperature_takes_the_likeliest(temperature):
    logits = torch.tensor([[-5.0, -0.1, -3.0], [-1.0, -9.0, -math.inf]])
    for number in (0.0, 1 - 2**-53):
        assert draw(logits, torch.full((2,), number, dtype=torch.float64), temperature).tolist() == [1, 0]


def test_what_has_no_probability_is_never_drawn():
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0, -math.inf]]).expand(2, -1)
    assert draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 3]


def test_a_long_prompt_is_read_in_segments():
    """So that no pass needs more memory than in training."""
    model, widths = build(), []
    model.register_forward_pre_hook(lambda model, inputs: widths.append(inputs[0].shape[1]))
    generate(model, [[1, 2, 3, 4, 5, 6, 7, 8, 9]], 3)
    assert widths == [4, 4, 1, 1, 1]


def test_the_filters_reach_the_text():
    model = build()
    greedy = generate(model, [[1, 2]], 20, temperature=0)
    assert torch.equal(generate(model, [[1, 2]], 20, top_k=1), greedy)
    assert torch.equal(generate(model, [[1, 2]], 20, top_p=1e-9), greedy)
    assert not torch.equal(generate(model, [[1, 2]], 20), greedy)


def test_text_depends_on_prompt_sample_and_seed_alone():
    model, prompts = build(), [[1, 2], [3], [4, 5], [1, 2]]
    whole = generate(model, prompts, 30, seed=7, samples=3)
    assert whole.shape == (4, 3, 30) and torch.equal(whole, generate(model, prompts, 30, seed=7, samples=3))
    for place, prompt in enumerate(prompts):
        assert torch.equal(generate(model, [prompt], 30, seed=7, samples=3)[0], whole[place])
        assert torch.equal(generate(model, [prompt], 30, seed=7)[0, 0], whole[place, 0])
    assert torch.equal(generate(model, prompts, 11, seed=7, samples=2), whole[:, :2, :11]), "a longer text goes on"
    assert len({tuple(text) for text in whole[0].tolist()}) == 3
    assert not torch.equal(generate(model, prompts, 30, seed=8, samples=3), whole)


def test_numbers_are_uniform_and_each_texts_own():
    numbers = torch.stack([noise(5000, seed, sample) for seed in (0, 1) for sample in (0, 1)])
    assert ((numbers >= 0) & (numbers < 1)).all() and (numbers.mean(1) - 0.5).abs().max() < 0.02
    assert (torch.corrcoef(numbers) - torch.eye(4)).abs().max() < 0.05


def test_writing_leaves_no_trace():
    model = build(drop_attention=0.5, drop_word=0.5).train()
    before = torch.get_rng_state()
    assert torch.equal(generate(model, [[1, 2, 3]], 9), generate(model, [[1, 2, 3]], 9)), "dropout is off"
    assert torch.equal(before, torch.get_rng_state())
    ids = stream(model, torch.tensor([[1]]), torch.rand(1, 9, dtype=torch.float64))
    assert len([next(ids), next(ids)]) == 2
    ids.close()
    assert model.training
    assert torch.equal(generate(model.eval(), [[1, 2, 3]], 9), generate(model.train(), [[1, 2, 3]], 9))
    model.loss(torch.tensor([[1, 2]]), torch.tensor([[2, 3]]), model.empty_memory(1))[0].sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_worth_a_fiftieth_of_its_window(kind):
    """Multiply-adds at the laptop's shape, counted by torch: one position a token against all L M + 1 that it depends on."""
    torch.manual_seed(0)
    model = LanguageModel(scales.model("laptop", kind), 50).eval().requires_grad_(False)
    model.path = "reference"  # torch does not count inside the fast path's kernel
    c, found = model.config, []
    for length in (4, 5):
        with FlopCounterMode(display=False) as counter:
            generate(model, [[1, 2]], length)
        found.append(counter.get_total_flops())
    window = c.layers * c.memory + 1
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, window, dtype=torch.long), model.empty_memory(1))
    assert 50 * (found[1] - found[0]) < counter.get_total_flops()
    softmax = cost.count(c, 50)["multiply_adds"]["softmax_head"]
    block = 5 * c.d_model * c.d_model - c.d_model**2  # q, k, v and output: one position each
    context = 3 * c.d_model * (c.memory + 1)
    extra = 2 * c.d_model * (c.persistent if kind == "all-attention" else c.feed_forward)
    assert found[1] - found[0] == 2 * (c.layers * (block + context + extra) + softmax)


@pytest.mark.parametrize("values, message", [
    ({"length": 0}, "length is 0; it must be 1 to 10,000,000"), ({"temperature": -0.1}, "temperature is -0.1; it must be 0"),
    ({"temperature": math.nan}, "temperature is nan"), ({"temperature": math.inf}, "temperature is inf"),
    ({"top_k": -1}, "top-k is -1; it must be 0"), ({"top_p": 0.0}, "top-p is 0.0; it must be above 0"),
    ({"top_p": 1.1}, "top-p is 1.1"), ({"top_p": math.nan}, "top-p is nan"), ({"seed": -1}, "seed is -1"),
    ({"samples": 0}, "samples is 0"), ({"prompts": [[1], []]}, "a prompt has no token"),
    ({"prompts": [[11]]}, "ids outside 0 to 10"), ({"prompts": [[-1]]}, "ids outside 0 to 10")])
def test_values_out_of_range_are_one_clear_line(values, message):
    with pytest.raises(AllattError, match=message) as error:
        generate(**{"model": build(), "prompts": [[1]], "length": 2} | values)
    assert "\n" not in str(error.value)


def test_ids_may_be_arrays():
    prompts = [np.array([1, 2], np.uint8), torch.tensor([3, 4])]
    assert torch.equal(generate(build(), prompts, 5), generate(build(), [[1, 2], [3, 4]], 5))


def test_a_small_step_takes_one_thread_and_gives_the_others_back(monkeypatch):
    """Sharing a step of microseconds costs more than the step; what runs between two tokens has all threads."""
    seen = []
    model = LanguageModel(scales.model("smoke", "all-attention"), 20)
    monkeypatch.setattr(writing.torch, "set_num_threads", lambda n: seen.append(n))
    monkeypatch.setattr(writing.torch, "get_num_threads", lambda: 3)
    for _ in stream(model, torch.tensor([[1]]), torch.rand(1, 2)):
        assert seen[-1] == 3
    assert seen == [1, 3, 1, 3]
    monkeypatch.setattr(writing, "SHARED", 0)
    seen.clear()
    list(stream(model, torch.tensor([[1]]), torch.rand(1, 2)))
    assert set(seen) == {3}
