"""Words of a sentence as figures show them."""


def written(pieces: list[str]) -> list[str]:
    """Subwords as a figure shows them: without the mark of a word's beginning, and with dots where a word continues."""
    return [piece.removeprefix("▁") if piece.startswith("▁") else f"…{piece}" for piece in pieces]
