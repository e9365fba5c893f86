"""What is read when somebody asks: how far journals and stages are, how old things are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from observer_core.runtime.deliveries import progress, subscriptions
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.runtime.telemetry import instruments as its
from observer_core.runtime.telemetry.instruments import Instrument, Labels
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Note, Snapshot
from observer_core.storage.ledger import LEDGER
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.rows import Head

_DELAYS: Final = 50
_UPKEEP: Final = frozenset(("maintenance", "backup", "restore"))
_NOTES: Final = 5_000
"""So many of the newest records of the operations journal are looked through at first."""
Values = dict[Labels, float]


class Gauges:
    """Reads them all at once. Not for two threads at once."""

    def __init__(self, observer: Observer, gate: Gate) -> None:
        self._observer, self._gate = observer, gate
        self._delays: dict[str, deque[int]] = {}
        self._upkeep: dict[str, int] = {}
        self._upkeep_read = 0
        self._outside: tuple[int, int] = (0, 0)

    def snapshot(self, snapshot: Snapshot) -> None:
        """One was committed by this process: how late it came is remembered."""
        if snapshot.subjects:
            delays = self._delays.get(snapshot.source)
            if delays is None:
                delays = self._delays[snapshot.source] = deque(maxlen=_DELAYS)
            delays.append(snapshot.ingest_ns - snapshot.event_ns)

    def read(self) -> dict[Instrument, Values]:
        """Every gauge as it is now; raises what the storage raises."""
        journals = self._observer.journals
        names = journals.names()
        heads = {name: journals.open(name).head() for name in names}
        domains = {name: journals.domain_of(name) or "" for name in names}
        found: dict[Instrument, Values] = {
            its.POSITION: {(name,): head.position for name, head in heads.items()},
            its.STAGE_LAG: {}, its.SOURCE_AGE: {}, its.WAITING: {},
            its.CHECKPOINT_AGE: self._checkpoints(), its.SOURCE_DELAY: self._source_delays(),
            its.ANCHOR_AGE: dict(self._anchors(heads)), its.UPKEEP_AGE: self._upkeep_ages(heads),
        }  # fmt: skip
        for domain in self._gate.domains():
            now_ns = self._gate.now_ns(domain)
            mine = [name for name in names if domains[name] == domain and not self._is_retired(name)]
            for stage, lag in _lags(domain, mine, heads, now_ns).items():
                found[its.STAGE_LAG][domain, stage] = lag
            for name in mine:
                kind, _, source = name.partition(".")
                if kind == "snapshots":
                    found[its.SOURCE_AGE][source,] = _age(now_ns, heads[name].time_ns)
            for name, config in subscriptions(journals, self._observer.settings, domain).items():
                found[its.WAITING][domain, name] = progress(journals, domain, config).lag or 0
        return found

    def _is_retired(self, name: str) -> bool:
        """Whether a journal is of a part of a source that has other parts now."""
        kind, _, source = name.partition(".")
        return kind == "snapshots" and self._gate.is_retired(source)

    def _checkpoints(self) -> Values:
        now_ns = self._observer.clock.now_ns()
        found: Values = {}
        for worker in self._observer.workers():
            if worker.committed_ns:
                key = worker.spec.domain, worker.spec.stage.name
                found[key] = max(found.get(key, 0.0), _age(now_ns, worker.committed_ns))
        return found

    def _source_delays(self) -> Values:
        found: Values = {}
        for source, kept in sorted(self._delays.copy().items()):
            delays = sorted(kept.copy())
            found[source, "least"] = delays[0] / SECOND
            found[source, "median"] = delays[len(delays) // 2] / SECOND
        return found

    def _anchors(self, heads: dict[str, Head]) -> Iterator[tuple[Labels, float]]:
        """Of a ledger that is kept; what was sent is the newest that went anywhere, now or before."""
        if self._observer.settings.ledger.every is None and LEDGER not in heads:
            return
        now_ns, journal = self._observer.clock.now_ns(), self._observer.journals.open(LEDGER)
        yield ("made",), _age(now_ns, heads.get(LEDGER, Head()).time_ns)
        sent = [row["position"] for name, row in journal.checkpoints().items() if name.startswith("sent.")]
        position = max(sent, default=0)
        if position and position != self._outside[0]:
            self._outside = position, journal.entry(position).time_ns
        if self._observer.settings.ledger.to is not None or position:
            yield ("outside",), _age(now_ns, self._outside[1] if position else 0)

    def _upkeep_ages(self, heads: dict[str, Head]) -> Values:
        last = heads.get(OPERATIONS, Head()).position
        if last < self._upkeep_read:  # it was cut
            self._upkeep, self._upkeep_read = {}, 0
        if last > self._upkeep_read:
            first = max(self._upkeep_read, last - _NOTES) + 1
            for entry in self._observer.journals.open(OPERATIONS).scan(first, last):
                if isinstance(entry.record, Note) and entry.record.kind in _UPKEEP:
                    self._upkeep[entry.record.kind] = entry.record.time_ns
            self._upkeep_read = last
        now_ns = self._observer.clock.now_ns()
        return {(kind,): _age(now_ns, time_ns) for kind, time_ns in sorted(self._upkeep.items())}


def _lags(domain: str, names: list[str], heads: dict[str, Head], now_ns: int) -> dict[str, float]:
    """How far each stage of a domain is behind; infinite where nothing has been worked yet.

    A source that is silent has nothing to be recognised: `recognise` is measured to the newest snapshot.
    """
    sources = [name.partition(".")[2] for name in names if name.startswith("snapshots.")]
    recognise = [
        _age(heads[f"snapshots.{source}"].time_ns, heads.get(f"patterns.{source}", Head()).through_ns)
        for source in sources
    ]
    routes = [heads[name].through_ns for name in names if name.startswith("routes.")]
    return {
        "recognise": max(recognise, default=math.inf),
        "publish": _age(now_ns, heads.get(f"events.{domain}", Head()).through_ns),
        "decide": _age(now_ns, heads.get(f"decisions.{domain}", Head()).through_ns),
        **({"route": _age(now_ns, min(routes))} if routes else {}),
    }


def _age(now_ns: int, then_ns: int) -> float:
    return max(0, now_ns - then_ns) / SECOND if then_ns else math.inf
