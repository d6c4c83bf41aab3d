"""The claims that are judged: the paper's, in its order, and our controls; each with the rule by which it holds here.

The functions of `allatt.paper.rules` carry out these rules.
"""

from typing import NamedTuple

from allatt.paper.experiments import UNTRAINED

LEVEL = 0.05
"""A verdict's corrected p-value is below this (our choice)."""
ABOUT = 0.05
"""Nats per token that still count as about equal: 5% of the perplexity (our choice)."""
UNKNOWN = "not available"


class Claim(NamedTuple):
    """A claim of the paper, its number there, the rule by which it holds here, and the figure that shows it."""

    words: str
    paper: str
    rule: str
    figure: str
    exact: bool = False
    """Follows from counting alone, so it is judged at any scale and with any number of seeds."""


_LEFT_OUT = "otherwise, the loss at equal heads is higher; fails where it is lower"
_EQUAL = "lower at 10%, 20%, 30% ... of the heads removed, as far as all seeds reach; fails where it is higher at one of them"
_CONTROL = "no claim of the paper: a control"
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
                f"less than {ABOUT} nats a token apart (two one-sided tests); fails where more", "03_learning_curves"),
    "3a": Claim("At equal parameters, pruned All-attention has the lower perplexity at every sparsity", UNKNOWN, _EQUAL,
                "07_gains"),
    "3b": Claim("All-attention at 43% sparsity is about as good as Transformer-XL at 25%", "30.7M against 47.9M",
                f"better, or less than {ABOUT} nats worse; fails where worse by more", "07_perplexity"),
    "4a": Claim("Sparsity-loss warm-up reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4b": Claim("Proper gate initialization reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4c": Claim("Attention-output scaling reduces the loss of quality", UNKNOWN, _LEFT_OUT, "06_three_methods"),
    "4d": Claim("The three methods stabilize pruning", UNKNOWN,
                "kept heads spread less over seeds with all three than with none (Brown and Forsythe's test, from 5 seeds on)",
                "06_stability"),
    "4e": Claim("Pruning should start from a converged model", UNKNOWN,
                "gates on random weights, trained as long in all: the loss at equal heads is higher; fails where it is lower",
                "06_three_methods"),
    "5a": Claim("Pruning is layer-wise: kept heads differ by layer", "three lists of 16 layers",
                "more uneven than heads removed blindly, at the λ nearest to half of them (random throws); fails where less so",
                "08_kept_heads"),
    "5b": Claim("Layer 2 is pruned hardest each time", "3, 4 and 2 of its 8 heads kept",
                "no layer keeps fewer heads than layer 2, at every such λ of every seed; fails where one does",
                "08_kept_heads"),
    "6a": Claim("Claim 3a for characters (the paper: text8)", UNKNOWN, _EQUAL, "12_characters"),
    "6b": Claim("Claim 3a for words, with the adaptive softmax", UNKNOWN, _EQUAL, "13_words"),
    "7a": Claim("Learned gates beat the same number of heads a layer, drawn blindly", _CONTROL,
                "the rival's loss is higher; fails where it is lower", "11_rivals"),
    "7b": Claim("Learned gates beat as many heads in all, spread evenly over the layers", _CONTROL, "as 7a", "11_rivals"),
    "7c": Claim("Learned gates beat gradient importance, one-shot (Michel et al. 2019)", _CONTROL, "as 7a", "11_rivals"),
    "7d": Claim("Learned gates beat their own final shape, trained from random weights", _CONTROL, "as 7a", "11_rivals"),
}
METHODS = {"4a": "no penalty warm-up", "4b": "gates start half open", "4c": "no output scaling", "4e": UNTRAINED}
"""For claims on a training method, what it is compared with: a name in `experiments.method_comparison`."""
RIVALS = {"7a": "random heads", "7b": "even layers", "7c": "gradient importance", "7d": "its shape from scratch"}
"""For the controls, the rival of the gates: a name in `experiments.rivals`."""
