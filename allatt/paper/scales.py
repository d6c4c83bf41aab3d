"""Four sizes of the same experiments: smoke, laptop, gpu, paper. The source of each value is given.

    smoke     stepping through the notebooks, and CI; too small for any claim
    laptop    `make reproduce` without a GPU: every figure, real text, 20 minutes on 2 cores
    gpu       `make reproduce` with a GPU: the same experiments, larger                       (not run yet)
    paper     the released configuration on WikiText-103                                      (not run yet)

Each scale has variants on characters and on words (`variant`): laptop-characters, laptop-words. The paper's own setting is
words, so there is no paper-words: it is paper itself.

lambda weighs a SUM over layers x heads against a mean over tokens, so it does not carry over between scales: each scale has
its own grid, chosen so that the sweep covers light to heavy pruning.
"""

from dataclasses import dataclass, replace

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, DataConfig, GateConfig, ModelConfig, TrainConfig, check


@dataclass(frozen=True)
class Scale:
    """Everything that the experiments need to know about a scale."""

    name: str
    data: DataConfig
    vocab: int
    """Size of the vocabulary of the scale's own corpus (to count parameters without the text)."""
    model: ModelConfig
    """All-attention; `scales.model` derives the Transformer-XL of equal size."""
    baseline: TrainConfig
    """Dense training, from random weights."""
    prune: TrainConfig
    """Gated training, from the baseline."""
    gates: GateConfig
    """Gates with the three training methods; lambda is set by the run."""
    lambdas: dict[str, tuple[float, ...]]
    """The sweep of each kind of model, ascending. The control, lambda 0, is always run too."""
    example: float
    """lambda of the notebooks that use only one (05, 06)."""


# Our choice throughout: just large enough that gates move and all shapes differ.
SMOKE = Scale(
    name="smoke", data=DataConfig(vocab_size=500), vocab=500,
    model=ModelConfig(layers=2, heads=4, d_model=32, d_head=8, persistent=32, segment=16, memory=16, positions=17,
                      init="unit", persistent_gain=8.0),
    baseline=TrainConfig(steps=60, rows=16, lr=5e-3, warmup=5),
    prune=TrainConfig(steps=30, rows=16, lr=1e-3, schedule="constant"),
    gates=GateConfig(penalty_warmup=5, lr=0.25), lambdas=dict.fromkeys(KINDS, (0.03, 0.3)), example=0.03)

# Our choice: of the settings we tried, the one whose two baselines are closest (notebook 03, README).
LAPTOP = Scale(
    name="laptop", data=DataConfig(vocab_size=2000), vocab=2000,
    model=ModelConfig(layers=4, heads=8, d_model=128, d_head=16, persistent=128, segment=64, memory=64, positions=65,
                      init="unit", persistent_gain=20.0),
    baseline=TrainConfig(steps=1800, rows=16, lr=4e-3, warmup=50),
    prune=TrainConfig(steps=400, rows=16, lr=5e-4, schedule="constant"), gates=GateConfig(penalty_warmup=100, lr=2e-2),
    # Heads of All-attention hold the persistent vectors too, so it takes a larger lambda to close them.
    lambdas={ALL_ATTENTION: (0.03, 0.05, 0.07, 0.1, 0.15, 0.25), TRANSFORMER_XL: (0.01, 0.02, 0.04, 0.07, 0.12, 0.2)},
    example=0.07)

# Our choice: a body of about 19M parameters, in bf16. Not run yet: its lambdas are a first guess.
GPU = Scale(
    name="gpu", data=DataConfig(corpus="wikitext-103", vocab_size=8000), vocab=8000,
    model=ModelConfig(layers=8, heads=8, d_model=512, d_head=64, persistent=1024, segment=192, memory=192, positions=193,
                      init="unit", persistent_gain=20.0, drop_attention=0.1, drop_projection=0.1),
    baseline=TrainConfig(steps=6000, rows=64, lr=1e-3, warmup=300, weight_decay=0.01, precision="bf16"),
    prune=TrainConfig(steps=1500, rows=64, lr=2e-4, schedule="constant", precision="bf16"),
    gates=GateConfig(penalty_warmup=200, lr=5e-3), lambdas=dict.fromkeys(KINDS, (0.005, 0.01, 0.02, 0.04, 0.08)), example=0.02)

# The released configuration; differences are marked. Not run yet.
EPOCH = 2800  # steps of 192 x 192 tokens in one pass over WikiText-103's 103,227,021
PAPER = Scale(
    name="paper", data=DataConfig(corpus="wikitext-103", tokens="words", vocab_size=0), vocab=267_735,
    # The paper: 16 layers, 8 heads, d 512, d_h 64, N 2048, T = M = 192 (all defaults); released code: the rest.
    model=ModelConfig(cutoffs=(20_000, 40_000, 200_000), drop_attention=0.2, drop_projection=0.1, drop_input=0.1,
                      drop_output=0.1, drop_word=0.1),
    # Released code: LAMB, 0.01 to 0.001 by cosine, 20 epochs, the first one warm-up, clip 0.5. fp16 there, bf16 here.
    baseline=TrainConfig(steps=20 * EPOCH, rows=192, optimizer="lamb", lr=0.01, warmup=EPOCH, precision="bf16"),
    # Released code: constant 1e-4, 10 to 20 epochs, no weight decay. AdamW is our choice: their optimizer is not known.
    prune=TrainConfig(steps=10 * EPOCH, rows=192, lr=1e-4, schedule="constant", precision="bf16"),
    gates=GateConfig(penalty_warmup=EPOCH, lr=1e-3),  # released code: lambda rises over one epoch, gates learn at 10 x lr
    lambdas=dict.fromkeys(KINDS, (0.005, 0.01, 0.015, 0.02, 0.03)), example=0.02)

CHARACTERS = DataConfig("text8-like", tokens="characters", vocab_size=0)
TEXT8 = replace(CHARACTERS, corpus="text8")
WORDS = DataConfig("wikitext-2", tokens="words", vocab_size=0, min_count=3)
"""Words seen once or twice are <unk>, as when WikiText was made: WikiText-2 itself loses none by this."""

# Our choice throughout.
SMOKE_CHARACTERS = replace(
    SMOKE, name="smoke-characters", data=CHARACTERS, vocab=27,
    model=replace(SMOKE.model, segment=32, memory=32, positions=33))

# Our choice. Half the rows of laptop: 1,200 steps of 512 characters got about as far as 800 of 1,024 (tried once).
LAPTOP_CHARACTERS = replace(
    LAPTOP, name="laptop-characters", data=CHARACTERS, vocab=27,
    baseline=replace(LAPTOP.baseline, steps=1000, rows=8), prune=replace(LAPTOP.prune, steps=200, rows=8),
    gates=replace(LAPTOP.gates, penalty_warmup=50), example=0.12,
    lambdas={ALL_ATTENTION: (0.06, 0.12, 0.22, 0.4), TRANSFORMER_XL: (0.03, 0.07, 0.12, 0.25)})

# Our choice: text8 itself, the gpu scale's models with a longer segment, and as many characters per step as it has tokens.
# Not run yet.
GPU_CHARACTERS = replace(
    GPU, name="gpu-characters", data=TEXT8, vocab=27, model=replace(GPU.model, segment=512, memory=512, positions=513),
    baseline=replace(GPU.baseline, rows=24), prune=replace(GPU.prune, rows=24))

# Released code: text8, 12 layers, T = 512. The rest is not known; we keep the values for words. Not run yet.
TEXT8_EPOCH = 915  # steps of 192 x 512 characters in one pass over the 90 million
PAPER_CHARACTERS = replace(
    PAPER, name="paper-characters", data=TEXT8, vocab=27,
    model=replace(PAPER.model, layers=12, segment=512, memory=512, positions=513, cutoffs=()),
    baseline=replace(PAPER.baseline, steps=20 * TEXT8_EPOCH, warmup=TEXT8_EPOCH),
    prune=replace(PAPER.prune, steps=10 * TEXT8_EPOCH), gates=replace(PAPER.gates, penalty_warmup=TEXT8_EPOCH))

# Our choice throughout: the built-in text, with cutoffs so low that every band of the softmax is used.
SMOKE_WORDS = replace(
    SMOKE, name="smoke-words", data=replace(WORDS, corpus="wikipedia-excerpt", vocab_size=4000), vocab=4000,
    model=replace(SMOKE.model, cutoffs=(200, 1000)), lambdas=dict.fromkeys(KINDS, (0.03, 0.1)))

# WikiText-2, the small sibling of the paper's WikiText-103. Our choice throughout. Chosen on seed 0: the learning rate of
# pruning (of 1e-4, 2e-4 and 5e-4, the one at which All-attention's control stays as good as its baseline), and lambdas that,
# at this rate, keep 27 to about 7 heads.
LAPTOP_WORDS = replace(
    LAPTOP, name="laptop-words", data=WORDS, vocab=33_278, model=replace(LAPTOP.model, cutoffs=(2000, 10_000)),
    baseline=replace(LAPTOP.baseline, steps=800, rows=8), prune=replace(LAPTOP.prune, steps=200, rows=8, lr=1e-4),
    gates=replace(LAPTOP.gates, penalty_warmup=50), lambdas=dict.fromkeys(KINDS, (0.01, 0.02, 0.03, 0.05)), example=0.02)

# The gpu scale's models on the paper's words, with its text and cutoffs. Not run yet.
GPU_WORDS = replace(
    GPU, name="gpu-words", data=PAPER.data, vocab=PAPER.vocab, model=replace(GPU.model, cutoffs=PAPER.model.cutoffs))

_MAIN = (SMOKE, LAPTOP, GPU, PAPER)
_VARIANTS = (SMOKE_CHARACTERS, LAPTOP_CHARACTERS, GPU_CHARACTERS, PAPER_CHARACTERS, SMOKE_WORDS, LAPTOP_WORDS, GPU_WORDS)
NAMES = tuple(scale.name for scale in _MAIN)
"""The four scales. Runs and figures of a variant belong to its scale."""
SCALES = {scale.name: scale for scale in _MAIN + _VARIANTS}


def get(name: str) -> Scale:
    """The scale or variant of this name."""
    check(name in SCALES, f"scale is {name!r}; choose one of {', '.join(NAMES)}, or a variant such as laptop-characters or "
                          "laptop-words")
    return SCALES[name]


def variant(name: str, tokens: str) -> str:
    """The name of a scale's variant on "characters" or "words"."""
    check(name in NAMES, f"scale is {name!r}; only {', '.join(NAMES)} have variants")
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
