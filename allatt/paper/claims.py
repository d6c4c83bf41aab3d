"""The claims that are judged: the paper's, in its order, and our controls; each with the rule by which it holds here.

The functions of `allatt.paper.rules` carry out the rules, which were fixed on 2026-11-26, before the runs that they judge.
"""

from typing import NamedTuple

from allatt.paper import rivals
from allatt.paper.experiments import UNTRAINED

LEVEL = 0.05
"""A verdict needs a corrected p-value below this (our choice)."""


class Margins(NamedTuple):
    """Differences, in nats per token, that count as no difference (our choice)."""

    models: float = 0.05
    """Between All-attention and Transformer-XL: 5% of the perplexity."""
    ways: float = 0.02
    """Between ways to prune the same model to the same number of heads, which differ less than models: 2% of the perplexity."""


MARGINS = Margins()
UNKNOWN = "not available"


class Claim(NamedTuple):
    """A claim of the paper, its number there, the rule by which it holds here, and the figure that shows it."""

    words: str
    paper: str
    rule: str
    figure: str
    exact: bool = False
    """Follows from counting alone, so it is judged at any scale and with any number of seeds."""
    family: str = ""
    """Claims of one family are corrected together for their number; "" is the family of the claim's digit."""


_MODELS, _WAYS = MARGINS
_GAIN = (f"the mean gain is above {_MODELS} nats per token on both texts; fails if below -{_MODELS}, about equal if within")
_LEFT_OUT = f"without it, the loss at equal heads is higher by more than {_WAYS}; fails if lower by more; about equal if within"
_CONTROL = "no claim of the paper: a control"
_BEAT = f"with both budgets, the rival's loss is higher by more than {_WAYS}; fails if lower by more; about equal if within"
CLAIMS = {
    "1a": Claim("Pruning the heads of a Transformer-XL leaves its feed-forward untouched",
                "about 2/3 of the parameters, 1/2 of the computation",
                "its count does not depend on the heads; both shares within 10 points", "02_cost_of_a_head", True),
    "1b": Claim("On All-attention, parameters and computation fall in proportion to the heads",
                "in proportion (Figure 1)", "what half and none of the heads leave is within 1 point of 50% and 0%",
                "02_cost_of_a_head", True),
    "2a": Claim("Unpruned, the two models are about equal in size", "53.8M each", "less than 1% apart (body)",
                "02_parts", True),
    "2b": Claim("Unpruned, the two models are about equal in perplexity", UNKNOWN,
                f"less than {_MODELS} nats per token apart, on both texts; fails if more", "03_learning_curves"),
    "3a": Claim("At equal parameters, pruned All-attention has the lower perplexity: on average over 10, 20, 30 and 35% of its "
                "heads removed", UNKNOWN, _GAIN, "07_gains", family="primary"),
    "3b": Claim("Pruning costs All-attention less: as 3a, each model from its own control", UNKNOWN, _GAIN, "07_gains"),
    "3c": Claim("As 3a, at every one of these sparsities", UNKNOWN,
                "as 3a at each of them; fails if it fails at one of them (corrected for their number)", "07_gains"),
    "3d": Claim("All-attention at 43% sparsity is about as good as Transformer-XL at 25%", "30.7M against 47.9M",
                f"better, or less than {_MODELS} nats worse; fails if worse by more", "07_perplexity"),
    "4a": Claim("Sparsity-loss warm-up reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4b": Claim("Proper gate initialization reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4c": Claim("Attention-output scaling reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4d": Claim("The three methods stabilize pruning", UNKNOWN,
                "with all three, one of these is better and none worse than without any (corrected for four): layers lost, "
                "late flips, undecided gates, spread of the kept heads over seeds", "06_stability"),
    "4e": Claim("Pruning should start from a converged model", UNKNOWN,
                "gates on random weights, trained for the same total number of steps: as 4a", "06_three_methods"),
    "5a": Claim("Pruning is layer-wise: kept heads differ by layer", "three lists of 16 layers",
                "All-attention's are more uneven than if removed blindly, at each seed's λ nearest to half of them, of two as "
                "near the smaller λ (random throws); fails if less so", "08_kept_heads"),
    "5b": Claim("The same layer is pruned hardest each time", "layer 2 of 16, at each of three λ",
                "seeds order All-attention's layers alike: the mean rank correlation of their kept heads, in models that have "
                "lost 10 to 90%, is above 0 (random orders)", "08_kept_heads"),
    "6a": Claim("Claim 3a for characters (the paper: text8)", UNKNOWN, _GAIN, "12_characters"),
    "6b": Claim("Claim 3a for words, with the adaptive softmax", UNKNOWN, _GAIN, "13_words"),
    "7a": Claim("Learned gates beat the same number of heads per layer, drawn blindly (mean of two draws)", _CONTROL, _BEAT,
                "11_rivals"),
    "7b": Claim("Learned gates beat the same number of heads, spread evenly over the layers", _CONTROL, _BEAT, "11_rivals"),
    "7c": Claim("Learned gates beat gradient importance, one-shot (Michel et al. 2019)", _CONTROL, _BEAT, "11_rivals"),
    "7d": Claim("Learned gates beat removing the top layers' heads first", _CONTROL, _BEAT, "11_rivals"),
    "7e": Claim("Learned gates beat their own final shape, trained from random weights for the same total number of "
                "steps", _CONTROL,
                f"its loss is higher by more than {_WAYS}; fails if lower by more; about equal if within", "11_rivals"),
}
METHODS = {"4a": "no penalty warm-up", "4b": "gates start half open", "4c": "no output scaling", "4e": UNTRAINED}
"""For claims about a training method, what the method is compared with: a name in `experiments.method_comparison`."""
RIVALS = {"7a": ("random heads", "random heads, second draw"), "7b": ("even layers",), "7c": ("gradient importance",),
          "7d": ("top layers first",)}
"""For the controls with both budgets, the criteria whose mean is the rival: names in `criteria.CRITERIA`."""
SCRATCH = {"7e": rivals.SCRATCH}
"""For the control with one budget, the rival's name in `rivals.rivals`."""
