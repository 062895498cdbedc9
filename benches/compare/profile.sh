#!/usr/bin/env bash
# Where Holdfast spends its time on one scenario: instructions by callgrind, or samples by perf.
#
#   benches/compare/profile.sh callgrind|perf [options of `holdfast load`]
#   benches/compare/profile.sh callgrind --scenario publish --sessions 20 --rate 100
#
# Needs valgrind or perf, and target/dist/holdfast as scripts/release builds it, with its symbols beside it (or
# another one in HOLDFAST). Counts 4 s of the steady state; prints the units counted at the server before and
# after, and the profile.
set -euo pipefail
cd "$(dirname "$0")/../.."

how=${1:?callgrind or perf}
shift
holdfast=${HOLDFAST:-target/dist/holdfast}
out=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$out"' EXIT

wait_for() {
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing listens on port $1" >&2
    exit 1
}
asked() { curl -s http://127.0.0.1:27002/summary | grep -o '"asked":{[^}]*}'; }

"$holdfast" simulate --listen 127.0.0.1:27001 --control 127.0.0.1:27002 --set media=fake \
    --set pings.interval_ms=60000 --log-level error >/dev/null &
pids+=($!)
wait_for 27002
under=()
[ "$how" = callgrind ] && under=(valgrind --quiet --tool=callgrind --instr-atstart=no "--callgrind-out-file=$out/profile")
TOKIO_WORKER_THREADS=1 "${under[@]}" "$holdfast" run --listen ws://127.0.0.1:27000 --upstream ws://127.0.0.1:27001 \
    --media direct --restore-rate 0 --log-level error --admin off &
proxy=$!
pids+=("$proxy")
wait_for 27000
"$holdfast" load ws://127.0.0.1:27000 --json --ramp 500 --hold 15 --connect-timeout-ms 60000 "$@" >/dev/null 2>&1 &
pids+=($!)
sleep 4
asked
if [ "$how" = callgrind ]; then
    callgrind_control -i on "$proxy" >/dev/null
    sleep 4
    callgrind_control -i off "$proxy" >/dev/null
    asked
    kill "$proxy"
    wait "$proxy" || true
    callgrind_annotate --inclusive=yes "$out/profile" | grep -v '^--' | head -60
else
    perf record -q -F 7999 -g -p "$proxy" -o "$out/profile" -- sleep 4
    asked
    perf report -i "$out/profile" --no-children -g none --sort sym --stdio 2>/dev/null | grep '%' | head -40
fi
