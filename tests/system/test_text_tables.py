"""Tables: widths, sides, no space at the end of a line; in Markdown."""

import pytest

from allatt.system.text_tables import markdown_table, table

ROWS = [("", "ms", "x"), ("reference", "12.5", "1.00"), ("fast", "6", "2.08")]


def test_first_column_is_left_aligned_and_the_others_right():
    assert table(ROWS) == ("             ms     x\n"
                           "reference  12.5  1.00\n"
                           "fast          6  2.08")


def test_alignment_and_indent_can_be_chosen():
    assert table([("a", "bb", ""), ("ccc", "d", "e")], ">><", indent="  ") == ("    a  bb\n"
                                                                              "  ccc   d  e")


def test_rows_must_have_the_same_number_of_cells():
    with pytest.raises(ValueError):
        table([("a", "b"), ("c",)])


def test_markdown():
    assert markdown_table(["", "ms"], [("fast", "6"), ("slow", "12")]) == "|  | ms |\n|---|---|\n| fast | 6 |\n| slow | 12 |"
    assert markdown_table(["a"], []) == ""
