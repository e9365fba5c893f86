#!/bin/sh
# Sees to it that the tests of the page have a Chromium: the distribution's package, where it can be
# installed without asking anybody. Otherwise it says what to do and goes on: running needs none of it.
set -eu
cd "$(dirname "$0")/.."

skipped() {
    echo "setup: SKIPPED Chromium: $1" >&2
    echo "setup: install it (Debian: apt-get install chromium; or set CHROMIUM=path/to/chrome) and repeat;" >&2
    echo "setup: until then the tests of the page are skipped (with CI=true they fail)" >&2
    exit 0
}

if [ -n "$(sh scripts/find_chromium.sh)" ]; then exit 0; fi
command -v apt-get >/dev/null || skipped "none on PATH, and no apt-get to install it with"
if [ "$(id -u)" -eq 0 ]; then as_root=
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else skipped "none on PATH, and neither root nor a sudo that asks for no password"; fi

echo "setup: installing the package chromium"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # no word at all when root
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends chromium; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    skipped "the package could not be installed (above)"
fi
if [ -z "$(sh scripts/find_chromium.sh)" ]; then skipped "the package was installed but does not run"; fi
