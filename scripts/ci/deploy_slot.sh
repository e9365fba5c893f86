#!/usr/bin/env bash
# deploy_slot.sh: gives the staging slot the image of a digest, from the environment's own registry.
# IMAGE is registry/name@sha256:…, as `build` has pushed it; it is imported where it lies in another registry. az finds
# that one by its name in its own subscription; in another one ACR_ID, the registry's resource id, says which it is.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP SLOT REGISTRY_NAME REGISTRY_LOGIN_SERVER IMAGE REVISION
tools az

[[ $IMAGE =~ ^[^/@]+/[^@]+@sha256:[0-9a-f]{64}$ ]] ||
    refuse "IMAGE is '$IMAGE'; registry/name@sha256:<64 hex digits> was expected: a tag may move" 2

path=${IMAGE#*/}
wanted=$REGISTRY_LOGIN_SERVER/$path
if [[ $IMAGE != "$wanted" ]]; then
    say "importing $IMAGE into $REGISTRY_NAME"
    source=(--source "$IMAGE")
    [[ -z ${ACR_ID-} ]] || source=(--registry "$ACR_ID" --source "$path")
    az acr import --name "$REGISTRY_NAME" "${source[@]}" --image "${path%@*}:$REVISION-functions" --force --output none
fi

say "setting $SLOT of $FUNCTION_APP to $wanted"
of_app functionapp config container set --image "$wanted" --output none
set_to=$(configured_image)
[[ $set_to == "$wanted" ]] || refuse "$SLOT is set to '$set_to'; $wanted was expected"
