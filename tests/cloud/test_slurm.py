"""notebooks/cloud/slurm.sh: one seed per array task, and a task that Slurm stops comes back and continues."""

import re
import shutil
import signal

import pytest
from stand_ins import ALL_STEPS, CLOUD, RUN, STEPS, program, run, signal_all, start, steps_of, training, wait_for

from allatt.system.paths import repository

SLURM = CLOUD / "slurm.sh"


@pytest.fixture
def cluster(tmp_path):
    """Task 1 of array 70: a stand-in for allatt that notes its options, `scontrol`, and short seconds."""
    program(tmp_path, "python", f'echo "$OMP_NUM_THREADS $*" >>{tmp_path}/asked; exec {" ".join(training(tmp_path))} "$@"')
    program(tmp_path / "bin", "scontrol", f'echo "$@" >>{tmp_path}/scontrol')
    program(tmp_path / "bin", "sleep", f'exec {shutil.which("sleep")} 0.05')
    variables = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "70", "SLURM_JOB_ID": "70", "SLURM_CPUS_PER_TASK": "3",
                 "SLURM_SUBMIT_DIR": str(repository()), "PYTHON": str(tmp_path / "python"), "SCALE": "smoke",
                 "STORAGE": str(tmp_path / "shared"), "TMPDIR": str(tmp_path / "node")}
    # sbatch runs a copy, from a folder of its own.
    return (["bash", shutil.copy(SLURM, tmp_path / "slurm_script")], tmp_path, tmp_path / "bin"), variables


def asked(tmp_path, name):
    path = tmp_path / name
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("gpus, device", [("1", "cuda"), ("", "auto")])
def test_a_task_trains_its_seed_into_a_folder_of_its_own(cluster, tmp_path, gpus, device):
    command, variables = cluster
    status, out, _ = run(*command, **variables, SLURM_GPUS_ON_NODE=gpus)
    assert (status, out) == (0, f"took {STEPS} steps\n")
    records = tmp_path / "shared" / "seed-1" / "records"
    options = f"--scale smoke --corpus  --seed 1 --device {device} --rate 0"
    assert asked(tmp_path, "asked") == [f"3 -m allatt experiment all {options}",
                                        f"3 -m allatt pack --out {records}"]
    assert steps_of(tmp_path / "shared" / "seed-1") == ALL_STEPS and (records / f"{RUN}.json").is_file()
    assert not list((tmp_path / "node").iterdir()), "the node's disk is left as it was"
    assert asked(tmp_path, "scontrol") == []


@pytest.mark.parametrize("number, sent_to, comes_back", [
    (signal.SIGUSR1, "the script", ["requeue 70_1"]),  # the time is over; the script alone hears of it
    (signal.SIGTERM, "all", []),                       # preempted or canceled: Slurm's own decision
])
def test_a_task_that_is_stopped_saves_and_continues_on_another_node(cluster, tmp_path, number, sent_to, comes_back):
    command, variables = cluster
    process = start(*command, **variables, SECONDS_PER_STEP="0.3")
    wait_for(lambda: list((tmp_path / "node").glob(f"*/runs/{RUN}/checkpoint-2-*")), process)
    signal_all(process, number) if sent_to == "all" else process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 143 and asked(tmp_path, "scontrol") == comes_back
    shutil.rmtree(tmp_path / "node")
    status, out, err = run(*command, **variables)
    assert status == 0 and 0 < int(out.split()[1]) < STEPS - 1 and "allatt: 1 runs restored" in err
    assert steps_of(tmp_path / "shared" / "seed-1") == ALL_STEPS


def test_an_error_is_not_requeued(cluster, tmp_path):
    command, variables = cluster
    program(tmp_path, "python", "echo 'allatt: there is no such scale' >&2; exit 2")
    status, _, err = run(*command, **variables)
    assert status == 2 and "no such scale" in err and asked(tmp_path, "scontrol") == []


@pytest.mark.parametrize("missing, message", [
    ({"SLURM_ARRAY_TASK_ID": ""}, "one seed per array task; submit it with: sbatch --array=0-2"),
    ({"STORAGE": ""}, "STORAGE is not set; name a folder on the shared disk"),
    ({"SLURM_SUBMIT_DIR": "/"}, "submit from the root of the repository, not from /"),
    ({"PYTHON": "no-such-python"}, "there is no no-such-python; run make env, or set PYTHON"),
])
def test_a_mistake_is_one_clear_line(cluster, missing, message):
    command, variables = cluster
    status, _, err = run(*command, **variables | missing)
    assert status == 2 and len(err.splitlines()) == 1 and err.startswith("allatt: ") and message in err


def test_what_slurm_is_asked_for():
    """Slurm reads #SBATCH lines only above the first command."""
    head = SLURM.read_text().split("\nset -")[0]
    asked_for = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", head, flags=re.MULTILINE)
    assert len(asked_for) == SLURM.read_text().count("#SBATCH --") and dict(asked_for)["signal"] == "B:USR1@120"
    assert {"requeue", "array", "open-mode", "cpus-per-task", "time"} <= set(dict(asked_for))
