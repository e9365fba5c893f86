#!/usr/bin/env bash
# bootstrap.sh: what must be there before Terraform can run, once for a subscription: the account for its state, who
# GitHub is, and that both GitHub and whoever runs this may enter that state. It can be run again at any time, and
# changes nothing that is as it should be.
#
#   bootstrap.sh --subscription ID --subject-prefix repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID
#       [--project qts] [--location koreacentral] [--environments "dev staging prod"] [--dry-run]
#
# The subject prefix is what GitHub's token says of the repository; docs/ci_cd.md says how to ask for it, since
# repositories made or renamed since July 2026 have their ids in it.
# --dry-run prints what would be done and asks nobody. Needs az, logged in as an Owner of the subscription.
set -euo pipefail
. "$(dirname "$0")/scripts/state_account.sh"

say() { echo "bootstrap.sh: $*" >&2; }
refuse() {
    say "$1"
    exit "${2:-1}"
}

subscription='' prefix='' project=qts location=koreacentral environments='dev staging prod' dry=false
while (($#)); do
    case $1 in
    --subscription | --subject-prefix | --project | --location | --environments)
        [[ -n ${2-} ]] || refuse "$1 needs a value" 2
        case $1 in
        --subscription) subscription=$2 ;;
        --subject-prefix) prefix=$2 ;;
        --project) project=$2 ;;
        --location) location=$2 ;;
        --environments) environments=$2 ;;
        esac
        shift
        ;;
    --dry-run) dry=true ;;
    --help)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
        exit
        ;;
    *) refuse "'$1' is not known; --help says what is" 2 ;;
    esac
    shift
done
[[ $subscription =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]] ||
    refuse "--subscription is '$subscription'; a lower-case UUID was expected" 2
[[ $prefix =~ ^repo:[^/:]+/[^/:]+$ ]] ||
    refuse "--subject-prefix is '$prefix'; repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID, or repo:OWNER/REPOSITORY, was expected" 2
[[ $project =~ ^[a-z][a-z0-9]{1,7}$ ]] || refuse "--project is '$project'; 2 to 8 lower-case letters and digits were expected" 2
for environment in $environments; do
    [[ $environment =~ ^(dev|staging|prod)$ ]] || refuse "--environments has '$environment'; dev, staging, prod were expected" 2
done
[[ $dry == true ]] || command -v az >/dev/null || refuse "needs az on PATH; install the Azure CLI" 2

group=$project-tfstate
account=$(state_account "$project" "$subscription")
scope=/subscriptions/$subscription
account_id=$scope/resourceGroups/$group/providers/Microsoft.Storage/storageAccounts/$account

# Resource providers of what infra/ makes: Terraform registers none (providers.tf).
namespaces=(ApiManagement Authorization Cdn ContainerRegistry Insights KeyVault Logic ManagedIdentity Network
    OperationalInsights Storage Web)

# The only roles that Terraform may give: name and id. A deployer cannot make itself, or anybody, an owner.
declare -A grantable=(
    ["AcrPull"]=7f951dda-4ed3-4680-a7ca-43fe172d538d
    ["Key Vault Secrets User"]=4633458b-17de-408a-b874-0445c86b69e6
    ["Monitoring Metrics Publisher"]=3913510d-42f4-4e42-8a64-420c390055eb
    ["Storage Blob Data Contributor"]=ba92f5b4-2d11-453d-a403-e96b0029c9fe
    ["Storage Blob Data Owner"]=b7e6dc6d-f1e8-4753-8033-0f276bb0955b
    ["Storage Queue Data Contributor"]=974c5e8b-45b9-4653-ba55-5f855dd0fb88
    ["Storage Table Data Contributor"]=0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3
)

# azure ARGUMENTS…: changes something, or says so.
azure() {
    if [[ $dry == true ]]; then
        printf '+ az'
        printf ' %q' "$@" --subscription "$subscription"
        echo
    else
        az "$@" --subscription "$subscription" --output none || refuse "az ${*:1:3} failed; see above. Run this again when it is mended: what is done stays done"
    fi
}

# known ARGUMENTS…: what az says; nothing where there is nothing, or with --dry-run.
known() { [[ $dry == true ]] || az "$@" --subscription "$subscription" --output tsv 2>/dev/null || true; }

state_account_is_there() {
    azure group create --name "$group" --location "$location" --tags "project=$project" managed_by=bootstrap
    azure storage account create --name "$account" --resource-group "$group" --location "$location" \
        --kind StorageV2 --sku Standard_GRS --allow-shared-key-access false --allow-blob-public-access false \
        --allow-cross-tenant-replication false --min-tls-version TLS1_2 --https-only true --require-infrastructure-encryption true
    azure storage account blob-service-properties update --account-name "$account" --resource-group "$group" \
        --enable-versioning true --enable-delete-retention true --delete-retention-days 30 \
        --enable-container-delete-retention true --container-delete-retention-days 30
    for environment in $environments; do
        [[ $(known storage container-rm exists --storage-account "$account" --resource-group "$group" --name "$environment" --query exists) == true ]] ||
            azure storage container-rm create --storage-account "$account" --resource-group "$group" --name "$environment" --public-access off
    done
}

# role_is_there NAME DESCRIPTION ACTION…: a role of this subscription alone.
role_is_there() {
    local name=$1 description=$2 actions definition verb=create
    shift 2
    actions=$(printf '"%s",' "$@")
    definition=$(printf '{"Name":"%s","Description":"%s","Actions":[%s],"AssignableScopes":["%s"]}' \
        "$name" "$description" "${actions%,}" "$scope")
    [[ -z $(known role definition list --name "$name" --query '[].name') ]] || verb=update
    azure role definition "$verb" --role-definition "$definition"
}

# granted PRINCIPAL ROLE SCOPE [CONDITION]: to an identity, or with kind=User before it to a person.
granted() {
    local condition=()
    [[ -z ${4-} ]] || condition=(--condition "$4" --condition-version 2.0)
    [[ -n $(known role assignment list --assignee "$1" --role "$2" --scope "$3" --query '[].id') ]] ||
        azure role assignment create --assignee-object-id "$1" --assignee-principal-type "${kind:-ServicePrincipal}" \
            --role "$2" --scope "$3" "${condition[@]}"
}

only_grantable() {
    local ids
    ids=$(printf '%s, ' "${grantable[@]}")
    printf '%s' "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR " \
        "(@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${ids%, }})) AND " \
        "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})) OR " \
        "(@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${ids%, }}))"
}

# identity_is_there NAME: an identity that is GitHub's environment NAME and nobody else; sets principal and client.
identity_is_there() {
    local name=$1 subject=$prefix:environment:$1 verb=create
    azure identity create --name "github-$name" --resource-group "$group" --location "$location"
    [[ -z $(known identity federated-credential show --identity-name "github-$name" --resource-group "$group" --name github --query name) ]] ||
        verb=update
    azure identity federated-credential "$verb" --identity-name "github-$name" --resource-group "$group" --name github \
        --issuer https://token.actions.githubusercontent.com --audiences api://AzureADTokenExchange --subject "$subject"
    principal=$(known identity show --name "github-$name" --resource-group "$group" --query principalId)
    client=$(known identity show --name "github-$name" --resource-group "$group" --query clientId)
    [[ $dry == false || -n $principal ]] || principal="PRINCIPAL-OF-github-$name" client="CLIENT-OF-github-$name"
    [[ -n $principal && -n $client ]] || refuse "az does not show the identity github-$name that it has just made; run this again in a minute"
}

# Who applies by hand the first time: to be an Owner opens no blob.
owner_may_enter() {
    local me
    me=$(known ad signed-in-user show --query id)
    [[ $dry == false ]] || me=WHO-IS-LOGGED-IN
    if [[ -z $me ]]; then
        say "az is not logged in as a person: whoever is to apply by hand needs Storage Blob Data Contributor on the containers of $account"
        return
    fi
    for environment in $environments; do
        kind=User granted "$me" 'Storage Blob Data Contributor' "$account_id/blobServices/default/containers/$environment"
    done
}

deployers_are_there() {
    role_is_there "$project-terraform-plan" "What terraform plan reads beyond Reader" \
        '*/read' Microsoft.Web/sites/config/list/action Microsoft.Web/sites/slots/config/list/action \
        Microsoft.Web/sites/publishxml/action Microsoft.Web/sites/slots/publishxml/action \
        Microsoft.OperationalInsights/workspaces/sharedKeys/action Microsoft.Logic/workflows/triggers/listCallbackUrl/action
    role_is_there "$project-terraform-locks" "Locks of resource groups" 'Microsoft.Authorization/locks/*'
    for environment in $environments; do
        identity_is_there "$environment"
        granted "$principal" Contributor "$scope"
        granted "$principal" "$project-terraform-locks" "$scope"
        granted "$principal" 'Role Based Access Control Administrator' "$scope" "$(only_grantable)"
        granted "$principal" 'Storage Blob Data Contributor' "$account_id/blobServices/default/containers/$environment"
        settings+="gh secret set ARM_CLIENT_ID --env $environment --body $client"$'\n'
        settings+="gh secret set ARM_SUBSCRIPTION_ID --env $environment --body $subscription"$'\n'

        identity_is_there "$environment-plan"
        granted "$principal" "$project-terraform-plan" "$scope"
        granted "$principal" AcrPull "$scope"
        granted "$principal" 'Storage Blob Data Reader' "$account_id/blobServices/default/containers/$environment"
        settings+="gh secret set ARM_CLIENT_ID --env $environment-plan --body $client"$'\n'
        settings+="gh secret set ARM_SUBSCRIPTION_ID --env $environment-plan --body $subscription"$'\n'
    done
}

settings=''
for namespace in "${namespaces[@]}"; do
    azure provider register --namespace "Microsoft.$namespace"
done
state_account_is_there
owner_may_enter
deployers_are_there
for namespace in "${namespaces[@]}"; do # it takes minutes, and Terraform does not wait for it
    azure provider register --namespace "Microsoft.$namespace" --wait
done

tenant=$(known account show --query tenantId)
cat <<END
# State: container of the environment's name in $account. In GitHub:
${settings}gh secret set ARM_TENANT_ID --body ${tenant:-TENANT}
END
