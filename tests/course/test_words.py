"""Words of a sentence as figures show them."""

from allatt.course.words import written


def test_pieces_as_words():
    assert written(["▁to", "ured", "▁", "▁,"]) == ["to", "…ured", "", ","]
