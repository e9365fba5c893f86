"""What it costs that the Observer says how it is: of a quiet tick, of a line's place, of a scrape.

Variants of a tick take turns tick by tick, each on its own folder, so that they meet the same machine.
The snapshots' bytes are the same in all of them.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.core import WARM, ticks
from observer_core.logs.context import enter, leave
from observer_core.runtime import settings
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.telemetry import export
from observer_core.runtime.telemetry.telemetry import Telemetry
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.storage.memory import MemoryStorage

VARIANTS = ("nothing", "metrics", "metrics, sent", "metrics and all traces", "metrics and traces of 1 %")


class Dropped(SpanExporter):
    """Takes spans and forgets them: what is measured is the making of them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=1500)
    parser.add_argument("--sources", type=int, default=1000)
    options = parser.parse_args()
    print(f"{'':56} {'p50, us':>8} {'more, us':>9} {'ratio':>7}")
    for subjects in (1, 100, 1_000):
        quiet_ticks(subjects, options.ticks)
    places()
    scrape(options.sources)


def observer_of(folder: Path, variant: str) -> Observer:
    sample = 0.01 if variant.endswith("1 %") else 1.0
    it = Observer.local(
        settings.load(root=folder, durability="normal", config_dir=Path("none"), telemetry={"sample": sample})
    )
    if variant == "nothing":
        return it
    metrics = Metrics(it)
    Telemetry(it, metrics)
    if variant == "metrics, sent":
        export.metrics(it, metrics, InMemoryMetricReader())
    if "traces" in variant:
        it.trace(export.tracing(it, BatchSpanProcessor(Dropped())))
    return it


def quiet_ticks(subjects: int, count: int) -> None:
    names = tuple(f"SYM{index:05d}/USDT" for index in range(subjects))
    spent: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with ExitStack() as stack:
        works: dict[str, Callable[[Snapshot], None]] = {}
        for variant in VARIANTS:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")))
            it = observer_of(Path(folder), variant)
            domain = it.domain("live")
            domain.declare("live", 0)
            works[variant] = worker(it)
            stack.callback(it.close)
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)  # as the standalone runtime does
        for index, (when, columns, news) in enumerate(ticks(subjects, count + WARM)):
            order = VARIANTS[index % len(VARIANTS) :] + VARIANTS[: index % len(VARIANTS)]
            for variant in order:
                snapshot = Snapshot(
                    source="bench", event_ns=when, ingest_ns=when, subjects=names,
                    fields={name: column.copy() for name, column in columns.items()},
                )  # fmt: skip
                started = time.perf_counter()
                works[variant](snapshot)
                if index >= WARM and not news:
                    spent[variant].append(time.perf_counter() - started)
        gc.unfreeze()
    base = statistics.median(spent["nothing"])
    for variant, seconds in spent.items():
        found = statistics.median(seconds)
        print(
            f"{f'quiet tick, {subjects} subjects x 2: {variant}':56} {found * 1e6:8.1f} "
            f"{(found - base) * 1e6:9.1f} {found / base:6.3f}x",
            flush=True,
        )


def worker(it: Observer) -> Callable[[Snapshot], None]:
    domain, writer = it.domain("live"), it.writer("bench", "live", "live", 0)

    def tick(snapshot: Snapshot) -> None:
        with it.step():
            writer.write([snapshot])
            domain.work("bench")

    return tick


def places() -> None:
    """To say where the work stands, and to find that nobody traces: a stage's turn."""
    says = dict

    def said() -> None:
        leave(enter(says))

    def looked() -> None:
        if it.tracing is not None:
            raise AssertionError

    it = Observer(settings.load(config_dir=Path("none")), MemoryStorage())
    empty = each(lambda: None)
    print(f"\n{'to say where the work stands, ns':56} {(each(said) - empty) * 1e9:8.0f}")
    print(f"{'to find that nothing is traced, ns':56} {(each(looked) - empty) * 1e9:8.0f}")


def each(work: Callable[[], None], count: int = 200_000) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, (time.perf_counter() - started) / count)
    return best


def scrape(sources: int) -> None:
    """`/metrics` of an Observer with so many live sources, on files."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        it = Observer.local(
            settings.load(root=Path(folder), durability="normal", config_dir=Path("none"))
        )  # fmt: skip
        metrics = Metrics(it)
        Telemetry(it, metrics)
        domain = it.domain("live")
        now = it.clock.now_ns()
        for second in range(3):
            for number in range(sources):
                at = now + second * SECOND
                one = Snapshot(
                    source=f"s{number}", event_ns=at, ingest_ns=at, subjects=("A", "B"),
                    fields={"price": np.array([1.0 + second, 2.0])},
                )  # fmt: skip
                with it.step():
                    it.writer(f"s{number}", "live", "live", at).write([one])
            domain.refresh()
            with it.step():
                domain.tick()
                domain.work(refresh=True, flush=True)
        spent = []
        for _ in range(20):
            started = time.perf_counter()
            text = metrics.render()
            spent.append(time.perf_counter() - started)
        series = sum(not line.startswith(b"#") for line in text.splitlines())
        print(
            f"\n{f'a scrape, {sources:,} sources ({series:,} lines)':56} "
            f"{statistics.median(spent) * 1e3:8.1f} ms"
        )
        it.close()


if __name__ == "__main__":
    main()
