"""`--until`: every journal as it was known at a time, nobody ahead of what he consumed, and it goes on."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.backup.vault import Vault
from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.retention import holds
from observer_core.runtime.audit.ledger import Ledger
from observer_core.runtime.audit.ledger import verify as compare
from observer_core.runtime.engine import EngineOptions
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER, read_anchors
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op, Storage
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.toys import FIRST, SECOND_STAGE, SOURCE, START_NS, Chain, feed, note, toy_worker
from tests.support.vaults import MemoryPlace, back_up, bring_back, everything

TOTAL = 120
STEP_NS = 120 * SECOND
UNDISTURBED = Chain(MemoryStorage(), total=TOTAL).run()


@pytest.fixture(params=["loose", "packed", "swept"])
def filled(request: pytest.FixtureRequest) -> Storage:
    storage = MemoryStorage()
    chain = Chain(storage, total=TOTAL)
    while chain.step():
        pass
    if request.param != "loose":
        journals = Journals(storage, worker="packer")
        for name in (SOURCE, FIRST, SECOND_STAGE):
            list(pack_closed(journals, name, CompactionConfig(after=0, hour_bytes=1)))
            if request.param == "swept":
                sweep(journals, name)
    return storage


def check(storage: Storage, until_ns: int) -> None:
    """No record is later, no commit has consumed what is not there, every chain is whole."""
    journals = Journals(storage, worker="reader")
    positions = {name: journals.open(name).head().position for name in journals.names()}
    for name, position in positions.items():
        journal = journals.open(name)
        assert verify(journal).fault is None
        assert journal.head().time_ns <= until_ns
        consumed: dict[str, int] = {}
        for row in journal.rows():
            for item in row.inputs:
                assert item.last <= positions.get(item.journal, item.last)
                consumed[item.journal] = item.last
        for other, value in journal.checkpoints().items():
            assert value["position"] == consumed[other]
        assert all(state.position <= position for state in journal.states())


def test_at_any_time_it_is_consistent_and_goes_on_to_the_same_heads(filled: Storage) -> None:
    place = MemoryPlace()
    back_up(filled, place)
    seen = set()
    for index in range(0, TOTAL + 2, 7):
        for shift in (-1, 0):
            until_ns = START_NS + index * STEP_NS + shift
            again, restored = bring_back(place, until_ns=until_ns)
            check(again, until_ns)
            known = sum(1 for i in range(TOTAL) if START_NS + i * STEP_NS <= until_ns)
            # Commits hold four snapshots; the first one also says which epoch begins.
            assert restored.journals.get(SOURCE, 0) in (0, known // 4 * 4 + 1)
            seen.add(restored.digest)
            assert Chain(again, total=TOTAL).run() == UNDISTURBED
    assert len(seen) > 10


def test_of_a_later_time_it_is_the_whole_backup(filled: Storage) -> None:
    place = MemoryPlace()
    made = back_up(filled, place)
    again, restored = bring_back(place, until_ns=START_NS + TOTAL * STEP_NS)
    assert (restored.digest, restored.cut) == (made.digest, {})
    assert everything(again) == everything(filled)


def test_before_the_first_record_there_is_nothing(filled: Storage) -> None:
    place = MemoryPlace()
    back_up(filled, place)
    again, restored = bring_back(place, until_ns=START_NS - 1)
    assert restored.journals == {}
    assert Journals(again, worker="r").names() == []
    assert Chain(again, total=TOTAL).run() == UNDISTURBED


def test_a_packed_stretch_that_is_cut_is_written_as_it_was_and_the_newest_commit_is_in_none(
    filled: Storage,
) -> None:
    place = MemoryPlace()
    back_up(filled, place)
    for index in range(20, TOTAL, 15):
        again, _ = bring_back(place, until_ns=START_NS + index * STEP_NS)
        for name in Journals(again, worker="r").names():
            rows = again.tables.query(name, "r.", "r.~")
            head = Journals(again, worker="r").open(name).head()
            assert head.seq == 0 or int(rows[-1].key.rpartition(".")[2]) == head.seq


def test_states_are_those_of_the_backup_that_is_nearest_before_it() -> None:
    storage, place = MemoryStorage(), MemoryPlace()
    chain = Chain(storage, total=TOTAL)
    for _ in range(10):
        chain.step()
    back_up(storage, place)
    middle = Journals(storage, worker="r").open(FIRST).states()
    while chain.step():
        pass
    for name in (SOURCE, FIRST, SECOND_STAGE):  # as maintenance does
        journal = Journals(storage, worker="r").open(name)
        for row in journal.states()[:-1]:
            storage.tables.commit(name, [Op("delete", row.key)])
            storage.blobs.delete(row.blob)
    back_up(storage, place)
    until_ns = START_NS + 45 * STEP_NS
    again, _ = bring_back(place, until_ns=until_ns)
    found = Journals(again, worker="r").open(FIRST).states()
    assert found == middle
    assert found
    without, _ = bring_back(place, until_ns=until_ns, older=[])
    assert Journals(without, worker="r").open(FIRST).states() == []
    assert Chain(again, total=TOTAL).run() == Chain(without, total=TOTAL).run() == UNDISTURBED


def test_a_state_of_another_history_is_not_taken() -> None:
    place = MemoryPlace()
    one, other = MemoryStorage(), MemoryStorage()
    for storage, values in ((one, [2, 2, 2]), (other, [1, 3, 3, 3, 3])):
        journals = Journals(storage, worker="w")
        worker = toy_worker(journals, options=EngineOptions(state_entries=1))
        for value in values:
            feed(journals, [value])
            worker.pump()
        back_up(storage, place)
    before = {row.blob for row in Journals(one, worker="r").open(FIRST).states()}
    mine = {row.blob for row in Journals(other, worker="r").open(FIRST).states()}
    again, _ = bring_back(place, until_ns=START_NS + 3 * SECOND)
    found = {row.blob for row in Journals(again, worker="r").open(FIRST).states()}
    assert before - mine
    assert found <= mine


def test_what_was_set_aside_then_is_set_aside_whatever_happened_later() -> None:
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    feed(journals, range(6), name="patterns.d")
    journal = journals.open("events.d", "d")

    def aside(seconds: float, position: int, kind: str) -> None:
        body = {"input": "patterns.d", "position": position, "scopes": ["*"]}
        record = Note(kind=kind, time_ns=START_NS + round(seconds * SECOND), body=body)
        view = f"quarantined.patterns.d@{position}"
        skipped = [InputRange("patterns.d", position, position, True)] if kind == "quarantine" else []
        change = journal.view_op(view, body if kind == "quarantine" else None)
        journal.commit(
            journal.head(),
            Commit(records=[record], inputs=skipped, through_ns=record.time_ns, extra=[change]),
        )

    aside(1, 2, "quarantine")
    aside(2, 3, "quarantine")
    aside(3, 2, "redrive")
    aside(4, 5, "quarantine")
    place = MemoryPlace()
    back_up(storage, place)
    for seconds, expected in ((1, {2}), (2, {2, 3}), (3, {3}), (3.5, {3}), (5, {3, 5})):
        again, _ = bring_back(place, until_ns=START_NS + round(seconds * SECOND))
        views = Journals(again, worker="r").open("events.d").views("quarantined.")
        assert {int(key.rpartition("@")[2]) for key in views} == expected


def test_holds_stand_as_they_stood_and_those_that_came_later_too() -> None:
    """One that was ended later stands again; one that was asked for later is not lost for that."""
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    feed(journals, range(3), name="snapshots.d")

    def at(seconds: float) -> int:
        return START_NS + round(seconds * SECOND)

    ended = holds.add(journals, ["snapshots.*"], author="a", reason="r", now_ns=at(1))
    kept = holds.add(journals, ["snapshots.d"], author="b", reason="s", now_ns=at(2), to_ns=at(9))
    holds.end(journals, ended.id, author="a", reason="settled", now_ns=at(3))
    later = holds.add(journals, ["*"], author="c", reason="t", now_ns=at(4))
    assert holds.standing(journals) == [kept, later]
    place = MemoryPlace()
    back_up(storage, place)
    for seconds, expected in (
        (1, [ended, kept, later]), (2.5, [ended, kept, later]), (3, [kept, later]), (4, [kept, later]),
    ):  # fmt: skip
        again, _ = bring_back(place, until_ns=at(seconds))
        assert holds.standing(Journals(again, worker="r")) == expected, seconds


def test_checkpoints_requests_and_epochs_are_those_of_the_time() -> None:
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    for value in range(10):
        feed(journals, [value], name="events.d")
    journal = journals.open("results.d-x", "d")

    def commit(seconds: float, checkpoint: int, *ranges: InputRange, **more: Any) -> None:
        at = START_NS + round(seconds * SECOND)
        head = journal.head()
        ops = [
            journal.idempotency_op(f"k{seconds}", {"position": head.position + 1}),
            Op("insert", f"e.{head.epoch + 1:06d}", b'{"identity":"x","position":1,"version":"1"}'),
        ]
        journal.commit(
            head,
            Commit(
                records=[note(seconds)], inputs=ranges, through_ns=at, epoch=head.epoch + 1, extra=ops,
                checkpoints={"events.d": {"position": checkpoint, "attempt": 0}, **more},
            ),
        )  # fmt: skip

    commit(1, 2, InputRange("events.d", 1, 2))
    file = {"total": 3, "load": "load.x"}
    commit(4, 5, InputRange("events.d", 3, 5), **{"file.a": {"total": 1, "load": "load.y"}})
    commit(8, 9, InputRange("events.d", 6, 9), InputRange("load.x", 1, 3), **{"file.b": file})
    place = MemoryPlace()
    back_up(storage, place)
    for seconds, position, files in ((1, 2, set()), (5, 5, {"file.a"}), (9, 9, {"file.a", "file.b"})):
        again, _ = bring_back(place, until_ns=START_NS + seconds * SECOND)
        found = Journals(again, worker="r").open("results.d-x")
        points = found.checkpoints()
        assert points.pop("events.d")["position"] == position
        # What was said of files before is said by no row that is left: it stands.
        assert set(points) - {"file.a"} == files - {"file.a"}
        epochs = again.tables.query("results.d-x", "e.", "e.~")
        assert len(epochs) == found.head().epoch
        assert len(again.tables.query("results.d-x", "i.", "i.~")) == found.head().position


def test_a_subscriber_that_began_later_begins_no_further_than_there_is_anything() -> None:
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    for value in range(10):
        feed(journals, [value], name="events.d")
    journal = journals.open("results.d-x", "d")
    start = {"position": 10, "attempt": 0, "not_before_ns": 0}
    journal.commit(journal.head(), Commit(records=[note(0)], through_ns=START_NS))
    journal.commit(journal.head(), Commit(checkpoints={"events.d": start}))
    place = MemoryPlace()
    back_up(storage, place)
    again, restored = bring_back(place, until_ns=START_NS + 3 * SECOND)
    assert restored.journals["events.d"] == 4
    assert Journals(again, worker="r").open("results.d-x").checkpoint("events.d") == {**start, "position": 4}


def test_the_ledger_ends_with_an_anchor_that_still_holds() -> None:
    storage = MemoryStorage()
    chain = Chain(storage, total=TOTAL)
    clock = ManualClock(START_NS)
    ledger = Ledger(Journals(storage, worker="ledger"), clock, None)
    for index in range(0, TOTAL, 4):
        chain.step()
        clock.set(START_NS + (index + 2) * STEP_NS)  # in time before the newest snapshot, as a clock may be
        ledger.anchor()
    place = MemoryPlace()
    back_up(storage, place)
    counts = set()
    for index in range(5, TOTAL, 9):
        again, _ = bring_back(place, until_ns=START_NS + index * STEP_NS)
        journals = Journals(again, worker="r")
        lines = [line for _, found in journals.open(LEDGER).raw() for line in found]
        counts.add(len(lines))
        results = list(compare(journals, {LEDGER: read_anchors(lines, LEDGER)[0]}))
        assert all(item.sound for item in results)
    assert len(counts) > 5


def test_a_backup_that_is_whole_needs_no_look_at_its_commits() -> None:
    storage, place = MemoryStorage(), MemoryPlace()
    Chain(storage, total=TOTAL).run()
    back_up(storage, place)
    vault = Vault(place)
    from observer_core.backup.cutting import cuts

    objects = vault.objects(None)
    asked: list[str] = []
    seen = objects.seen
    objects.seen = lambda ref: (asked.append(ref.name), seen(ref))[1]  # type: ignore[method-assign]
    assert all(cut.whole for cut in cuts(vault.body(vault.catalogue.read(1)), objects).values())
    assert asked == []
