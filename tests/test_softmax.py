"""The tied (adaptive) embedding and softmax against slow references, torch's own, and the paper's count."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from allatt.config import AllattError, ModelConfig
from allatt.softmax import TiedSoftmax

CUTOFFS = [(), (5,), (4, 9, 16)]


def build(cutoffs=(), vocab=23, d=16, divisor=2, seed=0, dtype=torch.float64, randomize=True):
    """A softmax in fp64 with weights that are all away from 0, so that no term of the formulas can hide."""
    torch.manual_seed(seed)
    softmax = TiedSoftmax(ModelConfig(d_model=d, cutoffs=cutoffs, band_divisor=divisor), vocab).to(dtype)
    if randomize:
        for parameter in softmax.parameters():
            torch.nn.init.normal_(parameter, 0, 0.7)
    return softmax


def slow_nll(softmax, h, target):
    """-log p(target) of one hidden state, word by word from the equations of the module's docstring."""
    weights = dict(softmax.named_parameters())
    bias = weights["bias"]

    def log_softmax(logits, index):
        return logits[index] - torch.stack([logit.exp() for logit in logits]).sum().log()

    if len(softmax.bands) == 1:
        return -log_softmax([weights["tables.0"][w] @ h + bias[w] for w in range(softmax.vocab)], target)
    shortlist = softmax.bands[0][1]
    query = torch.stack([sum(weights["output_projection"][i, j] * h[j] for j in range(len(h))) for i in range(len(h))])
    head = [weights["tables.0"][w] @ query + bias[w] for w in range(shortlist)]
    head += [row @ h + b for row, b in zip(weights["cluster_rows"], weights["cluster_bias"], strict=True)]
    if target < shortlist:
        return -log_softmax(head, target)
    band = next(i for i, (start, end) in enumerate(softmax.bands) if start <= target < end)
    start, end = softmax.bands[band]
    query = weights[f"projections.{band}"] @ h
    tail = [weights[f"tables.{band}"][w - start] @ query + bias[w] for w in range(start, end)]
    return -log_softmax(head, shortlist + band - 1) - log_softmax(tail, target - start)


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_nll_is_the_slow_reference_with_every_gradient(cutoffs):
    softmax = build(cutoffs)
    h = torch.randn(2, 12, 16, dtype=torch.float64, requires_grad=True)
    target = torch.randint(23, (2, 12))
    weight = torch.rand(2, 12, dtype=torch.float64)
    got = softmax.nll(h, target)
    assert got.shape == (2, 12)
    pairs = zip(h.reshape(-1, 16), target.flatten().tolist(), strict=True)
    slow = torch.stack([slow_nll(softmax, hidden, word) for hidden, word in pairs])
    torch.testing.assert_close(got.flatten(), slow, rtol=1e-12, atol=1e-12)
    leaves = [h, *softmax.parameters()]
    want = torch.autograd.grad((slow * weight.flatten()).sum(), leaves, allow_unused=True, materialize_grads=True)
    grads = torch.autograd.grad((got * weight).sum(), leaves, allow_unused=True, materialize_grads=True)
    for a, b in zip(grads, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_embedding_is_the_projected_row_times_root_d(cutoffs):
    softmax = build(cutoffs)
    ids = torch.randint(23, (3, 7))
    x = softmax.embed(ids)
    assert x.shape == (3, 7, 16)
    for word, row in zip(ids.flatten().tolist(), x.reshape(-1, 16), strict=True):
        band = next(i for i, (start, end) in enumerate(softmax.bands) if start <= word < end)
        want = softmax.tables[band][word - softmax.bands[band][0]]
        if cutoffs:
            want = sum(want[k] * softmax.projections[band][k] for k in range(len(want)))
        torch.testing.assert_close(row, 4 * want, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_log_probs_are_a_distribution_and_agree_with_nll(data):
    vocab = data.draw(st.integers(1, 40))
    cutoffs = tuple(sorted(data.draw(st.sets(st.integers(1, max(vocab - 1, 1)), max_size=4)) - {vocab}))
    softmax = build(cutoffs, vocab, d=16, divisor=data.draw(st.integers(1, 2)), seed=data.draw(st.integers(0, 99)))
    h = torch.randn(2, 5, 16, dtype=torch.float64)
    target = torch.randint(vocab, (2, 5))
    log_probs = softmax.log_probs(h)
    assert log_probs.shape == (2, 5, vocab)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 5, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(softmax.nll(h, target), -log_probs.gather(-1, target[..., None])[..., 0],
                               rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_a_row_of_the_table_is_the_input_and_the_output_of_its_word(cutoffs):
    softmax = build(cutoffs)
    for word in (0, 6, 22):
        ids = torch.tensor([[word]])
        h = torch.randn(1, 1, 16, dtype=torch.float64)
        x, nll = softmax.embed(ids).detach(), softmax.nll(h, ids).detach()
        band = next(i for i, (start, end) in enumerate(softmax.bands) if start <= word < end)
        with torch.no_grad():
            softmax.tables[band][word - softmax.bands[band][0]] += 1
        assert not torch.allclose(softmax.embed(ids), x)
        assert not torch.allclose(softmax.nll(h, ids), nll)


def test_tail_projections_serve_input_and_output_and_the_shortlists_do_not():
    softmax = build((5, 9))
    h, ids = torch.randn(1, 3, 16, dtype=torch.float64), torch.tensor([[1, 7, 20]])
    x, nll = softmax.embed(ids).detach(), softmax.nll(h, ids).detach()
    with torch.no_grad():
        for projection in softmax.projections:
            projection += 1
    assert ((softmax.embed(ids) - x).abs().amax(-1) > 1e-6).tolist() == [[True, True, True]]
    assert ((softmax.nll(h, ids) - nll).abs() > 1e-6).tolist() == [[False, True, True]]


def test_paper_size_counts():
    with torch.device("meta"):
        softmax = TiedSoftmax(ModelConfig(cutoffs=(20_000, 40_000, 200_000)), 267_735)
    shapes = [tuple(table.shape) for table in softmax.tables]
    assert shapes == [(20_000, 512), (20_000, 128), (160_000, 32), (67_735, 8)]
    assert sum(table.numel() for table in softmax.tables) == 18_461_880
    assert sum(projection.numel() for projection in softmax.projections) == 348_160
    assert softmax.output_projection.numel() == 262_144
    assert (softmax.cluster_rows.numel(), softmax.cluster_bias.numel(), softmax.bias.numel()) == (1_536, 3, 267_735)
    assert sum(parameter.numel() for parameter in softmax.parameters()) == 19_341_458


@pytest.mark.parametrize("cutoffs", CUTOFFS[1:])
def test_equals_torchs_adaptive_softmax(cutoffs):
    """torch's has no projection in the head and no word biases in the tail; the rest is the same function.

    The projection of the shortlist can be moved into its rows, which are then not tied; cluster rows read h itself.
    """
    softmax = build(cutoffs, d=16, divisor=2)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 23, list(cutoffs), div_value=2, head_bias=True).double()
    with torch.no_grad():
        softmax.bias[cutoffs[0]:] = 0
        theirs.head.weight.copy_(torch.cat([softmax.tables[0] @ softmax.output_projection, softmax.cluster_rows]))
        theirs.head.bias.copy_(torch.cat([softmax.bias[:cutoffs[0]], softmax.cluster_bias]))
        for i, tail in enumerate(theirs.tail, start=1):
            tail[0].weight.copy_(softmax.projections[i])
            tail[1].weight.copy_(softmax.tables[i])
    h, target = torch.randn(50, 16, dtype=torch.float64), torch.randint(23, (50,))
    torch.testing.assert_close(softmax.nll(h, target), -theirs(h, target).output, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(softmax.log_probs(h), theirs.log_prob(h), rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_word_dropout_takes_words_not_places_and_keeps_the_mean(cutoffs):
    softmax = build(cutoffs)
    ids = torch.arange(23).repeat(2, 3)
    whole = softmax.embed(ids)
    total, dropped, passes = torch.zeros(23, dtype=torch.float64), 0, 400
    for _ in range(passes):
        ratio = (softmax.embed(ids, 0.25) / whole).mean(-1).view(-1, 23)
        assert (ratio - ratio[0]).abs().max() < 1e-9
        is_zero, is_grown = ratio[0] == 0, (ratio[0] - 1 / 0.75).abs() < 1e-9
        assert (is_zero | is_grown).all()
        total += ratio[0]
        dropped += int(is_zero.sum())
    assert abs(dropped / (23 * passes) - 0.25) < 0.02
    # Standard error of a word's mean over 400 passes: sqrt(0.25 / 0.75 / 400) = 0.029; five of them.
    assert (total / passes - 1).abs().max() < 0.15


def test_no_word_dropout_in_evaluation_nor_at_0():
    softmax = build((5,))
    ids = torch.arange(23)[None]
    assert torch.equal(softmax.embed(ids, 0.0), softmax.eval().embed(ids, 0.9))


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_every_parameter_gets_a_gradient_even_where_no_token_is_in_its_band(cutoffs):
    softmax = build(cutoffs)
    ids = torch.zeros(1, 4, dtype=torch.int64)
    softmax.nll(softmax.embed(ids), ids).sum().backward()
    assert all(parameter.grad is not None for parameter in softmax.parameters())
    for name, parameter in softmax.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        is_tail = name.split(".")[0] in ("tables", "projections") and not name.endswith(".0")
        assert bool(parameter.grad.abs().sum() > 0) != is_tail, name


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_bf16_autocast_normalizes_in_fp32(cutoffs):
    softmax = build(cutoffs, dtype=torch.float32, randomize=False)
    ids = torch.randint(23, (4, 50))
    exact = softmax.nll(softmax.embed(ids), ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = softmax.embed(ids)
        nll, log_probs = softmax.nll(x, ids), softmax.log_probs(x)
    assert x.dtype == nll.dtype == log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(4, 50), rtol=0, atol=1e-5)
    torch.testing.assert_close(nll, exact, rtol=0.02, atol=0.02)
    nll.mean().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in softmax.parameters())


def test_bf16_logits_still_give_a_normalized_fp32_loss():
    """Had the softmax run in half precision, its 3 digits would show."""
    softmax = build((), vocab=2000, d=64, dtype=torch.bfloat16, randomize=False)
    h = torch.randn(20, 64, dtype=torch.bfloat16)
    target = torch.randint(2000, (20,))
    want = F.cross_entropy(F.linear(h, softmax.tables[0], softmax.bias).double(), target, reduction="none")
    torch.testing.assert_close(softmax.nll(h, target).double(), want, rtol=1e-6, atol=1e-6)


def test_initialization_gives_every_band_the_same_variance():
    torch.manual_seed(0)
    softmax = TiedSoftmax(ModelConfig(d_model=256, cutoffs=(300, 600, 900)), 1500)
    h = torch.randn(400, 256)
    with torch.no_grad():
        x = softmax.embed(torch.arange(1500))
        head, tails = softmax._head(h), [softmax._tail(i, h) for i in (1, 2, 3)]
    for (start, end), logits in zip(softmax.bands, [head[:, :300], *tails], strict=True):
        assert x[start:end].var() == pytest.approx(1 / 3, rel=0.3)
        assert logits.var() == pytest.approx(1 / 3, rel=0.3)
    assert head[:, 300:].var() == pytest.approx(1 / 3, rel=0.3)
    assert softmax.tables[0].abs().max() <= math.sqrt(1 / 256)
    assert not softmax.bias.any() and not softmax.cluster_bias.any()


def test_same_seed_same_weights():
    first, second = build((5,), randomize=False), build((5,), randomize=False)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("config, vocab, words", [
    (ModelConfig(cutoffs=(100, 200)), 200, "do not fit a vocabulary of 200 words"),
    (ModelConfig(cutoffs=(100,)), 50, "do not fit a vocabulary of 50 words"),
    (ModelConfig(d_model=16, cutoffs=(10, 20, 30)), 100, "leaves no width"),
    (ModelConfig(), 0, "at least 1"),
])
def test_bands_that_do_not_fit_are_a_clear_error(config, vocab, words):
    with pytest.raises(AllattError, match=words) as error:
        TiedSoftmax(config, vocab)
    assert "\n" not in str(error.value)
