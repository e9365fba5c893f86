#!/bin/sh
# Sees to it that what is not in .venv-ops is there for `make lint-ops` and the tests of images and scripts: the
# distribution's shellcheck, shfmt, debootstrap and jq, where they can be installed without asking anybody.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin

missing=
for tool in shellcheck shfmt debootstrap jq; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086  # a word for each
sh scripts/apt_install.sh $missing && exit 0
echo "setup: SKIPPED$missing: what needs them is skipped (with CI=true it fails)" >&2
