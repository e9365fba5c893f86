"""What `docker build` and `docker run` do with the Dockerfile, as far as a root folder and namespaces go.

Every step of a stage is done in a root of its own: a Debian that debootstrap made stands in for the base
image (its Python for that of python:3.11-slim; another interpreter can be lent to it). Containers are
processes with their own mounts, processes and network, in which nothing else listens. Needs root, and
debootstrap once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support import dockerfile
from tests.support.dockerfile import Dockerfile, Stage, Step

SUITE = "bookworm"
_HOME = "/root"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qts-observer"
_INCLUDED = "python3,python3-venv"
# How this machine reaches its registries is lent to a build, and stays in no root.
_LENT_NAMES = re.compile(
    r"PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?:https?|all|no)_proxy", re.IGNORECASE
)
_LENT_PATHS = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs")
_LOOPBACK_UP = (
    "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"
)


@dataclass(frozen=True)
class Bind:
    """A folder or file of this machine inside a root."""

    outside: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class Image:
    root: Path
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: tuple[int, int] = (0, 0)
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    """What its base needs to have lent."""


def missing() -> str | None:
    """Why roots cannot be made here; None when they can."""
    if os.geteuid() != 0:
        return "needs root, for chroot and mounts"
    if shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return "needs debootstrap: `make ops-tools`, or apt-get install debootstrap"
    probe = ["unshare", "--mount", "--pid", "--net", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "needs namespaces and mounts, which this machine does not give"
    return None


def debian() -> Path:
    """A Debian, in an archive, with its Python as /usr/local/bin/python; made once, and kept."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    kept = _CACHE / f"{SUITE}-{hashlib.sha256(_INCLUDED.encode()).hexdigest()[:8]}.tar"
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            root, part = _CACHE / "making", kept.with_suffix(".part")
            shutil.rmtree(root, ignore_errors=True)
            _run(
                ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", SUITE, str(root), _mirror()],
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
            )
            for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
                shutil.rmtree(root / name, ignore_errors=True)
            build(Image(root), ["python3", "-m", "venv", "/usr/local"])
            _run(["tar", "--create", "--file", str(part), "--directory", str(root), "."])
            part.rename(kept)
            shutil.rmtree(root)
    return kept


def _mirror() -> str:
    """Where this machine's own apt takes Debian from."""
    asked = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        f"Codename: {SUITE}",
    ]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if not found:
        raise RuntimeError(
            f"apt knows no source of {SUITE} (apt-get indextargets): add one, or apt-get update"
        )
    return found[0]


class Builder:
    """Builds stages of the Dockerfile from what .dockerignore lets through of `context`."""

    def __init__(self, folder: Path, context: Path, bases: Mapping[str, Image], **args: str) -> None:
        self._folder, self._context = folder, context
        self._file: Dockerfile = dockerfile.read(context / "Dockerfile", **args)
        self._args = args
        self._sent = set(sent(context))
        self._built: dict[str, Image] = dict(bases)

    def build(self, name: str) -> Image:
        if name not in self._built:
            stage = self._file.stages[name]
            root = self._folder / name
            if stage.base == "scratch":
                root.mkdir()
                image = Image(root)
            else:
                base = self.build(stage.base)
                _run(["cp", "--archive", str(base.root), str(root)])
                image = replace(base, root=root)
            self._built[name] = self._steps(image, stage)
        return self._built[name]

    def _steps(self, image: Image, stage: Stage) -> Image:
        given: dict[str, str] = {}
        for step in stage.steps:
            known = {**given, **image.env}
            text = dockerfile.expand(step.text, known)
            words = replace(step, text=text).words() if step.name not in ("RUN", "CMD", "ENTRYPOINT") else []
            match step.name:
                case "ARG":
                    name, equals, default = step.text.partition("=")
                    value = self._args.get(name, default if equals else self._file.args.get(name, ""))
                    given[name] = dockerfile.expand(value, known)
                case "ENV":
                    image = replace(image, env={**image.env, **dict(word.split("=", 1) for word in words)})
                case "WORKDIR":
                    image = replace(image, workdir=os.path.join(image.workdir, text))
                    _inside(image.root, image.workdir).mkdir(parents=True, exist_ok=True)
                case "USER":
                    user, _, group = text.partition(":")
                    image = replace(image, user=(int(user), int(group)))
                case "COPY":
                    self._copy(image, step, words)
                case "RUN":
                    build(
                        replace(image, env={**given, **image.env}),
                        ["/bin/sh", "-c", step.text],
                        [self._mounted(value) for name, value in step.flags if name == "mount"],
                    )
                case "ENTRYPOINT":
                    image = replace(image, entrypoint=tuple(step.command()), cmd=())
                case "CMD":
                    image = replace(image, cmd=tuple(step.command()))
                case "HEALTHCHECK":
                    image = replace(image, healthcheck=tuple(step.command()))
                case "EXPOSE" | "LABEL" | "STOPSIGNAL":
                    pass
                case _:
                    raise ValueError(f"line {step.line}: {step.name} cannot be done here")
        return image

    def _mounted(self, text: str) -> Bind:
        values = dict(part.split("=", 1) for part in text.split(","))
        if values.pop("type") != "bind" or set(values) != {"from", "target"}:
            raise ValueError(f"--mount={text}: only bind with from and target is understood here")
        return Bind(self.build(values["from"]).root, values["target"])

    def _copy(self, image: Image, step: Step, words: list[str]) -> None:
        *sources, target = words
        to = _inside(image.root, os.path.join(image.workdir, target))
        unknown = {name for name, _ in step.flags} - {"from"}
        if unknown:
            raise ValueError(f"line {step.line}: COPY --{unknown.pop()} is not understood here")
        stage = step.flag("from")
        for source in sources:
            origin = self._context / source if stage is None else _inside(self.build(stage).root, source)
            into = to / origin.name if origin.is_file() and (target.endswith("/") or to.is_dir()) else to
            if stage is not None:
                into.parent.mkdir(parents=True, exist_ok=True)
                # What a stage has given is not written to any more, here or there.
                _run(["cp", "--archive", "--link", "--no-target-directory", str(origin), str(into)])
                continue
            taken = [path for path in self._sent if path == Path(source) or Path(source) in path.parents]
            if not taken:
                raise FileNotFoundError(f"line {step.line}: COPY {source}: .dockerignore sends no such file")
            for path in taken:
                place = into / path.relative_to(source) if origin.is_dir() else into
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._context / path, place)
                os.chown(place, 0, 0)


def sent(context: Path) -> Iterator[Path]:
    """The files that .dockerignore, which lets nothing through but what it names, shows a builder."""
    lines = (context / ".dockerignore").read_text().splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    patterns = [(_pattern(line.lstrip("!")), line.startswith("!")) for line in lines]
    if not patterns or lines[0] != "*":
        raise ValueError(".dockerignore was expected to begin with *")
    for top in sorted({line[1:].partition("/")[0] for line in lines if line.startswith("!")}):
        for path in [context / top] if (context / top).is_file() else (context / top).rglob("*"):
            name = path.relative_to(context)
            # The last pattern that fits decides.
            if path.is_file() and [let for fits, let in patterns if fits.fullmatch(name.as_posix())][-1]:
                yield name


def _pattern(line: str) -> re.Pattern[str]:
    text = re.escape(line).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(re.sub(r"\\\[(.*?)\\\]", r"[\1]", text) + "(?:/.*)?")


def build(image: Image, command: Sequence[str], binds: Sequence[Bind] = ()) -> None:
    """What RUN does: with the network and, while it lasts, this machine's way to its registries."""
    lent = {name: value for name, value in os.environ.items() if _LENT_NAMES.fullmatch(name)}
    # What pip downloads is kept here, as a builder keeps layers; into the root it does not come.
    cache = _CACHE / "pip"
    cache.mkdir(parents=True, exist_ok=True)
    env = {**image.env, "HOME": _HOME, **lent, "PIP_CACHE_DIR": "/mnt"}
    env.pop("PIP_NO_CACHE_DIR", None)
    paths = [Bind(Path(path), path) for path in _LENT_PATHS]
    paths.append(Bind(Path.home() / ".config" / "pip", f"{_HOME}/.config/pip"))
    paths += [
        Bind(Path(word), word) for word in lent.get("PIP_FIND_LINKS", "").split() if word.startswith("/")
    ]
    binds = [*(bind for bind in paths if bind.outside.exists()), Bind(cache, "/mnt", writable=True), *binds]
    with entered(image, command, binds, env=env, network=True, stdout=subprocess.PIPE,
                 stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
        told = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode} of {shlex.join(command)}:\n{told[-4000:]}")


@contextmanager
def entered(
    image: Image, command: Sequence[str], binds: Sequence[Bind] = (), *, env: Mapping[str, str] | None = None,
    network: bool = False, read_only: bool = False, **options: Any,
) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
    """A process as number 1 of a container of the image; killed at the end, with all that it started."""
    binds = [*image.binds, *binds]
    made = [place for bind in binds for place in _place(image.root, bind)]
    root = shlex.quote(str(image.root))
    script = ["set -eu", f"mount --bind {root} {root}", f"mount --rbind /dev {root}/dev"]
    if read_only:
        script += [
            f"mount -o remount,bind,ro {root}",
            f"mount -t tmpfs -o nosuid,nodev,noexec none {root}/tmp",
        ]
    for bind in binds:
        inside = shlex.quote(str(_inside(image.root, bind.inside)))
        script.append(f"mount --bind {shlex.quote(str(bind.outside.resolve()))} {inside}")
        if not bind.writable:
            script.append(f"mount -o remount,bind,ro {inside}")
    if not network:
        script.append(shlex.join([sys.executable, "-I", "-c", _LOOPBACK_UP]))
    uid, gid = image.user
    script.append(
        "PATH=$INSIDE; unset INSIDE; exec /usr/bin/unshare --pid --fork --kill-child --mount-proc=/proc "
        f'--root={root} --wd={shlex.quote(image.workdir)} --setuid={uid} --setgid={gid} -- "$@"'
    )
    outer = ["unshare", "--mount", *([] if network else ["--net"]), "/bin/sh", "-c", "\n".join(script), "sh"]
    env = dict(image.env if env is None else env)
    process = subprocess.Popen(
        [*outer, *command],
        env={**env, "PATH": PATH, "INSIDE": env["PATH"]},
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for place in sorted(made, reverse=True):
            place.rmdir() if place.is_dir() else place.unlink()


def first_of(process: subprocess.Popen[str]) -> int | None:
    """The number, on this machine, of the process that is number 1 in there; None while there is none."""
    try:
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        # The mounts come before it, and are no number 1; until it has exec'd it is still `unshare`.
        numbers = re.search(r"^NSpid:(.*)", Path(f"/proc/{child}/status").read_text(), re.MULTILINE)
        is_first = numbers is not None and numbers[1].split()[1:] == ["1"]
        return int(child) if is_first and os.readlink(f"/proc/{child}/exe") != "/usr/bin/unshare" else None
    except (OSError, IndexError):
        return None


def beside(
    image: Image, first: int, command: Sequence[str], **options: Any
) -> subprocess.CompletedProcess[str]:
    """What `docker exec` does: a command beside the process `first`."""
    uid, gid = image.user
    return subprocess.run(
        ["/usr/bin/nsenter", f"--target={first}", "--mount", "--net", "--pid", f"--root=/proc/{first}/root",
         f"--wd=/proc/{first}/cwd", f"--setuid={uid}", f"--setgid={gid}", "--", *command],
        env=dict(image.env), capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def unpack(folder: Path) -> Image:
    """A root of its own, from `debian`."""
    folder.mkdir(parents=True)
    with tarfile.open(debian()) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return Image(folder)


def _place(root: Path, bind: Bind) -> list[Path]:
    """Makes what the bind is mounted on; gives what was not there, the innermost first."""
    place = _inside(root, bind.inside)
    made = [path for path in (place, *place.parents) if not path.exists()]
    if made:
        place.parent.mkdir(parents=True, exist_ok=True)
        if bind.outside.is_dir():
            place.mkdir()
        else:
            place.touch()
    return made


def _inside(root: Path, path: str) -> Path:
    return root / os.path.normpath(path).lstrip("/")


def _run(command: Sequence[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(
            f"exit code {done.returncode} of {shlex.join(command)}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
