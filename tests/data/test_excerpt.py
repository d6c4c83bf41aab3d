"""The built-in text: the archive in the package, and what is said if it is damaged."""

import functools
import io
import re
import tarfile

import pytest
from sample_text import count_words, finished

from allatt.config import AllattError
from allatt.data import excerpt
from allatt.data.corpora import CORPORA, locate
from allatt.data.wikitext_format import SPLITS
from allatt.system import files

NAMES = [f"wiki.{split}.tokens" for split in SPLITS]


@pytest.fixture(scope="module")
def text(home_of_tests):
    return locate("wikipedia-excerpt")


def pack(path, members: dict[str, bytes | None]):
    """An archive of these files; None: a folder."""
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return path


def test_it_is_the_known_text_and_is_split_by_article(text):
    assert text.sha256 == CORPORA["wikipedia-excerpt"].sha256
    assert {split: files.checksum(path) for split, path in text.files.items()} == text.sha256
    texts = {split: path.read_text(encoding="utf-8") for split, path in text.files.items()}
    titles = {split: re.findall(r"^ = (?!=)(.*) = $", text, re.MULTILINE) for split, text in texts.items()}
    assert sum(map(len, titles.values())) == len(set().union(*titles.values())) == 95
    total = sum(map(count_words, texts.values()))
    assert total > 500_000
    for split in ("valid", "test"):
        assert 0.04 < count_words(texts[split]) / total < 0.05
        assert len(titles[split]) >= 7


def test_it_has_no_markup_left(text):
    for path in text.files.values():
        content = path.read_text(encoding="utf-8")
        assert not re.findall(r"''|\[\[|\]\]|\{\{|\}\}|</?ref|&nbsp;|thumb \||\( \)|https?:|  |\u00a0", content)
        assert all(line.startswith(" ") and line.endswith(" ") for line in content.splitlines())
        assert not re.findall(r"^ (?:\*|#|:|;|\|) ", content, re.MULTILINE)


def test_it_is_unpacked_once(text, capfd):
    before = {path: path.stat().st_mtime_ns for path in text.files.values()}
    assert locate("wikipedia-excerpt") == text
    assert {path: path.stat().st_mtime_ns for path in text.files.values()} == before
    assert capfd.readouterr().err == ""


def test_the_archive_says_nothing_of_who_packed_it():
    with tarfile.open(excerpt.ARCHIVE) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(NAMES)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in members} \
        == {(0, 0, 0, "", "", 0o644, tarfile.REGTYPE)}


def test_its_readme_has_license_source_and_checksums():
    about = (excerpt.ARCHIVE.parent / "README.md").read_text(encoding="utf-8")
    assert "CC BY-SA 3.0" in about and "gensim 4.4.0" in about and excerpt.ARCHIVE.name in about
    assert all(checksum in about for checksum in CORPORA["wikipedia-excerpt"].sha256.values())


def test_only_the_three_texts_are_unpacked(tmp_path):
    members = {name: name.encode() for name in NAMES}
    archive = pack(tmp_path / "a.tar.xz", {"../outside": b"x", str(tmp_path / "absolute"): b"x", "more": b"x", **members})
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    excerpt.unpack(folder, archive)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == members
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.xz", "inner"] and len([*folder.parent.iterdir()]) == 1


@pytest.mark.parametrize("spoil", [lambda whole: whole[:-4000], lambda whole: whole[:5000], lambda whole: b"",
                                   lambda whole: b"another file", lambda whole: whole[:9000] + b"???" + whole[9003:]])
def test_a_damaged_archive_is_one_clear_line(tmp_path, spoil):
    archive = tmp_path / "spoiled.tar.xz"
    archive.write_bytes(spoil(excerpt.ARCHIVE.read_bytes()))
    with pytest.raises(AllattError, match=r"spoiled\.tar\.xz is truncated or damaged .*; install allatt again") as error:
        excerpt.unpack(tmp_path, archive)
    assert "\n" not in str(error.value)


def test_an_archive_that_lacks_a_text_is_one_clear_line(tmp_path):
    with pytest.raises(AllattError, match=r"nowhere\.tar\.xz, which holds the built-in text, is missing; install allatt again"):
        excerpt.unpack(tmp_path, tmp_path / "nowhere.tar.xz")
    archive = pack(tmp_path / "a.tar.xz", dict.fromkeys(NAMES[:2], b""))
    with pytest.raises(AllattError, match=r"a\.tar\.xz is truncated or damaged .*wiki\.test\.tokens.*; install allatt again"):
        excerpt.unpack(tmp_path, archive)
    archive = pack(tmp_path / "b.tar.xz", {NAMES[0]: None})
    with pytest.raises(AllattError, match=r"b\.tar\.xz has no file wiki\.train\.tokens; install allatt again"):
        excerpt.unpack(tmp_path, archive)


def test_another_text_in_the_archive_is_refused_and_leaves_nothing(home, tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.tar.xz", dict.fromkeys(NAMES, b" another text \n"))
    monkeypatch.setattr(excerpt, "unpack", functools.partial(excerpt.unpack, archive=archive))
    with pytest.raises(AllattError, match="not the one of this release, so that the train text is not the known one: install"):
        locate("wikipedia-excerpt")
    assert finished(home) == []


@pytest.mark.parametrize("spoil", [lambda p: p.write_text("x"), lambda p: p.unlink(),
                                   lambda p: p.write_bytes(p.read_bytes().replace(b"words", b"swords"[:5], 1)),
                                   lambda p: (p.parent / files.MANIFEST).write_text("{"),
                                   lambda p: (p.parent / files.MANIFEST).unlink()])
def test_a_damaged_copy_is_noticed_and_made_again(home, spoil, capfd):
    text = locate("wikipedia-excerpt")
    path = text.files["valid"]
    whole = path.read_bytes()
    spoil(path)
    assert locate("wikipedia-excerpt") == text
    assert path.read_bytes() == whole
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("allatt: ") and line.endswith("; making it again")
    assert str(path.parent) in line
