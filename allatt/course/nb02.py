"""Exercises of notebook 02: what a head costs."""

from dataclasses import replace

from allatt import cost
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL, ModelConfig
from allatt.course.answers import near
from allatt.course.exercise import exercise, expect
from allatt.paper import scales


@exercise("2.1")
def half_of_the_heads(answer):
    """answer: (percent of All-attention's parameters, percent of Transformer-XL's) that are left with half of the heads."""
    ours, theirs = answer
    right = [100 * _body(_with_heads(scales.model("paper", kind), 64)) / _body(scales.model("paper", kind))
             for kind in (ALL_ATTENTION, TRANSFORMER_XL)]
    expect(max(ours, theirs) > 1, "In percent, please: 50 is a half.")
    expect(abs(ours - right[0]) < 3, "What in an All-attention layer belongs to no head? Only 3 d of 3.4 million parameters.")
    expect(abs(theirs - 50) > 3, "Transformer-XL has more than its heads: what about its feed-forward?")
    expect(abs(theirs - 61.6) > 3, "That much is left without any heads, but half of them stay.")
    expect(abs(theirs - right[1]) < 3, "Heads are 38.4% of Transformer-XL, and half of these go.")
    return f"{right[0]:.1f} and {right[1]:.1f}%: removing half of the heads saves half of one body and a fifth of the other."


@exercise("2.2")
def window_share(answer):
    """answer(m): the share of a head's multiply-adds that its window takes, for an All-attention model m."""
    paper = scales.model("paper", ALL_ATTENTION)
    for m in (paper, replace(paper, memory=3648, positions=4096), scales.model("smoke", ALL_ATTENTION)):
        parts, found = cost.count(m)["multiply_adds"]["parts"], answer(m)
        rest, window = parts["projections"] + parts["persistent"], parts["context"]
        expect(not near(found, window / rest), "Take the share of the whole, which includes the window itself.")
        expect(not near(found, window / (window + 5 / 4 * parts["projections"] + parts["persistent"])),
               "Count four projections per token, not five: distances are projected once per pass, for any number of tokens.")
        expect(not near(found, 2 / 3 * window / (2 / 3 * window + rest)),
               "A head goes three times over the window: for content scores, position scores and the sum of values.")
        expect(not near(found, window / (window + parts["projections"])), "The persistent vectors are part of the head, too.")
        expect(near(found, window / (window + rest)),
               f"With d = {m.d_model}, d_h = {m.d_head}, N = {m.persistent}, M = {m.memory} and T = {m.segment}, the window "
               f"takes {window // (m.layers * m.heads):,} of {(window + rest) // (m.layers * m.heads):,} multiply-adds.")
    return "16% with the paper's window of 384, and 65% with one of 3,840: a long memory costs more than the rest of a head."


@exercise("2.3")
def heads_below_the_floor(answer):
    """answer(ours, theirs): the largest number of heads with which All-attention is smaller than Transformer-XL without any."""
    for scale, units in (("paper", 2048), ("laptop", 512), ("smoke", 128), ("smoke", 126)):
        ours, theirs = scales.model(scale, ALL_ATTENTION), replace(scales.model(scale, TRANSFORMER_XL), feed_forward=units)
        floor = _body(replace(theirs, kept=((),) * theirs.layers))
        right = max(heads for heads in range(ours.layers * ours.heads + 1) if _body(_with_heads(ours, heads)) < floor)
        found, where = answer(ours, theirs), f"at the {scale} scale with {units} units in their feed-forward"
        expect(found != right + 1, f"With {found} heads, {where}, ours is no longer smaller, but it has to be.")
        expect(found == right, f"{found} heads {where}: ours would have {_size(ours, found)} parameters in its body, and "
                               f"theirs has {floor:,} without heads. Each layer of ours has 3 d besides its heads.")
    return ("78 of 128 at the paper's size. The paper's model kept 59 at lambda 0.02; no pruned Transformer-XL can be as "
            "small as that.")


@exercise("2.4")
def feed_forward_for_share(answer):
    """answer(share): units of the feed-forward per unit of width that make heads this share of Transformer-XL's body."""
    for share in (5 / 13, 1 / 2, 0.9):
        found, right = answer(share), 2.5 * (1 / share - 1)
        expect(not near(found, 2.5 * share / (1 - share)) or near(share, 0.5),
               f"The smaller the feed-forward, the larger the heads' share; for {share:.0%} you have {found:.2f}.")
        expect(not near(found, 2 * right), "A feed-forward has two matrices of d f, one into its units and one out of them.")
        expect(not near(found, 0.8 * right), "Heads have five projections: query, key, value, position and output.")
        expect(found > 0, f"For {share:.0%} you have {found}, but the number of units has to be positive.")
        counted = _heads_share(found)
        expect(abs(counted - share) < 0.004, f"With f = {found:.2f} d, heads are {counted:.1%} of a body, not {share:.1%}.")
    return ("4 d give 38%, a half needs 2.5 d, and 90% a feed-forward of 0.28 d. Only without any do parameters fall in "
            "proportion to heads, as in All-attention; then something else has to hold what the feed-forward knows.")


def _heads_share(ratio):
    """The heads' share, counted on a layer so wide that biases and normalizations hardly matter."""
    d = 8192
    wide = ModelConfig(TRANSFORMER_XL, layers=1, d_model=d, d_head=d // 8, feed_forward=max(1, round(ratio * d)))
    return 1 - _body(replace(wide, kept=((),))) / _body(wide)


def _with_heads(model, heads):
    """A model with this number of heads, filled from the first layer on."""
    per_layer = [min(max(heads - layer * model.heads, 0), model.heads) for layer in range(model.layers)]
    return replace(model, kept=tuple(tuple(range(n)) for n in per_layer))


def _body(model):
    return cost.count(replace(model, cutoffs=()), vocab=1)["parameters"]["body"]


def _size(model, heads):
    return f"{_body(_with_heads(model, heads)):,}" if isinstance(heads, int) and 0 <= heads <= 128 else "an unknown number of"
