"""notebooks/cloud/first_minutes.sh: the order of its stages and their time, with stand-ins for Python and the GPU's tool."""

import re
import shutil
import subprocess

import pytest
from stand_ins import CLOUD, program, run

from allatt.system.paths import repository


@pytest.fixture
def start(tmp_path):
    """Start the script; `checks` is the exit status of the tests. Returns status, both outputs, and the commands it gave."""
    def start(*arguments, checks=0, pack=0, trained="exit 0", **variables):
        program(tmp_path / "bin", "nvidia-smi", "echo a GPU")
        program(tmp_path / "bin", "a-python", f"""echo "$*" >>{tmp_path}/asked
            case "$*" in *test_gpu*) exit {checks};; *allatt\\ pack*) exit {pack};; esac
            case "$*" in *allatt\\ experiment*) echo trained; {trained};; esac""")
        status, out, err = run(["bash", CLOUD / "first_minutes.sh", *arguments], repository(), programs=tmp_path / "bin",
                               **{"PYTHON": "a-python", "PAUSE": "0"} | variables)
        asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
        return status, out, err, asked

    return start


def test_checks_then_speed_then_two_experiments_then_the_records(start, tmp_path):
    status, out, err, asked = start(tmp_path / "out", "3", "all", "--scale", "smoke", "--seeds", "2")
    assert status == 0 and err == ""
    names = [re.search(r"test_gpu|band_triton|allatt (\w+)", line).group() for line in asked]
    assert [name.removeprefix("allatt ") for name in names] == [
        "test_gpu", "band_triton", "bench", "experiment", "experiment", "pack"]
    assert "tests/test_gpu.py" in asked[0] and f"--out {tmp_path / 'out'}/bench.json" in asked[2]
    assert set(asked[3:5]) == {"-m allatt experiment all --scale smoke --seeds 2 --minutes 2 --compile auto"} or \
        set(asked[3:5]) == {"-m allatt experiment all --scale smoke --seeds 2 --minutes 3 --compile auto"}
    assert asked[5] == f"-m allatt pack --out {tmp_path / 'out'}/records"
    said = (tmp_path / "out" / "experiment-second.txt").read_text()
    assert said == "trained\n" and (tmp_path / "out" / "gpu.txt").read_text() == "a GPU\n" and "checks: status 0" in out


def test_if_a_check_fails_nothing_is_compiled(start, tmp_path):
    status, out, _, asked = start(tmp_path / "out", "3", checks=1)
    assert status == 0 and "checks: status 1" in out
    assert all(line.endswith("--compile off") and " all --scale gpu " in line for line in asked[3:5])


def test_if_both_experiments_fail_it_is_an_error_and_one_of_two_may(start, tmp_path):
    status, out, err, asked = start(tmp_path / "out", "2", trained="exit 2")
    assert status == 2 and "the experiment did not end well; see" in err and "all of it is in" not in out
    assert asked[-1].startswith("-m allatt pack"), "what was finished before is packed"
    one = f'if mkdir {tmp_path}/first 2>/dev/null; then exit 2; fi'
    assert start(tmp_path / "again", "2", trained=one)[0] == 0


def test_the_records_have_time_of_their_own(start, tmp_path):
    """All minutes are used up, but what is finished is still packed: `timeout` gets a minute for it."""
    program(tmp_path / "bin", "timeout", f'printf "%s %s\\n" "$1" "${{*: -4}}" >>{tmp_path}/times; shift; exec "$@"')
    assert start(tmp_path / "out", "1", checks="$(sleep 2; echo 0)")[0] == 2, "too few for the experiment"
    assert (tmp_path / "times").read_text().splitlines()[-1].startswith("60 ")


def test_without_a_finished_run_it_says_where_to_look(start, tmp_path):
    status, _, err, _ = start(tmp_path / "out", "2", pack=2)
    out = tmp_path / "out"
    assert status == 2 and err == f"allatt: no run could be packed; see {out}/pack.txt and {out}/experiment-first.txt\n"


@pytest.mark.parametrize("arguments, message", [(("out",), "needs a folder and a number of minutes"),
                                                (("out", "soon"), "MINUTES is 'soon'; it must be a whole number"),
                                                (("out", "0"), "MINUTES is '0'; it must be a whole number")])
def test_what_is_wrong_is_one_clear_line(start, arguments, message):
    status, _, err, asked = start(*arguments)
    assert status == 2 and message in err and err.count("\n") == 1 and not asked
    status, _, err, _ = start("out", "3", PYTHON="no-such-python")
    assert status == 2 and "there is no no-such-python; set PYTHON" in err


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", CLOUD / "first_minutes.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
