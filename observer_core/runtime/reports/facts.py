"""All figures of a day or a week, gathered from the records: the same records, the same figures."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.gate.report import NonExecution, non_execution
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reports.decided import Decided, decided
from observer_core.runtime.reports.feeds import Feed, feeds
from observer_core.runtime.reports.happened import Incidents, incidents
from observer_core.runtime.reports.period import Kind, Period, period
from observer_core.runtime.reports.precision import precision, words
from observer_core.runtime.reports.silences import Silences, silences
from observer_core.runtime.reports.stretch import Stretches, Volume
from observer_core.runtime.reports.told import Spread, Told, told
from observer_core.runtime.reports.upkeep import (
    Anchors,
    Change,
    Upkeep,
    anchors,
    changes,
    commits,
    growth,
    upkeep,
)
from observer_core.runtime.reports.uptime import Uptime, uptime
from observer_core.runtime.settings import Settings
from observer_core.runtime.study.cost import Prices
from observer_core.runtime.study.feedback import Precision
from observer_core.shared.errors import InputError
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER
from observer_core.storage.recovery import OPERATIONS

Tell = Callable[[str], None]
_SHARED = (LEDGER, OPERATIONS, "deadletters.live")


@dataclass(frozen=True, slots=True)
class Ground:
    """What reports are made from. `pace`: rests, where others need the interpreter too."""

    journals: Journals
    settings: Settings
    gate: Gate
    pace: Pace | None = None
    tell: Tell = field(default=lambda what: None)

    def now_ns(self, domain: str) -> int:
        """The domain's present: the clock's time, or as far as its recordings have come."""
        return self.gate.now_ns(domain)

    def domain(self, chosen: str | None = None) -> str:
        """`chosen`, or the live one, or the only one; `InputError` where that is none."""
        known = self.gate.domains()
        if not known:
            raise InputError("there are no records of any source yet; a report needs some")
        if chosen is not None and chosen not in known:
            raise InputError(f"there is no domain {chosen!r}; known are {', '.join(known)}")
        if chosen is None and len(known) > 1 and not self.gate.is_live(known[0]):
            raise InputError(f"a report is of one domain; say --domain, one of {', '.join(known)}")
        return chosen or known[0]

    def began_ns(self, domain: str) -> int:
        """When the first record of a source was known."""
        found = []
        for name in self.journals.names("snapshots", domain):
            journal = self.journals.open(name)
            base = journal.base()
            if base.position:
                found.append(base.began_ns)
            elif journal.head().position:
                found.append(journal.entry(1).time_ns)
        if not found:
            raise InputError(f"domain {domain} has no records of any source yet; a report needs some")
        return min(found)

    def period(self, kind: Kind, domain: str, date: str | None) -> Period:
        """`InputError` for one that has not begun, or that was over before there was anything."""
        assert kind != "control"
        zone = self.settings.reports.zone
        found = period(kind, zone, self.now_ns(domain), date)
        began_ns = self.began_ns(domain)
        if found.end_ns <= began_ns:
            from observer_core.runtime.reports.period import day_of

            raise InputError(
                f"domain {domain} has no records of {found.first_day}: its first are of "
                f"{day_of(began_ns, zone)} ({zone})" + ("" if date else "; say --date")
            )
        return found


@dataclass(slots=True)
class Facts:
    """`commits`: those to all journals; `money`: what they cost on an account at least, by `prices`."""

    domain: str
    live: bool
    period: Period
    uptime: Uptime | None
    feeds: list[Feed]
    silences: Silences
    incidents: Incidents
    decided: Decided
    asked: NonExecution
    told: Told
    precision: list[Precision]
    volumes: list[Volume]
    commits: int
    on_account: bool
    money: float
    prices: Prices
    anchors: Anchors
    upkeep: Upkeep
    changes: list[Change]

    @property
    def gone(self) -> list[Volume]:
        """Journals of whose records of the period retention has removed some."""
        return [volume for volume in self.volumes if volume.gone_ns is not None]


def gather(ground: Ground, domain: str, period: Period) -> Facts:
    """Reads every journal of the domain once, and what is before the period as far as something may stand."""
    journals, settings, gate, tell = ground.journals, ground.settings, ground.gate, ground.tell
    live = gate.is_live(domain)
    stretches = Stretches(journals, period, ground.pace)
    tell("clock")
    up = uptime(stretches, domain, settings.heartbeat.gap) if live else None
    tell("snapshots")
    found_feeds = list(feeds(stretches, settings, gate, domain))
    tell("patterns")
    silent = silences(stretches, domain)
    said = words(stretches, domain)
    tell("events")
    happened = incidents(stretches, domain, said)
    tell("decisions")
    decisions = decided(stretches, domain)
    asked = non_execution(journals, domain, since_ns=period.start_ns, until_ns=period.until_ns)
    tell("deliveries")
    deliveries = told(stretches, domain, live=live)
    tell("the rest")
    found_anchors, looked_after = anchors(stretches), upkeep(stretches)
    names = sorted({*journals.names(domain=domain), *(name for name in _SHARED if journals.domain_of(name))})
    # What got its first record later is not a part of this.
    names = [name for name in names if stretches.volume(name).last]
    volumes, count = growth(stretches, names), commits(stretches, names)
    prices = Prices.load()
    appended = sum(volume.records > 0 for volume in volumes)
    money = count * (prices.of("table.transaction") + (prices.of("blob.append") if appended else 0.0))
    return Facts(
        domain=domain, live=live, period=period, uptime=up, feeds=found_feeds, silences=silent,
        incidents=happened, decided=decisions, asked=asked, told=deliveries,
        precision=precision(stretches, said, silent.patterns), volumes=volumes, commits=count,
        on_account=settings.storage.kind != "local", money=money, prices=prices, anchors=found_anchors,
        upkeep=looked_after, changes=changes(stretches, names),
    )  # fmt: skip


def plain(value: Any) -> Any:
    """Figures as JSON values: what is behind a spread of latencies is left out."""
    from dataclasses import fields, is_dataclass

    if isinstance(value, Spread):
        p50, p95, p99, greatest = value.quantiles()
        return {
            "n": len(value), "p50_ns": p50, "p95_ns": p95, "p99_ns": p99, "max_ns": greatest,
            "over_5s": value.beyond(), "bins": value.bins(), "slowest": value.slowest,
        }  # fmt: skip
    if isinstance(value, NonExecution):
        return value.to_json()
    if isinstance(value, Prices):
        return value.canonical()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else " ".join(map(str, key)): plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | array):
        return [plain(item) for item in value]
    return value
