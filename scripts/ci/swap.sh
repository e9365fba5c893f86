#!/usr/bin/env bash
# swap.sh: exchanges staging and production, if production is still what it was when the gate was asked
# (PREVIOUS_IMAGE), and the slot still what was checked (IMAGE's digest).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP SLOT IMAGE PREVIOUS_IMAGE
tools az

in_slot=$(configured_image)
[[ ${in_slot#*@} == "${IMAGE#*@}" ]] || refuse "$SLOT is set to $in_slot; the checked ${IMAGE#*@} was expected"
in_production=$(SLOT='' configured_image)
[[ $in_production == "$PREVIOUS_IMAGE" ]] ||
    refuse "production is set to $in_production; $PREVIOUS_IMAGE was expected: somebody has deployed meanwhile"
of_app functionapp deployment slot swap --target-slot production --output none
in_production=$(SLOT='' configured_image)
[[ $in_production == "$in_slot" ]] || refuse "production is set to $in_production after the swap; $in_slot was expected"
say "production is set to $in_production"
