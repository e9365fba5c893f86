#!/bin/sh
# Prints a Chromium (or Chrome) that runs: $CHROMIUM, or one on PATH. Prints nothing without one.
# A name alone proves nothing: on Ubuntu chromium-browser may be a stub that only asks for a snap.
for candidate in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome; do
    if [ -n "$candidate" ] && found=$(command -v "$candidate") && "$found" --version >/dev/null 2>&1; then
        echo "$found"
        exit 0
    fi
done
