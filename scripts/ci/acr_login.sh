#!/usr/bin/env bash
# acr_login.sh: docker may push to and pull from ACR_LOGIN_SERVER: as whom az is logged in, or with ACR_USERNAME and
# ACR_PASSWORD where a registry knows no better.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need ACR_LOGIN_SERVER

if [[ -n ${ACR_USERNAME-}${ACR_PASSWORD-} ]]; then
    need ACR_USERNAME ACR_PASSWORD
    tools docker
    docker login "$ACR_LOGIN_SERVER" --username "$ACR_USERNAME" --password-stdin <<<"$ACR_PASSWORD"
else
    tools az docker
    az acr login --name "${ACR_LOGIN_SERVER%%.*}"
fi
