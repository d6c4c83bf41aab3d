"""`make soak`: kill everything, many times, at random and at every file event of a save, and compare what comes out.

    python tests/soak/soak.py [--kills 120] [--seed 0] [--only random,events,notebooks]

random      SIGKILL, SIGTERM, SIGINT and SIGHUP at random moments of tokenizing, training, gates and consolidation, with one and
            with two processes; the same command again until it ends. Weights, gates, results and logs must be bitwise those of
            an undisturbed run, and no draft may be left.
events      ckpt-chaos kills a training at every file it opens, renames or removes, once before and once with the file cut.
notebooks   `reproduce` is killed in the middle of a notebook; the runs must be those of an undisturbed reproduction.

Prints kills, resumes and mismatches; the exit status is 1 if there is a mismatch.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TIMES = ("seconds", "tokens_seen")


def environment() -> dict:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def text(folder: Path) -> None:
    """A text that takes a moment to tokenize, from a generator that the seed of the soak does not touch."""
    words, draw = "the cat saw a dog and then it ran to where the old house was on the hill".split(), random.Random(1)
    folder.mkdir(parents=True)
    for split, count in (("train", 8000), ("valid", 40), ("test", 40)):
        lines = (" ".join(draw.choice(words) + draw.choice(["", "s", "ed"]) for _ in range(12)) for _ in range(count))
        (folder / f"wiki.{split}.tokens").write_text("".join(f" {line} \n" for line in lines))


def until_done(command: list[str], done, rng: random.Random, budget: int, pause: tuple[float, float]) -> tuple[int, int, str]:
    """Start `command` until it ends by itself, killing it at random moments; (kills, starts, what it said if it failed)."""
    kills, starts = 0, 0
    while True:
        starts += 1
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, env=environment(), cwd=ROOT, start_new_session=True, stdout=said, stderr=said)
            number = rng.choice(SIGNALS)
            try:
                process.wait(rng.uniform(*pause) if kills < budget else 600)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, number)
                kills += 1
                asked = time.monotonic()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    return kills, starts, f"{number.name} did not end it within 20 seconds"
                if number != signal.SIGKILL and time.monotonic() - asked > 10:
                    return kills, starts, f"{number.name} ended it after {time.monotonic() - asked:.0f} seconds"
                continue
            if process.returncode == 0 and done():
                return kills, starts, ""
            said.seek(0)
            return kills, starts, f"exit status {process.returncode}: {said.read()[-800:]}"


def soak_random(place: Path, kills: int, rng: random.Random) -> list[tuple[str, int, int, str]]:
    rows = []
    scenarios = [("all-attention", 1), ("transformer-xl", 1), ("all-attention", 2)]
    for kind, processes in scenarios:
        name = f"{kind}, {processes} process{'es' * (processes > 1)}"
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
        homes = {which: place / f"{kind}-{processes}-{which}" for which in ("whole", "killed")}
        for home in homes.values():
            text(home / "text")
        command = [sys.executable, *torchrun, str(HERE / "job.py")]
        whole = subprocess.run([*command, str(homes["whole"]), kind], env=environment() | {"SOAK_SLEEP": "0"}, cwd=ROOT,
                               capture_output=True, text=True, check=False)
        expected = (homes["whole"] / "final.json").read_bytes() if whole.returncode == 0 else b""
        killed = resumed = 0
        problem = "" if expected else f"the undisturbed run failed: {whole.stderr[-800:]}"
        while killed < kills // len(scenarios) and not problem:
            shutil.rmtree(homes["killed"] / "state", ignore_errors=True)
            (homes["killed"] / "final.json").unlink(missing_ok=True)
            final = homes["killed"] / "final.json"
            more, starts, problem = until_done([*command, str(homes["killed"]), kind], final.exists, rng,
                                               kills // len(scenarios) - killed, (1.0, 12.0))
            killed, resumed = killed + more, resumed + starts - 1
            if not problem and json.loads(final.read_text()) != json.loads(expected):
                problem = "other weights, gates, results, logs or files than undisturbed"
        rows.append((name, killed, resumed, problem))
    return rows


def soak_events(place: Path, points: int) -> list[tuple[str, int, int, str]]:
    """ckpt-chaos at every file event of a training whose text is tokenized already."""
    job = place / "chaos.py"
    job.write_text(f"""
import os, shutil, sys
out = sys.argv[1]
if not os.path.exists(os.path.join(out, "text")):  # as a whole, or not yet
    shutil.copytree({str(place / "text")!r}, os.path.join(out, "draft"), dirs_exist_ok=True)
    os.rename(os.path.join(out, "draft"), os.path.join(out, "text"))
sys.argv = ["job.py", out, "all-attention"]
import runpy
runpy.run_path({str(HERE / "job.py")!r}, run_name="__main__")
""")
    text(place / "text")
    work = place / "chaos"
    command = [sys.executable, "-m", "ckpt_chaos", "run", "--result-file", "{out}/final.json", "--max-points", str(points),
               "--work", str(work), "--", sys.executable, str(job), "{out}"]
    env = environment() | {"SOAK_SLEEP": "0", "SOAK_CHECKPOINT": "0"}
    done = subprocess.run(command, env=env, cwd=place, capture_output=True, text=True, check=False)
    verdicts = {name: done.stdout.count(name) for name in ("HARD_FAIL", "SILENT_DIVERGENCE", "PASS")}
    problem = "" if done.returncode == 0 else f"ckpt-chaos: {(done.stdout + done.stderr)[-6000:]}"
    return [("file events of a save", verdicts["PASS"], verdicts["PASS"], problem)]


def soak_notebooks(place: Path, kills: int, rng: random.Random) -> list[tuple[str, int, int, str]]:
    """`reproduce` of notebook 03 with kills in the middle."""
    command = [sys.executable, "-m", "allatt", "reproduce", "--scale", "smoke", "--notebooks", "03"]
    results = {}
    killed = resumed = 0
    problem = ""
    for which in ("whole", "killed"):
        home = place / f"notebooks-{which}"
        os.environ |= {"ALLATT_HOME": str(home), "ALLATT_FIGURES": str(home / "figures")}
        figure = home / "figures" / "smoke" / "03_learning_curves.json"
        more, starts, problem = until_done(command, lambda: True, rng, kills if which == "killed" else 0, (3.0, 15.0))
        killed, resumed = killed + more, resumed + starts - 1
        if problem:
            break
        results[which] = {path.parent.name: {key: value for key, value in json.loads(path.read_text()).items()
                                             if key in ("valid", "test", "heads", "parameters")}
                          for path in sorted(home.glob("runs/*/result.json"))}
        assert results[which], figure
    if not problem and results["whole"] != results["killed"]:
        problem = "other results than undisturbed"
    return [("notebook 03", killed, resumed, problem)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=120, help="at random moments of training (default: %(default)s)")
    parser.add_argument("--points", type=int, default=60, help="file events at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="random,events,notebooks")
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory(prefix="allatt-soak-") as folder:
        place = Path(folder)
        if "random" in options.only:
            rows += soak_random(place, options.kills, rng)
        if "events" in options.only:
            rows += soak_events(place, options.points)
        if "notebooks" in options.only:
            rows += soak_notebooks(place, max(1, options.kills // 12), rng)
    for name, kills, resumes, problem in rows:
        print(f"{name:<32} {kills:>4} kills, {resumes:>4} resumes, {'no mismatch' if not problem else 'MISMATCH: ' + problem}")
    total, mismatches = sum(row[1] for row in rows), sum(bool(row[3]) for row in rows)
    print(f"{total} kills, {sum(row[2] for row in rows)} resumes, {mismatches} mismatches")
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
