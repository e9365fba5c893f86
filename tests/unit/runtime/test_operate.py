"""What an operator does is a record, and shows at the gate once the domain has been worked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.event_bus.publisher import Publisher
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime import operate
from observer_core.runtime.gate.reader import Gate
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError, StorageUnavailable
from observer_core.shared.records import Note, PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.once import Once
from observer_core.storage.verify import verify
from tests.support.faults import Between
from tests.support.market import Live

FAST = {"spike": {"threshold": 5.0}, "baseline": {"warm_up": 10}, "stale": {"min_arrivals": 5}}
BY = {"author": "kim", "reason": "drill"}


class Desk(Live):
    def __init__(self, folder: Path, **settings: Any) -> None:
        source = {"name": "one", "kind": "push", "max_age": "5s"}
        super().__init__(folder, recognise=FAST, source=[source], **settings)
        self.gate = Gate(self.observer.journals, self.observer.settings, self.clock)
        self.run(15)

    def run(self, seconds: int) -> None:
        for second in range(seconds):
            self.second()
            self.collect("one", {"a": 10.0 + second % 3, "b": 10.0 + second % 2})
        self.second()

    def ask(self, command: str, scope: str, **more: Any) -> str:
        return operate.command(
            self.observer.journals, self.clock, "live", command=command, scope=scope, **BY, **more
        )

    def reasons(self, subject: str = "a") -> list[dict[str, Any]]:
        return list(self.gate.check(subject).reasons)

    def verdicts(self) -> list[str]:
        found = self.observer.journals.open("decisions.live").scan()
        return [e.record.verdict for e in found if hasattr(e.record, "verdict")]  # type: ignore[union-attr]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_command_is_a_record_with_author_and_reason_at_the_time_it_was_given(desk: Desk) -> None:
    ref = desk.ask("block", "subject:a", until_ns=desk.clock.now_ns() + 9, policy=None)
    journal = desk.observer.journals.open("commands.live")
    note = journal.entry(1).record
    assert ref == "commands.live@1"
    assert note == Note(
        kind="command", time_ns=desk.clock.now_ns(),
        body={
            "command": "block", "scope": "subject:a", **BY, "until_ns": desk.clock.now_ns() + 9,
            "policy": None,
        },
    )  # fmt: skip
    assert desk.observer.journals.names("commands", "live") == ["commands.live"]


def test_it_waits_until_the_domain_is_worked(desk: Desk) -> None:
    desk.ask("block", "*")
    assert desk.reasons() == []
    desk.second()
    (reason,) = desk.reasons()
    assert reason["code"] == "blocked"
    assert "blocked by kim: drill" in reason["text"]


def test_a_block_is_lifted_by_its_release_only(desk: Desk) -> None:
    desk.ask("block", "source:one")
    desk.run(3)
    desk.ask("release", "subject:a")
    desk.run(1)
    assert [r["code"] for r in desk.reasons()] == ["blocked"]
    desk.ask("release", "source:one")
    desk.run(1)
    assert desk.reasons() == []
    assert desk.verdicts() == ["block", "non_execution", "release"]


def test_an_override_lifts_what_policies_blocked_until_its_end_or_until_it_is_rearmed(desk: Desk) -> None:
    for _ in range(10):
        desk.second()
        desk.collect("one", {"a": 10.0})
    desk.second()
    assert {r["code"] for r in desk.reasons("b")} == {"blocked", "subject_stale"}
    desk.ask("override", "subject:b", until_ns=desk.clock.now_ns() + 3600 * SECOND)
    desk.second()
    assert {r["code"] for r in desk.reasons("b")} == {"subject_stale"}, "it never excuses missing data"
    desk.ask("rearm", "subject:b")
    desk.second()
    assert {r["code"] for r in desk.reasons("b")} == {"blocked", "subject_stale"}


def test_what_cannot_be_meant_is_recorded_with_the_reason_and_does_nothing(desk: Desk) -> None:
    desk.ask("block", "everything")
    desk.second()
    record: Any = list(desk.observer.journals.open("decisions.live").scan())[-1].record
    assert (record.verdict, record.reasons[0]["code"]) == ("non_execution", "invalid_command")
    assert "expected subject:NAME, source:NAME or *, found 'everything'" in record.reasons[0]["text"]
    assert desk.reasons() == []


# ---------------------------------------------------------------------- redrive


def poison(patch: pytest.MonkeyPatch, stage: type, journal: str, position: int) -> None:
    work = stage.transition

    def transition(self: Any, state: Any, entry: Entry) -> Any:
        if (entry.journal, entry.position) == (journal, position):
            raise ValueError("poison")
        return work(self, state, entry)

    patch.setattr(stage, "transition", transition)


def test_a_redriven_snapshot_is_worked_on_at_its_new_place_and_the_gate_opens_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots, patterns = (desk.observer.journals.open(f"{kind}.one") for kind in ("snapshots", "patterns"))
    position = snapshots.head().position + 1
    with monkeypatch.context() as patch:
        poison(patch, Recogniser, "snapshots.one", position)
        desk.second()
        desk.collect("one", {"a": 99.0, "b": 10.0})
        desk.second()
    assert {r["code"] for r in desk.reasons()} == {"blocked", "quarantined"}
    assert not any(isinstance(e.record, PatternRecord) for e in patterns.scan())
    desk.run(3)
    assert {r["code"] for r in desk.reasons()} == {"blocked", "quarantined"}, "good data do not open it"

    before = snapshots.head()
    ref = operate.redrive(desk.observer.journals, "patterns.one", "snapshots.one", position, **BY)
    again = snapshots.entry(before.position + 2).record
    first = snapshots.entry(position).record
    assert isinstance(again, Snapshot)
    assert isinstance(first, Snapshot)
    assert ref == f"snapshots.one@{before.position + 2}"
    assert (again.event_ns, again.subjects) == (first.event_ns, first.subjects)
    assert again.ingest_ns >= before.time_ns > first.ingest_ns
    assert again.origin == {"redriven": f"snapshots.one@{position}"}
    assert patterns.views().keys() == {"feed", "subjects"}

    desk.run(2)
    assert "quarantined" not in {r["code"] for r in desk.reasons()}
    assert desk.gate.check("b").decision == "allow"
    found = [e.record for e in patterns.scan() if isinstance(e.record, PatternRecord)]
    assert [(r.pattern, r.snapshot) for r in found] == [("spike", ref)], "the warning in it was not lost"
    for name in desk.observer.journals.names():
        assert verify(desk.observer.journals.open(name)).fault is None


def test_a_redriven_pattern_is_worked_on_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = desk.observer.journals.open("patterns.one")
    position = patterns.head().position + 1
    with monkeypatch.context() as patch:
        poison(patch, Publisher, "patterns.one", position)
        desk.second()
        desk.collect("one", {"a": 99.0, "b": 10.0})
        desk.second()
    assert isinstance(patterns.entry(position).record, PatternRecord)
    assert {r["code"] for r in desk.reasons("b")} == {"blocked", "quarantined"}
    ref = operate.redrive(desk.observer.journals, "events.live", "patterns.one", position, **BY)
    desk.run(2)
    assert desk.gate.check("b").decision == "allow"
    events: list[Any] = [e.record for e in desk.observer.journals.open("events.live").scan()]
    assert ref in [getattr(record, "causationid", None) for record in events]
    types = [record.type.removeprefix("io.qts.observer.") for record in events if hasattr(record, "type")]
    assert types == ["redriven", "pattern.spike", "incident.opened"]


def test_a_redrive_that_stopped_half_way_is_finished_by_the_same_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots, patterns = (desk.observer.journals.open(f"{kind}.one") for kind in ("snapshots", "patterns"))
    position = snapshots.head().position + 1
    with monkeypatch.context() as patch:
        poison(patch, Recogniser, "snapshots.one", position)
        desk.run(1)
    request = Once("kim", "key", "body", desk.clock.now_ns())

    def again() -> str:
        journals = desk.observer.journals
        return operate.redrive(journals, "patterns.one", "snapshots.one", position, once=request, **BY)

    def down(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(operate, "append", down)
        with pytest.raises(StorageUnavailable):
            again()
    there = snapshots.head()
    assert patterns.views("quarantined.")
    ref = again()
    assert ref == f"snapshots.one@{there.position}"
    assert again() == ref
    assert snapshots.head() == there, "the snapshot came again once"
    assert not patterns.views("quarantined.")


def test_what_is_not_quarantined_is_told(desk: Desk) -> None:
    before = desk.observer.journals.open("snapshots.one").head()
    with pytest.raises(InputError, match="entry snapshots.one@2 is not quarantined in patterns.one"):
        operate.redrive(desk.observer.journals, "patterns.one", "snapshots.one", 2, **BY)
    assert desk.observer.journals.open("snapshots.one").head() == before


def test_a_redrive_finds_its_place_while_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it is about to commit, somebody else has just committed something later."""
    memory = MemoryStorage()
    desk = Desk(tmp_path, storage=memory)
    snapshots = desk.observer.journals.open("snapshots.one")
    position = snapshots.head().position + 1
    with monkeypatch.context() as patch:
        poison(patch, Recogniser, "snapshots.one", position)
        desk.run(1)
    left = 3

    def others(_: int) -> None:
        nonlocal left
        if left:
            left -= 1
            desk.second()
            desk.collect("one", {"a": 10.0, "b": 10.0})

    from observer_core.storage.journals import Journals

    operators = Journals(Between(memory, others), worker="operator")
    operate.redrive(operators, "patterns.one", "snapshots.one", position, **BY)
    assert left == 0
    desk.run(2)
    assert desk.gate.check("a").decision == "allow"
    times = [e.record.time_ns for e in snapshots.scan()]
    assert times == sorted(times)
