#!/usr/bin/env bash
# The experiments on a Slurm cluster, one seed per array task; from the root of the repository:
#
#     mkdir -p logs
#     sbatch --array=0-2 --gpus=1 --export=ALL,SCALE=gpu,STORAGE=/shared/folder notebooks/cloud/slurm.sh
#
# Options of sbatch override the lines below. Each task has a folder of its own, STORAGE/seed-N: seeds share no run, so no
# two tasks write the same file, and the shared disk needs no locks. The training itself uses the node's disk (see sync.sh), in
# LOCAL, else SLURM_TMPDIR, TMPDIR or /tmp. SCALE, CORPUS, EXPERIMENT and RATE are the options of `python -m allatt experiment`.
#
#SBATCH --job-name=allatt
#SBATCH --array=0-2
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=logs/%x-%A_%a.log
# Two minutes before the time is over. Not SIGTERM: scancel sends that, too, and a canceled task must not come back.
#SBATCH --signal=B:USR1@120
set -uo pipefail

fail() { printf 'allatt: %s\n' "$*" >&2; exit 2; }

seed=${SLURM_ARRAY_TASK_ID:-}
[ -n "$seed" ] || fail "slurm.sh runs one seed per array task; submit it with: sbatch --array=0-2 notebooks/cloud/slurm.sh"
[ -n "${STORAGE:-}" ] || fail "STORAGE is not set; name a folder on the shared disk: sbatch --export=ALL,STORAGE=FOLDER ..."
cd "${SLURM_SUBMIT_DIR:-.}" && [ -f notebooks/cloud/sync.sh ] || fail "submit from the root of the repository, not from $PWD"
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || fail "there is no $python; run make env, or set PYTHON to the Python that has allatt"

# With a GPU, a driver too old for this torch is an error, rather than days on the CPU.
device=${SLURM_GPUS_ON_NODE:+cuda}
# Results are bitwise the same after an interruption only with the same number of threads.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export ALLATT_HOME=${LOCAL:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}}/allatt-${SLURM_ARRAY_JOB_ID:-0}-$seed
export SYNC_SECONDS=${SYNC_SECONDS:-60}

again=no
bash notebooks/cloud/sync.sh "$STORAGE/seed-$seed" "$python" -m allatt experiment "${EXPERIMENT:-all}" \
    --scale "${SCALE:-auto}" --corpus "${CORPUS:-}" --seed "$seed" --device "${device:-auto}" --rate "${RATE:-0}" &
job=$!
trap 'kill -TERM "$job"' TERM             # preempted or canceled: Slurm itself knows whether the task comes back
trap 'again=yes; kill -USR1 "$job"' USR1  # the time is over: the task goes back into the queue
while kill -0 "$job" 2>/dev/null; do wait "$job"; done  # a signal ends a wait
wait "$job"
status=$?

if [ $again = yes ] && [ $status -eq 143 ]; then
    # Named by array and task: the job id of one of the tasks is that of the whole array.
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$seed" || fail "Slurm does not requeue this task; submit it again to continue"
elif [ $status -eq 0 ]; then
    "$python" -m allatt pack --out "$STORAGE/seed-$seed/records" && rm -r -- "$ALLATT_HOME"
    status=$?
fi
exit $status
