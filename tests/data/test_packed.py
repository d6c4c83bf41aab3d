"""Packed corpora: the same ids without the text, refused if they do not fit."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from sample_text import make_text, write_splits

from allatt.config import AllattError, DataConfig, RunConfig
from allatt.data import packed
from allatt.data.tokens import load, pack, pin
from allatt.data.wikitext_format import SPLITS
from allatt.system.files import checksum, seal

KINDS = ("words", "subwords", "characters")


@pytest.fixture
def mine(home, tmp_path):
    return Path(write_splits(tmp_path / "mine", make_text(400), make_text(40, 1000), make_text(30, 2000)))


def config(corpus, kind="subwords", size=120) -> DataConfig:
    return DataConfig(str(corpus), kind, 0 if kind == "words" else size)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Goes to a machine that has nothing yet."""
    return lambda: monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_text_is_the_text(mine, tmp_path, elsewhere, kind):
    tokens, run = load(config(mine, kind)), RunConfig("x", pin(config(mine, kind)))
    pack(config(mine, kind), tmp_path / "packed" / "mine")
    elsewhere()
    there = load(config(tmp_path / "packed" / "mine", kind))
    for split in SPLITS:
        assert (getattr(there, split) == getattr(tokens, split)).all() and getattr(there, split).dtype == tokens.train.dtype
    assert there.meta == tokens.meta
    assert there.decode(there.valid) == tokens.decode(tokens.valid)
    assert RunConfig("x", pin(config(tmp_path / "packed" / "mine", kind))).id == run.id  # so results come home


def test_the_first_ids_are_a_text_of_their_own(mine, tmp_path, elsewhere):
    tokens = load(config(mine))
    for count in (100, 101):
        pack(config(mine), tmp_path / str(count) / "mine", count)
    elsewhere()
    there = load(config(tmp_path / "100" / "mine"))
    assert len(there.train) == there.meta["splits"]["train"]["tokens"] == 100
    assert (there.train == tokens.train[:100]).all() and (there.test == tokens.test).all()
    assert "first 100 subwords" in there.meta["title"]
    ids = {RunConfig("x", pin(config(folder))).id for folder in (mine, tmp_path / "100" / "mine", tmp_path / "101" / "mine")}
    assert len(ids) == 3
    share = there.meta["splits"]["train"]["words"] / tokens.meta["splits"]["train"]["words"]
    assert share == pytest.approx(100 / len(tokens.train), rel=0.05)


def test_ids_of_other_tokens_are_refused(mine, tmp_path, elsewhere):
    pack(config(mine), tmp_path / "packed")
    elsewhere()
    for other in (config(tmp_path / "packed", size=100), config(tmp_path / "packed", "words")):
        with pytest.raises(AllattError, match=r"packed holds subwords \(format 2, vocab_size 120\), not "):
            load(other)


def test_packing_refuses_what_is_not_there(mine, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(AllattError, match="exists already"):
        pack(config(mine), tmp_path / "taken")
    with pytest.raises(AllattError, match="not 10,000,000"):
        pack(config(mine), tmp_path / "new", 10_000_000)
    assert not (tmp_path / "new").exists()


def changed(folder, name, ids=None, **values):
    """The packed corpus with other ids or other values, and checksums that fit: not damaged, but wrong."""
    if ids is not None:
        (folder / name).write_bytes(lzma.compress(np.asarray(ids).tobytes()))
    about = json.loads((folder / packed.ABOUT).read_text())
    about["files"][name] = checksum(folder / name)
    (folder / packed.ABOUT).write_text(json.dumps(seal(about | values)))


@pytest.mark.parametrize("case, message", [("an id too large", "not in the vocabulary"), ("too many", "holds more than"),
                                           ("too few", "holds fewer than"), ("half an id", "ends within an id"),
                                           ("another vocabulary", "another size")])
def test_wrong_ids_are_refused(mine, tmp_path, elsewhere, case, message):
    tokens = load(config(mine, size=300))
    assert tokens.train.dtype == np.uint16
    pack(config(mine, size=300), tmp_path / "packed")
    ids = np.array(tokens.train)
    if case == "an id too large":
        ids[-1] = tokens.vocab
    elif case == "too many":
        ids = np.tile(ids, 2)
    elif case == "too few":
        ids = ids[:-1]
    elif case == "half an id":
        ids = ids.view(np.uint8)[:-1]
    changed(tmp_path / "packed", "train.ids.xz", ids, **({"vocab": 299} if case == "another vocabulary" else {}))
    elsewhere()
    with pytest.raises(AllattError, match=message):
        load(config(tmp_path / "packed", size=300))


def test_damage_is_noticed(mine, tmp_path, elsewhere):
    pack(config(mine), tmp_path / "packed")
    elsewhere()
    path = tmp_path / "packed" / "valid.ids.xz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(AllattError, match="valid.ids.xz is missing or changed"):
        load(config(tmp_path / "packed"))
    path.unlink()
    with pytest.raises(AllattError, match="valid.ids.xz is missing or changed"):
        pin(config(tmp_path / "packed"))
