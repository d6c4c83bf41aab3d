"""The language model: memory, masks, shapes, and the counts of the paper."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from allatt.config import AllattError, ModelConfig, to_dict
from allatt.model import LanguageModel

TINY = ModelConfig(layers=2, heads=3, d_model=12, d_head=4, persistent=5, feed_forward=5, segment=4, memory=6, positions=7,
                   init="unit")
KINDS = ("all-attention", "transformer-xl")


def build(kind="all-attention", vocab=11, **changes):
    torch.manual_seed(0)
    model = LanguageModel(replace(TINY, kind=kind, **changes), vocab).double()
    for parameter in model.parameters():  # biases start at zero, and would hide what depends on them
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def read(model, ids, widths, gate=None, cached=False):
    """Hidden states of a text that is read in segments of the given widths."""
    memory, out, at = model.empty_cache(len(ids)) if cached else model.empty_memory(len(ids)), [], 0
    for width in widths:
        hidden, memory = model(ids[:, at:at + width], memory, gate)
        out, at = [*out, hidden], at + width
    return torch.cat(out, dim=1)


@torch.no_grad()
def test_a_model_read_with_another_segment_has_its_weights_and_path():
    model, ids = build(), torch.randint(0, 11, (2, 9))
    model.path = "reference"
    again = model.reread(replace(model.config, segment=3))
    assert again.path == "reference" and again.config.segment == 3
    assert torch.equal(read(again, ids, [3, 3, 3]), read(model, ids, [3, 3, 3]))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["all-attention", "transformer-xl"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cached", [False, True])
def test_a_model_in_half_precision_reads_on_a_cpu(kind, dtype, cached):
    model, ids = build(kind), torch.randint(0, 11, (2, 12))
    exact = read(model, ids, [4, 4, 1, 1, 2], cached=cached)
    half = read(model.to(dtype), ids, [4, 4, 1, 1, 2], cached=cached)
    assert half.dtype == dtype and (half - exact).abs().max() < (0.1 if dtype == torch.bfloat16 else 0.02) * exact.abs().max()


def whole_model_in_numpy(weights, ids, memory, gates, cutoffs, heads, eps=1e-5):
    """-log p of each next word of one row of ids, and what entered each layer: from the paper's equations, without torch.

    weights: arrays under the model's names. memory: what entered each layer for all earlier words. Heads: Python loops.
    """
    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    edges = [0, *cutoffs, len(weights["softmax.bias"])]
    band = [sum(word >= cutoff for cutoff in cutoffs) for word in ids]
    d, entered = weights["distance_PD"].shape[1], []
    x = np.stack([d ** 0.5 * weights[f"softmax.tables.{b}"][word - edges[b]] @ weights[f"softmax.projections.{b}"]
                  for word, b in zip(ids[:-1], band, strict=False)])
    for layer in range(len(heads)):
        w = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{layer}.")}
        entered.append(x)
        context = norm(np.concatenate([memory[layer], x]), f"blocks.{layer}.norm")
        past, attended = len(memory[layer]), np.zeros_like(x)
        for h in range(heads[layer]):
            q, k, v = (context @ w[name][h].T for name in ("query_HKD", "key_HKD", "value_HKD"))
            r = weights["distance_PD"] @ w["position_HKD"][h].T
            mk, mv = w["persistent_key_HNK"][h], w["persistent_value_HNK"][h]
            root, many = q.shape[1] ** 0.5, len(mk) ** 0.5
            for i in range(len(x)):
                at = past + i
                seen = range(max(0, at - MEMORY), at + 1)
                scores = [((q[at] + w["content_bias_HK"][h]) @ k[j] + (q[at] + w["position_bias_HK"][h]) @ r[at - j]) / root
                          for j in seen]
                scores += [q[at] @ (root * key) / root for key in mk]
                chances = np.exp(scores) / np.exp(scores).sum()
                out = sum(p * value for p, value in zip(chances, [*v[list(seen)], *(many * mv)], strict=True))
                attended[i] += gates[layer][h] * out @ w["output_HKD"][h]
        x = x + attended + w["output_bias_D"]
    losses = []
    for h, word, b in zip(x, ids[1:], band[1:], strict=True):
        words = weights["softmax.tables.0"] @ (weights["softmax.output_projection"] @ h) + weights["softmax.bias"][:edges[1]]
        head = np.exp([*words, *(weights["softmax.cluster_rows"] @ h + weights["softmax.cluster_bias"])])
        p = head[word if b == 0 else edges[1] + b - 1] / head.sum()
        if b > 0:
            inner = weights[f"softmax.tables.{b}"] @ (weights[f"softmax.projections.{b}"] @ h)
            tail = np.exp(inner + weights["softmax.bias"][edges[b]:edges[b + 1]])
            p *= tail[word - edges[b]] / tail.sum()
        losses.append(-np.log(p))
    return np.array(losses), [np.concatenate([old, new]) for old, new in zip(memory, entered, strict=True)]


MEMORY = TINY.memory


@pytest.mark.parametrize("path", ["fast", "reference"])
def test_the_whole_model_is_the_papers_equations_in_numpy(path):
    """Embedding, attention, gates, memory of two segments, and adaptive softmax in one. Weights and losses are computed
    here, without a line of the package."""
    cutoffs, heads = (4, 9), (3, 3)
    model = build(vocab=19, cutoffs=cutoffs, band_divisor=2)
    model.path = path
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    rng = np.random.default_rng(7)
    weights = {name: rng.normal(0, 0.4, shape) for name, shape in sorted(shapes.items())}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    ids, gates = (3, 12, 1, 7, 18, 0, 5, 10, 2), [[1.5, 0.0, 1.5], [1.0, 1.0, 1.0]]  # words of every band
    past, memory = [np.zeros((0, 12)), np.zeros((0, 12))], model.empty_memory(1)
    for begin in (0, 4):
        part = ids[begin:begin + 5]
        want, past = whole_model_in_numpy(weights, part, past, gates, cutoffs, heads)
        row = torch.tensor([part])
        got, memory = model.loss(row[:, :-1], row[:, 1:], memory, torch.tensor(gates, dtype=torch.float64))
        np.testing.assert_allclose(got.detach().numpy()[0], want, rtol=1e-10, atol=1e-12)


PRUNED = {"kept": ((1,), ())}, {"kept": ((), (0, 2))}


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = build(kind)
    ids = torch.randint(0, 11, (2, 5))
    memory = model(ids, model.empty_memory(2))[1]
    nll, _ = model.loss(ids[:, :4], ids[:, 1:], memory)
    nll.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_paths_agree_in_value_and_every_gradient(kind):
    model = build(kind)
    ids = torch.randint(0, 11, (2, 5))
    memory = model(ids, model.empty_memory(2))[1]
    found = {}
    for path in ("fast", "reference"):
        model.path = path
        model.zero_grad()
        loss = model.loss(ids[:, :4], ids[:, 1:], memory)[0].mean()
        loss.backward()
        found[path] = [loss.detach(), *(p.grad.clone() for p in model.parameters())]
    assert max((a - b).abs().max() for a, b in zip(*found.values(), strict=True)) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_gate_is_a_head_that_adds_nothing(kind):
    model = build(kind)
    ids = torch.randint(0, 11, (2, 4))
    gate = torch.ones(2, 3, dtype=torch.float64)
    open_ = model(ids, model.empty_memory(2), gate)[0]
    assert torch.allclose(open_, model(ids, model.empty_memory(2))[0])
    gate[1, 2] = 0
    closed = model(ids, model.empty_memory(2), gate)[0]
    model.blocks[1].output_HKD.data[2] = 0
    assert torch.allclose(closed, model(ids, model.empty_memory(2))[0])
    assert not torch.allclose(closed, open_)


def test_a_layer_without_heads_is_the_identity_plus_its_bias():
    model = build(kept=((), (0, 2)))
    x = torch.randn(2, 4, 12, dtype=torch.float64)
    memory = model.empty_memory(2).hidden_LBMD[0]
    out = model.blocks[0](x, memory, 0, model.head_vectors(0), None, "fast")
    assert torch.equal(out, x + model.blocks[0].output_bias_D)


@pytest.mark.parametrize("kind,body", [("all-attention", 54_566_912), ("transformer-xl", 54_608_896)])
def test_paper_size_to_the_unit(kind, body):
    with torch.device("meta"):
        model = LanguageModel(ModelConfig(kind=kind, cutoffs=(20_000, 40_000, 200_000)), 267_735)
    counts = model.parameter_counts()
    assert counts["body"] == body
    assert (counts["positions"], counts["softmax"]) == (262_144, 19_341_458)


@pytest.mark.parametrize("heads,body", [
    ("8 3 7 6 6 6 6 7 6 7 8 8 7 8 7 6", 45_192_448), ("6 4 6 5 4 5 5 6 5 6 7 5 6 6 6 5", 37_096_320),
    ("5 2 5 4 3 4 4 4 4 4 4 4 3 3 3 3", 25_165_184)])
def test_the_papers_pruned_models_to_the_unit(heads, body):
    kept = tuple(tuple(range(int(n))) for n in heads.split())
    with torch.device("meta"):
        model = LanguageModel(ModelConfig(kept=kept, cutoffs=(20_000, 40_000, 200_000)), 267_735)
    assert model.parameter_counts()["body"] == body


def test_models_of_older_runs_are_read(tmp_path):
    """Their metadata has a key for the config and one for the vocabulary; the ids of runs have not changed since."""
    model, path = build(kept=((1,), ())), tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, {"config": json.dumps(to_dict(model.config)), "vocab": "11"})
    again = LanguageModel.load(path)
    assert again.config == model.config and again.vocab == 11
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_back_with_heads_per_layer(kind, tmp_path):
    model = build(kind, kept=((1,), ()))
    model.save(tmp_path / "model.safetensors")
    again = LanguageModel.load(tmp_path / "model.safetensors").double().eval()
    assert again.config == model.config and again.vocab == 11
    ids = torch.randint(0, 11, (2, 4))
    assert torch.allclose(model(ids, model.empty_memory(2))[0], again(ids, again.empty_memory(2))[0])


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_model_is_one_clear_line(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(AllattError, match="is not a model") as error:
        LanguageModel.load(path)
    assert "\n" not in str(error.value)


def test_initialization_is_as_the_config_says():
    torch.manual_seed(0)
    c = ModelConfig(layers=4, d_model=64, heads=4, d_head=16, persistent=256, positions=193)
    bound = (1 / (64 * 4)) ** 0.5
    block = LanguageModel(c, 50).blocks[0]
    for tensor in (block.query_HKD, block.output_HKD, block.persistent_key_HNK, block.persistent_value_HNK):
        assert 0.98 * bound < tensor.abs().max() <= bound
    assert (block.content_bias_HK == 0).all() and (block.position_bias_HK == 0).all()
    block = LanguageModel(replace(c, init="unit", persistent_gain=20.0), 50).blocks[0]
    assert abs(block.persistent_key_HNK.std() * 16 ** 0.5 - 1) < 0.05
    assert abs(block.persistent_value_HNK.std() * 256 ** 0.5 - 20) < 0.5, "unit variance after the scaling, times the gain"


@pytest.mark.parametrize("variational", [True, False])
def test_variational_dropout_has_one_mask_for_all_positions(variational):
    from allatt.model import _dropout

    torch.manual_seed(0)
    zero = _dropout(torch.ones(3, 50, 40), 0.4, variational, training=True) == 0
    assert abs(zero.float().mean() - 0.4) < 0.1
    same = (zero == zero[:, :1]).all()
    assert same == variational
    assert torch.equal(_dropout(torch.ones(2, 3, 4), 0.4, variational, training=False), torch.ones(2, 3, 4))


@pytest.mark.parametrize("changes,word", [
    ({"kind": "rnn"}, "kind"), ({"layers": 0}, "layers"), ({"memory": -1}, "memory"), ({"positions": 6}, "positions"),
    ({"drop_attention": 1.0}, "drop_attention"), ({"kept": ((0,),)}, "2"), ({"kept": ((0,), (3,))}, "layer 2"),
    ({"kept": ((1, 0), ())}, "layer 1"), ({"cutoffs": (5, 3)}, "cutoffs"), ({"init": "zero"}, "init")])
def test_values_out_of_range(changes, word):
    with pytest.raises(AllattError, match=word):
        replace(TINY, **changes)


def test_gates_need_all_heads():
    model = build(kept=((0,), (1,)))
    with pytest.raises(AllattError, match="all its heads"):
        model(torch.zeros(1, 4, dtype=torch.long), model.empty_memory(1), torch.ones(2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_gives_the_norms_weights_their_gradient(kind):
    """A memory is projected by weights that hold the LayerNorm; gradients are those of projecting the normalized memory."""
    block = build(kind).blocks[0]
    generator = torch.Generator().manual_seed(0)
    memory_BMD = torch.randn(2, 5, TINY.d_model, generator=generator, dtype=torch.float64)
    tensors = [block.norm.weight, block.norm.bias, block.key_HKD, block.value_HKD]
    keys, values = block.project_memory(memory_BMD)
    plain = [torch.einsum("bmd,hkd->mbhk", block.norm(memory_BMD), weight) for weight in tensors[2:]]
    noise = torch.randn(keys.shape, generator=generator, dtype=torch.float64)
    found, expected = (torch.autograd.grad((k * noise + v * noise.flip(0)).sum(), tensors) for k, v in ((keys, values), plain))
    assert (keys - plain[0]).abs().max() < 1e-12 and (values - plain[1]).abs().max() < 1e-12
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() < 1e-12 * b.abs().max().clamp(min=1)


def test_attention_dropout_is_on_in_training_alone():
    """A layer with attention dropout gives other outputs each time, on average those of the evaluation."""
    model = build(drop_attention=0.5, layers=1)
    ids = (torch.arange(8) % 11).expand(1000, -1)
    memory = model.empty_memory(1000)
    with torch.no_grad():
        still, again = model(ids, memory)[0][0], model(ids, memory)[0][0]
        model.train()
        many = torch.cat([model(ids, memory)[0] for _ in range(2)])
    assert torch.equal(still, again) and many.std(0).min() > 0
    assert ((many.mean(0) - still).abs() < 6 * many.std(0) / 2000 ** 0.5).all()
