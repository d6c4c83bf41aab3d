"""Trained models for the notebooks: at any scale, they can show attention, gates and text of a model that has learned.

They are those of the overnight scale, seed 0, in figures/overnight/models: both baselines, and one pruned model of each, of
nearly equal size.
"""

from allatt.config import AllattError
from allatt.course.overnight import RESULTS
from allatt.sharing.saved import Saved, load

MODELS = ("all-attention", "all-attention-pruned", "transformer-xl", "transformer-xl-pruned")
"""Names of the folders. The pruned ones keep 22 and 5 of their 32 heads: 588,000 and 581,000 parameters in their bodies."""
SENTENCE = "The album was released in May 1998 , and the band toured Europe in the same year ."
"""The sentence on which the course shows attention: 20 tokens."""


def trained(name: str) -> Saved:
    """(model, vocabulary, about) of one of MODELS, within a second. AllattError if the name is unknown or the file missing."""
    if name not in MODELS:
        raise AllattError(f"there is no trained model {name!r}; choose one of {', '.join(MODELS)}")
    return load(RESULTS / "models" / name)
