"""Made-up points and measurements, in which every claim holds but 5b."""

from dataclasses import replace

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL
from allatt.paper import claims, experiments
from allatt.paper.measurements import Measurements, SeedResults, count
from allatt.paper.points import Point

NOISE = (0.0, 0.004, -0.004, 0.002, -0.002)
"""What the seeds add to a loss."""


def some_point(**values) -> Point:
    """A point with these values; the others are 0 or empty."""
    numbers = ("heads", "of", "sparsity", "body_parameters", "body_multiply_adds", *(
        f"{split}_{key}" for split in ("valid", "test") for key in ("loss", "perplexity", "word_perplexity", "bits_per_byte")))
    empty = {"run": "", "name": "", "kind": ALL_ATTENTION, "seed": 0, "lam": None, "target": None, "per_layer": []}
    return Point(**empty | dict.fromkeys(numbers, 0) | values)


def pruned_point(kind, kept, loss, lam=None, of=8, layers=2, **more) -> Point:
    """A model with `kept` heads: All-attention loses 10 parameters per head, Transformer-XL 5."""
    per_layer = [min(kept, 4), max(kept - 4, 0)] if isinstance(kept, int) else kept
    heads = sum(per_layer)
    return some_point(
        run=f"{kind}-{lam}-{heads}-{loss}", kind=kind, lam=lam, heads=heads, of=of, per_layer=per_layer,
        sparsity=1 - heads / of, body_parameters=(10 if kind == ALL_ATTENTION else 5) * heads + 40 * (kind == TRANSFORMER_XL),
        test_loss=loss, **more)


def seed_results(seed, noise) -> SeedResults:
    """Measurements of a seed in which every claim holds."""
    def ours(kept, loss, lam=None, **more):
        return pruned_point(ALL_ATTENTION, kept, loss, lam, **more)

    sweeps = {
        ALL_ATTENTION: [ours(8, 5.0 + noise, 0.0), ours([4, 2], 5.1 + noise, 0.1), ours([4, 0], 5.2, 0.2),
                        ours([2, 0], 5.4, 0.3)],
        TRANSFORMER_XL: [pruned_point(TRANSFORMER_XL, 8, 5.0, 0.0), pruned_point(TRANSFORMER_XL, 4, 5.4, 0.1),
                         pruned_point(TRANSFORMER_XL, 0, 5.8 - noise, 0.2)]}
    unstable = {"flips": 3, "lost": 1}
    methods = {name: ours(4, 5.3 + noise, 0.2, **unstable) for name in (*experiments.TRAINING_METHODS, experiments.UNTRAINED)}
    methods["all three"] = replace(sweeps[ALL_ATTENTION][2], **unstable)
    methods["none of the three"] = ours((1, 6, 8, 2, 7)[seed], 5.3, 0.2, **unstable)
    rivals = {name: ours(4, 5.3 + noise) for name in claims.RIVALS.values()}
    return SeedResults(
        seed=seed, baselines={ALL_ATTENTION: ours(8, 5.1 + noise), TRANSFORMER_XL: pruned_point(TRANSFORMER_XL, 8, 5.1)},
        sweeps=sweeps, methods=methods, rivals=rivals | {experiments.GATES: ours(4, 5.2)},
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
