"""Files of a folder: what is left out, missing, joined or no text is said, and all of it at once."""

import lzma
import os
from pathlib import Path

import pytest
from sample_text import write_wikitext

from allatt.config import AllattError
from allatt.data.corpora import locate


@pytest.mark.parametrize("numbers, missing", [((1, 3), 2), ((2, 3), 1), ((1, 2, 10), 3)])
def test_a_missing_part_is_named(home, tmp_path, numbers, missing):
    folder = write_wikitext(tmp_path / "mine")
    (folder / "wiki.train.tokens").unlink()
    for number in numbers:
        (folder / f"wiki.train.tokens.part{number}.xz").write_bytes(lzma.compress(b" some text \n"))
    with pytest.raises(AllattError, match=f"of the train text, but not part {missing}; fetch it, too"):
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
