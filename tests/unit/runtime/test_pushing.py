"""Pushes: each key once, those that are kept for later too, and none is lost with its hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from observer_core.runtime.observer import Observer
from observer_core.runtime.pushing import KEPT, REFUSED, Batch, KeyReused, Pushes, Taken
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError, LimitExceeded, RecordError, StorageUnavailable
from observer_core.shared.records import Event, Note, Snapshot
from observer_core.snapshot_engine.sources.push import PushError
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.instances import BUILD, START_NS, Instances

JSON = "application/json"
SOURCES = (
    {"name": "desk", "kind": "push", "normalise": {"max_subjects": 2}},
    {"name": "seoul", "kind": "push", "zone": "Asia/Seoul"},
)


def body(price: float = 1.5, subject: str = "A") -> bytes:
    return orjson.dumps({"subject": subject, "price": price})


def batch(content: bytes = body(), key: str | None = None, *, source: str = "desk", later: int = 0) -> Batch:
    return Batch(source, content, JSON, key, START_NS + later)


def opened(folder: Path, storage: MemoryStorage, sources: tuple[Any, ...] = SOURCES) -> Pushes:
    settings = load(root=folder, source=sources)
    return Pushes(Observer(settings, storage, clock=ManualClock(START_NS), build=BUILD))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def pushes(tmp_path: Path, storage: MemoryStorage) -> Pushes:
    return opened(tmp_path, storage)


def commit(pushes: Pushes, given: Batch) -> Taken:
    return pushes.commit(given, pushes.parse(given).snapshots)


def prices(storage: MemoryStorage, source: str = "desk") -> list[list[float]]:
    records = [e.record for e in Journals(storage, worker="r").open(f"snapshots.{source}").scan()]
    return [it.fields["price"].tolist() for it in records if isinstance(it, Snapshot)]


def blobs(storage: MemoryStorage) -> list[str]:
    return [*storage.blobs.list(KEPT), *storage.blobs.list(REFUSED)]


# ---------------------------------------------------------------------- a key


def test_a_batch_is_committed_and_said_where(pushes: Pushes, storage: MemoryStorage) -> None:
    rows = orjson.dumps([{"subject": "A", "price": price, "time": 1_600_000_000 + price} for price in (1, 2)])
    assert commit(pushes, batch(rows)) == Taken(position=2, snapshots=2, duplicate=False)
    assert commit(pushes, batch()) == Taken(position=4, snapshots=1, duplicate=False)
    assert prices(storage) == [[1.0], [2.0], [1.5]]


def test_under_a_key_a_batch_is_committed_once_whoever_sends_it(
    pushes: Pushes, storage: MemoryStorage, tmp_path: Path
) -> None:
    assert pushes.known(batch(key="k")) is None
    first = commit(pushes, batch(key="k"))
    assert not first.duplicate
    for other in (pushes, opened(tmp_path, storage)):
        again = commit(other, batch(key="k", later=5))
        assert again == Taken(first.position, 1, duplicate=True) == other.known(batch(key="k"))
    assert prices(storage) == [[1.5]]


def test_without_a_key_it_is_committed_as_often_as_it_is_sent(pushes: Pushes, storage: MemoryStorage) -> None:
    for later in range(3):
        assert commit(pushes, batch(later=later)).duplicate is False
    assert len(prices(storage)) == 3
    assert pushes.known(batch()) is None


def test_a_key_that_was_used_with_another_body_is_refused(pushes: Pushes, storage: MemoryStorage) -> None:
    commit(pushes, batch(key="k"))
    other = batch(body(2.5), "k")
    with pytest.raises(KeyReused, match="used with another body; give each batch its own"):
        commit(pushes, other)
    with pytest.raises(KeyReused):
        pushes.known(other)
    assert prices(storage) == [[1.5]]


def test_keys_of_two_sources_are_two_keys(pushes: Pushes, storage: MemoryStorage) -> None:
    commit(pushes, batch(key="k"))
    assert commit(pushes, batch(body(2.5), "k", source="seoul")).duplicate is False
    assert prices(storage, "seoul") == [[2.5]]


@pytest.mark.parametrize("content", [body(), body(9.0)])
def test_who_was_overtaken_between_the_look_and_the_commit_hears_it(
    storage: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    slow, fast = opened(tmp_path, storage), opened(tmp_path, storage)
    known, looks = Pushes.known, []

    def look(self: Pushes, given: Batch) -> Taken | None:
        looks.append(self)
        if len(looks) == 1:
            assert known(self, given) is None
            with monkeypatch.context() as patch:
                patch.setattr(Pushes, "known", known)
                commit(fast, batch(key="k"))
            return None
        return known(self, given)

    monkeypatch.setattr(Pushes, "known", look)
    if content == body():
        assert commit(slow, batch(content, "k")) == Taken(2, 1, duplicate=True)
    else:
        with pytest.raises(KeyReused):
            commit(slow, batch(content, "k"))
    assert prices(storage) == [[1.5]]


def test_what_cannot_be_committed_does_not_use_up_its_key(pushes: Pushes, storage: MemoryStorage) -> None:
    rows = orjson.dumps([{"subject": name, "price": 1} for name in "ABC"])
    with pytest.raises(RecordError, match="3 subjects in all, at most 2 expected"):
        commit(pushes, batch(rows, "k"))
    assert pushes.known(batch(rows, "k")) is None
    assert commit(pushes, batch(key="k")).duplicate is False
    assert prices(storage) == [[1.5]]


def test_times_are_in_the_zone_of_the_source(pushes: Pushes) -> None:
    content = orjson.dumps({"subject": "A", "price": 1, "time": "2018-04-05T09:01:00"})
    (snapshot,) = pushes.parse(batch(content, source="seoul")).snapshots
    assert snapshot.event_ns == 1_522_886_460 * SECOND
    with pytest.raises(PushError, match="has no zone"):
        pushes.parse(batch(content))


# ---------------------------------------------------------------------- kept for later


def test_what_is_kept_is_not_committed_before_it_is_taken_up(pushes: Pushes, storage: MemoryStorage) -> None:
    name = pushes.keep(batch(key="k"))
    assert list(pushes.kept()) == [(name, START_NS)]
    assert prices(storage) == []
    assert pushes.take_up(name) == Taken(2, 1, duplicate=False)
    assert prices(storage) == [[1.5]]
    assert blobs(storage) == []


def test_it_happened_when_it_came_whenever_it_is_taken_up(pushes: Pushes, storage: MemoryStorage) -> None:
    name = pushes.keep(batch(later=-7))
    commit(pushes, batch(body(3.0)))
    pushes.take_up(name)
    records = [e.record for e in Journals(storage, worker="r").open("snapshots.desk").scan(3)]
    assert isinstance(records[0], Snapshot)
    assert (records[0].event_ns, records[0].ingest_ns) == (START_NS - 7, START_NS), "known late"


def test_another_process_may_take_it_up(pushes: Pushes, storage: MemoryStorage, tmp_path: Path) -> None:
    content = b'{"subject":"A",\n "price":2}\n\n{'[:-3]
    name = pushes.keep(batch(content, "a key\nwith a line"))
    assert opened(tmp_path, storage).take_up(name) == Taken(2, 1, duplicate=False)
    assert pushes.take_up(name) is None
    assert commit(pushes, batch(content, "a key\nwith a line")).duplicate
    assert prices(storage) == [[2.0]]


@pytest.mark.parametrize("key", ["k", None])
def test_taken_up_twice_it_is_committed_once(
    pushes: Pushes, storage: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """The first one dies between the commit and the removal."""
    name = pushes.keep(batch(key=key))

    def dies(_: str) -> None:
        raise StorageUnavailable("delete")

    with monkeypatch.context() as patch:
        patch.setattr(storage.blobs, "delete", dies)
        with pytest.raises(StorageUnavailable):
            pushes.take_up(name)
    assert [kept for kept, _ in pushes.kept()] == [name]
    assert opened(tmp_path, storage).take_up(name) == Taken(2, 1, duplicate=True)
    assert prices(storage) == [[1.5]]
    assert blobs(storage) == []


def test_sent_again_while_it_is_kept_it_is_committed_once(pushes: Pushes, storage: MemoryStorage) -> None:
    names = [pushes.keep(batch(key="k", later=later)) for later in (0, 3)]
    assert len(set(names)) == 2
    found = [pushes.take_up(name) for name in names]
    assert [taken.duplicate for taken in found if taken] == [False, True]
    assert prices(storage) == [[1.5]]


def test_two_without_a_key_are_two(pushes: Pushes, storage: MemoryStorage) -> None:
    names = {pushes.keep(batch()) for _ in range(2)}
    assert len(names) == 2
    for name in names:
        pushes.take_up(name)
    assert prices(storage) == [[1.5], [1.5]]


def test_the_oldest_of_a_source_comes_first(pushes: Pushes) -> None:
    names = {later: pushes.keep(batch(key=str(later), later=later)) for later in (5, -(10**17), 0, 10**15)}
    assert [name for name, _ in pushes.kept()] == [names[later] for later in sorted(names)]
    assert [came - START_NS for _, came in pushes.kept()] == sorted(names)


def test_what_cannot_be_committed_now_stays(
    pushes: Pushes, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = pushes.keep(batch())

    def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("write")

    with monkeypatch.context() as patch:
        patch.setattr(Pushes, "commit", away)
        with pytest.raises(StorageUnavailable):
            pushes.take_up(name)
    assert blobs(storage) == [name]
    assert pushes.take_up(name) == Taken(2, 1, duplicate=False)


BAD = {
    "no JSON": (batch(b"{"), "not JSON"),
    "no row": (batch(b'[{"price": 1}]'), "the subject None"),
    "a key that was used": (batch(body(9.0), "used"), "another body"),
    "too many subjects": (
        batch(orjson.dumps([{"subject": name, "price": 1} for name in "ABC"])), "3 subjects in all",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", BAD)
def test_what_never_can_be_committed_is_put_aside_whole(
    pushes: Pushes, storage: MemoryStorage, why: str
) -> None:
    given, message = BAD[why]
    commit(pushes, batch(key="used"))
    name = pushes.keep(given)
    before = storage.blobs.get(name)
    aside = REFUSED + name.removeprefix(KEPT)
    for _ in range(2):  # the second time from where it was put
        with pytest.raises(InputError, match=message):
            pushes.take_up(name)
        assert blobs(storage) == [aside]
        assert storage.blobs.get(aside) == before
    assert before.endswith(given.body)
    assert list(pushes.kept()) == []
    assert prices(storage) == [[1.5]]


def test_what_storage_never_takes_is_put_aside_too(
    pushes: Pushes, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = pushes.keep(batch())

    def too_large(*_: Any, **__: Any) -> None:
        raise LimitExceeded("an append of 5000000 bytes")

    with monkeypatch.context() as patch:
        patch.setattr(Pushes, "commit", too_large)
        with pytest.raises(InputError, match="an append of 5000000 bytes"):
            pushes.take_up(name)
    assert blobs(storage) == [REFUSED + name.removeprefix(KEPT)]


def test_one_that_was_put_aside_is_taken_up_once_what_was_wrong_is_mended(
    pushes: Pushes, storage: MemoryStorage, tmp_path: Path
) -> None:
    name = pushes.keep(batch(source="seoul", key="k"))
    with pytest.raises(InputError):
        opened(tmp_path, storage, SOURCES[:1]).take_up(name)
    assert pushes.take_up(name) == Taken(2, 1, duplicate=False)
    assert blobs(storage) == []
    assert prices(storage, "seoul") == [[1.5]]
    assert commit(pushes, batch(source="seoul", key="k")).duplicate


def test_one_of_a_source_that_is_gone_is_put_aside(
    pushes: Pushes, storage: MemoryStorage, tmp_path: Path
) -> None:
    name = pushes.keep(batch(source="seoul"))
    with pytest.raises(InputError, match="no source 'seoul' of kind push is configured any more"):
        opened(tmp_path, storage, SOURCES[:1]).take_up(name)
    assert blobs(storage) == [REFUSED + name.removeprefix(KEPT)]


def test_of_a_kept_batch_the_rows_that_can_be_used_are_taken(pushes: Pushes, storage: MemoryStorage) -> None:
    rows = orjson.dumps([{"subject": "A", "price": 1}, {"price": 2}])
    assert pushes.take_up(pushes.keep(batch(rows))) == Taken(2, 1, duplicate=False)
    assert prices(storage) == [[1.0]]


# ---------------------------------------------------------------------- through the handlers


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    clock = ManualClock(START_NS)
    return Instances(tmp_path, MemoryStorage(clock), 2, clock=clock, source=SOURCES)


def keep(instances: Instances, given: Batch) -> str:
    """As the port does it: kept, then hinted."""
    name = Pushes(instances.handlers[0].observer).keep(given)
    instances.handlers[0].put_off(name)
    return name


def records(instances: Instances, name: str, kind: type) -> list[Any]:
    journal = Journals(instances.storage, worker="reader").open(name)
    return [entry.record for entry in journal.scan() if isinstance(entry.record, kind)]


def test_a_hint_has_it_committed_and_its_readers_told(instances: Instances) -> None:
    keep(instances, batch())
    message = instances.receive("push")
    assert message is not None
    instances.give("push", message, by=1)
    assert len(records(instances, "snapshots.desk", Snapshot)) == 1
    assert dict(instances.lengths()) == {
        "collect-source": 0, "push": 0, "recognise": 1, "publish": 0, "decide": 0, "route": 0, "deliver": 0,
    }  # fmt: skip
    instances.drain(by=1)
    assert instances.handlers[1].observer.domain("live").recogniser("desk").journal.head().position


def test_a_hint_that_comes_twice_commits_once(instances: Instances) -> None:
    keep(instances, batch())
    message = instances.receive("push")
    assert message is not None
    for by in (0, 1, 0):
        instances.handlers[by].push(message.body)
    assert len(records(instances, "snapshots.desk", Snapshot)) == 1
    assert dict(instances.lengths())["recognise"] == 1


def test_a_lost_hint_loses_nothing(instances: Instances) -> None:
    keep(instances, batch())
    instances.lose()
    instances.clock.advance(59 * SECOND)
    instances.handlers[1].sweep()
    assert dict(instances.lengths())["push"] == 0, "its hint may still be under way"
    instances.clock.advance(SECOND)
    instances.handlers[1].sweep()
    assert dict(instances.lengths())["push"] == 1
    instances.drain(by=1)
    assert len(records(instances, "snapshots.desk", Snapshot)) == 1
    instances.handlers[0].sweep()
    assert dict(instances.lengths())["push"] == 0


def test_each_sweep_hints_what_is_still_there(instances: Instances) -> None:
    for key in "ab":
        keep(instances, batch(key=key))
    instances.clock.advance(60 * SECOND)
    for _ in range(3):
        instances.lose()
        instances.handlers[0].sweep()
        assert dict(instances.lengths())["push"] == 2
    instances.drain()
    assert len(records(instances, "snapshots.desk", Snapshot)) == 2


def test_one_that_is_refused_is_put_aside_with_an_alert(instances: Instances) -> None:
    name = keep(instances, batch(b"{"))
    instances.drain(by=1)
    assert list(instances.storage.blobs.list(KEPT)) == []
    assert list(instances.storage.blobs.list(REFUSED)) == [REFUSED + name.removeprefix(KEPT)]
    (letter,) = records(instances, "deadletters.live", Note)
    assert (letter.kind, letter.body["stage"], letter.body["message_id"]) == ("dead_letter", "push", name)
    instances.handlers[0].clock()
    instances.drain()
    events = records(instances, "events.live", Event)
    assert [event.type for event in events if "dead_letter" in event.type]
    assert records(instances, "snapshots.desk", Snapshot) == []


def test_one_that_is_refused_does_not_hold_up_the_others(instances: Instances) -> None:
    for content in (b"{", body(), b"[]", body(2.0)):
        keep(instances, batch(content))
    instances.drain()
    assert len(records(instances, "snapshots.desk", Snapshot)) == 2
    assert len(records(instances, "deadletters.live", Note)) == 2


def test_the_letter_may_be_sent_again_without_harm(instances: Instances) -> None:
    name = keep(instances, batch(b"{"))
    instances.drain()
    for by in (0, 1):
        instances.handlers[by].push(orjson.dumps({"blob": name}))
    assert len(records(instances, "deadletters.live", Note)) == 1
    assert list(instances.storage.blobs.list(REFUSED)) == [REFUSED + name.removeprefix(KEPT)]


@pytest.mark.parametrize("hint", [b'{"blob":"states/x"}', b'{"blob":"pushes-refused/desk/1-a"}', b"{}"])
def test_a_hint_names_nothing_else(instances: Instances, hint: bytes) -> None:
    with pytest.raises(InputError, match="a hint"):
        instances.handlers[0].push(hint)


def test_storage_that_is_away_leaves_the_message_to_the_host(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = keep(instances, batch())

    def away(_: str) -> bytes:
        raise StorageUnavailable("read")

    with monkeypatch.context() as patch:
        patch.setattr(instances.storage.blobs, "get", away)
        with pytest.raises(StorageUnavailable):
            instances.handlers[0].push(orjson.dumps({"blob": name}))
    assert records(instances, "deadletters.live", Note) == []
    instances.drain()
    assert len(records(instances, "snapshots.desk", Snapshot)) == 1


def test_what_was_kept_and_taken_up_verifies(instances: Instances) -> None:
    for key in ("a", "b", None, "a"):
        keep(instances, batch(key=key))
        instances.clock.advance(SECOND)
    instances.drain(by=1)
    journals = Journals(instances.storage, worker="reader")
    assert len(records(instances, "snapshots.desk", Snapshot)) == 3
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
