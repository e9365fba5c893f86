"""`make bench`: a snapshot through all four stages, and replay, beside the machine's own limit.

Every line is measured in this run, on this machine, in a temporary folder. Quiet ticks
give no pattern; news ticks confirm a price that has jumped, and end in a committed decision.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.limit import Limit
from observer_core.pattern_record.config import Frequency, RecogniserConfig
from observer_core.pattern_record.market.config import Market
from observer_core.runtime import settings
from observer_core.runtime.audit.replay import replay
from observer_core.runtime.ingest import ingest
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Snapshot
from observer_core.snapshot_engine.sources.recording import RecordingConfig

FIELDS = ("price", "volume")
NEWS_EVERY = 20
WARM = 600
"""Ticks before anything is measured: buffers, statements, learnt baselines."""
FOUR = RecogniserConfig(market=Market(prices=()), frequency=Frequency(enabled=False))
"""A jump is a spike at once then, so the tick with news is the one that jumps."""
RECORDING = Path(__file__).parent.parent / "examples" / "sp500-2000.csv"


@dataclass
class Run:
    """Seconds of each tick and the process' CPU over all of them."""

    quiet: list[float]
    news: list[float]
    cpu: float
    values: int

    def line(self, name: str, floor: Run | None = None) -> str:
        ticks = self.quiet + self.news
        ratio = f"{_median(self.quiet) / _median(floor.quiet):5.2f}x" if floor else "     -"
        news = (
            f"{_median(self.news) * 1e6:7.0f} {_at(self.news, 0.99) * 1e6:7.0f}"
            if self.news
            else "      -       -"
        )
        return (
            f"{name:44} {_median(self.quiet) * 1e6:8.0f} {_at(self.quiet, 0.99) * 1e6:8.0f} {ratio} {news} "
            f"{self.values / sum(ticks) / 1e6:8.2f} {self.cpu / self.values * 1e6:8.2f}"
        )


HEADER = (
    f"{'':44} {'quiet tick, us':>17} {'/limit':>6} {'news tick, us':>15} {'Mobs/s':>8} {'CPU s':>8}\n"
    f"{'':44} {'p50':>8} {'p99':>8} {'p50':>6} {'p50':>7} {'p99':>7} {'':>8} {'/Mobs':>8}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=1500, help="hot ticks a line")
    parser.add_argument("--paced", type=float, default=12.0, help="seconds a paced line takes")
    parser.add_argument(
        "--only", choices=("ticks", "replay", "four"), help="four: the lines with four detectors alone"
    )
    options = parser.parse_args()
    if options.only == "four":
        print(HEADER)
        four_detectors(options)
        return
    if options.only != "replay":
        print(HEADER)
        for subjects in (100, 1_000, 10_000):
            count = options.ticks if subjects <= 1_000 else options.ticks // 5
            for durability in ("normal", "full"):
                compare(subjects, durability, count, None)
        for durability in ("normal", "full"):
            compare(1_000, durability, round(options.paced * 50), 0.02)
        four_detectors(options)
    if options.only != "ticks":
        print(f"\n{'replay from stored segments':44} {'records':>9} {'seconds':>8} {'Mobs/s':>8}")
        replay_recording()
        for subjects in (100, 1_000):
            replay_synthetic(subjects, 2_000 if subjects == 100 else 1_000)
        replay_week()


def four_detectors(options: argparse.Namespace) -> None:
    """The budgets of the core: spike, level shift, variance shift, stale and flat, and nothing else."""
    for durability in ("normal", "full"):
        compare(1_000, durability, options.ticks, None, FOUR)
        compare(1_000, durability, round(options.paced * 50), 0.02, FOUR)


def compare(
    subjects: int, durability: str, count: int, pace: float | None, detectors: RecogniserConfig | None = None
) -> None:
    """The limit and the Observer, in turns of equal length, so that both meet the same machine."""
    what = f"{subjects} subjects x {len(FIELDS)}, {durability}, {'hot' if pace is None else '50 ticks/s'}"
    if detectors is not None:
        what += ", four"
    floor = Run([], [], 0.0, 0)
    mine = Run([], [], 0.0, 0)
    turns = 3 if pace is None else 1
    for _ in range(turns):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            _add(floor, run_limit(Path(folder), subjects, durability, count // turns, pace))
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            _add(mine, run_observer(Path(folder), subjects, durability, count // turns, pace, detectors))
    print(floor.line(f"limit     {what}"))
    print(mine.line(f"observer  {what}", floor), flush=True)


def run_limit(root: Path, subjects: int, durability: str, count: int, pace: float | None) -> Run:
    names = _names(subjects)
    limit = Limit(root / "limit", names, len(FIELDS), full=durability == "full")
    with Beside(limit.sync):
        found = _drive(
            ticks(subjects, count + WARM), lambda when, columns, _: limit.tick(when, columns), pace
        )
    limit.close()
    return found


def run_observer(
    root: Path,
    subjects: int,
    durability: str,
    count: int,
    pace: float | None,
    detectors: RecogniserConfig | None = None,
) -> Run:
    (root / "policies.toml").write_text(_POLICIES)
    observer = Observer.local(
        settings.load(
            root=root,
            durability=durability,
            policies=Path("policies.toml"),
            config_dir=Path("none"),
            recognise=detectors or RecogniserConfig(),
        )
    )
    names = _names(subjects)
    domain = observer.domain("live")
    domain.declare("live", 0)
    writer = observer.writer("bench", "live", "live", 0)

    def tick(when: int, columns: dict[str, np.ndarray], news: bool) -> None:
        snapshot = Snapshot(source="bench", event_ns=when, ingest_ns=when, subjects=names, fields=columns)
        with observer.step():
            writer.write([snapshot])
            domain.work("bench")

    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as the standalone runtime does
    with Beside(observer.journals.sync):
        found = _drive(ticks(subjects, count + WARM, at_once=detectors is not None), tick, pace)
    decided = sum(isinstance(e.record, Decision) for e in observer.journals.open("decisions.live").scan())
    if decided < len(found.news):
        raise SystemExit(f"{len(found.news)} news ticks gave only {decided} decisions: not comparable")
    observer.close()
    return found


def ticks(
    subjects: int, count: int, at_once: bool = False
) -> Iterator[tuple[int, dict[str, np.ndarray], bool]]:
    """Seeded series around a level; after the warm-up a price jumps every 20th tick, another one each time.

    The tick after it, which says whether that was a bad print, is the one with news; `at_once`, itself.
    """
    random = np.random.default_rng(7)
    base = np.round(random.uniform(50, 200, subjects), 2)
    for index in range(count):
        price = np.round(base + random.normal(0, 0.05, subjects), 2)
        volume = np.round(random.uniform(1, 9, subjects), 3)
        if index >= WARM and index % NEWS_EVERY == 0:
            jumped = (index // NEWS_EVERY * 7) % subjects
            base[jumped] *= 1.5
            price[jumped] = round(price[jumped] * 1.5, 2)
        news = index > WARM and index % NEWS_EVERY == (0 if at_once else 1)
        yield (1_700_000_000 + index) * SECOND, {"price": price, "volume": volume}, news


def _drive(
    source: Iterator[tuple[int, dict[str, np.ndarray], bool]],
    tick: Callable[[int, dict[str, np.ndarray], bool], None],
    pace: float | None,
) -> Run:
    found = Run([], [], 0.0, 0)
    cpu_before = 0.0
    next_at = time.perf_counter()
    for index, (when, columns, news) in enumerate(source):
        if index == WARM:
            cpu_before, next_at = _cpu(), time.perf_counter()
        if pace is not None and index >= WARM:
            next_at += pace
            time.sleep(max(0.0, next_at - time.perf_counter()))
        cpu = _cpu() if pace is None else 0.0
        started = time.perf_counter()
        tick(when, columns, news)
        spent = time.perf_counter() - started
        if index >= WARM:
            (found.news if news else found.quiet).append(spent)
            found.values += sum(column.size for column in columns.values())
            if pace is None:
                found.cpu += _cpu() - cpu
    if pace is not None:
        found.cpu = _cpu() - cpu_before
    return found


def replay_recording() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        observer = Observer.local(settings.load(root=Path(folder), durability="normal"))
        mapping = RecordingConfig(time="date", zone="UTC", bar=86_400 * SECOND)
        added = ingest(observer, [RECORDING], source="sp500", domain="sp500", mapping=mapping)
        _replay(observer, "sp500", "sp500", "shipped recording, 1 subject x 6", added.observations)


def replay_synthetic(subjects: int, count: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        observer = Observer.local(settings.load(root=Path(folder), durability="normal"))
        names = _names(subjects)
        writer = observer.writer("bench", "bench", "recorded", 0)
        values = 0
        batch = []
        for when, columns, _ in ticks(subjects, count):
            batch.append(
                Snapshot(source="bench", event_ns=when, ingest_ns=when, subjects=names, fields=columns)
            )
            values += sum(column.size for column in columns.values())
            if len(batch) == 50:
                writer.write(batch)
                batch = []
        observer.domain("bench").work(refresh=True, flush=True)
        _replay(observer, "bench", "bench", f"synthetic, {subjects} subjects x {len(FIELDS)}", values)


def replay_week(subjects: int = 100) -> None:
    """A week of minutes: prices that wander, a shock now and then, an hour in which a third is silent."""
    minutes = 7 * 24 * 60
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        observer = Observer.local(settings.load(root=Path(folder), durability="normal"))
        names = _names(subjects)
        writer = observer.writer("bench", "bench", "recorded", 0)
        random = np.random.default_rng(11)
        price = random.uniform(50, 200, subjects)
        batch, values = [], 0
        for minute in range(minutes):
            price *= 1.0 + random.normal(0, 0.0005, subjects)
            if minute % 700 == 699:
                price[minute % subjects] *= 0.95
            volume = np.round(random.gamma(2.0, 3.0, subjects), 3)
            shown = np.round(price, 2)
            if 5000 <= minute < 5060:
                shown[::3] = volume[::3] = np.nan
            when = (1_700_000_000 + 60 * minute) * SECOND
            fields = {"price": shown, "volume": volume}
            batch.append(
                Snapshot(source="bench", event_ns=when, ingest_ns=when, subjects=names, fields=fields)
            )
            values += 2 * subjects
            if len(batch) == 60:
                writer.write(batch)
                batch = []
        writer.write(batch)
        observer.domain("bench").work(refresh=True, flush=True)
        seconds = _replay(observer, "bench", "bench", f"a week of minutes, {subjects} subjects x 2", values)
        print(f"{'':44} {60 * minutes / seconds:,.0f} times real time", flush=True)


def _replay(observer: Observer, source: str, domain: str, name: str, values: int) -> float:
    started = time.perf_counter()
    results = [
        replay(observer.journals, journal, observer.build.version)
        for journal in (f"patterns.{source}", f"events.{domain}", f"decisions.{domain}")
    ]
    seconds = time.perf_counter() - started
    if not all(result.equal for result in results):
        raise SystemExit(f"replay differs: {results}")
    records = sum(result.records for result in results)
    print(f"{name:44} {records:9,} {seconds:8.3f} {values / seconds / 1e6:8.2f}", flush=True)
    observer.close()
    return seconds


class Beside:
    """Runs `work` every second in a thread, as the standalone runtime does."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._stop = work, threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.wait(1.0):
            self._work()


def _add(total: Run, part: Run) -> None:
    total.quiet += part.quiet
    total.news += part.news
    total.cpu += part.cpu
    total.values += part.values


def _names(subjects: int) -> tuple[str, ...]:
    return tuple(f"SYM{index:05d}/USDT" for index in range(subjects))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def _at(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_POLICIES = """
[[policy]]
name = "shock"
version = 1
owner = "bench"
description = "Every price shock, and every spike where there are none, blocks its subject."
match = { types = ["pattern.price_shock", "pattern.spike"] }
verdict = "block"
scope = "subject"
until = "15m"
"""

if __name__ == "__main__":
    main()
