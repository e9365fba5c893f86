"""No space left: an error that says so, nothing committed is lost, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_core.shared.errors import StorageFull
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.toys import Chain, heads

UNDISTURBED = Chain(MemoryStorage(), total=400).run()


class Quota:
    """`os.write` of a disk that has `left` bytes: it writes what fits, then raises ENOSPC."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 30
        self._write = os.write
        patch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if data and self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.left])
        self.left -= written
        return written


def test_a_full_disk_is_an_error_and_it_goes_on_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = Quota(monkeypatch)
    storage = LocalStorage(tmp_path, durability="normal")
    chain = Chain(storage, total=400)
    failures = 0
    for space in range(0, 4000, 61):
        before = heads(chain.journals)
        quota.left = space
        with pytest.raises(StorageFull, match="no space left"):
            chain.run()
        failures += 1
        assert all(heads(chain.journals)[name] >= head for name, head in before.items())
    quota.left = 1 << 30
    assert failures > 60
    assert chain.run() == UNDISTURBED
    for name in UNDISTURBED:
        assert verify(chain.journals.open(name)).fault is None
    for path in tmp_path.rglob("*.ndjson"):
        halves = [line for line in path.read_bytes().split(b"\n") if line and not line.endswith(b"}")]
        assert not any(b"}{" in line for line in halves), "no record is glued to half of another"
    storage.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_really_full_disk_loses_nothing(small_disk: Path) -> None:
    filler = small_disk / "filler"
    storage = LocalStorage(small_disk, durability="normal")
    chain = Chain(storage, total=400)
    chain.step()
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(free - 60_000))
    with pytest.raises(StorageFull):
        chain.run()
    before = heads(chain.journals)
    for name in before:
        assert verify(Journals(storage, worker="reader").open(name)).fault is None
    filler.unlink()
    while True:
        try:
            found = chain.run()
            break
        except StorageFull:
            chain.journals.sync()
    assert found == UNDISTURBED
    storage.close()
