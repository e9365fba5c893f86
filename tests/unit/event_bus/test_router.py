"""Who is told, who is not and because of what: each case asserts the outcome and its record together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.event_bus.router import Router
from observer_core.event_bus.routing import RoutingConfig
from observer_core.event_bus.subscriptions import Subscriber
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Event, Note, Notification, Record, Route
from observer_core.shared.stage import Entry

T0 = 1_700_000_000 * SECOND
MINUTE = 60 * SECOND


def subscriber(name: str, **given: Any) -> Subscriber:
    return Subscriber.model_validate({"name": name, **given})


class Bus:
    """A router that is given records one after the other, and dumped and loaded in between if asked."""

    def __init__(self, *who: Subscriber, reload: bool = False, **routing: Any) -> None:
        self.router = Router("live", who, RoutingConfig.model_validate(routing))
        self.state = self.router.initial()
        self.reload = reload
        self.found: list[Record] = []
        self.positions: dict[str, int] = {}

    def give(self, record: Any, journal: str = "events.live") -> list[Any]:
        if self.reload:
            self.state = self.router.load(self.router.dump(self.state))
        position = self.positions[journal] = self.positions.get(journal, 0) + 1
        found = list(self.router.transition(self.state, Entry(journal, position, record)))
        self.found += found
        return found

    def event(self, kind: str = "pattern.spike", at: int = 0, **changes: Any) -> list[Any]:
        source, subject = changes.get("source", "binance"), changes.get("subject", "BTC/USDT")
        severity = changes.get("severity", "warning")
        data = {"series": [[source, subject, changes.get("field", "load")]], "tags": changes.get("tags", [])}
        return self.give(Event(
            id=f"e{len(self.found)}", source=f"/qts/observer/live/{source}", type=f"io.qts.observer.{kind}",
            subject=subject, time_ns=T0 + at, data=data, partitionkey=f"{source}/{subject}", sequence="1",
            causationid="p@1", correlationid=changes.get("incident", ""), severitytext=severity,
        ))  # fmt: skip

    def decision(self, at: int = 0, **changes: Any) -> list[Any]:
        values: dict[str, Any] = {
            "id": "d", "verdict": "block", "scope": "subject:BTC/USDT", "policy": "p", "policy_version": 1,
            "reasons": (), "time_ns": T0 + at, "causation": (), "severity": "critical",
        }  # fmt: skip
        return self.give(Decision(**{**values, **changes}), "decisions.live")

    def ask(self, kind: str, at: int = 0, **body: Any) -> list[Any]:
        body = {"author": "kim", "reason": "maintenance", **body}
        return self.give(Note(kind=kind, time_ns=T0 + at, body=body), "commands.live")

    def silence(self, start: int, end: int, at: int = 0, **match: Any) -> list[Any]:
        return self.ask("silence", at, action="add", match=match, start_ns=T0 + start, end_ns=T0 + end)

    def time(self, at: int) -> list[Any]:
        found = list(self.router.advance(self.state, T0 + at))
        self.found += found
        return found


def route(found: list[Any]) -> Route:
    (only,) = [record for record in found if isinstance(record, Route)]
    return only


def notes(found: list[Any]) -> list[dict[str, Any]]:
    return [dict(record.body) for record in found if isinstance(record, Note)]


# ---------------------------------------------------------------------- filters and the tree


def test_without_a_tree_every_subscriber_has_what_passes_its_filters_and_the_rest_is_named() -> None:
    bus = Bus(
        subscriber("all"), subscriber("feeds", types=["feed.*"]), subscriber("grave", min_severity="critical")
    )
    said = route(bus.event())
    assert said.ref == "events.live@1"
    assert said.to == ("all",)
    assert said.stopped == {"filter:types": ("feeds",), "filter:min_severity": ("grave",)}


def test_subscribers_of_the_other_stream_are_not_kept_from_anything() -> None:
    bus = Bus(subscriber("events"), subscriber("desk", stream="decisions"))
    assert (route(bus.event()).to, route(bus.event()).stopped) == (("events",), {})
    assert route(bus.decision()).to == ("desk",)


TREE = {
    "route": {
        "to": ["rest"],
        "routes": [
            {"match": {"types": ["feed.*"]}, "to": ["feeds"], "routes": [
                {"match": {"sources": ["kraken"]}, "to": ["kraken"]},
            ]},
            {"match": {"min_severity": "critical"}, "to": ["pager"], "continue": True},
            {"match": {"tags": ["desk-*"]}, "to": ["desk"]},
        ],
    }
}  # fmt: skip
WHO = [subscriber(name) for name in ("rest", "feeds", "kraken", "pager", "desk", "audit")]


@pytest.mark.parametrize(
    ("given", "to", "path"),
    [
        ({"kind": "feed.stale"}, {"feeds"}, "0"),
        ({"kind": "feed.stale", "severity": "critical"}, {"feeds"}, "0"),
        ({"kind": "feed.stale", "source": "kraken"}, {"kraken"}, "0.0"),
        ({}, {"rest"}, "root"),
        ({"severity": "critical"}, {"pager"}, "1"),
        ({"severity": "critical", "tags": ["desk-a"]}, {"pager", "desk"}, "1+2"),
        ({"tags": ["desk-a"]}, {"desk"}, "2"),
    ],
)
def test_the_first_child_that_takes_a_record_has_it_unless_it_lets_it_go_on(
    given: dict[str, Any], to: set[str], path: str
) -> None:
    said = route(Bus(*WHO, **TREE).event(**given))
    assert set(said.to) == to | {"audit"}  # named by no route: it sees everything
    named = {"rest", "feeds", "kraken", "pager", "desk"}
    assert {by: set(names) for by, names in said.stopped.items()} == {f"route:{path}": named - to}


def test_a_filter_of_its_own_stops_what_the_tree_would_give() -> None:
    bus = Bus(subscriber("rest", types=["feed.*"]), route={"to": ["rest"]})
    assert route(bus.event()).stopped == {"filter:types": ("rest",)}


def test_a_root_that_takes_nothing_leads_nowhere() -> None:
    said = route(Bus(subscriber("a"), route={"match": {"types": ["feed.*"]}, "to": ["a"]}).event())
    assert (said.to, said.stopped) == ((), {"route:none": ("a",)})


# ---------------------------------------------------------------------- inhibition

HALT = {
    "inhibit": [
        {"name": "halt", "when": {"types": ["feed.halted"]}, "mute": {"types": ["feed.stale", "pattern.*"]}}
    ]
}


def test_a_halt_mutes_the_staleness_of_its_own_source_until_it_is_over() -> None:
    bus = Bus(subscriber("ops"), subscriber("audit", always=True), **HALT)
    assert route(bus.event("feed.stale")).to == ("audit", "ops")
    assert route(bus.event("feed.halted")).to == ("audit", "ops")
    muted = route(bus.event("feed.stale", subject="ETH/USDT"))
    assert (muted.to, muted.stopped) == (("audit",), {"inhibit:halt": ("ops",)})
    assert route(bus.event("feed.stale", source="kraken")).to == ("audit", "ops")
    bus.event("feed.reopened")
    assert route(bus.event("feed.stale")).to == ("audit", "ops")


def test_what_has_no_recovery_inhibits_for_a_while_in_the_domains_time() -> None:
    rule = {"name": "shock", "when": {"types": ["pattern.price_shock"]}, "mute": {"types": ["pattern.*"]},
            "equal": ["subject"], "lasts": "2m"}  # fmt: skip
    bus = Bus(subscriber("ops"), inhibit=[rule])
    bus.event("pattern.price_shock")
    assert route(bus.event("pattern.volume_surge", MINUTE)).stopped == {"inhibit:shock": ("ops",)}
    assert route(bus.event("pattern.volume_surge", MINUTE, subject="ETH/USDT")).to == ("ops",)
    assert route(bus.event("pattern.volume_surge", 2 * MINUTE)).to == ("ops",)


def test_nothing_inhibits_itself() -> None:
    rule = {"name": "same", "when": {"types": ["feed.stale"]}, "mute": {"types": ["feed.*"]}}
    bus = Bus(subscriber("ops"), inhibit=[rule])
    bus.event("feed.stale")
    assert route(bus.event("feed.stale", subject="ETH/USDT")).to == ("ops",)
    assert route(bus.event("feed.flat")).stopped == {"inhibit:same": ("ops",)}


def test_an_incident_inhibits_until_it_is_resolved() -> None:
    rule = {"name": "open", "when": {"types": ["incident.*"]}, "mute": {"types": ["pattern.*"]},
            "equal": ["incident"]}  # fmt: skip
    bus = Bus(subscriber("ops"), inhibit=[rule])
    bus.event("incident.opened", incident="i1")
    assert route(bus.event("pattern.spike", incident="i1")).to == ()
    assert route(bus.event("pattern.spike", incident="i2")).to == ("ops",)
    bus.event("incident.resolved", MINUTE, incident="i1")
    assert route(bus.event("pattern.spike", 2 * MINUTE, incident="i1")).to == ("ops",)


@pytest.mark.parametrize(
    ("kind", "began", "condition", "stands"),
    [
        ("feed.stale", "BTC/USDT", ["feed_stale", "binance", "BTC/USDT", "load"], False),
        ("feed.stale", "BTC/USDT", ["feed_stale", "binance", "BTC/USDT", "loads"], True),
        ("feed.stale", "BTC/USDT", ["feed_stale", "binance", "BTC", "load"], True),
        ("feed.stale", "BTC/USDT", ["venue_halt", "binance", "BTC/USDT", "load"], True),
        ("feed.unavailable", "*", ["feed_unavailable", "binance", "", ""], False),
        ("feed.unavailable", "*", ["feed_unavailable", "bin", "", ""], True),
    ],
)
@pytest.mark.parametrize("reload", [False, True])
def test_what_an_incident_that_was_ended_by_hand_rested_on_inhibits_no_more(
    kind: str, began: str, condition: list[str], stands: bool, reload: bool
) -> None:
    rule = {"name": "quiet", "when": {"types": ["feed.*"]}, "mute": {"types": ["pattern.*"]}}
    bus = Bus(subscriber("ops"), inhibit=[rule], reload=reload)
    bus.event(kind, subject=began)
    assert route(bus.event("pattern.spike", subject="ETH/USDT")).to == ()
    ended = {"author": "kim", "reason": "delisted", "conditions": [condition]}
    bus.give(Event(
        id="r", source="/qts/observer/live/binance", type="io.qts.observer.incident.resolved",
        subject="binance", time_ns=T0 + MINUTE, data={"id": "i1", "ended": ended}, partitionkey="b",
        sequence="1", causationid="commands.live@1", correlationid="i1", severitytext="warning",
    ))  # fmt: skip
    told = route(bus.event("pattern.spike", 2 * MINUTE, subject="ETH/USDT")).to
    assert told == (() if stands else ("ops",))


# ---------------------------------------------------------------------- silences


def test_a_silence_begins_and_ends_by_time_with_records_and_names_itself_as_the_reason() -> None:
    bus = Bus(subscriber("ops"), subscriber("audit", always=True))
    assert notes(bus.silence(MINUTE, 3 * MINUTE, subjects=["BTC/*"])) == []
    assert route(bus.event(at=0)).to == ("audit", "ops")
    begun = bus.event(at=2 * MINUTE)
    assert notes(begun) == [{"id": "commands.live@1", "state": "begun"}]
    assert begun[0].time_ns == T0 + MINUTE
    assert route(begun).stopped == {"silence:commands.live@1": ("ops",)}
    assert route(bus.event(at=2 * MINUTE, subject="ETH/USDT")).to == ("audit", "ops")
    over = bus.event(at=3 * MINUTE)
    assert notes(over) == [{"id": "commands.live@1", "state": "ended"}]
    assert route(over).to == ("audit", "ops")


def test_an_operator_may_end_a_silence_early() -> None:
    bus = Bus(subscriber("ops"))
    assert notes(bus.silence(0, 60 * MINUTE)) == [{"id": "commands.live@1", "state": "begun"}]
    bus.ask("silence", MINUTE, action="end", id="commands.live@1", reason="done")
    assert route(bus.event(at=2 * MINUTE)).to == ("ops",)
    assert notes(bus.time(90 * MINUTE)) == []
    assert notes(bus.ask("silence", action="end", id="commands.live@1"))[0]["state"] == "refused"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"match": {}, "start_ns": T0, "end_ns": T0}, "a silence has an end"),
        ({"match": {}, "start_ns": T0 - 9, "end_ns": T0 - 5}, "ended before"),
        ({"match": {"kinds": ["x"]}, "start_ns": T0, "end_ns": T0 + 9}, "match.kinds: unknown key"),
        ({"match": {}, "start_ns": T0, "end_ns": T0 + 9, "author": ""}, "author"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_with_the_reason(body: dict[str, Any], why: str) -> None:
    bus = Bus(subscriber("ops"))
    bus.event()
    (said,) = notes(bus.ask("silence", action="add", **body))
    assert said["state"] == "refused"
    assert why in said["refused"]
    assert route(bus.event()).to == ("ops",)


# ---------------------------------------------------------------------- groups

GROUPS = {"route": {"to": ["ops"], "group_by": ["source"], "group_wait": "30s", "group_interval": "5m"}}


def told(found: list[Any]) -> list[tuple[int, dict[str, str], tuple[str, ...], int]]:
    return [
        ((n.time_ns - T0) // SECOND, dict(n.group), n.refs, n.count)
        for n in found
        if isinstance(n, Notification)
    ]


def test_records_of_a_group_are_told_together_then_again_after_the_interval_if_more_came() -> None:
    bus = Bus(subscriber("ops"), **GROUPS)
    first = route(bus.event(at=0))
    assert (first.to, first.grouped, first.stopped) == ((), ("ops",), {})
    bus.event(at=10 * SECOND, severity="critical")
    bus.event(at=20 * SECOND, source="kraken")
    assert told(bus.time(29 * SECOND)) == []
    assert told(bus.time(40 * SECOND)) == [(30, {"source": "binance"}, ("events.live@1", "events.live@2"), 2)]
    assert told(bus.time(50 * SECOND)) == [(50, {"source": "kraken"}, ("events.live@3",), 1)]
    assert next(n.severity for n in bus.found if isinstance(n, Notification)) == "critical"
    bus.event(at=60 * SECOND)
    assert told(bus.time(329 * SECOND)) == []
    assert told(bus.time(330 * SECOND)) == [(330, {"source": "binance"}, ("events.live@4",), 1)]
    assert told(bus.time(20 * MINUTE)) == []
    bus.event(at=20 * MINUTE)  # a group that was over begins anew, with its wait
    assert told(bus.time(20 * MINUTE + 30 * SECOND)) == [(1230, {"source": "binance"}, ("events.live@5",), 1)]


def test_a_group_of_very_many_counts_all_of_them() -> None:
    bus = Bus(subscriber("ops"), **GROUPS)
    for _ in range(250):
        bus.event()
    [(_, _, refs, count)] = told(bus.time(MINUTE))
    assert (len(refs), count) == (200, 250)


def test_an_empty_group_by_is_one_group_and_a_child_may_have_its_own_wait() -> None:
    routing = {"to": ["ops"], "group_by": [], "routes": [
        {"match": {"types": ["feed.*"]}, "group_wait": "1s"}
    ]}  # fmt: skip
    bus = Bus(subscriber("ops"), route=routing)
    bus.event()
    bus.event("feed.stale", source="kraken")
    assert told(bus.time(SECOND)) == [(1, {}, ("events.live@2",), 1)]
    assert told(bus.time(30 * SECOND)) == [(30, {}, ("events.live@1",), 1)]


def test_what_is_muted_joins_no_group() -> None:
    bus = Bus(subscriber("ops"), **GROUPS)
    bus.silence(0, MINUTE)
    assert route(bus.event()).stopped == {"silence:commands.live@1": ("ops",)}
    assert told(bus.time(MINUTE)) == []


# ---------------------------------------------------------------------- subscriptions

NEW = {"name": "new", "sink": {"kind": "log"}, "types": ["feed.*"]}


def test_a_subscription_can_be_added_paused_resumed_and_removed_without_a_restart() -> None:
    bus = Bus(subscriber("ops"))
    bus.event()
    assert notes(bus.ask("subscription", action="add", config=NEW))[0]["name"] == "new"
    view = bus.router.views(bus.state)["subscriptions"]["new"]
    assert view["since"] == {"events": 1, "time_ns": T0}
    assert view["config"]["types"] == ["feed.*"]
    assert route(bus.event()).stopped == {"filter:types": ("new",)}
    assert route(bus.event("feed.stale")).to == ("new", "ops")
    bus.ask("subscription", action="pause", name="new")
    assert bus.router.views(bus.state)["subscriptions"]["new"]["paused"]
    assert route(bus.event("feed.stale")).to == ("new", "ops")  # it waits for him
    bus.ask("subscription", action="resume", name="new")
    bus.ask("subscription", action="remove", name="new")
    assert route(bus.event("feed.stale")).to == ("ops",)
    bus.ask("subscription", action="remove", name="ops")
    assert route(bus.event("feed.stale")).to == ()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"action": "add", "config": {"name": "X"}}, "sink: missing"),
        ({"action": "add", "config": {**NEW, "name": "ops"}}, "is in the configuration"),
        ({"action": "pause", "name": "nobody"}, "there is no subscription 'nobody'"),
        ({"action": "dance", "name": "ops"}, "expected add, pause, resume or remove, found 'dance'"),
    ],
)
def test_what_cannot_be_done_to_a_subscription_is_recorded(body: dict[str, Any], why: str) -> None:
    bus = Bus(subscriber("ops"))
    (said,) = notes(bus.ask("subscription", **body))
    assert why in said["refused"]
    assert list(bus.router.views(bus.state)["subscriptions"]) == ["ops"]


def test_a_subscriber_that_the_configuration_adds_is_routed_from_there_on() -> None:
    bus = Bus(subscriber("ops"))
    bus.event()
    later = Router("live", [subscriber("ops"), subscriber("late")])
    state = later.load(bus.router.dump(bus.state))
    view = later.views(state)["subscriptions"]
    assert view["ops"]["since"] == {"time_ns": 0}
    assert view["late"]["since"] == {"events": 1, "time_ns": T0}


def test_names_and_matches_are_checked() -> None:
    with pytest.raises(ValidationError, match="given twice"):
        RoutingConfig.model_validate({"inhibit": HALT["inhibit"] * 2})
    with pytest.raises(ValidationError, match="Extra inputs"):
        RoutingConfig.model_validate({"route": {"receiver": "x"}})


def test_a_state_that_was_thrown_away_leaves_nothing_behind_in_the_router() -> None:
    """Two states of equal age with other silences, as after a lost race for a commit."""
    bus = Bus(subscriber("ops"))
    before = bus.router.dump(bus.state)
    bus.silence(0, MINUTE, subjects=["BTC/*"])
    assert route(bus.event()).to == ()
    bus.state = bus.router.load(before)
    bus.silence(0, MINUTE, subjects=["ETH/*"])
    assert route(bus.event()).to == ("ops",)
    assert bus.router.dump(bus.router.load(before)) == before


# ---------------------------------------------------------------------- determinism

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.sampled_from(
            ["feed.stale", "feed.halted", "feed.reopened", "feed.resumed", "pattern.spike"]),
            st.sampled_from(["binance", "kraken"]), st.sampled_from(["info", "critical"])),
        st.tuples(st.just("silence"), st.integers(0, 200), st.integers(1, 200), st.just("")),
        st.tuples(st.just("time"), st.integers(0, 400), st.just(0), st.just("")),
    ), max_size=25,
)  # fmt: skip


def _run(steps: list[Any], reload: bool, tell_time: bool) -> list[bytes]:
    bus = Bus(subscriber("ops"), subscriber("audit", always=True), reload=reload, **GROUPS, **HALT)
    now = 0
    for what, one, two, three in steps:
        now += 7
        if what == "event":
            bus.event(one, now * SECOND, source=two, severity=three)
        elif what == "silence":
            bus.silence((now + one) * SECOND, (now + one + two) * SECOND, now * SECOND, sources=["binance"])
        else:
            now += one
            if tell_time:
                bus.time(now * SECOND)
    bus.time((now + 10_000) * SECOND)
    return [record.encode(1) for record in bus.found]


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_neither_reloading_nor_the_calls_of_advance_change_a_record(steps: list[Any]) -> None:
    plain = _run(steps, reload=False, tell_time=False)
    assert plain == _run(steps, reload=True, tell_time=True)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_every_record_is_given_grouped_or_stopped_for_each_subscriber_exactly_once(steps: list[Any]) -> None:
    bus = Bus(subscriber("ops"), subscriber("audit", always=True), **GROUPS, **HALT)
    for what, one, two, three in steps:
        if what == "event":
            said = route(bus.event(one, source=two, severity=three))
            names = [*said.to, *said.grouped, *(name for names in said.stopped.values() for name in names)]
            assert sorted(names) == ["audit", "ops"]
        elif what == "silence":
            bus.silence(one * SECOND, (one + two) * SECOND, sources=["binance"])
    bus.time(10**6 * SECOND)
    grouped = sum("ops" in record.grouped for record in bus.found if isinstance(record, Route))
    assert grouped == sum(record.count for record in bus.found if isinstance(record, Notification))
