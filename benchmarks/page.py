"""`make bench`: what the page costs who looks at it, in a real Chromium, held against the budgets.

500 subjects with a month of minutes are made first (about two minutes; `--minutes` makes less of it).
Then: until the board can be used, in a fresh browser profile each time; what all views weigh; how soon a
decision is on the page after its commit; how soon a dead server is noticed; whether anything jumps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from observer_core.shared.records import Snapshot
from tests.browser import large
from tests.browser.chromium import ChromiumMissing, launched
from tests.browser.desk import POLICIES, START_NS
from tests.browser.recorder import MINUTE, Recorder
from tests.browser.served import Process, Site
from tests.browser.tab import VIEWS, Tab

MONTH = 30 * 24 * 60
BATCH = 60
SETTINGS = """
[[source]]
name = "wide"
kind = "push"
interval = "60s"
max_age = "3m"
"""
USABLE = f"""document.documentElement.dataset.live === "live" && !document.querySelector(".skeleton")
    && document.querySelector("main").textContent.includes("{large.MANY[0]}")"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=MONTH)
    parser.add_argument("--contexts", type=int, default=10)
    parser.add_argument("--decisions", type=int, default=20)
    options = parser.parse_args()
    try:
        measure(options)
    except ChromiumMissing as missing:
        print(f"SKIPPED: {missing}")


def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, launched() as browser:
        folder = Path(name) / "month"
        started = time.perf_counter()
        end_ns = month(folder, options.minutes)
        rows = options.minutes * len(large.MANY)
        print(f"made {rows:,} rows in {time.perf_counter() - started:.0f} s", flush=True)
        process = Process(folder, end_ns)
        try:
            usable(browser, process, options.contexts)
            weight(browser, process)
            noticed(browser, process, 5)
        finally:
            process.kill()
        site = Site(folder, end_ns, running=True)
        try:
            decisions(browser, site, options.decisions)
        finally:
            site.close()


def month(folder: Path, minutes: int) -> int:
    """So many minutes of 500 prices; when they end."""
    recorder = Recorder(folder, START_NS, SETTINGS, POLICIES)
    random = np.random.Generator(np.random.PCG64(7))
    prices = 10.0 + 190.0 * random.random(len(large.MANY))
    for first in range(1, minutes + 1, BATCH):
        batch = []
        for minute in range(first, min(first + BATCH, minutes + 1)):
            prices *= 1.0 + 3e-4 * random.standard_normal(prices.size)
            now = START_NS + minute * MINUTE
            batch.append(
                Snapshot(source="wide", event_ns=now, ingest_ns=now, subjects=large.MANY,
                         fields={"price": prices.round(4)})
            )  # fmt: skip
        recorder.clock.set(batch[0].ingest_ns)
        with recorder.at(batch[-1].ingest_ns):
            recorder.observer.writer("wide", "live", "live", batch[0].ingest_ns).write(batch)
    recorder.close()
    return START_NS + minutes * MINUTE


def usable(browser: Browser, process: Process, contexts: int) -> None:
    """From the address to a board that can be read and filtered; nothing is in any cache."""
    seconds, shifts = [], []
    for turn in range(contexts + 1):
        tab = Tab(browser, process.url)
        started = time.perf_counter()
        tab.page.goto(tab.address("now"))
        tab.eventually(USABLE, pause=0.005)
        if turn:  # the first one warms the server up
            seconds.append(time.perf_counter() - started)
        tab.page.wait_for_timeout(1_500)
        shifts.append(sum(shift["value"] for shift in tab.shifted()))
        tab.close()
    told("first view usable", seconds, 1.0)
    print(f"{'layout shift after load, worst':44} {max(shifts):9.4f}     budget   0.0200")


def weight(browser: Browser, process: Process) -> None:
    """What is sent over the wire, headers left out, until every view has been seen once."""
    tab = Tab(browser, process.url)
    files: dict[str, int] = {}
    first = 0
    for view in VIEWS:
        tab.goto(view)
        files = _bytes(tab, files)
        first = first or sum(files.values())
    data = sum(
        found.request.sizes()["responseBodySize"]
        for found in tab.responses
        if "/v1/" in found.url and found.status == 200
    )
    tab.context.close()
    print(f"{'page, first view, as sent, KB':44} {first / 1024:9.1f}")
    print(f"{'page, all views, as sent, KB':44} {sum(files.values()) / 1024:9.1f}     budget 400.0000")
    print(f"{'data of the API meanwhile, KB':44} {data / 1024:9.1f}")
    for path, size in sorted(files.items(), key=lambda item: -item[1])[:5]:
        print(f"    {path:40} {size / 1024:9.1f}")


def _bytes(tab: Tab, known: dict[str, int]) -> dict[str, int]:
    found = dict(known)
    for response in tab.responses:
        path = response.url.removeprefix(tab.url)
        if not path.startswith("/v1/"):
            found[path] = max(found.get(path, 0), response.request.sizes()["responseBodySize"])
    return found


def noticed(browser: Browser, process: Process, times: int) -> None:
    """From the server's death to a page that says so."""
    seconds = []
    for _ in range(times):
        tab = Tab(browser, process.url)
        tab.allow(".")
        tab.goto("now")
        process.kill()
        started = time.perf_counter()
        tab.eventually("document.documentElement.dataset.live !== 'live'", pause=0.005)
        seconds.append(time.perf_counter() - started)
        tab.close()
        process.start()
    told("dead server noticed", seconds, 3.0)


def decisions(browser: Browser, site: Site, count: int) -> None:
    """From the commit of a decision (as the journal shows it) to a page that shows the block."""
    tab = Tab(browser, site.url)
    tab.goto("now")
    seconds = []
    for number in range(count):
        scope = f"subject:{large.MANY[200 + number]}"
        position = site.observer.journals.open("decisions.live").head().position
        reason = f"measured {number:03}"
        body = {"command": "block", "scope": scope, "author": "bench", "reason": reason}
        request = urllib.request.Request(
            f"{site.url}/v1/commands", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        while site.observer.journals.open("decisions.live").head().position == position:
            time.sleep(0.002)
        started = time.perf_counter()
        tab.eventually(f"document.querySelector('main').textContent.includes('{reason}')", pause=0.005)
        seconds.append(time.perf_counter() - started)
        time.sleep(0.37)  # not in step with how often the page asks
    tab.close()
    told("decision visible after its commit", seconds, 2.0)


def told(what: str, seconds: Sequence[float], budget: float) -> None:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    print(
        f"{f'{what}, s (p50, p95, max of {len(ordered)})':44} {statistics.median(ordered):9.3f} {p95:.3f} "
        f"{ordered[-1]:.3f}     budget {budget:8.4f}", flush=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
