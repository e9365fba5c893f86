"""Incidents: every pattern has its place, every incident one end; how they are fed changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from observer_core.event_bus.publisher import Publisher, PublisherConfig, PublisherState
from observer_core.shared.clock import SECOND
from observer_core.shared.records import RECOVERIES, Event, Note, PatternRecord, Record
from observer_core.shared.stage import Entry

MINUTE = 60 * SECOND
T0 = 1_700_000_000 * SECOND
DAY = 1440 * MINUTE
VENUES = {"binance-0": "binance", "binance-1": "binance"}
CONFIGS = (
    PublisherConfig(venues=VENUES),
    PublisherConfig(venues=VENUES, chance=1e-9),
    PublisherConfig(venues=VENUES, incident_severity="critical", quiet="2m"),
)
STEPS = st.sampled_from([0, 0, 1, SECOND, MINUTE, 2 * MINUTE, 10 * MINUTE, 40 * MINUTE, 9 * 60 * MINUTE])
CONDITIONS = ("feed_stale", "spread_blowout", "venue_halt", "feed_unavailable", "drawdown")
KINDS = (
    "spike", "price_shock", "level_shift", "volatility_regime", *CONDITIONS, *map(RECOVERIES.get, CONDITIONS),
)  # fmt: skip


@st.composite
def patterns(draw: st.DrawFn, sources: Sequence[str] = (*VENUES, "kraken", "host")) -> PatternRecord:
    source = draw(st.sampled_from(sources))
    one = st.tuples(st.sampled_from("ABCD"), st.sampled_from(["price", "load"]))
    series = draw(st.lists(one, min_size=1, max_size=4, unique=True))
    onset = draw(st.sampled_from([None, T0, [T0 - at for at in range(len(series))]]))
    return PatternRecord(
        id="p", pattern=str(draw(st.sampled_from(KINDS))),
        series=tuple((source, subject, name) for subject, name in series),
        score=draw(st.sampled_from([0.5, 0.7, 0.9])), direction=draw(st.sampled_from(["up", "down"])),
        severity=draw(st.sampled_from(["info", "info", "warning", "critical"])), tags=(), detector="d/1",
        evidence={} if onset is None else {"onset_ns": onset}, snapshot="s@1", event_ns=T0, time_ns=T0,
        cadence_ns=draw(st.sampled_from([0, MINUTE, 20 * MINUTE])),
    )  # fmt: skip


def at(record: Any, now_ns: int) -> Any:
    return type(record)(**{**{name: getattr(record, name) for name in record.__slots__}, "time_ns": now_ns})


@st.composite
def streams(draw: st.DrawFn) -> list[PatternRecord | Note]:
    now_ns, found = T0, []
    for step, record in draw(st.lists(st.tuples(STEPS, patterns()), min_size=1, max_size=40)):
        now_ns += step
        found.append(at(record, now_ns))
    return found


@given(streams(), st.sampled_from(CONFIGS), st.data())
@settings(max_examples=80)
def test_advance_and_restarts_anywhere_change_no_event(
    records: list[PatternRecord], config: PublisherConfig, data: st.DataObject
) -> None:
    def run(disturb: bool) -> tuple[list[Record], bytes, Any]:
        stage = Publisher("live", config)
        state, made = stage.initial(), list[Record]()
        for number, record in enumerate(records, 1):
            if disturb and data.draw(st.booleans()):
                before = stage.dump(state)
                quiet = stage.advance(state, record.time_ns - data.draw(st.sampled_from([0, 1, MINUTE])))
                assert quiet or stage.dump(state) == before
                made += quiet
            if disturb and data.draw(st.booleans()):
                blob = stage.dump(state)
                state = Publisher("live", config).load(blob)
                assert stage.dump(state) == blob
            version, views = stage.views_version(state), stage.views(state)
            made += stage.transition(state, Entry(f"patterns.{record.source}", number, record))
            assert stage.views_version(state) > version or stage.views(state) == views
        made += stage.advance(state, T0 + 99 * DAY)
        return made, stage.dump(state), stage.views(state)

    assert run(True) == run(False)


class Life(RuleBasedStateMachine):
    """What is told of incidents, against a model that only keeps the books."""

    @initialize(config=st.sampled_from(CONFIGS))
    def begin(self, config: PublisherConfig) -> None:
        self.config, self.stage = config, Publisher("live", config)
        self.state: PublisherState = self.stage.initial()
        self.now_ns, self.position = T0, 0
        self.open: dict[str, Event] = {}
        self.over: set[str] = set()
        self.merged: dict[str, str] = {}
        self.belongs: dict[str, str] = {}
        self.lonely: set[str] = set()
        self.ids: set[str] = set()

    @rule(record=patterns(), step=STEPS)
    def see(self, record: PatternRecord, step: int) -> None:
        self.now_ns += step
        self.position += 1
        record = at(record, self.now_ns)
        entry = Entry(f"patterns.{record.source}", self.position, record)
        events = list(self.stage.transition(self.state, entry))
        own = next(event for event in events if event.data.get("id") == "p")
        assert own.causationid == entry.ref
        earlier = events[: events.index(own)]
        assert all(event.type.endswith("incident.resolved") for event in earlier)
        self.told(earlier, by_time=True)
        self.told(events[len(earlier) :], by_time=False)
        if own.correlationid:
            assert own.correlationid in self.open
            self.belongs[entry.ref] = own.correlationid
        elif record.pattern not in RECOVERIES.values() and self.grave(record):
            self.lonely.add(entry.ref)
            assert entry.ref in self.waiting()

    @rule(step=STEPS)
    def wait(self, step: int) -> None:
        self.now_ns += step
        self.told(list(self.stage.advance(self.state, self.now_ns)), by_time=True)

    @precondition(lambda self: self.position)
    @rule()
    def restart(self) -> None:
        blob = self.stage.dump(self.state)
        self.state = self.stage.load(blob)
        assert self.stage.dump(self.state) == blob

    @invariant()
    def what_is_open_is_shown(self) -> None:
        if hasattr(self, "open"):
            shown = self.stage.views(self.state)["incidents"]["open"]
            assert {item["id"] for item in shown} == set(self.open)
            for item in shown:
                assert item["severity"] == self.state.incidents.open[item["id"]].severity

    @invariant()
    def who_waited_and_found_company_is_in_one_incident(self) -> None:
        if hasattr(self, "open"):
            refs = [ref for one in self.state.incidents.open.values() for ref in one.earlier]
            assert len(refs) == len(set(refs))
            for ref in refs:
                assert ref not in self.belongs

    def told(self, events: Sequence[Event], *, by_time: bool) -> None:
        for event in events:
            assert event.id not in self.ids
            self.ids.add(event.id)
            what, data = event.type.removeprefix("io.qts.observer."), event.data
            if not what.startswith("incident."):
                continue
            assert event.correlationid == data["id"]
            assert list(zip(data["first_ns"], data["scores"])) == sorted(
                zip(data["first_ns"], data["scores"]), key=lambda item: (item[0], -item[1])
            )
            assert all(series in data["series"] for series in data["started"])
            if what == "incident.opened":
                assert data["id"] not in self.open
                assert data["id"] not in self.over
                assert data["severity"] != "info"
                self.lonely -= set(data["earlier"])
                self.open[data["id"]] = event
            elif what == "incident.updated":
                assert data["id"] in self.open
            else:
                self.open.pop(data["id"])
                self.over.add(data["id"])
                assert bool(data["merged_into"]) != by_time
                assert not data["merged_into"] or data["merged_into"] in self.open
                if by_time:
                    assert data["standing"] == 0
                    assert event.time_ns == data["last_ns"] + data["quiet_ns"]

    def grave(self, record: PatternRecord) -> bool:
        return record.severity in ("critical", self.config.incident_severity)

    def waiting(self) -> set[str]:
        watches = [watch for own in self.state.incidents.watches.values() for watch in own.values()]
        return {item.ref for watch in watches for item in watch.recent if not item.taken}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(STEPS, patterns(("host",))), min_size=1, max_size=30), st.integers(0, 3 * MINUTE))
@settings(max_examples=40)
def test_venues_that_share_no_move_of_a_market_do_not_know_of_each_other(
    drawn: list[tuple[int, PatternRecord]], offset: int
) -> None:
    """What is told of a host is the same with and without an exchange beside it."""

    def incidents(extra: bool) -> list[Any]:
        stage = Publisher("live")
        state, made, now_ns = stage.initial(), list[Event](), T0
        beside = PatternRecord(
            id="p", pattern="feed_stale", series=(("kraken", "A", "price"),), score=0.9, severity="warning",
            direction="none", tags=(), detector="d/1", evidence={}, snapshot="s@1", event_ns=T0, time_ns=T0,
        )  # fmt: skip
        for number, (step, record) in enumerate(drawn, 1):
            now_ns += step
            made += stage.transition(state, Entry("patterns.host", number, at(record, now_ns)))
            if extra and number % 3 == 0:
                made += stage.transition(state, Entry("patterns.kraken", number, at(beside, now_ns)))
        made += stage.advance(state, T0 + 99 * DAY)
        return [
            (event.type, event.time_ns, event.correlationid, dict(event.data))
            for event in made
            if event.source.endswith("/host")
        ]

    assert incidents(True) == incidents(False)
