"""Observations that somebody sends: JSON or NDJSON, by POST or on standard input.

Columns: `{"event_time": "2018-04-05T00:01:00Z", "subjects": ["A", "B"], "fields": {"price": [1.5, null]}}`.
A row: `{"time": "2018-04-05T00:01:00Z", "subject": "A", "price": 1.5}`, or with its numbers in `"values"`.
A JSON body is one of these or a list of them; NDJSON has one a line. A time is RFC 3339
or epoch s, ms, us or ns; without one, what is sent happened when it came. A number may
be a decimal text, which is kept exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import Column, Snapshot
from observer_core.snapshot_engine.exact import column
from observer_core.snapshot_engine.names import fault, shown

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_SUBJECTS = 10_000
MAX_FIELDS = 256
_JSON = ("application/json", "text/json")
_NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
CONTENT_TYPES = (*_JSON, *_NDJSON)
_TIME_KEYS = ("event_time", "time")
_Row = dict[str, tuple[float, str | None]]
"""A row's numbers, each with the decimal that it is exactly if the number is not."""
_NONE = (math.nan, None)


class Rejected(NamedTuple):
    """A row that cannot be used: its number from 1, and why."""

    row: int
    detail: str


class PushError(InputError):
    """A pushed body of which nothing can be used; `rejected` says why row by row, where it has rows."""

    def __init__(self, message: str, rejected: Sequence[Rejected] = ()) -> None:
        super().__init__(message)
        self.rejected = tuple(rejected)


class Pushed(NamedTuple):
    """What a body holds, and what of it cannot be used."""

    snapshots: list[Snapshot]
    rejected: list[Rejected]


def parse_push(source: str, body: bytes, content_type: str, now_ns: int, zone: str | None = None) -> Pushed:
    """The snapshots of a body, learnt at `now_ns`; times without a zone are in `zone`, if that is given.

    Rows of one time make one snapshot, in order of first appearance; a subject's second
    row at that time stands in a snapshot after it. `PushError` when no row can be used.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PushError(
            f"the body has {len(body):,} bytes, at most {MAX_BODY_BYTES:,} are taken; send it in parts"
        )
    moments = _Moments(source, now_ns, zone)
    rejected: list[Rejected] = []
    for number, item in _items(body, content_type):
        try:
            moments.take(item)
        except InputError as error:
            rejected.append(Rejected(number, str(error)))
    snapshots = moments.snapshots()
    if not snapshots:
        why = (
            f"row {rejected[0].row}: {rejected[0].detail}"
            if rejected
            else ("the body holds no observation; expected at least one")
        )
        raise PushError(why, rejected)
    return Pushed(snapshots, rejected)


class _Moments:
    """Takes rows one after the other, and joins those of one time."""

    def __init__(self, source: str, now_ns: int, zone: str | None) -> None:
        self._source, self._now_ns, self._zone = source, now_ns, zone
        self._columns: list[Snapshot] = []
        self._rows: dict[tuple[int, int], dict[str, _Row]] = {}
        self._names: dict[tuple[int, int], set[str]] = {}
        self._turns: dict[tuple[int, str], int] = {}

    def take(self, item: Any) -> None:
        """`InputError` leaves everything as it was."""
        if isinstance(item, _Unreadable):
            raise PushError(item.why)
        if not isinstance(item, dict):
            raise PushError(f"found {shown(item)}, expected an object with subjects and fields, or a row")
        event_ns = _time(item, self._now_ns, self._zone)
        if "subjects" in item or "fields" in item:
            self._columns.append(_snapshot(item, self._source, event_ns, self._now_ns))
            return
        subject = _name("subject", item.get("subject"))
        row = _row(item)
        turn = self._turns.get((event_ns, subject), -1) + 1
        moment = self._rows.get((event_ns, turn), {})
        names = self._names.get((event_ns, turn), set()) | row.keys()
        if len(moment) >= MAX_SUBJECTS:
            raise PushError(f"more than {MAX_SUBJECTS:,} subjects at one time; shard the source")
        if len(names) > MAX_FIELDS:
            raise PushError(
                f"rows of one time have {len(names):,} different fields, at most {MAX_FIELDS} are taken"
            )
        self._turns[event_ns, subject] = turn
        self._names[event_ns, turn] = names
        self._rows.setdefault((event_ns, turn), {})[subject] = row

    def snapshots(self) -> list[Snapshot]:
        joined = [
            _joined(self._source, event_ns, self._now_ns, moment)
            for (event_ns, _), moment in self._rows.items()
        ]
        return [*self._columns, *joined]


class _Unreadable(NamedTuple):
    """A line that is no JSON."""

    why: str


def _items(body: bytes, content_type: str) -> Iterator[tuple[int, Any]]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _NDJSON:
        for number, line in enumerate(body.split(b"\n"), start=1):
            if line.strip():
                try:
                    yield number, orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    yield number, _Unreadable(f"not JSON: {error}")
    elif kind in _JSON:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise PushError(f"the body: not JSON: {error}") from None
        yield from enumerate(value if isinstance(value, list) else [value], start=1)
    else:
        raise PushError(
            f"content type {shown(content_type)} is not taken; expected application/json "
            "or application/x-ndjson"
        )


def _time(item: dict[str, Any], now_ns: int, zone: str | None) -> int:
    keys = [key for key in _TIME_KEYS if item.get(key) is not None]
    if len(keys) > 1:
        raise PushError("has event_time and time; one was expected")
    if not keys:
        return now_ns
    value = item[keys[0]]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PushError(f"{keys[0]} is {shown(value)}; expected RFC 3339 text or whole epoch s/ms/us/ns")
    try:
        ns = parse_time(str(value), zone)
    except InputError as error:
        raise PushError(f"{keys[0]}: {error}") from None
    if not -(2**63) < ns < 2**63:
        raise PushError(f"{keys[0]} {shown(value)} is outside the years 1678 to 2261")
    return ns


def _snapshot(item: dict[str, Any], source: str, event_ns: int, now_ns: int) -> Snapshot:
    if unknown := set(item) - {*_TIME_KEYS, "subjects", "fields"}:
        raise PushError(f"unknown key {shown(min(unknown))}; expected event_time, subjects, fields")
    subjects, fields = item.get("subjects"), item.get("fields")
    if not isinstance(subjects, list) or not isinstance(fields, dict):
        raise PushError(
            f'expected "subjects": [names] and "fields": {{name: [numbers]}}; '
            f"found {shown(subjects)} and {shown(fields)}"
        )
    if len(subjects) > MAX_SUBJECTS or len(fields) > MAX_FIELDS:
        raise PushError(
            f"{len(subjects):,} subjects and {len(fields):,} fields; at most {MAX_SUBJECTS:,} and "
            f"{MAX_FIELDS} are taken"
        )
    names = tuple(_name("subject", subject) for subject in subjects)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PushError(f"subject {shown(twice)} stands in it twice; expected one value a subject")
    columns: dict[str, Column] = {}
    decimals: dict[str, dict[str, str]] = {}
    for name, values in fields.items():
        _name("field", name)
        if not isinstance(values, list) or len(values) != len(names):
            found = f"{len(values)} values" if isinstance(values, list) else shown(values)
            raise PushError(f"field {shown(name)} has {found}, expected {len(names)}, one a subject")
        columns[name], exact, refused = column(values)
        if refused:
            raise _no_number(name, next(iter(refused.values())))
        if exact:
            decimals[name] = {names[place]: text for place, text in exact.items()}
    return Snapshot(
        source=source, event_ns=event_ns, ingest_ns=now_ns, subjects=names, fields=columns, decimals=decimals
    )


def _row(item: dict[str, Any]) -> _Row:
    values = item.get("values", item)
    if not isinstance(values, dict):
        raise PushError(f'"values" is {shown(values)}, expected an object of numbers')
    own = (*_TIME_KEYS, "subject", "values")
    if values is not item and (unknown := set(item) - set(own)):
        raise PushError(f'unknown key {shown(min(unknown))} beside "values"')
    row = {name: value for name, value in values.items() if values is not item or name not in own}
    if not row:
        raise PushError("has no number; expected at least one field")
    if len(row) > MAX_FIELDS:
        raise PushError(f"{len(row):,} fields, at most {MAX_FIELDS} are taken")
    numbers, exact, refused = column(list(row.values()))
    for place, text in refused.items():
        raise _no_number(list(row)[place], text)
    for name in row:
        _name("field", name)
    return {
        name: (number, exact.get(place))
        for place, (name, number) in enumerate(zip(row, numbers.tolist(), strict=True))
    }


def _joined(source: str, event_ns: int, now_ns: int, rows: Mapping[str, _Row]) -> Snapshot:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    decimals = {
        name: texts
        for name in names
        if (texts := {subject: text for subject, row in rows.items() if (text := row.get(name, _NONE)[1])})
    }
    return Snapshot(
        source=source, event_ns=event_ns, ingest_ns=now_ns, subjects=tuple(rows),
        fields={
            name: np.array([row.get(name, _NONE)[0] for row in rows.values()], np.float64) for name in names
        },
        decimals=decimals,
    )  # fmt: skip


def _name(what: str, name: object) -> str:
    if problem := fault(name):
        raise PushError(f"the {what} {shown(name)} {problem}")
    return str(name)


def _no_number(field: str, found: str) -> PushError:
    return PushError(f"field {shown(field)} is {found}, expected a number or null")
