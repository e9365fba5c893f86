#!/usr/bin/env bash
# outputs.sh: what Terraform's state says of an environment, as outputs of the job. infra/ is initialised already.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
tools terraform jq
cd "$(dirname "$0")/../.."

found=$(terraform -chdir=infra output -json)
for wanted in resource_group_name registry_name registry_login_server function_app_name slot_name production_url slot_url; do
    value=$(jq --raw-output --arg name "$wanted" '.[$name].value // empty' <<<"$found")
    [[ -n $value ]] || refuse "the state has no output $wanted; was this environment ever applied (docs/ci_cd.md)?"
    output "$wanted" "$value"
done
