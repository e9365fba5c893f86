#!/usr/bin/env bash
# lint_ops.sh: workflows, YAML, shell scripts, and secrets in all files that git holds or would hold.
# `lint_ops.sh --baseline` takes what is found now for known (.secrets.baseline): look at its diff.
# A tool that is missing is named and its part skipped; with CI=true that fails. Exit code 1: there are findings.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv-ops/bin:$PATH
failed=0

# have TOOL: whether it is there; says how to get it otherwise.
have() {
    command -v "$1" >/dev/null && return
    case $1 in
    shellcheck | shfmt) echo "lint-ops: SKIPPED $1: not on PATH; install the distribution's package $1" >&2 ;;
    *) echo "lint-ops: SKIPPED $1: neither in .venv-ops nor on PATH; make ops-tools installs it" >&2 ;;
    esac
    [[ ${CI-} != true ]] || failed=1
    return 1
}

# run TOOL ARGUMENTS…: what it has found stands above.
run() {
    have "$1" || return 0
    "$@" || {
        echo "lint-ops: $1 has findings (above)" >&2
        failed=1
    }
}

files() { git ls-files -z --cached --others --exclude-standard -- "$@"; }

is_shell() {
    local first
    [[ -f $1 && ! -L $1 ]] || return
    [[ $1 != *.sh ]] || return 0
    IFS= read -r first <"$1" 2>/dev/null || return
    [[ $first =~ ^#!.*[/\ ](ba|da)?sh( |$) ]]
}

# no_new_secrets FILE…: whether none has a secret that .secrets.baseline does not know.
no_new_secrets() {
    local copy code=0
    copy=$(mktemp)
    cp .secrets.baseline "$copy" # it is written to where lines have moved: code 3
    detect-secrets-hook --no-verify --baseline "$copy" "$@" || code=$?
    rm -f "$copy"
    ((code == 0 || code == 3))
}

# What is neither text by hand nor may hold a secret: locked hashes, vendored and generated files.
secrets=(':!*package-lock.json' ':!requirements*.txt' ':!*.terraform.lock.hcl' ':!docs/openapi.json'
    ':!observer_core/web/page/vendor' ':!examples/*.ipynb' ':!*.woff2' ':!*.png' ':!.secrets.baseline')
if [[ ${1-} == --baseline ]]; then
    have detect-secrets || exit 2
    files "${secrets[@]}" | xargs -0 detect-secrets scan --no-verify --exclude-lines 'sha256:[0-9a-f]{64}' >.secrets.baseline.new
    mv .secrets.baseline.new .secrets.baseline
    exit
fi

scripts=()
while IFS= read -r -d '' file; do
    ! is_shell "$file" || scripts+=("$file")
done < <(files 2>/dev/null)
mapfile -d '' -t yaml < <(files '*.yml' '*.yaml')
mapfile -d '' -t workflows < <(files '.github/workflows/*.yml')
mapfile -d '' -t actions < <(files '.github/actions/*/action.yml')

run jactionlint
run zizmor --offline --no-progress --quiet .
run check-jsonschema --quiet --builtin-schema vendor.github-workflows "${workflows[@]}"
run check-jsonschema --quiet --builtin-schema vendor.github-actions "${actions[@]}"
run check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
run yamllint --strict "${yaml[@]}"
run shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
run shfmt -i 4 -d "${scripts[@]}"
if have detect-secrets-hook; then
    mapfile -d '' -t texts < <(files "${secrets[@]}")
    no_new_secrets "${texts[@]}" || {
        echo "lint-ops: a secret? Take it out, and revoke it; if it is none: scripts/lint_ops.sh --baseline" >&2
        failed=1
    }
fi
((failed)) || echo "lint-ops: ${#workflows[@]} workflows, ${#yaml[@]} YAML files, ${#scripts[@]} scripts: nothing found"
exit "$failed"
