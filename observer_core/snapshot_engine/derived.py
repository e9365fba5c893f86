"""Derived series: what two feeds say of one another, as a source of its own.

| kind | value, of `of` a and `against` b |
|---|---|
| value | a itself: series of several sources side by side, as their correlation needs them |
| ratio | a / b |
| difference | a − b |
| mid | (a + b) / 2 |
| spread | (a − b) / ((a + b) / 2), of the ask against the bid |
| return | a now / a `over` ago − 1 |
| premium | a / (b × `rate`) − 1, of one venue against another; `rate` is that of their currencies |
| implied_rate | a / b, of BTC/USD against BTC/USDC the price of a USDC in USD |
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, Name
from observer_core.shared.errors import ConfigError, RecordError
from observer_core.shared.records import ALL, QUALITY_FLAGS, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.newest import NEVER

__all__ = ["DerivedConfig", "DerivedSeries", "Deriver", "DeriverState", "Operand"]

Kind = Literal["value", "ratio", "difference", "spread", "mid", "return", "premium", "implied_rate"]
Flags = tuple[str, ...]
"""Quality flags in the order of `QUALITY_FLAGS`."""

_CLOSED = "closed_session"
_PASSED_ON = frozenset(("crossed_book", "outlier_print", "clock_skew", _CLOSED, "partial_bar"))
_HEEDED = _PASSED_ON | {"stale", "non_positive"}
_NOTHING_NEW = frozenset(("duplicate", "out_of_order"))


def _named(name: str) -> str:
    if problem := fault(name):
        raise ValueError(f"the name {shown(name)} {problem}")
    return name


def _three(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(value)
    found = f"{len(value)} items" if isinstance(value, list | tuple) else type(value).__name__
    raise ValueError(f'expected [source, subject, field], as ["binance", "BTC/USDT", "last"]; found {found}')


class Operand(NamedTuple):
    """A series that is observed: one field of one subject of one source."""

    source: Name
    subject: Annotated[str, AfterValidator(_named)]
    field: Annotated[str, AfterValidator(_named)]


Given = Annotated[Operand, BeforeValidator(_three)]


class DerivedSeries(Config):
    """What is derived, from what. `field` is called like the `kind` unless it has a name of its own."""

    subject: Annotated[str, AfterValidator(_named)]
    field: Annotated[str, AfterValidator(_named)] = ""
    kind: Kind
    of: Given
    against: Given | None = None
    rate: Given | None = None
    over: Annotated[DurationNs, Field(gt=0, lt=-NEVER)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _field_of_the_kind(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "field" not in given and isinstance(given.get("kind"), str):
            return {**given, "field": given["kind"]}
        return given

    @model_validator(mode="after")
    def _has_what_the_kind_needs(self) -> DerivedSeries:
        needed = _NEEDED.get(self.kind, ("against",))
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f'kind "{self.kind}" needs {key}; {_MEANING[key]}')
        allowed = (*needed, "rate") if self.kind == "premium" else needed
        for key in ("against", "over", "rate"):
            if key not in allowed and getattr(self, key) is not None:
                raise ValueError(f'kind "{self.kind}" has no {key}; remove it')
        return self

    @property
    def operands(self) -> tuple[Operand, ...]:
        return tuple(operand for operand in (self.of, self.against, self.rate) if operand is not None)


_NEEDED: Mapping[str, tuple[str, ...]] = {"value": (), "return": ("over",)}
_MEANING = {
    "against": "the series that `of` is compared with, as [source, subject, field]",
    "over": "how long before now the value before is, as 1m or 1d",
}


class DerivedConfig(Config):
    """`tolerance`: how far apart in time operands may be learnt and still be combined."""

    series: Annotated[tuple[DerivedSeries, ...], Field(min_length=1)]
    tolerance: Annotated[DurationNs, Field(gt=0)] = 5 * SECOND

    @model_validator(mode="after")
    def _each_once(self) -> DerivedConfig:
        seen: set[tuple[str, str]] = set()
        for series in self.series:
            name = (series.subject, series.field)
            if name in seen:
                raise ValueError(
                    f"field {shown(series.field)} of subject {shown(series.subject)} is derived twice; "
                    "give one of them another subject or field"
                )
            seen.add(name)
        return self


def recorded_as(config: DerivedConfig, name_of: Callable[[str, str], str]) -> DerivedConfig:
    """The same of sources as they are recorded: `name_of` a source and subject says under which name."""

    def named(operand: Operand | None) -> Operand | None:
        return operand and operand._replace(source=name_of(operand.source, operand.subject))

    return config.model_copy(update={
        "series": tuple(
            item.model_copy(update={key: named(getattr(item, key)) for key in ("of", "against", "rate")})
            for item in config.series
        )
    })  # fmt: skip


class Reading(NamedTuple):
    """The newest value of an operand, always finite, and what was known of its row."""

    value: float
    learnt_ns: int
    event_ns: int
    flags: Flags


class Past(NamedTuple):
    """What a return may be measured from."""

    learnt_ns: int
    value: float
    flags: Flags


@dataclass(slots=True)
class Input:
    """Where a source stands. `time_ns` never decreases."""

    position: int = 0
    time_ns: int = NEVER
    available: bool = True


@dataclass(slots=True)
class DeriverState:
    """What was observed of each operand; `time_ns` is the newest time of all entries."""

    time_ns: int = NEVER
    inputs: dict[str, Input] = field(default_factory=dict)
    readings: dict[Operand, Reading] = field(default_factory=dict)
    pasts: dict[tuple[Operand, int], deque[Past]] = field(default_factory=dict)
    """By operand and `over`, oldest first."""


class _Cell(NamedTuple):
    series: DerivedSeries
    value: float
    flags: frozenset[str]
    event_ns: int


class Deriver:
    """Derives the snapshots of `source` from those of others: a `shared.stage.Stage[DeriverState]`.

    At most one snapshot an entry, at the entry's time, and never at a time before that of
    anything it was computed from, or of an earlier one. It holds the series that have an operand
    whose row came with the entry; values are finite or NaN for every input. Entries that are not
    snapshots of an input, in that input's journal, have no effect. The state is changed in place.
    """

    name = "derive"
    version = "1"

    def __init__(self, source: str, config: DerivedConfig) -> None:
        self._source, self._config = source, config
        self._inputs = self.inputs(config)
        if source in self._inputs:
            raise ConfigError(
                f"source {shown(source)} is derived from itself; name other sources as operands"
            )
        operands = {operand for series in config.series for operand in series.operands}
        self._operands = {name: sorted(o for o in operands if o.source == name) for name in self._inputs}
        self._overs = {
            operand: sorted({s.over for s in config.series if s.over is not None and s.of == operand})
            for operand in operands
        }
        self._series = {
            name: [s for s in config.series if any(o.source == name for o in s.operands)]
            for name in self._inputs
        }
        self._rows = {
            subject: row for row, subject in enumerate(dict.fromkeys(s.subject for s in config.series))
        }

    @staticmethod
    def inputs(config: DerivedConfig) -> list[str]:
        """The names of the sources it reads, sorted."""
        return sorted({operand.source for series in config.series for operand in series.operands})

    def config(self) -> Mapping[str, Any]:
        return {"source": self._source, **self._config.canonical()}

    def initial(self) -> DeriverState:
        return DeriverState()

    def transition(self, state: DeriverState, entry: Entry) -> Sequence[Snapshot]:
        snapshot = entry.record
        if not isinstance(snapshot, Snapshot) or snapshot.source not in self._series:
            return ()
        if entry.journal != _journal(snapshot.source):
            return ()
        concerned = self._take(state, entry.position, snapshot)
        if not concerned:
            return ()
        away = {o.source for s in concerned for o in s.operands if not _available(state, o.source)}
        if all(any(o.source in away for o in s.operands) for s in concerned):
            return (self._unavailable(state, snapshot, away),)
        cells = [cell for series in concerned if (cell := self._cell(state, series)) is not None]
        return (self._derived(state, cells, away),) if cells else ()

    def advance(self, state: DeriverState, through_ns: int) -> Sequence[Snapshot]:
        """Nothing: the deriver's only time is that of its inputs' snapshots."""
        return ()

    def views(self, state: DeriverState) -> Mapping[str, Any]:
        """None: readers look up derived snapshots as they look up those of any source."""
        return {}

    def views_version(self, state: DeriverState) -> int:
        return 0

    def dump(self, state: DeriverState) -> bytes:
        return encode({
            "time_ns": state.time_ns,
            "inputs": {
                name: [known.position, known.time_ns, known.available]
                for name, known in state.inputs.items()
            },
            "readings": [[list(o), list(reading)] for o, reading in sorted(state.readings.items())],
            "pasts": [
                [list(operand), over, [list(past) for past in pasts]]
                for (operand, over), pasts in sorted(state.pasts.items())
            ],
        })  # fmt: skip

    def load(self, blob: bytes) -> DeriverState:
        """The state that `dump` wrote, without what this configuration has no use for."""
        value = decode(blob)
        try:
            state = DeriverState(
                time_ns=value["time_ns"],
                inputs={name: Input(*known) for name, known in value["inputs"].items()},
                readings={Operand(*operand): _reading(*items) for operand, items in value["readings"]},
                pasts={(Operand(*operand), over): _pasts(items) for operand, over, items in value["pasts"]},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"expected the state of a deriver, found {blob[:60]!r}: {error!r}") from None
        state.inputs = {name: known for name, known in state.inputs.items() if name in self._series}
        state.readings = {o: reading for o, reading in state.readings.items() if o in self._overs}
        state.pasts = {(o, n): pasts for (o, n), pasts in state.pasts.items() if n in self._overs.get(o, ())}
        return state

    def _take(self, state: DeriverState, position: int, snapshot: Snapshot) -> Sequence[DerivedSeries]:
        """The entry into the state; gives the series it concerns."""
        known = state.inputs.setdefault(snapshot.source, Input())
        before = known.available
        known.position, known.available = position, snapshot.status != "unavailable"
        known.time_ns = max(known.time_ns, snapshot.ingest_ns)
        state.time_ns = max(state.time_ns, known.time_ns)
        if not known.available:
            return self._series[snapshot.source] if before else ()
        came = self._observe(state, snapshot, known.time_ns)
        return [s for s in self._series[snapshot.source] if any(o in came for o in s.operands)]

    def _observe(self, state: DeriverState, snapshot: Snapshot, now_ns: int) -> set[Operand]:
        """The operands whose row came; those with a value are learnt."""
        places = {subject: place for place, subject in enumerate(snapshot.subjects)}
        came: set[Operand] = set()
        for operand in self._operands[snapshot.source]:
            place = places.get(operand.subject)
            if place is None:
                continue
            flags = {*snapshot.quality.get(operand.subject, ()), *snapshot.quality.get(ALL, ())}
            if flags & _NOTHING_NEW:
                continue
            came.add(operand)
            column = snapshot.fields.get(operand.field)
            value = math.nan if column is None else float(column[place])
            if math.isfinite(value):
                heeded = _in_order(flags & _HEEDED)
                state.readings[operand] = Reading(value, now_ns, snapshot.event_ns, heeded)
                for over in self._overs[operand]:
                    state.pasts.setdefault((operand, over), deque()).append(Past(now_ns, value, heeded))
            for over in self._overs[operand]:
                _forget(state.pasts.get((operand, over)), now_ns - over, self._config.tolerance)
        return came

    def _cell(self, state: DeriverState, series: DerivedSeries) -> _Cell | None:
        """None when something that it needs was never observed."""
        readings = [state.readings[operand] for operand in series.operands if operand in state.readings]
        if len(readings) < len(series.operands):
            return None
        flags = {flag for reading in readings for flag in reading.flags}
        numbers = [reading.value for reading in readings]
        if series.over is not None:
            past = self._past(state, series.of, series.over)
            if past is None:
                return None
            flags.update(past.flags)
            numbers.append(past.value)
        tolerance = self._config.tolerance
        if any(state.time_ns - reading.learnt_ns > tolerance for reading in readings) or not all(
            _available(state, operand.source) for operand in series.operands
        ):
            flags.add("stale")
        if not all(number > 0 for number in _denominators(series.kind, *numbers)):
            flags.add("non_positive")
        value = math.nan if "non_positive" in flags else _value(series.kind, *numbers)
        return _Cell(series, value, frozenset(flags), max(reading.event_ns for reading in readings))

    def _past(self, state: DeriverState, operand: Operand, over: int) -> Past | None:
        """The newest value learnt at or before `over` ago, unless that was too long before."""
        pasts = state.pasts.get((operand, over))
        due_ns = state.inputs[operand.source].time_ns - over
        return pasts[0] if pasts and pasts[0].learnt_ns <= due_ns else None

    def _derived(self, state: DeriverState, cells: Sequence[_Cell], away: Iterable[str]) -> Snapshot:
        rows = sorted({cell.series.subject for cell in cells}, key=self._rows.__getitem__)
        place = {subject: number for number, subject in enumerate(rows)}
        fields = {name: np.full(len(rows), np.nan) for name in sorted({cell.series.field for cell in cells})}
        flags: dict[str, set[str]] = {subject: set() for subject in rows}
        for cell in cells:
            fields[cell.series.field][place[cell.series.subject]] = cell.value
            flags[cell.series.subject].update(cell.flags)
        used = {operand.source for cell in cells for operand in cell.series.operands}
        return Snapshot(
            source=self._source, event_ns=max(cell.event_ns for cell in cells), ingest_ns=state.time_ns,
            subjects=tuple(rows), fields=fields,
            quality=_quality(flags),
            status="partial" if away else "ok", error=_error(away), origin=_origin(state, used.union(away)),
        )  # fmt: skip

    def _unavailable(self, state: DeriverState, snapshot: Snapshot, away: set[str]) -> Snapshot:
        return Snapshot(
            source=self._source, event_ns=snapshot.event_ns, ingest_ns=state.time_ns, subjects=(),
            fields={}, status="unavailable", error=_error(away),
            origin=_origin(state, {snapshot.source, *away}),
        )  # fmt: skip


def _journal(source: str) -> str:
    return f"snapshots.{source}"


def _available(state: DeriverState, source: str) -> bool:
    """A source that never reported is not known to be unavailable."""
    known = state.inputs.get(source)
    return known is None or known.available


def _origin(state: DeriverState, sources: Iterable[str]) -> Mapping[str, Any]:
    return {"inputs": {_journal(name): state.inputs[name].position for name in sorted(sources)}}


def _error(away: Iterable[str]) -> str | None:
    names = sorted(away)
    if not names:
        return None
    return f"{'input' if len(names) == 1 else 'inputs'} unavailable: {', '.join(names)}"


def _quality(flags: Mapping[str, set[str]]) -> dict[str, Flags]:
    """A session that is over for every row is over for the whole snapshot."""
    if flags and all(_CLOSED in found for found in flags.values()):
        flags = {ALL: {_CLOSED}, **{subject: found - {_CLOSED} for subject, found in flags.items()}}
    return {subject: _in_order(found) for subject, found in flags.items() if found}


def _in_order(flags: set[str]) -> Flags:
    return tuple(flag for flag in QUALITY_FLAGS if flag in flags)


def _forget(pasts: deque[Past] | None, due_ns: int, tolerance: int) -> None:
    """Leaves the one that a return from `due_ns` is measured from, if there is one, and the later ones."""
    if not pasts:
        return
    while len(pasts) > 1 and pasts[1].learnt_ns <= due_ns:
        pasts.popleft()
    if pasts[0].learnt_ns < due_ns - tolerance:
        pasts.popleft()


def _denominators(kind: Kind, a: float, b: float = 0.0, rate: float = 1.0) -> tuple[float, ...]:
    """What must be positive; the last one divides. Of a return, b is the value before.

    `a` and `b` are finite; a product or sum of theirs may overflow.
    """
    if kind in ("value", "difference", "mid"):
        return ()
    if kind == "spread":
        return ((a + b) / 2,)
    return (b, rate, b * rate) if kind == "premium" else (b,)


def _value(kind: Kind, a: float, b: float = 0.0, rate: float = 1.0) -> float:
    """NaN where a step of it is beyond the range of a float; its denominators must be positive."""
    if kind == "value":
        return a
    if kind == "difference":
        return _finite(a - b)
    if kind == "mid":
        return _finite((a + b) / 2)
    divisor = _denominators(kind, a, b, rate)[-1]
    if not math.isfinite(divisor):
        return math.nan
    quotient = (a - b if kind == "spread" else a) / divisor
    return _finite(quotient - 1 if kind in ("return", "premium") else quotient)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _reading(value: float, learnt_ns: int, event_ns: int, flags: Iterable[str]) -> Reading:
    return Reading(value, learnt_ns, event_ns, tuple(flags))


def _pasts(items: Iterable[tuple[int, float, Iterable[str]]]) -> deque[Past]:
    return deque(Past(learnt_ns, value, tuple(flags)) for learnt_ns, value, flags in items)
