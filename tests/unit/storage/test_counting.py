"""What is counted over any storage is what the transport of the real one counts."""

from __future__ import annotations

from collections import Counter

from observer_core.shared.clock import ManualClock
from observer_core.storage.azure import AzureStorage
from observer_core.storage.counting import CountingStorage
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op, Storage
from tests.support.toys import note


def script(storage: Storage) -> None:
    """One of everything, more than a page of rows, and a journal's own work."""
    storage.segments.append("snapshots/a", b"x" * 100)
    storage.segments.append("snapshots/a", b"y")
    storage.segments.read("snapshots/a", 0, 50)
    storage.segments.size("snapshots/a")
    list(storage.segments.list("snapshots/"))
    storage.blobs.put("one", b"1")
    storage.blobs.get("one")
    list(storage.blobs.list())
    storage.blobs.delete("one")
    for start in range(0, 1100, 100):
        storage.tables.commit("p", [Op("insert", f"k{n:05d}", b"v") for n in range(start, start + 100)])
    assert len(storage.tables.query("p", "k", "l")) == 1100
    storage.tables.get("p", "k00001")
    storage.tables.get("p", "missing")
    storage.queues.send("some-queue", b"m")
    (message,) = storage.queues.receive("some-queue")
    storage.queues.length("some-queue")
    storage.queues.delete("some-queue", message)
    journal = Journals(storage, worker="w").open("patterns.x", "live")
    for second in range(3):
        journal.commit(journal.head(refresh=False), Commit(records=[note(second)]))
    assert len(list(Journals(storage, worker="r").open("patterns.x").scan())) == 3


def test_the_counts_are_those_of_the_wire(azurite: str) -> None:
    storage = AzureStorage.connect({"AzureWebJobsStorage": azurite}, prefix="count")
    storage.segments.append("snapshots/other", b"x")
    storage.segments.append("patterns/other", b"x")
    storage.blobs.put("other", b"x")
    storage.tables.commit("other", [Op("insert", "k", b"v")])
    storage.queues.send("some-queue", b"m")
    storage.queues.delete("some-queue", storage.queues.receive("some-queue")[0])
    before, counted = storage.operations.counts(), CountingStorage(storage)
    script(counted)
    # A segment is made when it is missed, once an hour: refused, made, appended to again.
    made = Counter({"blob.append": 2, "blob.write": 2})
    assert storage.operations.counts() - before == counted.operations.counts() + made


def test_over_memory_the_same_script_counts_the_same(azurite: str) -> None:
    one, two = CountingStorage(MemoryStorage(ManualClock(0))), CountingStorage(MemoryStorage(ManualClock(0)))
    script(one)
    script(two)
    assert one.operations.counts() == two.operations.counts()
    assert one.operations.counts()["table.query"] == 2 + 1 + 1
