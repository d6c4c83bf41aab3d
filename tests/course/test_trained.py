"""The trained models that the notebooks show."""

import pytest
import torch

from allatt.config import AllattError
from allatt.course.trained import MODELS, SENTENCE, trained


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_model_predicts_the_sentence_as_a_model_that_has_learned_something(name):
    model, vocabulary, about = trained(name)
    ids = torch.tensor(vocabulary.encode(SENTENCE), dtype=torch.long)[None]
    assert ids.shape == (1, 20) and vocabulary.decode(ids[0].tolist()) == SENTENCE
    with torch.no_grad():
        nll, _ = model.loss(ids[:, :-1], ids[:, 1:], model.empty_memory(1))
    heads = sum(about["heads_per_layer"])
    assert heads == {"all-attention": 32, "all-attention-pruned": 22, "transformer-xl": 32, "transformer-xl-pruned": 5}[name]
    assert nll[0, 8:].mean() < 4.5, "what follows, once it has read the beginning"


def test_an_unknown_model_is_one_line():
    with pytest.raises(AllattError, match="choose one of all-attention, "):
        trained("rival")
