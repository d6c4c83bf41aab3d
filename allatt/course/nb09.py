"""Exercises of notebook 09: what removal saves in time and memory."""

from dataclasses import replace

from allatt import cost
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.course.exercise import exercise, expect
from allatt.model import LanguageModel
from allatt.paper import scales


@exercise("9.1")
def multiply_adds_left(removed, gated, theirs):
    """Percent of multiply-adds left with half of the heads removed, or only closed; then of Transformer-XL's, removed."""
    half = tuple(tuple(range(4)) for _ in range(2))
    left = {}
    for kind in (ALL_ATTENTION, TRANSFORMER_XL):
        model = scales.model("smoke", kind)
        left[kind] = 100 * (cost.executed(replace(model, kept=half), 2)["per_pass"] / cost.executed(model, 2)["per_pass"])
    expect(1 < max(removed, gated, theirs) <= 100, "These are percentages of what the whole model takes, from 0 to 100.")
    expect(abs(gated - 100) < 1, "A gate of 0 multiplies a head's output. By then the head has been computed.")
    expect(abs(removed - left[ALL_ATTENTION]) < 3, "In All-attention, everything that is multiplied belongs to a head.")
    expect(theirs - removed > 3, "Transformer-XL has a feed-forward, which belongs to no head and stays.")
    expect(abs(theirs - left[TRANSFORMER_XL]) < 8, "Its feed-forward is half of the work, and half of the other half is left.")
    return f"Here it is {left[ALL_ATTENTION]:.0f}, 100 and {left[TRANSFORMER_XL]:.0f}%. In the next cell, torch counts."


@exercise("9.2")
def times_as_fast(answer):
    """answer(f, s): the speedup when heads have no part in a share f of the time, and a share s of the heads is gone."""
    f, s = 0.2, 0.75
    found, time = answer(f, s), f + (1 - f) * (1 - s)
    expect(abs(found - time) > 1e-9, "This is the time that is left; the speedup is 1 over it.")
    expect(abs(found - 1 / (1 - s)) > 1e-9, "That is as if heads took all of the time: what becomes of the share f?")
    expect(abs(found - 1 / (f + (1 - f) * s)) > 1e-9, "s is the share that is gone, not the share that is left.")
    expect(abs(found - 1 / ((1 - f) + f * (1 - s))) > 1e-9, "f is the share of the time *without* heads.")
    for f, s, right in ((0.5, 1.0, 2.0), (0.5, 0.5, 4 / 3), (0.0, 0.75, 4.0), (1.0, 0.9, 1.0), (0.3, 0.0, 1.0)):
        expect(abs(answer(f, s) - right) < 1e-9, f"With f = {f:g} and s = {s:g}, it is {right:.3g} times as fast.")
    return "This is Amdahl's law. With f = 1/2, the speedup never exceeds 2, even with all heads gone."


@exercise("9.3")
def rows_until_memory_outweighs(answer):
    """answer(config): the fewest texts side by side whose hidden states take more bytes than the weights of the body."""
    config = scales.model("smoke", ALL_ATTENTION)
    for heads in (config.heads, 3, 1):
        pruned = replace(config, kept=tuple(tuple(range(heads)) for _ in range(config.layers)))
        model = LanguageModel(pruned, vocab=16)
        body = sum(tensor.numel() for tensor in model.blocks.parameters())
        row = model.empty_memory(1).hidden_LBMD.numel()
        found = answer(pruned)
        where = f"With {heads} heads per layer"
        expect(found != body // (row // config.layers) + 1, "Each layer remembers the states that entered it.")
        expect(found * row > body, f"{where}, {found} rows take {found * row:,} numbers, and the body {body:,}: not yet more.")
        expect((found - 1) * row <= body, f"{where}, {found - 1} rows would already be enough. A row has M states of width d "
                                          "per layer, whatever the number of heads; a pruned model has fewer weights.")
    return "Pruning shrinks only the weights. With few heads, most of what has to be stored is the memory of the texts."
