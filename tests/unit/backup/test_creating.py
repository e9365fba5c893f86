"""A backup holds everything that makes the store, and the next one only what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from observer_core.backup import capture
from observer_core.backup.creating import OutOfTime
from observer_core.backup.manifest import UNFINISHED, Catalogue
from observer_core.backup.place import FolderPlace
from observer_core.backup.vault import Vault
from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.runtime.audit.replay import digest_of
from observer_core.shared.canonical import encode
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op, Storage
from observer_core.storage.rows import InputRange
from tests.support.faults import Between
from tests.support.toys import FIRST, SECOND_STAGE, SOURCE, Chain, feed, heads, note
from tests.support.vaults import BusyPlace, MemoryPlace, back_up, bring_back, everything

HOURLY = CompactionConfig(after=0, hour_bytes=1)


@pytest.fixture(params=["memory", "full", "normal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return MemoryStorage()
    return LocalStorage(tmp_path / "store", durability=request.param)


def pack(storage: Storage, names: tuple[str, ...] = (SOURCE, FIRST, SECOND_STAGE)) -> None:
    journals = Journals(storage, worker="packer")
    for name in names:
        assert list(pack_closed(journals, name, HOURLY))
        sweep(journals, name)


def test_a_restored_store_is_the_same_to_the_last_row(storage: Storage, tmp_path: Path) -> None:
    Chain(storage, total=100).run()
    place = FolderPlace(tmp_path / "place")
    made = back_up(storage, place)
    assert made.digest == digest_of(Journals(storage, worker="reader"))
    again, restored = bring_back(place)
    assert everything(again) == everything(storage)
    assert restored.digest == made.digest
    assert restored.cut == {}


def test_also_when_hours_are_packed_and_when_they_are_swept(storage: Storage, tmp_path: Path) -> None:
    Chain(storage, total=100).run()
    pack(storage)
    place = FolderPlace(tmp_path / "place")
    back_up(storage, place)
    again, _ = bring_back(place)
    assert everything(again) == everything(storage)
    assert everything(again)[SOURCE]["packed"]


def test_the_second_backup_holds_what_is_new_and_a_restored_one_all(storage: Storage) -> None:
    place = MemoryPlace()
    chain = Chain(storage, total=400)
    for _ in range(60):
        chain.step()
    first = back_up(storage, place).manifest
    chain.step()
    second = back_up(storage, place).manifest
    third = back_up(storage, place).manifest
    assert second.parent == (1, first.file)
    assert 0 < second.written < first.written / 4
    # The place has nothing of it: all is as it was.
    assert third.objects == 0
    again, _ = bring_back(place)
    assert everything(again) == everything(storage)
    older, _ = bring_back(place, number=1)
    assert heads(Journals(older, worker="r")) != heads(Journals(storage, worker="r"))


def test_packing_between_two_backups_is_followed(storage: Storage) -> None:
    place = MemoryPlace()
    chain = Chain(storage, total=200)
    for _ in range(20):
        chain.step()
    back_up(storage, place)
    pack(storage)
    back_up(storage, place)
    for _ in range(20):
        chain.step()
    back_up(storage, place)
    pack(storage)
    for _ in range(3):
        chain.step()
    back_up(storage, place)
    for number in (1, 2, 3, 4):
        again, restored = bring_back(place, number=number)
        assert restored.cut == {}
    assert everything(again) == everything(storage)


def test_packing_at_any_step_of_it_does_not_break_it(tmp_path: Path) -> None:
    """Segments and rows go, files are merged into others, between any two reads."""
    for at in range(0, 40, 3):
        storage = MemoryStorage()
        chain = Chain(storage, total=300)
        for _ in range(70):
            chain.step()
        place = BusyPlace({at: lambda storage=storage: pack(storage)})
        back_up(storage, place)
        again, restored = bring_back(place)
        assert restored.cut == {}
        assert heads(Journals(again, worker="r")) == heads(Journals(storage, worker="r"))


def test_a_writer_that_goes_on_meanwhile_leaves_a_state_as_after_a_crash(tmp_path: Path) -> None:
    """At every write of the backup the chain takes a step: what is restored goes on to the same heads."""
    undisturbed = Chain(MemoryStorage(), total=400).run()
    for every in (1, 2, 5, 9):
        storage = LocalStorage(tmp_path / str(every), durability="normal")
        chain = Chain(storage, total=400, grouped=True)
        for _ in range(40):
            chain.step()
        place = BusyPlace(lambda put, chain=chain, every=every: put % every or chain.step())
        for _ in range(3):
            back_up(storage, place)
        assert place.puts > 9
        for number in (1, 2, 3):
            again, restored = bring_back(place, number=number)
            assert restored.cut == {}
            assert Chain(again, total=400).run() == undisturbed
        storage.close()


@pytest.mark.parametrize("backwards", [False, True])
def test_nobody_is_ahead_of_what_he_consumed_in_whatever_order_they_are_read(
    backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer takes a step after each journal that was read, as long as it has any left."""
    monkeypatch.setattr(capture, "_ordered", lambda names: sorted(names, reverse=backwards))
    undisturbed = Chain(MemoryStorage(), total=80).run()
    storage = MemoryStorage()
    chain = Chain(storage, total=80)
    for _ in range(10):
        chain.step()
    one, read = capture._one, []

    def slowly(journals: Journals, name: str) -> capture.Captured:
        found = one(journals, name)
        read.append(name)
        chain.step()
        return found

    monkeypatch.setattr(capture, "_one", slowly)
    place = MemoryPlace()
    back_up(storage, place)
    assert len(read) > 3 if backwards else len(read) == 3
    again, restored = bring_back(place)
    assert restored.cut == {}
    assert Chain(again, total=80).run() == undisturbed


def test_what_waits_to_be_taken_up_is_in_it() -> None:
    storage = MemoryStorage()
    Chain(storage).run()
    storage.blobs.put("pushes/a/1-x", b"promised")
    storage.blobs.put("elsewhere/1", b"not asked for")
    place = MemoryPlace()
    back_up(storage, place, waiting=("pushes/",))
    again, _ = bring_back(place)
    assert again.blobs.get("pushes/a/1-x") == b"promised"
    assert not list(again.blobs.list("elsewhere/"))
    none, _ = bring_back(place, waited=lambda name: False)
    assert not list(none.blobs.list("pushes/"))


def test_a_broken_journal_is_copied_as_far_as_it_is_sound_and_the_others_whole() -> None:
    storage = MemoryStorage()
    Chain(storage, total=200).run()
    names = list(storage.segments.list("patterns/"))
    assert len(names) > 3
    storage.segments.data[names[2]][10] ^= 1
    place = MemoryPlace()
    made = back_up(storage, place)
    assert list(made.faults) == [FIRST]
    assert "not what was committed" in made.faults[FIRST]
    assert Catalogue(place).verified() == {}
    again, restored = bring_back(place)
    assert set(restored.cut) == {FIRST, SECOND_STAGE}, "who consumed what is lost is cut with it"
    assert Chain(again, total=200).run() == Chain(MemoryStorage(), total=200).run()


def test_a_journal_that_loses_its_segment_is_no_reason_to_stop() -> None:
    storage = MemoryStorage()
    Chain(storage, total=200).run()
    for name in list(storage.segments.list("events/")):
        storage.segments.delete(name)
    made = back_up(storage, MemoryPlace())
    assert list(made.faults) == [SECOND_STAGE]


def test_a_store_that_was_cut_and_has_gone_another_way_is_copied_anew() -> None:
    place = MemoryPlace()
    one, other = MemoryStorage(), MemoryStorage()
    for storage, values in ((one, [1, 2, 3]), (other, [1, 4, 5])):
        for value in values:
            feed(Journals(storage, worker="w"), [value])
    back_up(one, place)
    back_up(other, place)
    again, _ = bring_back(place)
    assert everything(again) == everything(other)


def test_a_backup_without_time_is_gone_on_with() -> None:
    storage = MemoryStorage()
    Chain(storage, total=200).run()
    place = MemoryPlace()
    runs = 0
    while True:
        runs += 1
        before = len(place.data)
        try:
            made = back_up(storage, place, seconds=0)
            break
        except OutOfTime:
            assert UNFINISHED in place.data
            assert len(place.data) > before
            assert not Catalogue(place).names()
        assert runs < 50
    assert runs > 3
    assert made.digest == digest_of(Journals(storage, worker="r"))
    assert UNFINISHED not in place.data
    again, _ = bring_back(place)
    assert everything(again) == everything(storage)


def test_the_ledger_names_no_more_than_the_backup_has() -> None:
    from observer_core.runtime.audit.ledger import Ledger
    from observer_core.runtime.audit.ledger import verify as compare
    from observer_core.shared.clock import ManualClock
    from observer_core.storage.ledger import read_anchors

    inner = MemoryStorage()
    chain = Chain(inner, total=200)
    journals = Journals(inner, worker="ledger")
    ledger = Ledger(journals, ManualClock(1), None)

    def act(_: int) -> None:
        chain.step()
        ledger.anchor()

    act(0)
    place = BusyPlace(act)
    back_up(inner, place)
    again, _ = bring_back(place)
    restored = Journals(again, worker="r")
    lines = [line for _, found in restored.open(LEDGER).raw() for line in found]
    assert lines
    assert all(item.sound for item in compare(restored, {LEDGER: read_anchors(lines, LEDGER)[0]}))


def test_requests_that_came_after_the_head_are_left_out_and_many_are_no_matter() -> None:
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    journal = journals.open("commands.d", "d")
    for number in range(1200):
        key = journal.idempotency_op(f"k{number}", {"position": number + 1, "body": "x" * 3000})
        journal.commit(journal.head(), Commit(records=[note(number)], extra=[key]))
    storage.tables.commit("commands.d", [Op("insert", "i.later", encode({"position": 5000}))])
    place = MemoryPlace()
    back_up(storage, place)
    again, _ = bring_back(place)
    rows = again.tables.query("commands.d", "i.", "i.~")
    assert len(rows) == 1200
    assert again.tables.get("commands.d", "i.later") is None
    part = Vault(place).body(Catalogue(place).read(1)).journals["commands.d"]
    assert len(part.sides) > 2


def test_commits_that_only_consumed_and_journals_without_a_record_are_kept(tmp_path: Path) -> None:
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    journals.open("gate.d", "d")
    quiet = journals.open("events.d", "d")
    for number in range(1, 5):
        entry = InputRange("patterns.d", number, number)
        quiet.commit(quiet.head(), Commit(inputs=[entry], through_ns=number))
    feed(journals, range(4), name="patterns.d")
    place = MemoryPlace()
    made = back_up(storage, place)
    again, restored = bring_back(place)
    assert everything(again) == everything(storage)
    assert restored.digest == made.digest


def test_between_writes_of_the_store_nothing_is_ever_torn() -> None:
    """The backup is made at each write of the store itself."""
    undisturbed = Chain(MemoryStorage(), total=40).run()
    inner, place = MemoryStorage(), MemoryPlace()

    def act(step: int) -> None:
        if step % 5 == 0 and Journals(inner, worker="r").names():
            back_up(inner, place)

    Chain(Between(inner, act), total=40).run()
    assert len(Catalogue(place).names()) > 8
    for number in Catalogue(place).names():
        again, restored = bring_back(place, number=number)
        assert restored.cut == {}
        assert Chain(again, total=40).run() == undisturbed
