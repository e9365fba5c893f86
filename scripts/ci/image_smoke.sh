#!/usr/bin/env bash
# image_smoke.sh IMAGE standalone|functions: the image starts, and its own HEALTHCHECK says healthy. `standalone` on a
# root that cannot be written, listening on its own loopback only: beyond it the Observer asks for a token
# (docs/access.md). `functions` as docker-compose.yml runs it, over Azurite.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=300}"
tools docker
[[ -n ${1-} && ${2-} =~ ^(standalone|functions)$ ]] || refuse "usage: image_smoke.sh IMAGE standalone|functions" 2
cd "$(dirname "$0")/../.."

if [[ $2 == functions ]]; then
    export QTS_FUNCTIONS_IMAGE=$1
    compose() { docker compose --project-name qts-smoke --profile functions "$@"; }
    logs() { compose logs --tail 100; }
    gone() { compose down --volumes; }
else
    container=$(docker run --detach --read-only --tmpfs /tmp --volume /app/data --volume /app/logs \
        --env OBSERVER_WEB__HOST=127.0.0.1 "$1")
    logs() { docker logs --tail 100 "$container"; }
    gone() { docker rm --force --volumes "$container" >/dev/null; }
fi
finish() {
    local code=$?
    ((code == 0)) || logs >&2 || true
    gone
    exit "$code"
}
trap finish EXIT

healthy() {
    why=$(docker inspect --format '{{.State.Status}}, {{.State.Health.Status}}' "$container" 2>&1)
    [[ $why != exited* ]] || refuse "the container has ended"
    [[ $why == 'running, healthy' ]]
}
if [[ $2 == functions ]]; then
    compose up --detach --no-build --wait --wait-timeout "$WAIT_S" || refuse "not healthy within $WAIT_S s: $1"
    say "$1 is healthy"
else
    wait_for "$WAIT_S" "$1 is healthy" healthy
fi
