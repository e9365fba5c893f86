#!/usr/bin/env bash
# check_infra.sh: what can be said of infra/ without an Azure account: format, validity and tests of the root and of
# each module, then checkov. Terraform needs the provider for it: the offline one where it lies beside this repository,
# else the real one from Terraform's registry, in CI or with INFRA_NETWORK=1. What cannot be done is skipped, and said;
# with CI=true that fails. Exit code 1: something is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv-ops/bin:$PATH
offline=${TERRAFORM_OFFLINE-../shared/tools/terraform-offline/check.sh}
failed=0

skip() {
    echo "check-infra: SKIPPED $*" >&2
    [[ ${CI-} != true ]] || failed=1
}

# tested DIR COPY, with_registry DIR: what the offline checker does, with the real provider, in a copy that goes.
tested() {
    terraform fmt -check -recursive -diff "$1" || return
    terraform -chdir="$2" init -backend=false -input=false >/dev/null || return
    terraform -chdir="$2" validate || return
    ! compgen -G "$2/tests/*.tftest.hcl" >/dev/null || terraform -chdir="$2" test
}

with_registry() {
    local copy code=0
    copy=$(mktemp -d)
    cp -R "$1"/. "$copy"
    tested "$1" "$copy" || code=$?
    rm -rf "$copy"
    return "$code"
}

# each: the root and every module, offline or not.
each() {
    local dir
    for dir in infra infra/modules/*; do
        echo "check-infra: $dir"
        if [[ $1 == offline ]]; then "$offline" "$dir"; else with_registry "$dir"; fi || {
            echo "check-infra: $dir is not as it must be (above)" >&2
            failed=1
        }
    done
}

if ! command -v terraform >/dev/null; then
    skip "Terraform: terraform is not on PATH; install 1.9 or later"
elif [[ -n $offline && -x $offline ]]; then
    export TFSTUB_CACHE=${TFSTUB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/qts-terraform-offline}
    mkdir -p "$TFSTUB_CACHE"
    each offline
elif [[ ${CI-} == true || ${INFRA_NETWORK-} == 1 ]]; then
    export TF_IN_AUTOMATION=1 TF_PLUGIN_CACHE_DIR=${TF_PLUGIN_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/qts-terraform-plugins}
    mkdir -p "$TF_PLUGIN_CACHE_DIR"
    each registry
else
    skip "Terraform: neither the offline provider nor leave to use the network; INFRA_NETWORK=1 gives it"
fi

if command -v checkov >/dev/null; then
    checkov --config-file infra/.checkov.yaml || failed=1
else
    skip "checkov: not in .venv-ops; make ops-tools installs it"
fi
((failed)) || echo "check-infra: nothing found"
exit "$failed"
