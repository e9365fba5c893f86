"""One schema for every source, and the faults of the data as flags. Nothing is dropped.

| flag | the subject's row |
|---|---|
| out_of_order | happened before a row of that subject that came earlier |
| duplicate | has the time and all values of that subject's newest row |
| gap | came more than `gap_tolerance` x `expected_interval` of open time after the subject's newest row |
| non_positive | has a price that is zero or negative |
| crossed_book | bids more than it asks |
| outlier_print | has a price over `max_jump` times, or under 1/`max_jump` of, the one before |

| flag | the whole snapshot (it stands under `*`) |
|---|---|
| stale | happened more than `max_delay` before it was learnt |
| clock_skew | happened more than `max_clock_skew` after it was learnt |
| partial_bar | was learnt before the end of its `bar` |
| closed_session | is outside the sessions: a bar as a whole, all else when it was learnt |

A row that is out of order leaves the subject's newest row as it is. After an outlier print the
next price is held against the one before it too: when it is back there, or stays at the new place,
it is no outlier itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from observer_core.shared.config import Config, DurationNs
from observer_core.shared.errors import RecordError
from observer_core.shared.records import ALL, QUALITY_FLAGS, Column, Snapshot, Status
from observer_core.snapshot_engine import newest as states
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.newest import NEVER, Index, Layout, State, as_array, cells, index_of
from observer_core.snapshot_engine.outliers import outlier_prints
from observer_core.snapshot_engine.sessions import SessionConfig, sessions_of
from observer_core.snapshot_engine.shards import rows_of
from observer_core.snapshot_engine.units import Unit, convert, convert_text, is_recorded_as_it_comes

__all__ = ["Normaliser", "NormaliserConfig", "State"]

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]

PRICES = (
    "price", "open", "high", "low", "close", "last", "mid", "vwap", "mark", "bid", "ask",
    *(f"{side}_{part}" for side in ("bid", "ask") for part in ("open", "high", "low", "close")),
)  # fmt: skip
BOOKS = (("bid", "ask"), ("bid_open", "ask_open"), ("bid_close", "ask_close"))

_REMEMBERED = 64
_STATUSES = get_args(Status)
_min, _max = np.minimum.reduce, np.maximum.reduce


class NormaliserConfig(Config):
    """How a source's rows are judged, and in which units they come.

    `expected_interval` is the length of a bar, or the pace of a feed; without it no gap is flagged.
    `bar`: rows are bars of this length, stamped at their start. `units` names what fields come in
    (`snapshot_engine.units`); what is recorded is a share of 1, seconds, bytes. `session`: when the
    market is open; always, without it.
    """

    expected_interval: DurationNs | None = Field(default=None, gt=0)
    gap_tolerance: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    positive_fields: tuple[str, ...] = PRICES
    max_clock_skew: DurationNs = Field(default=5_000_000_000, ge=0)
    max_delay: DurationNs | None = Field(default=None, gt=0)
    max_jump: float | None = Field(default=2.0, gt=1, allow_inf_nan=False)
    bar: DurationNs | None = Field(default=None, gt=0)
    units: Mapping[str, Unit] = {}
    session: SessionConfig | None = None
    max_subjects: int = Field(default=100_000, gt=0)
    max_fields: int = Field(default=256, gt=0)

    @model_validator(mode="after")
    def _a_bar_can_be_in_time(self) -> NormaliserConfig:
        if self.bar is not None and self.max_delay is not None and self.max_delay <= self.bar:
            raise ValueError("max_delay is not longer than bar: every bar would be stale when it is known")
        return self


class Normaliser:
    """Gives snapshots their flags, one source's, in order.

    Equal configuration and equal snapshots give equal flags and equal states, in any
    batches and on any machine. A refused snapshot leaves the state as it was.
    """

    def __init__(self, config: NormaliserConfig | None = None) -> None:
        self.config = config or NormaliserConfig()
        self._positive = frozenset(self.config.positive_fields)
        interval = self.config.expected_interval
        self._gap_ns = None if interval is None else round(interval * self.config.gap_tolerance)
        self._jump = self.config.max_jump
        self._sessions = None if self.config.session is None else sessions_of(self.config.session)
        self._converted = {
            name: unit for name, unit in self.config.units.items() if not is_recorded_as_it_comes(unit)
        }

    def initial(self) -> State:
        return State()

    def apply(self, state: State, snapshot: Snapshot) -> Snapshot:
        """The snapshot with its flags; the very same object when there is nothing to add.

        Its `ingest_ns` never is before that of an earlier snapshot. `RecordError` for
        infinities, wrong shapes, doubled subjects, and names that are no names.
        """
        if self._converted:
            snapshot = self._in_units(snapshot)
        snapshot, values = self._in_schema(snapshot)
        if snapshot.ingest_ns < state.ingest_ns:
            snapshot = replace(snapshot, ingest_ns=state.ingest_ns)
        opened_ns = self._opened_ns(snapshot)
        index, layout = self._fold_in(state, snapshot)
        masks = self._masks(state, snapshot, values, index, layout, opened_ns)
        _remember(state, snapshot, values, index, layout, late="out_of_order" in masks)
        whole = self._of_the_whole(snapshot, opened_ns)
        if not masks and not whole:
            return snapshot
        return replace(snapshot, quality=_merged(snapshot.subjects, snapshot.quality, masks, whole))

    def newer(self, state: State, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
        """Of moments gone by, in order, the rows that happened after all that is known of their subject.

        Of a subject that nothing is known of, the newest row counts.
        """
        found: list[Snapshot] = []
        taken: set[str] = set()
        for snapshot in reversed(snapshots):
            keep = [
                place
                for place, subject in enumerate(snapshot.subjects)
                if (known := self._newest_ns(state, subject)) < snapshot.event_ns
                and (known != NEVER or subject not in taken)
            ]
            taken.update(snapshot.subjects)
            if keep:
                found.insert(0, rows_of(snapshot, keep))
        return found

    @staticmethod
    def _newest_ns(state: State, subject: str) -> int:
        place = state.subjects.get(subject)
        return NEVER if place is None else int(state.newest_ns[place])

    def observe(self, state: State, snapshot: Snapshot) -> None:
        """Takes a stored snapshot into the state, exactly as `apply` did when it made it."""
        snapshot, values = self._in_schema(snapshot)
        index, layout = self._fold_in(state, snapshot)
        self._outliers(state, snapshot, values, index, layout)
        late = bool(np.count_nonzero(snapshot.event_ns < state.newest_ns[index]))
        _remember(state, snapshot, values, index, layout, late=late)

    def dump(self, state: State) -> bytes:
        """Equal states, equal bytes."""
        return states.dump(state)

    def load(self, blob: bytes) -> State:
        """The state that `dump` wrote; `RecordError` when the bytes are not one."""
        return states.load(blob)

    def _in_units(self, snapshot: Snapshot) -> Snapshot:
        """Every field in the unit that is recorded; exact decimals stay exact."""
        fields, decimals = dict(snapshot.fields), dict(snapshot.decimals)
        for name, unit in self._converted.items():
            if name in fields:
                fields[name] = convert(_as_column(snapshot.source, name, fields[name]), unit)
            if name in decimals:
                texts = decimals[name].items()
                decimals[name] = {subject: convert_text(text, unit) for subject, text in texts}
        return replace(snapshot, fields=fields, decimals=decimals)

    def _in_schema(self, snapshot: Snapshot) -> tuple[Snapshot, Matrix]:
        """The snapshot with float columns, and those as a matrix, a field a row."""
        count = len(snapshot.subjects)
        if problem := fault(snapshot.source):
            raise _refused(snapshot, f"the source's name {problem}")
        if snapshot.status not in _STATUSES:
            raise _refused(snapshot, f"status is {shown(snapshot.status)}, expected one of {_STATUSES}")
        for kind, time in (("event_ns", snapshot.event_ns), ("ingest_ns", snapshot.ingest_ns)):
            if type(time) is not int or not NEVER < time < -NEVER:
                raise _refused(snapshot, f"{kind} is {shown(time)}, expected whole nanoseconds in 64 bits")
        if len(snapshot.fields) > self.config.max_fields:
            raise _refused(
                snapshot,
                f"{len(snapshot.fields)} fields, at most {self.config.max_fields} expected (max_fields)",
            )
        converted: dict[str, Column] = {}
        for name, column in snapshot.fields.items():
            if type(column) is not np.ndarray or column.dtype != np.float64:
                converted[name] = column = _as_column(_named(snapshot.source), name, column)
            if column.shape != (count,):
                raise _refused(
                    snapshot,
                    f"field {shown(name)} has shape {column.shape}, expected ({count},), one value a subject",
                )
        if converted:
            snapshot = replace(snapshot, fields={**snapshot.fields, **converted})
        values = np.array(tuple(snapshot.fields.values())).reshape(len(snapshot.fields), count)
        if np.count_nonzero(np.isfinite(values)) < values.size and (infinite := np.isinf(values)).any():
            row, column_number = np.argwhere(infinite)[0].tolist()
            raise _refused(
                snapshot,
                f"field {shown(list(snapshot.fields)[row])} of "
                f"{shown(snapshot.subjects[column_number])} is infinite; expected a number, or NaN for none",
            )
        for subject, flags in snapshot.quality.items():
            if unknown := [flag for flag in flags if flag not in QUALITY_FLAGS]:
                raise _refused(
                    snapshot,
                    f"{shown(subject)} has the unknown quality flag {shown(unknown[0])}; "
                    f"known are {', '.join(QUALITY_FLAGS)}",
                )
        return snapshot, values

    def _fold_in(self, state: State, snapshot: Snapshot) -> tuple[Index, Layout]:
        """Where the subjects and fields stand in the state; new ones get a place."""
        names = tuple(snapshot.fields)
        layout = state.layouts.get(names)
        if layout is None:
            self._check_fields(state, snapshot.source, [name for name in names if name not in state.fields])
        known = state.sets.get(id(snapshot.subjects))
        if known is not None and known[0] is snapshot.subjects:
            index = known[1]
        else:
            index = self._find(state, snapshot)
        if layout is None:
            layout = self._lay_out(state, names)
        return index, layout

    def _lay_out(self, state: State, names: tuple[str, ...]) -> Layout:
        if any(name not in state.fields for name in names) or len(state.layouts) >= _REMEMBERED:
            state.layouts.clear()
        for name in sorted(names):  # in bytes they stand sorted: a stored snapshot gives the same places
            state.fields.setdefault(name, len(state.fields))
        state.make_room()
        place = {name: number for number, name in enumerate(names)}
        books = [(place[bid], place[ask]) for bid, ask in BOOKS if bid in place and ask in place]
        others = [row for name, row in state.fields.items() if name not in place]
        prices = [name for name in names if name in self._positive]
        layout = state.layouts[names] = Layout(
            rows=index_of(np.array([state.fields[name] for name in names], np.intp)),
            others=np.array(others, np.intp),
            prices=index_of(np.array([place[name] for name in prices], np.intp)),
            price_rows=index_of(np.array([state.fields[name] for name in prices], np.intp)),
            bids=np.array([bid for bid, _ in books], np.intp),
            asks=np.array([ask for _, ask in books], np.intp),
        )
        return layout

    def _find(self, state: State, snapshot: Snapshot) -> Index:
        subjects = snapshot.subjects
        try:
            places = list(map(state.subjects.get, subjects))
        except TypeError:
            places = [None]
        if None in places or len(set(places)) != len(subjects):
            self._check_subjects(state, snapshot)
            for subject in subjects:
                state.subjects.setdefault(subject, len(state.subjects))
            state.make_room()
            places = list(map(state.subjects.get, subjects))
        index = index_of(np.array(places, np.intp))
        if len(state.sets) >= _REMEMBERED:
            state.sets.clear()
        state.sets[id(subjects)] = (subjects, index)
        return index

    def _check_subjects(self, state: State, snapshot: Snapshot) -> None:
        where = _named(snapshot.source)
        seen: set[str] = set()
        for place, subject in enumerate(snapshot.subjects, start=1):
            if problem := fault(subject):
                raise RecordError(f"{where}: subject {place}, {shown(subject)}, {problem}")
            if subject in seen:
                raise RecordError(
                    f"{where}: subject {shown(subject)} stands in it twice; expected one row a subject"
                )
            seen.add(subject)
        total = len(state.subjects) + len(seen.difference(state.subjects))
        if total > self.config.max_subjects:
            raise RecordError(
                f"{where}: {total} subjects in all, at most {self.config.max_subjects} expected "
                "(max_subjects)"
            )

    def _check_fields(self, state: State, source: str, new: list[str]) -> None:
        where = _named(source)
        for name in new:
            if problem := fault(name):
                raise RecordError(f"{where}: the name of field {shown(name)} {problem}")
        if len(state.fields) + len(new) > self.config.max_fields:
            raise RecordError(
                f"{where}: {len(state.fields) + len(new)} fields in all, at most {self.config.max_fields} "
                "expected (max_fields)"
            )

    def _opened_ns(self, snapshot: Snapshot) -> int | None:
        """When the snapshot's session began; None: it is closed. Without sessions it always was open."""
        if self._sessions is None:
            return NEVER
        bar = self.config.bar
        if bar is None:
            return self._sessions.opened_ns(snapshot.ingest_ns)
        return self._sessions.opened_ns(snapshot.event_ns, snapshot.event_ns + bar)

    def _of_the_whole(self, snapshot: Snapshot, opened_ns: int | None) -> list[str]:
        config, delay_ns = self.config, snapshot.ingest_ns - snapshot.event_ns
        found = ["closed_session"] if opened_ns is None else []
        if not snapshot.subjects:
            return found
        if config.max_delay is not None and delay_ns > config.max_delay:
            found.append("stale")
        if -delay_ns > config.max_clock_skew:
            found.append("clock_skew")
        if config.bar is not None and delay_ns < config.bar:
            found.append("partial_bar")
        return found

    def _masks(
        self, state: State, snapshot: Snapshot, values: Matrix, index: Index, layout: Layout,
        opened_ns: int | None,
    ) -> dict[str, Mask]:  # fmt: skip
        """The flags that hold for some subject, each as a mask over the subjects."""
        masks: dict[str, Mask] = {}
        event, newest = snapshot.event_ns, state.newest_ns[index]
        if not len(newest):
            return masks
        if event <= _max(newest):
            masks["out_of_order"] = event < newest
            masks["duplicate"] = _same_values(state, values, index, layout) & (newest == event)
        if self._gap_ns is not None and opened_ns is not None and _min(newest) < event - self._gap_ns:
            # Nothing was to be expected before the session began.
            since = np.maximum(newest, opened_ns)
            masks["gap"] = (since < event - self._gap_ns) & (newest != NEVER)
        not_positive = values[layout.prices] <= 0
        if np.count_nonzero(not_positive):
            masks["non_positive"] = np.logical_or.reduce(not_positive, axis=0)
        if len(layout.bids):
            crossed = values[layout.bids] > values[layout.asks]
            masks["crossed_book"] = np.logical_or.reduce(crossed, axis=0)
        outliers = self._outliers(state, snapshot, values, index, layout)
        if outliers is not None:
            masks["outlier_print"] = outliers
        return {flag: mask for flag, mask in masks.items() if np.count_nonzero(mask)}

    def _outliers(
        self, state: State, snapshot: Snapshot, values: Matrix, index: Index, layout: Layout
    ) -> Mask | None:
        if self._jump is None or not len(snapshot.subjects):
            return None
        prices = values[layout.prices]
        return outlier_prints(state, snapshot.event_ns, prices, layout.price_rows, index, self._jump)


def _named(source: object) -> str:
    return f"snapshot of {shown(source)}"


def _refused(snapshot: Snapshot, why: str) -> RecordError:
    return RecordError(f"{_named(snapshot.source)}: {why}")


def _remember(
    state: State, snapshot: Snapshot, values: Matrix, index: Index, layout: Layout, *, late: bool
) -> None:
    """`late`: of some subjects a row that happened after this one is known already, and stays."""
    state.ingest_ns = max(state.ingest_ns, snapshot.ingest_ns)
    if not len(snapshot.subjects):
        return
    if late:
        current = np.flatnonzero(state.newest_ns[index] <= snapshot.event_ns)
        index, values = as_array(index)[current], values[:, current]
    state.newest_ns[index] = snapshot.event_ns
    state.values[cells(layout.rows, index)] = values
    if len(layout.others):
        state.values[cells(layout.others, index)] = np.nan


def _same_values(state: State, values: Matrix, index: Index, layout: Layout) -> Mask:
    """Where every field has the value of the newest row; a missing one equals a missing one."""
    before = state.values[cells(layout.rows, index)]
    same: Mask = ((values == before) | (np.isnan(values) & np.isnan(before))).all(axis=0)
    if len(layout.others):
        same &= np.isnan(state.values[cells(layout.others, index)]).all(axis=0)
    return same


def _as_column(where: str, name: str, column: object) -> Column:
    try:
        return np.array(column).astype(np.float64, casting="safe")
    except (TypeError, ValueError):
        raise RecordError(f"{where}: field {shown(name)} holds {shown(column)}, expected numbers") from None


def _merged(
    subjects: tuple[str, ...], quality: Mapping[str, tuple[str, ...]], masks: Mapping[str, Mask],
    whole: Sequence[str],
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    flags = {subject: set(names) for subject, names in quality.items()}
    for name, mask in masks.items():
        for place in np.flatnonzero(mask).tolist():
            flags.setdefault(subjects[place], set()).add(name)
    if whole:
        flags.setdefault(ALL, set()).update(whole)
    return {
        subject: tuple(flag for flag in QUALITY_FLAGS if flag in names) for subject, names in flags.items()
    }
