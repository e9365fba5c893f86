"""What packing makes of recorded snapshots, bytes a value, beside other ways to keep the same numbers.

Recordings are taken in as `observer ingest` does; every line of them is packed, read back and compared.
The other ways keep the values alone (and times, once a snapshot): no subjects, flags, origins, commits.
Without --data only series made here are measured; pcodec only where it is installed (`make peers`).
"""

from __future__ import annotations

import argparse
import gzip
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.runtime import settings
from observer_core.runtime.ingest import ingest
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot, SnapshotDecoder
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.archive.pack import pack, unpack
from observer_core.storage.rows import CommitRow

OHLCV = ("open", "high", "low", "close", "volume")
QUOTES = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close"))
HOUR_NS = 3600 * SECOND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with market/*.csv.gz")
    options = parser.parse_args()
    ways = dict(_ways())
    print(f"{'bytes a value':44} {'values':>9} {'packed':>7} {'numbers':>7} "
          f"{' '.join(f'{name:>9}' for name in ways)} {'pack':>7} {'unpack':>7} Mvalues/s")  # fmt: skip
    for name, rows, lines in _journals(options.data):
        _line(name, rows, lines, ways)


def _line(
    name: str, rows: list[CommitRow], lines: list[bytes], ways: dict[str, Callable[[Series], int]]
) -> None:
    started = time.perf_counter()
    files = pack("snapshots.x", rows, lines)
    packed = time.perf_counter() - started
    started = time.perf_counter()
    unpack(files, rows[0].previous, "")
    unpacked = time.perf_counter() - started
    series = Series.of(lines)
    count = series.count
    others = " ".join(f"{way(series) / count:9.2f}" for way in ways.values())
    total = sum(map(len, files.values()))
    print(
        f"{name:44} {count:9,} {total / count:7.2f} {len(files['values']) / count:7.2f} {others} "
        f"{count / packed / 1e6:7.2f} {count / unpacked / 1e6:7.2f}", flush=True,
    )  # fmt: skip


class Series:
    """The numbers of a journal, series by series in time, and its lines."""

    def __init__(
        self, lines: list[bytes], times: list[int], columns: dict[str, list[NDArray[np.float64]]]
    ) -> None:
        self.lines, self.times, self.columns = lines, times, columns
        self.count = sum(int(np.isfinite(one).sum()) for found in columns.values() for one in found)

    @staticmethod
    def of(lines: list[bytes]) -> Series:
        decoder = SnapshotDecoder()
        found: dict[tuple[str, str], list[float]] = {}
        times = []
        for line in lines:
            record = decoder(line)
            if isinstance(record, Snapshot):
                times.append(record.ingest_ns)
                for field, column in record.fields.items():
                    for subject, value in zip(record.subjects, column.tolist()):
                        found.setdefault((field, subject), []).append(value)
        columns: dict[str, list[NDArray[np.float64]]] = {}
        for (field, _), values in sorted(found.items()):
            array = np.array(values)
            columns.setdefault(field, []).append(array[np.isfinite(array)])
        return Series(lines, times, columns)


def _ways() -> Iterator[tuple[str, Callable[[Series], int]]]:
    yield "lines", lambda s: sum(len(line) + 1 for line in s.lines)
    yield "gzip/hour", _gzip_hours
    yield "parquet", lambda s: _parquet(s, "PLAIN")
    yield "split", lambda s: _parquet(s, "BYTE_STREAM_SPLIT")
    try:
        from pcodec import ChunkConfig, standalone
    except ImportError:
        return

    def pcodec(series: Series) -> int:
        config = ChunkConfig(compression_level=8)
        arrays = [np.concatenate(found) for found in series.columns.values()]
        times = np.array(series.times, np.int64)
        return sum(len(standalone.simple_compress(array, config)) for array in [*arrays, times])

    yield "pcodec", pcodec


def _gzip_hours(series: Series) -> int:
    hours: dict[int, list[bytes]] = {}
    for line, when in zip(series.lines[-len(series.times) :], series.times):
        hours.setdefault(when // HOUR_NS, []).append(line)
    return sum(len(gzip.compress(b"\n".join(found), 9)) for found in hours.values())


def _parquet(series: Series, encoding: str) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    size = 0
    columns = {name: np.concatenate(found) for name, found in series.columns.items()}
    for name, column in [*columns.items(), ("", np.array(series.times, np.int64))]:
        out = io.BytesIO()
        how = encoding if name else "DELTA_BINARY_PACKED"
        parquet.write_table(
            pa.table({"value": column}), out, compression="zstd", compression_level=19, use_dictionary=False,
            column_encoding={"value": how}, write_statistics=False,
        )  # fmt: skip
        size += len(out.getvalue())
    return size


def _journals(data: Path | None) -> Iterator[tuple[str, list[CommitRow], list[bytes]]]:
    yield from (_made(subjects) for subjects in (10, 100))
    for path in sorted((data / "market").glob("*.csv.gz")) if data else ():
        fields = OHLCV if "trades" in path.name else QUOTES
        yield _recorded(path, fields)


def _recorded(path: Path, fields: tuple[str, ...]) -> tuple[str, list[CommitRow], list[bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        observer = Observer.local(
            settings.load(root=Path(folder), config_dir=Path("none"), durability="normal")
        )
        mapping = RecordingConfig(time="ts", subject="series", fields=fields, bar=60 * SECOND, stamp="open")
        ingest(observer, [path], source="x", domain="d", mapping=mapping)
        return _read(observer, path.name.removesuffix(".csv.gz"))


def _made(subjects: int) -> tuple[str, list[CommitRow], list[bytes]]:
    """A day of minutes: prices that wander by the cent, volumes to the thousandth."""
    with tempfile.TemporaryDirectory() as folder:
        observer = Observer.local(
            settings.load(root=Path(folder), config_dir=Path("none"), durability="normal")
        )
        writer = observer.writer("x", "d", "recorded", 0)
        random = np.random.default_rng(5)
        names = tuple(f"SYM{index:05d}/USDT" for index in range(subjects))
        price = random.uniform(50, 200, subjects)
        batch = []
        for minute in range(1440):
            price *= 1 + random.normal(0, 0.0005, subjects)
            when = (1_700_006_400 + 60 * minute) * SECOND
            columns = {"price": np.round(price, 2), "volume": np.round(random.gamma(2.0, 3.0, subjects), 3)}
            batch.append(Snapshot(source="x", event_ns=when, ingest_ns=when, subjects=names, fields=columns))
        writer.write(batch)
        return _read(observer, f"a day of minutes, {subjects} subjects x 2")


def _read(observer: Observer, name: str) -> tuple[str, list[CommitRow], list[bytes]]:
    journal: Any = observer.journals.open("snapshots.x")
    rows = list(journal.rows())
    lines = [line for _, found in journal.raw() for line in found]
    observer.close()
    return name, rows, lines


if __name__ == "__main__":
    main()
