#!/usr/bin/env bash
# renew_images.sh: pins the base images of the Dockerfile, and those of docker-compose.yml, to what their tags name
# now. Needs Docker with buildx, and no engine. What it changed, `git diff` shows; Dependabot does the same weekly.
set -euo pipefail
cd "$(dirname "$0")/.."

# digest_of IMAGE:TAG: of the index, which holds every platform.
digest_of() {
    local found
    found=$(docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}')
    if [[ ! $found =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "renew_images: expected a digest of $1 from docker buildx, got '$found'; nothing of it was changed" >&2
        exit 1
    fi
    echo "$found"
}

pinned=$(grep -hoE '[a-z0-9][a-zA-Z0-9./_-]*:[a-zA-Z0-9._-]+@sha256:[0-9a-f]{64}' Dockerfile docker-compose.yml |
    sort -u)
for image in $pinned; do
    digest=$(digest_of "${image%@*}")
    if [[ ${image#*@} != "$digest" ]]; then
        sed -i "s|$image|${image%@*}@$digest|" Dockerfile docker-compose.yml
        echo "renew_images: ${image%@*} is now $digest"
    fi
done
