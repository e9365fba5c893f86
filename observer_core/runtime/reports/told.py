"""Who was told, how fast, and what was not delivered.

The alert latency of a record is the time from its own time, the moment at which the snapshot (or the
request, or the end that was due) that it follows from was knowable, to the recorded end of the attempt
that delivered it. An attempt begins after the record was committed, so the time up to its begin
bounds that of the whole chain: collecting, recognising, publishing, deciding, routing, waiting and retries.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.automation.dead_letters import JOURNAL as LETTERS
from observer_core.runtime.reading.lines import time_of
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND

LIMIT_NS: Final = 5 * SECOND
BOUNDS_MS: Final = (10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
"""Upper ends of the histogram's bins; one more is beyond the last."""
MOST: Final = 200_000
"""So many records that were told of are looked up, of each subscription and stream; the newest."""
_DONE: Final = ("delivered", "already_delivered", "folded", "expired")


@dataclass(slots=True)
class Spread:
    """Latencies in nanoseconds, exact: how many, quantiles, and bins by `BOUNDS_MS`."""

    values: array[int] = field(default_factory=lambda: array("q"))
    slowest_ns: int = 0
    slowest: str = ""

    def add(self, value_ns: int, record: str) -> None:
        self.values.append(value_ns)
        if value_ns > self.slowest_ns or not self.slowest:
            self.slowest_ns, self.slowest = value_ns, record

    def __len__(self) -> int:
        return len(self.values)

    def quantiles(self) -> tuple[int, int, int, int]:
        """p50, p95, p99 and the greatest; of nothing, zeros. The nearest rank: a value that was measured."""
        if not self.values:
            return 0, 0, 0, 0
        found = sorted(self.values)
        ranks = [max(1, -(-len(found) * percent // 100)) for percent in (50, 95, 99)]
        return found[ranks[0] - 1], found[ranks[1] - 1], found[ranks[2] - 1], found[-1]

    def beyond(self, limit_ns: int = LIMIT_NS) -> int:
        return sum(value > limit_ns for value in self.values)

    def bins(self) -> list[int]:
        counts = [0] * (len(BOUNDS_MS) + 1)
        for value in self.values:
            at = 0
            while at < len(BOUNDS_MS) and value > BOUNDS_MS[at] * 1_000_000:
                at += 1
            counts[at] += 1
        return counts


@dataclass(slots=True)
class Subscriber:
    """One subscription. `sink`: how long the attempts themselves took; `attempts` counts them all."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    replays: int = 0
    records: int = 0
    sink: Spread = field(default_factory=Spread)
    refs: str = ""


@dataclass(slots=True)
class Told:
    """Alert latencies: `whole`, to the end of a delivery, `before`, to its begin; of `blocks`, of `critical`.

    `grouped`: delivered with others, after a wait that is configured.
    """

    subscribers: list[Subscriber] = field(default_factory=list)
    whole: Spread = field(default_factory=Spread)
    before: Spread = field(default_factory=Spread)
    blocks: Spread = field(default_factory=Spread)
    critical: Spread = field(default_factory=Spread)
    grouped: int = 0
    left_out: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    buried: int = 0


def told(stretches: Stretches, domain: str, *, live: bool) -> Told:
    """`live`: the domain keeps the clock's time; only then is a latency what it is called."""
    found = Told()
    for name in stretches.journals.names("results", domain):
        if not stretches.volume(name).last:
            continue
        found.subscribers.append(_subscriber(stretches, name, domain, found if live else None))
    _letters(stretches, found)
    return found


def _subscriber(stretches: Stretches, name: str, domain: str, found: Told | None) -> Subscriber:
    one = Subscriber(name.partition(".")[2].removeprefix(f"{domain}-"))
    cited: dict[str, dict[int, tuple[int, int]]] = {}
    for line in stretches.lines(name):
        value: dict[str, Any] = decode(line.raw)
        if value.get("kind") != "delivery":
            continue
        one.attempts += 1
        if value["replay"]:
            one.replays += 1
            continue
        outcome = value["outcome"]
        one.outcomes[outcome] += 1
        one.records += outcome in _DONE or outcome == "dropped"
        if outcome not in ("delivered", "failed", "dropped"):
            continue
        one.sink.add(value["latency_ns"], line.ref)
        if found is not None and outcome == "delivered":
            journal, _, position = value["ref"].rpartition("@")
            places = cited.setdefault(journal, {})
            places[int(position)] = line.time_ns, value["latency_ns"]
            if len(places) > 2 * MOST:
                found.left_out += _newest(places)
    one.refs = stretches.volume(name).refs
    for journal, places in sorted(cited.items()) if found is not None else ():
        assert found is not None
        found.left_out += _newest(places)
        _measure(stretches, journal, places, found)
    return one


def _newest(places: dict[int, tuple[int, int]]) -> int:
    """Lets go of all but the newest; gives how many that were."""
    gone = sorted(places)[:-MOST]
    for position in gone:
        del places[position]
    return len(gone)


def _measure(stretches: Stretches, journal: str, places: dict[int, tuple[int, int]], found: Told) -> None:
    """Holds the time of each record that was told of against when it was."""
    source = stretches.journals.open(journal)
    least = source.base().position + 1
    wanted = sorted(position for position in places if position >= least)
    found.left_out += len(places) - len(wanted)
    for commit, lines in source.raw(wanted[0], wanted[-1]) if wanted else ():
        for position, raw in enumerate(lines, commit.first):
            if position not in places:
                continue
            if journal.startswith("routes."):
                found.grouped += 1
                continue
            done_ns, sink_ns = places[position]
            record, known_ns = f"{journal}@{position}", time_of(raw)
            whole_ns = max(0, done_ns - known_ns)
            found.whole.add(whole_ns, record)
            found.before.add(max(0, whole_ns - sink_ns), record)
            if b'"verdict":"block"' in raw:
                found.blocks.add(whole_ns, record)
            if b'"severity":"critical"' in raw or b'"severitytext":"critical"' in raw:
                found.critical.add(whole_ns, record)


def _letters(stretches: Stretches, found: Told) -> None:
    """Dead letters of the store: what became one in the period, and how many were so at its end."""
    standing: set[str] = set()
    for line in stretches.earlier(LETTERS, lambda raw: b'"kind":"dead_letter"' in raw):
        _letter(decode(line.raw)["body"], standing)
    for line in stretches.lines(LETTERS):
        value = decode(line.raw)
        if value.get("kind") == "dead_letter":
            found.letters[value["body"]["state"]] += 1
            _letter(value["body"], standing)
    found.buried = len(standing)


def _letter(body: dict[str, Any], standing: set[str]) -> None:
    if body["state"] == "buried":
        standing.add(body["id"])
    else:
        standing.discard(body["id"])
