"""Packages of deploy_ops.sh, built from copies of this checkout, and deployments of them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "deploy_ops.sh", "deploy", "config", "docker-compose.yml", "Dockerfile", ".dockerignore", "examples",
    "deployment_config.json", "requirements.txt", "requirements-dev.txt", "observer_core", "pyproject.toml",
    "README.md", "LICENSE", "NOTICE", ".gitignore",
)  # fmt: skip
NAME = "qts_ops_deploy"
EPOCH = "1764288000"

UNHEALTHY = (
    "observer_core/runtime/health.py",
    'Health._readable = lambda self: iter([Finding("new code", "fail", output="it does not work")])\n',
)
"""A version that runs and is never well."""
CHOOSY = (
    "observer_core/runtime/settings.py",
    'def load(*a: Any, **k: Any) -> Any:\n    raise ConfigError("durability is no longer known")\n',
)
"""A version that does not take the configuration."""
HOPELESS = ("observer_core/runtime/standalone.py", 'raise SystemExit("standalone.py: it is broken")\n')
"""A version that cannot start."""


def copy_of_checkout(folder: Path, version: str = "0.1.0", *additions: tuple[str, str]) -> Path:
    """What a package is made of, as a version; `additions`: (file, what is put at its end)."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(source, folder / part, ignore=ignored)
        elif source.exists():
            shutil.copy(source, folder / part)
    for name in ("observer_core/__init__.py", "deployment_config.json"):
        text = (folder / name).read_text()
        changed = re.sub(r'(version(?:__ =|":) )"[^"]+"', rf'\1"{version}"', text)
        assert version in changed
        (folder / name).write_text(changed)
    for name, text in additions:
        with (folder / name).open("a") as file:
            file.write(text)
    return folder


def build(tree: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> Path:
    """The package of a tree."""
    done = run(
        [tree / "deploy_ops.sh", "build", "--extras", "none", *arguments], cwd=cwd or tree,
        env={"PYTHON": sys.executable, "SOURCE_DATE_EPOCH": EPOCH, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist" / f"{NAME}.tar.gz"


def run(
    command: list[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, seconds: float = 100
) -> subprocess.CompletedProcess[str]:
    """Without this process's own settings for the Observer and for Python."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("OBSERVER_", "PYTHON", "QTS_"))
    }
    return subprocess.run(
        command, cwd=cwd, env={**kept, **(env or {})}, capture_output=True, text=True, timeout=seconds,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def unpack(package: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by the first of the processes that ask for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            make(new)
            new.rename(folder)
    return folder


@dataclass
class Deployment:
    """A folder with a deployment of its own port, and start_ops.sh on it."""

    home: Path
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def new(home: Path, venvs: Path | None = None, **environment: str) -> Deployment:
        """`venvs`: environments that have been installed before, from the same pinned requirements."""
        home.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        settings = home / "ops.env"
        settings.write_text(f"QTS_PORT={port}\nOBSERVER_DURABILITY=normal\n")
        settings.chmod(0o600)
        if venvs is not None:
            (home / "venvs").mkdir()
            for venv in venvs.iterdir():
                (home / "venvs" / venv.name).symlink_to(venv)
        defaults = {"QTS_HEALTH_WAIT": "60", "QTS_STOP_WAIT": "30", "QTS_HEALTH_PAUSE": "0.1"}
        return Deployment(home, port, {**defaults, **environment})

    def ops(
        self, *arguments: str | Path, script: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """By the start_ops.sh that is in, or by another one."""
        command = script or self.home / "start_ops.sh"
        return run(
            [command, "--home", self.home, *arguments], cwd=self.home.parent,
            env={**self.environment, **environment},
        )  # fmt: skip

    def well(self, *arguments: str | Path, script: Path | None = None, **environment: str) -> str:
        """What `ops` prints; it must succeed."""
        done = self.ops(*arguments, script=script, **environment)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def linked(self, name: str = "current") -> str:
        """The release that is in, or `previous`."""
        return (self.home / name).readlink().name if (self.home / name).is_symlink() else ""

    def health(self) -> str:
        """What a client is told, headers and all; nothing where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                parts = list(iter(lambda: connection.recv(65536), b""))
                return b"".join(parts).decode()
        except OSError:
            return ""

    def segments(self) -> dict[str, bytes]:
        """The bytes of every journal."""
        data = self.home / "data" / "observer"
        return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*.ndjson")}

    def keeps(self, before: Mapping[str, bytes]) -> None:
        """Nothing that was written has gone or changed, and there is more."""
        now = self.segments()
        assert before
        assert {name for name, data in before.items() if not now.get(name, b"").startswith(data)} == set()
        assert sum(map(len, now.values())) > sum(map(len, before.values()))

    def kill(self) -> None:
        """Nothing is left running; a supervisor takes its Observer along."""
        pid = self.home / "state" / "observer.pid"
        for _ in range(100):
            if not pid.exists():
                return
            self.ops("stop")
            time.sleep(0.1)


def killed_at(folder: Path, command: str) -> dict[str, str]:
    """For start_ops.sh's environment: it is killed before a command that holds this text, as written."""
    trap = folder / "trap.sh"
    trap.write_text(
        "unset BASH_ENV\nset -T\ntrap 'case $BASH_COMMAND in *\"$KILLED_AT\"*) kill -9 $$ ;; esac' DEBUG\n"
    )
    return {"BASH_ENV": str(trap), "KILLED_AT": command}
