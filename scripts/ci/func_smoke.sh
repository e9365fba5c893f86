#!/usr/bin/env bash
# func_smoke.sh: the real Functions host (`func start`) on Azurite, with the slot's configuration: /health answers,
# every function is there, and one message goes through all stages to a decision.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${PORT:=7071}" "${WAIT_S:=300}"
cd "$(dirname "$0")/../.."
PATH=$PWD/scripts/core_tools/node_modules/.bin:$PATH
tools func node curl jq
export APP_URL=http://127.0.0.1:$PORT WAIT_S

log=$(mktemp)
set -m # a process group of its own: the host and Azurite end with it
OBSERVER_CONFIG_DIR=config/slot sh scripts/func.sh --port "$PORT" >"$log" 2>&1 &
host=$!
set +m
finish() {
    local code=$?
    kill -TERM -- "-$host" 2>/dev/null || true
    wait "$host" 2>/dev/null || true
    kill -KILL -- "-$host" 2>/dev/null || true # what has not heard it
    ((code == 0)) || { echo "$name: the last the host has said:" && tail -n 100 "$log"; } >&2
    rm -f "$log"
    exit "$code"
}
trap finish EXIT
why=''

answers() {
    kill -0 "$host" 2>/dev/null || refuse "the host has ended before it answered"
    why=$(call /health 2>&1)
}
has_functions() {
    local found
    found=$(call /admin/functions | jq --raw-output '.[].name') || return 1
    complete "$found"
}
wait_for "$WAIT_S" "/health answers" answers
wait_for "$WAIT_S" "all $(the_functions | wc -l) functions are there" has_functions
scripts/ci/synthetic.sh
