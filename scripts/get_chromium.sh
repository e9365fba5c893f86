#!/bin/sh
# Sees to it that the tests of the page have a Chromium: the distribution's package, where it can be
# installed without asking anybody. Otherwise it says what to do and goes on: running needs none of it.
set -eu
cd "$(dirname "$0")/.."

if [ -n "$(sh scripts/find_chromium.sh)" ]; then exit 0; fi
if sh scripts/apt_install.sh chromium && [ -n "$(sh scripts/find_chromium.sh)" ]; then exit 0; fi
echo "setup: SKIPPED Chromium: none that runs on PATH or in CHROMIUM" >&2
echo "setup: install it (Debian: apt-get install chromium; or set CHROMIUM=path/to/chrome) and repeat;" >&2
echo "setup: until then the tests of the page are skipped (with CI=true they fail)" >&2
