"""Exact parameters and multiply-adds of a model, in closed form; needs no torch and builds no model.

All-attention, for each kept head (d d_model, k d_head, N persistent vectors, T segment, M memory):

    parameters       5 d k (q, k, v, r, o) + 2 N k (persistent keys and values) + 2 k (u, w)
    multiply-adds    4 d k (q, k, v, o) + 3 k (M + T) (content scores, position scores, values) + 2 N k     a token

and for each layer, whatever its heads, one LayerNorm (2 d) and the bias of Wo (d). Everything else falls in proportion
to the heads removed: the paper's point. Transformer-XL has no persistent vectors, but in each layer a feed-forward of f
units (2 d f + f + d parameters, 2 d f multiply-adds) and a second LayerNorm, which pruning leaves; its u and w are
shared by all layers (2 H k, once). "body" is all of that; the table of distances (P d), embedding and softmax are
counted apart. One multiply-add is two floating point operations.
"""

from __future__ import annotations

from itertools import pairwise

from allatt.config import ModelConfig, check

LABELS = {
    "projections": "projections q, k, v, r, o",
    "context": "attention to the context",
    "persistent": "persistent vectors",
    "feed_forward": "feed-forward",
    "biases": "position biases u, w; bias of Wo",
    "norms": "LayerNorms",
}
"""What the parts of a body are called in `table`."""


def count(model: ModelConfig, vocab: int) -> dict:
    """Everything that a model of this shape costs, as plain JSON values.

    Returns kind, layers, vocab, heads (kept in each layer), heads_full, kept, pruned (share of all heads), and

    - parameters: body, positions, softmax (embedding and softmax), total; per_head (what one more head costs),
      per_layer (Transformer-XL's shared u and w are in none of them), parts (of the body, see LABELS);
    - multiply_adds a token, as the paper counts them (the whole window of M + T, keys and values once a token, r not at
      all): body, per_head, per_layer, parts. Outside the body: softmax_head, which every token pays; with cutoffs
      softmax_tail, what a token pays in addition whose target lies in band 1, 2, ..., and embedding, what a token of
      band 0, 1, 2, ... pays as input (empty lists without cutoffs).

    AllattError where the cutoffs do not fit the vocabulary. At the paper's size these are the counts of its released
    configuration; what one pass here really computes is in `executed`.
    """
    heads = model.heads_per_layer
    parameters = [_parameters(model, h) for h in heads]
    operations = [_multiply_adds(model, h) for h in heads]
    parameter_parts, operation_parts = _sum(parameters), _sum(operations)
    parameter_parts["biases"] += _shared(model)
    body, positions = sum(parameter_parts.values()), model.positions * model.d_model
    softmax, softmax_operations = _softmax(model, vocab)
    return {
        "kind": model.kind, "layers": model.layers, "vocab": vocab, "heads": list(heads), "heads_full": model.heads,
        "kept": sum(heads), "pruned": 1 - sum(heads) / (model.layers * model.heads),
        "parameters": {
            "body": body, "positions": positions, "softmax": softmax, "total": body + positions + softmax,
            "per_head": _per_head(_parameters, model), "per_layer": [sum(parts.values()) for parts in parameters],
            "parts": parameter_parts,
        },
        "multiply_adds": {
            "body": sum(operation_parts.values()), "per_head": _per_head(_multiply_adds, model),
            "per_layer": [sum(parts.values()) for parts in operations], "parts": operation_parts, **softmax_operations,
        },
    }


def executed(model: ModelConfig, rows: int) -> dict:
    """Multiply-adds that one pass of the body over `rows` segments really does on the reference path.

    Unlike the paper's count: keys and values are projected for memory and segment, S = M + T positions for T tokens (in
    training; a `model.Cache` saves the M);
    the M + 1 distances are projected once a pass, whatever the rows, and only so many distances are scored.
    Returns a_pass (exact), a_token (a_pass / (rows T)), and parts of a_pass (see LABELS; distances is r's projection).
    """
    check(rows >= 1, f"rows is {rows}; it must be 1 or more")
    d, window, distances = model.d_model, model.memory + model.segment, model.memory + 1
    parts = dict.fromkeys(("projections", "distances", "context", "persistent", "feed_forward"), 0)
    for heads in model.heads_per_layer:
        width, tokens = heads * model.d_head, rows * model.segment
        parts["projections"] += 2 * d * width * tokens + 2 * d * width * rows * window
        parts["distances"] += d * width * distances
        parts["context"] += (2 * window + distances) * width * tokens
        if model.kind == "all-attention":
            parts["persistent"] += 2 * model.persistent * width * tokens
        else:
            parts["feed_forward"] += 2 * d * model.feed_forward * tokens
    total = sum(parts.values())
    return {"a_pass": total, "a_token": total / (rows * model.segment), "parts": parts}


def relative(model: ModelConfig) -> dict[str, list[float]]:
    """Parameters and computation of the body as heads are removed, relative to the body with all heads.

    Lists, one entry for each number of heads from all to none: pruned (share of heads removed), parameters and
    multiply_adds (both from 1 down). Only the number of heads counts, not which; `model.kept` is ignored. This is the
    paper's Figure 1, with the body counted as in `count`.
    """
    full = model.layers * model.heads
    parameters = _shared(model) + model.layers * sum(_parameters(model, 0).values())
    operations = model.layers * sum(_multiply_adds(model, 0).values())
    a_head, a_head_operations = _per_head(_parameters, model), _per_head(_multiply_adds, model)
    left = range(full, -1, -1)
    return {
        "pruned": [1 - heads / full for heads in left],
        "parameters": [(parameters + a_head * heads) / (parameters + a_head * full) for heads in left],
        "multiply_adds": [(operations + a_head_operations * heads) / (operations + a_head_operations * full)
                          for heads in left],
    }


def table(counts: dict) -> str:
    """What `count` returned, as aligned text for the terminal."""
    parameters, operations = counts["parameters"], counts["multiply_adds"]
    rows = [("", "parameters", "multiply-adds a token"), ("body", parameters["body"], operations["body"])]
    for part, label in LABELS.items():
        values = parameters["parts"].get(part), operations["parts"].get(part)
        if any(values):
            rows.append((f"  {label}", *values))
    rows += [("a head, where it is kept", parameters["per_head"], operations["per_head"]),
             ("table of distances", parameters["positions"], None),
             (f"embedding and softmax, {counts['vocab']:,} words", parameters["softmax"], None),
             ("total", parameters["total"], None)]
    cells = [(label, *(f"{value:,}" if isinstance(value, int) else value or "" for value in values))
             for label, *values in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in cells]
    full = counts["layers"] * counts["heads_full"]
    title = (f"{counts['kind']}: {counts['layers']} layers, {counts['kept']} of {full} heads "
             f"({counts['pruned']:.1%} pruned)")
    return "\n".join([title, f"heads in each layer: {' '.join(map(str, counts['heads']))}", "", *lines])


def _parameters(model: ModelConfig, heads: int) -> dict[str, int]:
    """Parameters of a layer with so many heads, by part."""
    d, width = model.d_model, heads * model.d_head
    parts = {"projections": 5 * d * width, "persistent": 0, "feed_forward": 0, "biases": d, "norms": 2 * d}
    if model.kind == "all-attention":
        parts["persistent"] = 2 * model.persistent * width
        parts["biases"] += 2 * width
    else:
        parts["feed_forward"] = 2 * d * model.feed_forward + model.feed_forward + d
        parts["norms"] += 2 * d
    return parts


def _multiply_adds(model: ModelConfig, heads: int) -> dict[str, int]:
    """The paper's multiply-adds a token of a layer with so many heads, by part."""
    d, width = model.d_model, heads * model.d_head
    parts = {"projections": 4 * d * width, "context": 3 * width * (model.memory + model.segment), "persistent": 0,
             "feed_forward": 0}
    if model.kind == "all-attention":
        parts["persistent"] = 2 * model.persistent * width
    else:
        parts["feed_forward"] = 2 * d * model.feed_forward
    return parts


def _per_head(layer, model: ModelConfig) -> int:
    """What one head more costs, by `_parameters` or `_multiply_adds`."""
    return sum(layer(model, 1).values()) - sum(layer(model, 0).values())


def _shared(model: ModelConfig) -> int:
    """Parameters of the body outside all layers: Transformer-XL's u and w, one pair for all layers, never pruned."""
    return 2 * model.heads * model.d_head if model.kind == "transformer-xl" else 0


def _sum(layers: list[dict[str, int]]) -> dict[str, int]:
    """Parts, summed over layers."""
    return {part: sum(layer[part] for layer in layers) for part in layers[0]}


def _softmax(model: ModelConfig, vocab: int) -> tuple[int, dict]:
    """Parameters of embedding and softmax, and their multiply-adds a token (see `allatt.softmax`)."""
    check(vocab >= 1, f"the vocabulary has {vocab} words; it needs at least 1")
    check(not model.cutoffs or model.cutoffs[-1] < vocab,
          f"cutoffs {model.cutoffs} do not fit a vocabulary of {vocab:,} words; leave out those not below it")
    d, tails = model.d_model, len(model.cutoffs)
    if not tails:
        return vocab * d + vocab, {"softmax_head": vocab * d, "softmax_tail": [], "embedding": []}
    sizes = [end - start for start, end in pairwise((0, *model.cutoffs, vocab))]
    widths = [d // model.band_divisor ** band for band in range(tails + 1)]
    check(widths[-1] >= 1, f"d_model {d} divided {tails} times by band_divisor {model.band_divisor} leaves no width; "
                           "use fewer cutoffs or a smaller divisor")
    tables = sum(size * width for size, width in zip(sizes, widths, strict=True))
    parameters = tables + sum(width * d for width in widths) + d * d + tails * d + tails + vocab
    return parameters, {
        "softmax_head": d * d + (sizes[0] + tails) * d,
        "softmax_tail": [d * width + width * size for size, width in zip(sizes[1:], widths[1:], strict=True)],
        "embedding": [width * d for width in widths],
    }
