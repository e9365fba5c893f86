"""What the gate answers from, read once for all that ask within moments.

A picture is used again while it was read no longer ago than `age_ns` and no journal that this
process has written has moved since; otherwise the heads are read again, and of the views only
those whose journal has moved. A picture that cannot be read again is not used any longer.
A domain of which nothing has moved is the same object as before.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from observer_core.decision_pipeline.gate import GateInputs, SourceState
from observer_core.decision_pipeline.intents import MID, Reference
from observer_core.runtime.gate.reader import Gate
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.ids import ref
from observer_core.shared.records import ALL, Snapshot
from observer_core.storage.journals import Journals
from observer_core.storage.rows import Head

LIVE: Final = "live"
_SNAPSHOTS_BACK: Final = 64
_BAD: Final = frozenset(("stale", "crossed_book", "non_positive", "outlier_print", "closed_session"))
_INDEXES: Final = 64


@dataclass(frozen=True, slots=True)
class DomainView:
    """One domain: the inputs of its answers, and how far the journals stood that they were read from.

    `heads` and `rows` (the views) are those of its journals; of retired sources too, which the inputs are
    without. Of the events there are no views.
    """

    name: str
    live: bool
    inputs: GateInputs
    positions: Mapping[str, int]
    newest_ns: int
    heads: Mapping[str, Head]
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def sources(self) -> list[str]:
        """All of them, in order of their names."""
        return [name.partition(".")[2] for name in self.heads if name.startswith("snapshots.")]

    def rests(self, subject: str) -> dict[str, int]:
        """The journals that an answer about `subject` rests on."""
        shared = (f"decisions.{self.name}", f"events.{self.name}")
        found = {name: self.positions[name] for name in shared}
        for source in self.inputs.sources:
            if subject in source.subjects:
                for name in (f"patterns.{source.name}", f"snapshots.{source.name}"):
                    found[name] = self.positions[name]
        return found


@dataclass(frozen=True, slots=True)
class Picture:
    """All domains with sources, `live` first."""

    domains: Mapping[str, DomainView]

    def domain_of(self, subject: str, *, live: bool = False) -> str:
        """Where `subject` is observed; where nobody observes it, the first there is.

        `live`: only domains that keep the clock's time count. What was once recorded of an instrument
        says nothing of an order of now.
        """
        views = [view for view in self.domains.values() if view.live or not live]
        for view in views:
            if any(subject in source.subjects for source in view.inputs.sources):
                return view.name
        return views[0].name if views else LIVE


class Views:
    """The newest picture, from any thread; prices for one thread alone."""

    def __init__(self, gate: Gate, journals: Journals, clock: Clock, age_ns: int) -> None:
        self._gate, self._journals, self._clock = gate, journals, clock
        self._age_s = age_ns / SECOND
        self._picture: Picture | None = None
        self._read_at = 0.0
        self._heads: dict[str, Head] = {}
        self._views: dict[str, dict[str, tuple[str, Any]]] = {}
        self._sources: dict[str, tuple[Head, Head, SourceState]] = {}
        self._live: dict[str, bool] = {}
        self._known: dict[str, DomainView] = {}
        self._prices = _Prices(journals)
        self._reading = threading.Lock()

    def current(self, age_ns: int | None = None) -> Picture:
        """No older than its bound, or than `age_ns`; `StorageUnavailable` and its like where it cannot be."""
        age_s = self._age_s if age_ns is None else age_ns / SECOND
        with self._reading:
            now = time.monotonic()
            if self._picture is None or now - self._read_at >= age_s or self._has_moved():
                self._picture = None
                self._picture = self._read()
                self._read_at = now
            return self._picture

    def let_go(self) -> None:
        """Of what was read; it is read again when somebody asks."""
        with self._reading:
            self._picture = None
            self._known, self._views, self._sources = {}, {}, {}
            self._prices = _Prices(self._journals)

    def now_ns(self, view: DomainView | None) -> int:
        """The domain's present: the clock (live), or as far as its recordings have been read."""
        return self._clock.now_ns() if view is None or view.live else view.newest_ns

    def reference(
        self, view: DomainView, subject: str, fields: Sequence[str], now_ns: int
    ) -> Reference | None:
        """The newest good price of `subject` that is no older than its source may be."""
        found = [
            price
            for source in view.inputs.sources
            if subject in source.subjects
            and (price := self._prices.of(
                source.name, view.positions[f"snapshots.{source.name}"], subject, fields,
                now_ns, source.max_age_ns,
            ))
        ]  # fmt: skip
        return max(found, key=lambda price: (price.time_ns, price.ref), default=None)

    def _has_moved(self) -> bool:
        """Whether this process has committed, or met, something newer. Asks no storage."""
        return any(
            self._journals.open(name).head(refresh=False).seq > head.seq for name, head in self._heads.items()
        )

    def _read(self) -> Picture:
        names: dict[str, list[str]] = {}
        for journal in self._journals.names("snapshots"):
            names.setdefault(self._journals.domain_of(journal) or "", []).append(journal.partition(".")[2])
        self._heads = {}
        views = [self._domain(domain, found) for domain, found in names.items()]
        views.sort(key=lambda view: (view.name != LIVE, view.name))
        return Picture({view.name: view for view in views})

    def _domain(self, domain: str, names: Sequence[str]) -> DomainView:
        decisions, views = self._consistent(f"decisions.{domain}")
        heads = {f"decisions.{domain}": decisions, f"events.{domain}": self._head(f"events.{domain}")}
        rows = {f"decisions.{domain}": views}
        for name in names:
            heads[f"snapshots.{name}"] = self._head(f"snapshots.{name}")
            patterns = f"patterns.{name}"
            heads[patterns], rows[patterns] = self._consistent(patterns)
        live, before = self._is_live(domain), self._known.get(domain)
        if before is not None and before.heads == heads and before.live == live:
            return before
        events = heads[f"events.{domain}"]
        sources = [
            self._source(name, heads[f"snapshots.{name}"], heads[patterns], rows[patterns])
            for name, patterns in ((name, f"patterns.{name}") for name in names)
            if not self._gate.is_retired(name)
        ]
        found = self._known[domain] = DomainView(
            name=domain, live=live,
            inputs=GateInputs.of(views, sources, self._gate.stages(events, decisions, views)),
            positions={name: head.position for name, head in heads.items()},
            newest_ns=max((heads[f"snapshots.{name}"].time_ns for name in names), default=0),
            heads=heads, rows=rows,
        )  # fmt: skip
        return found

    def _source(self, name: str, snapshots: Head, patterns: Head, views: Mapping[str, Any]) -> SourceState:
        known = self._sources.get(name)
        if known is not None and known[:2] == (snapshots, patterns):
            return known[2]
        state = self._gate.source(name, snapshots, patterns, views)
        self._sources[name] = snapshots, patterns, state
        return state

    def _head(self, name: str) -> Head:
        head = self._heads.get(name)
        if head is None:
            head = self._heads[name] = self._journals.open(name).head()
        return head

    def _consistent(self, name: str) -> tuple[Head, dict[str, Any]]:
        """As `Journal.consistent_views`; a row that is as it was is not decoded again."""
        journal, known = self._journals.open(name), self._views.get(name, {})
        head = journal.head()
        for _ in range(64):
            if head.etag and head.etag == known.get("", ("",))[0]:
                break
            rows = self._journals.storage.tables.query(name, "v.", "v.~")
            found: dict[str, tuple[str, Any]] = {"": (head.etag, None)}
            for row in rows:
                before = known.get(row.key)
                same = before is not None and before[0] == row.etag
                found[row.key] = before if before is not None and same else (row.etag, decode(row.value))
            again = journal.head()
            if again.etag == head.etag:
                self._views[name] = known = found
                break
            head = again
        else:
            raise StorageUnavailable(f"journal {name!r} moves too fast for a consistent read of its views")
        self._heads[name] = head
        return head, {key[2:]: value for key, (_, value) in known.items() if key}

    def _is_live(self, domain: str) -> bool:
        """Once a domain has said which time it keeps, it never changes."""
        found = self._live.get(domain)
        if found is None:
            found = self._gate.is_live(domain)
            if self._journals.open(f"clock.{domain}").head(refresh=False).position:
                self._live[domain] = found
        return found


class _Prices:
    """The newest snapshots of each source, read when a price is first asked for."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._read: dict[str, tuple[int, list[tuple[int, Snapshot]]]] = {}
        self._indexes: OrderedDict[int, tuple[tuple[str, ...], dict[str, int]]] = OrderedDict()

    def of(
        self, source: str, position: int, subject: str, fields: Sequence[str], now_ns: int, max_age_ns: int
    ) -> Reference | None:
        """The newest price in the records up to `position` that is good and no older than `max_age_ns`."""
        for place, snapshot in reversed(self._snapshots(source, position)):
            if snapshot.time_ns < now_ns - max_age_ns:
                break
            row = self._index(snapshot.subjects).get(subject)
            flags = (*snapshot.quality.get(ALL, ()), *snapshot.quality.get(subject, ()))
            if row is None or not _BAD.isdisjoint(flags):
                continue
            for field, price in _prices(snapshot, row, fields):
                if isfinite(price) and price > 0:
                    place_ref, since_ns = ref(f"snapshots.{source}", place), snapshot.time_ns
                    return Reference(price, field, place_ref, since_ns, since_ns + max_age_ns)
        return None

    def _snapshots(self, source: str, position: int) -> list[tuple[int, Snapshot]]:
        last, kept = self._read.get(source, (0, []))
        if last != position:
            first = max(last, position - _SNAPSHOTS_BACK) + 1 if last < position else 0
            if not first:  # the journal was cut
                kept, first = [], max(0, position - _SNAPSHOTS_BACK) + 1
            journal = self._journals.open(f"snapshots.{source}")
            entries = journal.read(first - 1, position - first + 1)
            kept = [*kept, *((e.position, e.record) for e in entries if isinstance(e.record, Snapshot))]
            kept = kept[-_SNAPSHOTS_BACK:]
            self._read[source] = position, kept
        return kept

    def _index(self, subjects: tuple[str, ...]) -> dict[str, int]:
        """Where each subject stands; a source sends the same tuple at every tick."""
        known = self._indexes.get(id(subjects))
        if known is None or known[0] is not subjects:
            known = self._indexes[id(subjects)] = subjects, {name: at for at, name in enumerate(subjects)}
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        return known[1]


def _prices(snapshot: Snapshot, row: int, fields: Sequence[str]) -> Iterator[tuple[str, float]]:
    for field in fields:
        column = snapshot.fields.get(field)
        if column is not None:
            yield field, float(column[row])
        elif field == MID and "bid" in snapshot.fields and "ask" in snapshot.fields:
            bid, ask = float(snapshot.fields["bid"][row]), float(snapshot.fields["ask"][row])
            if 0 < bid <= ask:
                yield field, (bid + ask) / 2
