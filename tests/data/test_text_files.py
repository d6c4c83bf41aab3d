"""UTF-8 text, read in blocks and in lines, with a progress bar."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allatt.data import text_files


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])), st.integers(1, 40))
def test_blocks_joined_are_the_text(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("blocks") / "text"
    path.write_bytes(text.encode())
    found = list(text_files.blocks(path, size))
    assert "".join(found) == text
    assert all(found)
    # A block ends where a line ends, or a word, unless it contains no such end.
    for block in found[:-1]:
        assert block[-1].isspace() or not re.search(r"\s", block)


@pytest.mark.parametrize("space", ["\u3000", "\t", "\r", "\u2028", " "])
def test_no_word_is_cut_whatever_separates_them(tmp_path, space):
    """A word that is cut counts twice, and training and evaluation read blocks of other sizes."""
    path = tmp_path / "text"
    path.write_bytes(space.join(f"word{number}" for number in range(999)).encode())
    for size in (64, 1000, 1 << 20):
        assert [word for block in text_files.blocks(path, size) for word in block.split()] == [f"word{n}" for n in range(999)]


def test_lines_are_whole_and_overlong_ones_come_in_pieces(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a b\n\nc\r\nlast")
    assert list(text_files.lines(path)) == ["a b", "", "c", "last"]
    path.write_text("word " * 500_000 + "\nnext\n")
    found = list(text_files.lines(path))
    assert len(found) > 2 and found[-1] == "next" and " ".join(found).split() == ["word"] * 500_000 + ["next"]


@settings(deadline=None)
@given(st.text("ab \r\n", max_size=60), st.integers(1, 40))
def test_a_line_ends_at_lf_cr_lf_and_cr_wherever_a_block_ends(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("lines") / "text"
    path.write_bytes(text.encode())
    expected = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n") if text else []
    found = list(text_files.lines(path, size))
    assert "".join(found) == "".join(expected) and not any(end in line for line in found for end in "\r\n")
    if max(map(len, expected), default=0) < size:
        assert found == expected


def test_a_cr_lf_that_a_block_cuts_is_one_end_of_a_line(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"abc\r\nde\rfgh\r")
    assert list(text_files.blocks(path, 4)) == ["abc\r", "\n", "de\rfgh\r"]
    assert list(text_files.lines(path, 4)) == ["abc", "de", "fgh"]


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_the_progress_bar_counts_every_byte(tmp_path, monkeypatch, size, capsys):
    bars = []

    class Bar(text_files.tqdm):
        def close(self):
            if not self.disable:
                bars.append((self.desc, self.n, self.total))
            super().close()

    monkeypatch.setattr(text_files, "tqdm", Bar)
    path = tmp_path / "text"
    path.write_text("naïve Ἀχιλλεύς 😀\n" * 500, encoding="utf-8")
    length = path.stat().st_size
    monkeypatch.setattr(text_files, "LARGE", length)
    shown = "".join(text_files.read_with_progress(path, "words of train", size))
    assert shown == path.read_text(encoding="utf-8")
    assert set(bars) == {("words of train", length, length)}
    assert "words of train: " in capsys.readouterr().err
    monkeypatch.setattr(text_files, "LARGE", length + 1)
    assert "".join(text_files.read_with_progress(path, "words of train", size))
    assert capsys.readouterr().err == ""
