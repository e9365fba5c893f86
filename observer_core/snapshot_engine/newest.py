"""The newest row of every subject of a source: what the next one is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

Index = slice | NDArray[np.intp]
NEVER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the fields of a snapshot stand: their rows in the state, and the state's other rows.

    `prices`, `bids` and `asks` point into the snapshot's own fields; `price_rows` into the state's.
    """

    rows: Index
    others: NDArray[np.intp]
    prices: Index
    price_rows: Index
    bids: NDArray[np.intp]
    asks: NDArray[np.intp]


@dataclass(slots=True, eq=False)
class State:
    """Times and values of the newest rows; NaN where a row had no value.

    Rows of `values` are fields, columns subjects, both in order of first appearance and
    with room to grow. `doubted` holds the cells whose newest value is an outlier that nothing has
    confirmed yet, with the value before it. `sets` and `layouts` remember where recent subjects
    and fields stand; they never change a result and are no part of the bytes.
    """

    ingest_ns: int = NEVER
    subjects: dict[str, int] = field(default_factory=dict)
    fields: dict[str, int] = field(default_factory=dict)
    newest_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    doubted: dict[tuple[int, int], float] = field(default_factory=dict)
    sets: dict[int, tuple[tuple[str, ...], Index]] = field(default_factory=dict)
    layouts: dict[tuple[str, ...], Layout] = field(default_factory=dict)

    def make_room(self) -> None:
        """Room for all subjects and fields that have a place; twice as much as there was for subjects."""
        rows, columns = self.values.shape
        if len(self.fields) <= rows and len(self.subjects) <= columns:
            return
        if len(self.subjects) > columns:
            columns = max(len(self.subjects), 2 * columns)
        values = np.full((max(rows, len(self.fields)), columns), np.nan)
        values[:rows, : self.values.shape[1]] = self.values
        newest = np.full(columns, NEVER, np.int64)
        newest[: len(self.newest_ns)] = self.newest_ns
        self.values, self.newest_ns = values, newest


def index_of(places: NDArray[np.intp]) -> Index:
    """A slice where the places follow one another: it is gathered ten times as fast."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[0]) + len(places))
    return places


def as_array(index: Index) -> NDArray[np.intp]:
    return np.arange(index.start, index.stop) if isinstance(index, slice) else index


def cells(rows: Index, columns: Index) -> tuple[Index, Index]:
    """The index of the cells where `rows` and `columns` cross."""
    if isinstance(rows, slice) or isinstance(columns, slice):
        return rows, columns
    return rows[:, None], columns


def dump(state: State) -> bytes:
    """Equal states, equal bytes: one line of JSON, then little-endian times and values."""
    count = len(state.subjects)
    head: dict[str, Any] = {
        "fields": list(state.fields), "ingest_ns": state.ingest_ns, "subjects": list(state.subjects),
    }  # fmt: skip
    if state.doubted:
        head["doubted"] = sorted([row, column, value] for (row, column), value in state.doubted.items())
    values = state.values[: len(state.fields), :count].astype("<f8")
    values[np.isnan(values)] = np.nan
    return encode(head) + b"\n" + state.newest_ns[:count].astype("<i8").tobytes() + values.tobytes()


def load(blob: bytes) -> State:
    """The state that `dump` wrote; `RecordError` when the bytes are not one."""
    head, _, body = blob.partition(b"\n")
    value = decode(head)
    try:
        subjects, fields = value["subjects"], value["fields"]
        count = len(subjects)
        if len(body) != 8 * count * (1 + len(fields)):
            raise ValueError(f"{len(body)} bytes of numbers for {count} subjects and {len(fields)} fields")
        return State(
            ingest_ns=value["ingest_ns"],
            subjects={subject: place for place, subject in enumerate(subjects)},
            fields={name: place for place, name in enumerate(fields)},
            newest_ns=np.frombuffer(body[: 8 * count], "<i8").astype(np.int64),
            values=np.frombuffer(body[8 * count :], "<f8").astype(np.float64).reshape(len(fields), count),
            doubted={(row, column): value for row, column, value in value.get("doubted", ())},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"expected the state of a normaliser, found {blob[:60]!r}: {error}") from None
