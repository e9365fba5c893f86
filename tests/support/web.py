"""An Observer that has something to tell, and a client on its application.

Domain `desk` is a recording: A/USD, B/USD and C/USD with candles, a minute each; B falls silent, A jumps,
which gives patterns, events, incidents and a block. Domain `live` has the sources `feed` (push) and
`host`, an operator's block, an override, a silence and a subscription, at `NOW`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from starlette.testclient import TestClient

from observer_core.runtime import operate
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.ingest import ingest
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.epochs import Build
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.web.app import create_app

MINUTE: Final = 60 * SECOND
NOW: Final = 1_700_000_000 * SECOND
START_NS: Final = 25_380_000 * MINUTE  # 2018-04-04T00:00Z
MINUTES, SILENT_FROM, JUMP_AT = 260, 150, 200
SOURCES: Final[list[dict[str, Any]]] = [
    {"name": "feed", "kind": "push", "max_age": "60s"},
    {"name": "host", "kind": "system", "interval": "1s"},
]
TELL: Final = {
    "name": "ops", "stream": "decisions", "domains": ["live", "desk"], "start": "beginning",
    "sink": {"kind": "webhook", "url": "https://hooks.example/x", "secret": "hunter2"},
}  # fmt: skip


def rows(minutes: range = range(MINUTES)) -> Iterator[str]:
    for minute in minutes:
        for place, name in enumerate(("A/USD", "B/USD", "C/USD")):
            if name == "B/USD" and minute >= SILENT_FROM:
                continue
            price = 100 + 10 * place + 0.05 * ((minute * (7 + place)) % 11 - 5)
            if name == "A/USD" and minute >= JUMP_AT:
                price *= 1.2
            candle = (price - 0.02, price + 0.05, price - 0.05, price, 100 + minute % 7)
            values = ",".join(f"{value:.3f}" for value in candle)
            yield f"{(START_NS // MINUTE + minute) * 60},{name},{values}"


def recording(path: Path, minutes: range = range(MINUTES)) -> Path:
    path.write_text("\n".join(["ts,name,open,high,low,close,volume", *rows(minutes)]) + "\n")
    return path


class Site:
    """The Observer, its application, and a client on this machine.

    `hints`: what was pushed to; `asked`: the journals of stages that were asked something.
    """

    def __init__(
        self, root: Path, storage: Storage | None = None, *,
        runtime: Literal["standalone", "functions"] = "standalone", **settings: Any,
    ) -> None:  # fmt: skip
        self.root = root
        self.clock = ManualClock(NOW)
        self.storage = storage or MemoryStorage()
        chosen = load(root=root, **{"source": SOURCES, "subscription": [TELL], **settings})
        self.observer = Observer(chosen, self.storage, clock=self.clock, build=Build("1.0", "lock"))
        self.gate = Gate(self.observer.journals, self.observer.settings, self.clock)
        self.health = Health(self.observer, self.gate)
        self.metrics = Metrics(self.observer, self.gate)
        self.hints: list[str] = []
        self.asked: list[str] = []
        self.app = create_app(
            self.observer, health=self.health, metrics=self.metrics, gate=self.gate, push=self.hints.append,
            asked=self.asked.append, runtime=runtime,
        )  # fmt: skip
        self.client = TestClient(self.app, base_url="http://localhost:8000", raise_server_exceptions=False)

    def filled(self) -> Site:
        """With all that the module's docstring says."""
        self.record()
        self.collect("feed", "BTC/USDT", "ETH/USDT")
        self.collect("host", "cpu")
        for command, scope, policy in (
            ("block", "subject:ETH/USDT", None), ("override", "subject:DOGE/USDT", None),
        ):  # fmt: skip
            operate.command(
                self.observer.journals, self.clock, "live", command=command, scope=scope, author="anna",
                reason="an exercise", until_ns=NOW + 3600 * SECOND, policy=policy,
            )  # fmt: skip
        silence = {
            "match": {"subjects": ["X*"]}, "start_ns": NOW, "end_ns": NOW + 3600 * SECOND, "author": "anna",
            "reason": "an exercise",
        }  # fmt: skip
        operate.ask(self.observer.journals, "live", "silence", silence, NOW)
        self.work()
        self.health.beat()
        return self

    def record(self, minutes: range = range(MINUTES)) -> None:
        mapping = RecordingConfig(time="ts", subject="name", bar=MINUTE)
        path = recording(self.root / "desk.csv", minutes)
        ingest(self.observer, [path], source="desk", domain="desk", mapping=mapping, batch=100)

    def collect(self, source: str, *subjects: str, field: str = "price") -> None:
        """The subjects' values 1, 2, …, observed now in `live`."""
        now = self.clock.now_ns()
        values = np.arange(1.0, len(subjects) + 1)
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=subjects, fields={field: values}
        )
        self.observer.writer(source, "live", "live", now).write([snapshot])

    def work(self) -> None:
        """The stages of `live` come as far as now."""
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True, flush=True)

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def close(self) -> None:
        self.observer.close()


def assert_problem(response: Any, status: int, *parts: str) -> dict[str, Any]:
    """The response is a problem whose detail has the parts; gives its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    for part in parts:
        assert part in body["detail"], body["detail"]
    return body
