"""CSV into columns: cells as Python's `float` reads them, and every fault with its line."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import orjson

from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.exact import ALWAYS_EXACT, inexact
from observer_core.snapshot_engine.names import shown
from observer_core.snapshot_engine.recorded.content import Content, RecordingError
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig
from observer_core.snapshot_engine.recorded.table import NAN, Subjects, Table, Times, check_header, require

Row = list[str]
T = TypeVar("T")
_BATCH_CELLS = 16384
_SAMPLE_ROWS = 200


class CsvRows:
    """The rows of one CSV file from byte `skip` on, where a row must begin (0: with the header).

    `columns` are the header, `fields` the columns to take, `left_out` those that hold text.
    """

    def __init__(self, content: Content, config: RecordingConfig, subjects: Subjects) -> None:
        self._content, self._config, self._subjects = content, config, subjects
        self._path = content.path
        self._times = Times(config.zone)
        sample = self._sample()
        self.columns = [name.strip() for name in sample[0]]
        check_header(self._path, self.columns)
        self.fields, self.left_out = self._choose(sample[1:])

    def read(self, constant: int, skip: int = 0) -> Table:
        """All rows; without a subject column they belong to the subject at place `constant`."""
        config, index = self._config, self.columns.index
        self._time = index(config.time)
        self._subject = None if config.subject is None else index(config.subject)
        self._constant = constant
        self._values = [index(name) for name in self.fields]
        self._table = Table(fields={name: array("d") for name in self.fields})
        blocks = self._content.blocks(skip)
        first = next(blocks, None)
        if first is None:
            return self._table
        texts = (self._decode(line, block) for line, block in chain((first,), blocks))
        lines = chain.from_iterable(io.StringIO(text, newline="\n") for text in texts)
        reader = csv.reader(lines, delimiter=config.delimiter, strict=True)
        line = first[0]
        while skip == 0 and self._batch(reader, 1, line) == [[]]:
            pass  # blank lines before the header, and the header itself
        size = max(1, min(8192, _BATCH_CELLS // len(self.columns)))
        start = line + reader.line_num
        while rows := self._batch(reader, size, start):
            self._take(rows, start)
            start = line + reader.line_num
        return self._table

    def _sample(self) -> list[Row]:
        text = self._decode(1, self._content.head())
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=self._config.delimiter)
        rows: list[Row] = []
        try:
            rows.extend(islice((row for row in reader if row), _SAMPLE_ROWS))
        except csv.Error as error:
            if not rows:
                raise RecordingError(self._path, f"is not CSV: {error}", line=1) from None
        if not rows or not any(cell.strip() for cell in rows[0]):
            raise RecordingError(self._path, "is empty; expected a header line and rows")
        if len(rows) > 2 and not text.endswith("\n"):
            rows.pop()  # it may be torn, and what is torn says nothing about its columns
        return rows

    def _choose(self, sample: list[Row]) -> tuple[list[str], list[str]]:
        config, columns = self._config, self.columns
        require(self._path, "time column", config.time, columns)
        if config.subject is not None:
            require(self._path, "subject column", config.subject, columns)
        if config.fields is not None:
            fields = [name for name in config.fields if name in columns]
            for name in fields:
                require(self._path, "field", name, columns)
            return fields, []
        fields, left_out = [], []
        for place, name in enumerate(columns):
            if name in (config.time, config.subject):
                continue
            first = next((row[place] for row in sample if place < len(row) and row[place].strip()), "0")
            if not _is_number(first):
                left_out.append(name)
                continue
            if not name:
                raise RecordingError(
                    self._path, f"column {place + 1} has no name; name it, or say which fields to take"
                )
            require(self._path, "field", name, columns)
            fields.append(name)
        return fields, left_out

    def _decode(self, line: int, block: bytes) -> str:
        try:
            return block.decode()
        except UnicodeDecodeError as error:
            raise RecordingError(
                self._path,
                f"holds the bytes {block[error.start : error.start + 4]!r}, which are not UTF-8 text; "
                "expected CSV: is this file binary, or in another encoding?",
                line=line + block.count(b"\n", 0, error.start),
            ) from None

    def _batch(self, reader: Iterator[Row], size: int, line: int) -> list[Row]:
        rows: list[Row] = []
        try:
            rows.extend(islice(reader, size))
        except csv.Error as error:
            raise RecordingError(
                self._path, f"is not CSV: {error}; a quote that is opened must be closed in its row",
                line=line + sum(map(_lines_of, rows)),
            ) from None  # fmt: skip
        return rows

    def _take(self, rows: list[Row], line: int) -> None:
        """A batch of rows at once; cell by cell where that fails, to say which cell it was."""
        try:
            stamps, subjects, values = self._all_at_once(rows)
        except (ValueError, InputError):
            stamps, subjects, values = self._one_by_one(rows, line)
        self._keep_exact(rows, values)
        self._table.stamps.extend(stamps)
        self._table.subjects.extend(subjects)
        for column, more in zip(self._table.fields.values(), values, strict=True):
            column.extend(more)

    def _keep_exact(self, rows: list[Row], values: list[array[float]]) -> None:
        """Of cells with more digits than a double has, the text."""
        before, full = len(self._table), [row for row in rows if row]
        for name, place, column in zip(self.fields, self._values, values, strict=True):
            cells = [row[place] for row in full]
            if cells and max(map(len, cells)) > ALWAYS_EXACT:
                kept = {before + number: text for number, text in inexact(cells, column)}
                self._table.exact.setdefault(name, {}).update(kept)

    def _all_at_once(self, rows: list[Row]) -> tuple[array[int], array[int], list[array[float]]]:
        columns = list(zip(*rows, strict=True))
        if rows and len(columns) != len(self.columns):
            raise ValueError
        if not rows:
            return array("q"), array("i"), [array("d") for _ in self._values]
        stamps = array("q", map(self._times.__getitem__, columns[self._time]))
        if self._subject is None:
            subjects = array("i", [self._constant]) * len(rows)
        else:
            subjects = array("i", map(self._subjects.__getitem__, columns[self._subject]))
        return stamps, subjects, [_floats(columns[place]) for place in self._values]

    def _one_by_one(self, rows: list[Row], line: int) -> tuple[array[int], array[int], list[array[float]]]:
        stamps, subjects, values = array("q"), array("i"), [array("d") for _ in self._values]
        for row in rows:
            if row:
                self._check_width(row, line)
                stamps.append(self._cell(row, self._time, line, self._times.__getitem__))
                if self._subject is None:
                    subjects.append(self._constant)
                else:
                    subjects.append(self._cell(row, self._subject, line, self._subjects.__getitem__))
                for column, place in zip(values, self._values, strict=True):
                    column.append(self._cell(row, place, line, _number))
            line += _lines_of(row)
        return stamps, subjects, values

    def _check_width(self, row: Row, line: int) -> None:
        if len(row) != len(self.columns):
            raise RecordingError(
                self._path,
                f"has {len(row):,} cells, expected {len(self.columns):,} as in the header; "
                "a cell may be torn, or hold an unquoted delimiter",
                line=line,
            )

    def _cell(self, row: Row, place: int, line: int, read: Callable[[str], T]) -> T:
        try:
            return read(row[place])
        except InputError as error:
            raise RecordingError(self._path, str(error), line=line, column=self.columns[place]) from None


def _lines_of(row: Row) -> int:
    return 1 + sum(cell.count("\n") for cell in row)


def _floats(cells: tuple[str, ...]) -> array[float]:
    """As `float` reads them, bit for bit; `ValueError` for what is no finite number or nothing.

    Most columns are JSON numbers throughout, and orjson reads those four times as fast.
    What JSON spells otherwise (true, false, an integer -0) takes the long way.
    """
    text = f"[{','.join(cells)},0]"
    if "u" not in text and "s" not in text and "-0," not in text:
        try:
            column = array("d", orjson.loads(text))
        except (ValueError, TypeError):
            pass
        else:
            if len(column) == len(cells) + 1:
                column.pop()
                return column
    column = array("d", [float(cell) if cell else NAN for cell in cells])
    if np.isinf(np.frombuffer(column)).any():
        raise ValueError
    return column


def _number(cell: str) -> float:
    if not cell.strip():
        return NAN
    try:
        number = float(cell)
    except ValueError:
        raise InputError(
            f"found {shown(cell)}, expected a number (or nothing); mend the cell, or leave the column out "
            "by saying which fields to take"
        ) from None
    if number in (float("inf"), float("-inf")):
        raise InputError(f"found {shown(cell)}, expected a finite number (or nothing)")
    return number


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
