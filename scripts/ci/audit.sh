#!/usr/bin/env bash
# audit.sh: known vulnerabilities of every pinned Python package and every locked npm package.
# An auditor that audited nothing, being offline say, may end with 0: here that is a failure.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv-ops/bin
tools pip-audit npm jq git

failed=0
found() {
    echo "$name: $1" >&2
    failed=1
}

for file in requirements*.txt; do
    report=$(pip-audit --strict --disable-pip --no-deps --progress-spinner off --format json --requirement "$file") ||
        found "$file: pip-audit has findings, or could not look"
    jq --raw-output '.dependencies[] | select(.vulns? | length > 0) | .name as $name | .version as $version
        | .vulns[] | "  \($name) \($version): \(.id), fixed in \(.fix_versions | join(", "))"' <<<"$report" >&2 || true
    audited=$(jq '[.dependencies[] | select(.version)] | length' <<<"$report" 2>/dev/null) || audited=0
    ((${audited:-0} > 0)) || found "$file: no package was audited; some were expected"
    say "$file: ${audited:-0} packages audited"
done
while IFS= read -r lock; do
    folder=$(dirname "$lock")
    report=$(npm audit --prefix "$folder" --package-lock-only --audit-level=high --json) ||
        found "$folder: npm audit has findings, or could not look"
    jq --raw-output '.vulnerabilities // {} | .[] | "  \(.name): \(.severity)"' <<<"$report" >&2 || true
    audited=$(jq '.metadata.dependencies.total // 0' <<<"$report" 2>/dev/null) || audited=0
    ((${audited:-0} > 0)) || found "$folder: no package was audited; some were expected"
    say "$folder: ${audited:-0} packages audited"
done < <(git ls-files --cached --others --exclude-standard '*package-lock.json')
exit "$failed"
