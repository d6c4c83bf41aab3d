"""Text to word numbers: the slow part of making ids, shared out among processes.

    text -> words -> numbers, in the order of first sight (here) -> ids (a table with a row a number, `Pieces.ids`)

The vocabulary is known only when all words have been counted, but no word needs to be looked up twice for that: the
numbers are kept beside the counts, and become ids by indexing. CPython cuts and looks up 4 to 5 million words a second
on one core, two processes 5 to 6 million on two that share their caches; what numpy does afterwards takes an eighth of that.

The processes are plain `python -m allatt.data.words`: forking is not safe beside torch's and Jupyter's threads, and
multiprocessing's spawn runs the caller's script again, which fails in one without `if __name__ == "__main__"`. This module
imports no torch, so that one starts in a fifth of a second. They read the file themselves, write files of their own, and
say through one pipe how far they are; when the process that waits for them dies, the pipe breaks, and so do they.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from allatt.config import AllattError, check
from allatt.data.reading import blocks, ranges
from allatt.system.processes import cores, search_path

BREAK = "\0"
"""Stands for an end of line while text is cut at white space; no text holds this character (`reading.blocks`)."""
# Blocks that stay in the processor's cache are cut and looked up twice as fast as larger ones.
_BLOCK = 1 << 15
# Texts up to this many bytes show no progress bar, and one process cuts them: they are done in a second.
_LARGE = 20_000_000
# Numbers start anew when so many words have got one, which bounds the memory of a process.
_DISTINCT = 500_000
# So many numbers are held before they are written.
_HELD = 1 << 18
# A title begins with the end of the line before, which is found much faster than a place after one.
_TITLE = re.compile(r"\n ?= (?!=).* = ?$", re.MULTILINE)


def processes() -> int:
    """How many processes cut a large text: one a core that this process may use, at most 8."""
    return min(8, cores()) if sys.executable else 1


def bar(path: Path, label: str) -> tqdm:
    """A progress bar over the bytes of a file, on stderr; hidden for a small one."""
    size = path.stat().st_size
    return tqdm(total=size, unit="B", unit_scale=True, desc=label, leave=False, mininterval=0.5, disable=size < _LARGE)


def progress(path: Path, label: str) -> Iterator[str]:
    """The blocks of a text file, with a progress bar for a large one."""
    with bar(path, label) as shown:
        for block in blocks(path, _BLOCK):
            yield block
            shown.update(len(block.encode()))


def titles(block: str) -> int:
    """How many lines are an article's title, ` = Title = `; sections have more equals signs."""
    return len(_TITLE.findall(f"\n{block}"))


@dataclass(frozen=True)
class Pieces:
    """A text as numbers of words, in files: some pieces one after the other, each with its own numbers from 0."""

    paths: list[Path]
    """One a piece: int32 numbers; beside it, in .words a line a number, and in .counts an int64."""
    found: dict[str, int]
    """Documents, lines, and words (an end of line is one) of the text."""

    def counts(self) -> Iterator[dict[str, int]]:
        """For each piece, how often each word stands in it; BREAK is an end of line."""
        for path in self.paths:
            yield dict(zip(_words(path), np.fromfile(path.with_suffix(".counts"), np.int64).tolist(), strict=True))

    def ids(self, table: Callable[[list[str]], tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
        """The text's ids in its order, int32. `table` gives the ids of some words in a row, and how many each has."""
        for path in self.paths:
            flat, lengths = table(_words(path))
            starts, single = lengths.cumsum() - lengths, bool((lengths == 1).all())
            with open(path, "rb") as file:
                while len(numbers := np.fromfile(file, np.int32, _HELD)):
                    if single:
                        yield flat.take(numbers)  # twice as fast as flat[numbers]
                    else:
                        # Where the ids of these words lie in `flat`: a word's start, plus how far into the word.
                        n = lengths[numbers]
                        yield flat[np.repeat(starts[numbers] - (n.cumsum() - n), n) + np.arange(n.sum())]


def _words(path: Path) -> list[str]:
    return path.with_suffix(".words").read_bytes().decode().split()


def number_words(path: Path, folder: Path, label: str) -> Pieces:
    """Cut a text file into words, and write their numbers and counts into the new `folder`.

    What comes out does not depend on the number of processes. Raises AllattError for bytes that are no text.
    """
    folder.mkdir()
    spans = ranges(path, processes() if path.stat().st_size >= _LARGE else 1, _BLOCK)
    with bar(path, label) as shown:
        if len(spans) == 1:
            found = [_number(path, *spans[0], folder, _BLOCK, _DISTINCT, shown.update)]
        else:
            found = _in_processes(path, spans, folder, shown.update)
    paths = [folder / f"{start}-{i}" for (start, _), one in zip(spans, found, strict=True) for i in range(one["pieces"])]
    return Pieces(paths, {key: sum(one[key] for one in found) for key in ("documents", "lines", "words")})


def _number(path: Path, start: int, stop: int | None, folder: Path, size: int, distinct: int,
            report: Callable[[int], object]) -> dict:
    """Number the words of one range of a text file, read in blocks of `size`; `report` is told of bytes that are done."""
    found = {"documents": 0, "lines": 0, "words": 0, "pieces": 0}
    source = blocks(path, size, start, stop)
    rest = next(source, None)
    while rest is not None:
        name = folder / f"{start}-{found['pieces']}"
        known: defaultdict[str, int] = defaultdict()
        known.default_factory = known.__len__  # a new word's number is how many there are
        counts = np.zeros(0, np.int64)
        with open(name, "wb") as out:
            while rest is not None and len(known) < distinct:
                held, words, done = [], 0, 0
                while rest is not None and len(known) < distinct and words < _HELD:
                    cut = rest.replace("\n", f" {BREAK} ").split()
                    held.append(np.fromiter(map(known.__getitem__, cut), np.int32, len(cut)))
                    found["documents"] += titles(rest)
                    found["lines"] += rest.count("\n")
                    words, done = words + len(cut), done + len(rest.encode())
                    rest = next(source, None)
                numbers = np.concatenate(held)
                counts = np.bincount(numbers, minlength=len(known)) + np.pad(counts, (0, len(known) - len(counts)))
                out.write(numbers.data)
                found["words"] += words
                report(done)
        name.with_suffix(".words").write_bytes("\n".join(known).encode())
        counts.tofile(name.with_suffix(".counts"))
        found["pieces"] += 1
    return found


def _in_processes(path: Path, spans: list[tuple[int, int | None]], folder: Path, report: Callable[[int], object]) -> list[dict]:
    """`_number` of each range, in a process each. Where several fail, the error is that of the first in the text."""
    ends: dict[int, dict] = {}
    workers: list[subprocess.Popen] = []
    env = os.environ | {"PYTHONPATH": search_path()}
    reading, writing = os.pipe()
    with open(reading, "rb") as messages:
        try:
            try:
                for index, (start, stop) in enumerate(spans):
                    task = json.dumps([index, str(path), start, stop, str(folder), _BLOCK, _DISTINCT])
                    # A session of its own: Ctrl-C is for this process, which ends them below.
                    workers.append(subprocess.Popen([sys.executable, "-P", "-m", "allatt.data.words", task], env=env,
                                                    stdin=subprocess.DEVNULL, stdout=writing, start_new_session=True))
            finally:
                os.close(writing)  # from here on the processes alone hold it, and it ends when they do
            for line in messages:
                index, message = json.loads(line)
                if isinstance(message, int):
                    report(message)
                else:
                    ends[index] = message
            codes = [worker.wait() for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    for index, code in enumerate(codes):
        end = ends.get(index, {"error": f"a process that cut {path} into words ended early (exit status {code}), perhaps for "
                                        f"want of memory; run it again"})
        check("error" not in end, end.get("error", ""))
        if "os_error" in end:
            raise OSError(*end["os_error"])
    return [ends[index] for index in range(len(spans))]


def _work(task: str) -> None:
    """What one process does."""
    index, path, start, stop, folder, size, distinct = json.loads(task)

    def say(message: int | dict) -> None:
        # One write, so that lines of several processes do not mix.
        os.write(sys.stdout.fileno(), json.dumps([index, message]).encode() + b"\n")

    try:
        try:
            say(_number(Path(path), start, stop, Path(folder), size, distinct, say))
        except AllattError as error:
            say({"error": str(error)})
        except BrokenPipeError:
            raise
        except OSError as error:
            say({"os_error": [error.errno, error.strerror, error.filename]})
    except BrokenPipeError:
        os._exit(1)  # whoever waited has gone


if __name__ == "__main__":
    _work(sys.argv[1])
