#!/usr/bin/env bash
# notify.sh TITLE: tells Slack how it ended. RESULT says it (success, failure, rollback, rollback_failed); without
# it NEEDS does: the results of the jobs before, as `toJSON(needs)` gives them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need GITHUB_SERVER_URL GITHUB_REPOSITORY GITHUB_RUN_ID GITHUB_REF_NAME GITHUB_SHA
tools curl jq
[[ -n ${1-} ]] || refuse "usage: notify.sh TITLE" 2

payload=$(jq --null-input --compact-output --arg title "$1" --arg result "${RESULT-}" \
    --arg needs "${NEEDS:-"{}"}" --arg ref "$GITHUB_REF_NAME" --arg sha "${GITHUB_SHA:0:12}" \
    --arg run "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID" '
    def escaped: gsub("&"; "&amp;") | gsub("<"; "&lt;") | gsub(">"; "&gt;");
    ($needs | fromjson | to_entries | map(select(.value.result | IN("failure", "cancelled"))
        | "\(.key): \(.value.result)")) as $bad
    | (if $result != "" then $result elif $bad == [] then "success" else "failure" end) as $result
    | {success: ":white_check_mark:", failure: ":x:", rollback: ":rewind:", rollback_failed: ":rotating_light:"}[$result]
    | if . == null then error("RESULT is \($result); success, failure, rollback or rollback_failed was expected")
      else {text: ([. + " *\($title | escaped)*: \($result | gsub("_"; " "))",
          "`\($ref | escaped)` at `\($sha)`, <\($run)|the run>", ($bad[] | escaped)] | join("\n"))} end') ||
    refuse "no message can be made of RESULT and NEEDS" 2

if [[ -z ${SLACK_WEBHOOK_URL-} ]]; then
    echo "::warning::nobody was told: there is no secret SLACK_WEBHOOK_URL"
    jq --raw-output .text <<<"$payload"
    exit 0
fi
# The address is the secret: it reaches curl on standard input only.
printf 'url = "%s"\n' "$SLACK_WEBHOOK_URL" | curl --config - --proto =https --silent --show-error --fail \
    --max-time "$HTTP_S" --retry 3 --header 'Content-Type: application/json' --data "$payload" --output /dev/null ||
    refuse "Slack did not take the message"
say "told Slack: $(jq --raw-output '.text | split("\n")[0]' <<<"$payload")"
