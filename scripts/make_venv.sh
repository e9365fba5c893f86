#!/bin/sh
# make_venv.sh DIRECTORY [PYTHON [REQUIREMENTS]]: a virtual environment with everything that running and
# testing needs, pinned, and the `observer` command of this checkout; or with what the file REQUIREMENTS
# pins, and nothing else. Safe to repeat.
set -eu
venv=$1
python=${2:-}
only=${3:-}

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

if [ -z "$python" ]; then
    for candidate in python3 python3.13 python3.12 python3.11; do
        if supported "$candidate"; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ] || ! supported "$python"; then
    echo "setup: needs Python 3.11, 3.12 or 3.13; found ${python:-none on PATH}." >&2
    echo "setup: install one (Debian 12: apt-get install python3 python3-venv)," >&2
    echo "setup: or name it: make setup PYTHON=path/to/python3" >&2
    exit 2
fi

# An interrupted setup or a removed interpreter leaves a venv that does not run: start over.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || ! supported "$venv/bin/python"; then
    echo "setup: creating $venv with $("$python" --version)"
    rm -rf "$venv"
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$venv"
    elif "$python" -m pip --version >/dev/null 2>&1; then
        # Debian without python3-venv: no ensurepip, but a pip that can fill another environment.
        "$python" -m venv --without-pip "$venv"
        "$python" -m pip --python "$venv/bin/python" install --quiet pip
    else
        echo "setup: $python can make no virtual environment: it has neither ensurepip nor pip." >&2
        echo "setup: install one of them (Debian: apt-get install python3-venv) and repeat." >&2
        exit 2
    fi
fi

echo "setup: installing pinned requirements into $venv"
if [ -n "$only" ]; then
    exec "$venv/bin/python" -m pip install -qq --disable-pip-version-check -r "$only"
fi
"$venv/bin/python" -m pip install -qq --disable-pip-version-check \
    -r requirements.txt -r requirements-dev.txt
"$venv/bin/python" -m pip install -qq --disable-pip-version-check \
    --no-deps --no-build-isolation --editable .
