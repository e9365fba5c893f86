"""What is pushed: committed at once, or kept as a blob until a worker commits it. Each batch once.

The same for the port and the Functions app. Under an idempotency key a batch is committed once,
however often it is sent; a kept one has a key of its own where the sender gave none.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from observer_core.runtime.observer import Observer
from observer_core.runtime.source_kinds import PushSourceConfig
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import Conflict, InputError, LimitExceeded, NotFound
from observer_core.shared.ids import derive
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources.push import Pushed, parse_push
from observer_core.storage.journal import Journal
from observer_core.storage.ports import Op

KEPT: Final = "pushes/"
REFUSED: Final = "pushes-refused/"


@dataclass(frozen=True, slots=True)
class Batch:
    """One body, unpacked; `came_ns` is when."""

    source: str
    body: bytes
    content_type: str
    key: str | None
    came_ns: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a batch stands. `duplicate`: it stood there before."""

    position: int
    snapshots: int
    duplicate: bool


class KeyReused(InputError):
    """An idempotency key that was used with another body."""


class Pushes:
    """The way in for all sources of kind push. For any thread."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.sources = {
            item.name: item for item in observer.settings.source if isinstance(item, PushSourceConfig)
        }

    def parse(self, batch: Batch) -> Pushed:
        """Its snapshots and the rows that are none; `PushError` when no row can be used."""
        zone = self.sources[batch.source].zone if batch.source in self.sources else None
        return parse_push(batch.source, batch.body, batch.content_type, batch.came_ns, zone)

    def known(self, batch: Batch) -> Taken | None:
        """Where a batch of this key was committed; `KeyReused` when that was another one."""
        if batch.key is None:
            return None
        found = self._observer.journals.open(f"snapshots.{batch.source}").idempotency(batch.key)
        if found is None:
            return None
        if found["body"] != hashlib.sha256(batch.body).hexdigest():
            raise KeyReused("this Idempotency-Key was used with another body; give each batch its own")
        return Taken(found["position"], found["snapshots"], duplicate=True)

    def commit(self, batch: Batch, snapshots: Sequence[Snapshot]) -> Taken:
        """Commits all of them, with the key; what was committed under the key before is only told.

        `StorageFull` when too little space is left to take anything in.
        """
        known = self.known(batch)
        if known is not None:
            return known
        self._observer.guards.require_space()
        digest = hashlib.sha256(batch.body).hexdigest()
        result: dict[str, Any] = {"snapshots": len(snapshots), "body": digest, "time_ns": batch.came_ns}

        def once(position: int) -> Sequence[Op]:
            result["position"] = position
            return [] if batch.key is None else [Journal.idempotency_op(batch.key, result)]

        domain = self.sources[batch.source].domain
        writer = self._observer.writer(batch.source, domain, "live", batch.came_ns)
        try:
            writer.write(snapshots, extra=once)
        except Conflict:
            known = self.known(batch)
            if known is None:
                raise
            return known
        return Taken(result["position"], len(snapshots), duplicate=False)

    # ------------------------------------------------------------------ kept for later

    def keep(self, batch: Batch) -> str:
        """Makes the batch durable as a blob, and gives its name."""
        key = batch.key or f"kept-{secrets.token_hex(16)}"
        head = {"key": key, "content_type": batch.content_type}
        identity = derive("push", key, hashlib.sha256(batch.body).hexdigest())
        name = f"{KEPT}{batch.source}/{batch.came_ns:020d}-{identity}"
        self._observer.storage.blobs.put(name, encode(head) + b"\n" + batch.body)
        return name

    def kept(self) -> Iterator[tuple[str, int]]:
        """The names of what is kept, oldest first a source, and when each came."""
        for name in self._observer.storage.blobs.list(KEPT):
            yield name, int(name.rpartition("/")[2].partition("-")[0])

    def take_up(self, name: str) -> Taken | None:
        """Commits a kept batch and removes it; None when somebody else has.

        One that was put aside before is tried once more. `InputError` when it cannot be committed, ever: it
        is put aside under `pushes-refused/`, and comes back when it is taken up again by name.
        """
        blobs = self._observer.storage.blobs
        aside = REFUSED + name.removeprefix(KEPT)
        place = name
        try:
            data = blobs.get(name)
        except NotFound:
            place = aside
            try:
                data = blobs.get(aside)
            except NotFound:
                return None
        try:
            batch = _kept_batch(name, data)
            if batch.source not in self.sources:
                raise InputError(f"no source {batch.source!r} of kind push is configured any more")
            taken = self.commit(batch, self.parse(batch).snapshots)
        except (InputError, LimitExceeded) as error:
            if place != aside:
                blobs.put(aside, data)
                blobs.delete(name)
            raise InputError(f"kept push {name}: {error}") from error
        blobs.delete(place)
        return taken


def source_of(name: str) -> str:
    """The source of a kept push, by the blob's name."""
    return name.split("/")[1]


def _kept_batch(name: str, data: bytes) -> Batch:
    head, _, body = data.partition(b"\n")
    values = decode(head)
    try:
        _, source, rest = name.split("/")
        return Batch(source, body, values["content_type"], values["key"], int(rest.partition("-")[0]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"is no kept push: {error!r}") from None
