"""Made-up points and measurements, in which every claim holds.

Both models have 5 layers of 4 heads and a body of 200 parameters. All-attention loses 10 of them with each head,
Transformer-XL 5: at equal parameters it has twice the sparsity. Their losses rise from 5.0 on straight lines, by 0.4 and by 0.8
for all heads. So All-attention gains 1.2 times its sparsity: 0.285 in the mean over `curves.SPARSITIES`.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import sqrt

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL
from allatt.paper import experiments
from allatt.paper.claims import METHODS, RIVALS, SCRATCH
from allatt.paper.measurements import Measurements, SeedResults, count
from allatt.paper.points import Point
from allatt.paper.rivals import GATES, LATE

NOISE = (0.0, 0.004, -0.004, 0.002, -0.002)
"""What the seeds add to a loss."""
TEXTS = ("test_loss", "valid_loss")


def some_point(**values) -> Point:
    """A point with these values; the others are 0 or empty."""
    numbers = ("heads", "of", "sparsity", "body_parameters", "body_multiply_adds", *(
        f"{split}_{key}" for split in ("valid", "test") for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte")))
    empty = {"run": "", "name": "", "kind": ALL_ATTENTION, "seed": 0, "lam": None, "target": None, "per_layer": []}
    return Point(**empty | dict.fromkeys(numbers, 0) | values)


def pruned_point(kind, kept, loss, lam=None, of=8, seed=0, **more) -> Point:
    """A model with `kept` heads: a list by layer, or their number, in layers of 4 that are pruned from the top.

    The validation text costs 0.1 more than the test text.
    """
    per_layer = [min(4, max(0, kept - below)) for below in range(0, of, 4)] if isinstance(kept, int) else kept
    heads = sum(per_layer)
    return some_point(
        run=f"{kind}-{seed}-{lam}-{per_layer}-{loss}", kind=kind, seed=seed, lam=lam, heads=heads, of=of, per_layer=per_layer,
        sparsity=1 - heads / of, body_parameters=10 * heads if kind == ALL_ATTENTION else 5 * (heads + of),
        test_loss=loss, valid_loss=loss + 0.1, **more)


def ours(kept, loss, lam=None, **more) -> Point:
    """All-attention of 5 layers of 4 heads."""
    return pruned_point(ALL_ATTENTION, kept, loss, lam, of=20, **more)


def theirs(kept, loss, lam=None, **more) -> Point:
    """Transformer-XL of 5 layers of 4 heads."""
    return pruned_point(TRANSFORMER_XL, kept, loss, lam, of=20, **more)


def shifted(point: Point, by: float, texts: Iterable[str] = TEXTS) -> Point:
    """The point with a loss that is higher by this, on these texts."""
    return replace(point, run=f"{point.run}{by:+}", **{text: getattr(point, text) + by for text in texts})


def seed_results(seed, noise) -> SeedResults:
    """Measurements of a seed in which every claim holds."""
    def made(kind, *kept_loss_lambda, **more):
        return [kind(kept, loss, lam, seed=seed, **more) for kept, loss, lam in kept_loss_lambda]

    sweeps = {
        ALL_ATTENTION: made(ours, (20, 5.0, 0.0), (16, 5.08, 0.1), (10, 5.2, 0.2), (5, 5.3, 0.3)),
        TRANSFORMER_XL: made(theirs, (20, 5.0, 0.0), (10, 5.4 + noise, 0.1), (0, 5.8 + noise, 0.2))}
    worse, = made(ours, (10, 5.3 + noise, 0.2), flips=4 + seed % 2, undecided=3, lost=1)
    methods = dict.fromkeys((*experiments.TRAINING_METHODS, experiments.UNTRAINED), worse)
    methods["all three"] = replace(sweeps[ALL_ATTENTION][2], flips=0, undecided=3, lost=1)
    gates, rival = made(ours, (14, 5.12, None), (14, 5.17 + noise, None))
    rivals = {name + budget: rival for names in RIVALS.values() for name in names for budget in ("", LATE)}
    return SeedResults(
        seed=seed, sweeps=sweeps, methods=methods,
        baselines={ALL_ATTENTION: ours(20, 5.0 + noise, seed=seed), TRANSFORMER_XL: theirs(20, 5.0, seed=seed)},
        rivals=rivals | dict.fromkeys(SCRATCH.values(), rival) | {GATES: gates},
        characters=dict(sweeps), words=dict(sweeps))


def measurements(seeds=5, scale="laptop", change=None) -> Measurements:
    """As if from the laptop scale; `change(results)` alters each seed's dictionaries in place."""
    results = [seed_results(seed, NOISE[seed]) for seed in range(seeds)]
    for result in results:
        if change is not None:
            change(result)
    return Measurements(
        scale=scale, folder=f"{scale}-{seeds}seeds", single=scale, heads=4, seeds=results,
        counts={kind: count("paper", kind) for kind in KINDS}, corpora={"characters": "text8-like", "words": "wikitext-2"})


# Distances, as a test wants them

MEAN_GAINS = ("3a", "3b", "6a", "6b")
AGAINST = (*METHODS, *RIVALS, *SCRATCH)
"""Claims on a loss against that of the gates, or of all three methods."""
THREE_WAY = (*MEAN_GAINS, *AGAINST)
ERROR = sqrt(0.00001 / 5)
"""Standard error of a mean whose seeds differ by NOISE."""


def losses(expected, by, noise, seed):
    """The two losses of a point: above the expected ones by a number, or by one for each text, plus the seed's noise."""
    by_test, by_valid = by if isinstance(by, tuple) else (by, by)
    return {"test_loss": expected + by_test + noise[0] * NOISE[seed],
            "valid_loss": expected + 0.1 + by_valid + noise[1] * NOISE[seed]}


def set_gains(gains, noise=(1, 1), control=5.0, sweeps="sweeps"):
    """A change: All-attention's gains at 10, 20, 30 and 35% are these, plus noise.

    From their own controls, gains are smaller by as much as Transformer-XL's control is above 5.
    """
    def change(results):
        points = [theirs(20, control, 0.0, seed=results.seed)]
        for heads, loss, gain in zip((16, 12, 8, 6), (5.04, 5.08, 5.12, 5.14), gains, strict=True):
            point = theirs(heads, loss, 0.01 * heads, seed=results.seed)
            points.append(replace(point, **losses(loss, gain, noise, results.seed)))
        getattr(results, sweeps)[TRANSFORMER_XL] = points
    return change


def set_against(by, noise=(1, 1), only=AGAINST):
    """A change: what the gates and the three methods are compared with has a loss that is higher by this, plus noise."""
    names = {**{number: [name] for number, name in (METHODS | SCRATCH).items()},
             **{number: [name + budget for name in names for budget in ("", LATE)] for number, names in RIVALS.items()}}

    def change(results):
        for number in only:
            group, expected = (results.methods, 5.2) if number in METHODS else (results.rivals, 5.12)
            group |= {name: replace(group[name], **losses(expected, by, noise, results.seed)) for name in names[number]}
    return change


def set_three_way(models, ways, noise=(1, 1)):
    """A change of all claims of THREE_WAY at once."""
    def change(results):
        for sweeps in ("sweeps", "characters", "words"):
            set_gains([models] * 4, noise, sweeps=sweeps)(results)
        set_against(ways, noise)(results)
    return change
