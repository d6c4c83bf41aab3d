"""Exact parameters and multiply-adds of a model, in closed form; imports no torch and builds no model.

All-attention, for each kept head (d d_model, k d_head, N persistent vectors, T segment, M memory):

    parameters       5 d k (q, k, v, r, o) + 2 N k (persistent keys and values) + 2 k (u, w)
    multiply-adds    4 d k (q, k, v, o) + 3 k (M + T) (content scores, position scores, values) + 2 N k     per token

and per layer, with or without heads, one LayerNorm (2 d) and the bias of Wo (d). Everything else falls in proportion to
the heads removed, which is the paper's point. Transformer-XL has no persistent vectors; each layer has a feed-forward of f
units (2 d f + f + d parameters, 2 d f multiply-adds) and a second LayerNorm, neither of which is pruned; u and w are shared
by all layers (2 H k, counted once). "body" is all of that; the table of distances (P d), embedding and softmax are counted
separately. One multiply-add is two floating-point operations.
"""

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL, ModelConfig, check


def count(model: ModelConfig, vocab: int | None = None) -> dict:
    """All costs of a model of this shape, as plain JSON values; without `vocab`, those of the body alone.

    Returns kind, layers, vocab, heads (kept in each layer), heads_full, kept, pruned (share of all heads), and

    - parameters: body, positions; with `vocab`, softmax (embedding and softmax) and total; per_head (cost of one more
      head), per_layer (without Transformer-XL's shared u and w), parts (of the body);
    - multiply_adds per token, as the paper counts them (the whole window of M + T, keys and values once per token, r not
      at all): body, per_head, per_layer, parts. With `vocab`, outside the body: softmax_head, for every token; with
      cutoffs, softmax_tail, added for a token whose target is in band 1, 2, ..., and embedding, for an input token of
      band 0, 1, 2, ... (empty lists without cutoffs).

    AllattError if the cutoffs do not fit the vocabulary. At the paper's size these are the counts of its released
    configuration; `executed` counts what one pass computes here.
    """
    heads = model.heads_per_layer
    parameters = [_parameters(model, h) for h in heads]
    operations = [_multiply_adds(model, h) for h in heads]
    parameter_parts, operation_parts = _sum(parameters), _sum(operations)
    parameter_parts["biases"] += _shared(model)
    body, positions = sum(parameter_parts.values()), model.positions * model.d_model
    tables, softmax_operations = {}, {}
    if vocab is not None:
        softmax, softmax_operations = _softmax(model, vocab)
        tables = {"softmax": softmax, "total": body + positions + softmax}
    return {
        "kind": model.kind, "layers": model.layers, "vocab": vocab, "heads": list(heads), "heads_full": model.heads,
        "kept": sum(heads), "pruned": 1 - sum(heads) / (model.layers * model.heads),
        "parameters": {
            "body": body, "positions": positions, **tables,
            "per_head": _per_head(_parameters, model), "per_layer": [sum(parts.values()) for parts in parameters],
            "parts": parameter_parts,
        },
        "multiply_adds": {
            "body": sum(operation_parts.values()), "per_head": _per_head(_multiply_adds, model),
            "per_layer": [sum(parts.values()) for parts in operations], "parts": operation_parts, **softmax_operations,
        },
    }


def executed(model: ModelConfig, rows: int) -> dict:
    """Multiply-adds that one pass of the body over `rows` segments performs on the reference path.

    Unlike in the paper's count, keys and values are projected for memory and segment, S = M + T positions for T tokens (in
    training; a `segment_memory.Cache` saves the M), and the M + 1 distances, the only ones scored, are projected once per pass.
    Returns per_pass (exact but for the bias of the memory's LayerNorm), per_token (per_pass / (rows T)), and parts of per_pass
    (distances: r's projection).
    """
    check(rows >= 1, f"rows is {rows}; it must be 1 or more")
    d, window, distances = model.d_model, model.memory + model.segment, model.memory + 1
    parts = dict.fromkeys(("projections", "distances", "context", "persistent", "feed_forward"), 0)
    for heads in model.heads_per_layer:
        width, tokens = heads * model.d_head, rows * model.segment
        parts["projections"] += 2 * d * width * tokens + 2 * d * width * rows * window
        parts["distances"] += d * width * distances
        parts["context"] += (2 * window + distances) * width * tokens
        if model.kind == ALL_ATTENTION:
            parts["persistent"] += 2 * model.persistent * width * tokens
        else:
            parts["feed_forward"] += 2 * d * model.feed_forward * tokens
    total = sum(parts.values())
    return {"per_pass": total, "per_token": total / (rows * model.segment), "parts": parts}


def trained(model: ModelConfig, rows: int) -> int:
    """Multiply-adds of the body's forward and backward pass over `rows` segments.

    For each product, the backward pass computes two, one per factor, except where a factor needs no gradient: a memory's
    hidden states.
    """
    width = sum(heads * model.d_head for heads in model.heads_per_layer)
    return 3 * executed(model, rows)["per_pass"] - 2 * model.d_model * width * rows * model.memory


def relative(model: ModelConfig) -> dict[str, list[float]]:
    """Parameters and computation of the body as heads are removed, relative to the body with all heads (paper, Figure 1).

    Lists with one entry per number of heads, from all to none: pruned (share of heads removed), parameters and
    multiply_adds (both from 1 down), counted as in `count`. Only the number of heads matters; `model.kept` is ignored.
    """
    full = model.layers * model.heads
    parameters = _shared(model) + model.layers * sum(_parameters(model, 0).values())
    operations = model.layers * sum(_multiply_adds(model, 0).values())
    head, head_operations = _per_head(_parameters, model), _per_head(_multiply_adds, model)
    numbers = range(full, -1, -1)
    return {
        "pruned": [1 - heads / full for heads in numbers],
        "parameters": [(parameters + head * heads) / (parameters + head * full) for heads in numbers],
        "multiply_adds": [(operations + head_operations * heads) / (operations + head_operations * full)
                          for heads in numbers],
    }


def _parameters(model: ModelConfig, heads: int) -> dict[str, int]:
    """Parameters of a layer with `heads` heads, by part."""
    d, width = model.d_model, heads * model.d_head
    parts = {"projections": 5 * d * width, "persistent": 0, "feed_forward": 0, "biases": d, "norms": 2 * d}
    if model.kind == ALL_ATTENTION:
        parts["persistent"] = 2 * model.persistent * width
        parts["biases"] += 2 * width
    else:
        parts["feed_forward"] = 2 * d * model.feed_forward + model.feed_forward + d
        parts["norms"] += 2 * d
    return parts


def _multiply_adds(model: ModelConfig, heads: int) -> dict[str, int]:
    """The paper's multiply-adds per token of a layer with `heads` heads, by part."""
    d, width = model.d_model, heads * model.d_head
    parts = {"projections": 4 * d * width, "context": 3 * width * (model.memory + model.segment), "persistent": 0,
             "feed_forward": 0}
    if model.kind == ALL_ATTENTION:
        parts["persistent"] = 2 * model.persistent * width
    else:
        parts["feed_forward"] = 2 * d * model.feed_forward
    return parts


def _per_head(layer, model: ModelConfig) -> int:
    """Cost of one more head, by `_parameters` or `_multiply_adds`."""
    return sum(layer(model, 1).values()) - sum(layer(model, 0).values())


def _shared(model: ModelConfig) -> int:
    """Parameters of the body outside all layers: Transformer-XL's u and w, one pair for all layers, never pruned."""
    return 2 * model.heads * model.d_head if model.kind == TRANSFORMER_XL else 0


def _sum(layers: list[dict[str, int]]) -> dict[str, int]:
    """Parts, summed over layers."""
    return {part: sum(layer[part] for layer in layers) for part in layers[0]}


def _softmax(model: ModelConfig, vocab: int) -> tuple[int, dict]:
    """Parameters of embedding and softmax, and their multiply-adds per token (see `allatt.softmax`)."""
    d, bands, tails = model.d_model, model.bands(vocab), len(model.cutoffs)
    if not tails:
        return vocab * d + vocab, {"softmax_head": vocab * d, "softmax_tail": [], "embedding": []}
    sizes, widths = [end - start for start, end, _ in bands], [width for *_, width in bands]
    tables = sum(size * width for size, width in zip(sizes, widths, strict=True))
    parameters = tables + sum(width * d for width in widths) + d * d + tails * d + tails + vocab
    return parameters, {
        "softmax_head": d * d + (sizes[0] + tails) * d,
        "softmax_tail": [d * width + width * size for size, width in zip(sizes[1:], widths[1:], strict=True)],
        "embedding": [width * d for width in widths],
    }
