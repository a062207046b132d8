#!/usr/bin/env bash
# The same tree through holdfast and, where they are installed, restic, rustic and borg: interleaved, medians of three runs.
#
#   benches/peers.sh TREE
#
# HOLDFAST names the program (default: target/release/holdfast of this checkout), HOLDFAST_BENCH_DIR where repositories are made, HOLDFAST_BENCH_RUNS how often all is
# repeated. Restores go into /dev/shm, and so cost no disk. Peers run with their defaults; all encrypt. Needs GNU time.
set -euo pipefail
exec </dev/null

tree=$(realpath "${1:?usage: benches/peers.sh TREE}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
holdfast=${HOLDFAST:-${CARGO_TARGET_DIR:-$root/target}/release/holdfast}
runs=${HOLDFAST_BENCH_RUNS:-3}
work=$(mktemp -d "${HOLDFAST_BENCH_DIR:-${TMPDIR:-/tmp}}/holdfast-peers-XXXXXX")
memory=$(mktemp -d /dev/shm/holdfast-peers-XXXXXX)
trap 'chmod -R u+rwX "$work" "$memory"; rm -rf "$work" "$memory"' EXIT

export XDG_STATE_HOME=$work/state XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config
export RESTIC_PASSWORD=bench RUSTIC_PASSWORD=bench BORG_PASSPHRASE=bench BORG_BASE_DIR=$work/borg-base

peers=()
for peer in holdfast restic rustic borg; do
    program=$peer
    if [[ $peer == holdfast ]]; then program=$holdfast; fi
    if command -v "$program" >/dev/null; then peers+=("$peer"); else echo "skipped: $program is not there" >&2; fi
done

# Runs one step, and appends seconds and peak memory in KiB to the step's file.
timed() {
    local log=$1
    shift
    if ! /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/output" 2>&1; then
        cat "$work/output" >&2
        return 1
    fi
    tail -n 1 "$work/time" >>"$work/$log"
}

warm() { find "$tree" -type f -print0 | xargs -0 cat >/dev/null; }

init() {
    local repository=$work/$1.repository
    case $1 in
    holdfast)
        rm -f "$work/key"
        "$holdfast" -q -r "$repository" --key-file "$work/key" init
        ;;
    restic) restic -q -r "$repository" init ;;
    rustic) rustic --no-progress --log-level error -r "$repository" init >"$work/output" 2>&1 ;;
    borg) borg init -e repokey-blake2 "$repository" >"$work/output" 2>&1 ;;
    esac
}

backup() {
    local log=$1-$2 repository=$work/$1.repository
    case $1 in
    holdfast) timed "$log" "$holdfast" -q -r "$repository" --key-file "$work/key" backup "$tree" ;;
    restic) timed "$log" restic -q -r "$repository" backup "$tree" ;;
    rustic) timed "$log" rustic --no-progress --log-level error -r "$repository" backup "$tree" ;;
    borg) timed "$log" borg create "$repository::$2" "$tree" ;;
    esac
}

restore() {
    local log=$1-restore repository=$work/$1.repository
    mkdir "$memory/target"
    case $1 in
    holdfast) timed "$log" "$holdfast" -q -r "$repository" --key-file "$work/key" restore latest "$memory/target" ;;
    restic) timed "$log" restic -q -r "$repository" restore latest --target "$memory/target" ;;
    rustic) timed "$log" rustic --no-progress --log-level error -r "$repository" restore latest "$memory/target" ;;
    borg) (cd "$memory/target" && timed "$log" borg extract "$repository::first") ;;
    esac
    if [[ $(find "$memory/target" -type f | wc -l) != $(find "$tree" -type f | wc -l) ]]; then
        echo "$1 restored another number of files" >&2
        return 1
    fi
    rm -rf "$memory/target"
}

median() { sort -n | awk '{ value[NR] = $1 } END { printf "%s", value[int((NR + 1) / 2)] }'; }
peak() { awk '{ if ($2 > peak) peak = $2 } END { printf "%.0f", peak / 1024 }'; }

for ((run = 1; run <= runs; run++)); do
    for peer in "${peers[@]}"; do
        rm -rf "$work/$peer.repository" "$work/state" "$work/cache"
        init "$peer"
        warm
        backup "$peer" first
        du -sb "$work/$peer.repository" | cut -f1 >>"$work/$peer-bytes"
        backup "$peer" second
        restore "$peer"
    done
done

echo "| program | first backup s | repository MiB | unchanged backup s | restore s | peak RSS of backup MiB | peak RSS of restore MiB |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for peer in "${peers[@]}"; do
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$peer" "$(median <"$work/$peer-first")" \
        "$(median <"$work/$peer-bytes" | awk '{ printf "%.1f", $1 / 1048576 }')" "$(median <"$work/$peer-second")" \
        "$(median <"$work/$peer-restore")" "$(peak <"$work/$peer-first")" "$(peak <"$work/$peer-restore")"
done
