#!/usr/bin/env bash
# plan_comment.sh ENVIRONMENT PLAN: the plan as one comment of the pull request, which the next plan replaces.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need GH_TOKEN GITHUB_REPOSITORY PR_NUMBER
tools gh jq
[[ $# == 2 && -f $2 ]] || refuse "usage: plan_comment.sh ENVIRONMENT PLAN; '${2-}' is no file" 2

environment=$1 plan=$2
most=60000 # GitHub takes 65,536 characters
mark="<!-- terraform plan $environment -->"
body=$(jq --null-input --raw-output --rawfile plan "$plan" --arg environment "$environment" --arg mark "$mark" \
    --argjson most "$most" '
    ($plan | split("\n") | map(select(test("^(Plan:|No changes)"))) | last // "no summary") as $summary
    | ([$plan | scan("~+") | length] | max // 0) as $longest
    | ("~" * ([$longest + 1, 3] | max)) as $fence
    | (if ($plan | length) > $most then "\nCut; the artifact of this run has the whole.\n" else "" end) as $cut
    | "\($mark)\n### Terraform plan: \($environment)\n\n\($summary)\n\n<details><summary>All of it</summary>\n\n"
        + "\($fence)\n\($plan[:$most])\n\($fence)\n\($cut)</details>"')

# Only the robot's own comments: anybody can begin one with the mark.
known=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$PR_NUMBER/comments" | jq --raw-output --slurp \
    --arg mark "$mark" 'add // [] | map(select(.user.login == "github-actions[bot]" and (.body | startswith($mark)))) | .[0].id // empty')
if [[ -n $known ]]; then
    method=PATCH path=repos/$GITHUB_REPOSITORY/issues/comments/$known
else
    method=POST path=repos/$GITHUB_REPOSITORY/issues/$PR_NUMBER/comments
fi
jq --null-input --arg body "$body" '{$body}' | gh api --method "$method" "$path" --input - --silent
say "$method $path"
