"""Backups by themselves: when one is due, one at a time, and nothing that fails goes further than the log."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from observer_core.backup import creating
from observer_core.backup.lease import Busy, Lease
from observer_core.backup.manifest import UNFINISHED, Catalogue
from observer_core.backup.sealing import Identity
from observer_core.runtime import backups as runtime
from observer_core.runtime.backups import Backups, Standing, place_of, restore, standing, vault_at
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.health import Health
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings, load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import ConfigError, InputError, StorageFull
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import OPERATIONS
from tests.support.faults import Crash
from tests.support.toys import BUILD, START_NS, Chain, feed

HOUR_NS = 3600 * SECOND
FOLDER: dict[str, Any] = {"every": "1h", "to": {"kind": "folder", "path": "elsewhere"}, "grace": "0s"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


@pytest.fixture
def storage(clock: ManualClock) -> MemoryStorage:
    storage = MemoryStorage(clock)
    Chain(storage).run()
    return storage


def settings(root: Path, **backup: Any) -> Settings:
    return load(root=root, config_dir=root / "none", backup={**FOLDER, **backup})


def made(storage: MemoryStorage, clock: ManualClock, found: Settings) -> Backups:
    return Backups(storage, found, clock, BUILD)


def notes(storage: MemoryStorage) -> list[dict[str, Any]]:
    journal = Journals(storage, worker="r").open(OPERATIONS)
    return [dict(e.record.body) for e in journal.scan() if isinstance(e.record, Note)]


def test_one_is_made_when_it_is_due_and_is_a_record(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    found = settings(tmp_path)
    backups = made(storage, clock, found)
    catalogue = Catalogue(place_of(found))
    for minutes, count in ((0, 1), (30, 1), (29, 1), (1, 2), (600, 3), (0, 3)):
        clock.advance(minutes * 60 * SECOND)
        backups.look()
        assert len(catalogue.names()) == count
    first = notes(storage)[0]
    assert (first["act"], first["author"], first["number"]) == ("made", "observer", 1)
    assert first["digest"] == vault_at(place_of(found)).body(catalogue.read(1)).digest
    assert str(tmp_path) not in str(notes(storage))
    assert standing(storage, found).number == 3


def test_without_every_nothing_is_made(tmp_path: Path, storage: MemoryStorage, clock: ManualClock) -> None:
    found = load(root=tmp_path, config_dir=tmp_path / "none", backup={"to": FOLDER["to"]})
    backups = made(storage, clock, found)
    assert not backups.is_on
    backups.look()
    backups.start()
    backups.stop()
    assert not (tmp_path / "elsewhere").exists()


def test_what_the_policy_does_not_keep_goes_and_that_is_a_record(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    keep = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0}
    backups = made(storage, clock, found := settings(tmp_path, keep=keep))
    for _ in range(4):
        backups.look()
        clock.advance(HOUR_NS)
    assert list(Catalogue(place_of(found)).names()) == [3, 4]
    pruned = [note for note in notes(storage) if note["act"] == "pruned"]
    assert [note["numbers"] for note in pruned] == [[1], [2]]
    assert pruned[0]["policy"] == {"last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}
    with pytest.raises(ConfigError, match="nothing is ever removed"):
        made(storage, clock, settings(tmp_path)).prune(place_of(found))


def test_the_newest_is_read_back_when_that_is_due_and_again_once_it_may_be_mended(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    backups = made(storage, clock, found := settings(tmp_path, verify="1d"))
    backups.look()
    clock.advance(10 * HOUR_NS)
    backups.look()
    assert standing(storage, found).verified_ns == START_NS
    victim = max((tmp_path / "elsewhere" / "objects").rglob("?" * 64), key=lambda path: path.stat().st_size)
    victim.write_bytes(b"rno")
    clock.advance(15 * HOUR_NS)
    with capture_logs() as logs:
        backups.look()
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["backup is damaged"]
    known = standing(storage, found)
    assert (known.verified_ns, known.findings) == (clock.now_ns(), 1)
    assert known.status(HOUR_NS, clock.now_ns())[0] == "fail"
    clock.advance(HOUR_NS)
    backups.look()
    known = standing(storage, found)
    assert known.findings == 0
    assert known.status(HOUR_NS, clock.now_ns()) == ("pass", None)


def test_a_failure_is_kept_tried_again_after_a_minute_and_stops_nothing(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = made(storage, clock, found := settings(tmp_path))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(
            "observer_core.backup.place.FolderPlace.put",
            lambda *_: (_ for _ in ()).throw(StorageFull(f"write {tmp_path}/x: no space left on the device")),
        )
        backups.look()
        backups.look()
    assert [log["log_level"] for log in logs] == ["error"]
    assert str(tmp_path) not in str(logs)
    known = standing(storage, found)
    assert known.status(HOUR_NS, clock.now_ns()) == ("warn", known.error)
    assert "no space left" in str(known.error)
    backups.look()
    assert standing(storage, found).number == 0
    clock.advance(60 * SECOND)
    backups.look()
    assert standing(storage, found).status(HOUR_NS, clock.now_ns()) == ("pass", None)


def test_health_warns_and_fails_by_age(tmp_path: Path, storage: MemoryStorage, clock: ManualClock) -> None:
    found = settings(tmp_path)
    observer = Observer(found, storage, clock=clock, build=BUILD)
    health = Health(observer, process=False)

    def status() -> tuple[Any, Any]:
        (entry,) = health.report()["checks"]["backup:age"]
        return entry["status"], entry.get("output")

    assert status() == ("warn", "there is no backup yet")
    made(storage, clock, found).look()
    for hours, expected in ((0, "pass"), (2, "pass"), (0.1, "warn"), (1.8, "warn"), (0.2, "fail")):
        clock.advance(round(hours * HOUR_NS))
        assert status()[0] == expected
    assert "older than 2 times" in str(status()[1])
    quiet = load(root=tmp_path, config_dir=tmp_path / "none")
    assert "backup:age" not in Health(Observer(quiet, storage, clock=clock), process=False).report()["checks"]


def test_two_processes_make_one_backup_and_a_dead_one_loses_its_turn(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    one, other = (made(storage, clock, settings(tmp_path)) for _ in range(2))
    catalogue = Catalogue(place_of(settings(tmp_path)))
    with Lease(storage, clock, "somebody"):
        one.look()
        assert not catalogue.names()
        with pytest.raises(
            Busy, match="somebody makes or removes backups .* its turn ends at 2018-04-05T00:02"
        ):
            other.create(place_of(settings(tmp_path)))
    clock.advance(60 * SECOND)
    one.look()
    other.look()
    assert len(catalogue.names()) == 1
    lease = Lease(storage, clock, "dying")
    with pytest.raises(Crash), lease:
        raise Crash
    clock.advance(119 * SECOND)
    with pytest.raises(Busy):
        other.create(place_of(settings(tmp_path)))
    clock.advance(SECOND)
    other.create(place_of(settings(tmp_path)))
    with pytest.raises(Busy, match="took its turn"):
        lease.keep()


def test_a_lease_is_kept_up_while_it_is_used(storage: MemoryStorage, clock: ManualClock) -> None:
    with Lease(storage, clock, "one") as lease:
        for _ in range(10):
            clock.advance(70 * SECOND)
            lease.keep()
            with pytest.raises(Busy):
                Lease(storage, clock, "other").__enter__()
    with Lease(storage, clock, "other"):
        pass


def test_a_clock_that_was_wrong_for_a_while_does_not_switch_backups_off(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    """A process has made one in the future, and was killed there while it had the turn."""
    found = settings(tmp_path, verify="1d")
    catalogue = Catalogue(place_of(found))
    wrong = ManualClock(START_NS + 10_000 * HOUR_NS)
    made(storage, wrong, found).look()
    with pytest.raises(Crash), Lease(storage, wrong, "dying"):
        raise Crash
    assert standing(storage, found).status(HOUR_NS, START_NS)[0] == "fail"
    made(storage, clock, found).look()
    assert list(catalogue.names()) == [1, 2]
    known = standing(storage, found)
    assert known.status(HOUR_NS, START_NS) == ("pass", None)
    assert known.verified_ns == START_NS, "it was read back at a time that has not come"


def test_whoever_slept_through_his_turn_makes_no_backup_of_what_was_removed_meanwhile(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asleep between the last content and the manifest: nothing named those contents yet."""
    found = settings(tmp_path, keep={"last": 9})
    place = place_of(found)
    made(storage, clock, found).create(place)
    feed(Journals(storage, worker="w"), [1], name="commands.d")
    names = Catalogue.names

    def asleep(catalogue: Catalogue) -> dict[int, str]:
        if len(list(place.list("objects/"))) > before:
            monkeypatch.setattr(Catalogue, "names", names)
            clock.advance(130 * SECOND)
            made(storage, clock, found).prune(place)  # what nothing names is doomed
            made(storage, clock, found).prune(place)  # and goes: there is no grace
        return names(catalogue)

    before = len(list(place.list("objects/")))
    monkeypatch.setattr(Catalogue, "names", asleep)
    with pytest.raises(Busy, match="took its turn"):
        made(storage, clock, found).create(place)
    assert list(Catalogue(place).names()) == [1]
    made(storage, clock, found).create(place)
    checked, whole = made(storage, clock, found).verify(place)
    assert ([item.findings for item in checked], whole) == ([[]], [])


def test_a_function_goes_on_where_its_time_was_over(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(tmp_path)
    handlers = Handlers(Observer(found, storage, clock=clock, build=BUILD), {})
    catalogue = Catalogue(place_of(found))
    monkeypatch.setattr("observer_core.runtime.handlers._BACKUP_SECONDS", 0.0)
    for _ in range(40):
        handlers.backup()
        if catalogue.names():
            break
        assert (tmp_path / "elsewhere" / UNFINISHED).exists()
        assert standing(storage, found).error is None
    assert list(catalogue.names()) == [1]
    handlers.backup()
    assert list(catalogue.names()) == [1]


def test_the_thread_makes_the_first_one_by_itself(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_LOOK_SECONDS", 0.01)
    backups = made(storage, clock, found := settings(tmp_path))
    backups.start()
    for _ in range(500):
        if Catalogue(place_of(found)).names():
            break
        time.sleep(0.01)
    backups.stop()
    assert list(Catalogue(place_of(found)).names()) == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "backup"]


def test_a_place_that_cannot_be_used_stops_the_start(tmp_path: Path, storage: MemoryStorage) -> None:
    inside = settings(tmp_path, to={"kind": "folder", "path": "data/observer/backups"})
    with pytest.raises(ConfigError, match="lost with it"):
        made(storage, ManualClock(), inside).start()
    with pytest.raises(ValueError, match="every needs to"):
        Settings(backup={"every": "1h"})
    with pytest.raises(ConfigError, match="names no place"):
        place_of(load(root=tmp_path, config_dir=tmp_path / "none"))


def test_backups_of_another_store_are_not_gone_on_with_unless_it_is_said(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    found = settings(tmp_path)
    place = place_of(found)
    made(storage, clock, found).create(place)
    restored = MemoryStorage(clock)
    Chain(restored, total=8).run()
    backups = made(restored, clock, found)
    with pytest.raises(InputError, match="of another store .* --adopt"):
        backups.create(place)
    backups.look()
    assert "another store" in str(standing(restored, found).error)
    adopted = backups.create(place, adopt=True).manifest
    assert (adopted.number, adopted.store) == (2, Catalogue(place).read(1).store)
    assert backups.create(place).manifest.number == 3


def test_a_place_that_lost_its_newest_backup_is_found_out(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    found = settings(tmp_path)
    backups, place = made(storage, clock, found), place_of(found)
    for value in range(3):
        feed(Journals(storage, worker="w"), [value], name="commands.d")
        backups.create(place)
    place.delete(Catalogue(place).names()[3])
    _, whole = backups.verify(place)
    assert [finding.detail for finding in whole] == ["backup 3 is missing: it was made, and was not pruned"]
    assert backups.create(place).manifest.number == 4


def test_encrypted_for_whom_it_says_and_the_next_ones_are_small(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    recipient = Identity.make(tmp_path / "id")
    found = settings(tmp_path, encrypt={"recipients": [recipient]}, keep={"last": 1, "daily": 0})
    place = place_of(found)
    first = made(storage, clock, found).create(place).manifest
    feed(Journals(storage, worker="w"), [1], name="commands.d")
    second = made(storage, clock, found).create(place).manifest
    assert second.written < first.written / 3
    checked, whole = made(storage, clock, found).verify(place)
    assert ([item.depth for item in checked], whole) == (["files"], [])
    checked, _ = made(storage, clock, found).verify(place, identity=tmp_path / "id")
    assert [item.depth for item in checked] == ["content"]
    with pytest.raises(InputError, match="--identity"):
        restore(vault_at(place), str(tmp_path / "new"), clock)
    _, done = restore(vault_at(place, None, tmp_path / "id"), str(tmp_path / "new"), clock)
    assert done.records > 30
    # Other recipients: the backups before them are still thinned out.
    new = settings(tmp_path, encrypt={"recipients": [recipient, Identity.make(tmp_path / "id2")]},
                   keep={"last": 1, "daily": 0, "weekly": 0, "monthly": 0})  # fmt: skip
    third = made(storage, clock, new).create(place).manifest
    assert third.objects >= first.objects
    assert made(storage, clock, new).prune(place).backups == (1, 2)
    rows = storage.tables.query("backup", "key.", "key.~")
    assert len(rows) == 2
    secret = (tmp_path / "id").read_text().splitlines()[-1].encode()
    assert not any(secret in row.value for row in rows)


def test_a_key_at_the_place_that_nobody_could_restore_with_is_found_and_put_again(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    """The store has the key itself and would not miss the one that is left when the store is gone."""
    identity = tmp_path / "id"
    found = settings(tmp_path, encrypt={"recipients": [Identity.make(identity)]})
    backups, place = made(storage, clock, found), place_of(found)
    backups.create(place)
    (key,) = place.list("keys/")
    for spoil, given in (
        (lambda: place.delete(key), None), (lambda: place.delete(key), identity),
        (lambda: place.put(key, place.get(key)[:-9]), identity),
    ):  # fmt: skip
        spoil()
        checked, _ = backups.verify(place, identity=given)
        assert [len(item.findings) for item in checked] == [1]
        backups.create(place)
        checked, _ = backups.verify(place, identity=identity)
        assert [item.findings for item in checked] == [[]]
    restore(vault_at(place, None, identity), str(tmp_path / "new"), clock)


def test_by_the_identity_of_somebody_else_nothing_is_found_damaged(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    found = settings(tmp_path, encrypt={"recipients": [Identity.make(tmp_path / "id")]})
    backups, place = made(storage, clock, found), place_of(found)
    backups.create(place)
    Identity.make(tmp_path / "other")
    checked, whole = backups.verify(place, identity=tmp_path / "other")
    assert ([(item.depth, item.findings) for item in checked], whole) == ([("files", [])], [])
    assert Catalogue(place).damaged() == set()
    assert 1 in Catalogue(place).verified()


def test_what_is_found_while_one_is_made_is_not_forgotten(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads backups back meanwhile, and finds a content that the new one needs too."""
    found = settings(tmp_path)
    backups, place = made(storage, clock, found), place_of(found)
    backups.create(place)
    victim = max(place.list("objects/"), key=lambda name: len(place.get(name)))
    missing = min(place.list("objects/"), key=lambda name: len(place.get(name)))
    place.put(victim, b"rno")
    backups.verify(place)
    place.put(missing, b"rno")
    capture = creating.capture

    def meanwhile(journals: Journals) -> Any:
        made(storage, clock, found).verify(place)
        return capture(journals)

    monkeypatch.setattr(creating, "capture", meanwhile)
    backups.create(place)
    monkeypatch.undo()
    assert 2 not in Catalogue(place).verified()
    assert Catalogue(place).damaged() == {missing.rpartition("/")[2]}
    backups.create(place)
    checked, _ = backups.verify(place)
    assert [item.findings for item in checked] == [[]]


def test_what_the_store_remembers_is_of_one_place(
    tmp_path: Path, storage: MemoryStorage, clock: ManualClock
) -> None:
    found, other = settings(tmp_path), settings(tmp_path, to={"kind": "folder", "path": "other"})
    made(storage, clock, found).create(place_of(found))
    assert standing(storage, found).number == 1
    assert standing(storage, other) == Standing()
