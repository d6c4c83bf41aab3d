"""Exercises of notebook 02: what a head costs."""

from dataclasses import replace

from allatt import cost
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.course.exercise import exercise, expect
from allatt.paper import scales


@exercise("2.1")
def heads_below_the_floor(answer):
    """answer(ours, theirs): the most heads with which All-attention is smaller than Transformer-XL without any."""
    for scale in ("paper", "laptop"):
        ours, theirs = scales.model(scale, ALL_ATTENTION), scales.model(scale, TRANSFORMER_XL)
        floor = _body(replace(theirs, kept=((),) * theirs.layers))
        right = max(heads for heads in range(ours.layers * ours.heads + 1) if _body(_with_heads(ours, heads)) < floor)
        found = answer(ours, theirs)
        expect(found != right + 1, f"with {found} heads, at the {scale} scale, ours is not smaller any more; it has to be")
        expect(found == right, f"{found} heads at the {scale} scale: ours would have {_size(ours, found)} parameters in its "
                               f"body, theirs has {floor:,} without heads. Each layer of ours has 3 d beside its heads")
    return "78 of 128 at the paper's size. Its model at lambda 0.02 kept 59: smaller than any pruned Transformer-XL can be."


def _with_heads(model, heads):
    """All-attention with so many heads, filled from the first layer on."""
    per_layer = [min(max(heads - layer * model.heads, 0), model.heads) for layer in range(model.layers)]
    return replace(model, kept=tuple(tuple(range(n)) for n in per_layer))


def _body(model):
    return cost.count(replace(model, cutoffs=()), vocab=1)["parameters"]["body"]


def _size(model, heads):
    return f"{_body(_with_heads(model, heads)):,}" if isinstance(heads, int) and 0 <= heads <= 128 else "no number of"
