"""Tables as text: with aligned columns for the terminal, and in Markdown."""

from collections.abc import Iterable, Sequence


def table(rows: Sequence[Sequence[str]], align: str = "", indent: str = "") -> str:
    """Format rows of cells as lines; each column is as wide as its widest cell.

    `align` has one character per column, "<" (left) or ">" (right). By default only the first column is left-aligned.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = align or "<" + ">" * (len(widths) - 1)
    template = "  ".join(f"{{:{side}{width}}}" for side, width in zip(align, widths, strict=True))
    return "\n".join(indent + template.format(*row).rstrip() for row in rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines]) if lines else ""
