"""Exercises of notebook 14: the same attention, faster."""

import numpy as np
import torch

from allatt.attention import reference
from allatt.course.exercise import exercise, expect
from allatt.paper import scales


@exercise("14.1")
def scores_of_persistent_vectors(percent):
    """Of all scores that a query of the paper's model computes, the percentage that belongs to persistent vectors."""
    model = scales.model("paper", "all-attention")
    right = 100 * model.persistent / (model.persistent + model.memory + 1)
    expect(percent > 1, "In percent, please.")
    expect(percent >= 50, "A query sees M + 1 = 193 positions. How many persistent vectors are there besides them?")
    expect(abs(percent - right) < 3, "Close, but not within 3: it is N of N + M + 1, with N = 2,048 and M = 192.")
    return f"{right:.1f}%. A kernel that does not store these has less than a tenth left to store."


@exercise("14.2")
def spread(answer):
    """answer(band_TC, S): the scores (T, S) with this band, and zeros wherever a query does not see a key."""
    generator = torch.Generator().manual_seed(0)
    for T, M in ((3, 2), (5, 3), (2, 6)):
        band = torch.rand(T, M + 1, generator=generator, dtype=torch.double) + 0.5
        kept, found = band.clone(), answer(band, M + T)
        expect(torch.is_tensor(found) and found.shape == (T, M + T), f"For T = {T} and M = {M}, the scores are {T} by {M + T}.")
        expect(torch.equal(band, kept), "The band that you were given has changed.")
        right, leftwards = torch.zeros(2, T, M + T, dtype=torch.double)
        for t in range(T):
            for c in range(M + 1):
                right[t, t + c] = leftwards[t, T - 1 - t + c] = band[t, c]  # query t sees the keys t to t + M
        expect(found.dtype == band.dtype, f"The numbers have become {found.dtype}: torch.zeros takes a dtype, too.")
        expect(not torch.equal(found[:, :M + 1], band), "The rows begin at the same key, but each query sees one key further.")
        expect(not torch.equal(found, leftwards), "The rows move to the left, but have to move to the right.")
        expect((found != 0).sum() <= band.numel(), "Some scores are not 0 where a query does not see: begin with zeros.")
        expect(torch.allclose(found, right), f"For T = {T}, M = {M}, row 1 holds band[1] from key 1 on: look at your row 1.")
    return "Writing through the view is what the backward pass does with the gradient of the band."


@exercise("14.3")
def merge(answer):
    """answer(outputs, normalizers): the output (T, K) of one softmax over several blocks of keys, and its normalizer (T,)."""
    generator = torch.Generator().manual_seed(0)
    for sizes, shift in (((3, 5), 0.0), ((4, 1, 7), 0.0), ((6,), 0.0), ((3, 5), 800.0)):
        scores = [torch.randn(2, n, generator=generator, dtype=torch.double) * 2 + shift for n in sizes]
        values = [torch.randn(n, 4, generator=generator, dtype=torch.double) for n in sizes]
        outputs = [s.softmax(-1) @ v for s, v in zip(scores, values, strict=True)]
        normalizers = [s.logsumexp(-1) for s in scores]
        output, normalizer = answer(outputs, normalizers)
        right, all_scores = torch.cat(scores, -1).softmax(-1) @ torch.cat(values), torch.cat(scores, -1)
        blocks = f"{len(sizes)} block{'s' * (len(sizes) > 1)} of {' and '.join(map(str, sizes))} keys"
        expect(output.shape == right.shape and normalizer.shape == (2,),
               "Return an output (T, K) and a normalizer (T,), like those of a block.")
        expect(output.isfinite().all() and normalizer.isfinite().all(),
               "exp(800) is infinite. Take the logarithm of the sum by torch.logsumexp, and exp only of differences E - L.")
        if len(sizes) > 1:
            expect(not torch.allclose(output, torch.stack(outputs).mean(0)), "Weight each block by exp(E - L), not all alike.")
            expect(not torch.allclose(output, sum(outputs)), "The weights of the blocks have to sum to 1.")
        expect(torch.allclose(normalizer, all_scores.logsumexp(-1)), f"{blocks}: the joint normalizer is the log of the sum of "
                                                                     "all exp(E), and yours is not.")
        expect(torch.allclose(output, right), f"{blocks}: the output is not that of one softmax over all keys.")
    return "A kernel that reads its keys block by block merges as it goes, and never holds more than one block of scores."


@exercise("14.4")
def same(answer):
    """answer(mine, exact): whether float32 values `mine` equal `exact` (in float64) except for rounding."""
    torch.manual_seed(0)
    B, H, T, M, N, K = 1, 4, 32, 8, 512, 16
    sizes = ((B, H, T, K), (B, H, M + T, K), (B, H, M + T, K), (H, M + 1, K), (H, K), (H, K), (H, N, K), (H, N, K))
    exact = [torch.randn(size, dtype=torch.double) for size in sizes]
    single = [x.float() for x in exact]
    wrong = {"a kernel without the bias w": [*single[:5], 0 * single[5], *single[6:]],
             "a kernel that leaves out one of the 512 persistent vectors": [*single[:6], *(x[:, 1:] for x in single[6:])],
             "a kernel whose distances are off by one": [*single[:3], single[3].roll(1, -2), *single[4:]]}
    for factor in (1.0, 1e-4, 1e4):
        scaled = [*exact[:2], exact[2] * factor, *exact[3:7], exact[7] * factor]
        right, size = reference(*scaled), f"With values of the size {factor:g}"
        mine = reference(*(x.float() for x in scaled))
        expect(isinstance(answer(mine, right), bool | np.bool_ | torch.Tensor), "Return True or False, please.")
        expect(answer(mine, right), f"{size}, you reject a right kernel, which differs only by rounding. Compare an error with "
                                    "the largest value, not with 0 and not with each small value.")
        for name, changed in wrong.items():
            out = reference(*changed[:2], changed[2] * factor, *changed[3:7], changed[7] * factor)
            expect(not answer(out, right), f"{size}, you accept {name}. Rounding in float32 is 6e-8 of a value: "
                                           "how much larger can a few hundred additions make it?")
    return "Relative to the largest value, float32 is accurate to 1e-6 here; these mistakes are a thousand times larger."
