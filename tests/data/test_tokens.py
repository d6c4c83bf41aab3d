"""Ids: written once, and made again if damaged."""

import re
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_text import NOUNS, make_text, write_splits

from allatt.config import AllattError, DataConfig
from allatt.data.corpora import CORPORA, locate
from allatt.data.tokens import load, pin, write_ids
from allatt.data.wikitext_format import SPLITS
from allatt.system.paths import repository

KINDS = ("words", "subwords", "characters")


@pytest.fixture
def mine(home, tmp_path):
    """A folder of one's own with some text."""
    return write_splits(tmp_path / "mine", make_text(400), make_text(40, 1000), make_text(30, 2000))


def config(corpus: str, kind: str = "words", vocab_size: int = 0, **values) -> DataConfig:
    return DataConfig(corpus, kind, vocab_size or (0 if kind == "words" else 120), **values)


# --- all kinds --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS)
def tokens(request, home_of_tests, tmp_path_factory):
    """The made-up text in each kind of tokens."""
    folder = tmp_path_factory.mktemp("shared") / "shared"
    write_splits(folder, make_text(400), make_text(40, 1000), make_text(30, 2000))
    return load(config(str(folder), request.param))


LINE = st.lists(st.sampled_from(NOUNS), min_size=1, max_size=8).map(" ".join)


@settings(deadline=None)
@given(lines=st.lists(LINE | st.just(""), max_size=5), last=LINE)
def test_decoding_gives_the_text_back(tokens, lines, last):
    text = "\n".join([*lines, last])
    for whole in (text, text + "\n"):
        ids = tokens.encode(whole)
        assert tokens.decode(ids) == whole
        assert all(0 <= i < tokens.vocab for i in ids)


@settings(deadline=None, max_examples=30)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_has_ids(tokens, text):
    try:
        ids = tokens.encode(text)
    except AllattError:
        assert tokens.unknown_id is None
        return
    assert all(0 <= i < tokens.vocab for i in ids)
    assert tokens.decode(torch.tensor(ids, dtype=torch.int64)) == tokens.decode(ids)


def test_the_ids_on_disk_are_those_of_the_text(tokens):
    for split, text in zip(SPLITS, (make_text(400), make_text(40, 1000), make_text(30, 2000)), strict=True):
        ids = getattr(tokens, split)
        assert isinstance(ids, np.memmap) and ids.mode == "r"
        assert ids.tolist() == tokens.encode(text)


def test_meta_counts_what_is_there(tokens):
    for split, text in zip(SPLITS, (make_text(400), make_text(40, 1000), make_text(30, 2000)), strict=True):
        ids = getattr(tokens, split).tolist()
        assert tokens.meta["splits"][split] == {
            "documents": len(re.findall("= Title", text)), "lines": text.count("\n"),
            "words": len(text.split()) + text.count("\n"), "bytes": len(text.encode()), "tokens": len(ids),
            "unknown": ids.count(tokens.unknown_id)}
    assert tokens.meta["vocab"] == tokens.vocab and set(tokens.meta["sha256"]) == set(SPLITS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_blocks_changes_nothing(mine, tmp_path, kind):
    data = config(mine, kind)
    whole = load(data)
    tmp_path.joinpath("again").mkdir()
    write_ids(locate(mine), data, tmp_path / "again", block=50)
    made = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert made == {path.name: path.read_bytes() for path in whole.folder.iterdir() if path.name != "manifest.json"}


@pytest.mark.parametrize("distinct, dtype", [(254, np.uint8), (255, np.uint16), (65_534, np.uint16),
                                             (65_535, np.int32)])
def test_ids_have_the_smallest_type_that_fits(home, tmp_path, distinct, dtype):
    text = " ".join(f"w{i}" for i in range(distinct)) + "\n"
    found = load(config(write_splits(tmp_path / "mine", text)))
    assert found.vocab == distinct + 2 and found.train.dtype == dtype
    assert (found.folder / "train.ids").stat().st_size == (distinct + 1) * np.dtype(dtype).itemsize
    assert found.decode(found.train) == text


def test_text8_has_27_symbols_and_no_unknown(home, tmp_path, monkeypatch):
    letters = ("the quick brown fox jumps over a lazy dog " * 50)[:2000]
    (tmp_path / "text8").mkdir()
    (tmp_path / "text8" / "text8").write_text(letters)
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    monkeypatch.setitem(CORPORA, "text8", replace(CORPORA["text8"], characters=2000))
    found = load(config("text8", "characters"))
    assert (found.vocab, found.train.dtype, found.unknown_id) == (27, np.uint8, None)
    assert [len(found.train), len(found.valid), len(found.test)] == [1800, 100, 100]
    assert "".join(found.decode(getattr(found, split)) for split in SPLITS) == letters
    assert found.meta["splits"]["test"]["lines"] == 0 and found.meta["splits"]["test"]["documents"] == 1


# --- written once, and damaged ----------------------------------------------------------------------------------


def test_ids_are_written_once(mine, capfd):
    first = load(config(mine))
    time = (first.folder / "train.ids").stat().st_mtime_ns
    assert "tokenizing mine into words" in capfd.readouterr().err
    again = load(config(mine))
    assert (again.folder / "train.ids").stat().st_mtime_ns == time and again.folder == first.folder
    assert capfd.readouterr().err == ""


def test_other_settings_and_other_text_have_other_ids(mine):
    folders = [load(c).folder for c in (config(mine), config(mine, min_count=2), config(mine, vocab_size=20),
                                        config(mine, "subwords"), config(mine, "characters"))]
    (Path(mine) / "wiki.test.tokens").write_text(" a cat \n")
    folders.append(load(config(mine)).folder)
    assert len(set(folders)) == len(folders)
    # What is not used does not matter.
    assert load(config(mine, "subwords", min_count=3)).folder == load(config(mine, "subwords")).folder
    assert load(config(mine, "characters", vocab_size=99)).folder == load(config(mine, "characters")).folder


@pytest.mark.parametrize("name", ["train.ids", "test.ids", "words.txt", "meta.json", "manifest.json"])
@pytest.mark.parametrize("spoil", [lambda p: p.write_bytes(p.read_bytes()[:-5]), lambda p: p.unlink(),
                                   lambda p: p.write_bytes(p.read_bytes()[:-2] + b"\x01\x01")])
def test_damaged_ids_are_noticed_and_made_again(mine, name, spoil, capfd):
    first = load(config(mine))
    before = first.train.tolist()
    spoil(first.folder / name)
    again = load(config(mine))
    assert again.train.tolist() == before and again.meta == first.meta
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("allatt: ") and str(first.folder / name) in line and line.endswith("making the ids again")


def test_several_may_load_at_once(mine):
    found, errors = [], []

    def work():
        try:
            found.append(load(config(mine, "subwords")))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len({t.folder for t in found}) == 1
    assert all(t.train.tolist() == found[0].train.tolist() for t in found)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(home, tmp_path):
    folder = write_splits(tmp_path / "mine", make_text(30_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(AllattError, match=r"cannot write .*file too large; free some space"):
            load(config(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in (home / "tokens").iterdir() if p.suffix != ".lock"] == []
    assert len(load(config(folder)).train) > 50_000


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_text_without_words_is_one_clear_line(home, tmp_path, split, kind):
    texts = {"train": make_text(400), "valid": " a cat \n", "test": " a dog \n"} | {split: " \n\n \n"}
    folder = write_splits(tmp_path / "mine", *texts.values())
    with pytest.raises(AllattError, match=rf"wiki\.{split}\.tokens holds no words"):
        load(config(folder, kind))


def test_binary_far_into_a_file_is_one_clear_line(home, tmp_path):
    folder = write_splits(tmp_path / "mine", "word " * 400_000 + "\0\n")
    with pytest.raises(AllattError, match=r"wiki\.train\.tokens is not text: it has a NUL byte at 2000000"):
        load(config(folder))


def test_a_pinned_text_may_not_change(mine):
    assert pin(DataConfig("wikitext-103", text_sha256="of another")) == DataConfig("wikitext-103")
    built_in = pin(DataConfig())
    assert len(built_in.text_sha256) == 64 and pin(built_in) == built_in, "a release with another text has other runs"
    pinned = pin(config(mine))
    assert len(pinned.text_sha256) == 64 and pinned.corpus == mine and pin(pinned) == pinned
    assert load(pinned).folder == load(config(mine)).folder
    (Path(mine) / "wiki.valid.tokens").write_text(" another text \n")
    with pytest.raises(AllattError, match="the text of .*mine has changed"):
        load(pinned)
    assert pin(pinned).text_sha256 != pinned.text_sha256


def test_a_pinned_folder_is_the_same_from_everywhere(mine, monkeypatch):
    monkeypatch.chdir(Path(mine).parent)
    assert pin(config("mine")) == pin(config("./mine")) == pin(config(mine))


# --- the built-in text ------------------------------------------------------------------------------------------


def test_the_built_in_text_as_2000_subwords(home_of_tests):
    found = load(DataConfig())
    assert found.vocab == 2000 and found.train.dtype == np.uint16
    for split in SPLITS:
        counts = found.meta["splits"][split]
        assert counts["unknown"] / counts["tokens"] < 0.001
        assert counts["tokens"] / counts["words"] < 1.8
        lines = [line.strip() + "\n" for line in (home_of_tests / "corpora" / "wikipedia-excerpt" /
                                                  f"wiki.{split}.tokens").read_text(encoding="utf-8").splitlines()]
        assert found.decode(getattr(found, split)[:5000]).startswith("".join(lines[:3]))
        known = [line for line in lines[:300] if found.unknown_id not in found.encode(line)]
        assert len(known) > 200 and all(found.decode(found.encode(line)) == line for line in known)
    counts = found.meta["splits"]["train"]
    assert counts["documents"] == 81 and counts["words"] > 480_000
    assert found.meta["license"] == CORPORA["wikipedia-excerpt"].license


def test_the_modules_that_tokens_needs_are_the_core_only():
    code = "import sys, allatt.data.tokens; print([m for m in ('pyarrow', 'huggingface_hub', 'matplotlib', 'scipy')" \
           " if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           cwd=repository())
    assert found.stdout.strip() == "[]"


def test_the_sign_of_sentencepiece_in_a_text_is_unknown_and_not_lost(home, tmp_path):
    """U+2581 means a space there, and would vanish."""
    folder = write_splits(tmp_path / "mine", "many a word and another one to learn from \n" * 50)
    Path(folder, "wiki.test.tokens").write_text(" a \u2581 w\u2581d \n")
    tokens = load(config(folder, "subwords", vocab_size=40))
    assert tokens.decode(tokens.test).split() == ["a", "<unk>", "w", "<unk>", "d"]
    assert tokens.meta["splits"]["test"]["unknown"] >= 2


def test_ids_on_a_store_that_cannot_be_written_are_read(mine, monkeypatch):
    first = load(config(mine, "subwords"))

    def refuse(*given, **more):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("allatt.data.corpora.FileLock", refuse)
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    again = load(config(mine, "subwords"))
    assert np.array_equal(again.train, first.train)
    with pytest.raises(AllattError, match="read-only"):
        load(config(mine, "characters"))


def test_ids_of_other_settings_in_this_folder_are_refused(mine):
    """Moved there by hand, with their own manifest."""
    one, other = load(config(mine)).folder, load(config(mine, min_count=2)).folder
    shutil.rmtree(one)
    shutil.copytree(other, one)
    with pytest.raises(AllattError, match="holds the ids of another text, or of other tokens; remove it"):
        load(config(mine))
