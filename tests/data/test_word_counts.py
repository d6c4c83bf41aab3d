"""Words of a text, numbered and counted: in however many parts and blocks, the same numbers mean the same text."""

import numpy as np
import pytest

from allatt.config import AllattError, DataConfig
from allatt.data import text_files, word_counts
from allatt.data.text_files import blocks
from allatt.data.tokenizers import Words
from allatt.data.word_counts import count_words, number_words, total_words

ODD = ["\ufeffstarts with a mark", "one\u2028two\x85three\x1cfour", "", " ", "carriage\r", "ﬁ 😀 naïve Ἀχιλλεύς",
       "long" * 60, "many words " * 40, " = Title = ", " = = Section = = ", "<unk> <eos> <unk>"]


def write_text(path, lines: int):
    """A text with odd characters, long words and long lines."""
    path.write_bytes("".join(f"{ODD[i % 37] if i % 37 < len(ODD) else ' '.join(f'w{i * j % 53}' for j in range(i % 9))}\n"
                             for i in range(lines)).encode())
    return path


def learn(path) -> Words:
    return Words.learn(*count_words(path), DataConfig(tokens="words", vocab_size=0))


@pytest.mark.parametrize("block, part_words, chunk", [(64, 10**6, 10**6), (64, 20, 10**6), (1 << 15, 1, 7), (300, 5, 3)])
def test_blocks_and_parts_change_no_id_and_no_count(tmp_path, block, part_words, chunk):
    path = write_text(tmp_path / "text", 700)
    vocabulary = learn(path)
    found = number_words(path, tmp_path / "numbers", "", block, part_words)
    assert (len(found.parts) == 1) == (part_words > 1000 or block > path.stat().st_size)
    # A word longer than a block falls apart; the text is encoded in the same blocks.
    expected = [i for text in blocks(path, block) for i in vocabulary.encode(text).tolist()]
    assert np.concatenate(list(found.ids(vocabulary.table, chunk))).tolist() == expected
    assert found.counts(chunk=chunk) == count_words(path, block=block)
    assert found.totals == {"documents": 700 // 37 + (700 % 37 > 8), "lines": 700, "words": len(expected)}
    assert total_words(path, block) == len(expected)


def test_a_text_with_cr_lf_has_the_documents_and_words_of_one_with_lf(tmp_path):
    text = " = One = \n \n a b \n = = Part = = \n c \n = Two = \n d \n"
    totals = []
    for name, end in (("lf", "\n"), ("crlf", "\r\n")):
        path = tmp_path / name
        path.write_bytes(text.replace("\n", end).encode())
        found = number_words(path, tmp_path / f"{name}-numbers", "", block=16)
        totals.append(found.totals)
        assert total_words(path, 16) == found.totals["words"]
    assert totals == [{"documents": 2, "lines": 7, "words": 22}] * 2


def test_numbering_starts_again_when_there_are_many_words(tmp_path):
    path = tmp_path / "text"
    path.write_text("often often often\n" * 2000 + "".join(f"often once{i} twice{i // 2}\n" for i in range(5000)))
    whole = number_words(path, tmp_path / "whole", "")
    several = number_words(path, tmp_path / "several", "", block=4096, part_words=1000)
    assert len(whole.parts) == 1 and len(several.parts) > 5
    vocabulary = learn(path)
    for found in (whole, several):
        assert found.totals == whole.totals and found.counts() == found.counts(chunk=100) == count_words(path)
        assert np.concatenate(list(found.ids(vocabulary.table, 100))).tolist() == vocabulary.encode(path.read_text()).tolist()
    # The files are those that the class describes.
    part = several.parts[0]
    words = part.with_suffix(".words").read_text().split("\n")
    assert np.fromfile(part, np.int32).max() == len(words) - 1 and words[:2] == ["often", word_counts.LINE_END]


def test_counting_forgets_rare_words_when_there_are_too_many(tmp_path):
    path = tmp_path / "text"
    path.write_text("".join(f"often once{i} twice{i // 2}\n" for i in range(20_000)))
    counts, lines = count_words(path, limit=1000, block=4096)
    assert lines == counts["often"] == 20_000
    # The two occurrences of a word are in one block, so they are counted before anything is forgotten.
    assert sum(n == 2 for n in counts.values()) > 9_000 and len(counts) < 20_000


@pytest.mark.parametrize("text, too_many", [("a b c d\na b\n", False), ("a b c d\na b\ne", True), ("a b c d a b", False),
                                            ("a b c d a b e", True)])
def test_too_many_words_are_counted_in_the_order_of_the_text(tmp_path, text, too_many):
    path = tmp_path / "text"
    path.write_text(text)
    counted = number_words(path, tmp_path / "numbers", "").counts(limit=4)
    assert counted == count_words(path, limit=4)
    assert (counted[0] == {"a": 2, "b": 2}) == too_many


@pytest.mark.parametrize("bad, message", [
    ({250: b"a NUL \0 here"}, "is not text: it has a NUL byte at 3256"),
    ({250: b"no UTF-8 \xff", 500: b"a NUL \0 here"}, r"is not UTF-8 text near byte 32\d\d; convert it to UTF-8 first"),
    ({500: b"no UTF-8 \xff", 250: b"a NUL \0 here"}, "is not text: it has a NUL byte at 3256"),
    ({599: b"truncated \xc3"}, "ends in the middle of a character; it seems to be truncated"),
])
def test_bytes_that_are_no_text_are_one_clear_line(tmp_path, bad, message):
    path = tmp_path / "text"
    path.write_bytes(b"\n".join(bad.get(i, b"twelve bytes") for i in range(600)))
    with pytest.raises(AllattError, match=message) as error:
        number_words(path, tmp_path / "numbers", "", block=64)
    assert "\n" not in str(error.value)


def test_the_end_of_a_line_is_a_word(tmp_path):
    path = tmp_path / "text"
    path.write_text("b a\n\na\nb a")
    found = number_words(path, tmp_path / "numbers", "")
    assert found.counts() == ({"b": 2, "a": 3}, 3)
    assert found.totals == {"documents": 0, "lines": 3, "words": 8}
    assert np.fromfile(found.parts[0], np.int32).tolist() == [0, 1, 2, 2, 1, 2, 0, 1]


@pytest.mark.parametrize("text, words", [("", 0), ("  ", 0), ("\n", 1), (" a", 1)])
def test_a_text_with_next_to_nothing(tmp_path, text, words):
    path = tmp_path / "text"
    path.write_text(text)
    found = number_words(path, tmp_path / "numbers", "")
    assert found.totals["words"] == words == found.counts()[0].total() + text.count("\n")
    assert sum(map(len, found.ids(Words(["<unk>", "<eos>"]).table))) == words


def test_large_texts_have_a_progress_bar(tmp_path, monkeypatch, capsys):
    path = write_text(tmp_path / "text", 700)
    number_words(path, tmp_path / "quiet", "words of train")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(text_files, "LARGE", 0)
    number_words(path, tmp_path / "numbers", "words of train")
    assert "words of train: " in capsys.readouterr().err
