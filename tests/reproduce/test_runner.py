"""The notebook runner, on small notebooks made here. A kernel costs two seconds, so most tests read one shared run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from allatt.config import AllattError
from allatt.paper import scales
from allatt.reproduce import execute, parameters, runner
from allatt.system import paths
from allatt.system.paths import home, repository


@pytest.fixture(scope="module", autouse=True)
def same_sources():
    """Whoever edits allatt while these tests run does not upset them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "sources", dict)
        yield


real_sources = runner.sources
PARAMETERS = 'scale = "smoke"\ncorpus = ""\nseed = 0\n'


def write(folder: Path, name: str, *sources: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a parameters cell and one cell for each source."""
    cells = [new_markdown_cell(f"# {name}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    book = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "notebooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


class Said:
    """Collects what the runner prints, as lines."""

    def __init__(self):
        self.text = ""

    def __call__(self, text: str = "", end: str = "\n", flush: bool = False) -> None:
        self.text += text + end

    def line(self, start: str) -> str:
        return next(line for line in self.text.splitlines() if start in line)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Four notebooks: one that is fine, one that fails, one that needs it, and one that does not."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLATT_FIGURES", str(folder / "figures"))
        yield _four_notebooks(folder)


def _four_notebooks(folder: Path) -> Path:
    write(folder, "00_fine.ipynb",
          "import os, pathlib, sys\nblock = bytearray(300_000_000)\nprint(os.getcwd()); print(sys.executable)\n"
          "print(os.environ['GOMP_SPINCOUNT'])",
          "figures = pathlib.Path(os.environ['ALLATT_FIGURES'], 'smoke-seed3')\n"
          "figures.mkdir(parents=True, exist_ok=True)\n"
          "(figures / 'plot.png').write_bytes(b'one plot')",
          "print('Headline: first', os.environ['ALLATT_NOTEBOOK'])\nprint(f'Headline: seed {seed}, lam {lam}')",
          parameters=PARAMETERS + "lam = 0.5  # a comment\nquick = True\nname = 'x'\nlams = [1, 2]\n")
    write(folder, "01_fails.ipynb", "x = 1",
          "from allatt.config import AllattError\nraise AllattError('the text is empty')")
    write(folder, "02_needs_it.ipynb", "print('never')")
    write(folder, "03_alone.ipynb", "print('Headline: alone')")
    return folder


@pytest.fixture(scope="module")
def first(project, home_of_tests):
    said = Said()
    good = run(project, said, params="lam=2")
    return good, said, runner.read_status(runner.target("smoke", "", 3))


def run(folder: Path, said: Said, scale: str = "smoke", seed: int = 3, **options) -> bool:
    options = {"needs": {"02": ("01",)}, **options}
    return runner.reproduce(scale, seed=seed, folder=folder, say=said, **options)


def executed(stem: str) -> dict:
    return json.loads((runner.target("smoke", "", 3) / f"{stem}.ipynb").read_text())


def output(stem: str) -> str:
    outputs = [o for cell in executed(stem)["cells"] for o in cell.get("outputs", ())]
    return "".join(text for o in outputs for text in o.get("text", ()))


def test_failure_is_one_line_and_the_rest_goes_on(first):
    good, said, status = first
    assert not good
    assert {stem: entry["state"] for stem, entry in status.items()} == {
        "00_fine": "done", "01_fails": "failed", "02_needs_it": "skipped", "03_alone": "done"}
    assert re.search(r"^\[ 2/4\] 01_fails .* failed after \d+\.\d s: cell In \[4\]: the text is empty "
                     r"\(see .*01_fails.ipynb\)$", said.line("01_fails"))
    assert "AllattError" not in said.text and "Traceback" not in said.text
    assert "skipped: needs 01_fails, which failed" in said.line("02_needs_it")
    assert said.text.splitlines()[-1].startswith("2 done, 1 failed, 1 skipped in ")


def test_progress_line_has_time_memory_and_the_last_headline(first):
    _, said, status = first
    assert re.search(r"^\[ 1/4\] 00_fine .* done \d+\.\d s, \d+ MB \| seed 3, lam 2\.0$", said.line("00_fine"))
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
    assert output("00_fine").splitlines()[2] == "10000", "idle threads that spin on make a shared machine crawl"
    assert "Headline: first 00_fine" in output("00_fine"), "figures name their notebook by this"


def test_parameters_reach_the_notebook(first):
    injected, = [c for c in executed("00_fine")["cells"] if "injected-parameters" in c["metadata"].get("tags", ())]
    values = {}
    exec("".join(injected["source"]), values)
    assert (values["scale"], values["seed"], values["lam"]) == ("smoke", 3, 2.0)
    assert "corpus" not in values, "without CORPUS the notebook's own default holds"


def test_status_records_the_figures(first, project):
    figures = first[2]["00_fine"]["figures"]
    assert list(figures) == ["plot.png"]
    assert figures["plot.png"] == runner.checksum(project / "figures" / "smoke-seed3" / "plot.png")


def test_status_table(first):
    table = runner.status("smoke")
    assert re.search(r"^  00_fine +done +\d+\.\d s +\d+ MB  seed 3, lam 2\.0$", table, flags=re.MULTILINE)
    assert re.search(r"^  01_fails +failed .* cell In \[4\]: the text is empty$", table, flags=re.MULTILINE)
    assert re.search(r"^  02_needs_it +skipped", table, flags=re.MULTILINE)
    assert runner.status() == table
    assert "nothing has been reproduced" in runner.status("paper")


def test_a_broken_status_is_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    state = runner.target("smoke", "", 0)
    state.mkdir(parents=True)
    (state / "status.json").write_text('{"00_fine": {"sta')
    assert runner.read_status(state) == {}
    assert runner.status().splitlines()[0] == "smoke-default-seed0"


def test_second_run_executes_only_what_changed(first, project, monkeypatch):
    """Unchanged: not executed. A figure gone, or an edited cell: executed. What needs an executed one: executed too."""
    before = first[2]
    (project / "figures" / "smoke-seed3" / "plot.png").unlink()
    said = Said()
    assert run(project, said, params="lam=2", numbers="0 3")
    assert "unchanged | alone" in said.line("03_alone")
    assert "done" in said.line("00_fine") and (project / "figures" / "smoke-seed3" / "plot.png").exists()
    again, after = Said(), runner.read_status(runner.target("smoke", "", 3))
    assert after["03_alone"] == before["03_alone"]
    monkeypatch.delattr(runner, "execute")  # nothing may start where nothing changed
    assert run(project, again, params="lam=2", numbers="0")
    assert "unchanged | seed 3, lam 2.0" in again.line("00_fine")
    state = runner.target("smoke", "", 3)
    places = dict.fromkeys(("00_fine", "03_alone"), runner.Place(state, project / "figures" / "smoke-seed3"))
    waiting = runner.Runner(places, {"03": ("00",)}, said, bool)
    mark = after["03_alone"]["fingerprint"]
    assert not waiting._up_to_date(project / "notebooks" / "03_alone.ipynb", mark), "00_fine, which it needs, is newer"


def test_fingerprint_follows_cells_parameters_and_text(tmp_path):
    path = write(tmp_path, "00_a.ipynb", "x = 1")
    marks = [runner.fingerprint(path, {"seed": 1}, {"train": "ab"})]
    assert runner.fingerprint(path, {"seed": 1}, {"train": "ab"}) == marks[0]
    marks.append(runner.fingerprint(path, {"seed": 2}, {"train": "ab"}))
    marks.append(runner.fingerprint(path, {"seed": 1}, {"train": "cd"}))
    marks.append(runner.fingerprint(write(tmp_path, "00_a.ipynb", "x = 2"), {"seed": 1}, {"train": "ab"}))
    assert len(set(marks)) == 4


def test_own_text_is_named_in_full_and_by_checksum(project, tmp_path, monkeypatch):
    """A relative path does not depend on where the notebooks run; another text in the folder is another fingerprint."""
    asked = []
    monkeypatch.setattr(runner.Runner, "run", lambda self, *given: asked.append((self.places, *given)) or True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("The fox jumps over the dog .\n" * 60)
    assert run(project, Said(), corpus="mine")
    places, _, given, marks, _ = asked[0]
    assert given["00_fine"]["corpus"] == str((tmp_path / "mine").resolve())
    assert all(re.fullmatch(r"smoke-mine-[0-9a-f]{8}-seed3", place.state.name) for place in places.values())
    (tmp_path / "mine" / "a.txt").write_text("The dog jumps over the fox .\n" * 60)
    assert run(project, Said(), corpus="./mine/")
    assert asked[1][0] == places and asked[1][2] == given
    assert all(asked[1][3][stem] != mark for stem, mark in marks.items())


def test_fingerprint_follows_every_module(tmp_path, monkeypatch):
    path = write(tmp_path, "00_a.ipynb", "x = 1")
    before = runner.fingerprint(path, {}, {})
    assert set(real_sources()) == {str(module.relative_to(paths.PACKAGE)) for module in paths.PACKAGE.rglob("*.py")}
    assert {"model.py", "system/paths.py"} < set(real_sources())
    monkeypatch.setattr(runner, "sources", lambda: {"model.py": "another"})
    assert runner.fingerprint(path, {}, {}) != before


def test_a_changed_file_in_a_sub_folder_makes_a_notebook_stale(tmp_path, monkeypatch):
    path, deep = write(tmp_path, "00_a.ipynb", "x = 1"), tmp_path / "package" / "one" / "two"
    deep.mkdir(parents=True)
    (deep / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(runner, "sources", real_sources)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "package")
    before = runner.fingerprint(path, {}, {})
    (deep / "module.py").write_text("x = 2\n")
    assert runner.fingerprint(path, {}, {}) != before


def test_outputs_do_not_change_the_fingerprint(tmp_path):
    path = write(tmp_path, "00_a.ipynb", "x = 1")
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
    ({"seeds": 3, "numbers": "3"}, r"SEEDS is 3, and notebook 03 shows one seed \(no parameter seeds\); leave SEEDS out, or"),
    ({"numbers": "0 77"}, r"there is no notebook 77; choose from 00 01 02 03"),
    ({"corpus": "wikitext-104"}, r"there is no corpus 'wikitext-104'; did you mean wikitext-103\?"),
    ({"scale": "huge"}, r"scale is 'huge'; choose one of smoke, laptop, gpu, paper"),
    ({"seed": -1}, r"seed is -1; it must be 0 or more"),
])
def test_mistakes_stop_everything_before_it_begins(project, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    said = Said()
    with pytest.raises(AllattError, match=message) as caught:
        run(project, said, **options)
    assert "\n" not in str(caught.value)
    assert said.text == "" and list(tmp_path.iterdir()) == []


def test_values_get_the_type_of_the_default(project):
    known = [project / "notebooks" / "00_fine.ipynb", project / "notebooks" / "03_alone.ipynb"]
    given = {"lam": "2", "name": "007", "quick": "False", "lams": "[3]", "seed": "5"}
    bound = parameters.bind(known, given)
    assert bound["00_fine"] == {"lam": 2.0, "name": "007", "quick": False, "lams": [3], "seed": 5}
    assert isinstance(bound["00_fine"]["lam"], float)
    assert bound["03_alone"] == {"seed": 5}, "a notebook gets only what it knows"


def test_parameters_cell_must_hold_literals(tmp_path):
    path = write(tmp_path, "00_a.ipynb", parameters="seed = 1 + x")
    with pytest.raises(AllattError, match="00_a.ipynb is no notebook with literal parameters"):
        parameters.defaults(path)


def test_parse_keeps_quoted_words_together():
    assert parameters.parse("lam=0.1 name='two words' a==b") == {"lam": "0.1", "name": "two words", "a": "=b"}


def test_lock_keeps_a_second_process_out(project):
    """From another process, as it would be."""
    lock = home() / "reproduce" / "smoke-default-seed3.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    code = (f"from filelock import FileLock; lock = FileLock({str(lock)!r}); lock.acquire(); print(1, flush=True); "
            "input()")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(AllattError, match="another process is reproducing smoke-default-seed3; wait until it ends"):
            run(project, Said())
        other.stdin.close()


def test_lock_of_a_killed_process_is_free(project):
    lock = home() / "reproduce" / "smoke-default-seed3.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    code = (f"import os, signal; from filelock import FileLock; lock = FileLock({str(lock)!r}); lock.acquire(); "
            "os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    with FileLock(lock, timeout=0):
        pass


def test_auto_says_what_it_takes(project, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(runner.Runner, "run", lambda *arguments: True)
    said = Said()
    assert run(project, said, scale="auto")
    assert said.text.startswith("SCALE=auto: laptop, since torch sees no GPU\n4 notebooks at scale laptop")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    said = Said()
    assert run(project, said, scale="auto")
    assert said.text.startswith("SCALE=auto: gpu, since torch sees a GPU\n4 notebooks at scale gpu")


def test_killed_kernel_is_one_line(tmp_path):
    """As the out-of-memory killer does it."""
    path = write(tmp_path, "00_a.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    outcome = execute.execute(path, tmp_path / "out.ipynb", {})
    assert re.fullmatch(r"the kernel died at cell In \[[12]\]; was there enough memory\?", outcome.error)


def test_bare_assert_shows_its_code(tmp_path):
    path = write(tmp_path, "00_a.ipynb", "x = 3\nassert x == 4  # why")
    outcome = execute.execute(path, tmp_path / "out.ipynb", {})
    assert outcome.error == "cell In [2]: AssertionError: assert x == 4  # why"


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
    write(tmp_path, "00_a.ipynb", "print('Headline: a')")
    write(tmp_path, "01_b.ipynb", "import os, pathlib, time\ngo = pathlib.Path('go')",
          "if not go.exists():\n    pathlib.Path('pid').write_text(str(os.getpid()))\n    time.sleep(600)")
    code = (f"from pathlib import Path; from allatt.reproduce import runner; "
            f"runner.sources = dict; runner.reproduce('smoke', folder=Path({str(tmp_path)!r}), needs={{}})")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    mark = tmp_path / "notebooks" / "pid"
    assert wait_for(lambda: mark.exists() and mark.read_text())
    process.kill()
    process.wait()
    assert wait_for(lambda: not alive(int(mark.read_text())), 10), "the kernel outlived its runner"
    assert re.search(r"^  01_b +interrupted", runner.status("smoke"), flags=re.MULTILINE)
    (tmp_path / "notebooks" / "go").touch()
    said = Said()
    assert run(tmp_path, said, seed=0, needs={})
    assert "unchanged | a" in said.line("00_a") and "done" in said.line("01_b")


def test_runner_stops_when_asked(tmp_path):
    path = write(tmp_path, "00_a.ipynb", "import time\ntime.sleep(600)")
    began = time.monotonic()
    with pytest.raises(AllattError, match="stopped in 00_a; run the same command again"):
        execute.execute(path, tmp_path / "out.ipynb", {}, tick=lambda seconds: seconds > 0.5)
    assert time.monotonic() - began < 20


def test_clean_executed(tmp_path):
    """Counts, standard output and tags stay; standard error, other metadata and absolute paths go."""
    path = write(tmp_path, "00_a.ipynb",
                 "import os, sys\nprint('loss', 3)\nprint('slow', file=sys.stderr)\nprint(os.getcwd())")
    book = json.loads(path.read_text())
    book["cells"][-1]["metadata"] = {"tags": ["nbval-check-output"], "execution": {"begun": "now"}, "collapsed": True}
    path.write_text(json.dumps(book))
    execute.clean_executed(path)
    first = path.read_bytes()
    book = json.loads(first)
    nbformat.validate(book)
    assert [cell.get("execution_count") for cell in book["cells"]] == [None, 1, 2]
    assert book["cells"][-1]["outputs"] == [
        {"name": "stdout", "output_type": "stream", "text": ["loss 3\n", "./notebooks\n"]}]
    assert book["cells"][-1]["metadata"] == {"tags": ["nbval-check-output"]}
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    assert sorted(p.name for p in path.parent.iterdir()) == ["00_a.ipynb"]
    execute.clean_executed(path)
    assert path.read_bytes() == first, "a second time changes nothing"


@pytest.mark.parametrize("source, message", [
    ("\n".join(f"x{i} = {i}" for i in range(16)), "cell 3 has 16 lines; at most 15"),
    ("1 / 0", r"cell In \[2\]: ZeroDivisionError: division by zero; the file is as it was"),
])
def test_clean_executed_refuses(tmp_path, source, message):
    path = write(tmp_path, "00_a.ipynb", source)
    before = path.read_bytes()
    with pytest.raises(AllattError, match=message):
        execute.clean_executed(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["00_a.ipynb"]


def numbers(folder: Path, *given) -> str:
    return " ".join(path.name[:2] for path in runner.find(folder, *given))


def test_each_notebook_comes_after_what_it_needs(tmp_path):
    """In the order of numbers otherwise, whichever are chosen."""
    for number in range(14):
        (tmp_path / f"{number:02}_a.ipynb").touch()
    assert numbers(tmp_path) == "00 01 02 03 04 05 06 07 08 09 11 12 13 10"
    assert numbers(tmp_path, "12 10 7") == "07 12 10"
    assert numbers(tmp_path, "9 10") == "09 10"
    assert numbers(tmp_path, "", {"00": ("05",), "05": ("02", "13"), "07": ("00",)}) == \
        "01 02 03 04 06 08 09 10 11 12 13 05 00 07"
    assert numbers(tmp_path, "0 1 5", {"00": ("05",), "05": ("02", "13")}) == "01 05 00"


def test_claims_need_every_other_notebook():
    everything = {path.name[:2] for path in (repository() / "notebooks").glob("[0-9]*.ipynb")}
    assert {"10", *runner.NEEDS["10"]} >= everything
    assert "10" not in {number for needed in runner.NEEDS.values() for number in needed}


def test_committed_notebooks_know_the_three_parameters():
    """And their defaults are the smoke scale and one seed, since nbval cannot inject any."""
    for path in runner.find(repository() / "notebooks"):
        values = {"seeds": 1} | parameters.defaults(path)
        assert (values["scale"], values["corpus"], values["seed"]) == (scales.NAMES[0], "", 0), path.name
        assert values["seeds"] == 1, path.name


@pytest.fixture
def seeded(tmp_path, monkeypatch):
    """Four notebooks, the second and third with `seeds`; each executed one (by a stand-in) saves a figure where it should.

    What is returned runs them, and gives the names of those that were executed, with their seeds.
    """
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "figures"))
    for name, more in (("00_one", ""), ("01_many", "seeds = 1\n"), ("02_claims", "seeds = 1\n"), ("03_also", "")):
        write(tmp_path, f"{name}.ipynb", parameters=PARAMETERS + more)
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

    def go(said=None, **options):
        done.clear()
        assert run(tmp_path, said or Said(), seed=0, needs={"02": ("00", "01"), "03": ("01",)}, **options)
        return list(done)

    return go


def test_seeds_go_to_the_notebooks_that_compare_them(seeded, tmp_path):
    said = Said()
    assert seeded(said, seeds=3) == [("00_one", None), ("01_many", 3), ("02_claims", 3), ("03_also", None)]
    lines = said.text.splitlines()
    states, figures = tmp_path / "home" / "reproduce", tmp_path / "figures"
    assert lines[0] == (f"4 notebooks at scale smoke, seeds 0 to 2, corpus of the scale; executed ones go to "
                        f"{states}/smoke-default-seed0, {states}/smoke-default-seed0-3seeds")
    assert lines[-1].endswith(f"; figures: {figures}/smoke, {figures}/smoke-3seeds")
    status = {seeds: runner.read_status(runner.target("smoke", "", 0, seeds)) for seeds in (1, 3)}
    assert {seeds: {stem: list(entry["figures"]) for stem, entry in some.items()} for seeds, some in status.items()} == {
        1: {"00_one": ["00_one.json"], "03_also": ["03_also.json"]},
        3: {"01_many": ["01_many.json"], "02_claims": ["02_claims.json"]}}
    table = runner.status("smoke").splitlines()
    assert [line for line in table if not line.startswith(" ")] == ["smoke-default-seed0", "smoke-default-seed0-3seeds"]
    said = Said()
    assert seeded(said, seeds=1, numbers="1") == [("01_many", None)]
    assert "at scale smoke, seed 0," in said.text and said.text.endswith(f"; figures: {figures}/smoke\n")


def test_one_seed_and_several_do_not_undo_each_other(seeded, tmp_path):
    """What has no seeds is the same notebook in both; what needs an executed one is executed, in its own place."""
    assert len(seeded()) == 4
    assert seeded(seeds=3) == [("01_many", 3), ("02_claims", 3)]
    assert seeded() == seeded(seeds=3) == []
    (tmp_path / "figures" / "smoke-3seeds" / "01_many.json").unlink()
    assert seeded() == [] and seeded(seeds=3) == [("01_many", 3), ("02_claims", 3)]
    (tmp_path / "figures" / "smoke" / "00_one.json").unlink()
    assert seeded(seeds=3) == [("00_one", None), ("02_claims", 3)]
    assert seeded() == [("02_claims", None)] and seeded(seeds=3) == []
    assert seeded(seeds=2) == [("01_many", 2), ("02_claims", 2)], "another number of seeds is another place"


def test_several_seeds_wait_for_whoever_is_at_one(seeded, tmp_path):
    lock = runner._lock(runner.target("smoke", "", 0))
    lock.acquire()
    with pytest.raises(AllattError, match="another process is reproducing smoke-default-seed0; wait"):
        seeded(seeds=3)
    assert seeded(seeds=3, numbers="1") == [("01_many", 3)], "it writes nowhere else"
    lock.release()
    assert not runner._locked(runner.target("smoke", "", 0, 3)), "and lets go of what it had"


@pytest.mark.parametrize("seconds, text", [
    (0.04, "0.0 s"), (7, "7 s"), (59.94, "59.9 s"), (59.99, "1 min 0 s"), (245.2, "4 min 5 s"), (7380, "2 h 3 min")])
def test_duration(seconds, text):
    assert runner.duration(seconds) == text


def test_how_a_stream_is_cut_into_pieces_does_not_matter(tmp_path):
    """A kernel sends what one cell prints in pieces of its own choice."""
    def book(*pieces):
        outputs = [{"name": "stdout", "output_type": "stream", "text": [piece]} for piece in pieces]
        picture = {"output_type": "display_data", "data": {}, "metadata": {}}
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "", "execution_count": 1,
                "outputs": [*outputs, picture, *outputs]}
        return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}

    whole, cut = book("one\nHeadline: 3.5 nats\n"), book("one\nHead", "line: 3.5", " nats\n")
    assert execute.clean(whole, tmp_path) == execute.clean(cut, tmp_path)
    assert len(execute.clean(cut, tmp_path)["cells"][0]["outputs"]) == 3
    (tmp_path / "cut.ipynb").write_text(json.dumps(cut))
    assert execute.headline(tmp_path / "cut.ipynb") == "3.5 nats"


def test_long_notebooks_are_left_out_of_one_seed_of_the_laptop_scale_only(seeded, monkeypatch):
    monkeypatch.setattr(runner, "LONG", ("01",))
    said = Said()
    assert [name for name, _ in seeded(said, scale="laptop")] == ["00_one", "02_claims", "03_also"]
    assert "Left out, since they take long: 01_many; SEEDS=3 runs them, or NOTEBOOKS=\"01\"" in said.text
    assert [name for name, _ in seeded(scale="laptop", numbers="1")] == ["01_many"], "asked for"
    assert ("01_many", 2) in seeded(scale="laptop", seeds=2)
    assert "01_many" in [name for name, _ in seeded()], "the smoke scale has time"
