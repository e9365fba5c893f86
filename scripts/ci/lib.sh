# shellcheck shell=bash
# lib.sh: what the scripts of this folder share. Sourced, never run.
# Exit codes: 1 something is not as it must be, 2 the script cannot begin.

: "${POLL_S:=10}" "${HTTP_S:=30}"
name=$(basename "$0")

say() { echo "$name: $*"; }
refuse() {
    echo "$name: $1" >&2
    exit "${2:-1}"
}

# need VARIABLE…: each of them is set.
need() {
    local variable
    for variable; do
        [[ -n ${!variable-} ]] || refuse "needs $variable in the environment (docs/ci_cd.md); it is empty" 2
    done
}

# tools COMMAND…: each of them is on PATH.
tools() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || refuse "needs $tool on PATH; install it (docs/ci_cd.md)" 2
    done
}

# output NAME VALUE: for the steps and jobs that come after. A value is one line: a second one would be another output.
output() {
    [[ $2 != *$'\n'* ]] || refuse "the output $1 has several lines; one was expected"
    echo "$1=$2" >>"${GITHUB_OUTPUT:-/dev/stdout}"
}

# wait_for SECONDS WHAT COMMAND…: until it succeeds; `why` is what it saw last.
wait_for() {
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@"; do
        if ((SECONDS >= end)); then
            echo "$name: not within $seconds s: $what; last seen: ${why:-nothing}" >&2
            return 1
        fi
        sleep "$POLL_S"
    done
    say "$what"
}

# of_app AZ-ARGUMENTS…: az about the app, or about its slot where SLOT is set.
of_app() {
    az "$@" --resource-group "$RESOURCE_GROUP" --name "$FUNCTION_APP" ${SLOT:+--slot "$SLOT"}
}

# site_url: the app, or its slot, for az rest.
site_url() {
    echo "/subscriptions/{subscriptionId}/resourceGroups/$RESOURCE_GROUP/providers/Microsoft.Web/sites/$FUNCTION_APP${SLOT:+/slots/$SLOT}"
}

# configured_image: the image that the app, or its slot, is set to.
configured_image() {
    local found
    found=$(of_app functionapp config show --query linuxFxVersion --output tsv) || return
    echo "${found#DOCKER|}"
}

# fetch_key: APP_KEY, the host key of the app, or of its slot; nobody stores it anywhere.
fetch_key() {
    APP_KEY=$(of_app functionapp keys list --query functionKeys.default --output tsv) || APP_KEY=''
    [[ -n $APP_KEY ]] ||
        refuse "no function key of $FUNCTION_APP${SLOT:+ ($SLOT)}; may this identity list the keys of the app?"
    [[ ${GITHUB_ACTIONS-} != true ]] || echo "::add-mask::$APP_KEY"
}

# call PATH [CURL-ARGUMENTS…]: what the app answers; fails from status 400 on. The key reaches curl on standard
# input: no list of processes and no log has it.
call() {
    local path=$1 scheme=https
    shift
    [[ $APP_URL != http://127.0.0.1:* && $APP_URL != http://localhost:* ]] || scheme=http
    {
        printf 'url = "%s%s"\n' "${APP_URL%/}" "$path"
        [[ -z ${APP_KEY-} ]] || printf 'header = "x-functions-key: %s"\n' "$APP_KEY"
    } | curl --config - --proto "=$scheme" --silent --show-error --fail-with-body --max-time "$HTTP_S" "$@"
}

# the_functions: the names that function_app.py gives the host, sorted.
the_functions() {
    awk '/^@app\./ { decorated = 1 }
        decorated && /^(async )?def / { sub(/^(async )?def /, ""); sub(/\(.*/, ""); print; decorated = 0 }' \
        "$(dirname "${BASH_SOURCE[0]}")/../../function_app.py" | sort
}

# complete NAMES: whether these, one a line, are all functions and no others; `why` says what differs.
complete() {
    why=$(diff <(the_functions) <(sort <<<"$1") | grep '^[<>]' | sed 's/^</missing:/; s/^>/unknown:/' | tr '\n' ' ') || true
    [[ -z $why ]]
}
