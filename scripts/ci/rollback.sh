#!/usr/bin/env bash
# rollback.sh: production gets back PREVIOUS_IMAGE, which the swap has left in the slot, and must be healthy.
# A swap that never took place is not undone: then it only looks whether production is healthy.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP SLOT PREVIOUS_IMAGE APP_URL
tools az curl jq

if [[ $(SLOT='' configured_image) == "$PREVIOUS_IMAGE" ]]; then
    say "production is still set to $PREVIOUS_IMAGE; nothing to swap back"
else
    in_slot=$(configured_image)
    [[ $in_slot == "$PREVIOUS_IMAGE" ]] ||
        refuse "the slot is set to $in_slot, not $PREVIOUS_IMAGE: a swap would not bring it back; see docs/ci_cd.md"
    of_app functionapp deployment slot swap --target-slot production --output none
    in_production=$(SLOT='' configured_image)
    [[ $in_production == "$PREVIOUS_IMAGE" ]] ||
        refuse "production is set to $in_production after swapping back; $PREVIOUS_IMAGE was expected"
    say "production is set to $PREVIOUS_IMAGE again"
fi
SLOT='' REVISION=${PREVIOUS_RELEASE-} exec "$(dirname "$0")/check_app.sh"
