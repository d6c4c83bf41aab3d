"""Words, subwords and characters: what they learn from a text, and how they encode and decode it."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from sample_text import make_text

from allatt.config import AllattError, DataConfig
from allatt.data.tokenizers import COVERAGE, Characters, Subwords, Words
from allatt.data.wikitext_format import SPLITS

# --- words ------------------------------------------------------------------------------------------------------


def learn(text: str, **values) -> Words:
    data = DataConfig(tokens="words", **{"vocab_size": 0} | values)
    return Words.learn(Counter(text.split()), text.count("\n"), data)


def test_words_are_sorted_by_decreasing_frequency_then_alphabet():
    words = learn("b b b a a c c d \n \n")
    assert words.words == ["b", "<eos>", "a", "c", "d", "<unk>"]
    assert words.size == 6 and words.unknown_id == 5


def test_rare_words_are_unknown_and_counted_as_such():
    words = learn("b b b a a c c d e <unk> f \n", min_count=2)
    assert words.words == ["<unk>", "b", "a", "c", "<eos>"]
    assert words.encode("a zebra d <unk> b\n").tolist() == [2, 0, 0, 0, 1, 4]
    assert words.decode([2, 0, 4, 1]) == "a <unk>\nb"


def test_the_vocabulary_has_at_most_vocab_size_words():
    words = learn("b b b a a c c d \n \n", vocab_size=4)
    assert words.words == ["<unk>", "b", "<eos>", "a"]
    with pytest.raises(AllattError, match="vocab_size is 2; words need at least 3, or 0 for all"):
        learn("a", vocab_size=2)


def test_the_name_of_the_end_of_line_is_an_ordinary_word_in_text():
    words = learn("a <eos> b \n")
    assert words.encode("a <eos> b\n").tolist() == [words.words.index(w) for w in ("a", "<unk>", "b", "<eos>")]


@given(st.lists(st.lists(st.sampled_from("a bb ccc D é".split()), max_size=4), max_size=6), st.integers(1, 3))
def test_ids_of_words_follow_from_counts(lines, min_count):
    text = "".join(" ".join(line) + "\n" for line in lines)
    words = learn(text, min_count=min_count)
    counts = Counter(words.encode(text).tolist())
    in_order = [counts[i] for i in range(words.size)]
    assert in_order == sorted(in_order, reverse=True)
    expected = Counter(w if n >= min_count else "<unk>" for w, n in Counter(text.split()).items() for _ in range(n))
    expected["<eos>"] = len(lines)
    assert {words.words[i]: n for i, n in counts.items()} == {w: n for w, n in expected.items() if n}


# --- subwords ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subwords() -> Subwords:
    return Subwords.learn(Counter(make_text(400).split()), DataConfig(vocab_size=120))


def test_subwords_are_those_of_sentencepiece_on_whole_lines(subwords):
    for line in make_text(60, 300).splitlines():
        assert subwords.encode(line).tolist() == subwords._pieces.encode(line)


def test_subwords_from_counts_are_those_from_text(subwords):
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(make_text(400).splitlines()), model_writer=model, model_type="bpe", vocab_size=120,
        character_coverage=COVERAGE, normalization_rule_name="identity", unk_id=0, eos_id=1, bos_id=-1,
        pad_id=-1, minloglevel=2)
    other = Subwords(model.getvalue())
    assert [other.piece(i) for i in range(other.size)] == [subwords.piece(i) for i in range(subwords.size)]
    assert subwords.size == 120


def test_scores_say_which_pieces_are_merged_first(subwords):
    """The pieces of several characters come in the order of their merges; <unk> and </s> stand for no text."""
    scores, pieces = subwords.scores(), list(map(subwords.piece, range(subwords.size)))
    assert [piece for piece, score in zip(pieces, scores, strict=True) if score is None] == ["<unk>", "</s>"]
    merged = [score for piece, score in zip(pieces, scores, strict=True) if score is not None and len(piece) > 1]
    assert len(merged) > 50 and merged == [-rank for rank in range(len(merged))]


def test_subwords_learn_the_same_again(subwords):
    counts = Counter(dict(reversed(Counter(make_text(400).split()).items())))
    assert Subwords.learn(counts, DataConfig(vocab_size=120)).model == subwords.model


def test_unknown_words_of_the_text_are_one_unknown_token(subwords):
    ids = subwords.encode("cat <unk> dog\n").tolist()
    assert ids.count(subwords.unknown_id) == 1
    assert subwords.decode(ids) == "cat <unk> dog\n"


def test_characters_that_subwords_cannot_spell_are_unknown(subwords):
    ids = subwords.encode("cat ☃ dog").tolist()
    assert ids.count(subwords.unknown_id) == 1 and "<unk>" in subwords.decode(ids)


@pytest.mark.parametrize("text, vocab_size, message", [
    ("a b", 32, r"cannot be split into 32 subwords; it has enough text for \d+ only: use fewer .data.vocab_size., or more"),
    ("a b", 5000, r"cannot be split into 5,000 subwords; it has enough text for \d+ only"),
    (" ".join(chr(0x400 + i) * 2 for i in range(80)), 40,
     r"cannot be split into 40 subwords; its characters alone need \d+"),
])
def test_an_impossible_number_of_subwords_is_one_clear_line(text, vocab_size, message):
    with pytest.raises(AllattError, match=message) as error:
        Subwords.learn(Counter(text.split()), DataConfig("my text", vocab_size=vocab_size))
    assert "\n" not in str(error.value) and "my text" in str(error.value)


# --- characters -------------------------------------------------------------------------------------------------


def learn_characters(tmp_path: Path, train: str, valid: str = "", test: str = "") -> Characters:
    files = {}
    for split, text in zip(SPLITS, (train, valid, test), strict=True):
        files[split] = tmp_path / split
        files[split].write_text(text, encoding="utf-8")
    return Characters.learn(files)


def test_characters_are_sorted_by_decreasing_frequency_then_code(tmp_path):
    found = learn_characters(tmp_path, "bbba\n\ncé😀", "ab")
    assert [chr(code) for code in found.codes] == ["b", "\n", "a", "c", "é", "😀"]
    assert found.size == 6 and found.unknown_id is None
    assert found.encode("é\n😀").tolist() == [4, 1, 5] and found.decode([4, 1, 5]) == "é\n😀"
    with pytest.raises(AllattError, match="'x' is not one of the characters"):
        found.encode("ax")


def test_there_is_an_unknown_character_only_if_one_is_needed(tmp_path):
    found = learn_characters(tmp_path, "ab", "a", "abc")
    assert found.size == 3 and found.unknown_id == 2
    assert found.encode("acb").tolist() == [0, 2, 1] and found.decode([0, 2]) == "a<unk>"
