"""A trading desk on which much has happened in ten hours, made by the real stages; always the same."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np

from observer_core.runtime.audit.ledger import Ledger
from observer_core.runtime.deliveries import deliverer
from observer_core.runtime.study.feedback import judge
from observer_core.shared.clock import parse_time
from observer_core.shared.records import Event
from tests.browser.recorder import HOUR, MINUTE, Recorder, poisonous
from tests.support.market_feed import noise, walk

START_NS: Final = parse_time("2026-03-02T00:00:00Z")
MINUTES: Final = 600
END_NS: Final = START_NS + MINUTES * MINUTE
"""Here it ends; its clock stands at this moment."""

COINS: Final = {
    "BTC/USDT": 68_000.0, "ETH/USDT": 3_500.0, "SOL/USDT": 145.0, "XRP/USDT": 0.61, "DOGE/USDT": 0.16,
    "ADA/USDT": 0.58, "AVAX/USDT": 36.0, "LINK/USDT": 18.0,
}  # fmt: skip
WON: Final = {"BTC/KRW": 95_000_000.0, "ETH/KRW": 4_900_000.0, "XRP/KRW": 850.0, "USDT/KRW": 1_400.0}
SUBJECTS: Final = (*COINS, *WON)

POLICIES: Final = """
[[policy]]
name = "price-shock"
version = 3
owner = "risk"
description = "A price far outside its own recent moves pauses its subject."
match = { types = ["pattern.price_shock"] }
verdict = "block"
scope = "subject"
until = "15m"

[[policy]]
name = "venue-halt"
version = 1
owner = "ops"
description = "A venue whose feed has stopped as a whole is closed until it is heard again."
match = { types = ["feed.halted"] }
verdict = "block"
scope = "source"
until = "resumed"
severity = "critical"

[[policy]]
name = "stale-feed"
version = 1
owner = "ops"
description = "A series that stopped reporting cannot be traded on until it reports again."
match = { types = ["feed.stale"] }
verdict = "block"
scope = "subject"
until = "resumed"
severity = "critical"

[[policy]]
name = "source-unavailable"
version = 1
owner = "ops"
description = "A source that does not answer closes everything it observes until it answers again."
match = { types = ["feed.unavailable"] }
verdict = "block"
scope = "source"
until = "resumed"
severity = "critical"

[[policy]]
name = "drawdown"
version = 1
owner = "risk"
description = "A fall from the peak is judged; it blocks nothing by itself."
match = { types = ["pattern.drawdown"] }
verdict = "judgment"
scope = "subject"
severity = "critical"
"""
SETTINGS: Final = """
[control]
two_person = ["release", "unkill"]

[[source]]
name = "binance"
kind = "market"
exchange = "binance"
symbols = [{coins}]
data = "candles"
timeframe = "1m"
interval = "60s"
max_age = "3m"

[[source]]
name = "upbit"
kind = "market"
exchange = "upbit"
symbols = [{won}]
fields = ["last", "bid", "ask", "volume"]
interval = "60s"
max_age = "3m"

[[source]]
name = "host"
kind = "system"
interval = "60s"
host = "trader-1"
max_age = "3m"

[[source]]
name = "rates"
kind = "push"
interval = "60s"
max_age = "3m"

[[source]]
name = "kospi"
kind = "recording"
domain = "kospi"
paths = ["kospi.csv"]

[source.mapping]
time = "date"
zone = "Asia/Seoul"
subject_name = "KS200"
fields = ["open", "high", "low", "close", "volume"]
bar = "1d"

[[subscription]]
name = "journal"
stream = "events"
domains = ["live"]
start = "beginning"
sink = {{ kind = "file", path = "data/events.ndjson" }}

[[subscription]]
name = "pager"
stream = "decisions"
domains = ["live"]
verdicts = ["block"]
sink = {{ kind = "webhook", url = "https://pager.example/hook", secret = "a secret that nobody may see" }}
"""
SHOCK, DRAWDOWN, HALT, POISON, BURIED, LATE = 300, (360, 420), (450, 475), 520, 530, 594
"""The minutes of the story: SOL falls; ADA slides; upbit stops; a record breaks its stage; a delivery is
given up; BTC falls."""


def make(folder: Path) -> None:
    """Ten hours of twelve pairs on two venues, a machine, a pushed source, and a recorded index."""
    names = {"coins": ", ".join(f'"{name}"' for name in COINS), "won": ", ".join(f'"{name}"' for name in WON)}
    recorder = Recorder(folder, START_NS, SETTINGS.format(**names), POLICIES)
    kospi(folder / "kospi.csv")
    recorder.ingest()
    recorder.command("kill", "*", "jin", "the study is over, nobody may act on it", domain="kospi")
    recorder.observer.domain("kospi").decider.pump(refresh=True, flush=True)
    story = _Story(recorder)
    for minute in range(1, MINUTES + 1):
        story.minute(minute)
    _afterwards(recorder)
    recorder.close()


class _Story:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        length = MINUTES + 1
        self._coins = {
            name: walk(length, seed=place, start=price)
            for place, (name, price) in enumerate(COINS.items(), 11)
        }
        self._won = {
            name: walk(length, seed=place, start=price, step_bp=2.0)
            for place, (name, price) in enumerate(WON.items(), 31)
        }
        self._some = noise(97)
        self._bend()

    def _bend(self) -> None:
        """Makes happen what is to happen."""
        for minute in range(SHOCK, MINUTES + 1):
            self._coins["SOL/USDT"][minute] *= 0.93
        first, last = DRAWDOWN
        for minute in range(first, MINUTES + 1):
            self._coins["ADA/USDT"][minute] *= 1.0 - 0.09 * min(1.0, (minute - first) / (last - first))
        for name, share in (("BTC/USDT", 0.955), ("ETH/USDT", 0.95), ("LINK/USDT", 0.94)):
            for minute in range(LATE, MINUTES + 1):
                self._coins[name][minute] *= share

    def minute(self, minute: int) -> None:
        recorder, now = self._recorder, START_NS + minute * MINUTE
        with recorder.at(now):
            recorder.collect("binance", self._candles(minute), event_ns=now - MINUTE)
            recorder.collect("upbit", {} if HALT[0] <= minute < HALT[1] else self._tickers(minute))
            if minute <= MINUTES - 5:
                recorder.collect("host", self._machine())
            self._rates(minute)
            self._people(minute)

    def _candles(self, minute: int) -> dict[str, dict[str, float | None]]:
        fields: dict[str, dict[str, float | None]] = {
            name: {} for name in ("open", "high", "low", "close", "volume")
        }
        for name, prices in self._coins.items():
            before, price = prices[minute - 1], prices[minute]
            wick = abs(next(self._some)) * 2e-4 * price
            fields["open"][name], fields["close"][name] = round(before, 6), round(price, 6)
            fields["high"][name] = round(max(before, price) + wick, 6)
            fields["low"][name] = round(min(before, price) - wick, 6)
            moved = 1.0 + 400.0 * abs(price / before - 1.0)
            fields["volume"][name] = round((40.0 + 5.0 * next(self._some)) * moved * 1000.0 / price**0.5, 3)
        return fields

    def _tickers(self, minute: int) -> dict[str, dict[str, float | None]]:
        last = {name: round(prices[minute], 2) for name, prices in self._won.items()}
        if minute > MINUTES - 40:
            del last["XRP/KRW"]
        return {
            "last": {**last}, "bid": {name: round(price * 0.9998, 3) for name, price in last.items()},
            "ask": {name: round(price * 1.0002, 3) for name, price in last.items()},
            "volume": {name: round(900.0 + 40.0 * next(self._some), 2) for name in last},
        }  # fmt: skip

    def _machine(self) -> dict[str, dict[str, float | None]]:
        return {
            "cpu.utilization": {"trader-1": round(min(1.0, 0.31 + 0.02 * next(self._some)), 4)},
            "memory.utilization": {"trader-1": round(0.52 + 0.001 * next(self._some), 4)},
        }

    def _rates(self, minute: int) -> None:
        recorder = self._recorder
        if minute > MINUTES - 12:
            recorder.collect(
                "rates", {}, status="unavailable", error="HTTP 503 from rates.example: maintenance"
            )
            return
        price = round(1_390.0 + 0.4 * next(self._some), 3)
        if minute != POISON:
            recorder.collect("rates", {"price": {"USD/KRW": price}})
            return
        with poisonous("EUR/KRW"):
            recorder.collect("rates", {"price": {"EUR/KRW": price}})
            recorder.observer.domain("live").work("rates", refresh=True, flush=True)

    def _people(self, minute: int) -> None:
        recorder = self._recorder
        if minute == BURIED:
            recorder.bury("pager", "decisions.live@2", "HTTP 410 Gone")
        if minute == 545:
            reason = "listing rumour, not before it is confirmed"
            recorder.command("block", "subject:DOGE/USDT", "jin", reason, recorder.now_ns + 4 * HOUR)
        if minute == 570:
            recorder.silence("XRP/*", "jin", "the exchange has announced it", 2 * HOUR)
        if minute == 597:
            reason = "hedge of the open position only"
            recorder.command("override", "subject:LINK/USDT", "mira", reason, recorder.now_ns + 30 * MINUTE)
        if minute == 598:
            recorder.command("release", "subject:DOGE/USDT", "mira", "the rumour was denied")


def _afterwards(recorder: Recorder) -> None:
    """What people and machines make of it: a word on a pattern, deliveries, an anchor, logs."""
    observer = recorder.observer
    events = [
        entry for entry in observer.journals.open("events.live").scan() if isinstance(entry.record, Event)
    ]
    shock = next(entry for entry in events if entry.record.type.endswith("pattern.price_shock"))
    judge(observer.journals, recorder.clock, shock.ref, right=True, author="mira", note="a real fall")
    told = deliverer(observer, "journal", "live")
    told.pump()
    told.close()
    Ledger(observer.journals, recorder.clock, None).anchor()
    recorder.log("observer", "started", port=8000, sources=["binance", "upbit", "host", "rates", "kospi"])
    recorder.log(
        "observer", "collection failed", "warning", source="rates", error="HTTP 503 from rates.example"
    )
    for minute in range(60):
        recorder.log("snapshot", "snapshot", source="binance", values=40, minute=minute)
    recorder.log("pattern", "pattern", pattern="price_shock", subject="BTC/USDT", score=0.74)
    recorder.log("decision", "decision", verdict="block", scope="subject:BTC/USDT", policy="price-shock")


def kospi(path: Path) -> None:
    """Three hundred trading days that end with a fall."""
    prices = walk(301, seed=71, start=340.0, step_bp=70.0)
    some, day = noise(5), np.datetime64("2024-11-04")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", "open", "high", "low", "close", "volume"])
        for number in range(1, 301):
            day = np.busday_offset(day, 1)
            before, price = prices[number - 1], prices[number] * (0.88 if number > 290 else 1.0)
            wick = abs(next(some)) * 0.004 * price
            ends = [before, max(before, price) + wick, min(before, price) - wick, price]
            rows.writerow([str(day), *(f"{end:.2f}" for end in ends), round(400_000 + 20_000 * next(some))])
