#!/usr/bin/env bash
# start_ops.sh: installs, starts, upgrades and watches the QTS Observer on this machine, with Docker or without.
# What is where, and every command by example: README.md beside this file.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
start_ops.sh [--home DIR] [COMMAND]
    start [--docker | --no-docker]
                        start, wait until it is healthy, show how it is; from an unpacked package: install first
    stop                finish the commit at hand, and end
    status              the daily procedure: process or container, resources, errors of 24 h, disk, health;
                        exit code 1: something needs a look
    logs [--follow]     what it has printed and logged
    upgrade [--docker | --no-docker] [PACKAGE]
                        back up, go over to another package (a file or an unpacked folder), wait until it is
                        healthy; go back by itself when it is not
    rollback            go back to the release before, in the same way; data and configuration stay
    observer ARGUMENT…  the observer command of the release that is in

DIR (default: qts-observer beside the unpacked package) holds releases/, current, config/, data/, logs/.
Exit codes: 0 fine, 1 not healthy or undone, 2 refused or failed.
Environment: QTS_HEALTH_WAIT (120), QTS_STOP_WAIT (60): seconds; QTS_HEALTH_PAUSE (0.5) between two looks at it.
TEXT
}

# Nobody listens any more where the connection was lost: no reason to stop half-way.
say() { echo "start_ops: $*" || true; }

tell() { printf 'start_ops: %s\n' "$@" >&2 || true; }

refuse() {
    tell "$@"
    exit 2
}

script=$(readlink -f "${BASH_SOURCE[0]}")
own=$(dirname "$script")
invoked=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
health_wait=${QTS_HEALTH_WAIT:-120}
stop_wait=${QTS_STOP_WAIT:-60}
health_pause=${QTS_HEALTH_PAUSE:-0.5}

# A mistake here would end it in the middle.
check_waits() {
    [[ "$health_wait $stop_wait" =~ ^[1-9][0-9]{0,4}\ [1-9][0-9]{0,4}$ && $health_pause =~ ^[0-9]{1,2}(\.[0-9]+)?$ ]] ||
        refuse "QTS_HEALTH_WAIT and QTS_STOP_WAIT are whole seconds, QTS_HEALTH_PAUSE is seconds;" \
            "got '$health_wait', '$stop_wait', '$health_pause'"
}

# The deployment that this file belongs to: the one it is linked into, its release's, or one beside the package.
default_home() {
    local above
    above=$(dirname "$(dirname "$own")")
    if [[ -L $invoked/current ]]; then
        echo "$invoked"
    elif [[ $own == */releases/* && -e $above/state/ops.lock ]]; then
        echo "$above"
    else
        echo "$(dirname "$own")/qts-observer"
    fi
}

# ---------------------------------------------------------------------- releases

# verify FOLDER: MANIFEST.txt lists every file, each is what it says, and nothing else is there.
verify() {
    local folder=$1 listed found other
    [[ -f $folder/MANIFEST.txt && ! -L $folder/MANIFEST.txt ]] ||
        refuse "$folder has no MANIFEST.txt: it is no package of deploy_ops.sh, or a part of one"
    if ! found=$(cd "$folder" && LC_ALL=C sha256sum --check --strict --quiet MANIFEST.txt 2>&1); then
        refuse "$folder is not what its MANIFEST.txt says; nothing was done:" "$found" \
            "Take the package anew from where it was built, and compare its sha256."
    fi
    listed=$(cut -c67- "$folder/MANIFEST.txt" | LC_ALL=C sort)
    found=$(cd "$folder" && find . ! -type d -not -path ./MANIFEST.txt -printf '%P\n' | LC_ALL=C sort)
    other=$(LC_ALL=C comm -13 <(echo "$listed") <(echo "$found"))
    [[ -z $other ]] || refuse "$folder holds what its MANIFEST.txt does not list; nothing was done:" "$other" \
        "Is it yours, move it elsewhere (settings: ops.env and config/ of the deployment)."
    # Nor is a name one that would read as two, or as none.
    other=$(cd "$folder" && find . ! -type d ! -type f -o -name $'*\n*')
    [[ -z $other ]] || refuse "$folder holds what is no file, or has no proper name; nothing was done:" "$other"
}

# about RELEASE WHAT: what its VERSION says of it.
about() { sed -n "s/^$2 //p" "$home/releases/$1/VERSION"; }

# release_of FOLDER: its name; two builds of one version have two.
release_of() {
    local version
    version=$(sed -n 's/^version //p' "$1/VERSION")
    [[ $version =~ ^[0-9][0-9A-Za-z.+-]*$ ]] || refuse "$1/VERSION: expected 'version NUMBER', found '$version'"
    echo "$version-$(sha256sum "$1/MANIFEST.txt" | cut -c1-12)"
}

# link_to NAME TARGET: in one step, so that there is never none.
link_to() {
    ln -sfn "$2" "$home/.$1.new" && mv -T "$home/.$1.new" "$home/$1"
}

linked() { if [[ -L $home/$1 ]]; then basename "$(readlink "$home/$1")"; fi; }

# take_in PACKAGE: sets `release` to its name, once it lies under releases/.
take_in() {
    local from=$1 unpacked='' listed
    [[ -e $from ]] || refuse "there is no package $from"
    if [[ ! -d $from ]]; then
        unpacked=$home/releases/.unpacked
        rm -rf "$unpacked"
        mkdir -p "$unpacked"
        listed=$(LC_ALL=C tar -tvzf "$from" 2>&1) || refuse "$from is no package of deploy_ops.sh, or a part of one"
        if grep -qv '^[-d]' <<<"$listed"; then
            refuse "$from is no package of deploy_ops.sh: it holds more than files and folders"
        fi
        tar -xzf "$from" --no-same-owner -C "$unpacked"
        from=$unpacked/qts_ops_deploy
    fi
    verify "$from"
    release=$(release_of "$from")
    if [[ ! -d $home/releases/$release ]]; then
        rm -rf "$home/releases/.new"
        cp -R "$from" "$home/releases/.new"
        verify "$home/releases/.new"
        sync -f "$home/releases/.new"
        mv -T "$home/releases/.new" "$home/releases/$release"
    fi
    if [[ -n $unpacked ]]; then rm -rf "$unpacked"; fi
}

# What was broken off leaves no half copies on a disk that may be full of them.
tidy() { rm -rf "$home"/releases/.{new,unpacked} "$home"/runtime/.new "$home"/venvs/*.new; }

# lay_config FROM TO: what a release brings for config/. What is there is the operator's and stays as it is.
lay_config() {
    local from=$home/releases/$1/config to=$home/releases/$2/config file mine
    for file in "$to"/*; do
        mine=$home/config/${file##*/}
        if [[ ! -e $mine && ! -e $from/${file##*/} ]]; then
            keep "$mine" <"$file"
        elif ! cmp -s "$file" "$from/${file##*/}" && ! cmp -s "$file" "$mine"; then
            keep "$mine.new" <"$file"
            say "config/${file##*/}: the defaults have changed; yours stays, the new one is ${mine##*/}.new:"
            diff -u "$from/${file##*/}" "$file" || true
        fi
    done
}

# prune: releases that are neither in nor the one before, what only they needed, and what was broken off.
prune() {
    local folder keep
    keep=" $(linked current) $(linked previous) "
    for folder in "$home"/{releases,runtime}/{*,.[!.]*}; do
        if [[ $keep == *" ${folder##*/} "* ]]; then continue; fi
        if [[ $mode == docker && -f $folder/VERSION ]]; then
            docker image rm "$(image_of "${folder##*/}")" >/dev/null 2>&1 || true
        fi
        rm -rf "$folder"
    done
    keep=" "
    for folder in "$home"/runtime/*/venv; do keep+="$(readlink -m "$folder") "; done
    for folder in "$home"/venvs/*; do
        if [[ $keep != *" $(readlink -m "$folder") "* ]]; then rm -rf "$folder"; fi
    done
}

# ---------------------------------------------------------------------- the deployment

# One command at a time changes something; what a killed one has left running still counts.
lock() {
    mkdir -p "$home"/{releases,runtime,venvs,state,config,data,logs}
    exec 9>"$home/state/ops.lock"
    flock -w 3 9 || refuse "another start_ops.sh is at work on $home: wait for it, then repeat"
    trap tidy EXIT
    # Who began it may lose the connection; it is brought to its end all the same.
    trap '' HUP PIPE
}

# keep FILE: writes standard input there, whole or not at all (also where `set -e` does not reach).
keep() { cat >"$1.new~" && sync "$1.new~" && mv "$1.new~" "$1"; }

lay_out() {
    local file
    for file in "$home/releases/$1/config"/*; do
        if [[ ! -e $home/config/${file##*/} ]]; then keep "$home/config/${file##*/}" <"$file"; fi
    done
    if [[ ! -e $home/ops.env ]]; then
        umask 077
        keep "$home/ops.env" <<'TEXT'
# Environment of the Observer, NAME=VALUE a line: secrets that config/ names, settings that differ here, and what
# docker-compose.yml calls QTS_…, as QTS_PORT=8001. It stays as it is when releases come and go.
TEXT
        umask 022
    fi
}

# setting NAME: what ops.env says.
setting() { sed -n "s/^$1=//p" "$home/ops.env" | tail -n 1; }

port() {
    local found
    found=$(setting QTS_PORT)
    echo "${found:-8000}"
}

check_environment() {
    local wrong
    if [[ -n $(find "$home/ops.env" -perm /077) ]]; then
        refuse "$home/ops.env may hold secrets, and others may read it: chmod 600 $home/ops.env"
    fi
    complain "expected NAME=VALUE, or # and a remark" -vE '^[A-Za-z_][A-Za-z0-9_]*=|^[[:space:]]*(#|$)'
    complain "the port is QTS_PORT" -E '^OBSERVER_WEB__PORT='
    # Docker would take them for something else, a process would not: so neither gets them.
    complain "quotes, backslashes, \$, and # after a space have no place in a value" -E "^[^#].*(['\"\$\\]| #)"
}

# complain WHAT GREP…: refuses ops.env for its first line that is found.
complain() {
    local wrong
    wrong=$(grep -n "${@:2}" "$home/ops.env" | cut -d: -f1 | head -n 1) || true
    [[ -z $wrong ]] || refuse "$home/ops.env, line $wrong: $1"
}

# What this deployment is meant to be, which the Observer compares with what it is: the release's, with the port
# of ops.env. Paths count from the folder that it lies in.
declared() { sed "s/\"port\": *[0-9]*/\"port\": $(port)/" "$home/releases/$1/deployment_config.json"; }

# switch_to RELEASE: it is the one that is in.
switch_to() {
    declared "$1" | keep "$home/deployment_config.json" &&
        link_to current "releases/$1" &&
        link_to start_ops.sh current/start_ops.sh &&
        sync -f "$home"
}

choose_mode() {
    mode=$(cat "$home/state/mode" 2>/dev/null) || mode=${wanted:-docker}
    if [[ -n $wanted && $wanted != "$mode" ]]; then
        release=$(linked current)
        if [[ -n $release ]] && "${mode}_alive" "$release"; then
            refuse "it runs as a $mode: stop it first, then start it as a $wanted"
        fi
        mode=$wanted
    fi
    if [[ $mode == docker ]] && ! docker compose version >/dev/null 2>&1; then
        refuse "there is no Docker with its compose plugin here (\`docker compose version\` fails)." \
            "Install it, or run without: start --no-docker"
    fi
}

# ---------------------------------------------------------------------- as a process, in a virtual environment

process_python() {
    local found
    for found in python3 python3.13 python3.12 python3.11; do
        if "$found" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            echo "$found"
            return
        fi
    done
    refuse "needs Python 3.11, 3.12 or 3.13 that can make virtual environments; there is none on PATH." \
        "Debian 12: apt-get install python3 python3-venv"
}

# Releases that pin the same share an environment; the code of each is taken out of its wheel, which is verified.
process_prepare() {
    local release=$home/releases/$1 python here venv made=$home/runtime/.new
    python=$(process_python)
    here=$("$python" -c 'import platform, sys
print(f"{sys.version_info[0]}.{sys.version_info[1]} {platform.system()} {platform.machine()}")')
    venv=$(cat "$release"/{requirements,extras,requirements-dev}.txt | sha256sum | cut -c1-12)
    venv=$home/venvs/$venv-${here%% *}
    if [[ ! -d $venv ]]; then process_install "$python" "$here" "$release" "$venv"; fi
    if [[ $(readlink -f "$home/runtime/$1/venv") == "$(readlink -f "$venv")" ]]; then return; fi
    rm -rf "$made"
    mkdir -p "$made"
    "$venv/bin/python" -m zipfile -e "$release"/wheel/*.whl "$made/site"
    ln -s "../../venvs/${venv##*/}" "$made/venv"
    rm -rf "${home:?}/runtime/$1"
    mv -T "$made" "$home/runtime/$1"
}

process_install() {
    local python=$1 here=$2 release=$3 venv=$4 brought from=()
    brought=$(sed -n 's/^wheels //p' "$release/VERSION")
    if [[ -n $brought ]]; then
        [[ $brought == "$here" ]] || refuse "the package brings wheels for Python $brought; this is Python $here." \
            "Build one on such a machine (PYTHON=… ./deploy_ops.sh --wheels), or one without --wheels."
        from=(--no-index --find-links "$release/wheels")
    fi
    say "installing the pinned requirements for Python $here"
    rm -rf "$venv.new"
    "$python" -m venv "$venv.new"
    "$venv.new/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        "${from[@]}" --requirement "$release/requirements.txt" --requirement "$release/extras.txt" \
        --constraint "$release/requirements-dev.txt" ||
        refuse "the pinned requirements could not be installed (above); nothing was changed"
    mv -T "$venv.new" "$venv"
}

# process_observer RELEASE ARGUMENT…: its observer command.
process_observer() {
    local runtime=$home/runtime/$1
    process_environment "$runtime"
    "${observer[@]}" "${@:2}"
}

# Sets `observer`, and exports what it finds in its environment.
process_environment() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line == [A-Za-z_]*=* ]]; then export "${line?}"; fi
    done <"$home/ops.env"
    OBSERVER_WEB__PORT=$(port)
    export OBSERVER_WEB__PORT QTS_OBSERVER_STANDALONE=1 QTS_OBSERVER_REVISION=${1##*/} PYTHONPATH=$1/site
    observer=("$1/venv/bin/python" -P -c 'from observer_core.cli import main; main()' --root "$home")
}

# process_check RELEASE: whether it can run with what is configured.
process_check() {
    declared "$1" >"$home/.declared.json"
    OBSERVER_DEPLOYMENT=.declared.json process_observer "$1" config check
}

process_alive() { ! flock -n -s "$home/state/observer.lock" true 2>/dev/null; }

process_up() {
    local out=$home/logs/run.out
    if process_alive; then return; fi
    if ! port_is_free; then
        tell "port $(port) is taken by something else: stop that, or set QTS_PORT in $home/ops.env"
        return 1
    fi
    if ((EUID == 0)); then tell "it runs as root: better make a user of its own, who owns $home"; fi
    if [[ -s $out ]]; then mv "$out" "$out.1"; fi
    # Without the lock of this command, which ends before it does.
    setsid "$home/releases/$1/start_ops.sh" --home "$home" supervise "$1" </dev/null >"$out" 2>&1 9>&- &
    for _ in {1..50}; do
        if process_alive || ! kill -0 $! 2>/dev/null; then return; fi
        sleep 0.1
    done
}

# supervise RELEASE: keeps it running, until it is told to end or ends by itself for good.
supervise() {
    local code pause=1 since child='' stopping=
    exec 8>>"$home/state/observer.lock"
    flock -w 5 8 || refuse "it runs already"
    echo $$ | keep "$home/state/observer.pid"
    process_environment "$home/runtime/$1"
    trap 'stopping=1; [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true' TERM INT
    while [[ -z $stopping ]]; do
        since=$SECONDS
        # Nothing is left behind by a supervisor that is killed.
        setpriv --pdeathsig TERM "${observer[@]}" run --no-console 8>&- &
        child=$!
        # Told to while it was being started.
        if [[ -n $stopping ]]; then kill -TERM "$child" 2>/dev/null || true; fi
        while :; do
            code=0
            wait "$child" || code=$?
            # A signal ends `wait`, too.
            kill -0 "$child" 2>/dev/null || break
        done
        child=
        # 0: asked to end; 2: it cannot start like this. Else it was killed, or wants to be started anew (75).
        if ((code == 0 || code == 2)); then break; fi
        if ((SECONDS - since > 600)); then pause=1; fi
        tell "$(date -u +%FT%TZ) the Observer ended with exit code $code; started anew in $pause s"
        sleep "$pause" 8>&- &
        wait $! || true
        pause=$((pause < 60 ? pause * 2 : 60))
    done
    rm -f "$home/state/observer.pid"
}

process_down() {
    local end=$((SECONDS + stop_wait))
    process_alive || return 0
    kill -TERM "$(cat "$home/state/observer.pid")"
    while process_alive; do
        if ((SECONDS >= end)); then
            tell "it has not ended in $stop_wait s and is killed; it goes on where it was when it is started again"
            kill -KILL -- "-$(cat "$home/state/observer.pid")"
            end=$((SECONDS + stop_wait))
        fi
        sleep 0.2
    done
}

process_where() { echo "$home/$1"; }

process_output() { tail -n 30 "$home/logs/run.out" >&2; }

process_logs() {
    if [[ ${1:-} == --follow ]]; then exec tail -n 50 -F "$home"/logs/{run.out,observer.log}; fi
    tail -n 50 "$home"/logs/{run.out,observer.log}
}

process_state() {
    if ! process_alive; then
        echo "no process runs"
        return 1
    fi
    "$home/runtime/$1/venv/bin/python" -c '
import sys, time, psutil
kept = psutil.Process(int(open(sys.argv[1]).read()))
for found in kept.children():
    cpu, up = found.cpu_times(), time.time() - found.create_time()
    print(f"process {found.pid}, kept running by {kept.pid}, up {up:.0f} s, "
          f"{found.memory_info().rss >> 20} MiB, {(cpu.user + cpu.system) / up:.1%} of a core, "
          f"{found.num_threads()} threads")
sys.exit(not kept.children())' "$home/state/observer.pid"
}

# ---------------------------------------------------------------------- as a container

# compose RELEASE ARGUMENT…: on its compose file, with data, logs and config of this deployment.
compose() {
    local release=$home/releases/$1
    QTS_IMAGE=$(image_of "$1") QTS_ENV_FILE=$home/ops.env QTS_CONFIG=$home/config QTS_DATA=$home/data \
    QTS_LOGS=$home/logs QTS_PORT=$(port) QTS_USER=$(stat --format %u:%g "$home/data") \
        docker compose --project-directory "$home" --file "$release/docker-compose.yml" \
        --env-file "$home/ops.env" --profile standalone "${@:2}"
}

# There is one such container on a machine: compose would take another deployment's for an older one of ours.
docker_is_ours() {
    local other
    other=$(docker container inspect \
        --format '{{index .Config.Labels "com.docker.compose.project.working_dir"}}' qts-observer 2>/dev/null) || return 0
    [[ $(readlink -m "$other") == $(readlink -m "$home") ]] ||
        refuse "the container qts-observer is that of $other, and there is one on a machine; nothing was done." \
            "Stop and remove it (docker rm --force qts-observer), or start this one with --no-docker."
}

image_of() {
    local named
    named=$(about "$1" image)
    echo "${named:-qts-observer:$1}"
}

# The image is there before anything is stopped: the one that the release names, or its own.
docker_prepare() {
    local release=$home/releases/$1 image
    image=$(image_of "$1")
    # A container has no business being root: whoever made the folders owns them, or its own user.
    if [[ $(stat --format %u "$home/data") == 0 ]]; then chown -R 10001:10001 "$home/data" "$home/logs"; fi
    if docker image inspect "$image" >/dev/null 2>&1; then return; fi
    if [[ $image == *@* ]]; then
        say "pulling $image"
        docker pull --quiet "$image" || refuse "the image could not be pulled (above); nothing was changed"
    else
        say "building $image"
        docker build --quiet --target standalone --tag "$image" --build-context "wheel=$release/wheel" \
            --build-arg "EXTRAS=$(about "$1" extras)" --build-arg "REVISION=$1" \
            --build-arg "VERSION=$(about "$1" version)" "$release" ||
            refuse "the image could not be built (above); nothing was changed"
    fi
}

# A port that is published needs tokens; the first one is made here, for who installs it.
docker_first() {
    local config=$home/config/observer.toml told
    if grep -q '^\[\[web\.token\]\]' "$config"; then return; fi
    umask 077
    told=$(compose "$1" run --rm --no-deps -T observer token new operator --scopes admin \
        2>&1 >"$home/operator.token") || refuse "no token could be made for the operator:" "$told"
    umask 022
    grep -E '^(\[\[web\.token\]\]|(name|sha256|scopes) = )' <<<"$told" >>"$config"
    say "who is to use the page or the API needs a token: the first one, with scope admin, is in $home/operator.token"
}

docker_check() { compose "$1" run --rm --no-deps -T observer config check; }

docker_observer() {
    if docker_alive "$1"; then
        compose "$1" exec -T observer observer "${@:2}"
    else
        compose "$1" run --rm --no-deps -T observer "${@:2}"
    fi
}

docker_alive() { [[ -n $(compose "$1" ps --quiet --status running observer) ]]; }

docker_up() { compose "$1" up --detach --no-build --pull never --quiet-pull observer; }

docker_down() { compose "$1" stop --timeout "$stop_wait" observer; }

docker_where() { echo "/app/$1"; }

docker_output() { compose "$1" logs --no-color --tail 30 observer >&2; }

docker_logs() { compose "$1" logs --tail 100 "${@:2}" observer; }

docker_state() {
    local container
    compose "$1" ps --all observer
    container=$(compose "$1" ps --all --quiet observer)
    [[ -n $container ]] || return 1
    docker inspect --format "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}, restarts: \
{{.RestartCount}}, out of memory: {{.State.OOMKilled}}" "$container"
    docker_alive "$1" || return 1
    docker stats --no-stream "$container"
}

# ---------------------------------------------------------------------- health

# host: where to ask; ops.env comes before config/.
host() {
    local found
    found=$(setting OBSERVER_WEB__HOST)
    found=${found:-$(sed -n '/^\[web\]/,/^\[/s/^host *= *"\([^"]*\)".*/\1/p' "$home/config/observer.toml" 2>/dev/null)}
    if [[ $mode == docker || -z $found || $found == 0.0.0.0 || $found == :: ]]; then found=127.0.0.1; fi
    echo "$found"
}

# connected COMMAND: what a shell does with a connection to it, as file 3. Bash alone, for there may be no curl.
# shellcheck disable=SC2016  # for the inner shell
connected() { timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2" && '"$1" ask "$(host)" "$(port)" 2>/dev/null; }

# ask: what GET /health answers, status line and headers first.
# shellcheck disable=SC2016
ask() { connected 'printf "GET /health HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" >&3 && cat <&3'; }

# port_is_free: what is ending may take a moment.
port_is_free() {
    local _
    for _ in {1..25}; do
        if ! connected :; then return; fi
        sleep 0.2
    done
    return 1
}

healthy() { [[ $1 =~ ^HTTP/1\.[01]\ 200\  ]]; }

# is_of RELEASE ANSWER: whether it is the one that answers; an image of a registry has a name of its own.
is_of() { [[ -n $(about "$1" image) || $2 == *"\"releaseId\":\"$1\""* ]]; }

# checks STATUS: reads an answer, prints the checks that are so: their names, and what they say.
checks() {
    tr '{' '\n' | awk -v wanted="$1" '
        /"status":/ && check != "" && index($0, "\"status\":\"" wanted "\"") {
            line = "    " wanted "  " check
            if (match($0, /"componentId":"[^"]*"/)) line = line "  " substr($0, RSTART + 15, RLENGTH - 16)
            if (match($0, /"output":"[^"]*"/)) line = line ": " substr($0, RSTART + 10, RLENGTH - 11)
            print line
        }
        match($0, /"[a-z]+:[a-z]+":\[$/) { check = substr($0, RSTART + 1, RLENGTH - 4) }'
}

# show_health: the answer in short; 1 when it fails, or there is none.
show_health() {
    local answer
    answer=$(ask) || true
    if [[ -z $answer ]]; then
        echo "nothing answers on port $(port)"
        return 1
    fi
    echo "GET /health: $(head -n 1 <<<"$answer" | tr -d '\r')"
    checks fail <<<"$answer"
    checks warn <<<"$answer"
    healthy "$answer"
}

# wait_for_health RELEASE: until it has been well three times running; 1, and why, when that does not come.
wait_for_health() {
    local end=$((SECONDS + health_wait)) well=0 answer
    while ((SECONDS < end)); do
        if ! "${mode}_alive" "$1"; then
            tell "$1 has ended instead of running; the last it printed:"
            "${mode}_output" "$1"
            return 1
        fi
        answer=$(ask) || true
        if healthy "$answer" && is_of "$1" "$answer"; then well=$((well + 1)); else well=0; fi
        if ((well == 3)); then return 0; fi
        sleep "$health_pause"
    done
    tell "$1 is not healthy after $health_wait s:"
    show_health >&2 || true
    is_of "$1" "$answer" || tell "what answers there is another one: stop it, then start again"
    "${mode}_output" "$1"
    return 1
}

# ---------------------------------------------------------------------- going over

check_config() {
    local told
    told=$("${mode}_check" "$1" 2>&1) || {
        tell "$1 cannot run with the configuration in $home/config; nothing was stopped:"
        refuse "$(tail -n 5 <<<"$told")" "What it ships: $home/releases/$1/config"
    }
}

# back_up RELEASE: by its observer command, to where [backup] says, or else beside the data.
back_up() {
    if [[ -z ${backup_to:-} ]]; then
        backup_to=configured
        if "${mode}_observer" "$1" config show | grep '^backup.to = null' >/dev/null; then
            backup_to=$("${mode}_where" data/backups)
        fi
    fi
    if [[ $backup_to == configured ]]; then
        "${mode}_observer" "$1" backup create
    else
        "${mode}_observer" "$1" backup create --to "$backup_to"
    fi
}

bring_up() { switch_to "$1" && "${mode}_up" "$1" && wait_for_health "$1"; }

# go_over_to RELEASE WITH [anyway]: backed up by the release WITH, which must succeed but for `anyway`.
go_over_to() {
    local to=$1 with=$2 anyway=${3:-} from
    from=$(linked current)
    verify "$home/releases/$to"
    "${mode}_prepare" "$to"
    check_config "$to"
    # Most of it while it still runs, so that what is left for when it stands is little.
    back_up "$with" || [[ -n $anyway ]] || refuse "the backup failed (above): nothing was changed"
    keep "$home/state/going" <<<"$from $to"
    say "stopping $from"
    if "${mode}_down" "$from" && { back_up "$with" || [[ -n $anyway ]]; } && bring_up "$to"; then
        arrived "$from" "$to"
    else
        go_back "$from" "$to"
    fi
}

arrived() {
    link_to previous "releases/$1"
    rm -f "$home/state/going"
    prune
    say "$2 is in; before it was $1"
}

go_back() {
    local well=yes
    tell "going back from $2 to $1"
    "${mode}_down" "$2" || true
    bring_up "$1" || well=no
    rm -f "$home/state/going"
    [[ $well == yes ]] || refuse "$1 is not well either (above): see README.md, \"When something is wrong\""
    tell "$1 is back and healthy; $2 is not in (why: above)"
    exit 1
}

# recover: what a command began that was killed is finished where the new release was in already, else undone.
recover() {
    local from to
    if [[ -s $home/state/going ]]; then
        read -r from to <"$home/state/going"
        if [[ $(linked current) == "$to" ]]; then
            say "going over from $from to $to was interrupted, and is finished now"
            if bring_up "$to"; then arrived "$from" "$to"; else go_back "$from" "$to"; fi
        else
            say "going over from $from to $to was interrupted before it counted: $from stays"
        fi
    fi
    rm -f "$home/state/going"
}

# ---------------------------------------------------------------------- commands

installed() {
    release=$(linked current)
    [[ -n $release ]] || refuse "nothing is installed in $home: unpack a package and run its start_ops.sh," \
        "or name the folder: --home DIR"
}

# begin: what every command that changes something does first.
begin() {
    lock
    if [[ -e $home/ops.env ]]; then check_environment; fi
    choose_mode
    if [[ $mode == docker ]]; then docker_is_ours; fi
    echo "$mode" | keep "$home/state/mode"
}

unpacked() { [[ -f $own/MANIFEST.txt && $own != "$home"/releases/* ]]; }

start() {
    begin
    recover
    if unpacked; then
        take_in "$own"
        if [[ $(linked current) != "$release" && -n $(linked current) ]]; then
            refuse "$home runs another release, $(linked current); this package is $release: $0 upgrade"
        fi
    else
        installed
    fi
    run
}

# run: `release` is, or becomes, the one that is in.
run() {
    local first=''
    verify "$home/releases/$release"
    if [[ -z $(linked current) ]]; then first=yes; fi
    lay_out "$release"
    if ! "${mode}_alive" "$release"; then "${mode}_prepare" "$release"; fi
    if [[ -n $first && $mode == docker ]]; then docker_first "$release"; fi
    if ! bring_up "$release"; then
        tell "what runs is left as it is: look at $home/start_ops.sh logs, or stop it"
        exit 1
    fi
    status || true
}

stop() {
    begin
    installed
    "${mode}_down" "$release"
    say "$release is stopped"
}

status() {
    local worst=0
    mode=$(cat "$home/state/mode" 2>/dev/null) || mode=docker
    installed
    echo "== $release, as a ${mode/docker/container}, in $home"
    (verify "$home/releases/$release") || worst=1
    if [[ -s $home/state/going ]]; then
        echo "going over to another release was interrupted: \`start_ops.sh start\` finishes or undoes it"
        worst=1
    fi
    "${mode}_state" "$release" || worst=1
    echo "== errors of the last 24 hours"
    "${mode}_observer" "$release" logs errors --since 24h || worst=1
    echo "== disk"
    du -sh "$home/data" "$home/logs"
    df -h "$home/data"
    echo "== health"
    show_health || worst=1
    return "$worst"
}

logs() {
    mode=$(cat "$home/state/mode" 2>/dev/null) || mode=docker
    installed
    "${mode}_logs" "$release" "$@"
}

upgrade() {
    local from=${1:-}
    if [[ -z $from ]] && unpacked; then from=$own; fi
    [[ -n $from ]] || refuse "upgrade needs the package to go over to: upgrade PACKAGE"
    begin
    recover
    take_in "$from"
    if [[ -n $(linked current) && $(linked current) != "$release" ]]; then
        lay_config "$(linked current)" "$release"
        go_over_to "$release" "$(linked current)"
        status || true
    else
        run
    fi
}

rollback() {
    local to from='' going=''
    begin
    installed
    to=$(linked previous)
    if [[ -s $home/state/going ]]; then
        read -r from going <"$home/state/going"
        if [[ $going == "$release" ]]; then to=$from; fi
        rm -f "$home/state/going"
    fi
    [[ -n $to && $to != "$release" ]] || refuse "there is no release before $release to go back to"
    go_over_to "$to" "$to" anyway
    status || true
}

observer() {
    mode=$(cat "$home/state/mode" 2>/dev/null) || mode=docker
    installed
    "${mode}_observer" "$release" "$@"
}

main() {
    local command='' arguments=()
    home='' wanted=''
    while (($#)); do
        case $1 in
        --home)
            home=${2:?start_ops: --home needs a folder}
            shift
            ;;
        --docker) wanted=docker ;;
        --no-docker) wanted=process ;;
        -h | --help)
            usage
            return
            ;;
        observer | supervise)
            command=$1 arguments=("${@:2}")
            break
            ;;
        start | stop | status | logs | upgrade | rollback)
            [[ -z $command ]] || refuse "one command at a time: $command or $1"
            command=$1
            ;;
        *) arguments+=("$1") ;;
        esac
        shift
    done
    command=${command:-start}
    if [[ -z $home ]]; then home=$(default_home); fi
    [[ -d $home ]] || [[ $command == start || $command == upgrade ]] || refuse "there is no $home; --home DIR names it"
    check_waits
    mkdir -p "$home"
    home=$(cd "$home" && pwd)
    case $command-${#arguments[@]} in
    start-0 | stop-0 | status-0 | rollback-0 | upgrade-[01] | observer-* | supervise-1) ;;
    logs-0) ;;
    logs-1) [[ ${arguments[0]} == --follow ]] || refuse "logs knows --follow, not '${arguments[0]}'" ;;
    *)
        usage >&2
        refuse "$command does not take: ${arguments[*]}"
        ;;
    esac
    "$command" "${arguments[@]}"
}

main "$@"
