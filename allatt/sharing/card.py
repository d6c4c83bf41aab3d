"""What a saved model says about itself: the model card, with the metadata that hubs read, and its shape as JSON."""

import json
import math

from allatt import __version__
from allatt.config import KIND_NAMES, to_dict
from allatt.data.tokenizers import UNKNOWN
from allatt.model import LanguageModel

LICENSES = {"CC BY-SA 3.0": "cc-by-sa-3.0", "CC BY-SA 4.0": "cc-by-sa-4.0", "CC BY 4.0": "cc-by-4.0", "CC0": "cc0-1.0"}
"""The hub's names of licenses that a text may have. Of any other license, the metadata give no name, and the card its words."""


def shape(model: LanguageModel) -> dict:
    """The content of config.json, under names that are common on hubs; `model` repeats it under allatt's names."""
    c = model.config
    return {"model_type": "allatt", "architectures": [KIND_NAMES[c.kind]], "allatt_version": __version__,
            "vocab_size": model.vocab, "hidden_size": c.d_model, "num_hidden_layers": c.layers, "head_dim": c.d_head,
            "heads_per_layer": c.heads_per_layer, "heads_per_layer_before_pruning": c.heads, "model": to_dict(c)}


def card(about: dict, model: LanguageModel) -> str:
    """The model card, in Markdown."""
    heads, test = about["heads_per_layer"], about["result"]["test"]
    rows = "\n".join(f"| {split} | {part['tokens']:,} | {part['perplexity']:.2f} | {part['word_perplexity']:.2f} | "
                     f"{part['bits_per_byte']:.3f} | {_unknown(part)} |" for split, part in about["result"].items())
    before, after, text = about["parameters_before"], about["parameters"], about["text"]
    return f"""{_metadata(about)}# {about['name']}

A language model of {after['total']:,} parameters: {KIND_NAMES[model.config.kind]}, {len(heads)} layers, {sum(heads)} of
{about['heads_before'] * len(heads)} attention heads ({' '.join(map(str, heads))} by layer). Its body has {after['body']:,}
parameters, with all heads {before['body']:,}.

Trained with allatt, a companion to "Layer-wise Pruning of Transformer Attention Heads for Efficient Language Modeling" (Shim et
al. 2021, arXiv 2110.03252), as run {about['run']}, commit {about['commit'][:12]}, on {about['hardware']}.

    import allatt
    model, vocabulary, about = allatt.load("this folder")         # or: python -m allatt generate "this folder"
    model, vocabulary, about = allatt.load("hf://owner/name")     # after: hf upload owner/name "this folder"

## Text

{_title(text)} ({text['license']}), as {about['tokens']}. The text's license may extend to what the model writes.

| text | tokens | perplexity per token | per word | bits per byte | tokens that are {UNKNOWN} |
|---|---|---|---|---|---|
{rows}

Protocol: {_protocol(test)}. Perplexities of other protocols, texts or tokens cannot be compared with these.

## Limits

A small model for research and teaching. What it writes is often untrue and may be offensive.
"""


def _unknown(part: dict) -> str:
    return f"{part['unknown']:.2%}" if "unknown" in part else "not counted"  # the first runs did not count them


def _metadata(about: dict) -> str:
    """The card's YAML header. Its values are JSON, which is also YAML, so no text of a stranger can become a key."""
    text, results = about["text"], []
    for split, part in about["result"].items():
        metrics = [{"type": "perplexity", "name": f"per token ({_protocol(part)})", "value": _rounded(part["perplexity"])},
                   {"type": "perplexity", "name": "per word", "value": _rounded(part["word_perplexity"])},
                   {"type": "bits_per_byte", "value": _rounded(part["bits_per_byte"])}]
        results.append({"task": {"type": "text-generation"}, "metrics": metrics,
                        "dataset": {"type": text["name"], "name": _title(text), "split": split}})
    license = next((name for words, name in LICENSES.items() if text["license"].endswith(words)), None)
    values = {"library_name": "allatt", "pipeline_tag": "text-generation", "license": license,
              "tags": ["all-attention", "attention-head-pruning", "arxiv:2110.03252"],
              "model-index": [{"name": about["name"], "results": results}]}
    lines = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None)
    return f"---\n{lines}\n---\n"


def _title(text: dict) -> str:
    return text["title"].lstrip("# ")


def _protocol(result: dict) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["protocol"].items())


def _rounded(value: float) -> float:
    """Rounded to four digits, for people to read."""
    return float(f"{value:.4g}") if math.isfinite(value) else value
