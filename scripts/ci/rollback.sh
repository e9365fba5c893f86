#!/usr/bin/env bash
# rollback.sh: production gets back PREVIOUS_IMAGE, which the swap has left in the slot, and must be healthy.
# A swap that never took place is not undone, nor what somebody else has deployed since: production must still be set
# to what this run has swapped in (IMAGE's digest).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=900}"
need RESOURCE_GROUP FUNCTION_APP SLOT IMAGE PREVIOUS_IMAGE APP_URL
tools az curl jq

in_production() { SLOT='' configured_image; }

# A job that was cancelled has ended its az, and not the swap that Azure is about.
settled() {
    why=$(SLOT='' of_app functionapp show --query inProgressOperationId --output tsv) || return 1
    [[ -z $why || $why == None ]]
}

wait_for "$WAIT_S" "nothing else changes $FUNCTION_APP" settled
now=$(in_production)
if [[ $now == "$PREVIOUS_IMAGE" ]]; then
    say "production is still set to $PREVIOUS_IMAGE; nothing to swap back"
else
    [[ ${now#*@} == "${IMAGE#*@}" ]] ||
        refuse "production is set to $now, neither what this run has swapped in nor what was before it: somebody has deployed meanwhile"
    in_slot=$(configured_image)
    [[ $in_slot == "$PREVIOUS_IMAGE" ]] ||
        refuse "the slot is set to $in_slot, not $PREVIOUS_IMAGE: a swap would not bring it back; see docs/ci_cd.md"
    of_app functionapp deployment slot swap --target-slot production --output none
    now=$(in_production)
    [[ $now == "$PREVIOUS_IMAGE" ]] ||
        refuse "production is set to $now after swapping back; $PREVIOUS_IMAGE was expected"
fi
SLOT='' REVISION=${PREVIOUS_RELEASE-} "$(dirname "$0")/check_app.sh"
now=$(in_production)
[[ $now == "$PREVIOUS_IMAGE" ]] || refuse "production is set to $now by now; $PREVIOUS_IMAGE was expected"
say "production is set to $PREVIOUS_IMAGE"
