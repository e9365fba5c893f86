"""Incidents, folded: in pages as in one go, and each with what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.acts.ground import Ground, Unknown
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading import finding, timeline
from observer_core.runtime.reading import incidents as module
from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.incidents import Incidents, folded, incident
from observer_core.runtime.reading.listing import Cursor, Page, ranges
from observer_core.runtime.reading.timeline import detail
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock, format_time
from observer_core.shared.errors import InputError
from observer_core.shared.ids import derive
from observer_core.shared.records import (
    Decision,
    DeliveryResult,
    Event,
    Note,
    Notification,
    PatternRecord,
    Record,
)
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

T0 = 1_700_000_000 * SECOND
EVERYTHING = Filter()


class Desk:
    """A domain whose events are written by hand."""

    def __init__(self) -> None:
        self.journals = Journals(MemoryStorage(), worker="w")
        config = load(root=Path())
        self.ground = Ground(self.journals, config, Gate(self.journals, config, ManualClock(T0)))
        self.journals.open("snapshots.desk", "live")
        self.journals.open("patterns.desk", "live")
        self.events = self.journals.open("events.live", "live")
        self.finder = Finder(self.journals)
        self.incidents = Incidents(self.journals, self.finder)
        self.standing: dict[str, int] = {}
        self.opened: dict[str, int] = {}
        self.count = 0

    def write(self, journal: str, *records: Record, views: Any = None) -> str:
        there = self.journals.open(journal, "live")
        head = there.commit(there.head(), Commit(records=records, views=views or {}))
        return f"{journal}@{head.position}"

    def event(self, at: int, kind: str, data: Any, cause: str = "patterns.desk@1", of: str = "") -> str:
        self.count += 1
        record = Event(
            id=derive("event", self.count), source="/qts/observer/live/desk", type=f"io.qts.observer.{kind}",
            subject="BTC", time_ns=T0 + at, data=data, partitionkey="desk/BTC", sequence=f"{self.count:020d}",
            causationid=cause, correlationid=of, severitytext="warning",
        )  # fmt: skip
        view = {"incidents": {"open": [{"id": k, "since_ns": v} for k, v in self.standing.items()]}}
        return self.write("events.live", record, views=view)

    def pattern(self, at: int, of: str = "") -> tuple[str, str]:
        """A pattern and its event."""
        record = PatternRecord(
            id=derive("pattern", self.count), pattern="spike", series=(("desk", "BTC", "price"),), score=0.9,
            severity="warning", direction="up", tags=(), detector="x/1", evidence={},
            snapshot="snapshots.desk@1", event_ns=T0 + at, time_ns=T0 + at,
        )  # fmt: skip
        cited = self.write("patterns.desk", record)
        data = {"pattern": "spike", "series": [["desk", "BTC", "price"]], "score": 0.9}
        return cited, self.event(at, "pattern.spike", data, cited, of)

    def change(self, at: int, name: str, what: str, **more: Any) -> str:
        """An incident is opened, updated or resolved."""
        identity = derive("incident", name)
        opened = self.opened.setdefault(identity, T0 + at)
        self.standing[identity] = opened
        if what == "resolved":
            del self.standing[identity]
        data = {
            "id": identity, "state": "resolved" if what == "resolved" else "open", "severity": "warning",
            "opened_ns": opened, "last_ns": T0 + at, "score": 0.9, "series": [["desk", "BTC", "price"]],
            "first_ns": [opened], "scores": [0.9], "first_patterns": ["spike"],
            "started": [["desk", "BTC", "price"]], "series_count": 1, "standing": 0, "patterns": {"spike": 1},
            "venue": "desk", "sources": ["desk"], "earlier": [], **more,
        }  # fmt: skip
        return self.event(at, f"incident.{what}", data, of=identity)

    def page(
        self, limit: int, cursor: str | None = None, *, is_open: bool | None = None, **times: Any
    ) -> Page:
        after = None if cursor is None else Cursor.of(cursor)
        places = ranges(self.ground, KINDS["events"], EVERYTHING, **times, after=after)
        return self.incidents.page(places, EVERYTHING, limit, is_open=is_open)

    def told(self, found: Page) -> list[dict[str, Any]]:
        return [incident(line.record, line.ref) for line in found.lines if isinstance(line.record, Event)]

    def all(self, limit: int, **asked: Any) -> list[dict[str, Any]]:
        found, cursor = [], None
        while True:
            one = self.page(limit, cursor, **asked)
            found += self.told(one)
            if one.next is None:
                return found
            cursor = one.next.text()

    def folded(self, *, only_open: bool = False) -> list[dict[str, Any]]:
        places = ranges(self.ground, KINDS["events"], EVERYTHING)
        return list(folded(places, EVERYTHING, only_open=only_open))


HISTORY = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["go on", "go on", "end", "noise"])), max_size=40
)


@given(HISTORY, st.integers(1, 4), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_pages_are_the_fold_whatever_their_limit_and_whenever_one_began_to_ask(
    history: Any, limit: int, asked: int
) -> None:
    desk, life = Desk(), dict[int, int]()
    for at, (number, what) in enumerate(history):
        name = f"{number}.{life.get(number, 0)}"
        is_open = derive("incident", name) in desk.standing
        if what == "noise":
            desk.event(at // 3, "pattern.spike", {"series": []})
        elif what == "end" and is_open:
            desk.change(at // 3, name, "resolved")
            life[number] = life.get(number, 0) + 1
        else:
            desk.change(at // 3, name, "updated" if is_open else "opened")
        if at == asked:
            desk.page(2)
    whole = desk.folded()
    assert desk.all(limit) == whole
    assert desk.all(limit, is_open=True) == desk.folded(only_open=True)
    assert desk.all(limit, is_open=False) == [item for item in whole if item["state"] == "resolved"]


def test_what_is_open_is_found_however_long_nothing_was_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    cited = desk.change(1, "old", "opened")
    for at in range(60):
        desk.event(2 + at, "pattern.spike", {"series": []})
    monkeypatch.setattr(module, "_LOOKED", 10)
    assert [item["event"] for item in desk.all(9, is_open=True)] == [cited]


def test_times_are_about_the_last_change() -> None:
    desk = Desk()
    desk.change(1, "one", "opened")
    desk.change(2, "two", "opened")
    desk.change(3, "two", "resolved")
    desk.change(5, "one", "updated")
    assert [item["changed_ns"] - T0 for item in desk.told(desk.page(9, until=format_time(T0 + 3)))] == [3]
    assert [item["changed_ns"] - T0 for item in desk.told(desk.page(9, since=format_time(T0 + 4)))] == [5]


def test_one_is_found_by_its_id_open_or_resolved_and_by_the_beginning_of_it() -> None:
    desk = Desk()
    desk.change(1, "one", "opened")
    desk.change(2, "two", "opened")
    last = desk.change(3, "two", "resolved")
    now = desk.change(4, "one", "updated")
    assert desk.incidents.find(derive("incident", "one")).ref == now
    assert desk.incidents.find(derive("incident", "two")[:8]).ref == last
    assert desk.incidents.find(derive("incident", "two").upper()).ref == last
    with pytest.raises(Unknown, match="there is no incident whose id begins with '00000000'"):
        desk.incidents.find("00000000")
    with pytest.raises(InputError, match="'one' is no id; expected 8 to 32 hex digits of an id"):
        desk.incidents.find("one")


def test_a_resolved_one_that_was_listed_is_found_however_old_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.change(1, "one", "opened")
    last = desk.change(2, "one", "resolved")
    for at in range(60):
        desk.event(3 + at, "pattern.spike", {"series": []})
    monkeypatch.setattr(finding, "LOOKED", 10)
    with pytest.raises(Unknown, match=r"in the newest \d+ events"):
        desk.incidents.find(derive("incident", "one"))
    desk.page(9)
    assert desk.incidents.find(derive("incident", "one")).ref == last


def decision(number: int, at: int, verdict: Any, *causes: str, **evidence: Any) -> Decision:
    return Decision(
        id=derive("decision", number), verdict=verdict, scope="subject:BTC", policy="p", policy_version=1,
        reasons=({"code": "c", "text": "because"},), time_ns=T0 + at, causation=causes, evidence=evidence,
    )  # fmt: skip


def delivery(at: int, ref: str, outcome: Any = "delivered", code: int | None = None) -> DeliveryResult:
    return DeliveryResult(
        subscription="ops", record="r", ref=ref, attempt=2, outcome=outcome, time_ns=T0 + at, latency_ns=1,
        code=code,
    )  # fmt: skip


def story() -> tuple[Desk, str]:
    """An incident with all that there can be, and as much of another one."""
    desk, one, two = Desk(), derive("incident", "one"), derive("incident", "two")
    early, _ = desk.pattern(1)
    cited, event = desk.pattern(2, one)
    desk.change(2, "one", "opened", earlier=[early])
    other, foreign = desk.pattern(3, two)
    desk.change(3, "two", "opened")
    block = desk.write("decisions.live", decision(1, 3, "block", event))
    desk.write("decisions.live", decision(2, 3, "block", foreign))
    desk.write("decisions.live", decision(3, 4, "judgment", block))
    desk.change(5, "one", "resolved", earlier=[early])
    desk.write("decisions.live", decision(4, 8, "release", "clock.live@1", block=derive("decision", 1)))
    desk.write("decisions.live", decision(5, 9, "release", "clock.live@1", block=derive("decision", 2)))
    grouped = desk.write(
        "routes.live",
        Notification(
            id="n", subscription="ops", group={}, refs=(event, foreign), count=2, severity="info",
            first_ns=T0, time_ns=T0 + 6,
        ),
    )  # fmt: skip
    desk.write(
        "results.live-ops", delivery(3, event), delivery(4, foreign), delivery(7, grouped, "failed", 503)
    )
    for at, (about, right) in enumerate(([[cited], False], [[other], False], [[cited], True])):
        body = {"ref": about[0], "patterns": about, "right": right, "author": "kim", "note": None}
        desk.write("feedback.live", Note(kind="feedback", time_ns=T0 + 10 + at, body=body))
    return desk, one


def test_an_incident_is_told_from_its_first_pattern_to_the_last_word_on_it() -> None:
    desk, one = story()
    found = detail(desk.journals, desk.incidents.find(one))
    assert [(entry["kind"], entry["ref"], entry["text"]) for entry in found["timeline"]] == [
        ("event", "events.live@1", "pattern.spike: BTC (desk)  score 0.90"),
        ("event", "events.live@2", "pattern.spike: BTC (desk)  score 0.90"),
        ("incident", "events.live@3", "incident opened: 1× spike on 1 series, score 0.90"),
        ("decision", "decisions.live@1", "block of subject:BTC by p: because"),
        ("delivery", "results.live-ops@1", "ops: delivered, attempt 2"),
        ("decision", "decisions.live@3", "judgment of subject:BTC by p: because"),
        ("incident", "events.live@6", "incident resolved: 1× spike on 1 series, score 0.90"),
        ("delivery", "results.live-ops@3", "ops: failed, attempt 2, code 503"),
        ("decision", "decisions.live@4", "release of subject:BTC by p: because"),
        ("feedback", "feedback.live@1", "kim says wrong"),
        ("feedback", "feedback.live@3", "kim says right"),
    ]
    assert found["truncated"] is False
    assert found["patterns"] == ["patterns.desk@1", "patterns.desk@2"]
    assert (found["feedback"], found["right"]) == ({"patterns.desk@2": True}, True)
    assert found["incident"]["state"] == "resolved"
    assert found["ranked"] == [
        {"source": "desk", "subject": "BTC", "field": "price", "first_ns": T0 + 2, "score": 0.9,
         "pattern": "spike", "started": True}
    ]  # fmt: skip


def test_feedback_on_another_incident_is_none_on_this_one() -> None:
    desk, _ = story()
    found = detail(desk.journals, desk.incidents.find(derive("incident", "two")))
    assert (found["feedback"], found["right"]) == ({"patterns.desk@3": False}, False)
    assert {entry["ref"] for entry in found["timeline"] if entry["kind"] == "decision"} == {
        "decisions.live@2", "decisions.live@5",
    }  # fmt: skip


def test_of_a_long_story_the_newest_is_told_and_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, one = story()
    monkeypatch.setattr(timeline, "ENTRIES", 3)
    found = detail(desk.journals, desk.incidents.find(one))
    assert [entry["ref"] for entry in found["timeline"]] == [
        "decisions.live@4", "feedback.live@1", "feedback.live@3",
    ]  # fmt: skip
    assert found["truncated"] is True


def test_an_old_incident_is_told_without_reading_what_came_before_or_long_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    for at in range(200):
        desk.pattern(at)
    desk.change(200, "one", "opened")
    last = desk.change(201, "one", "resolved")
    for at in range(200):
        desk.pattern(300 + at)
    line = desk.incidents.find(derive("incident", "one"))
    assert line.ref == last
    read: list[int] = []
    raw = desk.events.raw

    def counted(first: int, last: int, **more: Any) -> Any:
        for row, lines in raw(first, last, **more):
            read.append(row.first)
            yield row, lines

    monkeypatch.setattr(desk.events, "raw", counted)
    assert len(detail(desk.journals, line)["timeline"]) == 2
    assert set(read) <= {201, 202}


def test_of_an_incident_that_stands_for_long_its_beginning_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, one = Desk(), derive("incident", "one")
    _, event = desk.pattern(1, one)
    opened = desk.change(1, "one", "opened")
    for at in range(2, 60):
        desk.pattern(at)
    updated = desk.change(60, "one", "updated")
    for at in range(61, 200):
        desk.pattern(at)
    _, newest = desk.pattern(200, one)
    monkeypatch.setattr(timeline, "_EVENTS", (20, 10**9))
    monkeypatch.setattr(timeline, "_BEGINNING", 10)
    found = detail(desk.journals, desk.incidents.find(one))
    assert [entry["ref"] for entry in found["timeline"]] == [event, opened, updated, newest]
    assert found["truncated"] is True
