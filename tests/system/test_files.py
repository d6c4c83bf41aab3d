"""Files and folders that are written whole or not at all."""

import json
import os
import stat

import pytest

from allatt.config import AllattError
from allatt.system import files


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_is_written_whole_with_its_folders_and_the_mode_of_the_umask(tmp_path, umask):
    path = tmp_path / "a" / "b" / "file"
    assert files.write(path, b"one") == path and path.read_bytes() == b"one"
    files.write(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_was_there_is_kept_if_a_write_fails(tmp_path, monkeypatch):
    path = files.write(tmp_path / "file", b"before")
    with pytest.raises(TypeError):
        files.write(path, "no bytes")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(AllattError, match=r"cannot write .*file: no space left; free some space, or choose a folder"):
        files.write(path, b"after")
    assert path.read_bytes() == b"before" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_path_through_a_file_is_one_clear_line(tmp_path):
    files.write(tmp_path / "file", b"")
    with pytest.raises(AllattError, match="a part of the path is a file"):
        files.write(tmp_path / "file" / "below", b"")


def test_other_errors_of_the_disk_are_not_hidden(tmp_path):
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path, b"")


def test_json_is_written_and_read_back(tmp_path):
    values = {"a": [1, 2.5, None], "b": {"c": "ü"}}
    path = files.write_json(tmp_path / "values.json", values)
    assert files.read_json(path, "") == json.loads(path.read_text()) == values
    path.write_text("{")
    with pytest.raises(AllattError, match=r"values.json cannot be read \(.*\); run it again"):
        files.read_json(path, "run it again")
    with pytest.raises(AllattError, match="nothing.json cannot be read"):
        files.read_json(tmp_path / "nothing.json", "")


def test_content_goes_between_two_marks_and_nowhere_else(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("above\n<a>\nold\n<b>\nbelow\n")
    assert files.put_between(path, "<a>", "<b>", "new")
    assert path.read_text() == "above\n<a>\nnew\n<b>\nbelow\n"
    assert not files.put_between(path, "<a>", "<b>", "new")
    for begin, end in (("<b>", "<a>"), ("<a>", "<c>")):
        with pytest.raises(AllattError, match="needs one line"):
            files.put_between(path, begin, end, "x")


def test_a_folder_is_finished_or_not_there(tmp_path):
    folder = tmp_path / "made"
    with files.written(folder) as draft:
        (draft / "a").write_text("first")
        assert not folder.exists()
    assert files.damage(folder) == ""
    with pytest.raises(ValueError), files.written(folder) as draft:
        (draft / "a").write_text("second")
        raise ValueError
    assert (folder / "a").read_text() == "first" and files.damage(folder) == ""
    (tmp_path / ".made.draft").mkdir()
    (tmp_path / ".made.draft" / "c").write_text("of a killed process")
    with files.written(folder) as draft:
        (draft / "b").write_text("third")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    assert sorted(p.name for p in folder.iterdir()) == ["b", files.MANIFEST]


def test_damage_of_large_files_is_seen_by_size_or_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SMALL", 3)
    folder = tmp_path / "made"
    with files.written(folder) as draft:
        (draft / "large").write_text("0123456789")
    path = folder / "large"
    time = path.stat().st_mtime_ns
    path.write_text("012345678x")
    assert "another checksum" in files.damage(folder)
    os.utime(path, ns=(time, time))
    assert files.damage(folder) == ""
    path.write_text("0123")
    assert "has 4 bytes instead of 10" in files.damage(folder)
