"""`make rehearsal`: the long way, once, before somebody pays for it. As much text as WikiText-103 has, the paper's own sizes,
two processes, a hub, exports, notebooks on S3 and what runs on clouds. At most 20 minutes on 2 cores, and 5 GB of disk.

    python tests/rehearsal/rehearsal.py [--only text,paper,...] [--keep FOLDER]

text       a made-up text of WikiText-103's size from a local server in the hub's layout: downloaded, checked, tokenized
paper      the paper's two models in full size on it, a few rows for two steps each; what a full run takes is extrapolated
packed     its ids as a packed corpus, and a small model on them in a home that has no text
processes  one run with one and with two processes: the same result
sharing    a pruned model: folder, hub, evaluation from there, torch.export and ONNX
page       a model as a web page, used in a real browser (if Chromium is installed), and compared with torch
clouds     a notebook from and to an S3 server on this machine, killed and resumed; the scripts for SkyPilot and Slurm on
           machines that are taken away; SkyPilot's own parser (it gets an environment of its own, from the network)

Prints a line per stage; the exit status is 1 if one fails. Nothing outside the folder is written.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]

SMALL = {"model.layers": 2, "model.band_divisor": 2, "model.d_model": 32, "model.d_head": 4, "model.persistent": 64,
         "model.feed_forward": 64, "model.segment": 32, "model.memory": 32, "model.positions": 33, "train.precision": "fp32",
         "train.evaluated": 2000}
"""A model of the paper scale in small, as --set wants it."""


class Failed(Exception):
    """A stage did not do what it has to."""


class Rehearsal:
    """The folder of a rehearsal, a server with its files, and what the stages learn for each other."""

    def __init__(self, place: Path):
        from local_hub import Server

        self.place, self.server = place, Server()
        self.peak = 0.0
        """Gigabytes of memory that the last command used at most."""
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def command(self, *arguments: str, home: str = "home", code: int = 0, program: tuple[str, ...] = ("-m", "allatt"),
                meanwhile=lambda process: None) -> str:
        """What a command prints; Failed if its exit status is another one. `meanwhile` is called with its process."""
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"ALLATT_HOME": str(self.place / home), "HF_ENDPOINT": self.server.url, "PYTHONPATH": str(ROOT),
                        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            line = [sys.executable, *program, *arguments]
            process = subprocess.Popen(line, stdout=out, stderr=err, env=environment, cwd=ROOT)
            meanwhile(process)
            _, status, usage = os.wait4(process.pid, 0)  # the only way to know the memory of this one
            process.returncode, self.peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 2**20
            out.seek(0)
            err.seek(0)
            said, complained = out.read(), err.read()
        if process.returncode != code:
            why = (complained.strip() or said.strip())[-600:]
            raise Failed(f"{' '.join(arguments[:4])} ...: exit status {process.returncode}: {why}")
        return said + complained * bool(code)

    def run(self, *arguments: str, sets: dict, **more) -> dict:
        """The result of `run` with these --set; `more` as in `command`."""
        changes = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
        return json.loads(self.command("run", "--scale", "paper", *arguments, *changes, "--device", "cpu", "--json", **more))


def text(rehearsal: Rehearsal) -> str:
    import synthetic_wikitext

    from allatt.data.corpora import CORPORA

    begun = time.monotonic()
    words = CORPORA["wikitext-103"].words
    for seed, (split, prefix) in enumerate({"train": "train", "valid": "validation", "test": "test"}.items()):
        name = f"wikitext-103-v1/{prefix}-00000-of-00001.parquet"
        rehearsal.server.files[name] = synthetic_wikitext.parquet(words[split], seed)
    made = time.monotonic() - begun
    said = rehearsal.command("data", "--corpus", "wikitext-103", "--tokens", "words", "--vocab-size", "0")
    rehearsal.server.files.clear()
    if f"{words['train']:,}" not in said:
        raise Failed(f"`data` does not say {words['train']:,} words")
    return (f"{sum(words.values()):,} words: made in {made:.0f} s; downloaded, checked and tokenized in "
            f"{time.monotonic() - begun - made:.0f} s")


def paper(rehearsal: Rehearsal) -> str:
    """Two steps with two and with four rows: the second step's speed, and the memory that a row takes."""
    from allatt.config import KINDS
    from allatt.cost import count, trained
    from allatt.paper import scales

    lines, scale = [], scales.get("paper")
    for kind in KINDS:
        peaks = {}
        for rows in (2, 4):
            result = rehearsal.run("--model", kind, "--micro-rows", str(rows), sets={
                "train.steps": 2, "train.rows": rows, "train.warmup": 1, "train.precision": "fp32", "train.evaluated": 400})
            peaks[rows] = rehearsal.peak
            log = [json.loads(line) for line in (Path(result["folder"]) / "metrics.jsonl").open()]
        speed = log[-1]["tokens_per_second"]
        model, recipe = scales.model("paper", kind), scale.baseline[kind]
        tokens = recipe.steps * recipe.rows * model.segment
        flop = 2 * (trained(model, recipe.rows) / (recipe.rows * model.segment)
                    + 3 * count(model, scale.vocab)["multiply_adds"]["softmax_head"])
        h200 = next(row for row in json.loads((ROOT / "figures" / "bench" / "h200.json").read_text())["step"]
                    if row["kind"] == kind and not row["gated"] and not row["removed"] and row["path"] == "fast")
        lines.append(f"{kind}: {result['parameters']['total']:,} parameters, {speed:,.0f} tokens/s here, "
                     f"{peaks[2]:.1f} GB with 2 rows and {peaks[4]:.1f} with 4; its {tokens:,} tokens would take "
                     f"{tokens / speed / 86400:,.0f} days here, and {tokens * flop / h200['flop_per_second'] / 3600:.0f} hours "
                     f"on an H200 that works as fast as at the gpu scale (extrapolated)")
    return "\n           ".join(lines)


def packed(rehearsal: Rehearsal) -> str:
    pack = rehearsal.place / "packed" / "wikitext-103"
    corpus = ("--corpus", "wikitext-103", "--tokens", "words", "--vocab-size", "0")
    rehearsal.command("data", *corpus, "--pack", str(pack), "--first", "2000000")
    size = sum(path.stat().st_size for path in pack.iterdir()) / 1e6
    result = rehearsal.run("--model", "all-attention", "--corpus", str(pack), home="no-text", sets=SMALL | {
        "train.steps": 20, "train.rows": 4, "train.warmup": 2})
    refused = rehearsal.command("run", "--scale", "gpu", "--model", "all-attention", "--corpus", str(pack), home="no-text",
                                code=2)
    if "pack the text again" not in refused:
        raise Failed(f"a packed corpus of words is read as subwords: {refused[-200:]}")
    return f"2,000,000 ids in {size:.1f} MB; a small model on them: {result['test']['loss']:.3f} nats; other tokens are refused"


def processes(rehearsal: Rehearsal) -> str:
    """With one process, with two, and with two of which one is killed: torchrun starts both again."""
    import psutil

    def kill_one(process: subprocess.Popen) -> None:
        while process.poll() is None and not list((rehearsal.place / "processes-killed" / "runs").glob("*/checkpoint-*")):
            time.sleep(0.02)
        workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "run" in child.cmdline()]
        workers[-1].kill()

    sets, losses = SMALL | {"train.steps": 60, "train.rows": 4, "train.warmup": 2}, []
    sets |= {f"model.drop_{part}": 0 for part in ("attention", "projection", "input", "output", "word")}  # drawn per process
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "allatt")
    for home, more in (("processes-one", {}), ("processes-two", {"program": two}),
                       ("processes-killed", {"program": two, "meanwhile": kill_one})):
        result = rehearsal.run("--model", "all-attention", "--corpus", str(rehearsal.place / "packed" / "wikitext-103"),
                               "--checkpoint-seconds", "0", sets=sets, home=home, **more)
        losses.append(result["test"]["loss"])
    if abs(losses[0] - losses[1]) > 1e-4 or losses[1] != losses[2]:
        raise Failed(f"one process ends at {losses[0]}, two at {losses[1]}, two of which one was killed at {losses[2]}")
    origin = json.loads((Path(result["folder"]) / "provenance.json").read_text())
    if not origin.get("resumed"):
        raise Failed("after a process was killed, the run began anew")
    return f"{losses[0]:.5f} nats with one, {losses[1]:.5f} with two, the same when one of them was killed and both restarted"


def sharing(rehearsal: Rehearsal) -> str:
    sets = SMALL | {"train.steps": 10, "train.rows": 4, "gates.initial": 0.0, "gates.lr": 0.5, "start.train.steps": 4,
                    "start.train.rows": 4, "start.train.warmup": 1, "start.train.precision": "fp32",
                    "start.train.evaluated": 2000}
    pack = str(rehearsal.place / "packed" / "wikitext-103")
    run = rehearsal.run("--model", "all-attention", "--lam", "0.02", "--corpus", pack, sets=sets, home="no-text")
    folder = rehearsal.place / "small"
    rehearsal.command("prune", run["id"], "--out", str(folder), home="no-text")
    exported = [re.search(r"within (\S+) nats", rehearsal.command(
        "export", str(folder), "--out", str(rehearsal.place / f"small{ending}"), home="nothing")).group(1)
        for ending in (".pt2", ".onnx")]
    rehearsal.server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (rehearsal.place / "own").mkdir()
    for split in ("train", "valid", "test"):
        (rehearsal.place / "own" / f"wiki.{split}.tokens").write_text(" w1 w2 w3 w4 w5 w6 \n" * 100)
    found = json.loads(rehearsal.command("evaluate", "hf://someone/small", "--corpus", str(rehearsal.place / "own"), "--json",
                                         home="nothing"))
    rehearsal.command("generate", "hf://someone/small", "--prompt", "w1 w2", "--length", "5", home="nothing")
    return (f"{run['heads']['total']} of {run['heads']['of']} heads, from the hub: {found['loss']:.2f} nats on another text; "
            f".pt2 within {exported[0]}, .onnx within {exported[1]} nats")


def page(rehearsal: Rehearsal) -> str:
    try:
        return rehearsal.command(program=(str(HERE / "check_page.py"),)).strip().splitlines()[-1].removeprefix("allatt: ")
    except Failed as error:
        if "exit status 2" in str(error):
            return f"not checked: {str(error)[-200:]}"
        raise


def clouds(rehearsal: Rehearsal) -> str:
    tests = rehearsal.command("-q", "-m", "rehearsal", "tests/cloud", program=("-m", "pytest")).strip().splitlines()[-1]
    machines = rehearsal.command("--kills", "4", program=(str(HERE / "rehearse_machines.py"),)).strip().splitlines()
    parser = rehearsal.command(str(rehearsal.place / "skypilot"), program=(str(HERE / "check_skypilot.py"),)).strip()
    return "\n           ".join(line.removeprefix("allatt: ") for line in (tests, *machines, parser))


STAGES = (text, paper, packed, processes, sharing, page, clouds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(stage.__name__ for stage in STAGES))
    parser.add_argument("--keep", default="", metavar="FOLDER", help="work in this folder, and keep it")
    options = parser.parse_args()
    failed, begun = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(options.keep or scratch).resolve()
        place.mkdir(parents=True, exist_ok=True)
        rehearsal = Rehearsal(place)
        for stage in STAGES:
            if stage.__name__ in options.only.split(","):
                start = time.monotonic()
                try:
                    said = stage(rehearsal)
                except Failed as error:
                    said, failed = f"FAILED: {error}", failed + 1
                print(f"{stage.__name__:<10} {said} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{'all is well' if not failed else f'{failed} failed'}; {(time.monotonic() - begun) / 60:.1f} minutes")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
