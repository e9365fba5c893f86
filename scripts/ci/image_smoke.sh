#!/usr/bin/env bash
# image_smoke.sh IMAGE: the standalone image starts on a root that cannot be written, and its own HEALTHCHECK says
# healthy. It listens on its own loopback only: beyond it the Observer asks for a token (docs/access.md).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=180}"
tools docker
[[ -n ${1-} ]] || refuse "usage: image_smoke.sh IMAGE" 2

container=$(docker run --detach --read-only --tmpfs /tmp --volume /app/data --volume /app/logs \
    --env OBSERVER_WEB__HOST=127.0.0.1 "$1")
finish() {
    local code=$?
    ((code == 0)) || docker logs --tail 100 "$container" >&2 || true
    docker rm --force --volumes "$container" >/dev/null
    exit "$code"
}
trap finish EXIT

healthy() {
    why=$(docker inspect --format '{{.State.Status}}, {{.State.Health.Status}}' "$container" 2>&1)
    [[ $why != exited* ]] || refuse "the container has ended"
    [[ $why == 'running, healthy' ]]
}
wait_for "$WAIT_S" "$1 is healthy" healthy
