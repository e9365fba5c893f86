#!/usr/bin/env bash
# deploy_ops.sh: builds dist/qts_ops_deploy.tar.gz, which is all that a machine needs to run the Observer, and
# brings it to another machine. The same files give the same bytes: docs/deployment.md says how to compare.
set -euo pipefail
export LC_ALL=C TZ=UTC0
umask 022

usage() {
    cat <<'TEXT'
deploy_ops.sh [build] [--wheels] [--extras LIST] [--image REFERENCE]
    Builds dist/qts_ops_deploy.tar.gz.
    --wheels            also all pinned dependencies, for the Python and platform that build it, so that a
                        machine without a network can be installed (start --no-docker)
    --extras LIST       which optional packages of pyproject.toml come along, "none" or as EXTRAS in the Dockerfile
                        (default)
    --image REFERENCE   the image that Docker is to run, by digest (REGISTRY/qts-observer@sha256:…);
                        without it the machine builds its own from the wheel

deploy_ops.sh remote [--dry-run] [--no-docker] [USER@]HOST[:DIR] [PACKAGE]
    Copies the package to HOST, compares its sha256 there, and upgrades the deployment in DIR (qts-observer
    in the login folder), or makes it; start_ops.sh of the package does that. HOST must be a known one.

Environment: PYTHON (.venv/bin/python) builds the wheel; SOURCE_DATE_EPOCH is the time of every file
(default: that of the commit).
TEXT
}

say() { echo "deploy_ops: $*"; }

refuse() {
    printf 'deploy_ops: %s\n' "$@" >&2
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$here/dist/qts_ops_deploy.tar.gz
name=qts_ops_deploy

# ---------------------------------------------------------------------- build

build() {
    local wheels=no image='' extras
    extras=$(sed -n 's/^ARG EXTRAS=//p' "$here/Dockerfile")
    while (($#)); do
        case $1 in
        --wheels) wheels=yes ;;
        --extras | --image)
            (($# > 1)) || refuse "$1 needs a value"
            if [[ $1 == --image ]]; then image=$2; else extras=$2; fi
            shift
            ;;
        *) refuse "build knows --wheels, --extras LIST and --image REFERENCE, not '$1'" ;;
        esac
        shift
    done
    if [[ -n $image && ! $image =~ ^[a-z0-9][a-zA-Z0-9.:/_-]*@sha256:[0-9a-f]{64}$ ]]; then
        refuse "--image expects a reference by digest, REGISTRY/qts-observer@sha256:…; got '$image'." \
            "A tag may name something else tomorrow: \`docker buildx imagetools inspect\` shows the digest."
    fi
    find_python
    SOURCE_DATE_EPOCH=$(source_date)
    export SOURCE_DATE_EPOCH

    stage=$(mktemp -d)
    trap 'rm -rf "$stage" "$package.new"' EXIT
    local root=$stage/$name
    mkdir -p "$root/wheel"
    build_wheel "$root/wheel"
    copy_files "$root" "$image"
    name_extras "$extras" >"$root/extras.txt" || refuse "no such extras: '$extras' (above)"
    if [[ $wheels == yes ]]; then download "$root"; fi
    describe "$wheels" "$extras" "$image" >"$root/VERSION"
    write_manifest "$root"
    pack
    say "$(sha256sum <"$package" | cut -c1-64)  ${package#"$PWD"/}"
    sed 's/^/deploy_ops: /' "$root/VERSION"
}

find_python() {
    python=${PYTHON:-$here/.venv/bin/python}
    if ! "$python" -c 'import hatchling' 2>/dev/null; then
        refuse "the wheel is built by the pinned hatchling of .venv, and $python has none." \
            "Run \`make setup\`, or name another interpreter: PYTHON=path/to/python"
    fi
}

source_date() {
    if [[ -n ${SOURCE_DATE_EPOCH:-} ]]; then
        if [[ ! $SOURCE_DATE_EPOCH =~ ^[0-9]+$ ]]; then
            refuse "SOURCE_DATE_EPOCH is whole seconds since 1970; got '$SOURCE_DATE_EPOCH'"
        fi
        echo "$SOURCE_DATE_EPOCH"
    elif ! git -C "$here" log -1 --format=%ct 2>/dev/null; then
        refuse "no git commit here whose time the files could have: set SOURCE_DATE_EPOCH (seconds since 1970)"
    fi
}

build_wheel() {
    if ! (cd "$here" && "$python" -m hatchling build -t wheel -d "$1") >"$stage/log" 2>&1; then
        tail -n 20 "$stage/log" >&2
        refuse "the wheel could not be built (above)"
    fi
}

# What the extras need, as pyproject.toml has it; requirements-dev.txt pins it.
name_extras() {
    echo "# $1"
    [[ $1 == none ]] || "$python" - "$here/pyproject.toml" "$1" <<'PYTHON'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    known = tomllib.load(file)["project"]["optional-dependencies"]
wanted = sys.argv[2].split(",")
if unknown := sorted(set(wanted) - set(known)):
    sys.exit(f"pyproject.toml has no {', '.join(unknown)}, but {', '.join(sorted(known))}")
print(*sorted({needed for extra in wanted for needed in known[extra]}), sep="\n")
PYTHON
}

download() {
    say "downloading the pinned dependencies for $("$python" --version)"
    if ! "$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --dest "$1/wheels" \
        --requirement "$1/requirements.txt" --requirement "$1/extras.txt" \
        --constraint "$1/requirements-dev.txt" >&2; then
        refuse "not every dependency could be downloaded (above)"
    fi
}

copy_files() {
    local file
    install -m 755 "$here/deploy/start_ops.sh" "$1/start_ops.sh"
    install -m 644 "$here/deploy/README.md" "$1/README.md"
    for file in requirements.txt requirements-dev.txt deployment_config.json docker-compose.yml; do
        install -m 644 "$here/$file" "$1/$file"
    done
    # What an image is built of, beside the wheel.
    if [[ -z $2 ]]; then
        for file in Dockerfile .dockerignore deploy/image/healthcheck.py examples/sp500-2000.csv; do
            install -D -m 644 "$here/$file" "$1/$file"
        done
    fi
    # What config/ itself observes is a demonstration: a new deployment begins with deploy/config.
    mkdir "$1/config"
    for file in config/{policies,observer.example}.toml deploy/config/observer.toml; do
        install -m 644 "$here/$file" "$1/config/${file##*/}"
    done
}

describe() {
    local commit
    sed -n 's/^__version__ = "\(.*\)"$/version \1/p' "$here/observer_core/__init__.py"
    if commit=$(git -C "$here" rev-parse HEAD 2>/dev/null); then
        if [[ -n $(git -C "$here" status --porcelain) ]]; then commit="$commit-modified"; fi
        echo "commit $commit"
    fi
    if [[ $1 == yes ]]; then
        echo "wheels $("$python" -c 'import sys, platform
print(f"{sys.version_info[0]}.{sys.version_info[1]} {platform.system()} {platform.machine()}")')"
    fi
    echo "extras $2"
    if [[ -n $3 ]]; then echo "image $3"; fi
}

write_manifest() {
    (
        cd "$1"
        find . -type f -not -name MANIFEST.txt -printf '%P\0' | sort -z | xargs -0 sha256sum >"$stage/manifest"
        install -m 644 "$stage/manifest" MANIFEST.txt
    )
}

# gzip's -n leaves name and time out; the mode of folders does not depend on who unpacked or cloned.
pack() {
    mkdir -p "$(dirname "$package")"
    tar --create --directory "$stage" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' "$name" | gzip -n -9 >"$package.new"
    mv "$package.new" "$package"
}

# ---------------------------------------------------------------------- remote

remote() {
    local target='' host dir='' sum options=()
    dry_run=no
    while (($#)); do
        case $1 in
        --dry-run) dry_run=yes ;;
        --no-docker) options+=(--no-docker) ;;
        -*) refuse "remote knows --dry-run and --no-docker, not '$1'" ;;
        *) if [[ -z $target ]]; then target=$1; else package=$1; fi ;;
        esac
        shift
    done
    host=${target%%:*}
    if [[ $target == *:* ]]; then dir=${target#*:}; fi
    dir=${dir:-qts-observer}
    # Both become words of a command on the other side.
    if [[ ! $host =~ ^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*$ ||
        ! $dir =~ ^[A-Za-z0-9_./~][A-Za-z0-9._/-]*$ ]]; then
        refuse "expected [USER@]HOST[:DIR] of letters, digits and . _ - /; got '$target'"
    fi
    [[ -f $package ]] || refuse "there is no $package: build it first (./deploy_ops.sh)"
    # As a path, lest scp takes it for a machine's.
    package=$(realpath "$package")
    sum=$(sha256sum <"$package" | cut -c1-64)

    local incoming=$dir/.incoming
    step "make a folder on $host" on "$host" "umask 077 && mkdir -p $incoming"
    step "copy the package" scp -q "${known_hosts_only[@]}" "$package" "$host:$incoming/$name.tar.gz"
    step "compare its sha256 on $host with $sum" \
        on "$host" "cd $incoming && echo '$sum  $name.tar.gz' | sha256sum --check --status"
    step "unpack" on "$host" "cd $incoming && rm -rf $name && tar --extract --gzip --file $name.tar.gz"
    step "start" on "$host" "$incoming/$name/start_ops.sh --home $dir upgrade ${options[*]}"
    step "remove what was copied" on "$host" "rm -rf $incoming"
    if [[ $dry_run == no ]]; then say "$host runs it in $dir; \`ssh $host $dir/start_ops.sh status\` shows how"; fi
}

# Whoever answers under a name that is not known, or with another key, is not to be trusted with it.
known_hosts_only=(-o StrictHostKeyChecking=yes)

on() { ssh "${known_hosts_only[@]}" "$1" -- "$2"; }

# step WHAT COMMAND…: does it, or says what would be done.
step() {
    local what=$1 code=0
    shift
    if [[ $dry_run == yes ]]; then
        say "would $what: ${*}"
        return
    fi
    say "$what"
    "$@" || code=$?
    ((code == 0)) || refuse "this step failed with exit code $code: $what. Nothing after it was done." \
        "What it printed is above; the command: $*"
}

case ${1:-build} in
build) build "${@:2}" ;;
remote) remote "${@:2}" ;;
-h | --help | help) usage ;;
-*) build "$@" ;;
*)
    usage >&2
    refuse "there is no command '$1'"
    ;;
esac
