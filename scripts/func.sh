#!/bin/sh
# func.sh [ARGUMENTS of func start]: Azurite on its usual ports and the Functions host over it,
# with local.settings.json (made from the example when there is none). Ctrl-C ends both.
set -eu
cd "$(dirname "$0")/.."

refuse() {
    for line in "$@"; do echo "func: $line" >&2; done
    exit 2
}

command -v func >/dev/null || refuse \
    "Azure Functions Core Tools 4 are not installed, and the host cannot be had without them." \
    "install the package azure-functions-core-tools-4 (npm, apt or brew; see docs/functions.md)," \
    "then repeat. \`make test\` runs the same app on Microsoft's worker library without them."
command -v node >/dev/null || refuse "needs Node.js 20 with npm, for Azurite, the storage emulator."
python=$(sh scripts/find_python313.sh)
[ -n "$python" ] || refuse "needs a Python 3.13 on PATH or under pyenv: the app is deployed on it."

make --no-print-directory setup .venv313/.installed PYTHON313="$python"
[ -f local.settings.json ] || cp local.settings.json.example local.settings.json

answers() { node -e 'require("net").connect(10000 + +process.argv[1], "127.0.0.1")
    .on("connect", () => process.exit(0)).on("error", () => process.exit(1))' "$1"; }
all_answer() { answers 0 && answers 1 && answers 2; }

if all_answer; then
    echo "func: using the Azurite that runs on ports 10000 to 10002"
else
    mkdir -p data/azurite
    node tests/azurite/node_modules/azurite/dist/src/azurite.js \
        --silent --disableTelemetry --skipApiVersionCheck --location data/azurite &
    azurite=$!
    trap 'kill "$azurite" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    until all_answer; do
        kill -0 "$azurite" 2>/dev/null || refuse \
            "Azurite has ended; are the ports 10000 to 10002 free? Its folder is data/azurite."
        sleep 0.2
    done
fi
# shellcheck source=/dev/null
. .venv313/bin/activate
func start "$@"
