"""Five sizes of the same experiments: smoke, laptop, overnight, gpu, paper. The source of each value is given.

    smoke      stepping through the notebooks, and CI; too small for any claim
    laptop     `make reproduce` without a GPU: every figure, real text, 15 to 24 minutes on 2 cores
    overnight  the claims on a CPU: longer training, settled gates, all controls, several seeds; a night on 2 cores
    gpu        `make reproduce` with a GPU: the same experiments, larger                       (one seed's sweeps so far)
    paper      the released configuration on WikiText-103                                      (not run yet)

All scales keep the paper's proportions, since its claims follow from proportions: 8 heads of size d / 8, 4 d persistent vectors
(or hidden units of the feed-forward), and a memory as long as the segment. So the feed-forward, which the pruning of heads
cannot touch, is 61.5% of a Transformer-XL body at every size.

Pruning has two phases, except at the paper scale: gates, then consolidation (`Scale.consolidation`).

Each scale but overnight has variants on characters and on words (`variant`): laptop-characters, laptop-words. The paper's own
setting is words, so there is no paper-words: it is paper itself.

lambda weighs a SUM over layers x heads against a mean over tokens, so it does not carry over between scales: each scale has
its own grid, chosen so that the sweep covers light to heavy pruning.
"""

from dataclasses import dataclass, replace

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, DataConfig, GateConfig, ModelConfig, TrainConfig, check


def geometry(width: int, segment: int, **more) -> ModelConfig:
    """An All-attention model in the paper's proportions: 8 heads, d_head = d / 8, N = 4 d, T = M."""
    return ModelConfig(heads=8, d_model=width, d_head=width // 8, persistent=4 * width, feed_forward=4 * width,
                       segment=segment, memory=segment, positions=segment + 1, **more)


def both(train: TrainConfig) -> dict[str, TrainConfig]:
    """The same training for both kinds of models."""
    return dict.fromkeys(KINDS, train)


def each(train: dict[str, TrainConfig], **changes) -> dict[str, TrainConfig]:
    """Both kinds' training with the same changes."""
    return {kind: replace(stage, **changes) for kind, stage in train.items()}


@dataclass(frozen=True)
class Scale:
    """Everything that the experiments need to know about a scale."""

    name: str
    data: DataConfig
    vocab: int
    """Size of the vocabulary of the scale's own corpus (to count parameters without the text)."""
    model: ModelConfig
    """All-attention; `scales.model` derives the Transformer-XL of equal size."""
    baseline: dict[str, TrainConfig]
    """Dense training of each kind of model, from random weights. Only the learning rates differ."""
    prune: TrainConfig
    """Gated training, from the baseline: the first phase of pruning, or the only one."""
    consolidation: TrainConfig | None
    """The second phase: gates frozen, closed heads removed, a falling learning rate. None: one phase, as in the paper."""
    gates: GateConfig
    """Gates with the three training methods; lambda is set by the run."""
    lambdas: dict[str, tuple[float, ...]]
    """The sweep of each kind of model, ascending. The control, lambda 0, is always run too."""
    example: float
    """lambda of the notebooks that use only one (05, 06)."""


# Our choice: a share of 0.6 of the steps for the gates, and of 0.4 for the consolidation.
def two_phases(steps: int, **gated) -> dict[str, TrainConfig]:
    """The two phases of pruning, `steps` in all: at a constant rate, then by cosine down to a tenth of it."""
    first = TrainConfig(steps=steps * 6 // 10, schedule="constant", **gated)
    return {"prune": first, "consolidation": replace(first, steps=steps - first.steps, schedule="cosine")}


# Our choice throughout: just large enough that gates move and all shapes differ; a twelfth of the text is evaluated.
SMOKE = Scale(
    name="smoke", data=DataConfig(vocab_size=500), vocab=500,
    model=geometry(32, 16, layers=2, init="unit", persistent_gain=8.0),
    baseline=both(TrainConfig(steps=40, rows=16, lr=5e-3, warmup=3, evaluated=4096)),
    **two_phases(30, rows=16, lr=1e-3, evaluated=4096),
    gates=GateConfig(clipped=True, penalty_warmup=3, lr=0.4), lambdas=dict.fromkeys(KINDS, (0.03, 0.3)), example=0.03)

# Our choice. Learning rates as at the overnight scale; gates learn faster, so that a logit can move as far: almost 10 in all.
# figures/laptop/README.md says how the lambdas were found: at first on a seed of their own, then changed twice.
LAPTOP = Scale(
    name="laptop", data=DataConfig(vocab_size=2000), vocab=2000,
    model=geometry(128, 64, layers=4, init="unit", persistent_gain=20.0),
    baseline=both(TrainConfig(steps=3000, rows=8, lr=2e-3, warmup=100)), **two_phases(800, rows=8, lr=4e-4),
    gates=GateConfig(clipped=True, penalty_warmup=50, lr=2e-2),
    # Heads of All-attention hold the persistent vectors too, so it takes a larger lambda to close them.
    lambdas={ALL_ATTENTION: (0.025, 0.041, 0.07, 0.13, 0.2), TRANSFORMER_XL: (0.015, 0.03, 0.075, 0.12, 0.2)}, example=0.07)

# Our choice: the laptop's model on a text that is never read twice, longer training, and gates that have time to settle.
# Learning rates, and lambdas at first, were chosen on a seed of their own: figures/overnight/README.md.
OVERNIGHT = Scale(
    name="overnight", data=replace(LAPTOP.data, corpus="wikitext-103"), vocab=2000, model=LAPTOP.model,
    baseline=both(TrainConfig(steps=16_000, rows=8, lr=2e-3, warmup=400)), **two_phases(4000, rows=8, lr=4e-4),
    gates=GateConfig(clipped=True, penalty_warmup=240, lr=4e-3),
    lambdas={ALL_ATTENTION: (0.045, 0.055, 0.065, 0.08, 0.11, 0.16, 0.3),
             TRANSFORMER_XL: (0.012, 0.02, 0.035, 0.07, 0.1, 0.14, 0.3, 0.4, 0.6)}, example=0.11)

# Our choice: a body of 27M parameters, in bf16, sized for minutes of one GPU. The gates' learning rate lets a logit move as
# far as at the overnight scale, 9 in all. Learning rate and lambdas were chosen on the GPU: figures/gpu/README.md.
GPU = Scale(
    name="gpu", data=DataConfig(corpus="wikitext-103", vocab_size=8000), vocab=8000,
    model=geometry(512, 192, layers=8, init="unit", persistent_gain=20.0),
    baseline=both(TrainConfig(steps=2600, rows=64, lr=2e-3, warmup=200, weight_decay=0.01, precision="bf16")),
    **two_phases(640, rows=64, lr=2e-4, precision="bf16"),
    gates=GateConfig(clipped=True, penalty_warmup=38, lr=2.4e-2),
    lambdas={ALL_ATTENTION: (0.01, 0.02, 0.025, 0.028, 0.04),
             TRANSFORMER_XL: (0.0019, 0.0037, 0.0075, 0.015, 0.03, 0.06, 0.12, 0.24)}, example=0.025)

# The released configuration; differences are marked. Not run yet.
EPOCH = 2800  # steps of 192 x 192 tokens in one pass over WikiText-103's 103,227,021
PAPER = Scale(
    name="paper", data=DataConfig(corpus="wikitext-103", tokens="words", vocab_size=0), vocab=267_735,
    # The paper: 16 layers, 8 heads, d 512, d_h 64, N 2048, T = M = 192 (all defaults); released code: the rest.
    model=ModelConfig(cutoffs=(20_000, 40_000, 200_000), drop_attention=0.2, drop_projection=0.1, drop_input=0.1,
                      drop_output=0.1, drop_word=0.1),
    # Released code: LAMB, 0.01 to 0.001 by cosine, 20 epochs, the first one warm-up, clip 0.5. fp16 there, bf16 here.
    baseline=both(TrainConfig(steps=20 * EPOCH, rows=192, optimizer="lamb", lr=0.01, warmup=EPOCH, precision="bf16")),
    # Released code: LAMB, constant 1e-4, betas 0.9 and 0.999, no weight decay, 10 to 20 epochs, in one phase.
    prune=TrainConfig(steps=10 * EPOCH, rows=192, optimizer="lamb", lr=1e-4, schedule="constant", precision="bf16"),
    consolidation=None,
    # Released code: lambda rises over one epoch, gates learn at 10 x lr and are clipped with the weights.
    gates=GateConfig(clipped=True, penalty_warmup=EPOCH, lr=1e-3),
    lambdas=dict.fromkeys(KINDS, (0.005, 0.01, 0.015, 0.02, 0.03)), example=0.02)

CHARACTERS = DataConfig("text8-like", tokens="characters", vocab_size=0)
TEXT8 = replace(CHARACTERS, corpus="text8")
WORDS = DataConfig("wikitext-2", tokens="words", vocab_size=0, min_count=3)
"""Words seen once or twice are <unk>, as when WikiText was made: WikiText-2 itself loses none by this."""

# Our choice throughout.
SMOKE_CHARACTERS = replace(SMOKE, name="smoke-characters", data=CHARACTERS, vocab=27,
                           model=geometry(32, 32, layers=2, init="unit", persistent_gain=8.0))

# Our choice: the laptop's models and recipe. Lambdas were chosen on a seed of their own: figures/laptop/README.md.
LAPTOP_CHARACTERS = replace(
    LAPTOP, name="laptop-characters", data=CHARACTERS, vocab=27, example=0.12,
    lambdas={ALL_ATTENTION: (0.037, 0.049, 0.063, 0.074, 0.12), TRANSFORMER_XL: (0.03, 0.06, 0.12, 0.24, 0.33, 0.48)})

# Our choice: text8 itself, the gpu scale's models with a longer segment, and as many characters per step as gpu has tokens.
# Not run yet.
GPU_CHARACTERS = replace(
    GPU, name="gpu-characters", data=TEXT8, vocab=27, model=replace(GPU.model, segment=512, memory=512, positions=513),
    baseline=each(GPU.baseline, rows=24), prune=replace(GPU.prune, rows=24),
    consolidation=replace(GPU.consolidation, rows=24))

# Released code: text8, 12 layers, T = 512. The rest is not known; we keep the values for words. Not run yet.
TEXT8_EPOCH = 915  # steps of 192 x 512 characters in one pass over the 90 million
PAPER_CHARACTERS = replace(
    PAPER, name="paper-characters", data=TEXT8, vocab=27,
    model=replace(PAPER.model, layers=12, segment=512, memory=512, positions=513, cutoffs=()),
    baseline=each(PAPER.baseline, steps=20 * TEXT8_EPOCH, warmup=TEXT8_EPOCH),
    prune=replace(PAPER.prune, steps=10 * TEXT8_EPOCH), gates=replace(PAPER.gates, penalty_warmup=TEXT8_EPOCH))

# Our choice throughout: the built-in text, with cutoffs so low that every band of the softmax is used.
SMOKE_WORDS = replace(
    SMOKE, name="smoke-words", data=replace(WORDS, corpus="wikipedia-excerpt", vocab_size=4000), vocab=4000,
    model=replace(SMOKE.model, cutoffs=(200, 1000)), lambdas=dict.fromkeys(KINDS, (0.03, 0.1)))

# WikiText-2, the small sibling of the paper's WikiText-103. Our choice throughout, lambdas as for characters. At the laptop's
# own rate of pruning, controls end 0.11 above their baselines: figures/laptop/README.md says how this rate was chosen and when.
LAPTOP_WORDS = replace(
    LAPTOP, name="laptop-words", data=WORDS, vocab=33_278, model=replace(LAPTOP.model, cutoffs=(2000, 10_000)), example=0.02,
    **two_phases(800, rows=8, lr=1e-4),
    lambdas={ALL_ATTENTION: (0.01, 0.013, 0.017, 0.02, 0.04), TRANSFORMER_XL: (0.01, 0.024, 0.057, 0.09, 0.16, 0.3)})

# The gpu scale's models on the paper's words, with its text and cutoffs. Not run yet.
GPU_WORDS = replace(
    GPU, name="gpu-words", data=PAPER.data, vocab=PAPER.vocab, model=replace(GPU.model, cutoffs=PAPER.model.cutoffs))

_MAIN = (SMOKE, LAPTOP, OVERNIGHT, GPU, PAPER)
_VARIANTS = (SMOKE_CHARACTERS, LAPTOP_CHARACTERS, GPU_CHARACTERS, PAPER_CHARACTERS, SMOKE_WORDS, LAPTOP_WORDS, GPU_WORDS)
NAMES = tuple(scale.name for scale in _MAIN)
"""The five scales. Runs and figures of a variant belong to its scale."""
SCALES = {scale.name: scale for scale in _MAIN + _VARIANTS}


def get(name: str) -> Scale:
    """The scale or variant of this name."""
    check(name in SCALES, f"scale is {name!r}; choose one of {', '.join(NAMES)}, or a variant such as laptop-characters or "
                          "laptop-words")
    return SCALES[name]


def variant(name: str, tokens: str) -> str:
    """The name of a scale's variant on "characters" or "words"."""
    have = [scale for scale in NAMES if f"{scale}-characters" in SCALES]
    check(name in have, f"scale is {name!r}; only {', '.join(have)} have variants")
    check(tokens in ("characters", "words"), f"tokens is {tokens!r}; there are variants for characters and words")
    return name if SCALES[name].data.tokens == tokens else f"{name}-{tokens}"


def resolve(name: str, variants: bool = False) -> str:
    """`name`, with "auto" replaced: gpu if torch sees a GPU, else laptop. `variants`: whether variants are allowed."""
    if name != "auto":
        check(variants or name not in SCALES or name in NAMES,
              f"scale is {name!r}, a variant for single runs; choose one of {', '.join(NAMES)}")
        get(name)  # checks it
        return name
    import torch  # only "auto" needs it

    return "gpu" if torch.cuda.is_available() else "laptop"


def model(name: str, kind: str) -> ModelConfig:
    """The unpruned model of a scale. Transformer-XL has one hidden unit per persistent vector of All-attention (the paper)."""
    check(kind in KINDS, f"model is {kind!r}; choose one of {', '.join(KINDS)}")
    ours = get(name).model
    return ours if kind == ALL_ATTENTION else replace(ours, kind=TRANSFORMER_XL, feed_forward=ours.persistent)


def vocab(name: str) -> int:
    """Size of the vocabulary of the scale's own corpus."""
    return get(name).vocab
