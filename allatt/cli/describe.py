"""Commands that describe without training: `data` (a corpus) and `cost` (a model's size and multiply-adds)."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from allatt.cli.options import SCALES, add_command
from allatt.config import ALL_ATTENTION, KINDS, AllattError, DataConfig, check
from allatt.system.text_tables import table

PARTS = {
    "projections": "projections q, k, v, r, o",
    "context": "attention to the context",
    "persistent": "persistent vectors",
    "feed_forward": "feed-forward",
    "biases": "position biases u, w; bias of Wo",
    "norms": "LayerNorms",
}
"""Names of the parts of a body."""


def add_commands(commands) -> None:
    """Add `data` and `cost`."""
    parser = add_command(commands, "data", data,
                         "describe a corpus: size, words, tokens, unknown rate, first lines, license")
    parser.add_argument("--corpus", default=DataConfig.corpus, help="name or folder (default: %(default)s)")
    parser.add_argument("--tokens", default=DataConfig.tokens, help="words, subwords or characters (default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=DataConfig.vocab_size,
                        help="number of subwords; or most words to keep, 0: no limit (default: %(default)s)")
    parser.add_argument("--min-count", type=int, default=DataConfig.min_count,
                        help="words seen less often become <unk> (default: %(default)s)")
    parser.add_argument("--pack", type=Path, metavar="FOLDER",
                        help="write its ids into a small folder, which is a corpus for machines without the text")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="with --pack: only the first N training tokens")

    parser = add_command(commands, "cost", cost, "count parameters and multiply-adds exactly, without building the model")
    parser.add_argument("--scale", default="paper", help=f"{SCALES} (default: %(default)s)")
    parser.add_argument("--model", default=ALL_ATTENTION, help=f"{' or '.join(KINDS)} (default: %(default)s)")
    parser.add_argument("--kept", default="", metavar="8,3,7,...", help="number of heads kept in each layer (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def data(options: argparse.Namespace) -> None:
    """Print a description of a corpus and its tokens, or pack them."""
    from allatt.data.summary import summarize
    from allatt.data.tokens import pack

    config = DataConfig(options.corpus, options.tokens, options.vocab_size, options.min_count)
    check(options.pack or not options.first, "--first says how much to pack; give --pack FOLDER, too")
    if options.pack:
        meta = pack(config, options.pack, options.first)
        size = sum(path.stat().st_size for path in options.pack.iterdir())
        count = meta["splits"]["train"]["tokens"]
        print(f"{meta['title']}: {count:,} tokens to train on, {size / 1e6:.1f} MB in {options.pack}")
    else:
        print(summarize(config))


def cost(options: argparse.Namespace) -> None:
    """Print the parameters and multiply-adds of a scale's model."""
    from allatt import cost
    from allatt.paper import scales

    scale = scales.resolve(options.scale, variants=True)
    model = scales.model(scale, options.model)
    if options.kept:
        heads = _heads_per_layer(options.kept, model.layers, model.heads)
        model = replace(model, kept=tuple(tuple(range(number)) for number in heads))
    counts = cost.count(model, scales.vocab(scale))
    print(json.dumps(counts, indent=1) if options.json else cost_table(counts))


def cost_table(counts: dict) -> str:
    """The counts of `cost.count` with a vocabulary as aligned text."""
    parameters, operations = counts["parameters"], counts["multiply_adds"]
    rows = [("body", parameters["body"], operations["body"])]
    for part, name in PARTS.items():
        values = parameters["parts"].get(part), operations["parts"].get(part)
        if any(values):
            rows.append((f"  {name}", *values))
    rows += [("a kept head", parameters["per_head"], operations["per_head"]),
             ("table of distances", parameters["positions"], None),
             (f"embedding and softmax, {counts['vocab']:,} words", parameters["softmax"], None),
             ("total", parameters["total"], None)]
    cells = [(name, *("" if value is None else f"{value:,}" for value in values)) for name, *values in rows]
    heads = counts["layers"] * counts["heads_full"]
    title = f"{counts['kind']}: {counts['layers']} layers, {counts['kept']} of {heads} heads ({counts['pruned']:.1%} pruned)"
    return "\n".join([title, f"heads in each layer: {' '.join(map(str, counts['heads']))}", "",
                      table([("", "parameters", "multiply-adds per token"), *cells])])


def _heads_per_layer(kept: str, layers: int, heads: int) -> list[int]:
    """The numbers of --kept, checked against the model's layers and heads per layer."""
    try:
        numbers = [int(number) for number in kept.split(",")]
    except ValueError:
        raise AllattError(f"--kept is {kept!r}; write one number per layer, separated by commas: 8,3,7,...") from None
    check(len(numbers) == layers, f"--kept has {len(numbers)} numbers; the model has {layers} layers")
    for number in numbers:
        check(0 <= number <= heads, f"--kept has {number}; a layer keeps between 0 and {heads} heads")
    return numbers
