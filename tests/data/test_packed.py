"""Packed corpora: the same ids without the text, refused if they do not fit."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from sample_text import make_text, write_splits

from allatt.config import AllattError, DataConfig, RunConfig
from allatt.data import packed
from allatt.data.summary import summarize
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
def test_a_packed_text_has_the_same_ids_without_the_text(mine, tmp_path, elsewhere, kind):
    tokens = load(config(mine, kind))
    pack(config(mine, kind), tmp_path / "packed" / "mine")
    elsewhere()
    there = load(config(tmp_path / "packed" / "mine", kind))
    for split in SPLITS:
        assert (getattr(there, split) == getattr(tokens, split)).all() and getattr(there, split).dtype == tokens.train.dtype
    assert there.meta["splits"] == tokens.meta["splits"] and there.meta["license"] == tokens.meta["license"]
    assert there.decode(there.valid) == tokens.decode(tokens.valid)
    text = tokens.decode(tokens.valid[:50])
    assert there.encode(text) == tokens.encode(text)


def test_a_pack_is_a_text_of_its_own_wherever_it_lies(mine, tmp_path):
    """Named by what it holds: the same in every place, another with other ids, and never the text it was made from."""
    def name(folder):
        return RunConfig("x", pin(config(folder))).id

    for place, count in (("a", 0), ("b", 0), ("c", 100), ("d", 101)):
        pack(config(mine), tmp_path / place / "mine", count)
    assert name(tmp_path / "a" / "mine") == name(tmp_path / "b" / "mine")
    assert len({name(mine), *(name(tmp_path / place / "mine") for place in "acd")}) == 4


def test_a_forged_pack_does_not_reach_the_ids_of_the_text_it_claims_to_be(mine, tmp_path, elsewhere):
    """Other ids under the checksums of a text, or of another pack: refused, and the text's own ids stay what they are."""
    tokens = load(config(mine))
    pack(config(mine), tmp_path / "forged")
    changed(tmp_path / "forged", "train.ids.xz", np.full_like(tokens.train, 7))
    elsewhere()
    with pytest.raises(AllattError, match="holds other train ids than its packed.json says"):
        load(config(tmp_path / "forged"))
    about = json.loads((tmp_path / "forged" / packed.ABOUT).read_text())
    genuine = tokens.meta["settings"]
    changed(tmp_path / "forged", "train.ids.xz", sha256=genuine["sha256"], settings=genuine)
    with pytest.raises(AllattError, match="holds other train ids than its packed.json says"):
        load(config(tmp_path / "forged"))
    assert (load(config(mine)).train == tokens.train).all() and about["sha256"] != genuine["sha256"]


def test_the_first_ids_alone(mine, tmp_path, elsewhere):
    tokens = load(config(mine))
    pack(config(mine), tmp_path / "packed", 100)
    elsewhere()
    there = load(config(tmp_path / "packed"))
    assert (there.train == tokens.train[:100]).all() and (there.test == tokens.test).all()
    assert "first 100 subwords" in there.meta["title"]
    train = there.meta["splits"]["train"]
    assert train == {"documents": None, "lines": None, "words": None, "bytes": None, "tokens": 100,
                     "unknown": int((tokens.train[:100] == tokens.unknown_id).sum())}, "what is not counted is not made up"
    assert there.meta["splits"]["test"] == tokens.meta["splits"]["test"]
    assert "not counted" in summarize(config(tmp_path / "packed"))


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
    with pytest.raises(AllattError, match="one token predicts nothing"):
        pack(config(mine), tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()


def test_a_pack_that_is_broken_off_leaves_nothing(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "write_json", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack(config(mine), tmp_path / "new")
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


def changed(folder, file, /, ids=None, **values):
    """The packed corpus with other ids or other values, and checksums that fit: not damaged, but wrong."""
    if ids is not None:
        (folder / file).write_bytes(lzma.compress(np.asarray(ids).tobytes()))
    about = json.loads((folder / packed.ABOUT).read_text())
    if (folder / file).exists():
        about["files"][file] = checksum(folder / file)
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


VALUES = {"files": [], "dtype": "object", "name": 5, "title": "a\x1b]0;b", "sha256": None, "settings": 5, "kind": "nokind",
          "vocab": "500", "splits": {}, "license": None}


@pytest.mark.parametrize("key", [*VALUES, "no splits", "words", "tokens", "not xz", "cut", "no model"])
def test_made_up_values_are_one_line(mine, tmp_path, elsewhere, key):
    pack(config(mine), tmp_path / "packed")
    elsewhere()
    folder, about = tmp_path / "packed", json.loads((tmp_path / "packed" / packed.ABOUT).read_text())
    name, values = "train.ids.xz", {key: VALUES[key]} if key in VALUES else {}
    if key == "no splits":
        values = {"splits": {"train": about["splits"]["train"]}}
    elif key in ("words", "tokens"):
        values = {"splits": about["splits"] | {"valid": about["splits"]["valid"] | {key: "many"}}}
    elif key == "no model":
        name = "subwords.model"
    if key in ("not xz", "no model"):
        (folder / name).write_bytes(b"something else")
    elif key == "cut":
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    changed(folder, name, **values)
    with pytest.raises(AllattError, match=rf"{folder.name}\b.*pack the text again$"):
        load(config(folder))


def test_a_pack_does_not_stand_in_for_a_corpus(mine, tmp_path, monkeypatch, elsewhere):
    pack(config(mine), tmp_path / "offline" / "wikitext-103")
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path / "offline"))
    elsewhere()
    with pytest.raises(AllattError, match="wikitext-103 is a packed corpus, a text of its own; give it as --corpus"):
        load(config("wikitext-103"))
