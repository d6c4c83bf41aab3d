"""Text: downloads from a local server, offline folders, folders of one's own, and everything that
can be wrong with them."""

import http.server
import io
import json
import lzma
import os
import re
import resource
import threading
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allatt.config import AllattError
from allatt.data import corpora, download, reading, wikitext
from allatt.data.corpora import CORPORA, locate
from allatt.data.wikitext import SPLITS, share, tokenize
from allatt.system import files

# Every kind of line that WikiText has: empty ones, a title, a heading, paragraphs.
LINES = [" \n", " = Lobster = \n", " \n", " A lobster lives for 50 – 100 years . \n", " = = Claws = = \n", " \n",
         " It has <unk> claws , ten @-@ legged as it is . \n"]


def words(text: str) -> int:
    return len(text.split()) + text.count("\n")


def wikitext_folder(folder: Path, repeat: int = 3) -> Path:
    """A folder of the three .tokens files; every split has another length."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(SPLITS, start=1):
        (folder / f"wiki.{split}.tokens").write_text("".join(LINES) * repeat * number, encoding="utf-8")
    return folder


def finished(home: Path) -> list[str]:
    """What lies under home/corpora besides locks."""
    folder = home / "corpora"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.is_dir() else []


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALLATT_DATA", raising=False)
    return tmp_path / "home"


# --- the format -------------------------------------------------------------------------------------------------


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
    ("", ""),
])
def test_tokenize_writes_as_wikitext_does(text, expected):
    assert tokenize(text) == expected


@pytest.mark.parametrize("text", ["The well @-@ known cat 's 1 @,@ 234 @.@ 5 kg don 't <unk> = = = U.S. etc. , ...",
                                  " = A title = "])
def test_tokenized_text_stays_as_it_is(text):
    assert tokenize(text) == text.strip()


@given(st.text())
def test_tokenize_loses_no_character_but_space_and_puts_one_space_between_words(text):
    found = tokenize(text)
    assert found == " ".join(found.split())
    kept = "".join(unicodedata.normalize("NFC", text).split())
    assert re.sub(r"\s|@(?=[-,.]@)|(?<=@[-,.])@", "", found) == re.sub(r"@(?=[-,.]@)|(?<=@[-,.])@", "", kept)


@given(st.lists(st.integers(1, 3000), min_size=wikitext.FEW, max_size=300))
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


@pytest.mark.parametrize("text, expected", [
    (" = The Cat = \n \n It has 9 lives , 1 @,@ 024 @.@ 5 kg .\n", " the cat it has nine lives one zero two four five kg"),
    ("a well @-@ known <unk> , or <formula> , don 't\n", " a well known or don t"),
    ("Hébert and ναύτης met \u212aelvin , C3PO\n", " h bert and met elvin c three po"),
    ("x < y > z", " x y z"),
    ("\n . 日本 \n", ""),
])
def test_spell_writes_as_text8_does(text, expected):
    assert wikitext.spell(text) == expected


@given(st.text(), st.text())
def test_spelled_text_has_27_characters_and_does_not_depend_on_where_it_is_cut(one, two):
    found = wikitext.spell(one)
    assert re.fullmatch(r"(?: [a-z]+)*", found) and wikitext.spell(found) == found
    assert wikitext.spell(f"{one}\n{two}") == found + wikitext.spell(two)


@given(st.lists(st.text("= a", max_size=9), max_size=6), st.booleans())
def test_titles_are_lines_between_single_equals_signs(lines, end):
    text = "\n".join(lines) + "\n" * end
    assert wikitext.count_titles(text) == len(re.findall(r"^ ?= (?!=).* = ?$", text, re.MULTILINE))


# --- a folder of one's own --------------------------------------------------------------------------------------


def test_tokens_files_stay_where_they_are(home, tmp_path):
    folder = wikitext_folder(tmp_path / "mine")
    text = locate(str(folder))
    assert text.files == {split: folder / f"wiki.{split}.tokens" for split in SPLITS}
    assert text.sha256 == {split: files.checksum(path) for split, path in text.files.items()}
    assert text.name == "mine" and finished(home) == []


def test_a_changed_text_has_another_checksum(home, tmp_path):
    folder = wikitext_folder(tmp_path / "mine")
    before = locate(str(folder)).sha256
    (folder / "wiki.test.tokens").write_text(" another text \n")
    after = locate(str(folder)).sha256
    assert [split for split in SPLITS if before[split] != after[split]] == ["test"]


def test_checksums_of_large_files_are_kept_and_renewed(home, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "SMALL", 10)
    folder = wikitext_folder(tmp_path / "mine")
    before = locate(str(folder)).sha256
    monkeypatch.setattr(corpora, "checksum", lambda path: "computed again")
    assert locate(str(folder)).sha256 == before
    assert set(locate(str(folder), verify=True).sha256.values()) == {"computed again"}
    (folder / "wiki.test.tokens").write_text(" another text \n")
    assert locate(str(folder)).sha256["test"] == "computed again"
    for spoiled in ("[1]", '{"a": 1', json.dumps({str(folder / "wiki.train.tokens"): 3})):
        (home / "corpora" / "checksums.json").write_text(spoiled)
        assert locate(str(folder)).sha256["train"] == "computed again"


def test_plain_text_that_is_split_is_tokenized(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.txt").write_bytes("\ufeffIt's 1,000 km.\r\n\r\nA well-known cat.\r\n".encode())
    (folder / "valid.txt").write_text("Valid text.")
    (folder / "test.txt").write_text("Test text.\n")
    text = locate(str(folder))
    assert text.files["train"].read_text() == " It 's 1 @,@ 000 km . \n A well @-@ known cat . \n"
    assert text.files["valid"].read_text() == " Valid text . \n"
    assert text.files["train"].is_relative_to(home)


def test_one_file_is_split_by_paragraph_in_its_order(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("".join(f"Paragraph {i} of it.\n" for i in range(100)))
    text = locate(str(folder))
    numbers = {s: [int(n) for n in re.findall(r"Paragraph (\d+)", p.read_text())] for s, p in text.files.items()}
    assert numbers == {"train": list(range(90)), "valid": list(range(90, 95)), "test": list(range(95, 100))}


@pytest.mark.parametrize("count", [3, 60])
def test_several_files_are_documents_with_titles(home, tmp_path, count):
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(count):
        (folder / f"file{i:02}.txt").write_text("".join(f"Line {j} of file {i}.\n" for j in range(20)))
    texts = {split: path.read_text() for split, path in locate(str(folder)).files.items()}
    lines = {split: set(re.findall(r"Line \d+ of file \d+", text)) for split, text in texts.items()}
    assert {split: len(found) / count / 20 for split, found in lines.items()} == \
        pytest.approx({"train": 0.9, "valid": 0.05, "test": 0.05}, abs=0.001)
    assert sum(map(len, lines.values())) == len(set().union(*lines.values())) == count * 20
    titles = [title for text in texts.values() for title in re.findall(r"^ = (file\d+) = $", text, re.MULTILINE)]
    assert sorted(titles) == [f"file{i:02}" for i in range(count)]
    if count >= wikitext.FEW:
        assert not {n.split()[-1] for n in lines["valid"]} & {n.split()[-1] for n in lines["train"] | lines["test"]}


def test_wrapped_lines_are_joined_into_paragraphs(tmp_path):
    wrapped = tmp_path / "wrapped.txt"
    wrapped.write_text("The first line\nand the second.\n\nAnother paragraph\nof two lines.\n\n\nThe end\nof it.\n")
    assert list(wikitext.paragraphs(wrapped)) == ["The first line and the second .", "Another paragraph of two lines .",
                                               "The end of it ."]
    lines = tmp_path / "lines.txt"
    lines.write_text("One paragraph a line.\n\nAnother paragraph.\n\nThe end.\n")
    assert list(wikitext.paragraphs(lines)) == ["One paragraph a line .", "Another paragraph .", "The end ."]


def test_a_converted_folder_is_made_once_and_again_when_it_changes(home, tmp_path, capfd):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("A line of it.\n" * 100)
    first = locate(str(folder))
    assert locate(str(folder)) == first
    assert capfd.readouterr().err.count("preparing mine-") == 1
    (folder / "novel.txt").write_text("Another line of it.\n" * 100)
    assert locate(str(folder)).sha256 != first.sha256
    for path in first.files.values():
        path.write_text("spoiled")
    (folder / "novel.txt").write_text("A line of it.\n" * 100)
    assert locate(str(folder)).sha256 == first.sha256


def test_hidden_folders_are_no_text(home, tmp_path):
    folder = tmp_path / "mine"
    (folder / ".allatt" / "tokens").mkdir(parents=True)
    (folder / ".allatt" / "tokens" / "words.txt").write_text("not a text of the user\n" * 50)
    with pytest.raises(AllattError, match="holds no text"):
        locate(str(folder))


@pytest.mark.parametrize("name, content, message", [
    ("wiki.train.tokens", b"", r"wiki\.train\.tokens is empty"),
    ("wiki.train.tokens", b"text \0 text\n", r"wiki\.train\.tokens is not text: it has a NUL byte at 5"),
    ("wiki.valid.tokens", "text".encode("utf-16"), r"is not text"),
    ("wiki.test.tokens", "café\n".encode("latin-1"), r"wiki\.test\.tokens is not UTF-8 text near byte 3"),
    ("wiki.test.tokens", "café".encode()[:-1], r"ends in the middle of a character"),
])
def test_bad_files_are_one_clear_line(home, tmp_path, name, content, message):
    folder = wikitext_folder(tmp_path / "mine")
    (folder / name).write_bytes(content)
    with pytest.raises(AllattError, match=message) as error:
        locate(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names, message", [
    ([], "holds no text"),
    (["photo.jpg"], "holds no text"),
    (["wiki.train.tokens", "wiki.valid.tokens"], r"lacks the test text: wiki\.test\.tokens"),
    (["train.txt", "test.txt"], r"lacks the valid text.*valid\.txt"),
    (["novel.txt"], "too few paragraphs to be split in three"),
])
def test_folders_without_enough_text_are_one_clear_line(home, tmp_path, names, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("One line.\n")
    with pytest.raises(AllattError, match=message):
        locate(str(folder))
    assert finished(home) == []


def test_names_that_are_nothing_say_what_there_is(home, tmp_path):
    with pytest.raises(AllattError, match="no corpus 'wikitext2'; did you mean wikitext-2?"):
        locate("wikitext2")
    with pytest.raises(AllattError, match="choose one of wikipedia-excerpt, wikitext-2, wikitext-103, text8"):
        locate("zzz")
    with pytest.raises(AllattError, match="there is no folder .*nowhere"):
        locate(str(tmp_path / "nowhere"))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(AllattError, match="is a file; name the folder that holds it"):
        locate(str(tmp_path / "a.txt"))


def test_a_file_that_cannot_grow_is_one_clear_line_and_leaves_nothing(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("A line of it.\n" * 20_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(AllattError, match="cannot write .*home.*free some space, or choose a folder"):
            locate(str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert finished(home) == []
    assert locate(str(folder)).files["train"].stat().st_size > 100_000


def test_a_home_that_is_a_file_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "file"))
    with pytest.raises(AllattError, match="cannot write .*a part of the path is a file"):
        locate("wikipedia-excerpt")


# --- ALLATT_DATA ------------------------------------------------------------------------------------------------


def test_named_corpora_are_looked_for_in_all_folders_of_allatt_data(home, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    folder = wikitext_folder(tmp_path / "two" / "wikitext-2")
    monkeypatch.setenv("ALLATT_DATA", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    text = locate("wikitext-2")
    assert text.title == "WikiText-2" and text.files["train"] == folder / "wiki.train.tokens"
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path / "three"))
    with pytest.raises(AllattError, match="ALLATT_DATA names .*three, which is no folder"):
        locate("wikitext-2")


def test_a_missing_split_is_named(home, tmp_path, monkeypatch):
    folder = tmp_path / "wikitext-103"
    folder.mkdir()
    (folder / "wiki.valid.tokens").write_text(" text \n")
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    with pytest.raises(AllattError, match=r"wikitext-103 lacks the train text: wiki\.train\.tokens"):
        locate("wikitext-103")


def packed(tmp_path: Path, parts: int) -> bytes:
    """A folder wiki2014 whose train text lies in several .xz parts; returns the text."""
    folder = wikitext_folder(tmp_path / "wiki2014", repeat=50)
    whole = (folder / "wiki.train.tokens").read_bytes()
    (folder / "wiki.train.tokens").unlink()
    step = len(whole) // parts + 1
    for i in range(parts):
        part = folder / f"wiki.train.tokens.part{i + 1}.xz"
        part.write_bytes(lzma.compress(whole[i * step:(i + 1) * step]))
    return whole


def test_xz_parts_are_unpacked_in_the_order_of_their_numbers(home, tmp_path, monkeypatch):
    whole = packed(tmp_path, 11)
    import hashlib

    known = {"train": hashlib.sha256(whole).hexdigest()}
    monkeypatch.setitem(CORPORA, "wiki2014", replace(CORPORA["wiki2014"], sha256=known))
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    text = locate("wiki2014")
    assert text.files["train"].read_bytes() == whole and text.files["train"].is_relative_to(home)
    assert text.files["valid"] == tmp_path / "wiki2014" / "wiki.valid.tokens"
    monkeypatch.setitem(CORPORA, "wiki2014", replace(CORPORA["wiki2014"], sha256={"train": "0" * 64}))
    with pytest.raises(AllattError, match="train text of wiki2014 in .* is not the known one"):
        locate("wiki2014")


def test_a_truncated_part_is_one_clear_line(home, tmp_path, monkeypatch):
    packed(tmp_path, 2)
    part = tmp_path / "wiki2014" / "wiki.train.tokens.part2.xz"
    part.write_bytes(part.read_bytes()[:-30])
    monkeypatch.setenv("ALLATT_DATA", str(tmp_path))
    with pytest.raises(AllattError, match=r"part2\.xz is truncated or damaged.*fetch it again"):
        locate("wiki2014")
    assert finished(home) == []


def test_what_cannot_be_downloaded_says_so(home):
    with pytest.raises(AllattError, match="wiki2014 cannot be downloaded; put it into a folder wiki2014/"):
        locate("wiki2014")


# --- downloads, from a server on this machine -------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> bytes), and what the hub's client asks of a dataset repository. `cut` bytes of every
    answer's end are lost."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        kind = "application/octet-stream"
        data = self.server.files.get(path.split("/resolve/main/")[-1].lstrip("/"))
        if path.startswith("/api/datasets/"):
            tree = [{"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in self.server.files.items()]
            listing = {"id": "x/y", "sha": "a" * 40, "siblings": [{"rfilename": file["path"]} for file in tree]}
            data, kind = json.dumps(tree if "/tree/" in path else listing).encode(), "application/json"
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("Content-Type", kind)
        if data is not None:
            self.send_header("ETag", f'"{hash(data):x}"')
            self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if body and data:
            self.wfile.write(data[:len(data) - self.server.cut])
            self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


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
    counts = {split: words("".join(texts[name])) for split, name in zip(SPLITS, texts, strict=True)}
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
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's client waits before it tries again
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
    (zipped()[:-40], "text8.zip is truncated or damaged"),
    (zipped()[:60] + b"????" + zipped()[64:], "text8.zip is truncated or damaged"),
    (b"<html>not found</html>", "text8.zip is truncated or damaged"),
    (zipped(name="other"), "holds no file text8"),
    (zipped(LETTERS[:-1]), "holds 1,999 characters instead of 2,000"),
    (zipped(LETTERS.replace("q", "Q")), "other characters than a-z and space"),
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


def test_text8_like_is_the_known_text_and_all_of_its_source(home_of_tests):
    excerpt, found = locate("wikipedia-excerpt"), locate("text8-like")
    assert found.sha256 == CORPORA["text8-like"].sha256
    assert {split: files.checksum(path) for split, path in found.files.items()} == found.sha256
    parts = [found.files[split].read_text(encoding="ascii") for split in SPLITS]
    whole = "".join(parts)
    assert whole == "".join(wikitext.spell(excerpt.files[split].read_text(encoding="utf-8")) for split in SPLITS)
    assert [len(part) for part in parts[:2]] == [len(whole) * 90 // 100, len(whole) * 5 // 100]
    assert set(whole) == set("abcdefghijklmnopqrstuvwxyz ") and "  " not in whole and " unk " not in whole
    assert sorted(path.name for path in found.files["train"].parent.iterdir()) == \
        sorted([files.MANIFEST, *(wikitext.name(split) for split in SPLITS)]), "nothing else is left"


def test_text8_like_is_made_again_where_it_is_damaged_and_not_from_another_text(home, monkeypatch, capfd):
    made = CORPORA["text8-like"]
    found = locate("text8-like")
    assert found.files["train"].read_text().startswith(" anarchism anarchism is a political philosophy that advocates")
    found.files["test"].write_text("x")
    assert locate("text8-like") == found and capfd.readouterr().err.splitlines()[-1].endswith("; making it again")
    monkeypatch.setitem(CORPORA, "text8-like", replace(made, sha256=found.sha256 | {"valid": "0" * 64}))
    with pytest.raises(AllattError, match="wikipedia-excerpt is not the text that text8-like is made of, so that the valid"):
        locate("text8-like")


def test_text8_like_of_a_corpus_that_is_not_here_says_which(home):
    with pytest.raises(AllattError, match="wiki2014 cannot be downloaded; put it into a folder wiki2014/"):
        locate("text8-like-wiki2014")
    assert finished(home) == []


def test_text8_like_is_made_in_pieces(tmp_path):
    """Of a text of several blocks, what comes is what one piece gives; a block ends within a paragraph here."""
    source = tmp_path / "long.tokens"
    source.write_text(" A long paragraph of 3 words , and <unk> more ." * 60_000)
    assert source.stat().st_size > 2 * reading.BLOCK
    wikitext.letters([source, source], tmp_path / "out")
    assert (tmp_path / "out").read_text() == 2 * wikitext.spell(source.read_text())


def test_the_published_sizes_are_those_that_are_checked():
    assert CORPORA["text8"].characters == 100_000_000 and CORPORA["text8"].address.endswith("/dc/text8.zip")
    assert CORPORA["wikitext-103"].words == {"train": 103_227_021, "valid": 217_646, "test": 245_569}
    assert CORPORA["wikitext-2"].words == {"train": 2_088_628, "valid": 217_646, "test": 245_569}
    assert download.folder_name(CORPORA["wikitext-103"].address.split(":")[1]) == "wikitext-103"
