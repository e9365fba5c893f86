"""Stores to back up, places to back them up to, and what a restored one is compared by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from observer_core.backup.creating import Made, Order, create
from observer_core.backup.manifest import Manifest
from observer_core.backup.objects import Objects
from observer_core.backup.place import Place
from observer_core.backup.restoring import Restored, Wish, finish, restore
from observer_core.backup.vault import Vault
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryBlobs, MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.verify import verify
from tests.support.faults import FaultyStorage
from tests.support.toys import BUILD, START_NS


class MemoryPlace(MemoryBlobs):
    """A place that is gone with the test."""

    def close(self) -> None:
        pass


class BusyPlace(MemoryPlace):
    """At each `put`, or at those whose number is named, lets somebody else act first."""

    def __init__(self, acts: Mapping[int, Callable[[], object]] | Callable[[int], object]) -> None:
        super().__init__()
        self._acts, self.puts = acts, 0

    def put(self, name: str, data: bytes) -> None:
        self.puts += 1
        if callable(self._acts):
            self._acts(self.puts)
        elif self.puts in self._acts:
            self._acts[self.puts]()
        super().put(name, data)


class FaultyPlace:
    """`inner`, whose writes are steps of `storage` too."""

    def __init__(self, inner: Place, storage: FaultyStorage) -> None:
        self._inner, self._storage = inner, storage

    def put(self, name: str, data: bytes) -> None:
        self._storage.step(f"put {name.partition('/')[0]}", lambda: self._inner.put(name, data))

    def delete(self, name: str) -> None:
        self._storage.step(f"remove {name.partition('/')[0]}", lambda: self._inner.delete(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def back_up(
    storage: Storage, place: Place, *, time_ns: int = START_NS, seal: str | None = None,
    vault: Vault | None = None, **order: Any,
) -> Made:  # fmt: skip
    objects: Objects = (vault or Vault(place)).objects(seal)
    asked = Order(store="mine", build=BUILD, time_ns=time_ns, **order)
    return create(Journals(storage, worker="backup"), objects, asked)


def bring_back(
    place: Place, *, number: int | None = None, target: Storage | None = None, vault: Vault | None = None,
    **wish: Any,
) -> tuple[Storage, Restored]:  # fmt: skip
    """The newest backup as a store in memory."""
    vault = vault or Vault(place)
    manifest = vault.catalogue.newest() if number is None else vault.catalogue.read(number)
    assert isinstance(manifest, Manifest)
    storage = MemoryStorage() if target is None else target
    numbers = sorted(vault.catalogue.names(), reverse=True)
    older = [vault.catalogue.read(found) for found in numbers if found < manifest.number]
    restored = restore(vault, Wish(manifest, **{"older": older, **wish}), storage)
    finish(storage)
    return storage, restored


def everything(storage: Storage) -> dict[str, Any]:
    """All rows, records and blobs of a store, but for where in a segment records happen to stand."""
    journals = Journals(storage, worker="reader")
    found: dict[str, Any] = {"registry": storage.tables.query("registry", "", "~")}
    found["registry"] = [(row.key, row.value) for row in found["registry"]]
    for name in journals.names():
        journal = journals.open(name)
        assert verify(journal).fault is None
        rows = storage.tables.query(name, "", "~")
        sides = {row.key: row.value for row in rows if row.key[:2] not in ("r.", "p.", "m.")}
        states = {row.blob: storage.blobs.get(row.blob) for row in journal.states()}
        found[name] = {
            "sides": {key: value for key, value in sides.items() if key != "lease"},
            "states": states,
            "packed": [(row.key, row.value) for row in rows if row.key.startswith("p.")],
            "commits": [row._replace(segment="", offset=0) for row in journal.rows()],
            "lines": [line for _, lines in journal.raw() for line in lines],
        }
    return found
