"""A study names its runs and its folder; runs differ only in what they say, and keep their ids."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, AllattError
from allatt.data.download import Unreachable
from allatt.paper import scales
from allatt.paper.study import Study, available_corpus


def test_a_sweep_begins_with_its_control_and_changes_lambda_alone():
    control, *others = Study("laptop").sweep(ALL_ATTENTION)
    lambdas = [config.gates.lam for config in others]
    assert control.gates.lam == 0 and lambdas == sorted(lambdas) and lambdas[0] > 0
    for config in others:
        assert replace(config, name=control.name, gates=replace(config.gates, lam=0.0)) == control
        assert config.train.steps == control.train.steps


def test_sweeps_are_those_of_both_models():
    smoke = Study("smoke", seed=2)
    assert smoke.sweeps() == smoke.sweep(ALL_ATTENTION) + smoke.sweep(TRANSFORMER_XL)
    assert smoke.sweeps(4) == Study("smoke", seed=4).sweeps()


def test_a_target_is_the_control_with_a_lambda_that_adapts():
    laptop = Study("laptop", seed=3)
    config, control = laptop.to_target(ALL_ATTENTION, 0.5), laptop.pruning(ALL_ATTENTION, 0.0)
    assert config.gates.target_kept == 0.5 and config.name == "all-attention target 0.5" and config.id != control.id
    assert replace(config, name=control.name, gates=replace(config.gates, target_kept=None)) == control
    assert laptop.to_target(ALL_ATTENTION, 1).id == laptop.to_target(ALL_ATTENTION, 1.0).id


@pytest.mark.parametrize("make, run_id", [
    (lambda: Study("laptop").baseline(ALL_ATTENTION), "6baf8f25072e"),
    (lambda: Study("laptop").pruning(ALL_ATTENTION, 0.07), "8831e2d18432"),
    (lambda: Study("smoke").pruning(TRANSFORMER_XL, 0.3), "7b9023a01d38"),
], ids=["baseline", "pruning", "smoke"])
def test_runs_keep_their_ids(make, run_id):
    """These are committed with the figures, and name folders of users."""
    assert make().id == run_id


def test_switches_are_fields_of_the_gates():
    config = Study("smoke").pruning(ALL_ATTENTION, 0.1, output_scaling=False)
    assert not config.gates.output_scaling and Study("smoke").pruning(ALL_ATTENTION, 0.1).gates.output_scaling


def test_a_seed_reaches_the_baseline_and_the_pruning():
    config = Study("smoke").pruning(ALL_ATTENTION, 0.1, seed=3)
    assert config.train.seed == config.start.train.seed == 3
    assert config.id != Study("smoke").pruning(ALL_ATTENTION, 0.1).id
    assert config.start.id != Study("smoke").baseline(ALL_ATTENTION).id


def test_the_first_seed_is_the_default():
    several = Study("smoke", seed=3, count=2)
    assert list(several.seeds) == [3, 4] and list(Study("smoke").seeds) == [0]
    assert several.baseline(ALL_ATTENTION) == Study("smoke").baseline(ALL_ATTENTION, 3)
    assert several.pruning(ALL_ATTENTION, 0.1, 0).train.seed == 0, "seed 0 is a seed, not the default"
    assert several.to_target(ALL_ATTENTION, 0.5, 4).start.train.seed == 4


def test_another_corpus_keeps_the_scale_s_tokens(text):
    config = Study("smoke", str(text)).baseline(ALL_ATTENTION)
    assert config.data.corpus == str(text) and config.data.vocab_size == scales.get("smoke").data.vocab_size
    checksums = {config.data.text_sha256, Study("smoke").data.text_sha256}
    assert len(checksums) == 2 and "" not in checksums, "runs are named by the text they read"


@pytest.mark.parametrize("variant", ["smoke-characters", "laptop-words"])
def test_a_variant_has_sweeps_like_a_scale(variant):
    for kind in KINDS:
        control, *pruned = Study(variant, seed=2).sweep(kind)
        assert len(pruned) == len(scales.get(variant).lambdas[kind]) and control.gates.lam == 0
        assert control.start == Study(variant).baseline(kind, seed=2)
        assert control.data == Study(variant).data and control.data.tokens == variant.split("-")[1]


def test_a_study_s_variant_keeps_its_seeds_and_names_its_text(text):
    other = Study("smoke", seed=3, count=2).variant("characters")
    assert other == Study("smoke-characters", "text8-like", 3, 2)
    assert other.baseline(ALL_ATTENTION) == Study("smoke-characters").baseline(ALL_ATTENTION, 3), "the scale's own text"
    assert Study("smoke", str(text)).variant("words") == Study("smoke-words", str(text))
    with pytest.raises(AllattError, match="only smoke, laptop, gpu, paper have variants"):
        other.variant("words")


def test_a_corpus_that_is_not_available_is_replaced_and_that_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    tried = []

    def unreachable(title, *rest):
        tried.append(title)
        raise Unreachable(f"cannot download {title}")

    monkeypatch.setattr("allatt.data.download.wikitext", unreachable)
    monkeypatch.setattr("allatt.data.download.text8", lambda *rest: unreachable("text8"))
    available_corpus.cache_clear()
    assert available_corpus("laptop-words") == "wikipedia-excerpt"
    assert "cannot download WikiText-2. Until then: wikipedia-excerpt" in capfd.readouterr().err
    assert available_corpus("gpu-characters") == "text8-like" and available_corpus("gpu-words") == "wikipedia-excerpt"
    assert "cannot download WikiText-103. Until then: wikipedia-excerpt" in capfd.readouterr().err
    assert tried == ["WikiText-2", "text8", "WikiText-103"]
    assert available_corpus("laptop-words", "wikitext-103") == "wikitext-103", "what is asked for is never replaced"
    for split in ("train", "valid", "test"):
        (tmp_path / "wikitext-2").mkdir(exist_ok=True)
        (tmp_path / "wikitext-2" / f"wiki.{split}.tokens").write_text(" a word \n" if split != "test" else "")
    available_corpus.cache_clear()
    with pytest.raises(AllattError, match="test.tokens is empty"):
        available_corpus("laptop-words")  # damage is no reason to take another text
    (tmp_path / "wikitext-2" / "wiki.test.tokens").write_text(" a word \n")
    assert available_corpus("laptop-words") == "wikitext-2" and len(tried) == 3
    available_corpus.cache_clear()


def test_wrong_names_and_seeds_are_clear_errors():
    with pytest.raises(AllattError, match="scale is 'huge'; choose one of"):
        Study("huge")
    with pytest.raises(AllattError, match="model is 'rnn'"):
        Study("smoke").baseline("rnn")
    with pytest.raises(AllattError, match="seed is -1; it must be 0 or more"):
        Study("smoke", seed=-1)
    with pytest.raises(AllattError, match="seeds is 0; it is how many seeds there are, 1 or more"):
        Study("smoke", count=0)


def test_auto_is_decided_once_and_a_study_does_not_change():
    automatic = Study("auto")
    assert automatic == Study("gpu" if torch.cuda.is_available() else "laptop")
    with pytest.raises(FrozenInstanceError):
        automatic.seed = 3


def test_one_seed_of_the_laptop_scale_is_not_complete():
    assert not Study("laptop").is_complete and Study("laptop", count=2).is_complete and Study("smoke").is_complete


def test_folders_are_named_by_the_scale_and_what_is_not_its_default():
    assert Study("laptop").folder == "laptop"
    assert Study("laptop", "wikitext-2", 3).folder == "laptop-wikitext-2-seed3"
    assert Study("laptop", count=5).folder == "laptop-5seeds"
    assert Study("smoke", "/some where/my text.v2").folder == "smoke-some-where-my-text-v2"
    assert len({Study("smoke", corpus, seed).folder for corpus in ("", "text8") for seed in (0, 1)}) == 4
