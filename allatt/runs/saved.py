"""A saved model: a folder that stands alone. It needs no text, no cache and no other file, so that it can be moved and shared.

    model.safetensors   weights and shape, without closed heads      about.json   sizes, numbers, text, versions, checksums
    words.txt, subwords.model or characters.json: its tokens         README.md    the same for people: a model card

`load` opens it, and finished runs too. Nothing in it is executed.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from allatt.config import KIND_NAMES, AllattError, check
from allatt.cost import count
from allatt.data import tokens
from allatt.data.text_files import read_with_progress
from allatt.data.tokenizers import UNKNOWN, VOCABULARIES, Vocabulary
from allatt.data.word_counts import split_words
from allatt.evaluate import evaluate
from allatt.model import LanguageModel
from allatt.runs.run import Run, find
from allatt.system.files import checksum, is_unchanged, read_json, seal, write, write_json

ABOUT = "about.json"
ADVICE = "save the run again, with `python -m allatt save`"


class Saved(NamedTuple):
    """A model to use: evaluation mode, on the CPU."""

    model: LanguageModel
    vocabulary: Vocabulary
    """Its tokens: `encode` and `decode`."""
    about: dict
    """Where it comes from: id and name of the run, text, results, sizes."""


def save(run: Run, folder: Path, license: str = "") -> Path:
    """Write a run's model into a new or empty folder. AllattError if the folder holds something, or cannot be written.

    license: that of the text, if it is the user's own.
    """
    check(not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
          f"{folder} exists and is not an empty folder; name another")
    model, vocabulary = run.pruned(), vocabulary_of(run)
    small, full = model.parameter_counts(), count(run.config.model, model.vocab)["parameters"]
    model.save(folder / "model.safetensors")
    vocabulary.save(folder)
    text = run.provenance["data"]
    about = {
        "run": run.id, "name": run.config.name, "tokens": text["kind"], "heads_per_layer": model.config.heads_per_layer,
        "heads_before": run.config.model.heads, "parameters": small, "parameters_before": {part: full[part] for part in small},
        "text": {key: text[key] for key in ("name", "title", "license", "sha256")} | ({"license": license} if license else {}),
        "result": {split: run.result[split] for split in ("valid", "test")}, "precision": run.config.train.precision,
        "versions": run.provenance["versions"], "commit": run.provenance["commit"], "hardware": run.provenance["hardware"]}
    write(folder / "README.md", card(about, model).encode())
    files = {path.name: checksum(path) for path in sorted(folder.iterdir())}
    write_json(folder / ABOUT, seal(about | {"files": files}))
    return folder


def load(name: str | Path) -> Saved:
    """A saved model's folder, or a finished run (its id, the start of it, or its folder) without its closed heads.

    AllattError if it is not there, or if its files are damaged or do not fit each other.
    """
    folder = Path(name)
    if (folder / ABOUT).exists():
        about = read_json(folder / ABOUT, ADVICE, ("run", "name", "tokens", "files", "text", "result"))
        check(about["tokens"] in VOCABULARIES, f"{folder / ABOUT} has tokens {about['tokens']!r}; {ADVICE}")
        for file, sha256 in about["files"].items():
            path = folder / Path(file).name
            check(path.is_file() and is_unchanged(path, sha256), f"{path} is missing, or was changed; {ADVICE}")
        model, vocabulary = LanguageModel.load(folder / "model.safetensors").eval(), VOCABULARIES[about["tokens"]].read(folder)
    else:
        check(not folder.is_dir() or (folder / "result.json").exists(),
              f"{folder} is neither the folder of a finished run nor one that `save` or `prune` wrote")
        run = Run(folder) if folder.is_dir() else find(str(name))
        model, vocabulary = run.pruned(), vocabulary_of(run)
        about = {"run": run.id, "name": run.config.name, "tokens": run.config.data.tokens, "text": run.provenance["data"],
                 "result": run.result, "corpus": run.config.data.corpus}
    check(model.vocab == vocabulary.size, f"the model of {name} has {model.vocab} tokens, but its vocabulary "
                                          f"{vocabulary.size}; {ADVICE}, or train it again")
    return Saved(model, vocabulary, about)


def vocabulary_of(run: Run) -> Vocabulary:
    """The tokens of a run: those on this machine, even if the text is not; else they are made again from the text."""
    return tokens.stored_vocabulary(run.provenance["data"]) or tokens.load(run.config.data).vocabulary


def measure(saved: Saved, path: Path, rows: int = 16, precision: str = "fp32") -> dict:
    """Perplexities of a saved model on the text of a file in WikiText's format, with their protocol."""
    parts, words, unknown_id = [], 0, saved.vocabulary.unknown_id
    for block in read_with_progress(path, path.name):
        words += len(split_words(block))
        parts.append(_encode(saved, block, path))
    ids = np.concatenate(parts or [np.zeros(0, np.int32)])
    counts = {"words": words, "bytes": path.stat().st_size}
    return evaluate(saved.model, ids, counts, rows, precision=precision, unknown_id=unknown_id)


def _encode(saved: Saved, text: str, path: Path) -> np.ndarray:
    try:
        return saved.vocabulary.encode(text)
    except AllattError as error:
        raise AllattError(f"{path}: {error}; the model cannot read it") from None


def card(about: dict, model: LanguageModel) -> str:
    """The model card, in Markdown."""
    heads, test = about["heads_per_layer"], about["result"]["test"]
    protocol = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in test["protocol"].items())
    rows = "\n".join(f"| {split} | {part['tokens']:,} | {part['perplexity']:.2f} | {part['word_perplexity']:.2f} | "
                     f"{part['bits_per_byte']:.3f} | {part.get('unknown', 0):.2%} |" for split, part in about["result"].items())
    before, after, text = about["parameters_before"], about["parameters"], about["text"]
    return f"""# {about['name']}

A language model of {after['total']:,} parameters: {KIND_NAMES[model.config.kind]}, {len(heads)} layers, {sum(heads)} of
{about['heads_before'] * len(heads)} attention heads ({' '.join(map(str, heads))} by layer). Its body has {after['body']:,}
parameters, with all heads {before['body']:,}.

Trained with allatt, a companion to "Layer-wise Pruning of Transformer Attention Heads for Efficient Language Modeling" (Shim et
al. 2021, arXiv 2110.03252), as run {about['run']}, commit {about['commit'][:12]}, on {about['hardware']}.

    import allatt
    model, vocabulary, about = allatt.load("this folder")         # or: python -m allatt generate "this folder"

## Text

{text['title']} ({text['license']}), as {about['tokens']}. The text's license may extend to what the model writes.

| text | tokens | perplexity per token | per word | bits per byte | tokens that are {UNKNOWN} |
|---|---|---|---|---|---|
{rows}

Protocol: {protocol}. Perplexities of other protocols, texts or tokens do not compare with these.

## Limits

A small model for research and teaching. What it writes is not true, and may offend.
"""
