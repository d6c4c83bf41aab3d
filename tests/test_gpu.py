"""The fast paths on a GPU, in half precision, against the equations in float64. Without a GPU: small, on the CPU.

    python -m pytest tests/test_gpu.py -v

On a CPU this shows only that the checks themselves run; the other tests look closer there.
"""

import math
from dataclasses import replace

import pytest
import torch

from allatt.attention import reference
from allatt.batches import Feed, Stream
from allatt.config import ALL_ATTENTION, KINDS
from allatt.evaluate import nll
from allatt.gates import HeadGates
from allatt.generate import generate
from allatt.kernels import persistent
from allatt.kernels.band import fast
from allatt.model import LanguageModel
from allatt.paper import scales
from allatt.prune import remove_closed
from allatt.softmax import TiedSoftmax
from allatt.train import backward

GPU = torch.cuda.is_available()
DEVICE, HALF = ("cuda", torch.bfloat16) if GPU else ("cpu", torch.float32)
SCALE = "gpu" if GPU else "smoke"
PRECISION = "bf16" if GPU else "fp32"


def off(a, b) -> float:
    """How far a is from b, relative to b's norm; NaN if a is not finite."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return ((a - b).norm() / b.norm().clamp(min=1e-30)).item() if a.isfinite().all() else math.nan


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def attention_inputs(B, H, T, M, N, K):
    tensors = [draw(B, H, T, K), draw(B, H, M + T, K, seed=1), draw(B, H, M + T, K, seed=2), draw(H, M + 1, K), draw(H, K) / 10,
               draw(H, K, seed=1) / 10, draw(H, N, K) / math.sqrt(K), draw(H, N, K, seed=1) / math.sqrt(N)]
    return [tensor.to(DEVICE, HALF) for tensor in tensors]


# Heads, queries of all rows, persistent vectors, d_head.
KERNEL = [(8, 36_864, 2048, 64), (3, 12_288, 1024, 64), (1, 1000, 2048, 64)] if GPU else []


@pytest.mark.parametrize("shape", [*KERNEL, (8, 1024, 128, 16), (2, 77, 130, 64)], ids=str)
def test_persistent_kernel(shape):
    H, Q, N, K = shape
    drawn = draw(H, Q, K), draw(H, N, K) / 8, draw(H, N, K, seed=1), draw(H, Q, K, seed=2)
    q, pk, pv, grad = (t.to(DEVICE, HALF) for t in drawn)
    out, norm, random = persistent.forward(q, pk, pv, 0.0)
    if GPU and torch.cuda.get_device_capability() >= (8, 0):
        assert persistent._kernel(q, 0.0) == "gpu"
    exact = torch.float64 if Q < 20_000 else torch.float32
    scores = torch.einsum("hqk,hnk->hqn", q.to(exact), pk.to(exact))
    weights, expected_norm = scores.softmax(-1), scores.logsumexp(-1)
    expected = weights @ pv.to(exact)
    got = persistent.backward(grad, q, pk, pv, out, norm, 0.0, random)
    delta = (grad.to(exact) * expected).sum(-1, keepdim=True)
    d_scores = weights * (grad.to(exact) @ pv.to(exact).mT - delta)
    gradients = [d_scores @ pk.to(exact), d_scores.mT @ q.to(exact), weights.mT @ grad.to(exact)]
    errors = [off(out, expected), off(norm, expected_norm), *map(off, got, gradients)]
    assert max(errors) < 1e-2, errors


# Rows, heads, segment, memory, persistent vectors, d_head, filled.
JOINT = [(4, 8, 192, 192, 2048, 64, None), (4, 8, 192, 192, 2048, 64, 0), (2, 3, 192, 192, 1024, 64, 100)] if GPU else []


@pytest.mark.parametrize("with_persistent", [True, False])
@pytest.mark.parametrize("shape", [*JOINT, (2, 8, 64, 64, 128, 16, None), (2, 1, 50, 37, 130, 64, 5)], ids=str)
def test_attention_and_its_gradients(shape, with_persistent):
    *sizes, filled = shape
    tensors = [t.requires_grad_() for t in attention_inputs(*sizes)][:8 if with_persistent else 6]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    out, expected = fast(*tensors, filled=filled), reference(*exact, filled=filled)
    grad = draw(*expected.shape).to(DEVICE, HALF)
    got, gradients = torch.autograd.grad(out, tensors, grad), torch.autograd.grad(expected, exact, grad.double())
    errors = [off(out, expected), *map(off, got, gradients)]
    assert max(errors) < 2e-2, errors


def test_both_passes_drop_the_same_weights():
    """With the dropout fixed, the output is linear in (v, pv): <gradients, (v', pv')> = <output with (v', pv'), gradient>."""
    first = attention_inputs(*((4, 8, 192, 192, 2048, 64) if GPU else (2, 2, 16, 16, 64, 16)))
    second = [t.clone() for t in first]
    second[2], second[7] = torch.randn_like(first[2]), torch.randn_like(first[7]) / math.sqrt(first[7].shape[1])
    first = [t.requires_grad_() for t in first]
    torch.manual_seed(1)
    out = fast(*first, drop=0.2)
    grad = torch.randn_like(out)
    gradients = torch.autograd.grad(out, (first[2], first[7]), grad)
    left = (gradients[0].double() * second[2]).sum() + (gradients[1].double() * second[7]).sum()
    torch.manual_seed(1)
    same, undropped = fast(*second, drop=0.2).double(), fast(*second).double()
    off_by, without = abs(left - (same * grad).sum()), abs(left - (undropped * grad).sum())
    assert off_by < 0.1 * without, (off_by, without)


def test_dropout_keeps_the_mean():
    tensors, count = attention_inputs(*((2, 3, 64, 64, 512, 64) if GPU else (2, 2, 16, 16, 64, 16))), 200
    many = torch.stack([fast(*tensors, drop=0.2).double() for _ in range(count)])
    errors = (many.mean(0) - fast(*tensors).double()).abs() / (many.std(0) / math.sqrt(count) + 2e-3)
    assert errors.mean() < 1.2  # in standard errors; 0.8 is what a normal distribution gives
    assert many.std(0).mean() > 1e-2


@pytest.fixture(scope="module", params=KINDS)
def models(request):
    """A model of two layers in float64 by the equations, and the same on the device; open and closed gates; a text."""
    shape = replace(scales.model(SCALE, request.param), layers=2)
    torch.manual_seed(0)
    model = LanguageModel(shape, 500)
    exact = LanguageModel(shape, 500).double()
    exact.load_state_dict(model.state_dict())
    exact.path = "reference"
    gates = HeadGates(scales.get(SCALE).gates, 2, shape.heads)
    text = torch.randint(500, (4, 3 * shape.segment + 1), generator=torch.Generator().manual_seed(0))
    return exact, model.to(DEVICE), gates, text


def train_step(model, gates, text, compiled, precision):
    """Losses and gradients of three segments with memory, and of the gates."""
    model.compiled = compiled
    model.train().zero_grad()
    T, at = model.config.segment, model.distance_PD
    gate_LH = gates.sample(torch.Generator().manual_seed(3)).detach().to(at).requires_grad_()
    memory, losses = model.empty_memory(len(text)), []
    for start in range(0, 3 * T, T):
        part = text[:, start:start + T + 1].to(at.device)
        loss, memory = backward(model, part[:, :-1], part[:, 1:], memory, gate_LH, len(text), precision)
        losses.append(loss)
    model.compiled = False
    return torch.stack(losses), {"gates": gate_LH.grad} | {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.skipif(not GPU, reason="needs a GPU"))])
def test_losses_and_gradients_of_a_model(models, compiled):
    exact, model, gates, text = models
    losses, gradients = train_step(exact, gates, text, False, "fp32")
    got_losses, got = train_step(model, gates, text, compiled, PRECISION)
    assert off(got_losses, losses) < 5e-3
    errors = {name: off(got[name], gradient) for name, gradient in gradients.items()}
    assert max(errors.values()) < 0.1, errors


def test_a_pruned_model_is_the_gated_one(models):
    _, model, gates, text = models
    gates.logit_LH.data.normal_(generator=torch.Generator().manual_seed(1))
    ids = text.flatten().numpy()
    gated, _ = nll(model, ids, 4, gates.evaluation().to(DEVICE), "fp32")
    pruned, _ = nll(remove_closed(model, gates.to(DEVICE)), ids, 4, precision="fp32")
    half, _ = nll(model, ids, 4, gates.evaluation().to(DEVICE), PRECISION)
    gates.cpu()
    assert abs(gated - pruned) / gated < 1e-4
    assert abs(gated - half) / gated < 3e-3


def test_one_token_at_a_time_is_a_segment(models):
    _, model, _, text = models
    model, ids = model.eval(), text[:, :16].to(DEVICE)
    with torch.no_grad():
        whole, _ = model(ids, model.empty_cache(4))
        single, cache = [], model.empty_cache(4)
        for i in range(ids.shape[1]):
            out, cache = model(ids[:, i:i + 1], cache)
            single.append(out)
    assert off(torch.cat(single, 1), whole) < 1e-3
    assert len(generate(model, [ids[0].tolist()], 8)[0]) > 0


def test_adaptive_softmax():
    shape = scales.model("paper" if GPU else "smoke-words", ALL_ATTENTION)
    vocab = scales.vocab("paper" if GPU else "smoke-words")
    torch.manual_seed(0)
    softmax, hidden = TiedSoftmax(replace(shape, layers=1), vocab), torch.randn(512, shape.d_model)
    target = (torch.rand(512) ** 4 * vocab).long()
    with torch.no_grad():
        got = softmax.to(DEVICE).nll(hidden.to(DEVICE), target.to(DEVICE))
        assert off(got, softmax.cpu().double().nll(hidden.double(), target)) < 1e-3


def test_gates_are_the_same_on_every_device():
    gates = HeadGates(scales.get(SCALE).gates, 2, 8)
    here, there = (torch.Generator().manual_seed(5) for _ in range(2))
    expected = [gates.sample(here).detach() for _ in range(20)]
    gates.to(DEVICE)
    got = [gates.sample(there).detach().cpu() for _ in range(20)]
    assert torch.stack(got).isclose(torch.stack(expected)).all()


def test_batches_sent_ahead_are_the_batches():
    ids = torch.randint(500, (20_000,)).numpy()
    stream, device = Stream(ids, 4, 16), torch.device(DEVICE)
    feed = Feed(stream)
    for step in range(50):
        got, expected = feed.batch(step, device), stream.batch(step)
        feed.prepare(step + 1, device)
        assert got[2] == expected[2] and all((a.cpu() == b).all() for a, b in zip(got[:2], expected[:2], strict=True))
