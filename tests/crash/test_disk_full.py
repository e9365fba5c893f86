"""No space left: an error that says so, nothing committed is lost, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import observer_core
from observer_core.runtime import operate
from observer_core.runtime.audit.replay import replay
from observer_core.shared.errors import StorageFull
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.alone import Alone, lifecycle, settings_of, stored
from tests.support.market import eventually
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


@contextmanager
def disk_of(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with disk_of(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that an Observer can live on."""
    with disk_of(tmp_path / "disk", "32m") as folder:
        yield folder


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


def fill(disk: Path, left: int) -> None:
    """A file that leaves so many bytes, while others write too."""
    with (disk / "filler").open("ab", buffering=0) as filler, suppress(OSError):
        while (free := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize) > left:
            filler.write(bytes(min(free - left, 1 << 20)))


def test_an_observer_on_a_disk_that_fills_stops_in_time_and_goes_on_by_itself(disk: Path) -> None:
    settings = settings_of(disk, safety={"least_free": "8MiB"}, log_dir=disk.parent / "logs", max_lag="1s")
    with Alone(settings) as running:
        it = running.it
        eventually(lambda: running.position("snapshots.host") > 5)
        for _ in range(2):
            before = running.position("snapshots.host")
            fill(disk, 7 << 20)
            eventually(lambda: it._full)
            held, clock = running.position("snapshots.host"), running.position("clock.live")
            assert held >= before
            # The reserve is for operators.
            journals = Journals(it.observer.storage, worker="operator")
            decided = running.position("decisions.live")
            for command in ("kill", "unkill"):
                operate.command(
                    journals,
                    it.observer.clock,
                    "live",
                    command=command,
                    scope="*",
                    author="kim",
                    reason="full",
                )
                eventually(lambda seen=decided: running.position("decisions.live") > seen)
                decided = running.position("decisions.live")
            assert (running.position("snapshots.host"), running.position("clock.live")) == (held, clock)
            (disk / "filler").unlink()
            eventually(lambda: not it._full)
            eventually(lambda seen=held: running.position("snapshots.host") > seen + 5)
    journals = stored(disk)
    assert [gap["ended"] for gap in lifecycle(journals, "gap")] == ["full", "full"]
    _is_its_own_computation(journals)


def test_an_observer_whose_reserve_is_taken_too_loses_nothing_of_what_is_stored(disk: Path) -> None:
    """The second line: somebody else has taken all there was before the next look."""
    settings = settings_of(disk, safety={"least_free": 0}, log_dir=disk.parent / "logs")
    with Alone(settings) as running:
        eventually(lambda: running.position("snapshots.host") > 5)
        fill(disk, 0)
        eventually(lambda: running.it._storage_failed)
        before = running.position("snapshots.host")
        (disk / "filler").unlink()
        eventually(lambda: not running.it._storage_failed)
        eventually(lambda: running.position("snapshots.host") > before + 5)
    _is_its_own_computation(stored(disk))


def _is_its_own_computation(journals: Journals) -> None:
    for name in journals.names():
        if name.partition(".")[0] in ("patterns", "events", "decisions"):
            result = replay(journals, name, observer_core.__version__)
            assert result.equal, result.problem
