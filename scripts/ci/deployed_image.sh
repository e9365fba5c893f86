#!/usr/bin/env bash
# deployed_image.sh: the image that production is set to, as an output; docker may pull it from then on.
# It lies in REGISTRY_LOGIN_SERVER, and by the same digest in ACR_LOGIN_SERVER, which lets this machine in: prod's own
# registry is closed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP REGISTRY_LOGIN_SERVER ACR_LOGIN_SERVER
tools az
unset SLOT

image=$(configured_image)
[[ $image == "$REGISTRY_LOGIN_SERVER"/* ]] ||
    refuse "production is set to '$image'; an image of $REGISTRY_LOGIN_SERVER was expected"
"$(dirname "$0")/acr_login.sh"
output image "$ACR_LOGIN_SERVER/${image#*/}"
say "production is set to $image"
