#!/usr/bin/env bash
# same_image.sh LOCAL PUSHED: what was pushed, by its digest, is what was started and scanned here: the same layers,
# run the same way. An image is built again to be pushed, since Docker keeps no attestations of a local one.
# PUSHED is then the output that TARGET names.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need TARGET
tools docker
[[ $# == 2 ]] || refuse "usage: same_image.sh LOCAL PUSHED" 2
[[ $2 =~ @sha256:[0-9a-f]{64}$ ]] || refuse "'$2' has no digest; registry/name@sha256:… was expected"

# of IMAGE: all that decides what runs.
of() {
    docker image inspect --format \
        '{{json .RootFS.Layers}} {{json .Config.Env}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{json .Config.User}}' "$1"
}

docker pull --quiet "$2" >/dev/null
local_image=$(of "$1")
pushed=$(of "$2")
[[ -n $pushed && $pushed == "$local_image" ]] ||
    refuse "what was pushed is not what was scanned: $pushed; $local_image was expected. Run the job again"
output "$TARGET" "$2"
