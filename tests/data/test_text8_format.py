"""text8's format: any text spelled with 27 characters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.data import text8_format, text_files
from allatt.data.wikitext_format import SPLITS, file_name


@pytest.mark.parametrize("text, expected", [
    (" = The Cat = \n \n It has 9 lives , 1 @,@ 024 @.@ 5 kg .\n", " the cat it has nine lives one zero two four five kg"),
    ("a well @-@ known <unk> , or <formula> , don 't\n", " a well known or don t"),
    ("Hébert and ναύτης met \u212aelvin , C3PO\n", " h bert and met elvin c three po"),
    ("x < y > z", " x y z"),
    ("\n . 日本 \n", ""),
])
def test_spell_writes_as_text8_does(text, expected):
    assert text8_format.spell(text) == expected


@given(st.text(), st.text())
def test_spelled_text_has_27_characters_and_does_not_depend_on_where_it_is_cut(one, two):
    found = text8_format.spell(one)
    assert re.fullmatch(r"(?: [a-z]+)*", found) and text8_format.spell(found) == found
    assert text8_format.spell(f"{one}\n{two}") == found + text8_format.spell(two)


def test_text8_like_is_made_in_pieces(tmp_path):
    """Of a text of several blocks, what comes is what one piece gives; a block ends within a paragraph here."""
    source = tmp_path / "long.tokens"
    source.write_text(" A long paragraph of 3 words , and <unk> more ." * 60_000)
    assert source.stat().st_size > 2 * text_files.BLOCK
    (tmp_path / "out").mkdir()
    text8_format.convert([source, source], tmp_path / "out")
    written = "".join((tmp_path / "out" / file_name(split)).read_text() for split in SPLITS)
    assert written == 2 * text8_format.spell(source.read_text())
