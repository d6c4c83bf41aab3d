"""Commands that use trained models: `prune`, `save`, `export`, `page`, `evaluate` and `generate`."""

import argparse
import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path

from allatt.cli.options import add_command
from allatt.config import check
from allatt.system.text_tables import table

UNKNOWN = 0.01
"""Share of unknown tokens above which perplexities per word and bits per byte are not shown (our choice)."""
RUN = "id of a finished run, or the start of the id; or a folder that `save` or `prune` wrote, here or on a hub (hf://owner/name)"


def add_commands(commands) -> None:
    """Add `prune`, `save`, `export`, `page`, `evaluate` and `generate`."""
    for name, handler, text in (
            ("prune", prune, "remove a run's closed heads and write the smaller model, as a folder that stands alone"),
            ("save", save, "write any run's model as such a folder: weights, tokens, model card")):
        parser = add_command(commands, name, handler, text)
        parser.add_argument("run", metavar="RUN", help="id of a finished run, or the start of the id")
        parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder")
        parser.add_argument("--license", default="", help="of the text, for the model card (default: what is known of it)")

    parser = add_command(commands, "export", export, "write a model as a program that needs no allatt, closed heads removed")
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", required=True, metavar="FILE", help="a new file: .pt2 (torch.export) or .onnx")

    parser = add_command(commands, "page", page, "write a model as a web page on which heads are removed by a click, offline")
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", required=True, metavar="FILE", help="a new file: .html")

    parser = add_command(commands, "evaluate", evaluate, "perplexities of a trained model, with their protocol")
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--corpus", default="", help="name or folder of a text (default: the one that it learned from)")
    parser.add_argument("--split", default="test", help="train, valid or test (default: %(default)s)")
    for name, text in (("segment", "tokens predicted in one pass"), ("memory", "earlier tokens that each token may see"),
                       ("rows", "streams that are read side by side")):
        default = "16" if name == "rows" else "the model's"
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")

    parser = add_command(commands, "generate", generate, "write text with a trained model, its closed heads removed")
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--prompt", action="append", metavar="TEXT",
                        help="start of the text (default: a new line); may be repeated")
    for name, default, text in (
            ("length", 100, "tokens to write"),
            ("temperature", 1.0, "0 always takes the likeliest token"),
            ("top-k", 0, "sample from this many likeliest tokens; 0: all"),
            ("top-p", 1.0, "sample from the likeliest tokens with this total probability; 1: all"),
            ("seed", 0, "random seed"),
            ("samples", 1, "texts per prompt")):
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{text} (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")


def prune(options: argparse.Namespace) -> None:
    """Save a run with gates, without its closed heads."""
    from allatt import runs

    trained = runs.find(options.run)
    check(trained.config.gated is not None, f"run {trained.id} ({trained.config.name}) has no gates, so no closed heads; "
                                            "give a run that was trained with --lam or --target-kept, or use `save`")
    save(options)


def save(options: argparse.Namespace) -> None:
    """Write a run's model as a folder that stands alone, and say how small it has become."""
    from allatt import runs
    from allatt.sharing import saved

    check(options.out != "", "--out is empty; name a new folder")
    folder = saved.save(runs.find(options.run), Path(options.out), options.license)
    about = saved.load(folder).about
    heads, after, before = about["heads_per_layer"], about["parameters"], about["parameters_before"]
    print(f"{folder}: {sum(heads)} of {len(heads) * about['heads_before']} heads ({' '.join(map(str, heads))})\n"
          f"body: {after['body']:,} parameters instead of {before['body']:,}; in total {after['total']:,} instead of "
          f"{before['total']:,}\nuse it with allatt.load({str(folder)!r}) in Python, or python -m allatt generate "
          f"{shlex.quote(str(folder))}")


def export(options: argparse.Namespace) -> None:
    """Write a model as a program, and say how to call it."""
    from allatt.sharing import saved
    from allatt.sharing.export import export

    path = Path(options.out)
    check(not path.exists(), f"{path} exists; name another file")
    model, _, about = saved.load(options.run)
    difference = export(model, path, {key: about[key] for key in ("run", "name", "tokens", "text")})
    c = model.config
    print(f"{path}: {path.stat().st_size:,} bytes, log-probabilities within {difference:.0e} nats of the model's\n"
          f"inputs: ids (rows, tokens) int64, memory ({c.layers}, rows, {c.memory}, {c.d_model}) float32, filled () int64; the "
          f"last two are zero at first\noutputs: log_probs (rows, tokens, {model.vocab}), memory and filled for the next call\n"
          f"tokens: {about['tokens']}, whose file `save` writes")


def page(options: argparse.Namespace) -> None:
    """Write a model as a web page."""
    from allatt.sharing import saved
    from allatt.sharing.page import write_page

    check(options.out.endswith(".html"), f"--out is {options.out!r}; name a new file that ends in .html")
    size = write_page(saved.load(options.run), Path(options.out))
    print(f"{options.out}: {size:,} bytes; open it with a browser, here or on any other machine")


def evaluate(options: argparse.Namespace) -> None:
    """Print the perplexities of a model on one split of a text."""
    from allatt.data.wikitext_format import SPLITS
    from allatt.sharing import saved
    from allatt.system.machine import choose_device

    opened = saved.load(options.run)
    check(options.split in SPLITS, f"--split is {options.split!r}; choose {', '.join(SPLITS[:-1])} or {SPLITS[-1]}")
    config, rows = opened.model.config, 16 if options.rows is None else options.rows
    check(rows >= 1, f"--rows is {rows}; it must be 1 or more")
    changes = {name: value for name in ("segment", "memory") if (value := getattr(options, name)) is not None}
    model = opened.model.reread(replace(config, **changes)).to(choose_device(options.device))
    corpus, files = _corpus(options, opened.about)
    check(bool(files), f"{corpus} is a packed corpus, of ids without text; give the text itself with --corpus")
    result = saved.measure(opened._replace(model=model), files[options.split], rows)
    if options.json:
        print(json.dumps({"run": opened.about["run"], "corpus": corpus, "split": options.split, **result}, indent=1))
        return
    protocol = ", ".join(f"{key} {value}" for key, value in result["protocol"].items())
    rows = [("model", f"{opened.about['run']} ({opened.about['name']})"),
            (options.split, f"{corpus}: {perplexities(result)}"), ("measured with", protocol)]
    print(table(rows, "<<"))


def _corpus(options: argparse.Namespace, about: dict) -> tuple[str, dict[str, Path]]:
    """The name of the text to evaluate on, and its files: those of --corpus, or those that the model learned from.

    A name alone does not identify the text: another folder may have the same name. So without --corpus the checksums decide,
    and the only folder looked at is that of a run of this machine, never one that a stranger's file names.
    """
    from allatt.data.corpora import CORPORA, locate

    if options.corpus:
        return options.corpus, locate(options.corpus).files
    corpus = about.get("corpus") or about["text"]["name"]
    known = corpus in CORPORA or ("corpus" in about and Path(corpus).is_dir())
    check(known, f"the text of {options.run}, {corpus}, is not known here; give --corpus")
    text = locate(corpus)
    check(text.sha256 == about["text"].get("sha256"),
          f"{corpus} is not, by its checksums, the text that {options.run} learned from; give that, or another, with --corpus")
    return corpus, text.files


def generate(options: argparse.Namespace) -> int:
    """Print generated text as it is written; exit status 130 if the user stops it, or 128 and the number of a signal."""
    from allatt.cli.prompts import stream_text
    from allatt.sharing import saved
    from allatt.system.machine import choose_device

    model, vocabulary, _ = saved.load(options.run)
    model.to(choose_device(options.device))
    try:
        for piece in stream_text(model, vocabulary, options.prompt or [""], options.length, options.temperature, options.top_k,
                                 options.top_p, options.seed, options.samples):
            print(piece, end="", flush=True)
    except KeyboardInterrupt as error:  # the user has read enough; main's advice to continue would be wrong
        print()
        return 128 + getattr(error, "number", signal.SIGINT)
    return 0


def perplexities(result: dict) -> str:
    """The perplexities of one text, without those per word and byte if more than UNKNOWN of its tokens are <unk>."""
    unknown = result.get("unknown", 0.0)
    text = f"perplexity {result['perplexity']:.2f} per token"
    if unknown > UNKNOWN:
        return f"{text}; per word and byte it would mislead: {unknown:.1%} of the tokens are <unk>"
    text += f", {result['word_perplexity']:.2f} per word; {result['bits_per_byte']:.3f} bits per byte"
    return text + f"; {unknown:.2%} of the tokens are <unk>" * (unknown > 0)
