"""Killed at every step of making, removing and restoring a backup: the next run finishes, nothing is torn."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_core.backup.config import KeepConfig
from observer_core.backup.creating import Made
from observer_core.backup.keeping import prune
from observer_core.backup.manifest import Catalogue
from observer_core.backup.place import FolderPlace, NewTar, Place
from observer_core.backup.restoring import Restored, Wish, finish, restore
from observer_core.backup.sealing import Identity
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Verifier, check_catalogue
from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.runtime.audit.replay import digest_of
from observer_core.runtime.backups import Backups, vault_at
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError, StorageFull
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.faults import Crash, FaultyStorage, variants
from tests.support.toys import BUILD, FIRST, SECOND_STAGE, SOURCE, START_NS, Chain, heads
from tests.support.vaults import FaultyPlace, MemoryPlace, back_up, bring_back, everything

TOTAL = 60
UNDISTURBED = Chain(MemoryStorage(), total=TOTAL).run()
KEEP = KeepConfig(last=1, daily=0, weekly=0, monthly=0)


def store() -> MemoryStorage:
    storage = MemoryStorage()
    chain = Chain(storage, total=TOTAL)
    for _ in range(10):
        chain.step()
    journals = Journals(storage, worker="packer")
    for name in (SOURCE, FIRST, SECOND_STAGE):
        list(pack_closed(journals, name, CompactionConfig(after=0, hour_bytes=1)))
        sweep(journals, name)
    chain.step()
    return storage


STORE = store()
BEFORE = everything(STORE)


def copied(place: MemoryPlace) -> MemoryPlace:
    found = MemoryPlace()
    found.data = dict(place.data)
    return found


def whole(place: MemoryPlace) -> None:
    """Every backup that there is holds what it says, and none is missing."""
    vault = Vault(place)
    assert list(check_catalogue(vault.catalogue)) == []
    verifier = Verifier(vault)
    for number in vault.catalogue.names():
        assert verifier.check(vault.catalogue.read(number)).findings == []


def test_making_one() -> None:
    earlier = MemoryPlace()
    older = MemoryStorage()
    chain = Chain(older, total=TOTAL)
    for _ in range(6):
        chain.step()
    back_up(older, earlier)
    counting = FaultyStorage(MemoryStorage())
    back_up(STORE, FaultyPlace(copied(earlier), counting))
    assert {"put objects", "put manifests", "put verified"} <= set(counting.steps)
    for at, when in variants(counting.steps):
        place = copied(earlier)
        with pytest.raises(Crash):
            back_up(STORE, FaultyPlace(place, FaultyStorage(MemoryStorage(), at=at, when=when)))
        whole(place)
        said = counting.steps[at - 1]
        made = back_up(STORE, place)
        assert made.digest == digest_of(Journals(STORE, worker="r")), f"stopped {when} step {at} ({said})"
        whole(place)
        assert everything(bring_back(place)[0]) == BEFORE
        assert made.manifest.number in Catalogue(place).verified()


@pytest.mark.parametrize("encrypted", [False, True])
def test_making_one_with_all_that_the_store_remembers_of_it(tmp_path: Path, encrypted: bool) -> None:
    """The turn, the store's name, its key, what is known of the newest one, and the record of it."""
    identity = tmp_path / "id"
    encrypt = {"recipients": [Identity.make(identity)]} if encrypted else None
    found = load(root=tmp_path, config_dir=tmp_path / "none", backup={"encrypt": encrypt})

    def run(storage: Storage, place: Place, clock: ManualClock) -> Made:
        return Backups(storage, found, clock, BUILD).create(place)

    def filled() -> MemoryStorage:
        storage = MemoryStorage()
        Chain(storage, total=8).run()
        return storage

    counting = FaultyStorage(filled())
    run(counting, FaultyPlace(MemoryPlace(), counting), ManualClock(START_NS))
    assert {"commit", "append", "put manifests", "put objects"} <= set(counting.steps)
    assert ("put keys" in counting.steps) == encrypted
    for at, when in variants(counting.steps):
        inner, place, clock = filled(), MemoryPlace(), ManualClock(START_NS)
        faulty = FaultyStorage(inner, at=at, when=when)
        with pytest.raises(Crash):
            run(faulty, FaultyPlace(place, faulty), clock)
        clock.advance(120 * SECOND)
        made = run(inner, place, clock)
        vault = vault_at(place, inner, identity if encrypted else None)
        assert list(check_catalogue(vault.catalogue)) == []
        assert Verifier(vault).check(vault.catalogue.read(made.manifest.number)).findings == []
        assert made.manifest.number in vault.catalogue.verified()
        assert bring_back(place, vault=vault)[1].digest == made.digest


def test_removing_old_ones() -> None:
    place = MemoryPlace()
    storage = MemoryStorage()
    chain = Chain(storage, total=TOTAL)
    for _ in range(3):
        chain.step()
        chain.step()
        back_up(storage, place)
    prune(Vault(place), KeepConfig(last=3, daily=0, weekly=0, monthly=0), START_NS, 0)
    counting = FaultyStorage(MemoryStorage())
    expected = copied(place)
    prune(Vault(FaultyPlace(expected, counting)), KEEP, START_NS, 0)
    assert {"remove objects", "remove manifests", "put pruned.json"} <= set(counting.steps)
    for at, when in variants(counting.steps):
        stopped = copied(place)
        faulty = FaultyPlace(stopped, FaultyStorage(MemoryStorage(), at=at, when=when))
        with pytest.raises(Crash):
            prune(Vault(faulty), KEEP, START_NS, 0)
        whole(stopped)
        prune(Vault(stopped), KEEP, START_NS, 0)
        whole(stopped)
        assert stopped.data.keys() == expected.data.keys(), f"stopped {when} {at} ({counting.steps[at - 1]})"
        assert everything(bring_back(stopped)[0]) == everything(storage)


@pytest.mark.parametrize("until_ns", [None, START_NS + 33 * 120 * SECOND])
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_restoring(until_ns: int | None, kind: str, tmp_path: Path) -> None:
    place = MemoryPlace()
    back_up(STORE, place)
    vault = Vault(place)
    wish = Wish(vault.catalogue.read(1), until_ns)

    def run(storage: Storage) -> Restored:
        done = restore(vault, wish, storage)
        finish(storage)
        return done

    counting = FaultyStorage(MemoryStorage())
    expected = run(counting)
    after = everything(counting)
    steps = counting.steps
    assert {"append", "blob", "commit"} <= set(steps)
    # Of files some, in turn: each is a store of its own.
    for number, (at, when) in enumerate(variants(steps)[:: 13 if kind == "local" else 1]):
        root = tmp_path / str(number)
        inner = MemoryStorage() if kind == "memory" else LocalStorage(root, durability="normal")
        with pytest.raises(Crash):
            run(FaultyStorage(inner, at=at, when=when))
        if kind == "local":
            inner.close()
            inner = LocalStorage(root, durability="normal")
        if inner.tables.query("backup", "", "~") or not inner.tables.query("registry", "", "~"):
            assert run(inner) == expected, f"stopped {when} step {at} ({steps[at - 1]})"
        else:  # it was all done but for a word that nobody was left to say
            with pytest.raises(InputError, match="never over data"):
                run(inner)
        assert everything(inner) == after
        if number % 5 == 0:
            assert Chain(inner, total=TOTAL).run() == UNDISTURBED
        inner.close()


def test_a_tar_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    counting = FaultyStorage(MemoryStorage())
    made = NewTar(tmp_path / "whole.tar")
    back_up(STORE, FaultyPlace(made, counting), resumable=False)
    made.close()
    for number, (at, when) in enumerate(variants(counting.steps)[::5]):
        path = tmp_path / f"{number}.tar"
        place = NewTar(path)
        faulty = FaultyPlace(place, FaultyStorage(MemoryStorage(), at=at, when=when))
        with pytest.raises(Crash):
            back_up(STORE, faulty, resumable=False)
        assert not path.exists()
        again = NewTar(path)  # the first was killed: it has closed nothing
        back_up(STORE, again, resumable=False)
        again.finished()
        again.close()
        assert path.exists()


class Quota:
    """A disk that has `left` bytes for files that are written whole."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 40
        self._sync = os.fdatasync
        patch.setattr(os, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self.left -= os.fstat(descriptor).st_size
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sync(descriptor)


def test_a_full_disk_says_so_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = Quota(monkeypatch)
    place = FolderPlace(tmp_path)
    for room in (0, 500, 3_000, 9_000):
        quota.left = room
        with pytest.raises(StorageFull, match="no space left on the device"):
            back_up(STORE, place)
        assert not Catalogue(place).names()
    quota.left = 1 << 40
    back_up(STORE, place)
    assert everything(bring_back(place)[0]) == BEFORE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kilobytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_really_full_disk_says_so_to_who_restores(small_disk: Path) -> None:
    place = MemoryPlace()
    back_up(STORE, place)
    (small_disk / "filler").write_bytes(bytes(250_000))
    storage = LocalStorage(small_disk / "store", durability="normal")
    vault = Vault(place)
    wish = Wish(vault.catalogue.read(1))
    with pytest.raises(StorageFull):
        restore(vault, wish, storage)
    (small_disk / "filler").unlink()
    restore(vault, wish, storage)
    finish(storage)
    assert heads(Journals(storage, worker="r")) == heads(Journals(STORE, worker="r"))
    storage.close()
