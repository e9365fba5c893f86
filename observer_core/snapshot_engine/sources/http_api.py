"""Any HTTP API that answers with JSON, by configuration alone: where rows, subjects, fields and time are.

Paths are JMESPath (https://jmespath.org/specification.html). `rows` finds a list of objects
in the answer (or one object); `subject` and `fields` are looked for in each row, `time` in the
whole answer. Numbers may come as decimal texts, which are kept exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from observer_core.safety.outbound import Answer
from observer_core.safety.pace import Pace
from observer_core.shared.clock import parse_time
from observer_core.shared.config import Zone
from observer_core.shared.errors import InputError
from observer_core.shared.records import ALL, Column, Snapshot
from observer_core.snapshot_engine.exact import column
from observer_core.snapshot_engine.names import MAX_NAME, fault, shown
from observer_core.snapshot_engine.sources.json_rows import NO_ROW, JsonRows, Page, Path, read_json
from observer_core.snapshot_engine.sources.web_address import AddressConfig, WebAddress

_MAX_ROWS = 100_000
_MAX_NOTES = 3


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
    zone: Zone | None = None
    """What times without a zone are in; without it they are refused."""
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

    def __init__(
        self, name: str, config: HttpApiConfig, secret: Callable[[str], str], pace: Pace | None = None
    ) -> None:
        self.name = name
        self._config = config
        self._address = WebAddress(name, config, secret, pace)
        self._last: Snapshot | None = None
        self._known: list[Any] = []
        self._names: tuple[str, ...] = ()
        self._fields = sorted(config.fields)
        single = {name: path for name in ("time", "next") if (path := getattr(config, name)) is not None}
        self._rows = JsonRows(
            config.rows, config.subject, [config.fields[name] for name in self._fields], single
        )

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
        page = self._page(answer)
        event_ns = self._time(page.single.get("time"), now_ns)
        subjects, columns, notes = page.subjects, page.columns, page.notes
        for _ in range(1, self._config.max_pages):
            if not (where := page.single.get("next")):
                break
            page = self._page(self._address.follow(str(where), now_ns))
            subjects += page.subjects
            notes += page.notes
            for values, more in zip(columns, page.columns, strict=True):
                values += more
        else:
            if page.single.get("next"):
                notes.append(f"more than {self._config.max_pages} pages (max_pages)")
        names, columns = self._named(subjects, columns, notes)
        if not names:
            raise InputError("; ".join((f"no row was found at {self._config.rows!r}", *notes[:_MAX_NOTES])))
        fields, decimals = self._columns(names, columns, notes)
        rest = f"; and {len(notes) - _MAX_NOTES} more" if len(notes) > _MAX_NOTES else ""
        return Snapshot(
            source=self.name, event_ns=event_ns, ingest_ns=now_ns, subjects=names,
            fields=fields, decimals=decimals, status="partial" if notes else "ok",
            error="; ".join(notes[:_MAX_NOTES]) + rest if notes else None,
        )  # fmt: skip

    def _page(self, answer: Answer) -> Page:
        return read_json(self._rows, answer.body, answer.headers.get("content-type", "no content type"))

    def _named(
        self, subjects: list[Any], columns: list[list[Any]], notes: list[str]
    ) -> tuple[tuple[str, ...], list[list[Any]]]:
        """The rows that have a name of their own; the same names are the same tuple."""
        if self._config.subject_name is not None:
            name = self._config.subject_name
            subjects = [subject if subject is NO_ROW else name for subject in subjects]
        if subjects == self._known:
            return self._names, columns
        if len(subjects) <= _MAX_ROWS and _plain(subjects):
            # Mostly the next answer names the same: whoever gets the same tuple need not look into it.
            self._known, self._names = subjects, tuple(subjects)
            return self._names, columns
        places: dict[str, int] = {}
        for number, subject in enumerate(subjects[:_MAX_ROWS]):
            name = str(subject) if type(subject) is int else subject
            if name is NO_ROW:
                continue
            if problem := fault(name):
                notes.append(f"row {number}: its subject {problem}")
            elif name in places:
                notes.append(f"row {number}: subject {shown(name)} stands there twice, the first counts")
            else:
                places[name] = number
        if len(subjects) > _MAX_ROWS:
            notes.append(f"{len(subjects):,} rows, the first {_MAX_ROWS:,} count")
        return tuple(places), [[values[place] for place in places.values()] for values in columns]

    def _columns(
        self, subjects: tuple[str, ...], columns: list[list[Any]], notes: list[str]
    ) -> tuple[dict[str, Column], dict[str, dict[str, str]]]:
        fields: dict[str, Column] = {}
        decimals: dict[str, dict[str, str]] = {}
        for name, values in zip(self._fields, columns, strict=True):
            fields[name], exact, refused = column(values)
            if exact:
                decimals[name] = {subjects[place]: text for place, text in exact.items()}
            if None in values:
                missing = [place for place, value in enumerate(values) if value is None]
                notes += [f"{subjects[place]}: {name} is missing" for place in missing]
            for place, text in refused.items():
                notes.append(f"{subjects[place]}: {name} is {text}, a number was expected")
        return fields, decimals

    def _time(self, value: Any, now_ns: int) -> int:
        if self._config.time is None:
            return now_ns
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(
                f"time: found {shown(value)} at {self._config.time!r}, expected RFC 3339 or epoch"
            )
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return parse_time(text, self._config.zone)


def _plain(subjects: list[Any]) -> bool:
    """Whether every row has a name of its own: the common case, told at once."""
    return (
        set(map(type, subjects)) == {str}
        and len(set(subjects)) == len(subjects)
        and "".join(subjects).isprintable()
        and min(map(len, subjects)) > 0
        and max(map(len, subjects)) <= MAX_NAME
        and ALL not in subjects
    )
