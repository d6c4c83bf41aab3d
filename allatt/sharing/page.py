"""A model as a web page: one file that needs no Python, no network and no server, where heads are removed by a click.

The page holds the weights (half precision, base64), the tokens, and a program in plain JavaScript that computes what
`allatt.model` computes. Its parts are in page/: model.js and text.js (functions without a page), page.js (buttons and what
they show) with look.js and work.js, page.css and page.html. Tests compare it with torch.

What a saved model says about itself may be a stranger's text: it enters the page as JSON without any "<", and is shown as
text. The page's policy allows the scripts below by their checksums, and nothing from a network.
"""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path

from allatt.config import KIND_NAMES, ModelConfig, check
from allatt.cost import count
from allatt.data.text8_format import spell
from allatt.data.tokenizers import END, Characters, Subwords, Vocabulary, Words
from allatt.model import LanguageModel
from allatt.sharing.saved import Saved
from allatt.system.files import write
from allatt.system.paths import PACKAGE

PARTS = PACKAGE / "sharing" / "page"
SCRIPTS = ("model.js", "text.js", "look.js", "work.js", "page.js")
LARGEST = 20_000_000
"""Parameters of the largest model for a page (our choice): 53 MB, and some seconds per click."""
TEXT = ("The old bridge was built of stone in 1842, and it is the only one in the county that still stands. It was closed to "
        "traffic after the flood of 1956, when a part of the northern arch fell into the river.")
"""What the page shows at first (our own words)."""


def write_page(opened: Saved, path: Path) -> int:
    """Write a model as a page; returns its size in bytes. AllattError if the file exists, or the page could not compute the
    model."""
    check(not path.exists(), f"{path} exists; name another file")
    content = page(opened).encode()
    write(path, content)
    return len(content)


def page(opened: Saved) -> str:
    """The page, as HTML. AllattError for an adaptive softmax, a model that is too large, or weights beyond half precision."""
    scripts = {name: (PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS}
    sources = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
                       for code in scripts.values())
    values = scripts | {
        "title": html.escape(f"Heads of {opened.about['name']}"), "style": (PARTS / "page.css").read_text(encoding="utf-8"),
        "policy": f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        # In JSON every "<" is within a string, where it may be written as an escape: no </script>, no <!--.
        "data": json.dumps(_data(opened), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")}
    template = (PARTS / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\S+)\}\}", lambda found: values[found[1]], template)  # one pass: inserted text is not searched again


def _data(opened: Saved) -> dict:
    """What the scripts read."""
    model, vocabulary, about = opened
    c, total = model.config, model.parameter_counts()["total"]
    check(not c.cutoffs, f"a page cannot compute an adaptive softmax (cutoffs {', '.join(map(str, c.cutoffs))}); take a model "
                         "with one table, of subwords or characters")
    check(total <= LARGEST, f"this model has {total:,} parameters; a page takes at most {LARGEST:,}")
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    wide = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    check(not wide, f"{', '.join(wide[:1])} has weights above 65,504, which the half precision of a page cannot hold; take "
                    "another model")
    weights = b"".join(tensor.numpy().astype("<f2").tobytes() for tensor in tensors.values())
    return {"config": {name: getattr(c, name) for name in ("kind", "layers", "heads", "d_model", "d_head", "persistent",
                                                           "feed_forward", "memory")},
            "kept": c.kept_heads, "tensors": [(name, tensor.numel()) for name, tensor in tensors.items()],
            "tokens": _tokens(vocabulary), "body": _body(c, model), "about": _about(about, c), "text": first_text(vocabulary),
            "weights": base64.b64encode(weights).decode()}


def _body(config: ModelConfig, model: LanguageModel) -> dict[str, int]:
    """Parameters of the body: those that no removal touches, those of one head, and those of the body with all heads."""
    none = count(replace(config, kept=((),) * config.layers), model.vocab)["parameters"]
    full = count(replace(config, kept=None), model.vocab)["parameters"]
    return {"rest": none["body"], "head": none["per_head"], "full": full["body"]}


def _tokens(vocabulary: Vocabulary) -> dict:
    """The vocabulary: pieces by id, scores of byte-pair encoding (None: never found in a text), and ids with a meaning.

    start: what the model reads before a text: a line end or, if there is none, a space; -1: nothing.
    """
    pieces = list(map(vocabulary.piece, range(vocabulary.size)))
    values = {"scores": None, "unknown": vocabulary.unknown_id, "end": -1}
    if isinstance(vocabulary, Characters):
        pieces = [vocabulary.decode([index]) for index in range(vocabulary.size)]
        values["unknown"] = -1 if vocabulary.unknown_id is None else vocabulary.unknown_id
        start = next((pieces.index(character) for character in "\n " if character in pieces), -1)
        return values | {"kind": "characters", "pieces": pieces, "start": start}
    if isinstance(vocabulary, Words):
        values |= {"kind": "words", "end": pieces.index(END)}
    if isinstance(vocabulary, Subwords):
        values |= {"kind": "subwords", "end": int(vocabulary.encode("\n")[0]), "scores": vocabulary.scores()}
        check(all(score is None or score == round(score) for score in values["scores"]),  # the ranks of its merges
              "a page can split words by byte-pair encoding alone; the subwords of this model are of another kind")
    return values | {"pieces": pieces, "start": values["end"]}


def first_text(vocabulary: Vocabulary) -> str:
    """TEXT; for a vocabulary that lacks some of its characters, as much of TEXT in text8's format as it can spell."""
    if not isinstance(vocabulary, Characters) or set(map(ord, TEXT)) <= set(vocabulary.codes):
        return TEXT
    return "".join(character for character in spell(TEXT).strip() if ord(character) in vocabulary.codes) or chr(
        vocabulary.codes[0])


def _about(about: dict, config: ModelConfig) -> dict[str, str]:
    """Where the model comes from, as strings; a value that is not known says so."""
    text, test = about["text"], about["result"].get("test")
    perplexity = test.get("perplexity") if isinstance(test, dict) else None
    known = {"name": about["name"], "run": about["run"], "kind": KIND_NAMES[config.kind], "tokens": about["tokens"],
             "text": text.get("title", text["name"]), "license": text.get("license", "not known"),
             "commit": str(about.get("commit", "not known"))[:12],
             "perplexity": f"{perplexity:.2f}" if isinstance(perplexity, float) else "not known"}
    return {name: str(value) for name, value in known.items()}
