"""Anchors on a schedule, sent out of the store; and tampering that only they show."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from observer_core.runtime.audit.ledger import AGAIN_NS, Anchoring, Compared, Ledger, inside, place_of, verify
from observer_core.runtime.audit.ledger_config import LedgerConfig
from observer_core.runtime.console import Console
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.standalone import Standalone
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import ConfigError, Conflict, StorageUnavailable
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER, Anchor, read_anchors
from observer_core.storage.local import LocalStorage
from observer_core.storage.local.anchors import FileAnchors
from observer_core.storage.memory import MemoryStorage
from tests.support.instances import Instances
from tests.support.market import eventually
from tests.support.receiver import receiving
from tests.support.toys import START_NS, note

HOUR_NS = 3600 * SECOND
TO_FILE = {"every": "1h", "to": {"kind": "file", "path": "out/anchors"}}


class Place:
    """A place in memory that may fail."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.failing = False

    def __repr__(self) -> str:
        return "place"

    def append(self, line: bytes) -> None:
        if self.failing:
            raise StorageUnavailable("no answer")
        self.lines.append(line)

    def read(self) -> Iterator[bytes]:
        return iter(self.lines)

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


@pytest.fixture
def journals(clock: ManualClock) -> Journals:
    found = Journals(MemoryStorage(clock), worker="w")
    write(found, "commands.a", "1", "2")
    write(found, "commands.b", "1")
    return found


def write(journals: Journals, name: str, *values: str) -> None:
    journal = journals.open(name, "d")
    head = journal.head()
    journal.commit(head, Commit(records=[note(head.position + 1, value=value) for value in values]))


def anchors(place: Place) -> list[Anchor]:
    found, faults = read_anchors(place.read(), "place")
    assert faults == []
    return found


def test_an_anchor_names_all_journals_with_records_and_the_ledger_before_it(
    journals: Journals, clock: ManualClock
) -> None:
    journals.open("commands.empty", "d")
    ledger = Ledger(journals, clock, None)
    first, second = ledger.anchor(), ledger.anchor()
    assert [head[:2] for head in first.heads] == [("commands.a", 2), ("commands.b", 1)]
    assert [head[:2] for head in second.heads] == [("commands.a", 2), ("commands.b", 1), (LEDGER, 1)]
    head = journals.open(LEDGER).head()
    assert second.own[1:] == (head.position, head.hash)
    assert inside(journals) == ([first, second], [])


def test_a_clock_that_was_set_back_takes_no_anchor_back_in_time(journals: Journals) -> None:
    late = Ledger(journals, ManualClock(START_NS + HOUR_NS), None).anchor()
    assert Ledger(journals, ManualClock(START_NS), None).anchor().time_ns == late.time_ns


def test_a_place_is_sent_what_it_has_not_been_sent_in_order(journals: Journals, clock: ManualClock) -> None:
    place = Place()
    ledger = Ledger(journals, clock, place)
    made = [ledger.anchor()]
    assert ledger.send() == 1
    made += [ledger.anchor(), ledger.anchor()]
    assert Ledger(journals, clock, place).send() == 2
    assert ledger.send() == 0
    assert place.lines == [anchor.line for anchor in made]


def test_a_new_place_is_sent_everything(journals: Journals, clock: ManualClock) -> None:
    ledger = Ledger(journals, clock, Place())
    ledger.anchor()
    ledger.send()
    other = Place()
    other.__class__ = type("Other", (Place,), {"__repr__": lambda self: "other"})
    assert Ledger(journals, clock, other).send() == 1


def test_what_a_crash_keeps_from_being_noted_is_sent_again_and_read_once(
    journals: Journals, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()
    ledger = Ledger(journals, clock, place)
    ledger.anchor()

    def dies(*_: Any) -> None:
        raise Conflict(LEDGER, "head")

    with monkeypatch.context() as patch:
        patch.setattr(type(ledger.journal), "commit", dies)
        with pytest.raises(Conflict):
            ledger.send()
    ledger.send()
    assert len(place.lines) == 2
    assert len(anchors(place)) == 1


def test_what_is_told_outside_is_durable_before(tmp_path: Path, clock: ManualClock) -> None:
    storage = LocalStorage(tmp_path / "data", durability="normal", clock=clock)
    journals = Journals(storage, worker="w")
    write(journals, "commands.a", "1")
    place = Place()
    durable: list[int] = []
    place.append = lambda line: durable.append(journals.durable_position("commands.a"))  # type: ignore[method-assign]
    ledger = Ledger(journals, clock, place)
    ledger.anchor()
    ledger.send()
    assert durable == [1]
    storage.close()


def test_what_an_anchor_names_is_durable_before_it_is_committed(tmp_path: Path, clock: ManualClock) -> None:
    storage = LocalStorage(tmp_path / "data", durability="normal", clock=clock)
    journals = Journals(storage, worker="w")
    write(journals, "commands.a", "1")
    ledger = Ledger(journals, clock, None)
    journal = journals.open(LEDGER)
    commit, durable = journal.commit, list[int]()

    def watched(*given: Any) -> Any:
        durable.append(journals.durable_position("commands.a"))
        return commit(*given)

    journal.commit = watched  # type: ignore[method-assign]
    ledger.anchor()
    assert durable == [1]
    storage.close()


def test_a_place_that_fails_on_the_way_is_not_sent_again_what_it_has(
    journals: Journals, clock: ManualClock
) -> None:
    place = Place()
    ledger = Ledger(journals, clock, place)
    made = [ledger.anchor() for _ in range(3)]
    append = place.append

    def one(line: bytes) -> None:
        append(line)
        place.failing = True

    place.append = one  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        ledger.send()
    place.failing = False
    with pytest.raises(StorageUnavailable):
        ledger.send()
    assert place.lines == [anchor.line for anchor in made[:2]]


class TestSchedule:
    @pytest.fixture
    def place(self, monkeypatch: pytest.MonkeyPatch) -> Place:
        place = Place()
        monkeypatch.setattr("observer_core.runtime.audit.ledger.place_of", lambda settings: place)
        return place

    @pytest.fixture
    def anchoring(self, journals: Journals, clock: ManualClock, place: Place) -> Anchoring:
        return Anchoring(journals, Settings(ledger=TO_FILE), clock)

    def test_an_anchor_is_made_at_once_and_then_when_it_is_due(
        self, anchoring: Anchoring, clock: ManualClock, place: Place
    ) -> None:
        for _ in range(9):
            anchoring.look()
            clock.advance(HOUR_NS // 4)
        assert [anchor.time_ns - START_NS for anchor in anchors(place)] == [0, HOUR_NS, 2 * HOUR_NS]

    def test_several_that_look_make_one(
        self, anchoring: Anchoring, journals: Journals, clock: ManualClock, place: Place
    ) -> None:
        other = Anchoring(Journals(journals.storage, worker="other"), Settings(ledger=TO_FILE), clock)
        for _ in range(3):
            anchoring.look()
            other.look()
        assert len(anchors(place)) == 1

    def test_a_place_that_fails_stops_nothing_and_is_caught_up_with(
        self, anchoring: Anchoring, clock: ManualClock, place: Place, journals: Journals
    ) -> None:
        place.failing = True
        anchoring.look()
        clock.advance(HOUR_NS)
        anchoring.look()
        place.failing = False
        anchoring.look()
        assert place.lines == []
        assert journals.open(LEDGER).head().position == 2
        clock.advance(AGAIN_NS)
        anchoring.look()
        assert len(anchors(place)) == 2

    def test_without_a_schedule_nothing_happens(self, journals: Journals, clock: ManualClock) -> None:
        anchoring = Anchoring(journals, Settings(), clock)
        anchoring.start()
        anchoring.look()
        anchoring.stop()
        assert LEDGER not in journals.names()

    def test_a_thread_of_its_own_looks_and_stops(self, anchoring: Anchoring, place: Place) -> None:
        anchoring.start()
        anchoring.stop()
        assert len(anchors(place)) == 1


def test_every_needs_a_place() -> None:
    with pytest.raises(ValidationError, match="an anchor that stays in the store shows nothing"):
        LedgerConfig(every="1h")
    with pytest.raises(ValidationError):
        LedgerConfig(every="1s", to={"kind": "file", "path": "x"})


class TestPlaces:
    def test_a_file_under_the_root_and_never_in_the_data(self, tmp_path: Path) -> None:
        settings = Settings(root=tmp_path, ledger=TO_FILE)
        place = place_of(settings)
        assert isinstance(place, FileAnchors)
        assert repr(place) == f"file {tmp_path}/out/anchors"
        inner = Settings(root=tmp_path, ledger={"to": {"kind": "file", "path": "data/observer/anchors"}})
        with pytest.raises(ConfigError, match="lies in the data folder"):
            place_of(inner)

    def test_a_webhook_gets_the_line_and_its_secret_is_not_shown(
        self, journals: Journals, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving() as server:
            monkeypatch.setenv("ANCHOR_URL", f"{server.url}/200?hidden")
            monkeypatch.setenv("ANCHOR_SECRET", "hunter2")
            to = {
                "kind": "webhook", "url": {"env": "ANCHOR_URL"}, "secret": {"env": "ANCHOR_SECRET"},
                "allow_private": True,
            }  # fmt: skip
            place = place_of(Settings(ledger={"to": to}))
            assert place is not None
            assert place.read() is None
            ledger = Ledger(journals, clock, place)
            made = ledger.anchor()
            ledger.send()
        assert [body for _, _, body in server.requests] == [made.line]
        assert server.requests[0][1]["X-QTS-Signature"].startswith("v1=")
        assert "hidden" not in repr(place)
        assert "hunter2" not in repr(place)
        place.close()

    def test_a_webhook_that_fails_is_tried_again(
        self, journals: Journals, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving() as server:
            monkeypatch.setenv("ANCHOR_URL", f"{server.url}/x")
            server.answers["/x"] = [(503, {}, b""), (200, {}, b"")]
            to = {"kind": "webhook", "url": {"env": "ANCHOR_URL"}, "allow_private": True}
            anchoring = Anchoring(journals, Settings(ledger={"every": "1h", "to": to}), clock)
            anchoring.look()
            clock.advance(AGAIN_NS)
            anchoring.look()
            anchoring.stop()
        assert len(server.requests) == 2
        assert server.answers["/x"] == []

    def test_a_webhook_without_its_variable_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANCHOR_URL", raising=False)
        to = {"kind": "webhook", "url": {"env": "ANCHOR_URL"}}
        with pytest.raises(ConfigError, match="the environment has no ANCHOR_URL"):
            place_of(Settings(ledger={"to": to}))

    def test_a_container_of_the_account_that_is_named(
        self, azurite: str, journals: Journals, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANCHORS", azurite)
        to = {"kind": "blob", "connection": "ANCHORS", "container": "ledger-test"}
        place = place_of(Settings(ledger={"to": to}))
        assert place is not None
        ledger = Ledger(journals, clock, place)
        made = ledger.anchor()
        ledger.send()
        assert list(place.read() or ()) == [made.line]
        place.close()


# ---------------------------------------------------------------------- where it runs


def test_the_sweep_of_the_functions_app_anchors_once_for_all_instances(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    instances = Instances(tmp_path, MemoryStorage(clock), 2, clock=clock, ledger=TO_FILE)
    instances.collect("desk", 1)
    for _ in range(2):
        for handler in instances.handlers:
            handler.sweep()
        clock.advance(HOUR_NS // 2)
    assert len(read_anchors(FileAnchors(tmp_path / "out/anchors").read(), "F")[0]) == 1


def test_a_place_that_cannot_be_used_stops_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_URL", raising=False)
    ledger = {"every": "1h", "to": {"kind": "webhook", "url": {"env": "NO_SUCH_URL"}}}
    instances = Instances(tmp_path, MemoryStorage(), ledger=ledger)
    instances.handlers[0].sweep()
    assert LEDGER not in Journals(instances.storage, worker="r").names()


def test_the_observer_anchors_while_it_runs_and_refuses_a_place_that_it_cannot_use(tmp_path: Path) -> None:
    source = {"name": "host", "kind": "system", "interval": "20ms", "host": "me", "file_systems": []}
    settings = load(root=tmp_path, durability="normal", source=[source], ledger=TO_FILE)
    it = Standalone(settings)

    def serve(_: Any) -> Any:
        return SimpleNamespace(start=lambda: 1, stop=lambda: None)

    thread = threading.Thread(
        target=it.run, args=(Console(it.observer, it.gate, enabled=False), serve), daemon=True
    )
    thread.start()
    kept = tmp_path / "out/anchors"
    eventually(lambda: kept.is_file() and kept.read_bytes().endswith(b"\n"))
    it.stop()
    thread.join(30)
    assert not thread.is_alive()
    results = found(tmp_path / "data/observer", kept)
    assert all(item.sound for item in results.values())
    inner = {"every": "1h", "to": {"kind": "file", "path": "data/observer/anchors"}}
    refused = Standalone(load(root=tmp_path, durability="normal", source=[source], ledger=inner))
    with pytest.raises(ConfigError, match="lies in the data folder"):
        refused.run(Console(refused.observer, refused.gate, enabled=False), serve)


# ---------------------------------------------------------------------- tampering


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Callable[..., Path]:
    """Makes stores on files: the same records, except for those that are changed."""

    def make(name: str, *, second: str = "two", records: int = 4) -> Path:
        folder = tmp_path / name
        storage = LocalStorage(folder, clock=clock)
        journals = Journals(storage, worker="w")
        for position, value in enumerate(["one", second, "three", "four"][:records], 1):
            write(journals, "commands.a", value)
            write(journals, "commands.b", "same")
            if position in (1, 3):
                Ledger(journals, clock, FileAnchors(tmp_path / f"{name}.anchors")).anchor()
        Ledger(journals, clock, FileAnchors(tmp_path / f"{name}.anchors")).send()
        storage.close()
        return folder

    return make


def found(folder: Path, *copies: Path) -> dict[str, Compared]:
    storage = LocalStorage(folder)
    journals = Journals(storage, worker="r")
    outside = {str(copy): read_anchors(FileAnchors(copy).read(), str(copy))[0] for copy in copies}
    results = {item.journal: item for item in verify(journals, {LEDGER: inside(journals)[0], **outside})}
    storage.close()
    return results


def test_an_honest_store_agrees_with_all_its_anchors(store: Callable[..., Path], tmp_path: Path) -> None:
    results = found(store("good"), tmp_path / "good.anchors")
    assert all(item.sound for item in results.values())
    assert {name: item.agreed for name, item in results.items()} == {
        "commands.a": 4, "commands.b": 4, LEDGER: 6,
    }  # fmt: skip


def test_a_changed_byte_is_found_by_the_chain(store: Callable[..., Path], tmp_path: Path) -> None:
    folder = store("good")
    segment = next((folder / "commands" / "source=a").rglob("*.ndjson"))
    segment.write_bytes(segment.read_bytes().replace(b"two", b"tWo"))
    item = found(folder, tmp_path / "good.anchors")["commands.a"]
    assert item.verified.fault is not None
    assert (item.verified.fault.position, item.verified.fault.fault) == (2, "hash")


def test_a_removed_record_is_found(store: Callable[..., Path], tmp_path: Path) -> None:
    folder = store("good")
    segment = next((folder / "commands" / "source=a").rglob("*.ndjson"))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert not found(folder, tmp_path / "good.anchors")["commands.a"].sound


def test_a_store_written_anew_as_a_whole_is_sound_in_itself_and_found_by_the_anchors_outside(
    store: Callable[..., Path], tmp_path: Path
) -> None:
    store("good")
    forged = store("forged", second="2")
    assert all(item.sound for item in found(forged).values())
    results = found(forged, tmp_path / "good.anchors")
    assert sorted(name for name, item in results.items() if not item.sound) == ["commands.a", LEDGER]
    wrong = results["commands.a"].disagreement
    assert wrong is not None
    assert (wrong.fault, wrong.after, wrong.position) == ("rewritten", 1, 3)
    assert wrong.where == str(tmp_path / "good.anchors")


def test_a_store_put_back_to_an_earlier_state_is_found(store: Callable[..., Path], tmp_path: Path) -> None:
    store("good")
    wrong = found(store("short", records=2), tmp_path / "good.anchors")["commands.a"].disagreement
    assert wrong is not None
    assert (wrong.fault, wrong.after, wrong.position) == ("cut", 1, 3)


def test_a_store_that_was_emptied_is_found(store: Callable[..., Path], tmp_path: Path) -> None:
    folder = store("good")
    shutil.rmtree(folder)
    results = found(folder, tmp_path / "good.anchors")
    assert {item.disagreement and item.disagreement.fault for item in results.values()} == {"missing"}
