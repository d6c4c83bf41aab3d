"""A saved model: a folder that stands alone. It needs no text, no cache and no other file, so it can be moved and shared.

    model.safetensors   weights and shape, without closed heads      about.json   sizes, numbers, text, versions, checksums
    words.txt, subwords.model or characters.json: its tokens         README.md    the same for people: a model card
    config.json         the shape, for people and for the hub

The Hugging Face hub takes it as a repository (`allatt.sharing.hub`). `load` opens it, and finished runs too.
Nothing in it is executed.
"""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from allatt.config import AllattError, check
from allatt.cost import count
from allatt.data import tokens
from allatt.data.text_files import read_with_progress
from allatt.data.tokenizers import VOCABULARIES, Vocabulary
from allatt.data.word_counts import split_words
from allatt.evaluate import evaluate
from allatt.model import LanguageModel
from allatt.runs.run import Run, find
from allatt.sharing import hub
from allatt.sharing.card import card, shape
from allatt.system.files import checksum, disk, is_unchanged, read_json, seal, write, write_json
from allatt.system.paths import home

ABOUT = "about.json"
ADVICE = "save the run again, with `python -m allatt save`"

DRAFT = ".draft"
"""The end of the name of a folder that is being written."""


class Saved(NamedTuple):
    """A model ready for use: in evaluation mode, on the CPU."""

    model: LanguageModel
    vocabulary: Vocabulary
    """Its tokens: `encode` and `decode`."""
    about: dict
    """Where it comes from: id and name of the run, text, results, sizes. Its texts are single lines that can be printed."""


def save(run: Run, folder: Path, license: str = "") -> Path:
    """Write a run's model into a new or empty folder, whole or not at all. AllattError if the folder is not empty, or cannot
    be written.

    license: that of the text, if it is the user's own.
    """
    for place in (folder, *folder.parents):
        check(place.exists() or not place.is_symlink(), f"{place} is a symbolic link that leads nowhere; remove it, or name "
                                                        "another folder")
    check(not folder.exists() or (folder.is_dir() and _is_free(folder)),
          f"{folder} exists and is not an empty folder; name another")
    model, vocabulary = run.pruned(), vocabulary_of(run)
    _check_finite(model, run.id)
    small, full = model.parameter_counts(), count(run.config.model, model.vocab)["parameters"]
    text, license = run.provenance["data"], printable(license)
    about = printable({
        "run": run.id, "name": run.config.name, "tokens": text["kind"], "heads_per_layer": model.config.heads_per_layer,
        "heads_before": run.config.model.heads, "parameters": small, "parameters_before": {part: full[part] for part in small},
        "text": {key: text[key] for key in ("name", "title", "license", "sha256")} | ({"license": license} if license else {}),
        "result": {split: run.result[split] for split in ("valid", "test")}, "precision": run.config.train.precision,
        "versions": run.provenance["versions"], "commit": run.provenance["commit"], "hardware": run.provenance["hardware"]})
    with _filled(folder) as draft:
        model.save(draft / "model.safetensors")
        vocabulary.save(draft)
        write_json(draft / "config.json", shape(model))
        write(draft / "README.md", card(about, model).encode())
        files = {path.name: checksum(path) for path in sorted(draft.iterdir())}
        write_json(draft / ABOUT, seal(about | {"files": files}))
    return folder


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, or holds what a killed process has left in an empty one."""
    return not any(folder.iterdir()) or (folder / DRAFT).is_dir()


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """An empty folder to write into. Its files become those of `folder` when the block ends well; after an error none of them
    are left. What a killed process has left is removed.

    A new folder is renamed into place. An existing one stays what it is (it may be a mounted disk, a link, or where the
    user works): the draft is inside it, and the draft's files are renamed, ABOUT last.
    """
    exists = folder.exists()
    draft, moved = folder / DRAFT if exists else folder.with_name(f".{folder.name}{DRAFT}"), []
    with disk(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield draft
            if not exists:
                os.replace(draft, folder)
            for path in sorted(draft.iterdir(), key=lambda path: path.name == ABOUT) if exists else ():
                moved.append(folder / path.name)
                os.replace(path, moved[-1])
        except BaseException:
            for path in moved:
                with suppress(OSError):
                    path.unlink()
            raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def printable(values: Any) -> Any:
    """JSON values whose texts are single lines without control characters: a terminal would obey such characters
    from a stranger's file, and a line break would begin something new in the model card."""
    if isinstance(values, str):
        return " ".join("".join(character if character.isprintable() else " " for character in values).split())
    if isinstance(values, dict):
        return {key: printable(value) for key, value in values.items()}
    return [printable(value) for value in values] if isinstance(values, list | tuple) else values


def load(name: str | Path) -> Saved:
    """A saved model's folder, here or on a hub (hf://owner/name), or a finished run (its id, the start of it, or its folder)
    without its closed heads.

    AllattError if it is not there, or if its files are damaged or do not fit each other.
    """
    folder, corpus = hub.fetch(str(name)) if hub.is_address(str(name)) else Path(name), {}
    if (folder / ABOUT).exists():
        about = read_json(folder / ABOUT, ADVICE, ("run", "name", "tokens", "files", "text", "result"))
        _check_form(about, folder / ABOUT)
        for file, sha256 in about["files"].items():
            path = folder / Path(file).name
            check(path.is_file() and is_unchanged(path, sha256), f"{path} is missing, or was changed; {ADVICE}")
        model, vocabulary = LanguageModel.load(folder / "model.safetensors").eval(), _vocabulary_in(folder, about["tokens"])
    else:
        check(not folder.is_dir() or (folder / "result.json").exists(),
              f"{folder} is neither the folder of a finished run nor one that `save` or `prune` wrote")
        run = Run(folder) if folder.is_dir() else find(str(name))
        about = {"run": run.id, "name": run.config.name, "tokens": run.config.data.tokens, "text": run.provenance["data"],
                 "result": run.result}
        _check_form(about | {"files": {}}, run.folder / "provenance.json")
        model, vocabulary = run.pruned(), vocabulary_of(run)
        # Left out for a run elsewhere: a stranger's run may name any folder of this machine.
        if run.folder.absolute().parent.resolve() == (home() / "runs").resolve():
            corpus = {"corpus": run.config.data.corpus}
    check(model.vocab == vocabulary.size, f"the model of {name} has {model.vocab} tokens, but its vocabulary "
                                          f"{vocabulary.size}; {ADVICE}, or train it again")
    _check_finite(model, str(name))
    return Saved(model, vocabulary, printable(about) | corpus)


def _check_finite(model: LanguageModel, name: str) -> None:
    check(all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()),
          f"the model of {name} has a weight that is not a finite number; train it again, or take another")


def _check_form(about: dict, path: Path) -> None:
    """AllattError unless the description of a model has the form that `save` gives it."""
    forms = {"run": str, "name": str, "tokens": str, "files": dict, "text": dict, "result": dict}
    wrong = [name for name, form in forms.items() if not isinstance(about[name], form)]
    wrong += [] if "text" in wrong or isinstance(about["text"].get("name"), str) else ["text.name"]
    wrong += [] if "files" in wrong or all(isinstance(sha256, str) for sha256 in about["files"].values()) else ["files"]
    check(not wrong, f"{path} has {wrong[0] if wrong else ''} of another form; {ADVICE}")
    check(about["tokens"] in VOCABULARIES, f"{path} has tokens {about['tokens']!r:.40}; {ADVICE}")


def _vocabulary_in(folder: Path, kind: str) -> Vocabulary:
    """The vocabulary of a saved model; AllattError if it cannot be read, or if a token cannot be decoded."""
    try:
        vocabulary = VOCABULARIES[kind].read(folder)
        vocabulary.decode(range(vocabulary.size))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise AllattError(f"{folder} does not hold {kind} ({type(error).__name__}: {str(error)[:100]!r}); {ADVICE}") from None
    return vocabulary


def vocabulary_of(run: Run) -> Vocabulary:
    """The vocabulary of a run: the one on this machine, even if the text is not here; else it is made again from the text."""
    meta = run.provenance["data"]
    stored = tokens.stored_vocabulary(meta)
    if stored is not None:
        return stored
    again = tokens.load(run.config.data)
    check(again.meta["sha256"] == meta.get("sha256"), f"{run.config.data.corpus} is not, by its checksums, the text that run "
                                                      f"{run.id} learned from; restore that text")
    return again.vocabulary


def measure(saved: Saved, path: Path, rows: int = 16, precision: str = "fp32") -> dict:
    """Perplexities of a saved model on the text of a file in WikiText's format, with their protocol."""
    parts, words, unknown_id = [], 0, saved.vocabulary.unknown_id
    for block in read_with_progress(path, path.name):
        words += len(split_words(block))
        parts.append(_encode(saved, block, path))
    ids = np.concatenate(parts or [np.zeros(0, np.int32)])
    check(words > 0, f"{path} holds no words; give a text")
    counts = {"words": words, "bytes": path.stat().st_size}
    result = evaluate(saved.model, ids, counts, rows, precision=precision, unknown_id=unknown_id)
    check(math.isfinite(result["nats"]), f"the model's loss on {path} is {result['nats']}: its weights are too large; take "
                                         "another model")
    return result


def _encode(saved: Saved, text: str, path: Path) -> np.ndarray:
    try:
        return saved.vocabulary.encode(text)
    except AllattError as error:
        raise AllattError(f"{path}: {error}; the model cannot read it") from None
