"""Any HTTP API that answers with JSON, by configuration alone: where rows, subjects, fields and time are.

Paths are JMESPath (https://jmespath.org/specification.html). `rows` finds a list of objects
in the answer (or one object); `subject` and `fields` are looked for in each row, `time` in the
whole answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import jmespath
import numpy as np
import orjson
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from observer_core.safety.outbound import Answer
from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.sources.web_address import AddressConfig, WebAddress

_MAX_ROWS = 100_000
_MAX_NOTES = 3


def _path(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath: {str(error).splitlines()[0]}") from None
    return text


Path = Annotated[str, AfterValidator(_path)]


class HttpApiConfig(AddressConfig):
    """`subject_name` names the one subject of an answer that holds one object and no name."""

    method: Literal["GET", "POST"] = "GET"
    body: str | None = None
    rows: Path = "@"
    subject: Path | None = None
    subject_name: str | None = None
    fields: Annotated[Mapping[str, Path], Field(min_length=1)]
    time: Path | None = None
    """RFC 3339 text or epoch s, ms, us or ns; without it an answer is of the moment it came."""
    next: Path | None = None
    """Where the address of the next page is; asked for up to `max_pages` in all."""
    max_pages: PositiveInt = 1

    @model_validator(mode="after")
    def _a_row_has_one_name(self) -> HttpApiConfig:
        if (self.subject is None) == (self.subject_name is None):
            raise ValueError("give subject (a path in each row) or subject_name (one name), and not both")
        if self.next is not None and self.max_pages == 1:
            raise ValueError("next is of no use with max_pages = 1; say how many pages at most")
        if self.body is not None and self.method == "GET":
            raise ValueError('body goes with method = "POST"')
        return self


class HttpApiSource:
    """One snapshot an answer. What a row lacks is missing and makes the snapshot partial, with a reason.

    An answer that is no JSON, holds no row, or is not 2xx is an error. `304 Not Modified` repeats
    the answer before it; after 429 or 503 nothing is asked before their `Retry-After`.
    """

    def __init__(self, name: str, config: HttpApiConfig, secret: Callable[[str], str]) -> None:
        self.name = name
        self._config = config
        self._address = WebAddress(name, config, secret)
        self._last: Snapshot | None = None
        compiled = {field: jmespath.compile(path) for field, path in config.fields.items()}
        self._fields = dict(sorted(compiled.items()))
        self._rows = jmespath.compile(config.rows)
        self._subject = None if config.subject is None else jmespath.compile(config.subject)

    @property
    def interval_ns(self) -> int:
        return self._config.interval

    def close(self) -> None:
        pass

    def collect(self, now_ns: int) -> Snapshot:
        config = self._config
        body = None if config.body is None else config.body.encode()
        answer = self._address.ask(config.method, now_ns, body)
        if answer is None:
            assert self._last is not None
            event_ns = now_ns if config.time is None else self._last.event_ns
            return replace(self._last, event_ns=event_ns, ingest_ns=now_ns)
        self._last = self._snapshot(answer, now_ns)
        if config.next is None:  # a first page that has not changed says nothing of the others
            self._address.keep(answer)
        return self._last

    def _snapshot(self, answer: Answer, now_ns: int) -> Snapshot:
        document = _json(answer)
        event_ns = self._time(document, now_ns)
        notes: list[str] = []
        rows: dict[str, list[float]] = {}
        self._take(document, rows, notes)
        for _ in range(1, self._config.max_pages):
            where = self._config.next and jmespath.search(self._config.next, document)
            if not where:
                break
            document = _json(self._address.follow(str(where), now_ns))
            self._take(document, rows, notes)
        else:
            if self._config.next and jmespath.search(self._config.next, document):
                notes.append(f"more than {self._config.max_pages} pages (max_pages)")
        if not rows:
            raise InputError("; ".join((f"no row was found at {self._config.rows!r}", *notes[:_MAX_NOTES])))
        columns = np.array(list(rows.values()), np.float64)
        more = f"; and {len(notes) - _MAX_NOTES} more" if len(notes) > _MAX_NOTES else ""
        return Snapshot(
            source=self.name, event_ns=event_ns, ingest_ns=now_ns, subjects=tuple(rows),
            fields={field: columns[:, place].copy() for place, field in enumerate(self._fields)},
            status="partial" if notes else "ok",
            error="; ".join(notes[:_MAX_NOTES]) + more if notes else None,
        )  # fmt: skip

    def _take(self, document: Any, rows: dict[str, list[float]], notes: list[str]) -> None:
        found = self._rows.search(document)
        listed = found if isinstance(found, list) else [found]
        for number, row in enumerate(listed[:_MAX_ROWS]):
            subject = self._config.subject_name if self._subject is None else self._subject.search(row)
            subject = str(subject) if isinstance(subject, int) else subject
            if not isinstance(row, dict | list):
                notes.append(f"row {number} is {shown(row)}, an object was expected")
            elif problem := fault(subject):
                notes.append(f"row {number}: its subject {problem}")
            elif subject in rows:
                notes.append(f"row {number}: subject {shown(subject)} stands there twice, the first counts")
            else:
                rows[str(subject)] = [
                    _number(path.search(row), f"{subject}: {field}", notes)
                    for field, path in self._fields.items()
                ]
        if len(listed) > _MAX_ROWS:
            notes.append(f"{len(listed):,} rows, the first {_MAX_ROWS:,} count")

    def _time(self, document: Any, now_ns: int) -> int:
        if self._config.time is None:
            return now_ns
        value = jmespath.search(self._config.time, document)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(
                f"time: found {shown(value)} at {self._config.time!r}, expected RFC 3339 or epoch"
            )
        return parse_time(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _json(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        kind = answer.headers.get("content-type", "no content type")
        raise InputError(
            f"the answer is not JSON ({kind}): {shown(answer.body[:60].decode(errors='replace'))}"
        ) from None


def _number(value: Any, where: str, notes: list[str]) -> float:
    """The number, also from a decimal text as exchanges write it; NaN with a note for anything else."""
    if value is None:
        notes.append(f"{where} is missing")
        return math.nan
    try:
        number = (
            float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        )
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        notes.append(f"{where} is {shown(value)}, a number was expected")
        return math.nan
    return number
