"""The summary of a text and its tokens."""

import pytest
from sample_text import make_text, write_splits

from allatt.config import DataConfig
from allatt.data.summary import summarize
from allatt.data.tokens import load


def test_it_has_source_counts_and_first_lines(home_of_tests):
    text = summarize(DataConfig())
    counts = load(DataConfig()).meta["splits"]
    for split, found in counts.items():
        row = next(line.split() for line in text.splitlines() if line.strip().startswith(split + " "))
        assert row[1:6] == [f"{found[name]:,}" for name in ("documents", "lines", "words", "bytes", "tokens")]
        assert float(row[6]) == pytest.approx(found["tokens"] / found["words"], abs=1e-3)
        assert float(row[7].rstrip("%")) == pytest.approx(100 * found["unknown"] / found["tokens"], abs=1e-3)
    for part in ("CC BY-SA", "gensim", "2,000", "uint16", "= Anarchism =", "▁An", str(load(DataConfig()).folder)):
        assert part in text
    assert max(map(len, text.splitlines())) < 200


def test_it_warns_of_an_unknown_word_that_is_never_learned(home, tmp_path):
    mine = write_splits(tmp_path / "mine", make_text(400))
    assert "--min-count 2" in summarize(DataConfig(mine, "words", 0))
    for other in (DataConfig(mine, "words", 0, min_count=10), DataConfig(mine, "subwords", 120)):
        assert "--min-count 2" not in summarize(other)
