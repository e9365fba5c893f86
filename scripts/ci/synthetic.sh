#!/usr/bin/env bash
# synthetic.sh: pushes one snapshot to an app that runs config/slot, and follows it to its decision and back:
# the decision's lineage must end at that very snapshot, and the gate must be closed by it.
# The key is fetched where the app is known (FUNCTION_APP); on this machine the host asks for none.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=300}"
need APP_URL
tools curl jq

# A subject of its own: what an earlier run has left cannot pass for this one's.
id=synthetic-${GITHUB_RUN_ID:-local}-${GITHUB_RUN_ATTEMPT:-0}-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')
why='' position='' decision=''

# Under its Idempotency-Key it is taken once, however often it is sent.
pushed() {
    why=$(call /v1/snapshots/synthetic --header 'Content-Type: application/json' --header "Idempotency-Key: $id" \
        --data "$row" 2>&1) && position=$(jq --exit-status '.position' <<<"$why" 2>&1)
}

decided() {
    local answer
    answer=$(call "/v1/decisions?domain=live&source=synthetic&subject=$id&verdict=block" 2>&1) || {
        why=$answer
        return 1
    }
    why="no decision on $id"
    decision=$(jq --raw-output --arg scope "subject:$id" \
        '[.items[].record | select(.scope == $scope)][0].id // empty' <<<"$answer" 2>&1) || why=$decision
    [[ $decision =~ ^[0-9a-f]{32}$ ]]
}

closed() {
    local answer
    answer=$(call "/v1/gate/$id" 2>&1) || {
        why=$answer
        return 1
    }
    why=$answer
    jq --exit-status --arg decision "$decision" 'any(.reasons[]; .decision == $decision)' <<<"$answer" >/dev/null 2>&1
}

[[ -z ${FUNCTION_APP-} ]] || { need RESOURCE_GROUP && tools az && fetch_key; }
row=$(jq --null-input --compact-output --arg subject "$id" '{$subject, bid: 2, ask: 1}')
wait_for "$WAIT_S" "$id is taken" pushed
wait_for "$WAIT_S" "a decision on $id" decided
lineage=$(call "/v1/decisions/$decision/lineage") || refuse "no lineage of the decision $decision: ${lineage:-no answer}"
jq --exit-status --arg ref "snapshots.synthetic@$position" --arg subject "$id" '
    .verified.sound and any(.step | recurse(.causes[]); .ref == $ref and (.record.subjects | index($subject)))
' <<<"$lineage" >/dev/null ||
    refuse "the decision $decision does not follow from snapshots.synthetic@$position: $(jq --compact-output \
        '{verified, refs: [.step | recurse(.causes[]) | .ref]}' <<<"$lineage")"
say "decision $decision follows from snapshots.synthetic@$position"
wait_for "$WAIT_S" "the gate of $id is closed by it" closed
