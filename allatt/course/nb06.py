"""Exercises of notebook 06: the three training methods."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np

from allatt.config import GateConfig
from allatt.course import overnight
from allatt.course.exercise import exercise, expect
from allatt.gates import HeadGates

LEFT_OUT = {"warm-up": "no penalty warm-up", "initialization": "gates start half open", "scaling": "no output scaling"}


@exercise("6.1")
def matters_most(answer):
    """answer: "warm-up", "initialization" or "scaling": which costs most to leave out, at the overnight scale."""
    expect(answer in LEFT_OUT, f"Choose one of {', '.join(LEFT_OUT)}.")
    whole = overnight.test_loss(overnight.METHODS["all three"])
    costs = {name: overnight.test_loss(overnight.METHODS[variant]) - whole for name, variant in LEFT_OUT.items()}
    most = max(costs, key=lambda name: costs[name])
    expect(answer == most, f"A good guess, but not the result: without {answer}, the test loss changed by "
                           f"{costs[answer]:+.3f} nats. Which of the others, if left out, could be more of a shock?")
    return ("Leaving one out changed the test loss (" + ", ".join(f"{name}: {cost:+.3f}" for name, cost in costs.items())
            + " nats) at the same lambda, in one seed. One model kept fewer heads: section 4 says what that does to the "
            "comparison.")


@exercise("6.2")
def norm_factor(answer):
    """answer(k, H, rho): the factor that keeps the norm of the sum if k of H heads are open, all of norm 1 and cosine rho."""
    for heads, k, rho in ((8, 4, 1.0), (8, 4, 0.0), (8, 2, 0.3), (6, 5, 0.5)):
        gram = (1 - rho) * np.eye(heads) + rho * np.ones((heads, heads)) + 1e-12 * np.eye(heads)
        vectors = np.linalg.cholesky(gram)  # rows of length 1 with these cosines
        norms = [np.linalg.norm(vectors[list(some)].sum(0)) for some in combinations(range(heads), k)]
        right, found = np.linalg.norm(vectors.sum(0)) / np.mean(norms), float(answer(k, heads, rho))
        case = f"{k} of {heads} heads, cosine {rho:g}: the sum must be multiplied by {right:.3f}; you have {found:.3f}"
        _expect_number(found, right, case, {
            "The sum shrinks, so the factor is above 1.": 1 / right,
            "H / k keeps the mean, but it keeps the norm only if all heads point the same way.": heads / k,
            "That is for right angles: add the products of different heads.": (heads / k) ** 0.5,
            "A norm is the root of the sum of products.": right ** 2,
        }, "Of the products of k heads, k are 1, and k (k - 1) are rho.", 1e-4)
    return ("It is between root(H / k) and H / k. The paper's factor, H / k, is the largest of these: it is too large whenever "
            "heads differ in direction, and the fewer are open, the larger the excess.")


@exercise("6.3")
def split(answer):
    """answer(p, whole, curve): (by other heads, by the method): the two parts of p's loss above that of `whole`."""
    curve = [SimpleNamespace(heads=heads, test_loss=loss) for heads, loss in ((32, 3.8), (24, 3.9), (16, 4.1), (8, 4.5))]
    whole = curve[2]
    for heads, loss in ((12, 4.4), (20, 4.05), (16, 4.2)):
        right = float(np.interp(heads, [8, 16, 24, 32], [4.5, 4.1, 3.9, 3.8])) - whole.test_loss
        parts = answer(SimpleNamespace(heads=heads, test_loss=loss), whole, curve)
        expect(isinstance(parts, tuple | list) and len(parts) == 2, "Return two numbers.")
        first, second = map(float, parts)
        case = f"A model with {heads} heads and loss {loss:g}, where all three methods have 16 and 4.1"
        total = loss - whole.test_loss
        expect(abs(first - second) < 1e-6 or abs(first - (total - right)) > 1e-6 or abs(second - right) > 1e-6,
               f"{case}: the two parts are swapped; other heads come first.")
        expect(abs(first + right) > 1e-6 or abs(right) < 1e-6, f"{case}: the first part has the wrong sign; it is the curve "
                                                               "at this model's heads minus the loss of all three.")
        expect(abs(first + second - total) < 1e-6, f"{case}: your parts add up to {first + second:.3f}, not to {total:.3f}.")
        expect(abs(first - right) < 1e-6, f"{case}: read the curve at this model's heads; it differs by {right:+.3f} there.")
    return "Only the second part says something about the method: another lambda could produce the first part, or avoid it."


@exercise("6.4")
def share_of_the_pull(answer):
    """answer(W, T): sum of lambda(t) over T steps with a warm-up of W, relative to the same without warm-up (W <= T)."""
    for warmup, steps in ((240, 2400), (1, 10), (4, 10), (10, 10)):
        gates = HeadGates(GateConfig(lam=1.0, penalty_warmup=warmup), 1, 1)
        right = sum(gates.lambda_at(step, steps) for step in range(steps)) / steps
        found = float(answer(warmup, steps))
        case = f"W = {warmup}, T = {steps}: the sum is {right:.4f} of that without warm-up; you have {found:.4f}"
        _expect_number(found, right, case, {
            "In the warm-up, the penalty is not absent; it is half as strong on average.": 1 - warmup / steps,
            "Nearly: the first step already has lambda / W, not 0.": 1 - warmup / (2 * steps),
            "That is the part that is missing.": 1 - right,
        }, "Add (t + 1) / W over the first W steps, and 1 over the others.", 1e-9)
    return ("1 - (W - 1) / (2 T): 95% at the overnight scale. Less pull is a small part of what a warm-up does, but a real "
            "one: over ten lambdas, it keeps 85 features instead of 82.")


def _expect_number(found, right, case, wrong, otherwise, tolerance):
    """Accept the right number, or give the hint of the typical mistake that leads to this one."""
    if abs(found - right) > tolerance:
        for hint, value in wrong.items():
            expect(abs(found - value) > tolerance, f"{case}. {hint}")
        expect(False, f"{case}. {otherwise}")
