"""Exercises of notebook 05: what is removed with a head, and what stays."""

import math
from dataclasses import replace

import torch

from allatt import prune
from allatt.config import ALL_ATTENTION
from allatt.course.exercise import exercise, expect
from allatt.course.trained import trained
from allatt.evaluate import nll
from allatt.model import LanguageModel
from allatt.paper import scales


@exercise("5.1")
def heads_at_lambda(heads, layer):
    """How many of the trained model's 32 heads lambda 0.08 keeps, to within 3, and which of four layers keeps the fewest."""
    per_layer = trained("all-attention-pruned")[0].config.heads_per_layer
    right = sum(per_layer)
    expect(12 <= heads <= 31, "Lambda 0.045 kept 31 and lambda 0.16 kept 12, so the number is between them.")
    expect(heads >= right - 3, "Fewer heads closed than that.")
    expect(heads <= right + 3, "More heads closed than that.")
    expect(layer in (1, 2, 3, 4), "The number is right. Which of the layers 1 to 4 loses most?")
    kept = per_layer[int(layer) - 1]
    expect(kept == min(per_layer), f"The number is right, but layer {layer} keeps {kept} of 8. Which layer's output do all "
                                   "others read, and which layer's does none?")
    return f"{right} of 32, by layer {' '.join(map(str, per_layer))}. Nothing in the loss names a layer, yet the layers differ."


@exercise("5.2")
def remove_head(answer):
    """answer(weights, head, d_head): the layer's weights without one head; each matrix packs all heads, as in torch."""
    generator = torch.Generator().manual_seed(0)
    H, K, D, N, T = 4, 3, 10, 5, 6
    shapes = {**dict.fromkeys(("W_q", "W_k", "W_v", "W_r"), (H * K, D)), "W_o": (D, H * K), "b_o": (D,),
              "u": (H, K), "w": (H, K), "M_k": (H, N, K), "M_v": (H, N, K)}
    weights = {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in shapes.items()}
    x, P = torch.randn(2, T, D, generator=generator, dtype=torch.double)
    for head in (1, 0, 3):
        given = {name: tensor.clone() for name, tensor in weights.items()}
        small = answer(given, head, K)
        untouched = set(given) == set(shapes) and all(torch.equal(given[name], weights[name]) for name in shapes)
        expect(untouched, "The weights that you were given have changed; return new ones.")
        expect(isinstance(small, dict) and set(small) == set(shapes), f"Return a dict of the same names: {', '.join(shapes)}.")
        expect(torch.equal(small["b_o"], weights["b_o"]), "b_o belongs to the layer, not to a head: it stays as it is.")
        expect(small["W_o"].shape[1] != H * K, "W_o still has all columns. It takes the heads' outputs, d_head columns each.")
        for name, shape in shapes.items():
            wanted = (D, (H - 1) * K) if name == "W_o" else (D,) if name == "b_o" else (shape[0] // H * (H - 1), *shape[1:])
            expect(tuple(small[name].shape) == wanted, f"{name} is {tuple(small[name].shape)}; without a head, it is {wanted}.")
        for name in ("W_q", "W_k", "W_v", "W_r", "W_o"):
            rows, was = (small[name], weights[name]) if name != "W_o" else (small[name].T, weights[name].T)
            expect(torch.equal(rows, torch.cat([was[:head * K], was[(head + 1) * K:]])),
                   f"{name} has lost the wrong {'columns' if name == 'W_o' else 'rows'}: head {head}, counted from 0, has "
                   f"{K} side by side, from {head * K} on.")
        expect(torch.allclose(_layer(small, x, P, K), _layer(weights, x, P, K, closed=head)),
               f"Head {head} is removed, but the output is not the one with that head's gate at 0: the heads of u, w, M_k and "
               "M_v no longer match those of W_q.")
    return "The output is the same as with the gate closed. This is what it takes to prune a checkpoint of another library."


def _layer(weights, x, P, d_head, closed=None):
    """The layer's output (T, D), head by head; one may be closed. P: positions by distance."""
    T, out = len(x), x + weights["b_o"]
    distance = torch.arange(T)[:, None] - torch.arange(T)
    for head in range(len(weights["u"])):
        rows = slice(head * d_head, (head + 1) * d_head)
        q, k, v = (x @ weights[name][rows].T for name in ("W_q", "W_k", "W_v"))
        r = (P @ weights["W_r"][rows].T)[distance.clamp(min=0)]
        scores = ((q + weights["u"][head]) @ k.T + torch.einsum("tk,tsk->ts", q + weights["w"][head], r)) / math.sqrt(d_head)
        scores = torch.cat([scores.masked_fill(distance < 0, -math.inf), q @ weights["M_k"][head].T], dim=1)
        values = torch.cat([v, math.sqrt(weights["M_v"].shape[1]) * weights["M_v"][head]])
        if head != closed:
            out = out + scores.softmax(-1) @ values @ weights["W_o"][:, rows].T
    return out


@exercise("5.3")
def without_empty_layer(answer):
    """answer(biases, empty): the output biases of the layers that are left when a layer without heads is deleted."""
    torch.manual_seed(0)
    config = replace(scales.model("smoke", ALL_ATTENTION), layers=4, kept=None)
    for empty in (1, 2):
        kept = tuple(() if layer == empty else tuple(range(config.heads)) for layer in range(4))
        model = LanguageModel(replace(config, kept=kept), vocab=20).double()
        for block in model.blocks:
            torch.nn.init.normal_(block.output_bias_D)
        biases = [block.output_bias_D.detach().clone() for block in model.blocks]
        found = answer([bias.clone() for bias in biases], empty)
        expect(len(found) == 3, "There were four layers, and one is deleted: return three biases.")
        expect(all(tuple(bias.shape) == biases[0].shape for bias in found), "Each bias has the width of the model.")
        left, lost, b = [layer for layer in range(4) if layer != empty], biases[empty], empty
        given, later = torch.stack([biases[layer] for layer in left]), torch.stack([biases[layer] for layer in left])
        later[b] += lost
        expect(not torch.allclose(torch.stack(list(found)), given),
               "The layer had no heads, but it still added its bias to every token.")
        expect(not torch.allclose(torch.stack(list(found)), later),
               "That adds the bias too late: the next layer reads the states *before* it adds its own bias.")
        small = LanguageModel(replace(config, layers=3, kept=None), vocab=20).double()
        state, new = model.state_dict(), small.state_dict()
        for name in new:
            parts = name.split(".")
            old = ".".join([parts[0], str(left[int(parts[1])]), *parts[2:]]) if parts[0] == "blocks" else name
            new[name] = state[old] if "output_bias" not in name else found[int(parts[1])]
        small.load_state_dict(new)
        expect(torch.allclose(_losses(small), _losses(model)), f"Layer {empty + 1} of 4 is gone, but the losses have changed.")
    return "The bias moves into the previous layer. So an empty layer costs nothing: its bias is all that is left of it."


def _losses(model):
    """The loss of each token of two segments, the second with a memory of the first."""
    generator, T = torch.Generator().manual_seed(1), model.config.segment
    ids, memory, losses = torch.randint(20, (2, 2 * T + 1), generator=generator), model.empty_memory(2), []
    for start in (0, T):
        loss, memory = model.loss(ids[:, start:start + T], ids[:, start + 1:start + T + 1], memory)
        losses.append(loss.detach())
    return torch.cat(losses, dim=1)


@exercise("5.4")
def loss_without(answer, cheapest):
    """answer(model, layer, ids): mean loss on ids without the heads of one layer; cheapest: the trained model's."""
    torch.manual_seed(0)
    kept = ((0, 2, 5, 7), (1, 3), (4,))
    full = LanguageModel(replace(scales.model("smoke", ALL_ATTENTION), layers=3), vocab=20).eval()
    model, open_LH = prune.remove(full, kept), prune.head_mask(kept, full.config.heads).float()
    ids = torch.randint(20, (120,), generator=torch.Generator().manual_seed(0)).numpy()
    total, predicted = nll(model, ids, 1)
    for layer in (2, 0, 1, 0):
        gate_LH = open_LH * (torch.arange(3) != layer)[:, None]
        right, found = nll(full, ids, 1, gate_LH)[0] / predicted, answer(model, layer, ids)
        expect(model.config.kept == kept, "The model that you were given has changed.")
        expect(abs(found - right * predicted) > 1e-2, "This is the sum over all tokens; give the mean per token.")
        expect(abs(found - total / predicted) > 1e-6, f"Nothing has changed: layer {layer}, counted from 0, still has heads.")
        expect(abs(found - right + total / predicted) > 1e-6, "This is the rise of the loss; give the loss itself.")
        expect(abs(found - right) < 1e-4, f"A model with heads {kept} has a loss of {right:.4f} without layer {layer}; "
                                          f"you have {found:.4f}. Are the other layers unchanged?")
    expect(cheapest in (1, 2, 3, 4), "The loss is right. Which of the layers 1 to 4 is the cheapest?")
    expect(cheapest not in (1, 2), "Try all four: that layer costs more than twice as much as the cheapest.")
    expect(cheapest == 3, "Close, but look again: layer 4 has the fewest heads, but is not the cheapest.")
    return "Layer 3, by a hair, though it has more heads than layer 4. Few heads need not be of little use."
