#!/bin/sh
# apt_install.sh PACKAGE…: installs packages of the distribution where that can be done without asking anybody.
# Otherwise it says why, on standard error, and ends with 1: what to do about it the caller knows.
set -eu

if ! command -v apt-get >/dev/null; then
    echo "no apt-get to install $* with" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "neither root nor a sudo that asks for no password, to install $* with" >&2
    exit 1
fi

echo "setup: installing from the distribution: $*"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # no word at all when root
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "apt-get could not install $* (above)" >&2
    exit 1
fi
