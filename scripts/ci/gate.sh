#!/usr/bin/env bash
# gate.sh ENVIRONMENT: whether somebody had to approve. GitHub makes an environment that is not there, without any
# rule, and goes on: a gate that nobody has set up would be open.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need GH_TOKEN GITHUB_REPOSITORY
tools gh jq
[[ -n ${1-} ]] || refuse "usage: gate.sh ENVIRONMENT" 2

reviewers=$(gh api "repos/$GITHUB_REPOSITORY/environments/$1" |
    jq '[.protection_rules[]? | select(.type == "required_reviewers") | .reviewers | length] | add // 0') ||
    refuse "the rules of the environment $1 cannot be read"
((reviewers > 0)) ||
    refuse "the environment $1 has no required reviewers; set them (Settings, Environments; docs/ci_cd.md)"
say "$1 was approved; it has $reviewers reviewer(s)"
