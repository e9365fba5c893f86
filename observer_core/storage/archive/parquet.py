"""Parquet in memory. pyarrow is an extra, imported when it is first needed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from observer_core.shared.errors import ConfigError, StorageCorrupt

_LEVEL: Final = 19
"""Written once, read for years: zstd's slow end costs a tenth of a second a megabyte here."""
_SOUGHT: Final = ("position", "time_ns", "subject")
"""What queries skip by; what is said of a column besides costs more than it helps in a small file."""
_AT_ONCE: Final = 1_000
"""Values that become Python's while no other thread of the process can run."""
DELTA: Final = "DELTA_BINARY_PACKED"
SPLIT: Final = "BYTE_STREAM_SPLIT"


def arrow() -> Any:
    """The pyarrow module; `ConfigError` where it is not installed."""
    try:
        import pyarrow as found
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed: pip install 'qts-observer[parquet]'"
        ) from None
    return found


def table(columns: Mapping[str, Any]) -> Any:
    """The table that `write` would write."""
    return arrow().table(dict(columns))


def values(column: Any) -> list[Any]:
    """A column as Python has it, in steps between which other threads run."""
    found: list[Any] = []
    for start in range(0, len(column), _AT_ONCE):
        found += column.slice(start, _AT_ONCE).to_pylist()
    return found


def write(columns: Mapping[str, Any], encodings: Mapping[str, str], about: Mapping[str, str]) -> bytes:
    """One row group. Columns without an encoding are dictionaries; `about` is the file's own metadata."""
    from pyarrow import parquet

    pa = arrow()
    table = pa.table(dict(columns)).replace_schema_metadata(dict(about))
    out = io.BytesIO()
    parquet.write_table(
        table, out, compression="zstd", compression_level=_LEVEL, row_group_size=max(1, len(table)),
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=dict(encodings), data_page_size=1 << 26, dictionary_pagesize_limit=1 << 26,
        write_statistics=[name for name in _SOUGHT if name in columns], store_schema=False, version="2.6",
    )  # fmt: skip
    return out.getvalue()


def read(data: bytes, what: str, *, dictionary: str | None = None) -> Any:
    """The table of a file, with one column as a dictionary; `StorageCorrupt` when it is none."""
    from pyarrow import parquet

    pa = arrow()
    try:
        file = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=[dictionary] if dictionary else [])
        return file.read(use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise StorageCorrupt(f"the Parquet of {what} cannot be read: {error}") from None
