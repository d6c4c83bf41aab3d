"""Exercises of notebook 01: the All-attention layer."""

from functools import cache

import torch

from allatt.course.exercise import exercise, expect
from allatt.course.trained import SENTENCE, trained
from allatt.paper.survivors import attention_on


@cache
def mean_share():
    """The trained model's mean share on persistent vectors, in percent, over all heads and all tokens of the sentence."""
    model, vocabulary, _ = trained("all-attention")
    ids = vocabulary.encode(SENTENCE).tolist()
    return 100 * sum(weights[..., len(ids):].sum(-1).mean().item() for weights in attention_on(model, ids)) / 4


@exercise("1.1")
def share_of_the_sentence(answer):
    """answer: the mean share on persistent vectors in percent, guessed to within 10 points."""
    right, number = mean_share(), isinstance(answer, int | float)
    expect(number and 1 < answer <= 100, "The answer is a number in percent, above 1 and up to 100.")
    expect(answer < 94, f"{answer}% is what heads would give if they weighted all alike: there are 512 vectors, and at most 20 "
                        "tokens. These heads have learned to prefer some tokens.")
    expect(answer < right + 10, "Less: the few tokens are worth more to a head than their number suggests.")
    expect(answer > right - 10, "More: there is no feed-forward, and these vectors do its work.")
    return (f"It is {right:.0f}%. With equal weights it would be 98%: a token gets far more than a vector, but the vectors "
            "together get more than half.")


@exercise("1.2")
def readers(answer):
    """answer(place, T, M): how many queries of a segment see this place of the context (0 is the oldest memory)."""
    for T, M in ((4, 4), (3, 6), (6, 3)):
        ahead = [[M + query - place for query in range(T)] for place in range(M + T)]  # i - j, by place and query
        right = [sum(0 <= d <= M for d in row) for row in ahead]
        found = [answer(place, T, M) for place in range(M + T)]
        for wrong, hint in (([T] * (M + T), "a query does not see all places: only its own and the M before it"),
                            ([sum(d <= M for d in row) for row in ahead], "no query sees the future: query i is at M + i"),
                            ([sum(d >= 0 for d in row) for row in ahead], "a query sees nothing more than M places back"),
                            ([sum(0 <= d < M for d in row) for row in ahead], "a query sees M + 1 places: M and its own"),
                            ([sum(0 < d <= M for d in row) for row in ahead], "a query sees itself, too"),
                            (right[::-1], "reversed: place 0 is the oldest memory, and place M + i is query i's own")):
            expect(found != wrong or wrong == right, f"With T = {T} and M = {M}: {hint}.")
        for place in range(M + T):
            expect(found[place] == right[place], f"With T = {T} and M = {M}, the number of queries that see place {place} is "
                                                 f"{right[place]}; you have {found[place]}. Query i is at place M + i.")
    return ("The oldest memory is read by one query, and later places by more. The last token of a segment is read by itself "
            "alone, until it becomes memory.")


@exercise("1.3")
def reach(answer):
    """answer(L, M, T): how many tokens back a token can be and still change the last layer's output."""
    for L, M, T in ((2, 4, 9), (3, 2, 7), (4, 5, 3)):
        reached = [True] + [False] * (L * (M + T))  # the first token is changed; where does a layer's output change?
        for _ in range(L):
            reached = [any(reached[max(0, i - M):i + 1]) for i in range(len(reached))]
        right = max(i for i, changed in enumerate(reached) if changed)
        found, where = answer(L, M, T), f"With L = {L}, M = {M}, T = {T}"
        expect(found != M, f"{where}: M is the reach of one layer, but what it sees has seen something, too.")
        expect(found != L * (M + 1), f"{where}: the M + 1 places include the query's own, which is no step back.")
        expect(found not in (T, L * T, L * (M + T)), f"{where}: where the text is cut makes no difference, so T cannot matter.")
        expect(found == right, f"{where}: a token changes outputs up to {right} tokens later; you have {found}.")
    return "Each layer adds M: 16 · 192 = 3,072 tokens in the paper's model, though each of its layers looks back only 192."


@exercise("1.4")
def joined(answer):
    """answer(s, t, y, z): the output of one softmax, from the scores (T, C) and (T, N) and outputs (T, K) of two."""
    torch.manual_seed(0)
    s, t = torch.randn(6, 5).double(), torch.randn(6, 40).double()
    v, m = torch.randn(5, 3).double(), torch.randn(40, 3).double()
    y, z, right = s.softmax(-1) @ v, t.softmax(-1) @ m, torch.cat([s, t], -1).softmax(-1) @ torch.cat([v, m])

    def mixed(pi):
        return (1 - pi) * y + pi * z

    def same(one, other):
        return one.shape == other.shape and torch.allclose(one, other)

    found = answer(s, t, y, z)
    expect(isinstance(found, torch.Tensor) and found.shape == right.shape, f"The output is a tensor of {tuple(right.shape)}.")
    exact = t.logsumexp(-1, keepdim=True).sub(s.logsumexp(-1, keepdim=True)).sigmoid()
    expect(not same(found, mixed(1 - exact)), "The two shares are swapped: pi is that of the persistent part.")
    expect(not same(found, y + z) and not same(found, mixed(torch.tensor(0.5))),
           "The two parts are not equal: the weight of each is its sum of exp(score).")
    expect(not same(found, mixed(torch.tensor(40 / 45))), "What counts is not the number of scores, but the sum of exp(score).")
    average = t.exp().mean(-1, keepdim=True) / (t.exp().mean(-1, keepdim=True) + s.exp().mean(-1, keepdim=True))
    expect(not same(found, mixed(average)), "Take sums of exp(score), not means: more vectors get more weight.")
    expect(not same(found, mixed(exact.mean())), "Each query has a share of its own: sum over the last dimension only.")
    expect(same(found, right), "The share pi is the sum of exp(score) over persistent vectors, divided by the sum over "
                               "everything.")
    large = answer(1000 + s, 1000 + t, y, z)
    expect(torch.isfinite(large).all(), "Right until a score is 1,000: then exp overflows. Take logsumexp, and then a sigmoid.")
    expect(same(large, right), "Right, but adding 1,000 to all scores must not change a softmax.")
    return "One softmax over two sets is a mix of two, with a share for each query: sigmoid(logsumexp(t) - logsumexp(s))."
