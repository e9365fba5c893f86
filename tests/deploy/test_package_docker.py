"""start_ops.sh with Docker: what it asks of docker, by one that writes it down; killed at every step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import packages
from tests.support.packages import Deployment, unpack

Package = Callable[..., Path]
NEW_DEFAULT = ("deploy/config/observer.toml", "# a new default\n")
DIGEST = "registry.example/qts-observer@sha256:" + "0" * 64
TOKEN = "[[web.token]]"
# Keeps images, and which one runs, as files in $FAKE; what runs answers on the port of ops.env.
DOCKER = """#!/usr/bin/env bash
echo "$*" >>"$FAKE/calls"
if [[ -n ${FAILS:-} && "$* ${QTS_IMAGE:-}" == *$FAILS* ]]; then
    echo "Error response from daemon" >&2
    exit 1
fi
case "$*" in
"compose version") ;;
"container inspect "*) cat "$FAKE/owner" 2>/dev/null ;;
"image inspect "*) grep -qx -- "$3" "$FAKE/images" ;;
"pull "*) echo "${!#}" >>"$FAKE/images" ;;
"build "*) while [[ $1 != --tag ]]; do shift; done; echo "$2" >>"$FAKE/images" ;;
"image rm "*) grep -vx -- "$3" "$FAKE/images" >"$FAKE/left"; mv "$FAKE/left" "$FAKE/images" ;;
"inspect "*) echo "running healthy, restarts: 0, out of memory: false" ;;
"stats "*) echo "CPU % 1.0" ;;
compose*" up "*)
    [[ $(cat "$FAKE/running" 2>/dev/null) != "$QTS_IMAGE" ]] || exit 0
    kill "$(cat "$FAKE/pid" 2>/dev/null)" 2>/dev/null
    grep -qx -- "$QTS_IMAGE" "$FAKE/images" || { echo "no such image" >&2; exit 1; }
    "$PYTHON_OF_TEST" "$FAKE/serve.py" "${QTS_PORT:-$(sed -n s/^QTS_PORT=//p "$QTS_ENV_FILE")}" "$QTS_IMAGE" \
        </dev/null >"$FAKE/out" 2>&1 9>&- &
    echo $! >"$FAKE/pid"
    echo "$QTS_IMAGE" >"$FAKE/running"
    ;;
compose*" stop "*) kill "$(cat "$FAKE/pid" 2>/dev/null)" 2>/dev/null; rm -f "$FAKE/running" ;;
compose*" --status running "*) if [[ -s $FAKE/running ]]; then echo c0ffee; fi ;;
compose*" --all --quiet "*) echo c0ffee ;;
compose*" ps "*) echo NAME ;;
compose*" logs "*) if [[ $* != *errors* ]]; then echo "observer-1  | started"; fi ;;
compose*" token new "*)
    echo qts_secret
    printf '%s\\n' ' Container made' '# it' '[[web.token]]' 'name = "operator"' 'sha256 = "5"' >&2
    ;;
compose*" config show") echo "backup.to = null" && head -c 200000 /dev/zero ;;
compose*" run "* | compose*" exec "*) ;;
*) echo "an unknown command: $*" >&2; exit 99 ;;
esac
"""
SERVE = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        bad = bool(os.environ.get("UNHEALTHY")) and os.environ["UNHEALTHY"] in sys.argv[2]
        self.send_response(503 if bad else 200)
        self.end_headers()
        status = "fail" if bad else "pass"
        self.wfile.write(b'{"status":"%s","releaseId":"%s","checks":{"stage:lag":[{"status":"%s"}]}}' % (
            status.encode(), sys.argv[2].partition(":")[2].encode(), status.encode()))
    def log_message(self, *words): pass
class Server(http.server.HTTPServer):
    def server_bind(self):
        http.server.socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "here", 0
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


class Docked(Deployment):
    fake: Path

    @property
    def calls(self) -> str:
        return (self.fake / "calls").read_text()

    @property
    def runs(self) -> str:
        path = self.fake / "running"
        return path.read_text().strip() if path.exists() else ""


@pytest.fixture
def docked(tmp_path: Path) -> Iterator[Docked]:
    made = Docked(**vars(Deployment.new(tmp_path / "home")))
    made.fake = tmp_path / "fake"
    made.fake.mkdir()
    for name, text in (("docker", DOCKER), ("sleep", '#!/bin/sh\nexec "$REAL_SLEEP" 0.02\n')):
        (made.fake / name).write_text(text)
        (made.fake / name).chmod(0o755)
    (made.fake / "serve.py").write_text(SERVE)
    for name in ("images", "calls"):
        (made.fake / name).touch()
    made.environment |= {
        "PATH": f"{made.fake}:{os.environ['PATH']}", "FAKE": str(made.fake), "REAL_SLEEP": "/bin/sleep",
        "PYTHON_OF_TEST": sys.executable, "QTS_HEALTH_WAIT": "20",
    }  # fmt: skip
    yield made
    subprocess.run(
        ["bash", "-c", 'kill "$(cat "$1/pid")"', "end", made.fake], check=False, capture_output=True
    )


@pytest.fixture
def running(docked: Docked, package: Package, tmp_path: Path) -> Docked:
    docked.well("start", script=unpack(package(), tmp_path) / "start_ops.sh")
    return docked


def test_it_builds_starts_and_shows(running: Docked) -> None:
    release = running.linked()
    assert running.runs == f"qts-observer:{release}"
    calls = running.calls
    folder = running.home / "releases" / release
    (build,) = re.findall(r"^build .*$", calls, re.M)
    assert f"--build-context wheel={folder}/wheel" in build
    assert f"--build-arg EXTRAS=none --build-arg REVISION={release} --build-arg VERSION=0.1.0" in build
    assert build.endswith(str(folder))
    assert f"--project-directory {running.home} --file {folder}/docker-compose.yml" in calls
    assert " up --detach --no-build --pull never" in calls
    owner = (running.home / "data").stat()
    assert owner.st_uid != 0, "a container would be root"
    # The first token was made, and is for the operator alone.
    config = running.home / "config" / "observer.toml"
    assert config.read_text().count(TOKEN) == 1
    token = running.home / "operator.token"
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("qts_secret\n", 0o600)
    told = running.well("status")
    assert "running healthy, restarts: 0, out of memory: false" in told
    assert "CPU %" in told
    assert "exec -T observer observer logs errors --since 24h" in running.calls
    assert "started" in running.well("logs")
    running.well("stop")
    assert running.runs == ""
    done = running.ops("status")
    assert done.returncode == 1
    running.well("start")
    assert config.read_text().count(TOKEN) == 1


def test_an_image_of_a_registry_is_pulled(docked: Docked, tmp_path: Path) -> None:
    tree = packages.copy_of_checkout(tmp_path / "tree")
    script = unpack(packages.build(tree, "--image", DIGEST), tmp_path) / "start_ops.sh"
    assert not (script.parent / "Dockerfile").exists()
    docked.well("start", script=script)
    assert docked.runs == DIGEST
    assert f"pull --quiet {DIGEST}\n" in docked.calls
    assert "build " not in docked.calls.replace("--no-build", "")


def test_ops_env_means_the_same_everywhere(running: Docked) -> None:
    settings = running.home / "ops.env"
    text = settings.read_text()
    for line, told in (
        ('SECRET="quoted"', "no place in a value"),
        ("SECRET=a$b", "no place in a value"),
        ("SECRET=a # b", "no place in a value"),
        ("OBSERVER_WEB__PORT=1", "the port is QTS_PORT"),
        ("1=2", "expected NAME=VALUE"),
    ):
        settings.write_text(f"{text}{line}\n")
        done = running.ops("start")
        assert done.returncode == 2
        assert f"line 3: {told}" in done.stderr or told in done.stderr
    settings.write_text(text)


def test_the_port_is_that_of_ops_env_alone(running: Docked) -> None:
    running.well("stop")
    running.well("start", QTS_PORT="1")
    assert "200 OK" in running.health()


def test_the_container_of_another_deployment_is_left_alone(
    docked: Docked, package: Package, tmp_path: Path
) -> None:
    (docked.fake / "owner").write_text("/opt/other\n")
    script = unpack(package(), tmp_path) / "start_ops.sh"
    done = docked.ops("start", script=script)
    assert done.returncode == 2
    assert "that of /opt/other" in done.stderr
    assert "compose --project" not in docked.calls
    (docked.fake / "owner").write_text(f"{docked.home}\n")
    docked.well("start", script=script)


def test_what_cannot_be_a_wait_is_refused_before_anything_is_stopped(
    running: Docked, package: Package
) -> None:
    for name, value in (("HEALTH_WAIT", "2m"), ("STOP_WAIT", "08"), ("HEALTH_PAUSE", "")):
        done = running.ops("upgrade", package("0.2.0", NEW_DEFAULT), **{f"QTS_{name}": value or "-1"})
        assert done.returncode == 2
        assert "whole seconds" in done.stderr
        assert running.runs == f"qts-observer:{running.linked()}"


def test_a_lost_connection_does_not_leave_it_standing(running: Docked, package: Package) -> None:
    first = running.linked()
    begun = subprocess.Popen(
        [running.home / "start_ops.sh", "upgrade", package("0.2.0", NEW_DEFAULT)], text=True,
        env={**os.environ, **running.environment, "UNHEALTHY": "0.2.0", "QTS_HEALTH_WAIT": "2"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert begun.stdout is not None
    with begun.stdout:
        assert any("stopping" in line for line in begun.stdout)
    begun.wait(60)
    assert running.runs == f"qts-observer:{running.linked()}" == f"qts-observer:{first}"
    assert "200 OK" in running.health()
    assert not (running.home / "state" / "going").exists()


def test_a_disk_that_is_full_at_the_switch_takes_it_back(running: Docked, package: Package) -> None:
    first = running.linked()
    (running.fake / "cat").write_text(
        "#!/usr/bin/env bash\n"
        "if [[ $(readlink /proc/$$/fd/1) == */deployment_config* ]] && mkdir $FAKE/full 2>/dev/null; then\n"
        "    echo 'cat: write error: No space left on device' >&2\n    exit 1\nfi\nexec /bin/cat \"$@\"\n"
    )
    (running.fake / "cat").chmod(0o755)
    done = running.ops("upgrade", package("0.2.0", NEW_DEFAULT))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{first} is back and healthy" in done.stderr
    assert str(running.port) in (running.home / "deployment_config.json").read_text()


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("compose version", "no Docker with its compose plugin"),
        ("build --quiet", "the image could not be built"),
        ("token new", "no token could be made"),
        (" up ", "what runs is left as it is"),
    ],
)
def test_a_first_start_that_fails_says_where(
    fails: str, told: str, docked: Docked, package: Package, tmp_path: Path
) -> None:
    script = unpack(package(), tmp_path) / "start_ops.sh"
    done = docked.ops("start", script=script, FAILS=fails)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert docked.runs == ""
    docked.well("start", script=script)
    assert TOKEN in (docked.home / "config" / "observer.toml").read_text()


@pytest.mark.parametrize(
    ("fails", "told", "stopped"),
    [
        ("build --quiet", "could not be built", False),
        ("config check", "nothing was stopped", False),
        ("backup create", "the backup failed", False),
        (" stop ", "going back", True),
        ("run --rm --no-deps -T observer backup", "going back", True),
        ("up --detach --no-build --pull never --quiet-pull observer qts-observer:0.2.0", "going back", True),
    ],
)
def test_an_upgrade_that_fails_leaves_the_release_that_was_in(
    fails: str, told: str, stopped: bool, running: Docked, package: Package
) -> None:
    first = running.linked()
    before = running.calls.count(" stop ")
    done = running.ops("upgrade", package("0.2.0", NEW_DEFAULT), FAILS=fails)
    assert done.returncode == (1 if stopped else 2), done.stdout + done.stderr
    assert told in done.stderr
    assert (running.calls.count(" stop ") > before) == stopped
    assert (running.linked(), running.runs) == (first, f"qts-observer:{first}")
    assert not (running.home / "state" / "going").exists()
    running.well("upgrade", package("0.2.0", NEW_DEFAULT))
    assert running.calls.count("backup create --to /app/data/backups\n") >= 2
    second = running.linked()
    running.well("rollback")
    assert (running.linked(), running.linked("previous")) == (first, second)
    assert running.runs == f"qts-observer:{first}"


def test_what_is_not_well_goes_back(running: Docked, package: Package) -> None:
    first = running.linked()
    newer = package("0.2.0", NEW_DEFAULT)
    done = running.ops("upgrade", newer, UNHEALTHY="0.2.0", QTS_HEALTH_WAIT="2")
    assert done.returncode == 1
    assert "fail  stage:lag" in done.stderr
    assert f"{first} is back and healthy" in done.stderr
    done = running.ops("upgrade", newer, UNHEALTHY="qts", QTS_HEALTH_WAIT="1")
    assert done.returncode == 2
    assert f"{first} is not well either" in done.stderr


# Commands of start_ops.sh, as written, in their order: between two of them is a state of its own.
STEPS = (
    '"${mode}_prepare" "$to"', 'back_up "$with"', 'keep "$home/state/going"', '"${mode}_down" "$from"',
    "link_to current", 'mv -T "$home/.$1.new"', "link_to start_ops.sh", '"${mode}_up"', "link_to previous",
    "prune",
)  # fmt: skip


def test_killed_at_any_step_the_next_one_finishes_or_undoes(
    running: Docked, package: Package, tmp_path: Path
) -> None:
    """Steps of an upgrade, and of the rollback of it; which comes next depends on what is in after a kill."""
    first = running.linked()
    newer = package("0.2.0", NEW_DEFAULT)
    steps = {"upgrade": ['mv -T "$home/releases/.new"', *STEPS], "rollback": list(STEPS)}
    while any(steps.values()):
        command = "upgrade" if running.linked() == first else "rollback"
        step = steps[command].pop(0) if steps[command] else ""
        words = ("upgrade", newer) if command == "upgrade" else ("rollback",)
        done = running.ops(*words, **(packages.killed_at(tmp_path, step) if step else {}))
        assert done.returncode == (-signal.SIGKILL if step else 0), f"{command}, {step}\n{done.stderr}"
        if step:
            running.well("start")
        assert running.runs == f"qts-observer:{running.linked()}", (command, step)
        assert not (running.home / "state" / "going").exists()
