"""What looked after the store, what it was given, and which configurations began."""

from __future__ import annotations

from typing import Any

from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.reports.upkeep import anchors, changes, commits, growth, upkeep
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Note
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER, anchor_note
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import OPERATIONS

START_NS = 1_772_409_600 * SECOND


def at(second: int) -> int:
    return START_NS + second * SECOND


def stretches(journals: Journals) -> Stretches:
    return Stretches(journals, Period("daily", "UTC", at(0), at(100), at(100)))


def noted(journals: Journals, name: str, *notes: Note) -> None:
    journal = journals.open(name, "operations")
    for note in notes:
        journal.commit(journal.head(), Commit(records=[note]))


def note(kind: str, second: int, **body: Any) -> Note:
    return Note(kind=kind, time_ns=at(second), body=body)


def test_records_of_upkeep_are_counted_by_what_they_are() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    packed = [{"length": 900, "stored": 100}, {"length": 100, "stored": 50}]
    noted(
        journals, OPERATIONS, note("maintenance", -5, packed=packed), note("maintenance", 5, packed=packed),
        note("maintenance", 6, act="pruned", records=7), note("backup", 7, act="pruned"),
        note("recovery", 8, journal="snapshots.desk"),
    )  # fmt: skip
    found = upkeep(stretches(journals))
    assert found.counts == {"maintenance": 1, "retention": 1, "backup": 1, "recovery": 1}
    assert (found.packed, found.packed_from, found.packed_to, found.cuts) == (2, 1000, 150, 1)
    assert found.notes[0].plain == {"packed": "(2)"}
    assert found.notes[-1].record == "operations.local@5"


def test_the_longest_time_without_an_anchor_reaches_to_the_end() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    noted(journals, LEDGER, *(anchor_note([], at(second)) for second in (-50, 10, 30)))
    found = anchors(stretches(journals))
    assert (found.count, found.newest, found.gap_ns) == (2, "ledger.live@3", 70 * SECOND)


def test_without_an_anchor_there_is_none() -> None:
    assert anchors(stretches(Journals(MemoryStorage(), worker="w"))).newest_ns is None


def test_an_epoch_names_what_is_other_than_before() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    journal = journals.open("decisions.live", "live")
    for second, config, code in ((-9, {"a": 1, "b": 2}, "1"), (5, {"a": 1, "b": 3, "c": 4}, "1"),
                                 (9, {"a": 1, "b": 3, "c": 4}, "2")):  # fmt: skip
        epoch = Epoch("decide", "1", config, Build(code, "lock"))
        head = journal.head()
        opening, row = epoch.opening(head, at(second))
        journal.commit(head, Commit(records=[opening], epoch=head.epoch + 1, extra=[row]))
    found = changes(stretches(journals), ["decisions.live"])
    assert [(one.epoch, one.keys, one.record) for one in found] == [
        (2, ["b", "c"], "decisions.live@2"), (3, [], "decisions.live@3"),
    ]  # fmt: skip


def test_what_changed_is_found_however_many_epochs_there_were_since() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    journal = journals.open("decisions.live", "live")
    found = []
    for number, second in enumerate((-9, 5, *range(200, 400))):
        head = journal.head()
        opening, row = Epoch("decide", "1", {"a": number}, Build("1", "lock")).opening(head, at(second))
        journal.commit(head, Commit(records=[opening], epoch=head.epoch + 1, extra=[row]))
        if number:
            found.append(changes(stretches(journals), ["decisions.live"]))
    assert found[0]
    assert all(one == found[0] for one in found)


def test_growth_counts_the_lines_of_the_period_alone() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    noted(journals, "clock.live", *(note("tick", second) for second in (-1, 0, 50, 100)))
    found = stretches(journals)
    (volume,) = growth(found, ["clock.live"])
    line = len(note("tick", 0).encode(0)) + 1
    assert (volume.records, volume.size, volume.total) == (2, 2 * line, 3)
    assert volume.refs == "clock.live@2 … clock.live@3"
    assert commits(found, ["clock.live"]) == 2
