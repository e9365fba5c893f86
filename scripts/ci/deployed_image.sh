#!/usr/bin/env bash
# deployed_image.sh: the image that production is set to, as an output; docker may pull it from then on.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP ACR_LOGIN_SERVER
tools az
unset SLOT

image=$(configured_image)
[[ $image == "$ACR_LOGIN_SERVER"/* ]] ||
    refuse "production is set to '$image'; an image of $ACR_LOGIN_SERVER was expected"
"$(dirname "$0")/acr_login.sh"
output image "$image"
say "production is set to $image"
