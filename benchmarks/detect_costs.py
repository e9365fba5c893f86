"""What all detectors together cost an observation, beside river's three simple ones on the same numbers.

    python -m benchmarks.detect_costs

The recogniser over snapshots that were built beforehand: with the defaults, with the anomaly score too, on
market data, where a subject has bid, ask, last and volume, so four series and four observations a snapshot,
and with change points, for as many series as may be watched (4,096). Quiet, seeded numbers, five minutes
apart, after two days of them; the few records that they give all the same are counted. river, where it is
installed: a z-score by exponentially weighted mean and variance, Page-Hinkley and ADWIN a series, fed a
value at a time. Times are CPU time, the least and the median of the repeats, ours and theirs in turns, in
one process; `n` counts subjects.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.detect_peers import ABSENT, River, installed
from observer_core.pattern_record.config import AnomalyPattern, ChangePointPattern, RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Column, Snapshot
from observer_core.shared.stage import Entry

SIZES = (1, 64, 1_024, 10_000)
RIVER_SIZES = (1, 64)
CADENCE_NS = 300 * SECOND
WARM = 2 * 288 + 30
REPEATS = 7
STEPS = 4_000
"""Snapshots a repeat, at most; for many series fewer: 40,000 observations, but 24 snapshots at least."""
MUST = {1: 60_000.0, 64: 1_500.0, 1_024: 600.0, 10_000: 600.0}
GOAL = {1: 20_000.0, 64: 800.0, 1_024: 250.0, 10_000: 200.0}
BYTES_MUST, BYTES_GOAL = 20_000.0, 8_000.0
HEADER = (
    f"{'ns an observation':36} {'n':>7} {'least':>9} {'median':>9} {'river':>7} {'river/ours':>10} "
    f"{'records':>8} {'bytes a series':>14}   must 60 us, 1.5 us, 600, 600 ns; goal 20 us, 800, 250, 200 ns"
)
Columns = dict[str, Column]
Feed = Iterator[Columns]


def judged(value: float, must: float, goal: float) -> str:
    """What is said of a cost."""
    return "goal met" if value <= goal else "must met" if value <= must else "MISSED"


def noise(n: int) -> Feed:
    """Bounded noise around a level of each series' own: nothing that anybody would want to hear of."""
    random = np.random.Generator(np.random.PCG64(n))
    level = random.uniform(50.0, 200.0, n)
    while True:
        yield {"load": level + random.uniform(-1.0, 1.0, n)}


def market(n: int) -> Feed:
    """Prices that wander by 5 basis points a step, under a spread and a volume without surprises."""
    random = np.random.Generator(np.random.PCG64(n))
    price, spread = random.uniform(50.0, 200.0, n), random.uniform(1e-4, 4e-4, n)
    while True:
        price = price * (1.0 + 5e-4 * random.uniform(-1.7, 1.7, n))
        half = price * spread * random.uniform(0.4, 0.6, n)
        volume = random.uniform(50.0, 150.0, n)
        yield {"bid": price - half, "ask": price + half, "last": price, "volume": volume}


class Way(Protocol):
    def ready(self, rows: Sequence[Columns]) -> None:
        """Brings rows into the form that is worked."""

    def work(self) -> int:
        """What is timed; how many records it gave."""


@dataclass
class Timed:
    """One way over `series` series: nanoseconds an observation of each repeat, and its records in all."""

    way: Way
    series: int
    found: int = 0
    ns: list[float] = field(default_factory=list)

    def repeat(self, rows: Sequence[Columns]) -> None:
        self.way.ready(rows)
        started = time.thread_time()
        self.found += self.way.work()
        self.ns.append((time.thread_time() - started) / len(rows) / self.series * 1e9)


class Ours:
    """The recogniser, fed snapshots."""

    def __init__(self, config: RecogniserConfig, n: int) -> None:
        self._names = tuple(f"S{number:05d}" for number in range(n))
        self._recogniser, self._position = Recogniser("bench", config), 0
        self._state = self._recogniser.initial()
        self._entries: list[Entry] = []

    def ready(self, rows: Sequence[Columns]) -> None:
        first = self._position
        self._position += len(rows)
        self._entries = [
            Entry("snapshots.bench", at, Snapshot(
                source="bench", event_ns=at * CADENCE_NS, ingest_ns=at * CADENCE_NS,
                subjects=self._names, fields=row,
            )) for at, row in enumerate(rows, first + 1)
        ]  # fmt: skip

    def work(self) -> int:
        transition, state = self._recogniser.transition, self._state
        found = 0
        for entry in self._entries:
            found += len(transition(state, entry))
        return found

    def bytes(self) -> int:
        return len(self._recogniser.dump(self._state))


class Rivers:
    """river's detectors, each series' own, fed floats."""

    def __init__(self, series: int) -> None:
        self._detectors = [River() for _ in range(series)]
        self._rows: list[list[float]] = []

    def ready(self, rows: Sequence[Columns]) -> None:
        self._rows = [np.concatenate(list(row.values())).tolist() for row in rows]

    def work(self) -> int:
        for row in self._rows:
            for detector, value in zip(self._detectors, row):
                detector.observe(value)
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="how many series, or subjects")
    sizes = parser.parse_args().sizes
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as the standalone runtime does
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load before: {load}")
    if not installed():
        print(ABSENT)
    scored = RecogniserConfig(anomaly=AnomalyPattern())
    everything = RecogniserConfig(anomaly=AnomalyPattern(), change_points=ChangePointPattern(most=4096))
    print(
        f"{'ns an observation':36} {'n':>7} {'least':>9} {'median':>9} {'river':>7} {'river/ours':>10}",
        end="",
    )
    print(
        f" {'records':>8} {'bytes a series':>14}   must 60 us, 1.5 us, 600, 600 ns; goal 20 us, 800, 250, 200"
    )
    ways: tuple[tuple[str, RecogniserConfig, Callable[[int], Feed], int, bool], ...] = (
        ("defaults", RecogniserConfig(), noise, 1, False),
        ("with the anomaly score", scored, noise, 1, True),
        ("market data, with the anomaly score", scored, market, 4, True),
        ("anomaly score and change points", everything, noise, 1, True),
    )
    for title, config, feed, width, judge in ways:
        for n in sizes:
            measure(title, config, feed(n), n, width, judge=judge)


def measure(title: str, config: RecogniserConfig, feed: Feed, n: int, width: int, *, judge: bool) -> None:
    ours = Ours(config, n)
    series = n * width
    runs = [Timed(ours, series)]
    if n in RIVER_SIZES and installed():
        runs.append(Timed(Rivers(series), series))
    for start in range(0, WARM, 32):
        _repeat(runs, feed, min(32, WARM - start))
    for run in runs:
        run.found, run.ns = 0, []
    for _ in range(REPEATS):
        _repeat(runs, feed, max(24, min(STEPS, 40_000 // series)))
    mine = runs[0]
    least, median, size = min(mine.ns), statistics.median(mine.ns), ours.bytes() / series
    theirs = min(runs[1].ns) if len(runs) > 1 else None
    compared = f"{theirs:7,.0f} {theirs / least:9.2f}x" if theirs else f"{'-':>7} {'-':>10}"
    said = ""
    if judge and n in MUST:
        said = f"   cost: {judged(median, MUST[n], GOAL[n])}, memory: {judged(size, BYTES_MUST, BYTES_GOAL)}"
    print(
        f"{title:36} {n:7,} {least:9,.0f} {median:9,.0f} {compared} {mine.found:8,} {size:14,.0f}{said}",
        flush=True,
    )


def _repeat(runs: Sequence[Timed], feed: Feed, steps: int) -> None:
    """All over the same rows, one after the other, so that they meet the same machine."""
    rows = [next(feed) for _ in range(steps)]
    for run in runs:
        run.repeat(rows)


if __name__ == "__main__":
    main()
