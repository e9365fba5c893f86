#!/usr/bin/env bash
# check_app.sh: whether the app, or its slot where SLOT is set, runs REVISION, is healthy, and has every function.
# It waits WAIT_S for each. Healthy is `/health` answering 200 STABLE times in a row.
# Without a REVISION (nobody knows what ran before) it is not asked which one runs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=900}" "${STABLE:=3}"
need RESOURCE_GROUP FUNCTION_APP APP_URL
tools az curl jq

where=$FUNCTION_APP${SLOT:+ ($SLOT)}
why=''

# The old image goes on answering until the new one has started: health alone would be the health of the old one.
runs_revision() {
    why=$(call '/v1/health?shown=true' 2>&1 | jq --raw-output '.releaseId // "no releaseId"' 2>&1) || true
    [[ $why == "$REVISION" ]]
}

healthy() {
    local turn
    for ((turn = 1; turn <= STABLE; turn++)); do
        why=$(call /health 2>&1) || return 1
        ((turn == STABLE)) || sleep "$POLL_S"
    done
}

has_functions() {
    local found
    found=$(az rest --method get --url "$(site_url)/functions?api-version=2024-04-01" \
        --query 'value[].name' --output tsv) || {
        why="az cannot list them"
        return 1
    }
    complete "$(awk -F / '{ print $NF }' <<<"$found")" # app/function, or app/slot/function
}

fetch_key
[[ -z ${REVISION-} ]] || wait_for "$WAIT_S" "$where runs $REVISION" runs_revision
wait_for "$WAIT_S" "$where is healthy" healthy
wait_for "$WAIT_S" "$where has all $(the_functions | wc -l) functions" has_functions
