"""What a chart asks: which series there are, their points in a span, the candles, the patterns in it.

A question never reads more of the journal than the source's newest records: what is older comes from
block files. Those that are missing are built by another thread; until then an answer says that it is not
`complete`. Nothing here is truth, and nothing here is recorded.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.observer import Observer
from observer_core.runtime.reading.builder import Builder
from observer_core.runtime.reading.column_store import SourceColumns
from observer_core.runtime.reading.columns import Rows, Times
from observer_core.runtime.reading.downsample import candles, line, silence_ns
from observer_core.runtime.reading.shelf import Shelf
from observer_core.runtime.storages import where
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.records import Column, Json
from observer_core.snapshot_engine.units import recorded

FOLDER: Final = "cache/series"
LIMIT: Final = 4 << 30
"""Bytes on a disk of one's own: a year of minutes of 1,000 series."""
LIMIT_OF_FUNCTIONS: Final = 256 << 20
"""Bytes in the temporary folder of a worker, which is small."""
_LEFT_FREE_OF_FUNCTIONS: Final = 64 << 20
EVER: Final = (0, 2**63 - 1)
_LATE_NS: Final = 60 * SECOND
_BARS: Final = ("open", "high", "low", "close")
_OTEL_UNITS: Final = {
    ".utilization": "1", ".memory.usage": "By", ".filesystem.usage": "By", ".io.read": "By/s",
    ".io.write": "By/s", ".io.receive": "By/s", ".io.transmit": "By/s",
}  # fmt: skip
"""What this project records such fields in (`snapshot_engine/sources/system.py`)."""

Form = Literal["line", "candles"]


@dataclass(frozen=True, slots=True)
class Query:
    """A series and a span of it, both ends included, by the source's clock."""

    source: str
    subject: str
    field: str
    since_ns: int = EVER[0]
    until_ns: int = EVER[1]
    points: int = 1000
    form: Form = "line"


class Series:
    """Of all sources of an Observer. Safe to use from several threads."""

    def __init__(self, observer: Observer, *, ahead: bool = False, folder: Path | None = None) -> None:
        """`ahead`: build in the background what nobody has asked for yet, where a process lives long."""
        self._observer = observer
        if ahead:
            local = observer.settings.storage.kind == "local"
            place = observer.settings.paths.data / FOLDER if local else temporary(observer)
            self.shelf = Shelf(folder or place, LIMIT)
        else:
            self.shelf = Shelf(folder or temporary(observer), LIMIT_OF_FUNCTIONS, _LEFT_FREE_OF_FUNCTIONS)
        self._columns: dict[str, SourceColumns] = {}
        self._lock = threading.Lock()
        self._builder = Builder(self.shelf, self._all if ahead else None)
        observer.guards.memory.droppable(self.let_go)

    def start(self) -> None:
        """Begins to build ahead."""
        self._builder.start()

    def close(self) -> None:
        """Lets go of the storage."""
        self._builder.stop()

    def let_go(self) -> None:
        """Of what is in memory; it is read again when it is asked for."""
        with self._lock:
            known = list(self._columns.values())
        for columns in known:
            columns.let_go()

    # ------------------------------------------------------------------ questions

    def sources(self, domain: str | None = None) -> list[Json]:
        """`models.SourceSeries` of each source that has recorded something."""
        journals = self._observer.journals
        known = journals.domains()
        if domain is not None and domain not in known:
            raise Unknown(f"there is no domain {domain!r}; known are {', '.join(known) or 'none yet'}")
        found = []
        for name in journals.names("snapshots", domain):
            source = name.partition(".")[2]
            columns = self._of(source)
            columns.bring_forward()
            fields = columns.fields()
            if not fields:
                continue
            first_ns, last_ns = columns.span() or (None, None)
            if (gaps := columns.gaps()) and gaps[0][0] == 1:
                first_ns = columns.learnt_ns(1)
            found.append(
                {
                    "source": source, "domain": journals.domain_of(name), "subjects": columns.subjects(),
                    "fields": fields, "candles": any(_has_candles(field, fields) for field in fields),
                    "first_ns": first_ns, "last_ns": last_ns,
                }
            )  # fmt: skip
        self.shelf.trim()
        return found

    def points(self, query: Query) -> Json:
        """`models.Points`: of what is there now."""
        source, columns = self._find(query)
        field = query.field
        fields = columns.fields()
        bars = _bar_fields(field, fields) if query.form == "candles" else None
        volume = [name for name in (_volume_of(field),) if bars and name in fields]
        wanted = [*(bars or (field,)), *volume]
        parts = columns.read(query.subject, wanted, query.since_ns, query.until_ns)
        self.shelf.trim()
        complete = not self._lacks(columns, query)
        times, values = _joined(parts, len(wanted))
        inside = slice(
            int(np.searchsorted(times, query.since_ns, "left")),
            int(np.searchsorted(times, query.until_ns, "right")),
        )
        answer: Json = {
            "source": source, "subject": query.subject, "field": field, "unit": self.unit(source, field),
            "form": query.form, "rows": 0, "bucket_ms": None, "time_ms": [], "first_ms": None,
            "last_ms": None, "complete": complete,
        }  # fmt: skip
        main = values[wanted.index(field)]
        seen = times[inside][~np.isnan(main[inside])]
        if len(seen):
            answer |= {
                "rows": len(seen), "first_ms": int(seen[0]) / 1_000_000, "last_ms": int(seen[-1]) / 1_000_000,
            }  # fmt: skip
        if query.form == "line":
            silent_ns = silence_ns(times[~np.isnan(main)])
            return answer | _line_json(times[inside], main[inside], silent_ns, query.points)
        prices = [column[inside] for column in values[:4]] if bars else [main[inside]] * 4
        traded = values[4][inside] if volume else None
        return answer | _candles_json(times[inside], prices, traded, query.points)

    def build(self, query: Query) -> Future[None] | None:
        """Done when what the answer lacks is there, as far as there is room; None when it cannot be."""
        _, columns = self._find(query)
        if not self._lacks(columns, query):
            return None
        return self._builder.ask(columns, columns.need(query.since_ns, query.until_ns))

    def learnt_between(self, source: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """When the rows of a span were learnt, at the earliest and at the latest."""
        columns = self._of(source)
        columns.bring_forward()
        delay_ns = _LATE_NS + self._delay_ns(source)
        found = [(max(0, since_ns - _LATE_NS), min(EVER[1], until_ns + delay_ns))]
        for part in columns.read("", (), since_ns, until_ns):
            inside = part.ingest_ns[(part.event_ns >= since_ns) & (part.event_ns <= until_ns)]
            if len(inside):
                found.append((int(inside.min()), int(inside.max())))
        return min(first for first, _ in found), max(last for _, last in found)

    def recorded_source(self, source: str, subject: str) -> str:
        """The name that its journals have: of a source in shards, the one of the subject."""
        if self._observer.journals.domain_of(f"snapshots.{source}") is None:
            source = self._observer.settings.part_of(source, subject)
        if self._observer.journals.domain_of(f"snapshots.{source}") is None:
            known = [name.partition(".")[2] for name in self._observer.journals.names("snapshots")]
            raise Unknown(f"there is no source {source!r}; known are {', '.join(known) or 'none yet'}")
        return source

    def unit(self, source: str, field: str) -> str | None:
        """What it is recorded in, where the configuration or OpenTelemetry's name says it."""
        unit = self._observer.settings.normaliser(source).units.get(field)
        if unit is not None:
            return recorded(unit)
        ending = next((ending for ending in _OTEL_UNITS if field.endswith(ending)), None)
        return None if ending is None else _OTEL_UNITS[ending]

    # ------------------------------------------------------------------ inside

    def _find(self, query: Query) -> tuple[str, SourceColumns]:
        """The recorded source of what is asked about, and its columns; `Unknown` without such a series."""
        if query.form == "candles" and query.field == _volume_of(query.field):
            raise InputError("form: candles are of prices; ask for volume as a line")
        source = self.recorded_source(query.source, query.subject)
        columns = self._of(source)
        columns.bring_forward()
        if not columns.has(query.subject) and not columns.gaps():
            raise _nothing(query.source, "subject", query.subject, columns.subjects())
        if query.field not in (fields := columns.fields()) and not columns.gaps():
            raise _nothing(query.source, "field", query.field, fields)
        return source, columns

    def _lacks(self, columns: SourceColumns, query: Query) -> bool:
        if not columns.gaps():
            return False
        return columns.lacks(columns.need(query.since_ns, query.until_ns))

    def _of(self, source: str) -> SourceColumns:
        with self._lock:
            columns = self._columns.get(source)
            if columns is None:
                if not self._columns:
                    self.shelf.prepare()
                journal = self._observer.journals.open(f"snapshots.{source}")
                columns = SourceColumns(journal, self.shelf, self._delay_ns(source))
                self._columns[source] = columns
            return columns

    def _all(self) -> Sequence[SourceColumns]:
        return [self._of(name.partition(".")[2]) for name in self._observer.journals.names("snapshots")]

    def _delay_ns(self, source: str) -> int:
        return self._observer.settings.normaliser(source).bar or 0


def temporary(observer: Observer) -> Path:
    """A folder of this user's in the temporary one, the same for every process over the same storage."""
    name = hashlib.sha256(where(observer.settings).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"observer-{os.getuid()}" / f"series-{name}"
    try:
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        if folder.parent.lstat().st_uid == os.getuid() and not folder.parent.is_symlink():
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="observer-series-"))


def _nothing(source: str, what: str, name: str, known: Sequence[str]) -> Unknown:
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return Unknown(f"source {source!r} has no {what} {name!r}; it has {', '.join(known[:5]) or 'none'}{more}")


def _bar_fields(field: str, fields: Sequence[str]) -> tuple[str, ...] | None:
    """open, high, low and close of what `field` is a part of (`bid_close` of the bid's), if all are there."""
    stem, _, part = field.rpartition("_")
    if part not in _BARS:
        return None
    found = tuple(f"{stem}_{name}" if stem else name for name in _BARS)
    return found if all(name in fields for name in found) else None


def _has_candles(field: str, fields: Sequence[str]) -> bool:
    return _bar_fields(field, fields) is not None


def _volume_of(field: str) -> str:
    stem = field.rpartition("_")[0]
    return f"{stem}_volume" if stem else "volume"


def _joined(parts: Sequence[Rows], count: int) -> tuple[Times, list[Column]]:
    """All rows that speak of the series, in the order in which they happened."""
    if not parts:
        return np.empty(0, np.int64), [np.empty(0)] * count
    times = np.concatenate([part.event_ns for part in parts])
    values = [np.concatenate([part.values[place] for part in parts]) for place in range(count)]
    spoken = np.logical_or.reduce([~np.isinf(column) for column in values])
    if not spoken.all():
        times, values = times[spoken], [column[spoken] for column in values]
        values = [np.where(np.isinf(column), np.nan, column) for column in values]
    if len(times) > 1 and bool((times[1:] < times[:-1]).any()):
        order = np.argsort(times, kind="stable")
        times, values = times[order], [column[order] for column in values]
    return times, values


def _line_json(times: Times, values: Column, silent_ns: int, points: int) -> Json:
    found = line(times, values, silent_ns, points)
    return {"time_ms": found.time_ms.tolist(), "value": found.value.tolist()}


def _candles_json(times: Times, prices: Sequence[Column], volume: Column | None, points: int) -> Json:
    found = candles(times, (prices[0], prices[1], prices[2], prices[3]), volume, points)
    if found is None:
        empty: list[Any] = []
        return {"open": empty, "high": empty, "low": empty, "close": empty}
    answer: Json = {
        "bucket_ms": found.length_ns / 1_000_000, "time_ms": found.time_ms.tolist(),
        "open": found.open.tolist(), "high": found.high.tolist(), "low": found.low.tolist(),
        "close": found.close.tolist(),
    }  # fmt: skip
    return answer if volume is None else answer | {"volume": found.volume.tolist()}
