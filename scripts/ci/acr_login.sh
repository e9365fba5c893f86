#!/usr/bin/env bash
# acr_login.sh: docker may push to and pull from ACR_LOGIN_SERVER: as whom az is logged in, or with ACR_USERNAME and
# ACR_PASSWORD where a registry knows no better.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need ACR_LOGIN_SERVER

if [[ -n ${ACR_USERNAME-}${ACR_PASSWORD-} ]]; then
    need ACR_USERNAME ACR_PASSWORD
    # GitHub drops an output that holds a secret, and the image's address is one.
    [[ $ACR_LOGIN_SERVER != *"$ACR_USERNAME"* ]] ||
        refuse "ACR_USERNAME is a part of $ACR_LOGIN_SERVER, so GitHub would drop every output with it; use another user" 2
    tools docker
    docker login "$ACR_LOGIN_SERVER" --username "$ACR_USERNAME" --password-stdin <<<"$ACR_PASSWORD"
else
    tools az docker
    az acr login --name "${ACR_LOGIN_SERVER%%.*}"
fi
