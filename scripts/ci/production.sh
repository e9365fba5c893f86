#!/usr/bin/env bash
# production.sh: what production is set to and runs now, as outputs: what a rollback must bring back.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need RESOURCE_GROUP FUNCTION_APP APP_URL
tools az curl jq
unset SLOT

image=$(configured_image)
[[ -n $image ]] || refuse "production of $FUNCTION_APP is set to no image; Terraform gives it its first one"
release=''
# What Terraform has just made, with a tag, has not run yet: it has no key, and cannot say what it is.
if [[ $image == *@sha256:* ]] || (fetch_key) >/dev/null 2>&1; then
    fetch_key
    release=$(call '/v1/health?shown=true' 2>/dev/null | jq --raw-output '.releaseId // empty' 2>/dev/null) || release=''
fi
output previous_image "$image"
output previous_release "$release"
say "production is set to $image and runs ${release:-nothing that says its release}"
