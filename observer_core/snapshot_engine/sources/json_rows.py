"""Rows in a JSON answer, found by JMESPath, as lists a field.

Paths that are plain names (`data`, `lastPrice`) are read by a decoder made for them, which skips what
nobody asked for; all others, and answers that do not fit it, by JMESPath over the whole document. Both
ways give the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple

import jmespath
import msgspec
import orjson
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator

from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import shown

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE: Final = "@"
_SIMPLE: Final = str | int | float | None
_ROWS: Final = (dict, list)


def _path(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath: {str(error).splitlines()[0]}") from None
    return text


Path = Annotated[str, AfterValidator(_path)]
"""A JMESPath."""


NO_ROW: Final = object()
"""Stands for the subject of what is no row."""


class Page(NamedTuple):
    """The rows of one answer: `columns[i][row]` belongs to `subjects[row]`. `notes` tell what is `NO_ROW`."""

    subjects: list[Any]
    columns: list[list[Any]]
    single: Mapping[str, Any]
    notes: list[str]


class JsonRows:
    """Reads answers. `fields` are looked for in each row, `single` once in the whole answer."""

    def __init__(
        self, rows: str, subject: str | None, fields: Sequence[str], single: Mapping[str, str]
    ) -> None:
        self._rows, self._single = jmespath.compile(rows), dict(single)
        self._subject = None if subject is None else jmespath.compile(subject)
        self._fields = [jmespath.compile(path) for path in fields]
        self._compiled = {name: jmespath.compile(path) for name, path in single.items()}
        self._fast = _Fast.of(rows, subject, fields, single)

    def read(self, body: bytes) -> Page:
        """`msgspec.DecodeError` or `orjson.JSONDecodeError`, both ValueErrors, for what is no JSON."""
        page = None if self._fast is None else self._fast.read(body)
        return self._search(orjson.loads(body)) if page is None else page

    def _search(self, document: Any) -> Page:
        found = self._rows.search(document)
        listed = found if isinstance(found, list) else [found]
        rows = [row if isinstance(row, _ROWS) else None for row in listed]
        notes = [
            f"row {number} is {shown(listed[number])}, an object was expected"
            for number, row in enumerate(rows)
            if row is None
        ]
        return Page(
            [NO_ROW if row is None else self._subject and self._subject.search(row) for row in rows],
            [[path.search(row) for row in rows] for path in self._fields],
            {name: path.search(document) for name, path in self._compiled.items()}, notes,
        )  # fmt: skip


class _Fast(NamedTuple):
    """A decoder for plain names: `places[i]` is where the i-th field stands in a row."""

    decoder: msgspec.json.Decoder[Any]
    rows: str
    columns: Sequence[Callable[[Any], Any]]
    subject: int | None
    places: list[int]
    single: Mapping[str, str]

    @staticmethod
    def of(rows: str, subject: str | None, fields: Sequence[str], single: Mapping[str, str]) -> _Fast | None:
        """None where a path is more than a name."""
        wanted = [*fields, *([] if subject is None else [subject])]
        around = [] if rows == _WHOLE else [rows, *single.values()]
        if not all(map(_NAME.fullmatch, [*wanted, *around])) or (rows == _WHOLE and single):
            return None
        if rows in single.values():
            return None
        names = list(dict.fromkeys(wanted))
        row = msgspec.defstruct(
            "Row", [(f"f{n}", _SIMPLE, None) for n in range(len(names))],
            rename={f"f{n}": name for n, name in enumerate(names)}, gc=False,
        )  # fmt: skip
        kind: Any = list[row]  # type: ignore[valid-type]
        if rows != _WHOLE:
            outer = list(dict.fromkeys(single.values()))
            kind = msgspec.defstruct(
                "Answer", [("rows", kind), *((f"s{n}", _SIMPLE, None) for n in range(len(outer)))],
                rename={"rows": rows, **{f"s{n}": name for n, name in enumerate(outer)}},
            )  # fmt: skip
            single = {name: f"s{outer.index(path)}" for name, path in single.items()}
        at = {name: place for place, name in enumerate(names)}
        place = None if subject is None else at[subject]
        columns = [attrgetter(f"f{number}") for number in range(len(names))]
        return _Fast(msgspec.json.Decoder(kind), rows, columns, place, [at[name] for name in fields], single)

    def read(self, body: bytes) -> Page | None:
        """None for an answer of another shape."""
        try:
            answer = self.decoder.decode(body)
        except msgspec.ValidationError:
            return None
        rows = answer if self.rows == _WHOLE else answer.rows
        if not rows:
            return None
        columns = [list(map(get, rows)) for get in self.columns]
        subjects = [None] * len(rows) if self.subject is None else columns[self.subject]
        single = {name: getattr(answer, path) for name, path in self.single.items()}
        return Page(subjects, [columns[place] for place in self.places], single, [])


def read_json(rows: JsonRows, body: bytes, content_type: str) -> Page:
    """The rows of an answer; `InputError` when it is no JSON."""
    try:
        return rows.read(body)
    except ValueError:
        raise InputError(
            f"the answer is not JSON ({content_type}): {shown(body[:60].decode(errors='replace'))}"
        ) from None
