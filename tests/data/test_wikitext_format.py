"""WikiText's format: tokenized text, titles, paragraphs, and documents shared out among the splits."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.data import wikitext_format
from allatt.data.wikitext_format import SPLITS, share, tokenize

# The format characters that are seen, and the marks that are put around a sign inside a word or number.
SEEN = {*map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, 0x200C, 0x200D)),
        *map(chr, range(0xE0020, 0xE0080))}
MARKER = r"@(?=[-,.٫٬]@)|(?<=@[-,.٫٬])@"


@pytest.mark.parametrize("text, expected", [
    ("The well-known cat.", "The well @-@ known cat ."),
    ("It weighs 1,234.5 kg, or more.", "It weighs 1 @,@ 234 @.@ 5 kg , or more ."),
    ("Orwell's dogs don't bark", "Orwell 's dogs don 't bark"),
    ("the farmers' market", "the farmers ' market"),
    ("'quoted' (in part)", "' quoted ' ( in part )"),
    ("U.S. law, e.g. that of Mr. T. S. Eliot", "U.S. law , e.g. that of Mr. T. S. Eliot"),
    ("Inc., Ltd. and No. 5", "Inc. , Ltd. and No. 5"),
    ("wait... what?!", "wait ... what ? !"),
    ("a <unk> and a <formula> stay", "a <unk> and a <formula> stay"),
    ("5 < 6 > 4", "5 < 6 > 4"),
    ("Hébertistes – ναύτης (日本)", "Hébertistes – ναύτης ( 日本 )"),
    ("e\u0301tude", "\u00e9tude"),
    ("tab\tand\u00a0space", "tab and space"),
    ("தமிழ், বাংলা తెలుగు", "தமிழ் , বাংলা తెలుగు"),
    ("ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ", "ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ"),
    ("සිංහල မြန်မာ ខ្មែរ བོད་", "සිංහල မြန်မာ ខ្មែរ བོད ་"),
    ("हिन्दी ภาษาไทย العَرَبِيَّة שָׁלוֹם", "हिन्दी ภาษาไทย العَرَبِيَّة שָׁלוֹם"),
    ("I \u2764\ufe0f it, 1\ufe0f\u20e3!", "I \u2764\ufe0f it , 1\ufe0f\u20e3 !"),
    ("\U0001f468\u200d\U0001f469\u200d\U0001f467.", "\U0001f468\u200d\U0001f469\u200d\U0001f467 ."),
    ("\U0001f44d\U0001f3fd.", "\U0001f44d\U0001f3fd ."),
    ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea \U0001f1eb\U0001f1f7"),
    # Invisible characters do not divide a word; a zero width space does.
    ("ex\u00adam\u00adple, \ufeffa\ufeffb a\u2060b", "example , ab ab"),
    ("a\u200eb \u200fשלום\u202c \u202aa\u202eb\u2066c\u2069d\u061ce \u2061f\u2064g", "ab שלום abcde fg"),
    ("1\u200e,\u200e000 well\u00ad-\u00adknown don\u00ad't e\u00ad\u0301", "1 @,@ 000 well @-@ known don 't \u00e9"),
    ("ខ្មែរ\u200bភាសា \u200b.", "ខ្មែរ ភាសា ."),
    ("می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"),
    ("\U0001f3f4\U000e0067\U000e0062\U000e007f.", "\U0001f3f4\U000e0067\U000e0062\U000e007f ."),
    ("\u0600\u0661 \u06dd\u0662 \U000110bd", "\u0600 \u0661 \u06dd \u0662 \U000110bd"),
    # Signs inside a word.
    ("ինչո՞ւ, ո՛չ վա՜յ", "ինչո՞ւ , ո՛չ վա՜յ"),
    ("צה״ל ג׳ורג' תַּנ״ךְ ״שלום״", "צה״ל ג׳ורג ' תַּנ״ךְ ״ שלום ״"),
    ("col·lecció l'il·lusió 5·6 a· ·b", "col·lecció l 'il·lusió 5 · 6 a · · b"),
    ("5·a a·5 סָ״מ", "5 · a a · 5 סָ״מ"),
    ("м'який п’ять п\u02bcять об'єкт-м’я", "м'який п’ять п\u02bcять об'єкт @-@ м’я"),
    ("'слово' ’слово’ Путин's м'X 5'я", "' слово ' ’ слово ’ Путин 's м 'X 5 'я"),
    ("don’t O'Brien's ’90s l’eau l'eau", "don ’ t O 'Brien 's ’ 90s l ’ eau l 'eau"),
    ("٣٫١٤ ١٬٢٣٤٫٥ ٣٫ ٬٤", "٣ @٫@ ١٤ ١ @٬@ ٢٣٤ @٫@ ٥ ٣ ٫ ٬ ٤"),
    ("", ""),
])
def test_tokenize_writes_as_wikitext_does(text, expected):
    assert tokenize(text) == expected


@pytest.mark.parametrize("text", ["The well @-@ known cat 's 1 @,@ 234 @.@ 5 kg don 't <unk> = = = U.S. etc. , ...",
                                  " = A title = ", "٣ @٫@ ١٤ ١ @٬@ ٢٣٤ м'який ինչո՞ւ צה״ל col·lecció"])
def test_tokenized_text_stays_as_it_is(text):
    assert tokenize(text) == text.strip()


@given(st.text())
def test_text_without_apostrophes_is_tokenized_once_and_for_all(text):
    found = tokenize(text.replace("'", ""))
    assert tokenize(found) == found


@given(st.characters(categories=["L"]), st.text(st.characters(categories=["L", "M"])))
def test_letters_and_their_marks_are_one_word(first, rest):
    assert " " not in tokenize(first + rest)


@given(st.text())
def test_tokenize_loses_no_character_that_is_seen_but_space_and_puts_one_space_between_words(text):
    found = tokenize(text)
    assert found == " ".join(found.split())
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf" or c in SEEN)
    kept = "".join(unicodedata.normalize("NFC", seen).split())
    assert re.sub(rf"\s|{MARKER}", "", found) == re.sub(MARKER, "", kept)


@given(st.text(st.sampled_from("aя5'’·״՞٫,- \u00ad\u200b\u200d\u0301\u202a")))
def test_signs_and_invisible_characters_beside_each_other_lose_nothing_either(text):
    seen = re.sub("[\u00ad\u202a]", "", text)
    kept = "".join(unicodedata.normalize("NFC", seen.replace("\u200b", " ")).split())
    assert re.sub(rf"\s|{MARKER}", "", tokenize(text)) == kept
    assert tokenize(text) == tokenize(seen)
    without = tokenize(text.replace("'", ""))
    assert tokenize(without) == without


@given(st.lists(st.integers(1, 3000), min_size=wikitext_format.FEW, max_size=300))
def test_share_gives_every_split_something_near_its_part(sizes):
    splits = share(sizes)
    assert splits == share(sizes) and len(splits) == len(sizes)
    longest = max((size for size, split in zip(sizes, splits, strict=True) if split != "train"), default=0)
    assert longest <= 1.5 * sum(sizes) / len(sizes)
    totals = {name: sum(s for s, split in zip(sizes, splits, strict=True) if split == name) for name in SPLITS}
    assert totals["train"] > totals["valid"] + totals["test"]


@pytest.mark.parametrize("count", [20, 40, 100, 1000])
def test_share_of_equal_documents_is_90_5_5_and_spread(count):
    splits = share([100] * count)
    assert splits.count("valid") == splits.count("test") == count // 20
    held = [i for i, split in enumerate(splits) if split != "train"]
    assert max(b - a for a, b in zip([0, *held], [*held, count], strict=True)) <= 11


@given(st.lists(st.text("= a", max_size=9), max_size=6), st.booleans())
def test_titles_are_lines_between_single_equals_signs(lines, end):
    text = "\n".join(lines) + "\n" * end
    titles = len(re.findall(r"^ ?= (?!=).* = ?$", text, re.MULTILINE))
    assert wikitext_format.count_titles(text) == wikitext_format.count_titles(text.replace("\n", "\r\n")) == titles


def shares(folder, text):
    """Characters in each split, of a folder with one file."""
    folder.mkdir()
    (folder / "a.txt").write_text(text)
    out = folder / "out"
    out.mkdir()
    wikitext_format.split([folder / "a.txt"], out)
    return {name: len((out / f"wiki.{name}.tokens").read_text()) for name in SPLITS}


@pytest.mark.parametrize("text", [
    "ab cd " * 366_666, "ab cd " * 12_000, "ab cd\n" * 5000, "\n".join(["short line here"] * 2000 + ["long one " * 2000] * 5),
    "\n".join(["long one " * 3000] * 4 + ["short line here"] * 3000)],
    ids=["2.2 MB in one line", "one line", "short lines", "long lines at the end", "short lines at the end"])
def test_a_document_is_split_by_size_in_its_order(tmp_path, text):
    found = shares(tmp_path / "x", text)
    total = sum(found.values())
    assert [round(100 * found[split] / total) for split in SPLITS] == [pytest.approx(part, abs=2) for part in (90, 5, 5)]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 1, 1), (1, 100, 1), (1, 1, 100), (5, 5, 5, 5), (1, 1, 1, 150), (30, 20, 1)])
def test_each_split_of_a_short_document_has_a_paragraph(tmp_path, sizes):
    lines = [f"w{number} " * size for number, size in enumerate(sizes)]
    shares(tmp_path / "x", "\n".join(lines))
    parts = [(tmp_path / "x" / "out" / f"wiki.{split}.tokens").read_text().split() for split in SPLITS]
    assert all(parts) and sum(parts, []) == " ".join(lines).split(), "in its order"


def test_wrapped_lines_are_joined_into_paragraphs(tmp_path):
    wrapped = tmp_path / "wrapped.txt"
    wrapped.write_text("The first line\nand the second.\n\nAnother paragraph\nof two lines.\n\n\nThe end\nof it.\n")
    assert list(wikitext_format.paragraphs(wrapped)) == ["The first line and the second .", "Another paragraph of two lines .",
                                               "The end of it ."]
    lines = tmp_path / "lines.txt"
    lines.write_text("One paragraph a line.\n\nAnother paragraph.\n\nThe end.\n")
    assert list(wikitext_format.paragraphs(lines)) == ["One paragraph a line .", "Another paragraph .", "The end ."]


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lines_may_end_otherwise(tmp_path, end):
    text = "The first line\nand the second.\n\nAnother paragraph\nof two lines.\n\n\nThe end\nof it.\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text.replace("\n", end).encode())
    assert list(wikitext_format.paragraphs(path)) == ["The first line and the second .", "Another paragraph of two lines .",
                                                      "The end of it ."]


def test_a_line_of_invisible_characters_is_an_empty_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("One\ntwo.\n\u200b\nThree\nfour.\n \ufeff\u200e\nFive\nsix.\n\u00ad\n", encoding="utf-8")
    assert list(wikitext_format.paragraphs(path)) == ["One two .", "Three four .", "Five six ."]
