"""A report of the reproduction in the form that venues ask for: scope, method, results, what was easy, hard and not done.

`make report` writes figures/FOLDER/report.html, one file that includes its pictures; any browser shows and prints it. Measured
numbers are read from the claims.json beside it, sizes and recipes from `allatt.paper.scales`.
"""

import base64
import json
from collections import Counter
from html import escape
from pathlib import Path

from allatt.config import ALL_ATTENTION, KINDS, AllattError
from allatt.figures.style import ALT, caption, drawing_functions
from allatt.paper import scales
from allatt.paper.claim_table import NOT_MEASURED, ours, verdict_of
from allatt.paper.decisions import EQUAL, FAILS, HOLDS, INCONCLUSIVE
from allatt.paper.measurements import Measurements
from allatt.paper.stats import number_of_seeds, p_value
from allatt.system.files import write
from allatt.system.text_tables import markdown_table

PICTURES = ("07_perplexity", "07_gains", "07_above_control", "06_three_methods", "11_rivals")
"""Figures that are shown, if the folder has them."""
STYLE = """
body { font: 16px/1.5 Georgia, serif; max-width: 48em; margin: 2em auto; padding: 0 1em; color: #111; }
h1, h2, th { font-family: Helvetica, Arial, sans-serif; line-height: 1.25; } h1 { font-size: 1.6em; }
h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #999; } img { max-width: 100%; margin-top: 1em; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 0.85em; }
th, td { text-align: left; vertical-align: top; padding: 0.3em 0.6em; border-bottom: 1px solid #ddd; }
blockquote { background: #f3f3f3; margin: 0; padding: 0.4em 1em; }
@media print { h2 { break-after: avoid; } img, tr { break-inside: avoid; } table { display: table; } }
"""
TEXT = """# Reproduction report: layer-wise pruning of attention heads

Of K. Shim, I. Choi, W. Sung, J. Choi: [Layer-wise Pruning of Transformer Attention Heads for Efficient Language
Modeling](https://arxiv.org/abs/2110.03252), ISOCC 2021. Scale {scale}, {seeds}.

> **Scope.** Whether an All-attention Transformer, whose heads carry all of its parameters, is the better model once heads are
> pruned; whether three training methods are needed for that; whether learned gates choose well.
>
> **Method.** Written anew from the equations, since the released code does not run. Bodies of {body:,} parameters, in the
> paper's proportions; {seeds}; rules fixed before the runs.
>
> **Results.** Of {rows} claims and controls, {told}. The primary outcome (3a), {primary}: {outcome}; **{verdict}**.

## 1 Scope

The paper's claims, and our controls to doubt them with (7a to 7e). *Not available*: the paper's number could not be obtained.

{claims}

## 2 Method

**Models.** {layers} layers of width {width}, {heads} heads of {head}; {persistent} persistent vectors per head, or the
same number of hidden units of the feed-forward; segment and memory of {segment} tokens. The paper's models have 16 layers of
width 512.

**Training.** Baselines: {steps:,} steps of {tokens:,} tokens, with learning rates of {rates}. Pruning, from the baseline:
{phases}. λ of All-attention: {lambdas}. Each model has a control, which goes through the same training with λ 0.

{baselines}

**Judging.** Seeds are the unit, and models of one seed are paired. A verdict needs a corrected p-value below 5%, the same
margin in both directions, and both texts. Learning rates were chosen on a seed that
no row uses, and λ by counts of heads at first; README.md says which were changed when losses of these seeds had been seen.

**Judged with** {versions}, at commit {commit}. The hardware and the commit of each run are in its record, in the folder `runs`.

## 3 Results

{results}

{pictures}

## 4 What was easy

The equations are complete. With them, layer, gates and removal could be written without the released code, and the paper's
counts of heads and parameters come out. A head is a small unit: its removal is exact, and can be tested to rounding.

## 5 What was difficult

A setting in which the claims can be decided. A first one had a quarter of the persistent vectors and hidden units, and pruned
for too short a time: its verdict was about that setting. Learning rates, λ and the length of both phases had to be chosen:
rates on a seed of their own, λ there by counts of heads, and some again when losses had been seen. Most of the paper's
perplexities could not be obtained, so most rows have no number to compare with.

## 6 What was not done, or is inconclusive

The paper's own size has not been trained, and its authors have not been asked. {few}

{open_rows}

## The runs behind each row

{runs}
"""


def write_report(folder: Path) -> Path:
    """Write report.html into a folder of figures that has a claims.json. AllattError if that is missing or damaged."""
    path = folder / "claims.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        measured = Measurements.from_dict(found["measured"])
        text = markdown(found["claims"], measured, found["provenance"], folder)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise AllattError(f"{path} cannot be read ({type(error).__name__}: {error}); run notebook 10 again") from None
    return write(folder / "report.html", html(text).encode())


def html(text: str) -> str:
    """A standalone page from Markdown."""
    import mistune

    title = escape(text.splitlines()[0].removeprefix("# "))
    body = mistune.create_markdown(escape=False, plugins=["table"])(text)
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n<meta name="viewport" content="width=device-width">'
            f"\n<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n")


def markdown(rows: list[dict], measured: Measurements, made: dict, folder: Path) -> str:
    """The report on the rows of a claims.json."""
    scale, count = scales.get(measured.scale), Counter(map(verdict_of, rows))
    model, base, main = scale.model, scale.baseline, next(row for row in rows if row["id"] == "3a")
    words = {HOLDS: "hold", EQUAL: "are about equal", FAILS: "do not hold", INCONCLUSIVE: "are inconclusive",
             NOT_MEASURED: "are not measured"}
    open_rows = [row for row in rows if row["verdict"] == INCONCLUSIVE]
    baselines = [(kind, results.seed, f"{point.test_loss:.3f}", f"{point.valid_loss:.3f}", point.run)
                 for results in measured.seeds for kind in KINDS for point in [results.baselines[kind]]]
    phases = f"{scale.prune.steps:,} steps with gates"
    if scale.consolidation and "one-phase" in measured.folder:  # as many steps as both phases have, all with gates
        phases = f"{scale.prune.steps + scale.consolidation.steps:,} steps with gates"
    elif scale.consolidation:
        phases += f", then {scale.consolidation.steps:,} steps of consolidation without the closed heads"
    return TEXT.format(
        scale=measured.scale, seeds=number_of_seeds(len(measured.seeds)), rows=len(rows), verdict=main["verdict"],
        body=measured.seeds[0].baselines[ALL_ATTENTION].body_parameters, outcome=main["ours"],
        primary=main["words"][0].lower() + main["words"][1:], told=", ".join(f"{n} {words[v]}" for v, n in count.items()),
        claims=table(("", "claim", "the paper", "holds here if"), [
            (row["id"], row["words"], row["paper"], row["rule"]) for row in rows]),
        layers=model.layers, width=model.d_model, heads=model.heads, head=model.d_head, persistent=model.persistent,
        segment=model.segment, steps=base[ALL_ATTENTION].steps, tokens=base[ALL_ATTENTION].rows * model.segment,
        rates=" and ".join(f"{base[kind].lr:g}" for kind in KINDS), phases=phases,
        lambdas=", ".join(f"{lam:g}" for lam in scale.lambdas[ALL_ATTENTION]),
        baselines=table(("baseline", "seed", "test, nats per token", "validation", "run"), baselines),
        versions=", ".join(f"{name} {version}" for name, version in made["versions"].items()), commit=str(made["commit"])[:12],
        results=table(("", "claim", "here", "p", "verdict"), [
            (row["id"], row["words"], ours(row), "counted" if row["exact"] else p_value(row["p"]), f"**{verdict_of(row)}**")
            for row in rows]),
        pictures="\n\n".join(picture(folder, name) for name in PICTURES if (folder / f"{name}.png").is_file()),
        few="" if not open_rows else "One seed has no p-value, so no trained result is judged."
        if len(measured.seeds) == 1 else "With few seeds, a difference must be several times as large as its scatter.",
        open_rows=table(("", "claim", "here"), [(row["id"], row["words"], ours(row)) for row in open_rows])
        if open_rows else "",
        runs=table(("", "runs"), [(row["id"], " ".join(row["runs"])) for row in rows if row["runs"]]))


def picture(folder: Path, name: str) -> str:
    """A figure as an image in the page, above its caption."""
    drawing_functions()
    data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(ALT[name])}">\n\n{caption(name)}'


def table(head: tuple, lines: list) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    return markdown_table(head, [[str(cell).replace("|", "\\|") for cell in line] for line in lines])
