"""Files of a folder: what is left out, missing, joined or no text is said, all of it at once. Folders of ALLATT_DATA."""

import lzma
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from sample_text import count_words, write_wikitext

from allatt.config import AllattError
from allatt.data import corpora, folders
from allatt.data.corpora import CORPORA, locate
from allatt.data.wikitext_format import SPLITS, file_name


@pytest.mark.parametrize("numbers, missing", [((1, 3), 2), ((2, 3), 1), ((1, 2, 10), 3)])
def test_a_missing_part_is_named(home, tmp_path, numbers, missing):
    folder = write_wikitext(tmp_path / "mine")
    (folder / "wiki.train.tokens").unlink()
    for number in numbers:
        (folder / f"wiki.train.tokens.part{number}.xz").write_bytes(lzma.compress(b" some text \n"))
    with pytest.raises(AllattError, match=f"of the train text, but not part {missing}; fetch it, too"):
        locate(str(folder))


def test_a_part_with_two_names_is_one_clear_line(home, tmp_path):
    folder = write_wikitext(tmp_path / "mine")
    (folder / "wiki.train.tokens").unlink()
    for number in ("1", "01"):
        (folder / f"wiki.train.tokens.part{number}.xz").write_bytes(lzma.compress(b" some text \n"))
    with pytest.raises(AllattError, match="part01.xz and .*part1.xz, which are the same part; remove one"):
        locate(str(folder))


def test_a_split_one_folder_deeper_is_not_split_anew(home, tmp_path):
    """As an archive unpacks: else a tenth of the training text would become validation and test, and the test text training."""
    for split in SPLITS:
        (tmp_path / "mine" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / "deep" / f"{split}.TXT").write_text("A paragraph of some words.\n\n" * 20)
    with pytest.raises(AllattError, match="mine/deep is split in train, valid, test, and would be split anew .* name that"):
        locate(str(tmp_path / "mine"))
    assert set(locate(str(tmp_path / "mine" / "deep")).files) == set(SPLITS)


def test_linked_folders_are_read_once_and_may_lead_back(home, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").mkdir()
    for place, word in (("elsewhere", "linked"), ("mine", "own")):
        (tmp_path / place / f"{word}.txt").write_text(f"A paragraph with the word {word}.\n\n" * 20)
    for name in ("one", "two"):
        (tmp_path / "mine" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "mine")
    found = "".join(path.read_text() for path in locate(str(tmp_path / "mine")).files.values())
    assert found.count("word linked") == 20 and found.count("word own") == 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["wiki.valid.tokens.xz", "valid.txt"])
def test_a_file_that_cannot_be_read_is_said_so(home, tmp_path, name):
    folder = write_wikitext(tmp_path / "mine")
    (folder / "wiki.valid.tokens").unlink()
    (folder / name).write_bytes(b"x")
    (folder / name).chmod(0)
    with pytest.raises(AllattError, match=f"cannot read .*{name}"):
        locate(str(folder))


def test_a_file_that_cannot_be_opened_is_said_so(home, tmp_path, monkeypatch):
    """As above, for root, too: the system's refusal is a stand-in."""
    folder = write_wikitext(tmp_path / "mine")
    (folder / "wiki.valid.tokens").unlink()
    (folder / "wiki.valid.tokens.xz").write_bytes(b"x")

    def refuse(path, *rest, **more):
        if str(path).endswith(".xz"):
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *rest, **more)

    monkeypatch.setattr(folders, "open", refuse, raising=False)
    with pytest.raises(AllattError, match="cannot read .*wiki.valid.tokens.xz: Permission denied"):
        locate(str(folder))


@pytest.mark.parametrize("names", ["text8.txt", "wiki.{}.tokens"])
def test_another_text_is_not_taken_for_text8(home, tmp_path, monkeypatch, names):
    """text8 has no checksum in a run's name: two texts under it could not be told apart."""
    folder = tmp_path / "text8"
    folder.mkdir()
    for split in SPLITS:
        (folder / names.format(split)).write_bytes(b" the same words again" * 40)
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    with pytest.raises(AllattError, match="characters instead of 100,000,000"):
        locate("text8")
    size = sum((folder / names.format(split)).stat().st_size for split in set(SPLITS))
    whole = size if "{" in names else size // 3
    monkeypatch.setitem(CORPORA, "text8", replace(CORPORA["text8"], characters=whole))
    assert sum(path.stat().st_size for path in locate("text8").files.values()) == whole


@pytest.mark.parametrize("names", [
    ("TRAIN.TXT", "Valid.txt", "test.TXT"), ("Wiki.Train.Tokens", "WIKI.VALID.TOKENS", "wiki.test.tokens"),
    ("wiki.train.tokens.XZ", "Valid.Txt", "Wiki.Test.tokens.PART1.xz"),
    ("Wiki.train.TOKENS.Part1.XZ", "VALID.txt", "test.txt")])
def test_names_are_matched_whatever_their_case(home, tmp_path, names):
    folder = tmp_path / "mine"
    folder.mkdir()
    texts = {split: f" the {split} text \n" for split in ("train", "valid", "test")}
    for name, text in zip(names, texts.values(), strict=True):
        packed = name.lower().endswith(".xz")
        (folder / name).write_bytes(lzma.compress(text.encode()) if packed else text.encode())
    (folder / "Notes.TXT").write_text("Not wanted.\n")
    found = locate(str(folder)).files
    assert {split: path.read_text() for split, path in found.items()} == texts
    assert [found[split] == folder / name for split, name in zip(texts, names, strict=True)] == \
        [name.lower().endswith(".tokens") for name in names], "tokens stay where they are"


def test_names_in_capitals_are_checked_and_said_like_others(home, tmp_path, capfd):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("TRAIN.TXT", "VALID.TXT"):
        (folder / name).write_text("Roses are red,\nviolets are blue.\n\n" * 20)
    (folder / "WIKI.TEST.TOKENS").write_bytes(b"a\0b")
    with pytest.raises(AllattError, match="WIKI.TEST.TOKENS is not text: it has a NUL byte"):
        locate(str(folder))
    (folder / "WIKI.TEST.TOKENS").write_text(" text \n")
    assert locate(str(folder)).files["train"].read_text().count("\n") == 20
    assert "short lines are read as wrapped paragraphs and joined, in TRAIN.TXT, VALID.TXT; " in capfd.readouterr().err


def test_unsplit_texts_are_found_whatever_their_case(home, tmp_path, monkeypatch):
    (tmp_path / "mine" / "Deeper").mkdir(parents=True)
    (tmp_path / "mine" / "NOVEL.TXT").write_text("One novel.\n" * 100)
    (tmp_path / "mine" / "Deeper" / "Story.Txt").write_text("One story.\n" * 100)
    text = locate(str(tmp_path / "mine")).files["train"].read_text()
    assert text.count("One novel .") == text.count("One story .") == 90
    (tmp_path / "text8").mkdir()
    with zipfile.ZipFile(tmp_path / "text8" / "Text8.ZIP", "w") as archive:
        archive.writestr("text8", "the cat " * 100)
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    monkeypatch.setitem(CORPORA, "text8", replace(CORPORA["text8"], characters=800))
    assert locate("text8").files["train"].read_text() == "the cat " * 90


@pytest.mark.parametrize("first, second", [
    ("TRAIN.txt", "train.txt"), ("Wiki.train.tokens", "wiki.train.tokens"),
    ("wiki.train.tokens.PART1.xz", "wiki.train.tokens.part1.xz")])
def test_two_names_that_differ_only_in_case_are_one_clear_line(home, tmp_path, first, second):
    folder = write_wikitext(tmp_path / "mine")
    for name in (first, second):
        (folder / name).write_text("text")
    with pytest.raises(AllattError, match=f"mine has {first} and {second}, whose names differ only in case; rename one"):
        locate(str(folder))
    unsplit = tmp_path / "deep"
    (unsplit / "er").mkdir(parents=True)
    for name in ("er/A.txt", "a.TXT", "er/a.TXT"):
        (unsplit / name).write_text(PARAGRAPHS)
    with pytest.raises(AllattError, match="er has A.txt and a.TXT, whose names differ only in case; rename one of them$"):
        locate(str(unsplit))
    (unsplit / "er" / "A.txt").unlink()
    assert locate(str(unsplit)), "in two folders they are two files"


def test_a_folder_that_cannot_be_listed_is_one_clear_line(home, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    folder = write_wikitext(tmp_path / "mine")
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(AllattError, match="cannot read the folder .*mine: Permission denied; allow it, or move it away"):
        locate(str(folder))


def test_a_folder_that_cannot_be_read_is_one_clear_line(home, tmp_path, monkeypatch):
    """Its text would be left out silently."""
    (tmp_path / "mine" / "closed").mkdir(parents=True)
    (tmp_path / "mine" / "a.txt").write_text("One.\n\nTwo.\n\nThree.\n")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AllattError, match="cannot read the folder .*closed: Permission denied; allow it, or move it away"):
        locate(str(tmp_path / "mine"))


def test_an_empty_file_among_others_is_left_out_with_a_note(home, tmp_path, capfd):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("One two.\n\nThree.\n\nFour five.\n" * (number != 1))
    assert "= 1 =" not in locate(str(tmp_path)).files["train"].read_text()
    assert "allatt: left out, since they are empty: 1.txt\n" in capfd.readouterr().err
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(AllattError, match="all 3 text files in .* are empty"):
        locate(str(tmp_path))


def test_all_bad_files_are_named_at_once(home, tmp_path):
    for name, content in (("a", b"fine\n"), ("b", b"\xff\xfe"), ("c", b"a\0b"), ("d", b"fine\n")):
        (tmp_path / f"{name}.txt").write_bytes(content)
    with pytest.raises(AllattError, match=r"b.txt is not UTF-8 text .*; .*c.txt is not text: it has a NUL byte") as error:
        locate(str(tmp_path))
    assert "\n" not in str(error.value) and "a.txt" not in str(error.value)


def test_joined_lines_are_said(home, tmp_path, capfd):
    (tmp_path / "poem.txt").write_text("Roses are red,\nviolets are blue.\n\n" * 20)
    locate(str(tmp_path))
    assert ("allatt: short lines are read as wrapped paragraphs and joined, in poem.txt; to keep lines (poems, code), name the "
            "files wiki.train.tokens, wiki.valid.tokens, wiki.test.tokens") in capfd.readouterr().err
    (tmp_path / "poem.txt").write_text("A paragraph per line, each of them long enough to be one.\n" * 20)
    locate(str(tmp_path))
    assert "short lines" not in capfd.readouterr().err


PARAGRAPHS = "one two three.\n\nfour five six\n\nseven eight\n" * 50


def test_names_that_are_not_utf8_are_one_clear_line(home, tmp_path):
    for name in (b"caf\xe9.txt", b"b.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(PARAGRAPHS)
    with pytest.raises(AllattError, match=r"the name b'.*caf\\xe9.txt' is not UTF-8; rename it") as error:
        locate(str(tmp_path))
    str(error.value).encode()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "a.txt").write_text(PARAGRAPHS)
    with pytest.raises(AllattError, match=r"caf\\xe9' is not UTF-8; rename it"):
        locate(str(folder))


def test_long_names_and_links_are_followed(home, tmp_path):
    folder = tmp_path / ("y" * 240)
    folder.mkdir()
    (folder / "a.txt").write_text(PARAGRAPHS)
    (tmp_path / "link").symlink_to(folder)
    assert locate(str(folder)).sha256 == locate(str(tmp_path / "link")).sha256


@pytest.mark.parametrize("target, message", [("nowhere", "No such file or directory"), ("a.txt", "symbolic links")])
def test_links_that_lead_nowhere_are_one_clear_line(home, tmp_path, target, message):
    (tmp_path / "a.txt").symlink_to(target)
    with pytest.raises(AllattError, match=f"cannot read .*a.txt: .*{message}"):
        locate(str(tmp_path))


# --- ALLATT_DATA ------------------------------------------------------------------------------------------------


def publish(monkeypatch, name, folder):
    """Let the words of this folder be the published ones of a corpus."""
    words = {split: count_words((folder / file_name(split)).read_text()) for split in SPLITS}
    monkeypatch.setitem(CORPORA, name, replace(CORPORA[name], words=words))


def test_named_corpora_are_looked_for_in_all_folders_of_allatt_data(home, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    folder = write_wikitext(tmp_path / "two" / "wikitext-2")
    publish(monkeypatch, "wikitext-2", folder)
    monkeypatch.setenv("ALLATT_DATA", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    text = locate("wikitext-2")
    assert text.title == "WikiText-2" and text.files["train"] == folder / "wiki.train.tokens"
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path / "three"))
    with pytest.raises(AllattError, match="ALLATT_DATA names .*three, which is not a folder"):
        locate("wikitext-2")


def test_a_missing_split_is_named(home, tmp_path, monkeypatch):
    folder = tmp_path / "wikitext-103"
    folder.mkdir()
    (folder / "wiki.valid.tokens").write_text(" text \n")
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    with pytest.raises(AllattError, match=r"wikitext-103 lacks the train text: wiki\.train\.tokens"):
        locate("wikitext-103")


def test_another_text_under_the_name_of_a_known_one_is_refused(home, tmp_path, monkeypatch):
    write_wikitext(tmp_path / "wikipedia-excerpt")
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    with pytest.raises(AllattError, match="train text of wikipedia-excerpt in .* is not the known one"):
        locate("wikipedia-excerpt")


@pytest.mark.parametrize("name", ["wikitext-2", "wikitext-103"])
def test_another_number_of_words_than_published_is_refused(home, tmp_path, monkeypatch, name):
    folder = write_wikitext(tmp_path / name)
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    published = CORPORA[name].words["train"]
    with pytest.raises(AllattError, match=f"the train text of {name} in .* is not the known one: it has 108 words, line ends "
                       f"included, instead of {published:,}; fetch its wiki.train.tokens again, or, if it is a text of your "
                       "own, give the folder another name and pass that folder as --corpus$") as error:
        locate(name)
    assert "\n" not in str(error.value)
    assert locate(str(folder)).name == name, "as a folder of one's own it is any text"
    publish(monkeypatch, name, folder)
    assert locate(name).title == CORPORA[name].title
    with open(folder / "wiki.test.tokens", "a") as file:
        file.write(" \n")
    with pytest.raises(AllattError, match=f"the test text of {name} in .* it has 325 words, .* instead of 324; "):
        locate(name)


def test_words_are_counted_once_until_a_file_changes(home, tmp_path, monkeypatch):
    folder = write_wikitext(tmp_path / "wikitext-2")
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    publish(monkeypatch, "wikitext-2", folder)
    counted, count = [], corpora.total_words
    monkeypatch.setattr(corpora, "total_words", lambda path: counted.append(path.name) or count(path))
    assert locate("wikitext-2") == locate("wikitext-2") and counted == [file_name(split) for split in SPLITS]
    os.utime(folder / "wiki.valid.tokens", ns=(1, 1))
    assert locate("wikitext-2") and counted[3:] == ["wiki.valid.tokens"]
