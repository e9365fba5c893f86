#!/bin/sh
# Prints a Python 3.13 that runs: from PATH, or one that pyenv keeps. Prints nothing without one.
for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done
