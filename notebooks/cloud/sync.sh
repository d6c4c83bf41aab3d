#!/usr/bin/env bash
# Runs a command on a machine that may be taken away, and keeps its runs in a folder that stays:
#
#     ALLATT_HOME=FOLDER_ON_THIS_DISK bash notebooks/cloud/sync.sh STORAGE COMMAND...
#
# STORAGE is a folder on a mounted bucket, or on the shared disk of a cluster. Its runs are copied here first; then the command
# trains on this machine's own disk. Every SYNC_SECONDS (300), and at the end, finished runs and checkpoints are copied.
#
# Why not train in STORAGE itself: locks do not work on a mounted bucket, and not on every shared disk; a file cannot be
# appended to in a bucket (the log); and a file that a killed program had begun to write appears there as if it were whole.
# So a file is copied under another name and then renamed, and result.json, which marks a run as finished, comes last.
# The machine may go at any moment: what is missing then is trained again.
#
# One job at a time per STORAGE. SIGTERM is passed on after a while (see `stop`), and SIGUSR1 at once, as SIGTERM. The status is
# the command's (143 after SIGTERM).
set -uo pipefail

say() { printf 'allatt: %s\n' "$*" >&2; }
fail() { say "$@"; exit 2; }

[ $# -ge 2 ] || fail "sync.sh needs a folder that stays, and a command: sync.sh STORAGE COMMAND..."
[ -n "${ALLATT_HOME:-}" ] || fail "ALLATT_HOME is not set; name a folder on this machine's own disk"
storage=$1 home=$ALLATT_HOME every=${SYNC_SECONDS:-300}
shift
[[ $every =~ ^[1-9][0-9]*$ ]] || fail "SYNC_SECONDS is '$every'; it must be a whole number of seconds"
mkdir -p "$home/runs" || fail "cannot write $home; set ALLATT_HOME to a folder on this machine's own disk"
if ! { mkdir -p "$storage/runs" && : >"$storage/runs/.try" && rm "$storage/runs/.try"; } 2>/dev/null; then
    fail "cannot write to $storage; is the bucket named, mounted and yours, or the shared disk there?"
fi

copy() {  # copy FILE FOLDER: it appears there whole or not at all
    local part="$2/.${1##*/}.part"
    cp -- "$1" "$part" 2>/dev/null && mv -f -- "$part" "$2/${1##*/}" 2>/dev/null && return
    [ ! -e "$1" ]  # meanwhile removed, as old checkpoints are: nothing is lost
}

save_run() {  # save_run FOLDER: copies what STORAGE does not have yet of a run
    local run=$1 kept="$storage/runs/${1##*/}" held="$home/.held" finished=no file name
    if [ -e "$kept/result.json" ]; then  # computed from its model later, such as the heads that each criterion would keep
        for file in "$run"/*.json; do
            [ -e "$kept/${file##*/}" ] || copy "$file" "$kept" || return
        done
        return
    fi
    [ -e "$run/result.json" ] && finished=yes
    # The checkpoints that are there now, under second names: the program may remove old ones before they are copied.
    rm -rf -- "$held"
    mkdir -p "$kept" "$held" || return
    ln -- "$run"/checkpoint-* "$held" 2>/dev/null || cp -- "$run"/checkpoint-* "$held" 2>/dev/null
    for file in "$run"/*.json* "$run"/*.safetensors "$held"/*; do  # checkpoints need the config and the provenance beside them
        name=${file##*/}
        case $file in
            "$run/result.json" | "$run"/checkpoint-*) continue ;;
            "$held"/*) if [ $finished = yes ] || [ -e "$kept/$name" ]; then continue; fi ;;
        esac
        copy "$file" "$kept" || return
    done
    if [ $finished = yes ]; then copy "$run/result.json" "$kept" || return; fi
    for file in "$kept"/checkpoint-*; do  # newer ones are there by now, if there were any
        if [ $finished = yes ] || { [ ! -e "$held/${file##*/}" ] && [ -n "$(ls "$held")" ]; }; then rm -f -- "$file"; fi
    done
    rm -rf -- "$kept"/.*.part "$held"
}

save() {  # all runs; false if one could not be copied
    local run all=0
    for run in "$home"/runs/*/; do
        [ -e "${run}config.json" ] || continue  # it has not begun
        save_run "${run%/}" || all=1
    done
    return $all
}

last_step() {  # last_step FOLDER: that of its newest checkpoint; 0 if it has none
    local file step last=0
    for file in "$1"/checkpoint-*; do
        step=${file##*/checkpoint-}
        step=${step%%-*}
        if [[ $step =~ ^[0-9]+$ ]] && [ "$step" -gt "$last" ]; then last=$step; fi
    done
    echo "$last"
}

restore() {  # runs of STORAGE that are missing here, or less far: another machine may have continued them
    local kept run draft count=0
    for kept in "$storage"/runs/*/; do
        [ -e "${kept}config.json" ] || continue
        run=$home/runs/$(basename "$kept")
        if [ -e "$run/result.json" ] || { [ -e "$run" ] && [ ! -e "${kept}result.json" ] &&
            [ "$(last_step "$run")" -ge "$(last_step "$kept")" ]; }; then continue; fi
        draft=$home/.restored
        rm -rf -- "$draft" "$run"
        { mkdir "$draft" && cp -- "$kept"* "$draft" && mv -- "$draft" "$run"; } || fail "cannot copy $kept to $home"
        count=$((count + 1))
    done
    say "$count runs restored from $storage"
}

# Stopping a machine signals all its processes, and a second signal would end the command before it has saved. So the
# signal is passed on only after ten seconds, in which the command ends if it was signaled itself.
# shellcheck disable=SC2329  # the trap calls it
stop() {
    trap '' TERM INT HUP USR1
    local second
    for ((second = 0; second < 10; second++)); do
        kill -0 "$command" 2>/dev/null || return
        sleep 1
    done
    kill -TERM "$command" 2>/dev/null
}

trap 'exit 143' USR1  # nothing has begun
restore
"$@" &
command=$!
trap stop TERM INT HUP
trap 'kill -TERM "$command" 2>/dev/null' USR1  # its sender has signaled no other process
next=$((SECONDS + every))
while kill -0 "$command" 2>/dev/null; do
    sleep 1
    if [ "$SECONDS" -ge "$next" ]; then
        save || say "some runs could not be copied to $storage; trying again in $every seconds"
        next=$((SECONDS + every))
    fi
done
wait "$command"
status=$?
trap '' TERM INT HUP USR1
if ! save; then
    say "some runs could not be copied to $storage; they are in $home/runs: run the same again"
    [ $status -ne 0 ] || status=2
fi
exit $status
