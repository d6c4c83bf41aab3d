"""Exercises of notebook 15: gates on a model of your own."""

import torch

from allatt.course.exercise import exercise, expect


@exercise("15.1")
def what_is_left(percent):
    """Percentage of the weights of attention and feed-forward that half of the heads leave in an ordinary Transformer."""
    expect(percent > 1, "In percent, please.")
    expect(abs(percent - 50) > 2, "Only attention has heads: the feed-forward stays as it is.")
    expect(abs(percent - 100 / 6) > 1, "That is what goes.")
    expect(abs(percent - 100 * 10 / 12) < 1, "Of 12 d^2 weights, 4 d^2 belong to heads, and half of those go.")
    return "83%. Removing half of the heads takes a sixth of the weights."


@exercise("15.2")
def gated_rows(answer):
    """answer(weight_ID, gate_H): a weight stored as (inputs, outputs), each head's rows times its gate."""
    generator = torch.Generator().manual_seed(0)
    for H, K, D in ((2, 3, 5), (3, 3, 9), (4, 2, 8)):
        weight, gate = torch.rand(H * K, D, generator=generator) + 0.5, torch.rand(H, generator=generator) + 0.1
        kept, found = weight.clone(), answer(weight, gate)
        expect(torch.equal(weight, kept), "The weight that you were given has changed.")
        expect(torch.is_tensor(found) and found.shape == (H * K, D), "The gated weight has the shape of the weight.")
        right = torch.cat([weight[head * K:(head + 1) * K] * gate[head] for head in range(H)])
        expect(not torch.allclose(found, weight * gate.repeat(K)[:, None]),
               "Rows 0 to K - 1 belong to head 0: each gate is repeated K times in a row, not all gates one after another.")
        if D == H * K:
            expect(not torch.allclose(found, weight * gate.repeat_interleave(K)),
                   "These are the columns: in this layout, the inputs of Wo are its rows.")
        expect(answer(weight, gate.requires_grad_()).requires_grad, "No gradient reaches the gates: do not detach them.")
        expect(torch.allclose(found, right), f"With {H} heads of {K}, a row is not its head's gate times the weight's row.")
    return "The gates multiply the inputs of Wo, in whichever direction they lie."


@exercise("15.3")
def keys_that_stay(answer):
    """answer(kept, H, G): key/value heads that the kept query heads read, if each of G serves H / G neighbors."""
    for kept, H, G, right in (([0, 1, 5], 8, 2, [0, 1]), ([7], 8, 4, [3]), ([2, 3, 6], 8, 4, [1, 3]), ([1, 2], 4, 4, [1, 2]),
                              ([0, 5], 6, 1, [0]), ([], 8, 2, [])):
        found = answer(kept, H, G)
        expect(isinstance(found, list | tuple), "Return a list, please.")
        found = list(found)
        expect(not any(isinstance(key, bool) for key in found), "Return the indices of the heads that stay, as kept has them.")
        which = f"If query heads {kept} of {H} stay, with {G} key/value heads,"
        expect(len(set(found)) == len(found), f"{which} you name one key/value head twice.")
        expect(found != sorted({head % G for head in kept}) or found == right,
               f"{which} {found} would be right if neighbors read different key/value heads; they read the same one.")
        expect(found == right or sorted(found) != right, f"{which} you name the right ones, but not in order.")
        expect(all(0 <= key < G for key in found), f"{which} you name {found}: there are only 0 to {G - 1}.")
        expect(found == right, f"{which} they read {right}, and you name {found}.")
    return "A key/value head leaves only with its whole group. A gate could stand for a whole group instead."


@exercise("15.4")
def share_that_stays(answer, f_for_half):
    """answer(f): share of the weights that stays if all heads go and the feed-forward is f times as wide as the model."""
    expect(0 <= answer(4) <= 1, "A share, between 0 and 1, please.")
    expect(abs(answer(4) - 1 / 3) > 0.01, "That is the share of attention.")
    expect(abs(answer(4) - 0.5) > 0.01, "A feed-forward has two matrices, of d by f d each.")
    expect(abs(answer(4) - 2 / 3) < 0.01, "With f = 4, attention has 4 d^2 weights and the feed-forward 8 d^2.")
    expect(all(abs(answer(f) - 2 * f / (4 + 2 * f)) < 1e-6 for f in (1, 2, 3, 8)),
           "Right for f = 4 only. The feed-forward has 2 f d^2 weights.")
    expect(abs(f_for_half - 2) < 1e-6, "Half stays when the feed-forward has as many weights as attention, 4 d^2.")
    return ("Two thirds with f = 4. Transformer-XL has a fifth projection per head, so 8/13 or 61.5% of its weights stay "
            "(notebook 02).")
