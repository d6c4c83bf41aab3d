"""Downloads of WikiText and text8, from a server on this machine, and everything that can go wrong with them."""

import io
import zipfile
from dataclasses import replace

import pytest
from sample_text import LINES, count_words, finished

from allatt.config import AllattError
from allatt.data import download
from allatt.data.corpora import CORPORA, locate
from allatt.data.wikitext_format import SPLITS


def parquet(lines: list[str]) -> bytes:
    """Lines as the hub has them: an empty string where WikiText has a line with one space."""
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    table = pyarrow.table({"text": [line if line.strip() else "" for line in lines]})
    pyarrow.parquet.write_table(table, out, row_group_size=5)
    return out.getvalue()


@pytest.fixture
def hub(home, server, monkeypatch):
    """A hub with a small wikitext-2, its train text in two shards."""
    texts = {"train": LINES * 6, "validation": LINES * 2, "test": LINES}
    part = "wikitext-2-v1"
    server.files = {
        "README.md": b"a card", "wikitext-103-v1/train-00000-of-00001.parquet": parquet(["wrong"]),
        f"{part}/train-00000-of-00002.parquet": parquet(texts["train"][:20]),
        f"{part}/train-00001-of-00002.parquet": parquet(texts["train"][20:]),
        f"{part}/validation-00000-of-00001.parquet": parquet(texts["validation"]),
        f"{part}/test-00000-of-00001.parquet": parquet(texts["test"]),
    }
    counts = {split: count_words("".join(texts[name])) for split, name in zip(SPLITS, texts, strict=True)}
    monkeypatch.setitem(CORPORA, "wikitext-2", replace(CORPORA["wikitext-2"], words=counts))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def test_wikitext_from_the_hub_is_the_original_text_and_asked_for_once(hub, home):
    text = locate("wikitext-2")
    assert {split: path.read_text() for split, path in text.files.items()} == \
        {"train": "".join(LINES * 6), "valid": "".join(LINES * 2), "test": "".join(LINES)}
    assert finished(home) == ["wikitext-2"]
    asked = len(hub.asked)
    assert asked and locate("wikitext-2") == text
    assert len(hub.asked) == asked


def test_a_damaged_download_is_named_and_not_thrown_away(hub, home):
    path = locate("wikitext-2").files["train"]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AllattError, match=r"wiki\.train\.tokens has .* bytes instead of .*; delete the folder"):
        locate("wikitext-2")
    assert path.is_file()


def test_a_download_with_other_words_than_published_is_refused(hub, home, monkeypatch):
    counts = CORPORA["wikitext-2"].words | {"valid": 5}
    monkeypatch.setitem(CORPORA, "wikitext-2", replace(CORPORA["wikitext-2"], words=counts))
    with pytest.raises(AllattError, match=r"valid part of WikiText-2 came with .* words instead of 5"):
        locate("wikitext-2")
    assert finished(home) == []


def test_more_than_the_text_can_have_is_not_downloaded(hub, home, monkeypatch):
    name = "wikitext-2-v1/train-00001-of-00002.parquet"
    hub.files[name] += bytes(11 * sum(CORPORA["wikitext-2"].words.values()) + 10**6)
    with pytest.raises(AllattError, match=r"bytes of wikitext-2-v1, where WikiText-2 can have .* at most"):
        locate("wikitext-2")
    assert finished(home) == [] and not [path for path in hub.asked if "/resolve/" in path]


def test_unpacking_stops_when_there_are_more_words_than_published(hub, home, monkeypatch):
    import pyarrow.parquet

    read, batches = [], pyarrow.parquet.ParquetFile.iter_batches

    def small(self, **options):
        for batch in batches(self, batch_size=5, **options):
            read.append(batch)
            yield batch

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", small)
    counts = CORPORA["wikitext-2"].words | {"train": 50}
    monkeypatch.setitem(CORPORA, "wikitext-2", replace(CORPORA["wikitext-2"], words=counts))
    with pytest.raises(AllattError, match=r"train part of WikiText-2 came with .* words instead of 50"):
        locate("wikitext-2")
    assert sum(len(batch) for batch in read) < len(LINES * 6) / 2


@pytest.mark.parametrize("damaged", [lambda whole: whole[:-20] + b"damaged",
                                     lambda whole: whole[:20] + b"\xff" * 40 + whole[60:], lambda whole: b""])
def test_a_damaged_shard_is_removed_and_fetched_again(hub, home, damaged):
    name = "wikitext-2-v1/train-00001-of-00002.parquet"
    whole = hub.files[name]
    hub.files[name] = damaged(whole)
    with pytest.raises(AllattError, match=r"train-00001-of-00002\.parquet of WikiText-2 is damaged"):
        locate("wikitext-2")
    assert "wikitext-2" not in finished(home)
    hub.files[name] = whole
    assert locate("wikitext-2").files["train"].read_text() == "".join(LINES * 6)


def test_a_missing_split_of_the_hub_is_named(hub, home):
    del hub.files["wikitext-2-v1/validation-00000-of-00001.parquet"]
    with pytest.raises(AllattError, match=r"has no wikitext-2-v1/validation-\*\.parquet"):
        locate("wikitext-2")


def test_no_hub_is_one_clear_line_that_names_the_way_out(home, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits, to ask again"))
    with pytest.raises(AllattError, match=r"cannot download WikiText-2 .*folder wikitext-2/ .*ALLATT_DATA") as error:
        locate("wikitext-2")
    assert "\n" not in str(error.value) and "wikitext-2" not in finished(home)


LETTERS = ("the quick brown fox jumps over a lazy dog " * 50)[:2000]


def zipped(text: str = LETTERS, name: str = "text8") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return out.getvalue()


@pytest.fixture
def text8(home, server, monkeypatch):
    server.files = {"text8.zip": zipped()}
    small = replace(CORPORA["text8"], address=server.url + "/text8.zip", characters=len(LETTERS))
    monkeypatch.setitem(CORPORA, "text8", small)
    return server


def test_text8_is_split_90_5_5_by_characters(text8, home):
    text = locate("text8")
    parts = [text.files[split].read_text() for split in SPLITS]
    assert [len(part) for part in parts] == [1800, 100, 100] and "".join(parts) == LETTERS
    assert finished(home) == ["text8"] and [p.name for p in text.files["train"].parent.glob("*.zip")] == []


def test_text8_may_lie_offline_zipped_or_not(home, tmp_path, text8, monkeypatch):
    folder = tmp_path / "data" / "text8"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ALLATT_DATA", str(folder.parent))
    (folder / "text8.zip").write_bytes(zipped())
    first = locate("text8")
    (folder / "text8").write_text(LETTERS)
    second = locate("text8")
    assert first.sha256 == second.sha256 and first.files != second.files and text8.asked == []


@pytest.mark.parametrize("served, message", [
    (zipped()[:-40], "text8.zip is truncated, damaged or encrypted"),
    (zipped()[:60] + b"????" + zipped()[64:], "text8.zip is truncated, damaged or encrypted"),
    (b"<html>not found</html>", "text8.zip is truncated, damaged or encrypted"),
    (zipped(name="other"), "holds no file text8"),
    (zipped(LETTERS[:-1]), "holds 1,999 characters instead of 2,000"),
    (zipped(LETTERS.replace("q", "Q")), "characters other than a-z and space"),
    (None, r"cannot download http.*404"),
])
def test_a_bad_text8_is_one_clear_line_and_leaves_nothing(text8, home, served, message):
    text8.files = {} if served is None else {"text8.zip": served}
    with pytest.raises(AllattError, match=message) as error:
        locate("text8")
    assert "\n" not in str(error.value) and finished(home) == []


def test_a_download_that_breaks_off_is_one_clear_line_and_can_be_repeated(text8, home):
    text8.cut = 50
    with pytest.raises(AllattError, match=r"cannot download .*only [\d,]+ of [\d,]+ bytes came; check the network"):
        locate("text8")
    assert finished(home) == []
    text8.cut = 0
    assert locate("text8").files["test"].read_text() == LETTERS[-100:]


def test_no_network_is_one_clear_line(text8, home, monkeypatch):
    monkeypatch.setitem(CORPORA, "text8", replace(CORPORA["text8"], address="http://127.0.0.1:9/text8.zip"))
    with pytest.raises(AllattError, match=r"cannot download .*refused.*put text8\.zip into a folder text8/"):
        locate("text8")
    assert finished(home) == []


def test_the_published_sizes_are_those_that_are_checked():
    assert CORPORA["text8"].characters == 100_000_000 and CORPORA["text8"].address.endswith("/dc/text8.zip")
    assert CORPORA["wikitext-103"].words == {"train": 103_227_021, "valid": 217_646, "test": 245_569}
    assert CORPORA["wikitext-2"].words == {"train": 2_088_628, "valid": 217_646, "test": 245_569}
    assert download.folder_name(CORPORA["wikitext-103"].address.split(":")[1]) == "wikitext-103"
