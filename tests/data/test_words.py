"""Text cut into words by several processes: the same as by one, and what happens when something goes wrong there."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allatt.config import AllattError, DataConfig
from allatt.data import reading, tokenizers, words
from allatt.data.tokens import load
from allatt.data.wikitext import SPLITS
from allatt.data.words import BREAK, number_words, titles
from allatt.system import paths

ROOT = paths.repository()
ODD = ["\ufeffstarts with a mark", "one\u2028two\x85three\x1cfour", "", " ", "carriage\r", "ﬁ 😀 naïve Ἀχιλλεύς",
       "long" * 60, "many words " * 40, " = Title = ", " = = Section = = ", "<unk> <eos> <unk>"]


@pytest.fixture
def several(monkeypatch):
    """Three processes for however small a text, in small blocks; gives a list of those that were started."""
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            self.env, self.has_own_session = named["env"], os.getsid(self.pid) == self.pid
            started.append(self)

    monkeypatch.setattr(words, "_LARGE", 0)
    monkeypatch.setattr(words, "_BLOCK", 64)
    monkeypatch.setattr(words, "processes", lambda: 3)
    monkeypatch.setattr(subprocess, "Popen", Popen)
    return started


def text_of(lines: int) -> str:
    return "".join(f"{ODD[i % 37] if i % 37 < len(ODD) else ' '.join(f'w{i * j % 53}' for j in range(i % 9))}\n"
                   for i in range(lines))


def folder_of(folder: Path, train: str | bytes) -> str:
    folder.mkdir()
    for split, text in zip(SPLITS, (train, " a cat \n", " a dog \n"), strict=True):
        (folder / f"wiki.{split}.tokens").write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


# --- ranges -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.text("a é😀\ufeff", max_size=12), max_size=12), st.sampled_from(["\n", " ", "\n\n"]), st.integers(1, 20),
       st.integers(1, 6))
def test_pieces_of_ranges_are_those_of_the_whole(tmp_path_factory, words, between, size, number):
    path = tmp_path_factory.mktemp("ranges") / "text"
    path.write_bytes(between.join(words).encode())
    spans = reading.ranges(path, number, size)
    assert 1 <= len(spans) <= number and spans[0][0] == 0 and spans[-1][1] is None
    pieces = [piece for start, stop in spans for piece in reading.blocks(path, size, start, stop)]
    assert pieces == list(reading.blocks(path, size))


def test_ranges_are_about_equal_and_lines_that_are_too_long_are_not_cut(tmp_path):
    path = tmp_path / "text"
    path.write_text("nine char\n" * 10_000)
    spans = reading.ranges(path, 4, 100)
    assert [start for start, _ in spans] == pytest.approx([0, 25_000, 50_000, 75_000], abs=200)
    path.write_text("nine char " * 10_000)
    assert reading.ranges(path, 4, 100) == [(0, None)]


# --- the same, whatever the number of processes -----------------------------------------------------------------


@pytest.mark.parametrize("kind, size", [("words", 0), ("words", 20), ("subwords", 90)])
def test_several_processes_make_what_one_makes(tmp_path, monkeypatch, several, kind, size):
    corpus = folder_of(tmp_path / "mine", text_of(700))
    found = {}
    for number in (1, 3):
        monkeypatch.setattr(words, "processes", lambda number=number: number)
        monkeypatch.setenv("ALLATT_HOME", str(tmp_path / str(number)))
        made = load(DataConfig(corpus, kind, size, min_count=2))
        found[number] = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.name != "manifest.json"}
        assert len(several) == (0 if number == 1 else 3), "only the training text is long enough to be cut"
        # The text itself, looked up again; and nothing is left of the numbers.
        assert sorted(found[number]) == sorted({"meta.json", *(f"{s}.ids" for s in SPLITS),
                                                "words.txt" if kind == "words" else "subwords.model"})
        assert kind != "words" or made.train.tolist() == _encoded(made, text_of(700))
    assert found[1] == found[3]


def _encoded(made, text: str) -> list[int]:
    """Ids of a text that is cut as it is read, in blocks: a word longer than one falls apart."""
    path = made.folder.parent / "again"
    path.write_bytes(text.encode())
    return [i for block in reading.blocks(path, words._BLOCK) for i in made.encode(block)]


def test_numbers_start_anew_when_there_are_many_words(tmp_path, monkeypatch):
    path = tmp_path / "text"
    # Most of the new words come late, so that the processes start anew more or less often.
    path.write_text("often often often\n" * 2000 + "".join(f"often once{i} twice{i // 2}\n" for i in range(5000)))
    whole = number_words(path, tmp_path / "whole", "")
    monkeypatch.setattr(words, "_DISTINCT", 1000)
    monkeypatch.setattr(words, "_HELD", 100)
    monkeypatch.setattr(words, "_BLOCK", 4096)
    pieces = number_words(path, tmp_path / "pieces", "")
    monkeypatch.setattr(words, "_LARGE", 0)
    monkeypatch.setattr(words, "processes", lambda: 3)
    several = number_words(path, tmp_path / "several", "")
    starts = [path.name.split("-")[0] for path in several.paths]
    assert len(whole.paths) == 1 and len(pieces.paths) > 5 and starts.count("0") < starts.count(starts[-1])
    vocabulary = tokenizers.Words.learn(*tokenizers.count(path), DataConfig(tokens="words", vocab_size=0))
    for made in (whole, pieces, several):
        assert made.found == whole.found and tokenizers.total(made, path) == tokenizers.count(path)
        assert np.concatenate(list(made.ids(vocabulary.table))).tolist() == vocabulary.encode(path.read_text()).tolist()


@pytest.mark.parametrize("text, too_many", [("a b c d\na b\n", False), ("a b c d\na b\ne", True), ("a b c d a b", False),
                                            ("a b c d a b e", True)])
def test_too_many_words_are_counted_in_the_order_of_the_text(tmp_path, monkeypatch, text, too_many):
    monkeypatch.setattr(tokenizers, "DISTINCT", 4)
    path = tmp_path / "text"
    path.write_text(text)
    counted = tokenizers.total(number_words(path, tmp_path / "numbers", ""), path)
    assert counted == tokenizers.count(path)
    assert (counted[0] == {"a": 2, "b": 2}) == too_many


@given(st.lists(st.text("= a", max_size=9), max_size=6), st.booleans())
def test_titles_are_lines_between_single_equals_signs(lines, end):
    block = "\n".join(lines) + "\n" * end
    assert titles(block) == len(re.findall(r"^ ?= (?!=).* = ?$", block, re.MULTILINE))


def test_a_small_text_starts_no_process(tmp_path, monkeypatch, several):
    monkeypatch.setattr(words, "_LARGE", 10_000)
    path = tmp_path / "text"
    path.write_text("a b\n" * 2499)
    number_words(path, tmp_path / "small", "")
    assert several == []
    path.write_text("a b\n" * 2500)
    number_words(path, tmp_path / "large", "")
    assert len(several) == 3


# --- what can go wrong ------------------------------------------------------------------------------------------


LINES = [b"twelve bytes"] * 600  # 13 bytes each, in three ranges of about 2,600


@pytest.mark.parametrize("bad, message", [
    ({250: b"a NUL \0 here"}, "is not text: it has a NUL byte at 3256"),
    ({250: b"no UTF-8 \xff", 500: b"a NUL \0 here"}, r"is not UTF-8 text near byte 32\d\d; convert it to UTF-8 first"),
    ({500: b"no UTF-8 \xff", 250: b"a NUL \0 here"}, "is not text: it has a NUL byte at 3256"),
    ({599: b"truncated \xc3"}, "ends in the middle of a character; it seems to be truncated"),
])
def test_bytes_that_are_no_text_are_the_same_line_as_in_one_process(tmp_path, monkeypatch, several, bad, message):
    path = tmp_path / "text"
    path.write_bytes(b"\n".join(bad.get(i, line) for i, line in enumerate(LINES)))
    said = []
    for number in (1, 3):
        monkeypatch.setattr(words, "processes", lambda number=number: number)
        with pytest.raises(AllattError, match=message) as error:
            number_words(path, tmp_path / str(number), "")
        said.append(str(error.value))
    assert said[0] == said[1] and "\n" not in said[0] and len(several) == 3


def test_a_full_disk_in_a_process_is_one_clear_line(tmp_path, monkeypatch, several):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    corpus = folder_of(tmp_path / "mine", "a few words\n" * 9000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(AllattError, match=r"cannot write .*file too large; free some space"):
            load(DataConfig(corpus, "words", 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(several) == 3 and [p for p in (tmp_path / "home" / "tokens").iterdir() if p.suffix != ".lock"] == []


def test_a_process_that_is_killed_is_one_clear_line(tmp_path, monkeypatch, several):
    path = tmp_path / "text"
    path.write_bytes(b"\n".join(LINES))
    dies = tmp_path / "python"
    dies.write_text("#!/bin/sh\nkill -9 $$\n")
    dies.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dies))
    with pytest.raises(AllattError, match=rf"a process that cut {path} into words ended early \(exit status -9\)"):
        number_words(path, tmp_path / "numbers", "")


def test_ctrl_c_ends_the_processes(tmp_path, several):
    path = tmp_path / "text"
    path.write_bytes(b"\n".join(LINES))
    (tmp_path / "numbers").mkdir()

    def interrupted(done: int):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        words._in_processes(path, reading.ranges(path, 3, 64), tmp_path / "numbers", interrupted)
    assert len(several) == 3 and all(worker.poll() is not None for worker in several)
    assert all(worker.has_own_session for worker in several), "Ctrl-C reaches them too, and each complains"


def test_a_process_ends_with_the_one_that_waits_for_it(tmp_path):
    """Who was killed cannot end its processes; they notice that nobody reads what they say."""
    path = tmp_path / "text"
    path.write_bytes(b"\n".join(LINES))
    reading, writing = os.pipe()
    os.close(reading)
    task = json.dumps([0, str(path), 0, None, str(tmp_path), 64, 1000])
    done = subprocess.run([sys.executable, "-m", "allatt.data.words", task], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    assert not (tmp_path / "0-0.words").exists(), "it went on to the end"


def test_a_script_without_a_guard_is_run_once(tmp_path):
    """multiprocessing would run it again in each process; a notebook and `python -` have no file at all."""
    (tmp_path / "text").write_text(text_of(300))
    script = tmp_path / "script.py"
    script.write_text(f"print('started')\nimport sys; sys.path.insert(0, {str(ROOT)!r})\n"
                      "from pathlib import Path; from allatt.data import words\n"
                      "words._LARGE, words._BLOCK, words.processes = 0, 64, lambda: 3\n"
                      "print(len(words.number_words(Path('text'), Path(sys.argv[1]), '').paths))\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for source, folder in ((str(script), "one"), ("-", "two")):
        done = subprocess.run([sys.executable, source, folder], input=script.read_text(), capture_output=True, text=True,
                              env=env, cwd=tmp_path)
        assert (done.returncode, done.stdout.split()) == (0, ["started", "3"]), done.stderr


def test_processes_find_the_packages_of_the_one_that_starts_them(tmp_path, monkeypatch, several):
    monkeypatch.syspath_prepend(tmp_path / "packages")
    (tmp_path / "text").write_bytes(b"\n".join(LINES))
    number_words(tmp_path / "text", tmp_path / "numbers", "")
    assert [str(tmp_path / "packages") in worker.env["PYTHONPATH"].split(os.pathsep) for worker in several] == [True] * 3


def test_a_process_starts_quickly():
    code = "import sys, allatt.data.words; print([m for m in ('torch', 'sentencepiece', 'filelock') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"


def test_processes_are_one_a_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert words.processes() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert words.processes() == 8
    monkeypatch.setattr(sys, "executable", "")
    assert words.processes() == 1


# --- the progress bar -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3])
def test_the_progress_bar_counts_every_byte(tmp_path, monkeypatch, several, number, capsys):
    bars = []

    class Bar(words.tqdm):
        def close(self):
            if not self.disable:
                bars.append((self.desc, self.n, self.total))
            super().close()

    monkeypatch.setattr(words, "tqdm", Bar)
    monkeypatch.setattr(words, "processes", lambda: number)
    path = tmp_path / "text"
    path.write_text("naïve Ἀχιλλεύς 😀\n" * 500, encoding="utf-8")
    number_words(path, tmp_path / "numbers", "words of train")
    assert set(bars) == {("words of train", path.stat().st_size, path.stat().st_size)}
    assert "words of train: " in capsys.readouterr().err
    monkeypatch.setattr(words, "_LARGE", 10**6)
    number_words(path, tmp_path / "quiet", "words of train")
    assert capsys.readouterr().err == ""


def test_an_end_of_line_is_a_word_of_its_own(tmp_path):
    path = tmp_path / "text"
    path.write_text("b a\n\na\nb a")
    pieces = number_words(path, tmp_path / "numbers", "")
    assert list(pieces.counts()) == [{"b": 2, "a": 3, BREAK: 3}]
    assert pieces.found == {"documents": 0, "lines": 3, "words": 8}


@pytest.mark.parametrize("text, words", [("", 0), ("  ", 0), ("\n", 1), (" a", 1)])
def test_a_text_with_next_to_nothing(tmp_path, text, words):
    path = tmp_path / "text"
    path.write_text(text)
    pieces = number_words(path, tmp_path / "numbers", "")
    assert pieces.found["words"] == words == tokenizers.total(pieces, path)[0].total() + text.count("\n")
    table = tokenizers.Words(["<unk>", "<eos>"]).table
    assert sum(map(len, pieces.ids(table))) == words
