"""Snapshots in columns: `records` has a row a snapshot, `values` a row a subject and snapshot.

`values` is sorted by subject, then position. A field that is called X there has up to three columns.
A series whose numbers are all short decimals stands in `X.mantissa` and `X.scale`, and each number
is `mantissa / 10^scale`, exactly; any other series stands in `X` as it is. Null in both: not
observed. `origin.rows`: the row of the recording that a subject's values came from. A snapshot
that these columns do not give back byte for byte, and any other record of the journal, is kept as
its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import StorageCorrupt
from observer_core.shared.records import AnyRecord, Snapshot, SnapshotDecoder
from observer_core.storage.archive.parquet import DELTA, SPLIT, arrow, read, write
from observer_core.storage.archive.parquet import values as column_values

_MAX_SCALE: Final = 15
_MAX_MANTISSA: Final = 2.0**53
_EXACT_POWERS: Final = [10.0**scale for scale in range(_MAX_SCALE + 1)]
_RAW: Final = -1
_ROWS: Final = "origin.rows"
_NO_ROW: Final = -1


def pack(first: int, lines: Sequence[bytes]) -> dict[str, bytes]:
    found = columns(first, lines)
    return {
        "records": write(found["records"], dict.fromkeys(_DELTAS, DELTA), {"observer": "snapshots 1"}),
        "values": write(found["values"], _encodings(found["values"]), {"observer": "values 1"}),
    }


def columns(first: int, lines: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """The columns of `records` and of `values`."""
    decoder = SnapshotDecoder()
    records: list[AnyRecord] = [decoder(line) for line in lines]
    snapshots = [
        (place, record)
        for place, (record, line) in enumerate(zip(records, lines))
        if isinstance(record, Snapshot) and _is_exact(record, line)
    ]
    return {
        "records": _record_columns(first, records, lines, {place for place, _ in snapshots}),
        "values": _value_columns(first, snapshots),
    }


def unpack(files: Mapping[str, bytes]) -> list[bytes]:
    records = read(files["records"], "records")
    frames = {name: column_values(records.column(name)) for name in _COLUMNS}
    positions = frames["position"]
    table = read(files["values"], "values", dictionary="subject")
    values = _Values(table, positions[0] if positions else 1, len(positions))
    subjects: dict[int, tuple[str, ...]] = {}
    found = []
    for place, line in enumerate(frames["line"]):
        if line is not None:
            found.append(line)
            continue
        number = frames["subjects_id"][place]
        names = frames["subjects"][place]
        if names is not None:
            subjects[number] = tuple(_loads(names))
        if number not in subjects:
            raise StorageCorrupt(f"the subjects of position {positions[place]} are not in its Parquet")
        snapshot = Snapshot(
            source=frames["source"][place], event_ns=frames["event_ns"][place],
            ingest_ns=frames["time_ns"][place], subjects=subjects[number],
            fields=values.fields(place, number, subjects[number], _loads(frames["fields"][place])),
            quality=_loads(frames["quality"][place]) or {}, decimals=_loads(frames["decimals"][place]) or {},
            status=frames["status"][place], error=frames["error"][place],
            origin=values.origin(place, number, subjects[number], _loads(frames["origin"][place])),
        )  # fmt: skip
        found.append(snapshot.encode(frames["epoch"][place]))
    return found


def _is_exact(snapshot: Snapshot, line: bytes) -> bool:
    """Whether the record gives its line again, and a table can hold it."""
    if len(set(snapshot.subjects)) != len(snapshot.subjects) or any(map(_is_taken, snapshot.fields)):
        return False
    if not -(2**63) <= snapshot.event_ns < 2**63:
        return False
    return snapshot.encode(snapshot.epoch) == line


def _is_taken(field: str) -> bool:
    """Whether a column of another meaning has, or may have, the name of this field."""
    return field in ("subject", "position", _ROWS) or field.endswith((".mantissa", ".scale"))


def _rows(snapshot: Snapshot) -> list[int] | None:
    """The rows of a recording, one a subject; None where there are none, or something else."""
    found = None if snapshot.origin is None else snapshot.origin.get("rows")
    if not isinstance(found, list) or len(found) != len(snapshot.subjects) or not found:
        return None
    return found if all(type(row) is int and 0 <= row < 2**62 for row in found) else None


def _record_columns(
    first: int, records: Sequence[AnyRecord], lines: Sequence[bytes], exact: set[int]
) -> dict[str, Any]:
    pa = arrow()
    known: dict[tuple[str, ...], int] = {}
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for place, record in enumerate(records):
        row: dict[str, Any] = dict.fromkeys(_COLUMNS)
        row.update(position=first + place, time_ns=record.time_ns)
        if place in exact and isinstance(record, Snapshot):
            number = known.get(record.subjects)
            if number is None:
                number = known[record.subjects] = len(known)
                row["subjects"] = encode(list(record.subjects)).decode()
            row.update(
                event_ns=record.event_ns, epoch=record.epoch, source=record.source, status=record.status,
                error=record.error, subjects_id=number, fields=encode(sorted(record.fields)).decode(),
            )  # fmt: skip
            for name in ("quality", "decimals", "origin"):
                value = getattr(record, name)
                if name == "origin" and _rows(record) is not None:
                    value = {key: item for key, item in value.items() if key != "rows"}
                if value:
                    row[name] = encode(dict(value)).decode()
                elif value is not None and name == "origin":
                    row[name] = "{}"
        else:
            row["line"] = lines[place]
        for name, value in row.items():
            columns[name].append(value)
    return {name: pa.array(columns[name], getattr(pa, kind)()) for name, kind in _COLUMNS.items()}


_COLUMNS: Final = {
    "position": "int64", "time_ns": "int64", "event_ns": "int64", "epoch": "int64", "source": "string",
    "status": "string", "error": "string", "fields": "string", "subjects_id": "int32", "subjects": "string",
    "quality": "string", "decimals": "string", "origin": "string", "line": "binary",
}  # fmt: skip
_DELTAS: Final = ("position", "time_ns", "event_ns", "epoch", "subjects_id")


def _value_columns(first: int, snapshots: Sequence[tuple[int, Snapshot]]) -> dict[str, Any]:
    pa = arrow()
    names = sorted({name for _, snapshot in snapshots for name in snapshot.fields})
    subjects = sorted({subject for _, snapshot in snapshots for subject in snapshot.subjects})
    index = {subject: place for place, subject in enumerate(subjects)}
    rows = [_owners(snapshot, index) for _, snapshot in snapshots]
    owner = np.concatenate([*rows, np.empty(0, np.int64)])
    position = np.concatenate(
        [
            *(
                np.full(len(found), first + place, np.int64)
                for (place, _), found in zip(snapshots, rows)
            ),
            np.empty(0, np.int64),
        ]
    )  # fmt: skip
    order = np.lexsort((position, owner))
    owner, position = owner[order], position[order]
    starts = np.searchsorted(owner, np.arange(len(subjects) + 1))
    columns: dict[str, Any] = {
        "subject": pa.DictionaryArray.from_arrays(
            pa.array(owner, pa.int32()), pa.array(subjects, pa.string())
        ),
        "position": pa.array(position, pa.int64()),
    }
    for name in names:
        column = np.concatenate(
            [
                np.asarray(snapshot.fields[name], np.float64)
                if name in snapshot.fields
                else np.full(len(snapshot.subjects), np.nan)
                for _, snapshot in snapshots
            ]
        )[order]
        columns.update(_encoded(name, column, starts))
    origins = [_rows(snapshot) or [_NO_ROW] * len(snapshot.subjects) for _, snapshot in snapshots]
    numbers = np.array([row for found in origins for row in found], np.int64)[order]
    if (numbers != _NO_ROW).any():
        columns[_ROWS] = pa.array(numbers, pa.int64(), mask=numbers == _NO_ROW)
    return columns


def _encodings(columns: Mapping[str, Any]) -> dict[str, str]:
    found = {"position": DELTA}
    for name, array in columns.items():
        if name.endswith(".mantissa"):
            found[name] = _shorter(array.drop_null())
        elif name == _ROWS:
            found[name] = DELTA
        elif name not in ("subject", "position") and not name.endswith(".scale"):
            found[name] = SPLIT
    return found


def _owners(snapshot: Snapshot, index: Mapping[str, int]) -> NDArray[np.int64]:
    return np.fromiter((index[subject] for subject in snapshot.subjects), np.int64, len(snapshot.subjects))


def _encoded(name: str, column: NDArray[np.float64], starts: NDArray[np.int64]) -> dict[str, Any]:
    """The columns of a field: mantissa and scale of the series that are decimals, the rest as it is."""
    pa = arrow()
    mantissa = np.zeros(len(column), np.int64)
    scale = np.full(len(column), _RAW, np.int8)
    missing = np.isnan(column)
    for start, stop in pairwise(starts.tolist()):
        found = _decimals(column[start:stop][~missing[start:stop]])
        if found is not None:
            scale[start:stop], values = found
            part = mantissa[start:stop]
            part[~missing[start:stop]] = values
    raw = scale == _RAW
    columns: dict[str, Any] = {}
    if not raw.all() or not len(raw):
        columns[f"{name}.mantissa"] = pa.array(mantissa, pa.int64(), mask=missing | raw)
        columns[f"{name}.scale"] = pa.array(scale, pa.int8(), mask=raw)
    if raw.any():
        columns[name] = pa.array(column, pa.float64(), mask=missing | ~raw)
    return columns


def _shorter(array: Any) -> str:
    """Which of the two encodings of integers makes this column smaller: no rule knows it beforehand."""
    sizes = {encoding: len(write({"a": array}, {"a": encoding}, {})) for encoding in (DELTA, SPLIT)}
    return min(sizes, key=lambda encoding: sizes[encoding])


def _decimals(values: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]] | None:
    """The least scale at which every value is `mantissa / 10^scale`, and the mantissas, if there is one."""
    if (np.signbit(values) & (values == 0)).any():
        return None
    for scale, power in enumerate(_EXACT_POWERS):
        mantissa = np.rint(values * power)
        if not (np.abs(mantissa) < _MAX_MANTISSA).all():
            return None
        if (mantissa / power == values).all():
            return scale, mantissa.astype(np.int64)
    return None


class _Values:
    """The values of a stretch, to be taken out snapshot by snapshot."""

    def __init__(self, table: Any, first: int, count: int) -> None:
        position = table.column("position").to_numpy() - first
        if len(position) and not (position.min() >= 0 and position.max() < count):
            raise StorageCorrupt("the values in Parquet are of positions that its records do not have")
        subject = table.column("subject").combine_chunks()
        if len(subject):
            subject = subject.chunk(0) if hasattr(subject, "chunk") else subject
        names = subject.dictionary.to_pylist() if len(subject) else []
        owner = np.asarray(subject.indices) if len(subject) else np.empty(0, np.int64)
        self._index = {name: place for place, name in enumerate(names)}
        # By snapshot, then subject: the rows of one stand together.
        self._order = np.lexsort((owner, position))
        self._owner = owner[self._order]
        self._starts = np.searchsorted(position[self._order], np.arange(count + 1))
        self._columns: dict[str, NDArray[np.float64]] = {}
        self._table = table
        self._wanted: dict[int, NDArray[np.int64]] = {}
        self._numbers: NDArray[np.int64] | None = None
        if _ROWS in table.column_names:
            self._numbers = table.column(_ROWS).fill_null(_NO_ROW).to_numpy()[self._order]

    def fields(
        self, place: int, number: int, subjects: tuple[str, ...], names: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        """The columns of a snapshot, in the order of its subjects."""
        rows = self._places(place, number, subjects)
        return {name: self._column(name)[rows] for name in names}

    def origin(self, place: int, number: int, subjects: tuple[str, ...], origin: Any) -> Any:
        """With the rows of the recording, where it had them."""
        if origin is None or self._numbers is None or not subjects:
            return origin
        found = self._numbers[self._places(place, number, subjects)]
        return origin if found[0] == _NO_ROW else {**origin, "rows": found.tolist()}

    def _places(self, place: int, number: int, subjects: tuple[str, ...]) -> NDArray[np.int64]:
        """Where the rows of a snapshot stand, in the order of its subjects."""
        start, stop = self._starts[place], self._starts[place + 1]
        if stop - start != len(subjects):
            raise StorageCorrupt(
                f"a snapshot of {len(subjects)} subjects has {stop - start} rows in its Parquet"
            )
        wanted = self._wanted.get(number)
        if wanted is None:
            wanted = self._wanted[number] = np.fromiter(
                (self._index[name] for name in subjects), np.int64, len(subjects)
            )
        places: NDArray[np.int64] = start + np.searchsorted(self._owner[start:stop], wanted)
        return places

    def _column(self, name: str) -> NDArray[np.float64]:
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self._decoded(name)[self._order]
        return found

    def _decoded(self, name: str) -> NDArray[np.float64]:
        found = np.full(len(self._owner), np.nan)
        present = set(self._table.column_names)
        if name in present:
            raw = self._table.column(name).to_numpy()
            np.copyto(found, raw, where=~np.isnan(raw))
        if f"{name}.mantissa" in present:
            column = self._table.column(f"{name}.mantissa")
            known = ~column.is_null().to_numpy()
            mantissa = column.fill_null(0).to_numpy()
            scale = self._table.column(f"{name}.scale").fill_null(0).to_numpy()
            np.copyto(found, mantissa / np.array(_EXACT_POWERS)[scale], where=known)
        return found


def _loads(text: str | None) -> Any:
    return None if text is None else decode(text.encode())
