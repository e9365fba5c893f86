#!/usr/bin/env bash
# lint_images.sh: the Dockerfile and docker-compose.yml. A tool that is missing is named and its part skipped; with
# CI=true that fails. Exit code 1: there are findings.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv-ops/bin:$PWD/scripts/dclint/node_modules/.bin:$PATH
failed=0

# run TOOL ARGUMENTS…: what it has found stands above.
run() {
    if ! command -v "$1" >/dev/null; then
        echo "lint-images: SKIPPED $1: \`make ops-tools\` installs it" >&2
        [[ ${CI-} != true ]] || failed=1
    elif ! "$@"; then
        echo "lint-images: $1 has findings (above)" >&2
        failed=1
    fi
}

run hadolint --failure-threshold style Dockerfile
run check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
# `image` names what `build` makes, and what was merged in stands first: two rules are off in dclint.json.
run dclint --max-warnings 0 --config scripts/dclint/dclint.json docker-compose.yml
exit "$failed"
