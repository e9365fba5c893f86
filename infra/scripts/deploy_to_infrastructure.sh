#!/usr/bin/env bash
# deploy_to_infrastructure.sh: one environment, by Terraform.
#
#   deploy_to_infrastructure.sh --environment dev|staging|prod [--plan | --apply | --drift] [--yes] [--image-tag TAG]
#
# --plan    (default) what would be changed, on standard output; nothing is
# --apply   shows the plan, then does exactly that; prod needs --yes
# --drift   whether the infrastructure is what it was made: exit code 1 when it is not
#
# It is whoever ARM_* says (OIDC: ARM_USE_OIDC=true; a client secret), or az is logged in as. The subscription and the
# directory come from TF_VAR_subscription_id and TF_VAR_tenant_id, else ARM_SUBSCRIPTION_ID and ARM_TENANT_ID, else az.
# Exit codes: 1 a step has failed (or drift was found), 2 it cannot begin.
set -euo pipefail
infra=$(cd "$(dirname "$0")/.." && pwd)
. "$(dirname "$0")/state_account.sh"

say() { echo "deploy_to_infrastructure.sh: $*" >&2; }
refuse() {
    say "$1"
    exit "${2:-1}"
}
step() {
    local what=$1
    shift
    say "$what"
    "$@" || refuse "$what: failed with exit code $?; see above"
}
tf() { terraform -chdir="$infra" "$@"; }

# from_az QUERY: what az knows of the subscription that it is logged in to; nothing without it.
from_az() { ! command -v az >/dev/null || az account show --query "$1" --output tsv 2>/dev/null || true; }

environment='' mode=plan yes=false
while (($#)); do
    case $1 in
    --environment | --image-tag)
        [[ -n ${2-} ]] || refuse "$1 needs a value" 2
        if [[ $1 == --environment ]]; then environment=$2; else export TF_VAR_image_tag=$2; fi
        shift
        ;;
    --plan | --apply | --drift) mode=${1#--} ;;
    --yes) yes=true ;;
    --help)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
        exit
        ;;
    *) refuse "'$1' is not known; --help says what is" 2 ;;
    esac
    shift
done

case $environment in
dev | staging | prod) ;;
*) refuse "--environment is '$environment'; dev, staging or prod was expected" 2 ;;
esac
[[ $mode != apply || $environment != prod || $yes == true ]] ||
    refuse "prod is applied with --environment prod --apply --yes only; look at --plan first" 2
command -v terraform >/dev/null || refuse "needs terraform on PATH; install 1.9 or later" 2

: "${TF_VAR_subscription_id:=${ARM_SUBSCRIPTION_ID:-$(from_az id)}}" "${TF_VAR_tenant_id:=${ARM_TENANT_ID:-$(from_az tenantId)}}"
[[ -n $TF_VAR_subscription_id && -n $TF_VAR_tenant_id ]] ||
    refuse "which subscription? Set ARM_SUBSCRIPTION_ID and ARM_TENANT_ID, or log in with az" 2
[[ $mode != drift ]] || : "${TF_VAR_image_tag:=none}" # an app that is there keeps the image that it has
[[ -n ${TF_VAR_image_tag-} ]] ||
    refuse "which image is the app created with? Set --image-tag (a git sha and -functions); later ones are set by the deployment" 2
export TF_VAR_image_tag TF_VAR_subscription_id TF_VAR_tenant_id TF_IN_AUTOMATION=1 TF_INPUT=0
export ARM_SUBSCRIPTION_ID=${ARM_SUBSCRIPTION_ID:-$TF_VAR_subscription_id} ARM_TENANT_ID=${ARM_TENANT_ID:-$TF_VAR_tenant_id}

# A plan holds what the state holds, connection strings included: it is readable for nobody else, and stays nowhere.
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

account=${TF_STATE_STORAGE_ACCOUNT:-$(state_account "${TF_VAR_project:-qts}" "$TF_VAR_subscription_id")}
step "init: state of $environment in $account" \
    tf init -reconfigure -backend-config="env/$environment.azurerm.tfbackend" \
    -backend-config="storage_account_name=$account" >&2
step "validate" tf validate >&2

options=(-var-file="env/$environment.tfvars" -out="$work/plan")
[[ $mode == apply ]] || options+=(-lock=false) # who only looks may not write to the state, not even a lock
code=0
say "plan"
tf plan -detailed-exitcode "${options[@]}" >&2 || code=$?
((code == 0 || code == 2)) || refuse "plan: failed with exit code $code; see above"
step "the plan" tf show -no-color "$work/plan"

case $mode in
plan) say "nothing was changed; --apply does it" ;;
drift)
    ((code == 0)) || refuse "$environment is not what Terraform made it: the plan above would bring it back"
    say "$environment is what Terraform made it"
    ;;
apply)
    if ((code == 0)); then
        say "nothing to change"
    else
        step "apply" tf apply "$work/plan" >&2
    fi
    ;;
esac
