"""A study names its runs and its folder; runs differ only in what they say, and keep their ids."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from small_text import write_small_text

from allatt.config import ALL_ATTENTION, KINDS, TRANSFORMER_XL, AllattError, DataConfig
from allatt.data.corpora import CORPORA
from allatt.data.download import Unreachable
from allatt.data.tokens import pack
from allatt.data.wikitext_format import SPLITS
from allatt.paper import scales
from allatt.paper.study import Study, available_corpus


def without_lambda(config):
    """A pruning run with lambda 0 and the control's name."""
    gated = config.gated
    gated = replace(gated, name="", gates=replace(gated.gates, lam=0.0))
    return replace(config, name="", start=gated) if config.consolidate else gated


@pytest.mark.parametrize("scale", ["laptop", "overnight", "paper"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_begins_with_its_control_and_changes_lambda_alone(scale, kind):
    control, *others = Study(scale, one_phase=False).sweep(kind)
    lambdas = [config.gated.gates.lam for config in others]
    assert control.gated.gates.lam == 0 and lambdas == sorted(lambdas) and lambdas[0] > 0
    assert lambdas == list(scales.get(scale).lambdas[kind])
    assert len({config.id for config in (control, *others)}) == 1 + len(others)
    for config in others:
        assert without_lambda(config) == without_lambda(control)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "overnight", "gpu", "laptop-words"])
def test_two_phases_are_gates_and_then_training_without_them(scale):
    """Each stage starts from the one before, reads on where it stopped, and only the last one's learning rate falls."""
    study = Study(scale, seed=3)
    second = study.pruning(ALL_ATTENTION, 0.1)
    first, baseline = second.start, second.start.start
    assert baseline == study.baseline(ALL_ATTENTION) and baseline.start is None
    assert second.consolidate and not first.consolidate and second.gated == first == first.gated
    assert (baseline.gates, first.gates.lam, second.gates) == (None, 0.1, None)
    assert {stage.model for stage in (baseline, first, second)} == {scales.model(scale, ALL_ATTENTION)}
    assert {stage.train.seed for stage in (baseline, first, second)} == {3}
    assert [stage.train.skip for stage in (baseline, first, second)] == [
        0, baseline.train.steps, baseline.train.steps + first.train.steps]
    assert (first.train.schedule, second.train.schedule) == ("constant", "cosine")
    assert first.train.lr == second.train.lr and second.train.final_lr == pytest.approx(0.1)
    assert first.name == f"{second.name}, first phase"


@pytest.mark.parametrize("scale", ["smoke", "laptop", "overnight", "gpu", "laptop-words"])
def test_one_phase_trains_gates_for_the_steps_of_both(scale):
    one, two = (Study(scale, one_phase=phase).pruning(TRANSFORMER_XL, 0.1) for phase in (True, False))
    assert one.start == two.start.start and not one.consolidate and one.gated == one
    assert one.train.steps == two.train.steps + two.start.train.steps > two.start.train.steps
    assert replace(one.train, steps=two.start.train.steps) == two.start.train, "at the rate of the first phase"
    assert (one.gates, one.model) == (two.start.gates, two.model) and one.id not in (two.id, two.start.id)
    assert Study(scale, one_phase=True).baseline(TRANSFORMER_XL) == Study(scale).baseline(TRANSFORMER_XL)


def test_the_paper_s_scale_has_one_phase_anyway():
    one, usual = (Study("paper", "wikipedia-excerpt", one_phase=phase) for phase in (True, False))
    assert one.sweeps() == usual.sweeps() and one.pruning(ALL_ATTENTION, 0.02).gated == one.pruning(ALL_ATTENTION, 0.02)
    assert one.pruning(ALL_ATTENTION, 0.02).train.steps == scales.get("paper").prune.steps


def test_a_dense_model_has_the_same_two_phases():
    """The control without gates, and heads that are cut at the start: as many steps, at the same rates, from the same text."""
    study = Study("laptop", seed=2)
    gated = study.pruning(ALL_ATTENTION, 0.1)
    dense = study.finish(replace(gated.gated, name="dense", gates=None))
    assert dense.train == gated.train and dense.start.train == gated.start.train
    assert dense.start.start == gated.start.start and dense.gated is None
    assert not dense.consolidate and dense.gates is dense.start.gates is None


def test_sweeps_are_those_of_both_models():
    smoke = Study("smoke", seed=2)
    assert smoke.sweeps() == smoke.sweep(ALL_ATTENTION) + smoke.sweep(TRANSFORMER_XL)
    assert smoke.sweeps(4) == Study("smoke", seed=4).sweeps()


@pytest.mark.parametrize("one_phase", [False, True])
def test_a_target_is_the_control_with_a_lambda_that_adapts(one_phase):
    laptop = Study("laptop", seed=3, one_phase=one_phase)
    config, control = laptop.to_target(ALL_ATTENTION, 0.5), laptop.pruning(ALL_ATTENTION, 0.0)
    assert config.gated.gates.target_kept == 0.5 and config.name == "all-attention target 0.5" and config.id != control.id
    gated = replace(config.gated, gates=replace(config.gated.gates, target_kept=None))
    fixed = gated if one_phase else replace(config, start=gated)
    assert without_lambda(fixed) == without_lambda(control)
    assert laptop.to_target(ALL_ATTENTION, 1).id == laptop.to_target(ALL_ATTENTION, 1.0).id


@pytest.mark.parametrize("make, run_id", [
    (lambda: Study("laptop").baseline(ALL_ATTENTION), "ed98bb80c799"),
    (lambda: Study("laptop").pruning(ALL_ATTENTION, 0.1).gated, "91d05035986a"),
    (lambda: Study("laptop").pruning(ALL_ATTENTION, 0.1), "bfc7219897cf"),
    (lambda: Study("laptop", one_phase=True).pruning(ALL_ATTENTION, 0.1), "abe4a226593f"),
    (lambda: Study("smoke").pruning(TRANSFORMER_XL, 0.3), "f4d651cf303d"),
], ids=["baseline", "first phase", "both phases", "one phase", "smoke"])
def test_runs_keep_their_ids(make, run_id):
    """These name folders of users, and records beside figures. A scale that is set anew has new ones."""
    assert make().id == run_id


def test_switches_are_fields_of_the_gates():
    config = Study("smoke").pruning(ALL_ATTENTION, 0.1, output_scaling=False)
    assert not config.gated.gates.output_scaling and Study("smoke").pruning(ALL_ATTENTION, 0.1).gated.gates.output_scaling
    assert config.consolidate and config.id != Study("smoke").pruning(ALL_ATTENTION, 0.1).id


def stages(config):
    """A run, and the runs that it starts from."""
    return [config, *(stages(config.start) if config.start else [])]


def test_a_seed_reaches_the_baseline_and_the_pruning():
    config = Study("smoke").pruning(ALL_ATTENTION, 0.1, seed=3)
    assert config.train.seed == config.start.train.seed == config.start.start.train.seed == 3
    ids = {stage.id for seed in (0, 3) for stage in stages(Study("smoke").pruning(ALL_ATTENTION, 0.1, seed))}
    assert len(ids) == 6


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
        assert len(pruned) == len(scales.get(variant).lambdas[kind]) and control.gated.gates.lam == 0
        assert control.gated.start == Study(variant).baseline(kind, seed=2)
        assert {stage.data for stage in stages(control)} == {Study(variant).data}
        assert control.data.tokens == variant.split("-")[1]


def test_a_study_s_variant_keeps_its_seeds_and_names_its_text(text):
    other = Study("smoke", seed=3, count=2).variant("characters")
    assert other == Study("smoke-characters", "text8-like", 3, 2)
    assert other.baseline(ALL_ATTENTION) == Study("smoke-characters").baseline(ALL_ATTENTION, 3), "the scale's own text"
    assert Study("smoke", str(text)).variant("words") == Study("smoke-words", str(text))
    assert Study("smoke", one_phase=True).variant("characters").one_phase
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
    monkeypatch.setitem(CORPORA, "wikitext-2", replace(CORPORA["wikitext-2"], words=dict.fromkeys(SPLITS, 3)))
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
    assert Study("overnight").is_complete


def test_a_complete_study_of_a_scale_with_variants_measures_them():
    measured = {name: Study(name, count=2).has_variants for name in scales.SCALES}
    assert {name for name, has in measured.items() if has} == {"smoke", "laptop", "gpu", "paper"}
    assert not Study("laptop").has_variants


def test_a_packed_corpus_has_one_kind_of_tokens(tmp_path):
    folder = write_small_text(tmp_path)
    assert Study("smoke", str(folder)).has_variants
    pack(DataConfig(corpus=str(folder), tokens="words", vocab_size=0), tmp_path / "pack")
    assert not Study("smoke", str(tmp_path / "pack")).has_variants


def test_folders_are_named_by_the_scale_and_what_is_not_its_default():
    assert Study("laptop").folder == "laptop"
    assert Study("laptop", "wikitext-2", 3).folder == "laptop-wikitext-2-seed3"
    assert Study("laptop", count=5).folder == "laptop-5seeds"
    assert Study("laptop", one_phase=True).folder == "laptop-one-phase"
    assert Study("laptop", "text8", 3, 5, one_phase=True).folder == "laptop-text8-seed3-one-phase-5seeds"
    assert re.fullmatch("smoke-some-where-my-text-v2-[0-9a-f]{6}", Study("smoke", "/some where/my text.v2").folder)


@pytest.mark.parametrize("one, other", [("/x/ä/t", "/x/ö/t"), ("a-b/t", "a/b/t"), ("/a/t", "a/t"), ("a.b", "a-b"),
                                        (f"/{'x' * 300}/1/t", f"/{'x' * 300}/2/t")])
def test_two_texts_have_two_folders_of_figures(one, other):
    names = [Study("smoke", corpus).folder for corpus in (one, other)]
    assert names[0] != names[1] and all(re.fullmatch("[A-Za-z0-9-]{1,80}", name) for name in names)
    assert len({Study("smoke", corpus, seed).folder for corpus in ("", "text8") for seed in (0, 1)}) == 4


def test_bands_of_the_softmax_that_a_text_has_no_words_for_are_left_out(tmp_path):
    """On the user's own text and on a stand-in; the scale's own text keeps the scale's cutoffs, and need not be there."""
    folder = write_small_text(tmp_path)
    assert scales.model("smoke-words", ALL_ATTENTION).cutoffs == (200, 1000)
    small, own = Study("smoke-words", str(folder)), Study("smoke-words")
    assert [study.baseline(ALL_ATTENTION).model.cutoffs for study in (small, own)] == [(), (200, 1000)]
    assert Study("gpu-words").model(ALL_ATTENTION).cutoffs == scales.model("paper", ALL_ATTENTION).cutoffs
    stand_in = Study("gpu-words", "wikipedia-excerpt")
    assert stand_in.model(ALL_ATTENTION).cutoffs == (20_000,), "it has 34,623 words"
    assert {config.model.cutoffs for config in small.sweeps()} == {()}
