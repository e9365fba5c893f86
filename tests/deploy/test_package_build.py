"""deploy_ops.sh: the same files give the same bytes; a package that was changed is refused, by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import packages
from tests.support.packages import EPOCH, NAME, Deployment, build, copy_of_checkout, run, unpack

DIGEST = "registry.example/qts-observer@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("build") / "tree")


def test_the_same_files_give_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first = build(tree).read_bytes()
    other = tmp_path / "elsewhere" / "with spaces"
    copy_of_checkout(other)
    for path in other.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(path.stat().st_mode & 0o711)
    (other / "observer_core" / "__pycache__").mkdir()
    (other / "observer_core" / "__pycache__" / "x.pyc").write_bytes(b"left over")
    before = os.umask(0o077)
    try:
        second = build(other, cwd=tmp_path, LC_ALL="tr_TR.UTF-8", TZ="Asia/Seoul").read_bytes()
    finally:
        os.umask(before)
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()


def test_other_files_give_other_bytes(tree: Path, tmp_path: Path) -> None:
    other = copy_of_checkout(tmp_path / "tree", "0.1.0", ("deploy/config/observer.toml", "# more\n"))
    assert build(other).read_bytes() != build(tree).read_bytes()


def test_it_holds_what_a_machine_needs(tree: Path) -> None:
    with tarfile.open(build(tree)) as archive:
        members = {member.name: member for member in archive.getmembers()}
        manifest = archive.extractfile(f"{NAME}/MANIFEST.txt")
        assert manifest is not None
        listed = dict(line.split("  ")[::-1] for line in manifest.read().decode().splitlines())
        for name, digest in listed.items():
            file = archive.extractfile(f"{NAME}/{name}")
            assert file is not None
            assert hashlib.sha256(file.read()).hexdigest() == digest
    files = {name.removeprefix(f"{NAME}/") for name, member in members.items() if member.isfile()}
    assert files == {*listed, "MANIFEST.txt"}
    assert files >= {
        "start_ops.sh", "README.md", "VERSION", "docker-compose.yml", "deployment_config.json",
        "requirements.txt", "config/observer.toml", "config/policies.toml", "config/observer.example.toml",
        "wheel/qts_observer-0.1.0-py3-none-any.whl",
    }  # fmt: skip
    assert list(members) == sorted(members)
    for member in members.values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == int(EPOCH)
        assert member.mode == (0o755 if member.isdir() or member.name.endswith(".sh") else 0o644)


def test_its_time_is_the_commits_and_its_version_names_it(tmp_path: Path) -> None:
    tree = copy_of_checkout(tmp_path / "tree")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tree)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x", "--date", f"@{EPOCH}"]):
        subprocess.run(
            [*git, *words], check=True, capture_output=True,
            env={**os.environ, "GIT_COMMITTER_DATE": f"@{EPOCH} +0000"},
        )  # fmt: skip
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    package = build(tree, SOURCE_DATE_EPOCH="")
    with tarfile.open(package) as archive:
        assert archive.getmember(f"{NAME}/VERSION").mtime == int(EPOCH)
    assert f"commit {commit}" in (unpack(package, tmp_path) / "VERSION").read_text()
    (tree / "README.md").write_text("changed")
    assert f"commit {commit.strip()}-modified\n" in (unpack(build(tree), tmp_path) / "VERSION").read_text()


def test_an_image_is_named_by_its_digest(tree: Path, tmp_path: Path) -> None:
    package = build(tree, "--image", DIGEST)
    assert f"\nimage {DIGEST}\n" in (unpack(package, tmp_path) / "VERSION").read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--image", "registry.example/qts-observer:latest"], {}, "by digest"),
        (["--image"], {}, "--image needs a value"),
        (["--extras", "nothing"], {}, "pyproject.toml has no nothing"),
        (["--whels"], {}, "not '--whels'"),
        (["pack"], {}, "no command 'pack'"),
        ([], {"SOURCE_DATE_EPOCH": "yesterday"}, "whole seconds since 1970; got 'yesterday'"),
        ([], {"SOURCE_DATE_EPOCH": ""}, "set SOURCE_DATE_EPOCH"),
        ([], {"PYTHON": "/bin/false"}, "make setup"),
    ],
)
def test_it_refuses_what_it_cannot_do(
    arguments: list[str], environment: dict[str, str], told: str, tree: Path
) -> None:
    shutil.rmtree(tree / "dist", ignore_errors=True)
    done = run(
        [tree / "deploy_ops.sh", *arguments], cwd=tree,
        env={"PYTHON": sys.executable, "SOURCE_DATE_EPOCH": EPOCH, **environment},
    )  # fmt: skip
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tree / "dist").exists()


# ---------------------------------------------------------------------- what start_ops.sh takes


def test_a_file_that_was_changed_is_named(tmp_path: Path, package: Callable[..., Path]) -> None:
    folder = unpack(package(), tmp_path)
    for name in ("config/policies.toml", "wheel/qts_observer-0.1.0-py3-none-any.whl", "VERSION"):
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
        _refused(folder, tmp_path, f"{name}: FAILED")
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    (folder / "README.md").unlink()
    _refused(folder, tmp_path, "README.md: FAILED")


def test_a_file_too_many_is_named(tmp_path: Path, package: Callable[..., Path]) -> None:
    folder = unpack(package(), tmp_path)
    (folder / "config" / "extra.toml").write_text("")
    _refused(folder, tmp_path, "config/extra.toml")
    (folder / "config" / "extra.toml").unlink()
    (folder / "wheel" / "evil.whl").symlink_to("/etc/hostname")
    _refused(folder, tmp_path, "wheel/evil.whl")
    (folder / "wheel" / "evil.whl").unlink()
    for name in ("\n", "README.md\nVERSION", "\\", " "):
        (folder / name).write_text("")
        _refused(folder, tmp_path, "nothing was done")
        (folder / name).unlink()


def test_it_may_be_unpacked_in_a_folder_of_releases(tmp_path: Path, package: Callable[..., Path]) -> None:
    folder = unpack(package(), tmp_path / "releases")
    done = run([folder / "start_ops.sh", "rollback"], cwd=tmp_path)
    assert f"there is no {tmp_path}/releases/qts-observer" in done.stderr


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path, package: Callable[..., Path]) -> None:
    folder = unpack(package(), tmp_path)
    (tmp_path / "moved").write_bytes((folder / "README.md").read_bytes())
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "moved")
    _refused(folder, tmp_path, "README.md")


def test_a_manifest_that_is_none_is_refused(tmp_path: Path, package: Callable[..., Path]) -> None:
    folder = unpack(package(), tmp_path)
    (folder / "MANIFEST.txt").write_text("nothing\n")
    _refused(folder, tmp_path, "is not what its MANIFEST.txt says")
    (folder / "MANIFEST.txt").unlink()
    done = run([folder / "start_ops.sh", "--home", tmp_path / "home", "start", "--no-docker"], cwd=tmp_path)
    assert done.returncode == 2


def test_an_archive_that_is_no_package_is_refused(tmp_path: Path, package: Callable[..., Path]) -> None:
    script = unpack(package(), tmp_path) / "start_ops.sh"
    deployment = Deployment.new(tmp_path / "home")
    whole = package().read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "text": b"hello\n"}.items():
        (tmp_path / name).write_bytes(data)
        done = deployment.ops("upgrade", "--no-docker", tmp_path / name, script=script)
        assert done.returncode == 2
        assert f"{tmp_path / name} is no package" in done.stderr
    with tarfile.open(tmp_path / "linked.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(f"{NAME}/VERSION")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    done = deployment.ops("upgrade", "--no-docker", tmp_path / "linked.tar.gz", script=script)
    assert done.returncode == 2
    assert "more than files and folders" in done.stderr
    assert list((deployment.home / "releases").iterdir()) == []


def _refused(folder: Path, tmp_path: Path, named: str) -> None:
    home = tmp_path / "home"
    done = run([folder / "start_ops.sh", "--home", home, "start", "--no-docker"], cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert not (home / "current").exists()
    assert list((home / "releases").iterdir()) == []


# ---------------------------------------------------------------------- with all wheels


def test_a_machine_without_a_network_can_be_installed(tmp_path: Path) -> None:
    """With few requirements, for they would all be downloaded; pip has no index there."""
    tree = copy_of_checkout(tmp_path / "tree")
    (tree / "requirements.txt").write_text("charset-normalizer==3.5.2\nidna==3.20\n")
    package = build(tree, "--wheels")
    folder = unpack(package, tmp_path)
    wheels = sorted(path.name for path in (folder / "wheels").iterdir())
    assert [name.partition("-")[0] for name in wheels] == ["charset_normalizer", "idna"]
    assert len(f"{NAME}/wheels/{wheels[0]}") > 100, "the name of one is longer than old archives take"
    deployment = Deployment.new(
        tmp_path / "home", PIP_CONFIG_FILE="/dev/null", PIP_INDEX_URL="http://127.0.0.1:9"
    )
    deployment.environment["PATH"] = _path_with_this_python(tmp_path)
    done = deployment.ops("start", "--no-docker", script=folder / "start_ops.sh", QTS_HEALTH_WAIT="1")
    # The two are not all that an Observer needs, so it ends; they are installed.
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    (venv,) = (deployment.home / "venvs").iterdir()
    (site,) = venv.glob("lib/python*/site-packages")
    assert (site / "idna").is_dir()
    deployment.kill()
    (folder / "VERSION").write_text((folder / "VERSION").read_text().replace("Linux", "Other"))
    manifest = packages.run(["sha256sum", "VERSION"], cwd=folder).stdout
    lines = (folder / "MANIFEST.txt").read_text().splitlines(keepends=True)
    (folder / "MANIFEST.txt").write_text("".join(manifest if "  VERSION" in line else line for line in lines))
    other = Deployment.new(tmp_path / "other")
    other.environment["PATH"] = _path_with_this_python(tmp_path)
    done = other.ops("start", "--no-docker", script=folder / "start_ops.sh")
    assert done.returncode == 2
    assert "brings wheels for Python" in done.stderr


def _path_with_this_python(tmp_path: Path) -> str:
    """Where `python3` is the one that built the package."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(base)
    return f"{folder}:{os.environ['PATH']}"
