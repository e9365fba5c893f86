"""A small desk over two days, written by the real stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.deliveries import deliverer
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reports.facts import Ground
from observer_core.runtime.study.feedback import judge
from observer_core.shared.clock import SECOND, ManualClock, parse_time
from observer_core.shared.records import Decision, Event
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.browser.recorder import MINUTE, Recorder, settings_of

START_NS = parse_time("2026-03-02T15:00:00Z")  # midnight of the 3rd in Seoul
DAY_NS = 86_400 * SECOND
STEP, MINUTES = 5, 36 * 60
SETTINGS = """
[heartbeat]
gap = "10m"

[control]
two_person = ["unkill"]

[reports]
zone = "Asia/Seoul"
lang = "ko"
cases = ["config/cases.toml"]

[[source]]
name = "desk"
kind = "push"
interval = "5m"
max_age = "15m"

[[source]]
name = "rates"
kind = "push"
interval = "5m"
max_age = "15m"

[[intent]]
name = "everybody"
price_collar = 5.0

[[subscription]]
name = "pager"
stream = "decisions"
domains = ["live"]
start = "beginning"
sink = { kind = "file", path = "data/decisions.ndjson" }
"""
POLICIES = """
[[policy]]
name = "source-unavailable"
version = 2
owner = "ops"
description = "A source that does not answer closes everything it observes."
match = { types = ["feed.unavailable"] }
verdict = "block"
scope = "source"
until = "resumed"

[[policy]]
name = "price-shock"
version = 1
owner = "risk"
description = "A price far outside its own recent moves pauses its subject."
match = { types = ["pattern.price_shock"] }
verdict = "block"
scope = "subject"
until = "15m"
"""
CASES = """
[[case]]
name = "a source that does not answer is closed"
[[case.steps]]
at = "0s"
event = "feed.unavailable"
source = "desk"
expect = [{ verdict = "block", policy = "source-unavailable" }]
"""
DOWN, GONE, SHOCK = range(300, 330), range(1500, 1560), 900
"""Minutes in which `rates` fails, in which the Observer does not run, and from which A is a tenth lower."""
HOSTILE = "<script>alert(1)</script> | `x` \u202e"


def write(folder: Path) -> None:
    recorder = Recorder(folder, START_NS, SETTINGS, POLICIES)
    (folder / "config/cases.toml").write_text(CASES)
    for minute in range(0, MINUTES, STEP):
        if minute in GONE:
            continue
        with recorder.at(START_NS + minute * MINUTE):
            price = 100.0 + 0.05 * ((minute // STEP * 7) % 11 - 5)
            fall = 0.9 if minute >= SHOCK else 1.0
            recorder.collect("desk", {"price": {"A": round(price * fall, 3), "B": round(price + 50, 3)}})
            if minute in DOWN:
                recorder.collect("rates", {}, status="unavailable", error="HTTP 503 " + HOSTILE)
            else:
                recorder.collect("rates", {"rate": {"KRW": 1400.0 + minute % 7}})
            if minute == 600:
                recorder.command("kill", "subject:B", "mira", f"a test of the switch {HOSTILE}")
            if minute == 610:
                recorder.command("unkill", "subject:B", "mira", "the test is over")
        if minute == 615:
            told = deliverer(recorder.observer, "pager", "live")
            told.pump()
            told.close()
    journals = recorder.observer.journals
    shocks = [
        entry
        for entry in journals.open("events.live").scan()
        if isinstance(entry.record, Event) and entry.record.type.endswith("price_shock")
    ]
    judge(journals, recorder.clock, shocks[0].ref, right=True, author="mira")
    recorder.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the desk. For reading only."""
    folder = tmp_path_factory.mktemp("reported")
    write(folder)
    return folder


def opened(folder: Path, now_ns: int) -> Iterator[Ground]:
    settings = settings_of(folder)
    storage = LocalStorage(settings.paths.data, durability="normal")
    journals = Journals(storage, worker="reader")
    yield Ground(journals, settings, Gate(journals, settings, ManualClock(now_ns)))
    storage.close()


@pytest.fixture
def ground(written: Path) -> Iterator[Ground]:
    """The desk at the end of its 36 hours."""
    yield from opened(written, START_NS + MINUTES * MINUTE)


def decision(number: int, verdict: Any, scope: str, policy: str, time_ns: int, **more: Any) -> Decision:
    reason = {"code": more.pop("code", "matched"), "text": f"why {number}", **more.pop("reason", {})}
    return Decision(
        id=f"{number:032x}", verdict=verdict, scope=scope, policy=policy, policy_version=1, time_ns=time_ns,
        reasons=(reason,), causation=(), severity="critical", **more,
    )  # fmt: skip
