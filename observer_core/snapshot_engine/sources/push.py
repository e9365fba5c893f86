"""Observations that somebody sends: JSON or NDJSON, by POST or on standard input.

Columns: `{"event_time": "2018-04-05T00:01:00Z", "subjects": ["A", "B"], "fields": {"price": [1.5, null]}}`.
A row: `{"time": "2018-04-05T00:01:00Z", "subject": "A", "price": 1.5}`, or with its numbers in `"values"`.
A JSON body is one of these or a list of them; NDJSON has one a line. A time is RFC 3339
or epoch s, ms, us or ns; without one, what is sent happened when it came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.names import fault, shown

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_SUBJECTS = 10_000
MAX_FIELDS = 256
_JSON = ("application/json", "text/json")
_NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
CONTENT_TYPES = (*_JSON, *_NDJSON)
_TIME_KEYS = ("event_time", "time")


class PushError(InputError):
    """A pushed body that cannot be used; nothing of it is taken."""


def parse_push(source: str, body: bytes, content_type: str, now_ns: int) -> list[Snapshot]:
    """All snapshots of a body, learnt at `now_ns`, or `PushError` for the whole of it.

    Rows of one time make one snapshot, in order of first appearance; a subject's second
    row at that time stands in a snapshot after it.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PushError(
            f"the body has {len(body):,} bytes, at most {MAX_BODY_BYTES:,} are taken; send it in parts"
        )
    snapshots: list[Snapshot] = []
    rows: dict[tuple[int, int], dict[str, Mapping[str, float]]] = {}
    turns: dict[tuple[int, str], int] = {}
    for where, item in _items(body, content_type):
        if not isinstance(item, dict):
            raise PushError(
                f"{where}: found {shown(item)}, expected an object with subjects and fields, or a row"
            )
        event_ns = _time(where, item, now_ns)
        if "subjects" in item or "fields" in item:
            snapshots.append(_columns(where, item, source, event_ns, now_ns))
            continue
        subject = _name(where, "subject", item.get("subject"))
        turn = turns[event_ns, subject] = turns.get((event_ns, subject), -1) + 1
        moment = rows.setdefault((event_ns, turn), {})
        moment[subject] = _row(where, item)
        if len(moment) > MAX_SUBJECTS:
            raise PushError(f"{where}: more than {MAX_SUBJECTS:,} subjects at one time; shard the source")
    snapshots += [_joined(source, event_ns, now_ns, moment) for (event_ns, _), moment in rows.items()]
    if not snapshots:
        raise PushError("the body holds no observation; expected at least one")
    return snapshots


def _items(body: bytes, content_type: str) -> Iterator[tuple[str, Any]]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _NDJSON:
        for number, line in enumerate(body.split(b"\n"), start=1):
            if line.strip():
                yield f"row {number}", _parsed(f"row {number}", line)
    elif kind in _JSON:
        value = _parsed("the body", body)
        for number, item in enumerate(value if isinstance(value, list) else [value], start=1):
            yield f"row {number}", item
    else:
        raise PushError(
            f"content type {shown(content_type)} is not taken; expected application/json "
            "or application/x-ndjson"
        )


def _parsed(where: str, text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PushError(f"{where}: not JSON: {error}") from None


def _time(where: str, item: dict[str, Any], now_ns: int) -> int:
    keys = [key for key in _TIME_KEYS if item.get(key) is not None]
    if len(keys) > 1:
        raise PushError(f"{where}: has event_time and time; one was expected")
    if not keys:
        return now_ns
    value = item[keys[0]]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PushError(
            f"{where}: {keys[0]} is {shown(value)}; expected RFC 3339 text or whole epoch s/ms/us/ns"
        )
    try:
        ns = parse_time(str(value))
    except InputError as error:
        raise PushError(f"{where}: {keys[0]}: {error}") from None
    if not -(2**63) < ns < 2**63:
        raise PushError(f"{where}: {keys[0]} {shown(value)} is outside the years 1678 to 2261")
    return ns


def _columns(where: str, item: dict[str, Any], source: str, event_ns: int, now_ns: int) -> Snapshot:
    if unknown := set(item) - {*_TIME_KEYS, "subjects", "fields"}:
        raise PushError(f"{where}: unknown key {shown(min(unknown))}; expected event_time, subjects, fields")
    subjects, fields = item.get("subjects"), item.get("fields")
    if not isinstance(subjects, list) or not isinstance(fields, dict):
        raise PushError(
            f'{where}: expected "subjects": [names] and "fields": {{name: [numbers]}}; '
            f"found {shown(subjects)} and {shown(fields)}"
        )
    if len(subjects) > MAX_SUBJECTS or len(fields) > MAX_FIELDS:
        raise PushError(
            f"{where}: {len(subjects):,} subjects and {len(fields):,} fields; at most {MAX_SUBJECTS:,} and "
            f"{MAX_FIELDS} are taken"
        )
    names = tuple(_name(where, "subject", subject) for subject in subjects)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PushError(f"{where}: subject {shown(twice)} stands in it twice; expected one value a subject")
    columns = {}
    for name, values in fields.items():
        _name(where, "field", name)
        if not isinstance(values, list) or len(values) != len(names):
            found = f"{len(values)} values" if isinstance(values, list) else shown(values)
            raise PushError(f"{where}: field {shown(name)} has {found}, expected {len(names)}, one a subject")
        columns[name] = np.array([_number(where, name, value) for value in values], np.float64)
    return Snapshot(source=source, event_ns=event_ns, ingest_ns=now_ns, subjects=names, fields=columns)


def _row(where: str, item: dict[str, Any]) -> Mapping[str, float]:
    values = item.get("values", item)
    if not isinstance(values, dict):
        raise PushError(f'{where}: "values" is {shown(values)}, expected an object of numbers')
    own = (*_TIME_KEYS, "subject", "values")
    if values is not item and (unknown := set(item) - set(own)):
        raise PushError(f'{where}: unknown key {shown(min(unknown))} beside "values"')
    row = {name: value for name, value in values.items() if values is not item or name not in own}
    if not row:
        raise PushError(f"{where}: has no number; expected at least one field")
    if len(row) > MAX_FIELDS:
        raise PushError(f"{where}: {len(row):,} fields, at most {MAX_FIELDS} are taken")
    return {_name(where, "field", name): _number(where, name, value) for name, value in row.items()}


def _joined(source: str, event_ns: int, now_ns: int, rows: Mapping[str, Mapping[str, float]]) -> Snapshot:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if len(names) > MAX_FIELDS:
        raise PushError(
            f"rows of one time have {len(names):,} different fields, at most {MAX_FIELDS} are taken"
        )
    return Snapshot(
        source=source, event_ns=event_ns, ingest_ns=now_ns, subjects=tuple(rows),
        fields={
            name: np.array([row.get(name, math.nan) for row in rows.values()], np.float64) for name in names
        },
    )  # fmt: skip


def _name(where: str, what: str, name: object) -> str:
    if problem := fault(name):
        raise PushError(f"{where}: the {what} {shown(name)} {problem}")
    return str(name)


def _number(where: str, field: str, value: object) -> float:
    if value is None:
        return math.nan
    if type(value) is not float and type(value) is not int:
        raise PushError(f"{where}: field {shown(field)} is {shown(value)}, expected a number or null")
    return float(value)
