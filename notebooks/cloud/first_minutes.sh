#!/usr/bin/env bash
# The first minutes on a GPU that is paid for by the minute; from the root of the repository:
#
#     bash notebooks/cloud/first_minutes.sh OUT MINUTES [options of `python -m allatt experiment`]
#     bash notebooks/cloud/first_minutes.sh first 12 all --scale gpu --seed 0 --seeds 2
#
# Is it right? tests/test_gpu.py. How fast is it? The true training step, and the kernels by themselves. Then the experiment in
# the time that is left, the most telling runs first, by two processes that share the list: one computes while the other waits
# for its processor. OUT gets what each stage printed, bench.json, and the records of all finished runs.
set -uo pipefail

fail() { printf 'allatt: %s\n' "$*" >&2; exit 2; }
say() { printf 'allatt: %s\n' "$*"; }

[ $# -ge 2 ] || fail "first_minutes.sh needs a folder and a number of minutes: first_minutes.sh OUT MINUTES [all --scale gpu ...]"
out=$1 minutes=$2
shift 2
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "MINUTES is '$minutes'; it must be a whole number"
[ $# -gt 0 ] || set -- all --scale gpu
[ -f notebooks/cloud/first_minutes.sh ] || fail "start this in the root of the repository, not in $PWD"
python=${PYTHON:-python}
command -v "$python" >/dev/null || fail "there is no $python; set PYTHON to the Python that has allatt"
mkdir -p "$out" || fail "cannot write $out; name another folder"
end=$((SECONDS + 60 * minutes))

stage() {  # stage NAME SECONDS COMMAND...: what it prints goes to OUT/NAME.txt; it gets SECONDS, or less if less is left
    local name=$1 most=$2 left=$((end - SECONDS)) begun=$SECONDS status
    shift 2
    timeout "$((left < most ? (left > 1 ? left : 1) : most))" "$@" >"$out/$name.txt" 2>&1
    status=$?
    say "$name: status $status after $((SECONDS - begun)) s: $(tail -n 1 "$out/$name.txt")"
    return $status
}

stage gpu 20 nvidia-smi
compile=auto
# A wrong kernel would spoil every result, and compiled ones are the likeliest to be wrong: after a failure, none are used.
stage checks 150 "$python" -m pytest -q -p no:cacheprovider tests/test_gpu.py || compile=off
stage candidate 100 "$python" -m pytest -q -p no:cacheprovider tests/benchmarks/band_triton_checks.py  # not used yet
stage bench 180 "$python" -m allatt bench --sections "step kernels" --rounds 6 --out "$out/bench.json"

left=$(((end - SECONDS - 30) / 60)) halves=() trained=no  # half a minute is for the records
if [ $left -ge 1 ]; then
    for half in first second; do
        stage "experiment-$half" $((60 * left + 60)) "$python" -m allatt experiment "$@" --minutes "$left" --compile "$compile" &
        halves+=($!)
        sleep "${PAUSE:-5}"  # the first one has its lock by then
    done
    for half in "${halves[@]}"; do
        wait "$half" && trained=yes
    done
else
    say "no time is left for the experiment; give more than $minutes minutes"
fi
end=$((SECONDS + 60))  # what is finished is worth another minute
stage pack 60 "$python" -m allatt pack --out "$out/records" || fail "no run could be packed; see $out/pack.txt and $out/experiment-first.txt"
[ $trained = yes ] || fail "the experiment did not end well; see $out/experiment-first.txt ($out has what was finished before)"
say "all of it is in $out"
