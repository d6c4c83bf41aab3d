"""Plain-text tables with aligned columns, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], align: str = "", indent: str = "") -> str:
    """Format rows of cells as lines; each column is as wide as its widest cell.

    `align` has one character per column, "<" (left) or ">" (right). By default only the first column is left-aligned.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = align or "<" + ">" * (len(widths) - 1)
    return "\n".join(indent + line(row, align, widths) for row in rows)


def line(cells: Sequence[str], align: str, widths: Sequence[int]) -> str:
    """Format one row with given column widths, for tables whose rows are printed one at a time."""
    padded = [cell.ljust(width) if side == "<" else cell.rjust(width)
              for cell, side, width in zip(cells, align, widths, strict=True)]
    return "  ".join(padded).rstrip()
