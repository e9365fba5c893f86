"""The Dockerfile's steps done in a clean Debian, and the Observer in what comes of them: started as its user,
on a root that cannot be written, asked for its health, stopped.

What the real base images hold besides, layers and Docker's own part in it are not tried here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import image_roots
from tests.support.image_roots import Bind, Builder, Image

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
EPOCH = "1764288000"
REVISION = "5994471abb01"
QTS = 10001
_PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
_ASK = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request("http://127.0.0.1:8000" + sys.argv[1])
if sys.argv[2:]:
    request.add_header("Authorization", "Bearer " + sys.stdin.read().strip())
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    if (why := image_roots.missing()) is not None:
        if os.environ.get("CI") == "true" and "make ops-tools" in why:
            pytest.fail(f"{why}; .ci/run was to see to it")
        pytest.skip(why)
    # Half a gigabyte each; and a root is lent /dev, in which it may not lie itself.
    folder = Path(tempfile.mkdtemp(prefix="images-", dir="/var/tmp"))
    base = image_roots.unpack(folder / "base")
    yield Builder(
        folder, ROOT, {"python-pinned": base, "functions-pinned": _with_python313(base)},
        SOURCE_DATE_EPOCH=EPOCH, REVISION=REVISION,
    )  # fmt: skip
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def _with_python313(base: Image) -> Image:
    """A stand-in for the host's image: the same Debian, to which this machine lends its Python 3.13."""
    found = subprocess.run(
        ["sh", "scripts/find_python313.sh"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    if not found:
        return base
    prefix = subprocess.run(
        [found, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lent = Bind(Path(prefix), "/opt/python/3.13")
    path = f"/opt/python/3.13/bin:{base.env['PATH']}"
    env = {"PATH": path, "LD_LIBRARY_PATH": "/opt/python/3.13/lib", "HOME": "/home"}
    return replace(base, env=env, binds=(lent,))


@pytest.fixture(scope="module")
def standalone(builder: Builder) -> Image:
    return builder.build("standalone")


@pytest.fixture(scope="module")
def functions(builder: Builder) -> Image:
    if not builder.build("functions-pinned").binds:
        pytest.skip("needs a Python 3.13 on PATH or under pyenv")
    return builder.build("functions")


def done(image: Image, *command: str, binds: list[Bind] | None = None) -> subprocess.CompletedProcess[str]:
    """What `docker run --read-only --network none` would do with a command that ends."""
    with image_roots.entered(
        image, command, binds or [], read_only=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, told = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out, told)


def pins() -> set[str]:
    text = "".join((ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt"))
    return {f"{name(project)} {version}" for project, version in _PINNED.findall(text)}


def name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def distributions(folder: Path) -> set[str]:
    return {
        f"{name(path.name.split('-')[0])} {path.name.removesuffix('.dist-info').split('-')[1]}"
        for path in folder.glob("*.dist-info")
    }


def packages(image: Image) -> Path:
    (found,) = [*image.root.glob("opt/observer/lib/python3.*/site-packages"),
                *image.root.glob("home/site/wwwroot/.python_packages/lib/site-packages")]  # fmt: skip
    return found


@pytest.fixture
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(request.param)
    return found


both = pytest.mark.parametrize("image", ["standalone", "functions"], indirect=True)


def test_the_wheel_is_the_one_that_the_same_sources_give_anywhere(builder: Builder, tmp_path: Path) -> None:
    (there,) = builder.build("wheel").root.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
    )  # fmt: skip
    (here,) = tmp_path.glob("*.whl")
    assert there.name == here.name
    assert hashlib.sha256(there.read_bytes()).digest() == hashlib.sha256(here.read_bytes()).digest()


@both
def test_what_is_installed_is_pinned_and_compiled(image: Image) -> None:
    installed = distributions(packages(image))
    own = {item for item in installed if item.startswith("qts-observer ")}
    assert len(own) == 1
    assert installed - own <= pins()
    assert {item.split()[0] for item in installed} >= {
        "ccxt",
        "duckdb",
        "exchange-calendars",
        "pyarrow",
        "pyrage",
    }
    sources = [path for path in packages(image).rglob("*.py") if "static_dependencies/bip" not in str(path)]
    assert len(sources) > 1000
    assert [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))] == []


@both
def test_no_tool_to_build_with_and_nothing_lent_is_left(image: Image) -> None:
    assert not [name for name in ("pip", "hatchling", "wheel") if (packages(image) / name).exists()]
    found = [tool for tool in ("gcc", "cc", "make", "ld") for folder in ("usr/bin", "usr/local/bin")
             if (image.root / folder / tool).exists()]  # fmt: skip
    assert found == []
    left = ("src", "wheel", "root/.cache", "root/.config", "etc/pip.conf", "etc/xdg/pip", "opt/python")
    assert [path for path in left if (image.root / path).exists()] == []
    assert list((image.root / "mnt").iterdir()) == list((image.root / "tmp").iterdir()) == []


@both
def test_its_user_owns_nothing_but_where_it_keeps_what_it_makes(image: Image) -> None:
    assert image.user == (QTS, QTS)
    owned = {
        str(path.relative_to(image.root))
        for path in map(Path, listing(image.root))
        if not path.is_symlink() and (path.lstat().st_uid == QTS or path.lstat().st_mode & 0o022 == 0o022)
    }
    known = {"app/data", "app/data/observer", "app/logs", "azure-functions-host/Secrets", "home/data",
             "home/LogFiles", "home/.aspnet", "home/.azurefunctions"}  # fmt: skip
    everybodys = {"tmp", "var/tmp", "run/lock"}
    assert {path for path in owned if not path.startswith("dev/")} - everybodys <= known


def test_without_a_token_it_refuses_to_listen(standalone: Image, tmp_path: Path) -> None:
    ended = done(standalone, *standalone.entrypoint, *standalone.cmd, binds=writable(tmp_path))
    assert ended.returncode == 2
    assert "listening beyond loopback needs tokens" in ended.stderr
    assert "observer token new" in ended.stderr


@pytest.fixture
def token(standalone: Image, tmp_path: Path) -> str:
    """The one step before the first start: what is told goes to the end of the configuration."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    made = done(standalone, *standalone.entrypoint, "token", "new", "kim", "--scopes", "admin")
    with (tmp_path / "config" / "observer.toml").open("a") as file:
        file.write(made.stderr)
    return made.stdout.strip()


def writable(folder: Path) -> list[Bind]:
    for part in ("data", "logs"):
        (folder / part).mkdir()
        os.chown(folder / part, QTS, QTS)
    return [Bind(folder / part, f"/app/{part}", writable=True) for part in ("data", "logs")]


def test_it_runs_answers_for_its_health_and_stops(standalone: Image, token: str, tmp_path: Path) -> None:
    binds = [*writable(tmp_path), Bind(tmp_path / "config", "/app/config")]
    before = listing(standalone.root)
    with image_roots.entered(
        standalone, [*standalone.entrypoint, *standalone.cmd], binds, read_only=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip

        def running() -> int:
            assert process.poll() is None, process.communicate()[0]
            return image_roots.first_of(process) or 0

        first = until(running)

        def asked() -> subprocess.CompletedProcess[str]:
            running()
            return image_roots.beside(standalone, first, standalone.healthcheck)

        well = until(lambda: (found := asked()).returncode == 0 and found)
        assert well.stdout.startswith("200 ")
        assert identity(first) == {"Uid": QTS, "Gid": QTS, "NSpid": 1}

        def get(path: str, secret: str = "") -> str:
            words = ["python", "-c", _ASK, path, *(["token"] if secret else [])]
            return image_roots.beside(standalone, first, words, input=secret).stdout

        assert get("/v1/status").strip() == "401"
        status, _, body = get("/health", token).partition(" ")
        assert (status, json.loads(body)["releaseId"]) == ("200", REVISION)

        os.kill(first, signal.SIGSTOP)
        stuck = image_roots.beside(standalone, first, standalone.healthcheck)
        assert (stuck.returncode, stuck.stdout.split(":")[0]) == (1, "no answer on port 8000")
        os.kill(first, signal.SIGCONT)

        os.kill(first, signal.SIGTERM)
        told = process.communicate(timeout=60)[0]
        assert process.returncode == 0, told
    assert listing(standalone.root) == before
    assert (tmp_path / "data" / "observer" / "journal.db").stat().st_uid == QTS
    assert (tmp_path / "logs" / "observer.log").stat().st_size > 0
    assert token not in "".join(path.read_text() for path in (tmp_path / "logs").glob("*.log")) + told


def test_the_healthcheck_fails_where_nothing_runs(standalone: Image) -> None:
    ended = done(standalone, *standalone.healthcheck)
    assert (ended.returncode, ended.stdout.split(":")[0]) == (1, "no answer on port 8000")


@pytest.mark.parametrize("config", ["config/functions", "config/slot"])
def test_the_functions_app_is_found_with_what_its_image_holds(functions: Image, config: str) -> None:
    script = """
import json, os, sys
import function_app
from observer_core.runtime.settings import load
from observer_core.web import functions
settings = load()
own = os.path.join(os.environ["AzureWebJobsScriptRoot"], ".python_packages/lib/site-packages")
print(json.dumps({
    "functions": sorted(item.get_function_name() for item in function_app.app.get_functions()),
    "elsewhere": sorted({module.__file__ for module in list(sys.modules.values())
                         if "site-packages" in (getattr(module, "__file__", None) or own)
                         and not (getattr(module, "__file__", None) or own).startswith(own)}),
    "storage": settings.storage.kind, "sources": [item.name for item in settings.source],
    "policies": len(settings.decisions().policies), "version": sys.version_info[:2],
}))
"""
    image = replace(functions, env={**functions.env, "OBSERVER_CONFIG_DIR": config})
    ended = done(image, "python3", "-c", script)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    written = re.findall(
        r"^(?:async )?def ([a-z]\w*)\(", (ROOT / "function_app.py").read_text(), re.MULTILINE
    )
    assert told["functions"] == sorted(written)
    assert (told["elsewhere"], told["storage"], told["version"]) == ([], "azure", [3, 13])
    assert told["policies"] > 0
    assert told["sources"] == {"config/functions": ["host", "desk"], "config/slot": ["synthetic"]}[config]
    assert (image.root / "home/site/wwwroot/host.json").read_bytes() == (ROOT / "host.json").read_bytes()


def listing(root: Path) -> set[str]:
    return {
        os.path.join(folder, entry)
        for folder, folders, files in os.walk(root)
        for entry in (*folders, *files)
    }


def identity(pid: int) -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {key: int(lines[key].split()[-1]) for key in ("Uid", "Gid", "NSpid")}


def until(asked: Callable[[], T]) -> T:
    """Waits as long as the test may last."""
    while not (found := asked()):
        time.sleep(0.2)
    return found
