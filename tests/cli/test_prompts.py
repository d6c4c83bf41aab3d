"""Prompts become the ids that the model was trained on, and printed text is the generated one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import build

from allatt.cli.prompts import encode, stream_text
from allatt.config import AllattError, DataConfig
from allatt.data.tokens import load
from allatt.generate import generate


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, home_of_tests):
    """A folder of text with punctuation, unknown words and empty lines."""
    folder = tmp_path_factory.mktemp("text")
    line = " The cat 's <unk> mat , a well @-@ known one , cost 1 @,@ 500 . \n \n dogs run , and run \n"
    for split in ("train", "valid", "test"):
        (folder / f"wiki.{split}.tokens").write_text(line * 30)
    return folder


@pytest.fixture(scope="module", params=["words", "subwords", "characters"])
def tokens(request, corpus):
    return load(DataConfig(str(corpus), request.param, vocab_size=50))


def test_prompts_are_written_as_the_text_is(tokens):
    if tokens.meta["kind"] == "characters":
        assert tokens.decode(encode(tokens.vocabulary, "The cat ")) == "The cat ", "every character counts"
    else:
        assert encode(tokens.vocabulary, "The  cat's mat, a\nwell-known 1,500.") == \
            tokens.encode("The cat 's mat , a \n well @-@ known 1 @,@ 500 .")
        assert encode(tokens.vocabulary, "<unk>") == [tokens.unknown_id]
    assert encode(tokens.vocabulary, "") == tokens.encode("\n") and len(encode(tokens.vocabulary, "")) == 1


def test_a_prompt_with_what_the_vocabulary_does_not_know(tokens):
    with pytest.raises(AllattError, match="does not have 'ß' of the prompt") as error:
        encode(tokens.vocabulary, "The ß cat")
    assert "\n" not in str(error.value)


def test_a_text_without_lines_needs_a_prompt(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text("abc cba " * 30)
    tokens = load(DataConfig(str(tmp_path), "characters"))
    with pytest.raises(AllattError, match="this text has none; give a prompt"):
        encode(tokens.vocabulary, "")
    assert tokens.decode(encode(tokens.vocabulary, "ab")) == "ab"


@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_decoded_text_only_grows(tokens, numbers):
    """So a text can be shown while it is written."""
    ids, shown = [], ""
    for number in numbers:
        ids.append(number % tokens.vocab)
        text = tokens.decode(ids)
        assert text.startswith(shown)
        shown = text


@pytest.mark.parametrize("prompt", ["The cat", "dogs run\n", ""])
def test_a_streamed_text_is_the_generated_one(tokens, prompt):
    model = build(vocab=tokens.vocab)
    ids = encode(tokens.vocabulary, prompt)
    pieces = list(stream_text(model, tokens.vocabulary, [prompt], 20, seed=3))
    new = generate(model, [ids], 20, seed=3).flatten().tolist()
    assert "".join(pieces) == tokens.decode(ids + new).lstrip("\n") + "\n" and len(pieces) == 21
    blocks = "".join(stream_text(model, tokens.vocabulary, ["The", prompt], 20, seed=3, samples=2))
    assert [f"--- {n} of 4 ---" in blocks for n in range(1, 6)] == [True] * 4 + [False]
    assert f"--- 3 of 4 ---\n{tokens.decode(ids + new).strip(chr(10))}\n\n" in blocks


def test_a_decomposed_prompt_is_composed_as_the_text_is(tmp_path):
    """What macOS gives for an umlaut."""
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text(" \u00e4rger \n" * 30)
    for kind in ("characters", "words"):
        vocabulary = load(DataConfig(str(tmp_path), kind, vocab_size=0)).vocabulary
        assert encode(vocabulary, "a\u0308rger") == encode(vocabulary, "\u00e4rger")
