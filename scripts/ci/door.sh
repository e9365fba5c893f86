#!/usr/bin/env bash
# door.sh open|shut: lets the machine that it runs on, and nobody else, into the app (its slot where SLOT is set), and
# out again. Where the machine is let in already, in the network say, nothing is changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
: "${WAIT_S:=300}"
need RESOURCE_GROUP FUNCTION_APP APP_URL
tools az curl jq

where=$FUNCTION_APP${SLOT:+ ($SLOT)}
rule=release # a release has its environment to itself, so one name will do

# allowed: the names of the rules that let somebody in.
allowed() {
    of_app functionapp config access-restriction show --output json |
        jq --raw-output '.ipSecurityRestrictions[]? | select(.action == "Allow").name'
}

# turned_away: the address that Azure sees this machine come from, where it lets that one in nowhere; else nothing.
turned_away() {
    call /health --output /dev/null --write-out '%header{x-ms-forbidden-ip}' 2>/dev/null || true
}

let_in() {
    why=$(turned_away)
    [[ -z $why ]]
}

# public Enabled|Disabled: access from outside on the whole. (az functionapp update would read the slot, and write to
# production.)
public() {
    local is
    az rest --method patch --url "$(site_url)?api-version=2024-04-01" --output none --body \
        "{\"properties\": {\"publicNetworkAccess\": \"$1\", \"siteConfig\": {\"publicNetworkAccess\": \"$1\"}}}"
    is=$(az rest --method get --url "$(site_url)?api-version=2024-04-01" --query properties.publicNetworkAccess --output tsv)
    [[ $is == "$1" ]] || refuse "$where: public access is '$is'; $1 was expected"
}

# Access on the whole ends first: should this be cut short, the rule is still there for the next one to find.
shut() {
    local names
    names=$(allowed)
    grep -qx "$rule" <<<"$names" || return 0
    grep -qvx "$rule" <<<"$names" || public Disabled
    while grep -qx "$rule" <<<"$names"; do
        of_app functionapp config access-restriction remove --rule-name "$rule" --output none
        names=$(allowed)
    done
    say "$where is shut again"
}

open() {
    local address names
    shut # what a run that was killed has left
    address=$(turned_away)
    [[ -n $address ]] || {
        say "$where lets this machine in already"
        return
    }
    [[ $address =~ ^[0-9]+(\.[0-9]+){3}$ ]] || refuse "Azure sees '$address'; an IPv4 address was expected"
    names=$(allowed)
    ! grep -qx 'Allow all' <<<"$names" ||
        refuse "$where has no rule that denies: public access would open it to everybody; apply Terraform first"
    of_app functionapp config access-restriction add --rule-name "$rule" --action Allow --ip-address "$address/32" \
        --priority 65000 --output none
    public Enabled
    wait_for "$WAIT_S" "$where lets $address in" let_in
}

case ${1-} in
open | shut) "$1" ;;
*) refuse "usage: door.sh open|shut" 2 ;;
esac
