"""notebooks/cloud/sync.sh: runs outlive the machine, and what is half copied is never taken for whole."""

import os
import shutil
import signal
import subprocess

import pytest
from stand_ins import ALL_STEPS, CLOUD, RUN, STEPS, program, run, signal_all, start, steps_of, training, wait_for

SYNC = CLOUD / "sync.sh"
FINISHED = ["config.json", "model.safetensors", "result.json"]


@pytest.fixture
def command(tmp_path):
    """sync.sh with the folder `bucket`, and the training."""
    return ["bash", SYNC, tmp_path / "bucket", *training(tmp_path)]


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "bucket" / "runs" / RUN).iterdir())


def on_a_new_machine(command, tmp_path, home="new", **variables):
    return run(command, tmp_path, ALLATT_HOME=str(tmp_path / home), **variables)


def test_a_finished_run_is_in_the_bucket_and_not_trained_again(command, tmp_path):
    status, out, _ = on_a_new_machine(command, tmp_path, "first")
    assert (status, out) == (0, f"took {STEPS} steps\n")
    assert names(tmp_path) == FINISHED and steps_of(tmp_path / "bucket") == ALL_STEPS
    status, out, err = on_a_new_machine(command, tmp_path, "second")
    assert (status, out) == (0, "took 0 steps\n") and f"allatt: 1 runs restored from {tmp_path / 'bucket'}" in err
    status, out, err = on_a_new_machine(command, tmp_path, "second")
    assert (status, out) == (0, "took 0 steps\n") and "allatt: 0 runs restored" in err


@pytest.mark.parametrize("of", ["all processes", "sync.sh alone"])
def test_stopped_it_continues_on_another_machine(command, tmp_path, of):
    program(tmp_path / "bin", "sleep", f'exec {shutil.which("sleep")} 0.05')  # sync.sh waits ten of them
    process = start(command, tmp_path, tmp_path / "bin", ALLATT_HOME=str(tmp_path / "first"), SECONDS_PER_STEP="0.2")
    wait_for(lambda: list((tmp_path / "first" / "runs" / RUN).glob("checkpoint-2-*")), process)
    signal_all(process, signal.SIGTERM) if of == "all processes" else process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143 and "result.json" not in names(tmp_path)
    status, out, _ = on_a_new_machine(command, tmp_path)
    taken = int(out.split()[1])
    assert status == 0 and 0 < taken < STEPS - 1 and names(tmp_path) == FINISHED
    assert steps_of(tmp_path / "bucket") == ALL_STEPS


def test_checkpoints_are_copied_while_it_trains_and_a_lost_machine_is_replaced(command, tmp_path):
    process = start(command, tmp_path, ALLATT_HOME=str(tmp_path / "first"), SECONDS_PER_STEP="0.2", SYNC_SECONDS="1")
    wait_for(lambda: len(list((tmp_path / "bucket" / "runs" / RUN).glob("checkpoint-*"))) >= 2, process)
    signal_all(process, signal.SIGKILL)
    process.communicate()
    status, out, _ = on_a_new_machine(command, tmp_path)
    assert status == 0 and 0 < int(out.split()[1]) < STEPS and steps_of(tmp_path / "bucket") == ALL_STEPS


def test_the_bucket_always_has_a_checkpoint_however_slowly_it_takes_them(command, tmp_path):
    """While one is copied, the program writes four and removes those before: what was there when it began must come whole."""
    program(tmp_path / "bin", "cp", f"""case "$*" in *checkpoint-*.part) {shutil.which("sleep")} 0.8;; esac
    exec {shutil.which("cp")} "$@" """)
    kept, seen = tmp_path / "bucket" / "runs" / RUN, []
    process = start(command, tmp_path, tmp_path / "bin", ALLATT_HOME=str(tmp_path / "first"), SECONDS_PER_STEP="0.4",
                    SYNC_SECONDS="1")
    wait_for(lambda: list(kept.glob("checkpoint-*")), process)
    while process.poll() is None:
        seen.append([path.name for path in kept.glob("*") if path.name.startswith(("checkpoint-", "result.json"))])
    assert all(seen), "a machine that goes now would begin again"
    assert process.wait() == 0 and names(tmp_path) == FINISHED and not (tmp_path / "first" / ".held").exists()


def test_a_machine_that_comes_back_does_not_go_back(command, tmp_path):
    """Node A, then B, then A again with the disk of its first time: B's later checkpoints count."""
    home, kept = tmp_path / "a" / "runs" / RUN, tmp_path / "bucket" / "runs" / RUN
    for folder, last in ((home, 3), (kept, 9)):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("a config")
        for step in (last - 1, last):
            (folder / f"checkpoint-{step}-0.safetensors").write_text(" ".join(map(str, range(1, step + 1))))
    status, out, err = on_a_new_machine(command, tmp_path, "a")
    assert (status, out) == (0, f"took {STEPS - 9} steps\n") and "allatt: 1 runs restored" in err


def test_what_is_further_here_than_in_the_bucket_stays(command, tmp_path):
    home, kept = tmp_path / "a" / "runs" / RUN, tmp_path / "bucket" / "runs" / RUN
    for folder, last in ((home, 11), (kept, 9)):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("a config")
        (folder / f"checkpoint-{last}-0.safetensors").write_text(" ".join(map(str, range(1, last + 1))))
    status, out, err = on_a_new_machine(command, tmp_path, "a")
    assert (status, out) == (0, "took 1 steps\n") and "allatt: 0 runs restored" in err


@pytest.mark.parametrize("name", ["config.json", "checkpoint-", "model.safetensors", "result.json"])
def test_lost_in_the_middle_of_a_copy(command, tmp_path, name):
    """The machine goes when half of a file is there: on a mounted bucket, that half then looks like a file."""
    real = shutil.which("cp")
    program(tmp_path / "bin", "cp", f"""case ${{@: -2:1}} in *{name}*)
        head -c $(($(stat -c %s "${{@: -2:1}}") / 2)) "${{@: -2:1}}" >"${{@: -1}}"; kill -9 0;;
    esac
    exec {real} "$@" """)
    process = start(command, tmp_path, tmp_path / "bin", ALLATT_HOME=str(tmp_path / "first"), SYNC_SECONDS="1",
                    SECONDS_PER_STEP="0.15")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert "result.json" not in names(tmp_path) and any(path.endswith(".part") for path in names(tmp_path))
    whole = {path.name: path.read_text() for path in (tmp_path / "bucket" / "runs" / RUN).iterdir() if path.name[0] != "."}
    assert all(ALL_STEPS.startswith(text) and len(text.split()) == int(path.split("-")[1])
               for path, text in whole.items() if path.startswith("checkpoint-"))
    status, _, _ = on_a_new_machine(command, tmp_path)
    assert status == 0 and names(tmp_path) == FINISHED and steps_of(tmp_path / "bucket") == ALL_STEPS


def test_the_result_comes_last(command, tmp_path):
    """After every other file, since it makes a run a finished one."""
    program(tmp_path / "bin", "mv", f'printf "%s\\n" "${{@: -1}}" >>{tmp_path}/moved; exec {shutil.which("mv")} "$@"')
    run(command, tmp_path, tmp_path / "bin", ALLATT_HOME=str(tmp_path / "first"))
    moved = [line.split("/")[-1] for line in (tmp_path / "moved").read_text().splitlines()]
    assert moved[-1] == "result.json" and sorted(moved) == FINISHED


def test_a_full_bucket_is_one_clear_line_and_an_error(command, tmp_path):
    program(tmp_path / "bin", "cp", f'case "$*" in *model*) exit 1;; esac; exec {shutil.which("cp")} "$@"')
    status, _, err = run(command, tmp_path, tmp_path / "bin", ALLATT_HOME=str(tmp_path / "first"))
    assert status == 2 and "result.json" not in names(tmp_path)
    assert err.splitlines()[-1] == (f"allatt: some runs could not be copied to {tmp_path / 'bucket'}; they are in "
                                    f"{tmp_path / 'first' / 'runs'}: run the same again")
    status, out, _ = run(command, tmp_path, ALLATT_HOME=str(tmp_path / "first"))
    assert (status, out) == (0, "took 0 steps\n") and names(tmp_path) == FINISHED


def test_the_status_is_the_commands(tmp_path):
    assert run(["bash", SYNC, tmp_path / "bucket", "bash", "-c", "exit 7"], tmp_path, ALLATT_HOME=str(tmp_path / "a"))[0] == 7


@pytest.mark.parametrize("arguments, variables, message", [
    (["bucket"], {}, "needs a folder that stays, and a command"),
    (["bucket", "true"], {"ALLATT_HOME": ""}, "ALLATT_HOME is not set; name a folder on this machine's own disk"),
    (["bucket", "true"], {"SYNC_SECONDS": "often"}, "SYNC_SECONDS is 'often'; it must be a whole number of seconds"),
    (["a-file/bucket", "true"], {}, "cannot write to a-file/bucket; is the bucket named, mounted and yours"),
])
def test_a_mistake_is_one_clear_line(tmp_path, arguments, variables, message):
    (tmp_path / "a-file").write_text("")
    status, _, err = run(["bash", SYNC, *arguments], tmp_path, **{"ALLATT_HOME": str(tmp_path / "home")} | variables)
    assert status == 2 and len(err.splitlines()) == 1 and err.startswith("allatt: ") and message in err


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("name", ["sync.sh", "slurm.sh"])
def test_shellcheck_finds_nothing(name):
    done = subprocess.run(["shellcheck", CLOUD / name], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout


def test_what_is_read_of_a_finished_run_later_is_kept_too(tmp_path):
    """The heads that each criterion would keep, say: on another machine they could be others."""
    storage, home = tmp_path / "bucket", tmp_path / "home"
    code = ('mkdir -p "$ALLATT_HOME/runs/abc"; cd "$ALLATT_HOME/runs/abc"; echo 1 >config.json; echo 1 >result.json; '
            f'while [ ! -e "{storage}/runs/abc/result.json" ]; do sleep 0.1; done; echo 2 >config.json; echo 1 >rivals.json')
    status, _, err = run(["bash", SYNC, storage, "bash", "-c", code], tmp_path, ALLATT_HOME=str(home), SYNC_SECONDS="1")
    assert status == 0, err
    kept = {path.name: path.read_text() for path in (storage / "runs" / "abc").iterdir()}
    assert kept == {"config.json": "1\n", "result.json": "1\n", "rivals.json": "1\n"}, "and nothing is replaced"
    status, out, _ = run(["bash", SYNC, storage, "cat", tmp_path / "new" / "runs" / "abc" / "rivals.json"], tmp_path,
                         ALLATT_HOME=str(tmp_path / "new"))
    assert (status, out) == (0, "1\n")
