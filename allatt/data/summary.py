"""Summarize a text and its tokens for people: source, sizes, share of unknown tokens, first lines (`python -m allatt data`)."""

import textwrap
from itertools import islice

from allatt.config import DataConfig
from allatt.data.corpora import locate
from allatt.data.text_files import lines
from allatt.data.tokens import load
from allatt.system.text_tables import table

WIDTH = 110


def summarize(data: DataConfig) -> str:
    """Several lines about the text of `data` and its tokens, which are made first if necessary."""
    tokens, text = load(data), locate(data.corpus)
    splits, size = tokens.meta["splits"], tokens.train.itemsize
    folders = sorted({str(path.parent) for path in text.files.values()}) or [f"not here; ids packed in {text.packed}"]
    about = {"title": text.title, "license": text.license, "source": text.source, "text": ", ".join(folders),
             "ids": str(tokens.folder),
             "tokens": f"{data.tokens}, vocabulary of {tokens.vocab:,}, {tokens.train.dtype} "
                       f"({size} byte{'s' * (size > 1)} each)"}
    remark = []
    if data.tokens == "words" and not splits["train"]["unknown"]:
        remark = ["  No word of the training text is unknown, so <unk> is never learned; --min-count 2 changes that."]
    beginning = lines(text.files["train"]) if text.files else tokens.decode(tokens.train[:500]).split("\n")
    first = [" ".join(line.split()) for line in islice(beginning, 20)]
    first = [line for line in first if line][:4]
    pieces = " ".join(tokens.vocabulary.piece(i) for i in tokens.train[:40].tolist())
    columns = ("documents", "lines", "words", "bytes", "tokens")
    rows = [("", *columns, "tokens/word", "unknown")]
    for split, counts in splits.items():
        known = [counts[name] for name in columns]  # None: of a part of a text (`allatt.data.packed`)
        per_word = f"{counts['tokens'] / counts['words']:.3f}" if counts["words"] else ""
        rows.append((split, *("not counted" if number is None else f"{number:,}" for number in known), per_word,
                     f"{counts['unknown'] / counts['tokens']:.3%}"))
    return "\n".join([
        text.name, *(f"  {name:<8} {value}" for name, value in about.items()),
        "", table(rows, indent="  "),
        "", "  Words include one end of line per line; unknown is a share of the tokens.", *remark,
        "", "It starts", *(f"  {textwrap.shorten(line, WIDTH, placeholder=' ...')}" for line in first),
        "", "as tokens", *(f"  {line}" for line in textwrap.wrap(pieces, WIDTH, break_on_hyphens=False)[:3])])
