"""NDJSON into columns: one flat object a line; a key that first comes late is a column from then on."""

from __future__ import annotations

from array import array
from typing import Any

import orjson

from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.recorded.content import Content, RecordingError
from observer_core.snapshot_engine.recorded.mapping import MAX_COLUMNS, RecordingConfig
from observer_core.snapshot_engine.recorded.table import NAN, Subjects, Table, Times


class NdjsonRows:
    """The rows of one NDJSON file. `columns` and `left_out` are known after `read`."""

    def __init__(self, content: Content, config: RecordingConfig, subjects: Subjects) -> None:
        self._content, self._config, self._subjects = content, config, subjects
        self._path = content.path
        self._times = Times(config.zone)
        self.columns: list[str] = []
        self.left_out: list[str] = []

    def read(self, constant: int, skip: int = 0) -> Table:
        table = Table()
        for line, block in self._content.blocks(skip):
            for number, text in enumerate(block.split(b"\n"), start=line):
                if text.strip():
                    self._take(table, constant, number, self._object(text, number))
        for column in table.fields.values():
            _fill(column, len(table))
        if self._config.fields is not None:
            self.columns = [name for name in self._config.fields if name in table.fields]
        else:
            self.columns = list(table.fields)
        return table

    def _object(self, text: bytes, line: int) -> dict[str, Any]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise RecordingError(self._path, f"is not JSON: {error}", line=line) from None
        if not isinstance(value, dict):
            raise RecordingError(
                self._path, f"found {shown(value)}, expected one JSON object a line, such as "
                '{"time": "2018-04-05T00:01:00Z", "price": 6778.01}', line=line,
            )  # fmt: skip
        return value

    def _take(self, table: Table, constant: int, line: int, row: dict[str, Any]) -> None:
        config, rows = self._config, len(table)
        table.stamps.append(self._stamp(row, line))
        table.subjects.append(constant if config.subject is None else self._place(row, config.subject, line))
        for name, value in row.items():
            if name in (config.time, config.subject):
                continue
            if config.fields is not None and name not in config.fields:
                continue
            column = table.fields.get(name)
            if type(value) is float or type(value) is int:
                if column is None:
                    if name in self.left_out:
                        continue
                    column = self._new_column(table, name, line)
                _fill(column, rows)
                column.append(value)
            elif value is not None:
                if column is not None or config.fields is not None:
                    raise RecordingError(
                        self._path, f"found {shown(value)}, expected a number or null; mend it, or leave the "
                        "column out by saying which fields to take", line=line, column=name,
                    )  # fmt: skip
                if name not in self.left_out:
                    self._check_count(table, line)
                    self.left_out.append(name)

    def _new_column(self, table: Table, name: str, line: int) -> array[float]:
        if problem := fault(name):
            raise RecordingError(self._path, f"the key {shown(name)} {problem}", line=line)
        self._check_count(table, line)
        return table.fields.setdefault(name, array("d"))

    def _check_count(self, table: Table, line: int) -> None:
        if len(table.fields) + len(self.left_out) >= MAX_COLUMNS:
            raise RecordingError(
                self._path,
                f"has more than {MAX_COLUMNS:,} different keys; say which fields to take",
                line=line,
            )

    def _stamp(self, row: dict[str, Any], line: int) -> int:
        value = row.get(self._config.time)
        if value is None or isinstance(value, bool | list | dict):
            raise RecordingError(
                self._path, f"has no time in the key {self._config.time!r}; it has the keys: "
                + ", ".join(list(row)[:40]), line=line,
            )  # fmt: skip
        try:
            return self._times[value if isinstance(value, str) else repr(value)]
        except InputError as error:
            raise RecordingError(self._path, str(error), line=line, column=self._config.time) from None

    def _place(self, row: dict[str, Any], key: str, line: int) -> int:
        value = row.get(key)
        if not isinstance(value, str):
            raise RecordingError(
                self._path, f"found {shown(value)} as the subject, expected text", line=line, column=key
            )
        try:
            return self._subjects[value]
        except InputError as error:
            raise RecordingError(self._path, str(error), line=line, column=key) from None


def _fill(column: array[float], rows: int) -> None:
    if len(column) < rows:
        column.extend([NAN] * (rows - len(column)))
