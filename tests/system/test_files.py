"""Files and folders that are written whole or not at all."""

import json
import math
import os
import stat

import pytest

from allatt.config import AllattError
from allatt.system import files
from allatt.system.files import MANIFEST, damage, written


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


def test_a_folder_in_the_place_of_a_file_is_one_clear_line(tmp_path):
    with pytest.raises(AllattError, match=f"cannot write {tmp_path}: a folder is in its place; remove it"):
        files.write(tmp_path, b"")


def test_other_errors_of_the_disk_are_not_hidden(tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        files.write(tmp_path / ("x" * 300), b"")


def test_where_nothing_can_be_written_is_known_beforehand(tmp_path):
    files.check_writable(tmp_path / "new" / "x.json")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "x").write_text("kept")
    files.check_writable(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "kept"
    for path in (tmp_path, tmp_path / "x" / "y"):
        with pytest.raises(AllattError):
            files.check_writable(path)


def test_json_is_written_and_read_back(tmp_path):
    values = {"a": [1, 2.5, None], "b": {"c": "ü"}}
    path = files.write_json(tmp_path / "values.json", values)
    assert files.read_json(path, "") == json.loads(path.read_text()) == values
    path.write_text("{")
    with pytest.raises(AllattError, match=r"values.json cannot be read \(.*\); run it again"):
        files.read_json(path, "run it again")
    with pytest.raises(AllattError, match="nothing.json cannot be read"):
        files.read_json(tmp_path / "nothing.json", "")


def test_json_is_read_from_files_of_a_size_only(tmp_path, monkeypatch):
    """A device never ends, a pipe waits forever, and a huge file fills the memory: neither is opened."""
    path = files.write_json(tmp_path / "values.json", {"a": 1})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link", "/dev/zero"):
        with pytest.raises(AllattError, match="it is a device or a pipe, not a file.; run it again"):
            files.read_json(tmp_path / name, "run it again")
    with pytest.raises(AllattError, match="Is a directory"):
        files.read_json(tmp_path, "")
    monkeypatch.setattr(files, "LARGEST", path.stat().st_size)
    assert files.read_json(path, "") == {"a": 1}
    monkeypatch.setattr(files, "LARGEST", path.stat().st_size - 1)
    with pytest.raises(AllattError, match="it has 12 bytes, and JSON files have at most 11.; run it again"):
        files.read_json(path, "run it again")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 10**12)
    with pytest.raises(AllattError, match="it has 1,000,000,000,000 bytes"):
        files.read_json(tmp_path / "huge", "")


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", "5", '{"other": {}}', "[" * 100_000])
def test_a_manifest_that_does_not_name_the_files_is_damage(tmp_path, manifest):
    folder = tmp_path / "folder"
    with files.written(folder) as draft:
        (draft / "a.txt").write_text("text")
    assert files.damage(folder) == ""
    (folder / "more.txt").write_text("not listed")
    assert "does not name more.txt" in files.damage(folder)
    (folder / "more.txt").unlink()
    (folder / "manifest.json").write_text(manifest)
    assert str(folder / "manifest.json") in files.damage(folder)


@pytest.mark.parametrize("change", [lambda v: v.update(a=2), lambda v: v.pop("b"), lambda v: v.update(c=1),
                                    lambda v: v["b"].update(x=[1, 2.6])])
def test_a_sealed_object_cannot_be_changed_unnoticed(tmp_path, change):
    path = tmp_path / "sealed.json"
    values = {"a": 1, "b": {"x": (1, 2.5), "ü": None}}
    files.write_json(path, files.seal(values))
    assert {k: v for k, v in files.read_json(path, "advice").items() if k != files.SEAL} == json.loads(json.dumps(values))
    changed = json.loads(path.read_text())
    change(changed)
    path.write_text(json.dumps(changed))
    with pytest.raises(AllattError, match="sealed.json was changed after it was written; advice"):
        files.read_json(path, "advice")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_finite_numbers_only(tmp_path, value):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", {"a": value})
    (tmp_path / "x.json").write_text(json.dumps({"a": value}))
    with pytest.raises(AllattError, match=r"x.json cannot be read \(.* is no number in JSON\); advice"):
        files.read_json(tmp_path / "x.json", "advice")


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


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": {"bytes": 1e999, "mtime_ns": 0, "sha256": ""}}', "a pipe"])
def test_a_manifest_that_no_reader_should_read_is_damage(tmp_path, content):
    with written(tmp_path / "folder") as draft:
        (draft / "a").write_text("a")
    path = tmp_path / "folder" / MANIFEST
    if content == "a pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_text(content)
    assert damage(tmp_path / "folder") == f"{path} is not readable"


@pytest.mark.parametrize("value", [[], {"a": 1}], ids=["lists", "objects"])
def test_json_that_is_nested_too_deeply_for_its_readers_is_refused(tmp_path, value):
    for depth, is_read in ((files.DEEPEST, True), (files.DEEPEST + 1, False)):
        nested = "x"
        for _ in range(depth - 1):
            nested = [nested] if value == [] else {"a": nested}
        (tmp_path / "a.json").write_text(json.dumps(nested))
        if is_read:
            assert files.parse(tmp_path / "a.json") == nested
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                files.parse(tmp_path / "a.json")
