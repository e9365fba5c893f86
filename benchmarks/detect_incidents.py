"""What the incidents of one server are worth: labelled spans found as one, and false ones a day.

python -m benchmarks.detect_incidents ../shared/data

38 metrics a minute through a recogniser and a publisher with default settings. An incident is of
a span when it was open in it; it is false when it was open in none. The delay runs to its first event.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from observer_core.event_bus.publisher import Publisher, PublisherConfig
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Event, Note, Snapshot
from observer_core.shared.stage import Entry

FILE = "system/machine-3-4_test_0-5999.csv.gz"
MINUTE = 60 * SECOND
DAY = 1440
START = 28_000_000 * MINUTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--file", default=FILE)
    given = parser.parse_args()
    names, rows, labels = read(given.data / given.file)
    spans = list(spans_of(labels))
    found = incidents(names, rows)
    hits = [[one for one in found if one[0] <= last and first <= one[1]] for first, last in spans]
    delays = [max(0, of[0][0] - first) for (first, _), of in zip(spans, hits) if of]
    false = [one for one in found if not any(one in of for of in hits)]
    print(f"{len(rows)} minutes of {len(names)} metrics, {len(spans)} labelled spans, {len(found)} incidents")
    print(f"spans found: {sum(map(bool, hits))} of {len(spans)}")
    print(f"incidents a span: {', '.join(str(len(of)) for of in hits)}")
    print(f"delay: {', '.join(f'{delay} min' for delay in delays) or 'none'}")
    print(f"false incidents a day: {len(false) * DAY / len(rows):.2f}")
    for first, last, series, started in found:
        kind = "false" if (first, last, series, started) in false else "found"
        print(f"  {kind} {first:5}–{last:<5} {series:3} series, began with {started}")


def read(path: Path) -> tuple[list[str], list[list[float]], list[bool]]:
    """Names, values and labels; the first column is the minute, the last the label."""
    with gzip.open(path, "rt") as file:
        names, *rows = csv.reader(file)
    return names[1:-1], [[float(x) for x in row[1:-1]] for row in rows], [float(row[-1]) > 0 for row in rows]


def spans_of(labels: list[bool]) -> Iterator[tuple[int, int]]:
    first = None
    for at, label in enumerate([*labels, False]):
        if label and first is None:
            first = at
        elif not label and first is not None:
            yield first, at - 1
            first = None


def incidents(names: list[str], rows: list[list[float]]) -> list[tuple[int, int, int, str]]:
    """Of each: the minutes of its first and last event, how many series, and where it began."""
    recogniser, publisher = Recogniser("server", RecogniserConfig()), Publisher("bench", PublisherConfig())
    learnt, state = recogniser.initial(), publisher.initial()
    published: list[Event | Note] = []
    written = 0
    for at, row in enumerate(rows):
        moment = START + at * MINUTE
        snapshot = Snapshot(
            source="server", event_ns=moment, ingest_ns=moment, subjects=("server",),
            fields={name: np.array([value]) for name, value in zip(names, row)},
        )  # fmt: skip
        for record in recogniser.transition(learnt, Entry("snapshots.server", at + 1, snapshot)):
            written += 1
            published += publisher.transition(state, Entry("patterns.server", written, record))
    published += publisher.advance(state, START + (len(rows) + DAY) * MINUTE)
    told: dict[str, list[Event]] = {}
    for event in published:
        if isinstance(event, Event) and ".incident." in event.type:
            told.setdefault(event.correlationid, []).append(event)
    return [
        (
            (of[0].time_ns - START) // MINUTE, (of[-1].time_ns - START) // MINUTE,
            of[-1].data["series_count"], ", ".join(series[2] for series in of[-1].data["started"]),
        )
        for of in told.values()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
