"""Corpora: folders of one's own, texts in text8's format, and everything that can be wrong with them."""

import hashlib
import lzma
import re
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from sample_text import finished, write_wikitext

from allatt.config import AllattError
from allatt.data import corpora, text8_format, wikitext_format
from allatt.data.corpora import CORPORA, locate, write_as_text8
from allatt.data.wikitext_format import SPLITS, file_name
from allatt.system import files

# --- a folder of one's own --------------------------------------------------------------------------------------


def test_tokens_files_stay_where_they_are(home, tmp_path):
    folder = write_wikitext(tmp_path / "mine")
    text = locate(str(folder))
    assert text.files == {split: folder / f"wiki.{split}.tokens" for split in SPLITS}
    assert text.sha256 == {split: files.checksum(path) for split, path in text.files.items()}
    assert text.name == "mine" and finished(home) == []


def test_a_changed_text_has_another_checksum(home, tmp_path):
    folder = write_wikitext(tmp_path / "mine")
    before = locate(str(folder)).sha256
    (folder / "wiki.test.tokens").write_text(" another text \n")
    after = locate(str(folder)).sha256
    assert [split for split in SPLITS if before[split] != after[split]] == ["test"]


def test_checksums_are_kept_until_a_file_changes(home, tmp_path, monkeypatch):
    folder = write_wikitext(tmp_path / "mine")
    before = locate(str(folder)).sha256
    monkeypatch.setattr(corpora, "checksum", lambda path: "computed again")
    assert locate(str(folder)).sha256 == before
    (folder / "wiki.test.tokens").write_text(" another text \n")
    assert locate(str(folder)).sha256 == before | {"test": "computed again"}


def test_plain_text_that_is_split_is_tokenized(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.txt").write_bytes("\ufeffIt's 1,000 km.\r\n\r\nA well-known cat.\r\n".encode())
    (folder / "valid.txt").write_text("Valid text.")
    (folder / "test.txt").write_text("Test text.\n")
    text = locate(str(folder))
    assert text.files["train"].read_text() == " It 's 1 @,@ 000 km . \n A well @-@ known cat . \n"
    assert text.files["valid"].read_text() == " Valid text . \n"
    assert text.files["train"].is_relative_to(home)


def test_one_file_is_split_by_paragraph_in_its_order(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("".join(f"Paragraph {i} of it.\n" for i in range(100)))
    text = locate(str(folder))
    numbers = {s: [int(n) for n in re.findall(r"Paragraph (\d+)", p.read_text())] for s, p in text.files.items()}
    assert numbers == {"train": list(range(90)), "valid": list(range(90, 95)), "test": list(range(95, 100))}


@pytest.mark.parametrize("count", [3, 60])
def test_several_files_are_documents_with_titles(home, tmp_path, count):
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(count):
        (folder / f"file{i:02}.txt").write_text("".join(f"Line {j} of file {i}.\n" for j in range(20)))
    texts = {split: path.read_text() for split, path in locate(str(folder)).files.items()}
    lines = {split: set(re.findall(r"Line \d+ of file \d+", text)) for split, text in texts.items()}
    assert {split: len(found) / count / 20 for split, found in lines.items()} == \
        pytest.approx({"train": 0.9, "valid": 0.05, "test": 0.05}, abs=0.001)
    assert sum(map(len, lines.values())) == len(set().union(*lines.values())) == count * 20
    titles = [title for text in texts.values() for title in re.findall(r"^ = (file\d+) = $", text, re.MULTILINE)]
    assert sorted(titles) == [f"file{i:02}" for i in range(count)]
    if count >= wikitext_format.FEW:
        assert not {n.split()[-1] for n in lines["valid"]} & {n.split()[-1] for n in lines["train"] | lines["test"]}


def test_a_converted_folder_is_made_once_and_again_when_it_changes(home, tmp_path, capfd):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("A line of it.\n" * 100)
    first = locate(str(folder))
    assert locate(str(folder)) == first
    assert capfd.readouterr().err.count("preparing mine-") == 1
    (folder / "novel.txt").write_text("Another line of it.\n" * 100)
    assert locate(str(folder)).sha256 != first.sha256
    for path in first.files.values():
        path.write_text("spoiled")
    (folder / "novel.txt").write_text("A line of it.\n" * 100)
    assert locate(str(folder)).sha256 == first.sha256


def test_hidden_folders_are_no_text(home, tmp_path):
    folder = tmp_path / "mine"
    (folder / ".allatt" / "tokens").mkdir(parents=True)
    (folder / ".allatt" / "tokens" / "words.txt").write_text("not a text of the user\n" * 50)
    with pytest.raises(AllattError, match="holds no text"):
        locate(str(folder))


@pytest.mark.parametrize("name, content, message", [
    ("wiki.train.tokens", b"", r"wiki\.train\.tokens is empty"),
    ("wiki.train.tokens", b"text \0 text\n", r"wiki\.train\.tokens is not text: it has a NUL byte at 5"),
    ("wiki.valid.tokens", "text".encode("utf-16"), r"is not text"),
    ("wiki.test.tokens", "café\n".encode("latin-1"), r"wiki\.test\.tokens is not UTF-8 text near byte 3"),
    ("wiki.test.tokens", "café".encode()[:-1], r"ends in the middle of a character"),
])
def test_bad_files_are_one_clear_line(home, tmp_path, name, content, message):
    folder = write_wikitext(tmp_path / "mine")
    (folder / name).write_bytes(content)
    with pytest.raises(AllattError, match=message) as error:
        locate(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names, message", [
    ([], "holds no text"),
    (["photo.jpg"], "holds no text"),
    (["wiki.train.tokens", "wiki.valid.tokens"], r"lacks the test text: wiki\.test\.tokens"),
    (["train.txt", "test.txt"], r"lacks the valid text.*valid\.txt"),
    (["novel.txt"], "too few paragraphs to be split in three"),
])
def test_folders_without_enough_text_are_one_clear_line(home, tmp_path, names, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("One line.\n")
    with pytest.raises(AllattError, match=message):
        locate(str(folder))
    assert finished(home) == []


def test_names_that_are_nothing_say_what_there_is(home, tmp_path):
    with pytest.raises(AllattError, match="no corpus 'wikitext2'; did you mean wikitext-2?"):
        locate("wikitext2")
    with pytest.raises(AllattError, match="choose one of wikipedia-excerpt, wikitext-2, wikitext-103, text8"):
        locate("zzz")
    with pytest.raises(AllattError, match="there is no folder .*nowhere"):
        locate(str(tmp_path / "nowhere"))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(AllattError, match="is a file; name the folder that holds it"):
        locate(str(tmp_path / "a.txt"))


def test_a_file_that_cannot_grow_is_one_clear_line_and_leaves_nothing(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("A line of it.\n" * 20_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(AllattError, match="cannot write .*home.*free some space, or choose a folder"):
            locate(str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert finished(home) == []
    assert locate(str(folder)).files["train"].stat().st_size > 100_000


def test_a_home_that_is_a_file_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "file"))
    with pytest.raises(AllattError, match="cannot write .*a part of the path is a file"):
        locate("wikipedia-excerpt")


def write_xz_parts(folder: Path, parts: int) -> bytes:
    """A folder whose train text is split into several .xz parts; returns the text."""
    write_wikitext(folder, repeat=50)
    whole = (folder / "wiki.train.tokens").read_bytes()
    (folder / "wiki.train.tokens").unlink()
    step = len(whole) // parts + 1
    for i in range(parts):
        part = folder / f"wiki.train.tokens.part{i + 1}.xz"
        part.write_bytes(lzma.compress(whole[i * step:(i + 1) * step]))
    return whole


@pytest.mark.parametrize("parts", [2, 11])
def test_xz_parts_are_unpacked_in_the_order_of_their_numbers(home, tmp_path, parts):
    whole = write_xz_parts(tmp_path / "wiki2014", parts)
    text = locate(str(tmp_path / "wiki2014"))
    assert text.files["train"].read_bytes() == whole and text.files["train"].is_relative_to(home)
    assert text.files["valid"] == tmp_path / "wiki2014" / "wiki.valid.tokens"
    assert (text.name, text.sha256["train"]) == ("wiki2014", hashlib.sha256(whole).hexdigest())


def test_a_single_xz_file_is_unpacked(home, tmp_path):
    whole = write_xz_parts(tmp_path / "mine", 1)
    (tmp_path / "mine" / "wiki.train.tokens.part1.xz").rename(tmp_path / "mine" / "wiki.train.tokens.xz")
    assert locate(str(tmp_path / "mine")).files["train"].read_bytes() == whole


def test_a_truncated_part_is_one_clear_line(home, tmp_path):
    write_xz_parts(tmp_path / "mine", 2)
    part = tmp_path / "mine" / "wiki.train.tokens.part2.xz"
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(AllattError, match=r"part2\.xz is truncated or damaged.*fetch it again"):
        locate(str(tmp_path / "mine"))
    assert finished(home) == []


# --- text8's format ---------------------------------------------------------------------------------------------


def test_text8_like_is_the_known_text_and_all_of_its_source(home_of_tests):
    excerpt, found = locate("wikipedia-excerpt"), locate("text8-like")
    assert found.sha256 == CORPORA["text8-like"].sha256
    assert {split: files.checksum(path) for split, path in found.files.items()} == found.sha256
    parts = [found.files[split].read_text(encoding="ascii") for split in SPLITS]
    whole = "".join(parts)
    assert whole == "".join(text8_format.spell(excerpt.files[split].read_text(encoding="utf-8")) for split in SPLITS)
    assert [len(part) for part in parts[:2]] == [len(whole) * 90 // 100, len(whole) * 5 // 100]
    assert set(whole) == set("abcdefghijklmnopqrstuvwxyz ") and "  " not in whole and " unk " not in whole
    assert sorted(path.name for path in found.files["train"].parent.iterdir()) == \
        sorted([files.MANIFEST, *(file_name(split) for split in SPLITS)]), "nothing else is left"


def test_text8_like_is_made_again_where_it_is_damaged_and_not_from_another_text(home, monkeypatch, capfd):
    made = CORPORA["text8-like"]
    found = locate("text8-like")
    assert found.files["train"].read_text().startswith(" anarchism anarchism is a political philosophy that advocates")
    found.files["test"].write_text("x")
    assert locate("text8-like") == found and capfd.readouterr().err.splitlines()[-1].endswith("; making it again")
    monkeypatch.setitem(CORPORA, "text8-like", replace(made, sha256=found.sha256 | {"valid": "0" * 64}))
    with pytest.raises(AllattError, match="wikipedia-excerpt is not the text that text8-like is made of, so that the valid"):
        locate("text8-like")


@pytest.mark.parametrize("by_name", [True, False])
def test_any_corpus_can_be_written_as_text8(home, tmp_path, by_name):
    source = "wikipedia-excerpt" if by_name else str(write_wikitext(tmp_path / "mine"))
    folder = tmp_path / "new" / "mine-as-text8"
    write_as_text8(source, folder)
    found = locate(str(folder))
    assert found.files == {split: folder / file_name(split) for split in SPLITS} and found.name == "mine-as-text8"
    if by_name:
        assert found.sha256 == CORPORA["text8-like"].sha256
    text = locate(source)
    assert "".join(found.files[split].read_text(encoding="ascii") for split in SPLITS) \
        == "".join(text8_format.spell(text.files[split].read_text(encoding="utf-8")) for split in SPLITS)
    with pytest.raises(AllattError, match="mine-as-text8 exists already; remove it, or name a new folder"):
        write_as_text8(source, folder)


def test_what_cannot_be_written_as_text8_leaves_nothing(home, tmp_path):
    with pytest.raises(AllattError, match="there is no folder .*nowhere"):
        write_as_text8(str(tmp_path / "nowhere"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
