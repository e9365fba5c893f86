"""`make soak`: the Functions app for some minutes, 4 workers and 8 sources a second, on Azurite.

Prints a line a minute: snapshots, how far each stage lags, what the queues hold, memory. Ends with 1
when lag or memory grow from the second minute on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

from observer_core.storage.azure import AzureStorage
from observer_core.storage.journals import Journals
from tests.functions.conftest import configured
from tests.support import azurite
from tests.support.functions_host import FunctionsHost

SOURCES = 8
WORKERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    minutes = parser.parse_args().minutes
    with azurite.running() as connection, tempfile.TemporaryDirectory() as folder:
        settings = configured(Path(folder), connection, "soak")
        _sources(Path(folder))
        storage = AzureStorage.connect(
            {"AzureWebJobsStorage": connection}, prefix="soak", queues_as_named=True
        )
        host = FunctionsHost(settings, workers=WORKERS)
        host.start(pollers=2)
        for seconds, name in ((1.0, "collect"), (10.0, "clock"), (300.0, "sweep")):
            host.every(seconds, name)
        print("minute  snapshots  lag s: recognise  publish  decide  queued  failed       MB")
        lines = []
        try:
            began = time.monotonic()
            for minute in range(1, minutes + 1):
                lines.append(_minute(host, storage, began + 60 * minute, minute))
        finally:
            host.stop()
        journals = Journals(storage, worker="reader")
        stored = {f"s{n}": journals.open(f"snapshots.s{n}").head().position - 1 for n in range(SOURCES)}
        print(f"snapshots a source: {min(stored.values())} to {max(stored.values())} of {60 * minutes}")
        counts = host.counts
        print(f"messages given {counts.given}, failed {counts.failed}, poisoned {counts.poisoned}")
        for failure in sorted(set(host.failures))[:10]:
            print(f"  {failure[:200]}")
    lag, memory = ([line[place] for line in lines[1:]] for place in (0, 1))
    grown = len(lag) > 3 and (lag[-1] > max(15.0, 2 * lag[0]) or memory[-1] > 1.1 * memory[0] + 20)
    sys.exit(1 if grown or host.counts.poisoned else 0)


def _sources(folder: Path) -> None:
    text = 'name = "s{0}"\nkind = "system"\ninterval = "1s"\nhost = "h{0}"\nfile_systems = []\n'
    sources = "".join(f"\n[[source]]\n{text.format(number)}" for number in range(SOURCES))
    (folder / "config" / "observer.toml").write_text(f'policies = "policies.toml"\n{sources}')


def _minute(host: FunctionsHost, storage: AzureStorage, until: float, minute: int) -> tuple[float, float]:
    worst = {"patterns": 0.0, "events": 0.0, "decisions": 0.0}
    while time.monotonic() < until:
        time.sleep(min(5.0, max(0.1, until - time.monotonic())))
        journals, now = Journals(storage, worker="reader"), time.time_ns()
        for kind, before in worst.items():
            lags = [(now - journals.open(name).head().through_ns) / 1e9 for name in journals.names(kind)]
            if minute > 1:
                worst[kind] = max(before, *lags)
    snapshots = sum(journals.open(name).head().position for name in journals.names("snapshots"))
    memory = sum(psutil.Process(worker.process.pid).memory_info().rss for worker in host.running) / 2**20
    queued = sum(host.lengths().values())
    told = f"{worst['patterns']:17.1f} {worst['events']:8.1f} {worst['decisions']:7.1f}"
    print(f"{minute:6} {snapshots:10} {told} {queued:7} {host.counts.failed:7} {memory:8.0f}", flush=True)
    return worst["decisions"], memory


if __name__ == "__main__":
    main()
