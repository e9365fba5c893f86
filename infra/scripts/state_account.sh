# shellcheck shell=bash
# state_account.sh: the name of the account with Terraform's state. Sourced by bootstrap.sh and by
# scripts/deploy_to_infrastructure.sh, so that nobody has to write it down.

# state_account PROJECT SUBSCRIPTION
state_account() {
    local digest
    digest=$(printf '%s' "$2" | sha256sum)
    echo "${1}tfstate${digest:0:8}"
}
