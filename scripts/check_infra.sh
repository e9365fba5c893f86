#!/usr/bin/env bash
# check_infra.sh: what can be said of infra/ without an Azure account: format, validity and tests of the root and of
# each module, then checkov. Terraform needs the provider for it: the offline one where it lies beside this repository,
# else the real one from Terraform's registry, on GitHub or with INFRA_NETWORK=1. What cannot be done is skipped, and said;
# on GitHub that fails. Exit code 1: something is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv-ops/bin:$PATH
offline=${TERRAFORM_OFFLINE-../shared/tools/terraform-offline/check.sh}
failed=0

skip() {
    echo "check-infra: SKIPPED $*" >&2
    [[ ${GITHUB_ACTIONS-} != true ]] || failed=1
}

# tested DIR COPY OPTION…, with_registry DIR: what the offline checker does, with the real provider, in a copy that goes.
# Into the cache of plugins one init may write at a time: the root does, and modules take from it what is there.
tested() {
    terraform fmt -check -recursive -diff "$1" || return
    terraform -chdir="$2" init -backend=false -input=false "${@:3}" >/dev/null || return
    terraform -chdir="$2" validate || return
    ! compgen -G "$2/tests/*.tftest.hcl" >/dev/null || terraform -chdir="$2" test
}

with_registry() {
    local copy code=0
    copy=$(mktemp -d)
    cp -R "$1"/. "$copy"
    if [[ $1 == infra ]]; then
        TF_PLUGIN_CACHE_DIR=$plugins tested "$1" "$copy" || code=$?
    else
        tested "$1" "$copy" -plugin-dir="$plugins" || code=$?
    fi
    rm -rf "$copy"
    return "$code"
}

# one HOW DIR: the root, or a module; its whole story at once, for several are told side by side.
one() {
    local said code=0
    said=$(if [[ $1 == offline ]]; then "$offline" "$2"; else with_registry "$2"; fi 2>&1) || code=$?
    printf 'check-infra: %s\n%s\n' "$2" "$said"
    ((code == 0)) || echo "check-infra: $2 is not as it must be (above)" >&2
    return "$code"
}

# each HOW: the root first, which fetches the provider; then every module.
each() {
    local dir running=()
    one "$1" infra || failed=1
    for dir in infra/modules/*; do
        one "$1" "$dir" &
        running+=($!)
        if ((${#running[@]} == 2)); then
            wait "${running[0]}" || failed=1
            running=("${running[@]:1}")
        fi
    done
    for dir in "${running[@]}"; do wait "$dir" || failed=1; done
}

if ! command -v terraform >/dev/null; then
    skip "Terraform: terraform is not on PATH; install 1.9 or later"
elif [[ -n $offline && -x $offline ]]; then
    export TFSTUB_CACHE=${TFSTUB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/qts-terraform-offline}
    mkdir -p "$TFSTUB_CACHE"
    each offline
elif [[ ${GITHUB_ACTIONS-} == true || ${INFRA_NETWORK-} == 1 ]]; then
    plugins=${TF_PLUGIN_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/qts-terraform-plugins}
    export TF_IN_AUTOMATION=1
    unset TF_PLUGIN_CACHE_DIR
    mkdir -p "$plugins"
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
