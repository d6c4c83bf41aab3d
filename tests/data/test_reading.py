"""UTF-8 text, read in blocks and in lines."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from allatt.data import reading


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])), st.integers(1, 40))
def test_blocks_are_the_text_in_pieces(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("blocks") / "text"
    path.write_bytes(text.encode())
    pieces = list(reading.blocks(path, size))
    assert "".join(pieces) == text
    assert all(pieces)
    # A piece ends where a line ends, or a word; else there was none to end.
    for piece in pieces[:-1]:
        assert piece.endswith(("\n", " ")) or not re.search("[\n ]", piece)


def test_lines_are_whole_and_overlong_ones_come_in_pieces(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b\n\nc\r\nlast")
    assert list(reading.lines(path)) == ["a b", "", "c\r", "last"]
    path.write_text("word " * 500_000 + "\nnext\n")
    found = list(reading.lines(path))
    assert len(found) > 2 and found[-1] == "next" and " ".join(found).split() == ["word"] * 500_000 + ["next"]
