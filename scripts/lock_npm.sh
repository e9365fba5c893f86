#!/bin/sh
# lock_npm.sh FOLDER…: pin what each FOLDER/package.json names and all it needs, anew. The lock files
# name no hosts: packages are found by name, version and integrity wherever npm looks.
set -eu
cd "$(dirname "$0")/.."
for folder; do (
    cd "$folder"
    npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit \
        --no-fund --loglevel=error
    node -e '
        const fs = require("fs"), name = "package-lock.json", lock = JSON.parse(fs.readFileSync(name));
        for (const found of Object.values(lock.packages)) {
            delete found.funding;
            if (/:\/\//.test(found.license)) delete found.license;
        }
        fs.writeFileSync(name, JSON.stringify(lock, null, 2) + "\n");
    '
); done
