"""The notebook runner, on small notebooks. A kernel takes two seconds to start, so most tests read one shared run."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_notebooks import PARAMETERS, write_notebook

from allatt.config import AllattError
from allatt.reproduce import execute, runner
from allatt.reproduce.status import is_locked, lock, read_status, state_folder, status_table
from allatt.system import paths
from allatt.system.paths import home, repository


@pytest.fixture(scope="module", autouse=True)
def same_sources():
    """Editing allatt while these tests run does not disturb them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "sources", dict)
        yield


real_sources = runner.sources


class Log:
    """Collects what the runner prints."""

    def __init__(self):
        self.text = ""

    def __call__(self, text: str = "", end: str = "\n", flush: bool = False) -> None:
        self.text += text + end

    def line(self, start: str) -> str:
        return next(line for line in self.text.splitlines() if start in line)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Four notebooks: one succeeds, one fails, one needs the failing one, and one needs nothing."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLATT_FIGURES", str(folder / "figures"))
        yield _four_notebooks(folder)


def _four_notebooks(folder: Path) -> Path:
    write_notebook(
        folder, "00_fine.ipynb",
        "import os, pathlib, sys\nblock = bytearray(300_000_000)\nprint(os.getcwd()); print(sys.executable)\n"
        "print(os.environ['GOMP_SPINCOUNT'])",
        "figures = pathlib.Path(os.environ['ALLATT_FIGURES'], 'smoke-seed3')\n"
        "figures.mkdir(parents=True, exist_ok=True)\n"
        "(figures / 'plot.png').write_bytes(b'one plot')",
        "print('Headline: first', os.environ['ALLATT_NOTEBOOK'])\nprint(f'Headline: seed {seed}, lam {lam}')",
        parameters=PARAMETERS + "lam = 0.5  # a comment\nquick = True\nname = 'x'\nlams = [1, 2]\n")
    write_notebook(folder, "01_fails.ipynb", "x = 1",
                   "from allatt.config import AllattError\nraise AllattError('the text is empty')")
    write_notebook(folder, "02_needs_it.ipynb", "print('never')")
    write_notebook(folder, "03_alone.ipynb", "print('Headline: alone')")
    return folder


@pytest.fixture(scope="module")
def first(project, home_of_tests):
    """The first run of the four notebooks: whether all succeeded, its log, and its status."""
    log = Log()
    succeeded = run(project, log, params="lam=2")
    return succeeded, log, read_status(state_folder("smoke", "", 3))


def run(folder: Path, log: Log, scale: str = "smoke", seed: int = 3, **options) -> bool:
    options = {"needs": {"02": ("01",)}, **options}
    return runner.reproduce(scale, seed=seed, folder=folder, log=log, **options)


def executed(stem: str) -> dict:
    return json.loads((state_folder("smoke", "", 3) / f"{stem}.ipynb").read_text())


def output(stem: str) -> str:
    outputs = [o for cell in executed(stem)["cells"] for o in cell.get("outputs", ())]
    return "".join(text for o in outputs for text in o.get("text", ()))


def test_failure_is_one_line_and_the_others_run(first):
    succeeded, log, status = first
    assert not succeeded
    assert {stem: entry["state"] for stem, entry in status.items()} == {
        "00_fine": "done", "01_fails": "failed", "02_needs_it": "skipped", "03_alone": "done"}
    assert re.search(r"^\[ 2/4\] 01_fails .* failed after \d+\.\d s: cell In \[4\]: the text is empty "
                     r"\(see .*01_fails.ipynb\)$", log.line("01_fails"))
    assert "AllattError" not in log.text and "Traceback" not in log.text
    assert "skipped: needs 01_fails, which failed" in log.line("02_needs_it")
    assert log.text.splitlines()[-1].startswith("2 done, 1 failed, 1 skipped in ")


def test_progress_line_has_time_memory_and_the_last_headline(first):
    _, log, status = first
    assert re.search(r"^\[ 1/4\] 00_fine .* done \d+\.\d s, \d+ MB \| seed 3, lam 2\.0$", log.line("00_fine"))
    assert status["03_alone"]["headline"] == "alone"


def test_peak_memory_is_the_kernels(first):
    """The first notebook holds 300 MB, the last almost nothing."""
    status = first[2]
    assert 300 < status["00_fine"]["peak_mb"] < 600
    assert status["03_alone"]["peak_mb"] < 250


def test_kernel_is_this_python_in_the_notebooks_folder(first, project):
    folder, python = output("00_fine").splitlines()[:2]
    assert Path(folder) == (project / "notebooks").resolve()
    assert python == sys.executable
    assert output("00_fine").splitlines()[2] == "10000", "idle threads that keep spinning slow a shared machine down"
    assert "Headline: first 00_fine" in output("00_fine"), "figures name their notebook by this"


def test_parameters_reach_the_notebook(first):
    injected, = [cell for cell in executed("00_fine")["cells"] if "injected-parameters" in cell["metadata"].get("tags", ())]
    values = {}
    exec("".join(injected["source"]), values)
    assert (values["scale"], values["seed"], values["lam"]) == ("smoke", 3, 2.0)
    assert "corpus" not in values, "without CORPUS the notebook's default applies"


def test_status_records_the_figures(first, project):
    figures = first[2]["00_fine"]["figures"]
    assert list(figures) == ["plot.png"]
    assert figures["plot.png"] == runner.checksum(project / "figures" / "smoke-seed3" / "plot.png")


def test_status_table(first):
    table = status_table("smoke")
    assert re.search(r"^  00_fine +done +\d+\.\d s +\d+ MB  seed 3, lam 2\.0$", table, flags=re.MULTILINE)
    assert re.search(r"^  01_fails +failed .* cell In \[4\]: the text is empty$", table, flags=re.MULTILINE)
    assert re.search(r"^  02_needs_it +skipped", table, flags=re.MULTILINE)
    assert status_table() == table
    assert "nothing has been reproduced" in status_table("paper")


def test_second_run_executes_only_what_changed(first, project, monkeypatch):
    """An unchanged notebook is not executed; one whose figure is gone is, and so is one that needs an executed one."""
    before, figures = first[2], project / "figures" / "smoke-seed3"
    (figures / "plot.png").unlink()
    log = Log()
    assert run(project, log, params="lam=2", notebooks="0 3")
    assert "unchanged | alone" in log.line("03_alone")
    assert "done" in log.line("00_fine") and (figures / "plot.png").exists()
    state = state_folder("smoke", "", 3)
    again, after = Log(), read_status(state)
    assert after["03_alone"] == before["03_alone"]
    monkeypatch.delattr(runner, "execute")  # nothing may start if nothing has changed
    assert run(project, again, params="lam=2", notebooks="0")
    assert "unchanged | seed 3, lam 2.0" in again.line("00_fine")
    jobs = [runner.Job(project / "notebooks" / f"{name}.ipynb", {}, after[name]["fingerprint"], state, figures)
            for name in ("00_fine", "03_alone")]
    assert runner.Runner(jobs, {}, log, bool)._is_up_to_date(jobs[1])
    assert not runner.Runner(jobs, {"03": ("00",)}, log, bool)._is_up_to_date(jobs[1]), "00_fine, which it needs, is newer"


def test_fingerprint_follows_cells_parameters_and_text(tmp_path):
    path = write_notebook(tmp_path, "00_a.ipynb", "x = 1")
    fingerprints = [runner.fingerprint(path, {"seed": 1}, {"train": "ab"})]
    assert runner.fingerprint(path, {"seed": 1}, {"train": "ab"}) == fingerprints[0]
    fingerprints.append(runner.fingerprint(path, {"seed": 2}, {"train": "ab"}))
    fingerprints.append(runner.fingerprint(path, {"seed": 1}, {"train": "cd"}))
    fingerprints.append(runner.fingerprint(write_notebook(tmp_path, "00_a.ipynb", "x = 2"), {"seed": 1}, {"train": "ab"}))
    assert len(set(fingerprints)) == 4


def test_a_stand_in_that_can_be_replaced_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    """Characters and words take a stand-in until their own text is there: then their notebooks are not up to date any more."""
    monkeypatch.setattr(runner, "available_corpus", lambda scale: f"the text of {scale}")
    assert [runner._text(Path(f"{number}_a.ipynb"), "laptop", "") for number in ("11", "12", "13")] == [
        {}, {"corpus": "the text of laptop-characters"}, {"corpus": "the text of laptop-words"}]
    assert runner._text(Path("13_words.ipynb"), "overnight", "") == {}, "it has no variants"
    jobs = []
    monkeypatch.setattr(runner.Runner, "run", lambda self, force: jobs.append(self.jobs[0]) or True)
    for text in ("wikipedia-excerpt", "wikitext-2"):
        monkeypatch.setattr(runner, "available_corpus", lambda scale, text=text: text)
        write_notebook(tmp_path, "13_words.ipynb", "x = 1", parameters=PARAMETERS)
        assert run(tmp_path, Log(), scale="laptop", notebooks="13")
    assert jobs[0].fingerprint != jobs[1].fingerprint


def test_what_was_run_for_one_seed_is_newer_for_several_too(tmp_path):
    """10 of three seeds needs 02, which has one: in a folder of its own, even if 02 is not asked for."""
    state = home() / "reproduce" / "smoke-default-seed0-3seeds"
    job = runner.Job(tmp_path / "10_claims.ipynb", {}, "same", state, tmp_path)
    state.mkdir(parents=True, exist_ok=True)
    (state / "10_claims.ipynb").write_text("executed")
    (state / "status.json").write_text(json.dumps({"10_claims": {
        "state": "done", "fingerprint": "same", "finished": 100.0, "figures": {}, "headline": ""}}))
    single = state.with_name("smoke-default-seed0")
    single.mkdir(parents=True, exist_ok=True)
    for finished, fresh in ((50.0, True), (200.0, False)):
        (single / "status.json").write_text(json.dumps({"02_cost": {"state": "done", "finished": finished}}))
        assert runner.Runner([job], {"10": ("02",)}, Log(), bool)._is_up_to_date(job) is fresh


def test_a_users_text_is_identified_by_full_path_and_checksum(project, tmp_path, monkeypatch):
    """A relative path does not depend on where the notebooks run; another text in the folder is another fingerprint."""
    runs = []
    monkeypatch.setattr(runner.Runner, "run", lambda self, force: runs.append(self.jobs) or True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("The fox jumps over the dog .\n" * 60)
    assert run(project, Log(), corpus="mine")
    assert runs[0][0].parameters["corpus"] == str((tmp_path / "mine").resolve())
    assert all(re.fullmatch(r"smoke-mine-[0-9a-f]{8}-seed3", job.state.name) for job in runs[0])
    (tmp_path / "mine" / "a.txt").write_text("The dog jumps over the fox .\n" * 60)
    assert run(project, Log(), corpus="./mine/")
    assert [replace(job, fingerprint="") for job in runs[1]] == [replace(job, fingerprint="") for job in runs[0]]
    assert all(new.fingerprint != old.fingerprint for new, old in zip(runs[1], runs[0], strict=True))


def test_fingerprint_follows_every_module(tmp_path, monkeypatch):
    path = write_notebook(tmp_path, "00_a.ipynb", "x = 1")
    before = runner.fingerprint(path, {}, {})
    assert set(real_sources()) == {str(module.relative_to(paths.PACKAGE)) for module in paths.PACKAGE.rglob("*.py")}
    assert {"model.py", "system/paths.py"} < set(real_sources())
    monkeypatch.setattr(runner, "sources", lambda: {"model.py": "another"})
    assert runner.fingerprint(path, {}, {}) != before


def test_fingerprint_follows_files_in_sub_folders(tmp_path, monkeypatch):
    path, deep = write_notebook(tmp_path, "00_a.ipynb", "x = 1"), tmp_path / "package" / "one" / "two"
    deep.mkdir(parents=True)
    (deep / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(runner, "sources", real_sources)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "package")
    before = runner.fingerprint(path, {}, {})
    (deep / "module.py").write_text("x = 2\n")
    assert runner.fingerprint(path, {}, {}) != before


def test_outputs_do_not_change_the_fingerprint(tmp_path):
    path = write_notebook(tmp_path, "00_a.ipynb", "x = 1")
    before, book = runner.fingerprint(path, {}, {}), json.loads(path.read_text())
    book["cells"][-1]["execution_count"] = 7
    path.write_text(json.dumps(book))
    assert runner.fingerprint(path, {}, {}) == before


@pytest.mark.parametrize("options, message", [
    ({"params": "sede=3"}, r"no notebook here has a parameter sede; did you mean seed\? they have corpus, lam,"),
    ({"params": "lam=much"}, r"lam of 00_fine is 'much'; it must be of type float, like 0.5"),
    ({"params": "quick=1"}, r"quick of 00_fine is '1'; it must be of type bool, like True"),
    ({"params": "lams=3"}, r"lams of 00_fine is '3'; it must be of type list"),
    ({"params": "lam 0.1"}, r"PARAMS has 'lam'; write name=value"),
    ({"params": "lam='0.1"}, r"PARAMS is .*: No closing quotation"),
    ({"params": "seed=4"}, r"PARAMS has seed; write SEED=... instead"),
    ({"params": "seeds=3"}, r"PARAMS has seeds; write SEEDS=... instead"),
    ({"seeds": 0}, r"seeds is 0; it is how many seeds there are, 1 or more"),
    ({"seeds": 3, "notebooks": "3"}, r"SEEDS is 3, but notebook 03 uses one seed \(it has no parameter seeds\); leave"),
    ({"notebooks": "0 77"}, r"there is no notebook 77; choose from 00 01 02 03"),
    ({"corpus": "wikitext-104"}, r"there is no corpus 'wikitext-104'; did you mean wikitext-103\?"),
    ({"scale": "huge"}, r"scale is 'huge'; choose one of smoke, laptop, overnight, gpu, paper"),
    ({"seed": -1}, r"seed is -1; it must be 0 or more"),
])
def test_wrong_options_stop_everything_before_it_begins(project, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    log = Log()
    with pytest.raises(AllattError, match=message) as caught:
        run(project, log, **options)
    assert "\n" not in str(caught.value)
    assert log.text == "" and list(tmp_path.iterdir()) == []


def test_lock_keeps_a_second_process_out(project):
    """Taken in another process, as it would be in use."""
    path = home() / "reproduce" / "smoke-default-seed3.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    code = (f"from filelock import FileLock; lock = FileLock({str(path)!r}); lock.acquire(); print(1, flush=True); "
            "input()")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(AllattError, match="another process is reproducing smoke-default-seed3; wait until it ends"):
            run(project, Log())
        other.stdin.close()


def test_auto_prints_the_scale_that_it_chose(project, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(runner.Runner, "run", lambda self, force: True)
    log = Log()
    assert run(project, log, scale="auto")
    assert log.text.startswith("SCALE=auto: laptop, because torch sees no GPU\n4 notebooks: scale laptop")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    log = Log()
    assert run(project, log, scale="auto")
    assert log.text.startswith("SCALE=auto: gpu, because torch sees a GPU\n4 notebooks: scale gpu")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1] if os.path.exists("/proc") else True
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition, seconds: float = 120) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return bool(condition())


def test_sigkill_leaves_no_kernel_and_the_next_run_continues(tmp_path, monkeypatch):
    """Killed in the second notebook: it is shown as interrupted, and the first is not executed again."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    write_notebook(tmp_path, "00_a.ipynb", "print('Headline: a')")
    write_notebook(tmp_path, "01_b.ipynb", "import os, pathlib, time\ngo = pathlib.Path('go')",
          "if not go.exists():\n    pathlib.Path('pid').write_text(str(os.getpid()))\n    time.sleep(600)")
    code = (f"from pathlib import Path; from allatt.reproduce import runner; "
            f"runner.sources = dict; runner.reproduce('smoke', folder=Path({str(tmp_path)!r}), needs={{}})")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid_file = tmp_path / "notebooks" / "pid"
    assert wait_for(lambda: pid_file.exists() and pid_file.read_text())
    process.kill()
    process.wait()
    assert wait_for(lambda: not alive(int(pid_file.read_text())), 10), "the kernel outlived its runner"
    assert re.search(r"^  01_b +interrupted", status_table("smoke"), flags=re.MULTILINE)
    (tmp_path / "notebooks" / "go").touch()
    log = Log()
    assert run(tmp_path, log, seed=0, needs={})
    assert "unchanged | a" in log.line("00_a") and "done" in log.line("01_b")


def test_a_notebook_with_cells_left_out_is_executed_again(tmp_path, monkeypatch):
    """The weights that it lacked may have come."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    write_notebook(tmp_path, "00_a.ipynb", "import pathlib\nfrom allatt.runs.run import NoWeights\nprint('Headline: a')",
                   "if not pathlib.Path('weights').exists():\n    raise NoWeights('not here')")
    log = Log()
    assert run(tmp_path, log, seed=0, needs={})
    assert "a; 1 cell left out: runs are here without their weights" in log.line("00_a")
    (tmp_path / "notebooks" / "weights").touch()
    for expected in ("done", "unchanged"):
        log = Log()
        assert run(tmp_path, log, seed=0, needs={})
        assert expected in log.line("00_a") and "left out" not in log.text


def order(folder: Path, *given) -> str:
    """The numbers of the notebooks in the order of their execution."""
    return " ".join(path.name[:2] for path in runner.select(folder, *given))


def test_each_notebook_comes_after_what_it_needs(tmp_path):
    """Otherwise the order is that of their numbers, whichever are chosen."""
    for number in range(15):
        (tmp_path / f"{number:02}_a.ipynb").touch()
    assert order(tmp_path) == "00 01 02 03 04 05 06 07 08 09 11 12 13 14 10"
    assert order(tmp_path, "12 10 7") == "07 12 10"
    assert order(tmp_path, "9 10") == "09 10"
    assert order(tmp_path, "", {"00": ("05",), "05": ("02", "13"), "07": ("00",)}) == \
        "01 02 03 04 06 08 09 10 11 12 13 05 00 07 14"
    assert order(tmp_path, "0 1 5", {"00": ("05",), "05": ("02", "13")}) == "01 05 00"


def test_claims_need_every_other_notebook():
    everything = {path.name[:2] for path in (repository() / "notebooks").glob("[0-9]*.ipynb")}
    assert {"10", *runner.NEEDS["10"]} >= everything
    assert "10" not in {number for needed in runner.NEEDS.values() for number in needed}


@pytest.fixture
def seeded(tmp_path, monkeypatch):
    """Four notebooks, the second and third with `seeds`, and a stand-in for execution that saves a figure.

    Returns a function that runs them and gives the names of the executed ones, with their seeds.
    """
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "figures"))
    for name, more in (("00_one", ""), ("01_many", "seeds = 1\n"), ("02_claims", "seeds = 1\n"), ("03_also", "")):
        write_notebook(tmp_path, f"{name}.ipynb", parameters=PARAMETERS + more)
    done, serial = [], iter(range(100))

    def fake(path, executed, given, tick):
        done.append((path.stem, given.get("seeds")))
        executed.write_text(path.read_text())
        several = f"-{given['seeds']}seeds" if "seeds" in given else ""
        figure = tmp_path / "figures" / f"smoke{several}" / f"{path.stem}.json"
        figure.parent.mkdir(parents=True, exist_ok=True)
        figure.write_text(f"made by execution {next(serial)}")
        return execute.Outcome(0.1, 1, "")

    monkeypatch.setattr(runner, "execute", fake)

    def go(log=None, **options):
        done.clear()
        assert run(tmp_path, log or Log(), seed=0, needs={"02": ("00", "01"), "03": ("01",)}, **options)
        return list(done)

    return go


def test_seeds_go_to_the_notebooks_that_compare_them(seeded, tmp_path):
    log = Log()
    assert seeded(log, seeds=3) == [("00_one", None), ("01_many", 3), ("02_claims", 3), ("03_also", None)]
    lines = log.text.splitlines()
    states, figures = tmp_path / "home" / "reproduce", tmp_path / "figures"
    assert lines[0] == (f"4 notebooks: scale smoke, seeds 0 to 2, default corpus; executed copies: "
                        f"{states}/smoke-default-seed0, {states}/smoke-default-seed0-3seeds")
    assert lines[-1].endswith(f"; figures: {figures}/smoke, {figures}/smoke-3seeds")
    status = {seeds: read_status(state_folder("smoke", "", 0, seeds)) for seeds in (1, 3)}
    assert {seeds: {name: list(entry["figures"]) for name, entry in entries.items()} for seeds, entries in status.items()} == {
        1: {"00_one": ["00_one.json"], "03_also": ["03_also.json"]},
        3: {"01_many": ["01_many.json"], "02_claims": ["02_claims.json"]}}
    table = status_table("smoke").splitlines()
    assert [line for line in table if not line.startswith(" ")] == ["smoke-default-seed0", "smoke-default-seed0-3seeds"]
    log = Log()
    assert seeded(log, seeds=1, notebooks="1") == [("01_many", None)]
    assert "scale smoke, seed 0," in log.text and log.text.endswith(f"; figures: {figures}/smoke\n")


def test_one_seed_and_several_do_not_invalidate_each_other(seeded, tmp_path):
    """A notebook without `seeds` is the same in both; one that needs an executed one is executed, in its own folder."""
    assert len(seeded()) == 4
    assert seeded(seeds=3) == [("01_many", 3), ("02_claims", 3)]
    assert seeded() == seeded(seeds=3) == []
    (tmp_path / "figures" / "smoke-3seeds" / "01_many.json").unlink()
    assert seeded() == [] and seeded(seeds=3) == [("01_many", 3), ("02_claims", 3)]
    (tmp_path / "figures" / "smoke" / "00_one.json").unlink()
    assert seeded(seeds=3) == [("00_one", None), ("02_claims", 3)]
    assert seeded() == [("02_claims", None)] and seeded(seeds=3) == []
    assert seeded(seeds=2) == [("01_many", 2), ("02_claims", 2)], "another number of seeds is another folder"


def test_several_seeds_wait_for_the_lock_of_one_seed(seeded, tmp_path):
    with lock(state_folder("smoke", "", 0)):
        with pytest.raises(AllattError, match="another process is reproducing smoke-default-seed0; wait"):
            seeded(seeds=3)
        assert seeded(seeds=3, notebooks="1") == [("01_many", 3)], "it writes nowhere else"
    assert not is_locked(state_folder("smoke", "", 0, 3)), "its own locks are released"


def test_long_notebooks_are_left_out_of_one_seed_of_the_laptop_scale_only(seeded, monkeypatch):
    monkeypatch.setattr(runner, "LONG", ("01",))
    log = Log()
    assert [name for name, _ in seeded(log, scale="laptop")] == ["00_one", "02_claims", "03_also"]
    assert "Left out because they take long: 01_many; run them with SEEDS=3 or NOTEBOOKS=\"01\"" in log.text
    assert [name for name, _ in seeded(scale="laptop", notebooks="1")] == ["01_many"], "chosen by number"
    assert ("01_many", 2) in seeded(scale="laptop", seeds=2)
    assert "01_many" in [name for name, _ in seeded()], "the smoke scale has time"


def test_notebooks_that_read_the_text_are_left_out_of_a_packed_corpus(tmp_path, monkeypatch):
    """Unless they were chosen: then it is an error, before anything runs."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(runner, "locate", lambda corpus: SimpleNamespace(files={}, sha256={}))
    write_notebook(tmp_path, "00_reads.ipynb", "raise SystemExit", parameters=PARAMETERS)
    write_notebook(tmp_path, "03_does_not.ipynb", "print('Headline: alone')", parameters=PARAMETERS)
    log, options = Log(), {"corpus": str(tmp_path / "pack"), "needs": {"03": ("00",)}}
    assert run(tmp_path, log, **options)
    assert "Left out because a packed corpus has no text: 00_reads" in log.text and "03_does_not ... done" in log.text
    with pytest.raises(AllattError, match=r"notebook 00 reads the text itself, and .* is packed"):
        run(tmp_path, log, notebooks="00 03", **options)
