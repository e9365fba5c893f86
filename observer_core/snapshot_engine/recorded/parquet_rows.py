"""Parquet into columns. Needs pyarrow, which is imported only here and only when asked for."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import shown
from observer_core.snapshot_engine.recorded.content import RecordingError
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig
from observer_core.snapshot_engine.recorded.table import Subjects, Table, Times, check_header, require

if TYPE_CHECKING:
    from types import ModuleType

_NS_OF_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class ParquetRows:
    """The rows of one Parquet file; `columns`, `fields` and `left_out` as for CSV."""

    def __init__(self, path: str, config: RecordingConfig, subjects: Subjects) -> None:
        self._path, self._config, self._subjects = path, config, subjects
        self._arrow = _pyarrow(path)
        self._times = Times(config.zone)
        try:
            self._file: Any = self._arrow.parquet.ParquetFile(path)
        except (OSError, self._arrow.ArrowException) as error:
            raise RecordingError(path, f"is not a readable Parquet file: {error}") from None
        schema = self._file.schema_arrow
        self.columns: list[str] = schema.names
        check_header(path, self.columns)
        require(path, "time column", config.time, self.columns)
        if config.subject is not None:
            require(path, "subject column", config.subject, self.columns)
        others = [name for name in self.columns if name not in (config.time, config.subject)]
        numeric = [name for name in others if self._is_number(schema.field(name).type)]
        self.fields = numeric if config.fields is None else [n for n in config.fields if n in others]
        self.left_out = [] if config.fields is not None else [n for n in others if n not in numeric]
        for name in self.fields:
            require(path, "field", name, self.columns)
            if name not in numeric:
                raise RecordingError(
                    path, f"holds {schema.field(name).type}, expected numbers; take other fields", column=name
                )

    def read(self, constant: int) -> Table:
        table = Table(fields={name: array("d") for name in self.fields})
        wanted = [self._config.time, *([self._config.subject] if self._config.subject else []), *self.fields]
        try:
            for batch in self._file.iter_batches(batch_size=65_536, columns=wanted):
                self._take(table, constant, batch)
        except (OSError, self._arrow.ArrowException) as error:
            raise RecordingError(self._path, f"cannot be read: {error}") from None
        return table

    def _take(self, table: Table, constant: int, batch: Any) -> None:
        row = len(table) + 1
        stamps = self._stamps(batch.column(self._config.time), row)
        if self._config.subject is None:
            table.subjects.extend([constant] * len(stamps))
        else:
            texts = batch.column(self._config.subject).to_pylist()
            table.subjects.extend(
                self._one(self._subjects, t, row + i, "subject") for i, t in enumerate(texts)
            )
        table.stamps.extend(stamps)
        for name, column in table.fields.items():
            values = self._numbers(batch.column(name))
            if (infinite := np.isinf(values)).any():
                raise RecordingError(
                    self._path, f"row {row + int(infinite.argmax())} is infinite, expected a number or null",
                    column=name,
                )  # fmt: skip
            column.frombytes(values.tobytes())

    def _numbers(self, column: Any) -> NDArray[np.float64]:
        column = column.cast(self._arrow.float64(), safe=False)
        values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
        return values

    def _stamps(self, column: Any, row: int) -> list[int]:
        types, kind = self._arrow.types, column.type
        if column.null_count:
            missing = column.is_null().to_pylist().index(True)
            raise RecordingError(self._path, f"row {row + missing} has no time", column=self._config.time)
        if types.is_timestamp(kind) and (kind.tz is not None or self._config.zone == "UTC"):
            scale = _NS_OF_UNIT[kind.unit]
            return [value * scale for value in column.cast(self._arrow.int64()).to_pylist()]
        texts = column.cast(self._arrow.string()).to_pylist()
        return [self._one(self._times, text, row + i, "time") for i, text in enumerate(texts)]

    def _one(self, places: Subjects | Times, text: object, row: int, what: str) -> int:
        if not isinstance(text, str):
            raise RecordingError(self._path, f"row {row} has {shown(text)} as its {what}, expected text")
        try:
            return places[text]
        except InputError as error:
            raise RecordingError(self._path, f"row {row}, {what}: {error}") from None

    def _is_number(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _pyarrow(path: str) -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RecordingError(
            path, "is a Parquet file; reading it needs pyarrow: install the extra, qts-observer[parquet]"
        ) from None
    module: ModuleType = pyarrow
    return module
