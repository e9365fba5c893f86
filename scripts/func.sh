#!/bin/sh
# func.sh [ARGUMENTS of func start]: Azurite on its usual ports and the Functions host over it,
# with local.settings.json (made from the example when there is none). Ctrl-C ends both.
set -eu
cd "$(dirname "$0")/.."

if ! command -v func >/dev/null; then
    echo "func: Azure Functions Core Tools 4 are not installed, and the host cannot be had without them." >&2
    echo "func: install the package azure-functions-core-tools-4 (npm, apt or brew; see docs/functions.md)," >&2
    echo "func: then repeat. \`make test\` runs the same app on Microsoft's worker library without them." >&2
    exit 2
fi
python=$(sh scripts/find_python313.sh)
if [ -z "$python" ]; then
    echo "func: needs a Python 3.13 on PATH or under pyenv: the app is deployed on it." >&2
    exit 2
fi
make --no-print-directory setup .venv313/.installed PYTHON313="$python"
[ -f local.settings.json ] || cp local.settings.json.example local.settings.json

mkdir -p data/azurite
node tests/azurite/node_modules/azurite/dist/src/azurite.js \
    --silent --disableTelemetry --skipApiVersionCheck --location data/azurite &
azurite=$!
trap 'kill "$azurite" 2>/dev/null || true' EXIT INT TERM
. .venv313/bin/activate
func start "$@"
