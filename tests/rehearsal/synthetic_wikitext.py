"""A text as large as WikiText-103, made up: the published numbers of words, and words about as frequent as in English.

Its 267,000 words have no meaning, so that no model learns much of it. It rehearses what size does: time, memory, disk.
"""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow
import pyarrow.parquet

TYPES, LINE, BLOCK = 267_000, 40, 20_000
"""Different words; words and line end of a line; lines that are made at a time."""


def lines(words: int, seed: int) -> Iterator[list[str]]:
    """Blocks of lines with exactly `words` words and line ends in all; headings now and then, and empty lines as on the hub."""
    draws = np.random.default_rng(seed)
    names = np.array([f"w{rank:x}" for rank in range(TYPES)], dtype=object)
    # Zipf's law with Mandelbrot's shift: the cumulated probabilities of ranks 1, 2, ...
    sums = np.cumsum(1 / (np.arange(TYPES) + 2.7))
    sums /= sums[-1]
    number = 0
    while words > 0:
        count = min(BLOCK, words // LINE)
        table = names[np.searchsorted(sums, draws.random((count, LINE - 1)))]
        block = []
        for row in table:
            if number % 100 == 0:
                row[0], row[-1] = "=", "="  # a heading of the first level begins a document
            block.append(" " + " ".join(row) + " \n")
            number += 1
        words -= count * LINE
        if words < LINE:  # what is left over: empty lines, each of them one line end
            block += [""] * words
            words = 0
        yield block


def parquet(words: int, seed: int) -> bytes:
    """The text as a parquet file with a column `text`, as the hub has it."""
    out, schema = io.BytesIO(), pyarrow.schema([("text", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(out, schema) as writer:
        for block in lines(words, seed):
            writer.write_table(pyarrow.table({"text": block}, schema))
    return out.getvalue()
