"""Records, incidents and lineages over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from observer_core.runtime import operate
from observer_core.runtime.acts.judging import judged
from observer_core.shared.records import Note
from observer_core.storage.journal import Journal
from observer_core.web import waiting
from observer_core.web.api import models
from observer_core.web.api.context import READERS
from tests.support.web import JUMP_AT, MINUTE, NOW, START_NS, Site, assert_problem

KINDS = ("snapshots", "patterns", "events", "decisions")


def items(site: Site, path: str) -> list[dict[str, Any]]:
    response = site.get(path)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def paged(site: Site, path: str, limit: int) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while True:
        body = site.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}").json()
        found += body["items"]
        if body["next"] is None:
            return found
        cursor = f"&cursor={body['next']}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_in_a_list_is_exactly_what_is_stored(reading: Site, kind: str) -> None:
    response = reading.get(f"/v1/{kind}?limit=5")
    models.Page[models.RecordItem].model_validate_json(response.content)
    for item in response.json()["items"]:
        (_, (line,)) = next(
            (row, lines[item["position"] - row.first :][:1])
            for row, lines in reading.observer.journals.open(item["journal"]).raw(
                item["position"], item["position"]
            )
        )
        assert line in response.content
        assert orjson.loads(line) == item["record"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_are_the_whole_list_newest_first_over_all_domains(reading: Site, kind: str, limit: int) -> None:
    found = paged(reading, f"/v1/{kind}", limit)
    journals = reading.observer.journals
    there = {
        entry.ref
        for name in journals.names(kind)
        for entry in journals.open(name).scan()
        if type(entry.record).__name__ != "Note"
    }
    assert {item["ref"] for item in found} == there
    assert len(found) == len(there)
    assert [item["time"] for item in found] == sorted((item["time"] for item in found), reverse=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/patterns?kind=feed_*", {"feed_stale"}),
        ("/v1/events?type=incident.opened", {"io.qts.observer.incident.opened"}),
        ("/v1/events?type=feed.*&domain=desk", {"io.qts.observer.feed.stale"}),
        ("/v1/decisions?verdict=bl*&domain=desk", {"block"}),
        ("/v1/decisions?subject=B/*&domain=desk", {"block"}),
        ("/v1/snapshots?source=host", {"host"}),
        ("/v1/patterns?source=host", set()),
        ("/v1/patterns?severity=critical", set()),
        ("/v1/patterns?domain=live", set()),
        ("/v1/snapshots?subject=BTC*", {"feed"}),
        ("/v1/snapshots?flag=nothing", set()),
    ],
)  # fmt: skip
def test_filters_keep_what_matches(reading: Site, path: str, expected: set[str]) -> None:
    keys = {"patterns": "pattern", "events": "type", "decisions": "verdict", "snapshots": "source"}
    key = keys[path.removeprefix("/v1/").partition("?")[0]]
    assert {item["record"][key] for item in items(reading, path)} == expected


def test_times_are_a_moment_or_a_span_before_the_newest(reading: Site) -> None:
    since, until = START_NS + JUMP_AT * MINUTE, START_NS + (JUMP_AT + 2) * MINUTE
    between = items(reading, f"/v1/snapshots?source=desk&since={since}&until={until}")
    assert [item["record"]["ingest_ns"] for item in between] == [until, until - MINUTE, since]
    assert len(items(reading, "/v1/snapshots?source=desk&since=2m")) == 3
    assert items(reading, "/v1/snapshots?source=desk&since=2m") == items(
        reading, "/v1/snapshots?source=desk&limit=3"
    )


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/events?domain=mars", 404, "there is no domain 'mars'; known are live, desk"),
        ("/v1/events?source=mars", 404, "there is no source 'mars'"),
        ("/v1/events?severity=grave", 400, "severity is 'grave'; info, warning or critical was expected"),
        ("/v1/events?since=soon", 400, "'soon' is not a time"),
        ("/v1/events?cursor=soon", 400, "'soon' is no cursor; `next` of an earlier answer was expected"),
        ("/v1/events?limit=0", 400, "limit is '0'"),
        ("/v1/events?limit=1001", 400, "limit is '1001'"),
        ("/v1/events?flag=gap", 400, "parameter 'flag' is unknown"),
        ("/v1/events?after=soon", 400, "'soon' is no cursor"),
        ("/v1/events?after=now&since=1h", 400, "since goes with a list, after with what comes"),
        ("/v1/events?after=now&wait=56", 400, "wait is '56'; 0 to 55 seconds were expected"),
        ("/v1/events?after=now&domain=mars&wait=0", 404, "there is no domain 'mars'"),
        ("/v1/records/events.desk@999", 404, "events.desk has records 1 to 6, 999 is none of them"),
        ("/v1/records/mars.desk@1", 404, "there is no journal 'mars.desk'"),
        ("/v1/records/events", 400, "'events' is not JOURNAL@POSITION"),
        ("/v1/events/decisions.desk@1", 400, "is in another journal; expected events.DOMAIN@N, or an id"),
        ("/v1/decisions/abc", 400, "'abc' is no id; expected decisions.DOMAIN@N, or 8 to 32 hex digits"),
        ("/v1/decisions/00000000", 404, "there is no decision whose id begins with '00000000'"),
        ("/v1/decisions/00000000/lineage", 404, "there is no decision whose id begins with '00000000'"),
        ("/v1/decisions/events.desk@2/lineage", 400, "expected decisions.DOMAIN@N or gate.DOMAIN@N, or"),
        ("/v1/decisions/decisions.desk@1/lineage", 400, "is a note of the journal (epoch), no decision"),
        ("/v1/incidents/00000000", 404, "there is no incident whose id begins with '00000000'"),
        ("/v1/incidents/x", 400, "'x' is no id; expected 8 to 32 hex digits of an id"),
        ("/v1/incidents?open=maybe", 400, "open is 'maybe'"),
    ],
)  # fmt: skip
def test_a_bad_question_is_a_problem(reading: Site, path: str, status: int, detail: str) -> None:
    assert_problem(reading.get(path), status, detail)


def test_a_configured_domain_without_records_has_empty_lists(empty: Site) -> None:
    for kind in (*KINDS, "incidents"):
        assert empty.get(f"/v1/{kind}?domain=live").json() == {"items": [], "next": None}
    assert empty.get("/v1/snapshots?source=feed").json() == {"items": [], "next": None}


def test_one_record_has_several_names(reading: Site) -> None:
    for kind in ("events", "decisions"):
        item = items(reading, f"/v1/{kind}?domain=desk")[0]
        identity = item["record"]["id"]
        for name in (item["ref"], identity, identity[:8]):
            assert reading.get(f"/v1/{kind}/{name}").json() == item
        assert reading.get(f"/v1/records/{item['ref']}").json() == item
    note = reading.get("/v1/records/commands.live@1").json()
    assert note["record"]["kind"] == "command"


def test_incidents_are_told_once_each_and_in_full(site: Site) -> None:
    response = site.get("/v1/incidents")
    models.Page[models.IncidentItem].model_validate_json(response.content)
    listed = response.json()["items"]
    assert [item["state"] for item in listed] == ["resolved", "open"]
    assert items(site, "/v1/incidents?open=true") == listed[1:]
    assert items(site, "/v1/incidents?open=false") == listed[:1]
    assert items(site, "/v1/incidents?subject=B/*&kind=feed_*") == listed[1:]
    assert items(site, "/v1/incidents?source=desk") == listed
    assert items(site, "/v1/incidents?source=host") == []
    assert items(site, "/v1/incidents?domain=live") == []
    assert paged(site, "/v1/incidents", 1) == listed
    for item in listed:
        told = site.get(f"/v1/incidents/{item['id']}")
        models.Incident.model_validate_json(told.content)
        assert told.json()["incident"] == item
        assert {"incident", "event", "decision"} <= {entry["kind"] for entry in told.json()["timeline"]}


def test_what_people_say_of_an_incident_is_seen_with_it(site: Site) -> None:
    (item,) = items(site, "/v1/incidents?open=true")
    before = site.get(f"/v1/incidents/{item['id']}").json()
    assert (before["feedback"], before["right"]) == ({}, None)
    judged(site.observer.journals, site.clock, before["patterns"][0], right=True, author="kim")
    after = site.get(f"/v1/incidents/{item['id']}").json()
    assert (after["feedback"], after["right"]) == ({before["patterns"][0]: True}, True)
    assert after["timeline"][-1]["text"] == "kim says right"


def test_a_lineage_is_as_described(reading: Site) -> None:
    for item in items(reading, "/v1/decisions"):
        response = reading.get(f"/v1/decisions/{item['record']['id']}/lineage")
        found = models.Lineage.model_validate_json(response.content)
        assert found.verified.sound
        assert found.step.record == item["record"]


def test_a_chain_that_cannot_be_read_is_said_so(site: Site) -> None:
    (item,) = items(site, "/v1/decisions?domain=desk&verdict=block&subject=B/*")
    step = site.get(f"/v1/decisions/{item['ref']}/lineage").json()["step"]["causes"][0]
    del site.storage.segments.data[step["segment"]]  # type: ignore[attr-defined]
    response = site.get(f"/v1/decisions/{item['ref']}/lineage")
    assert_problem(response, 500, "its chain cannot be read", "events.desk", "run `observer verify`")


# ---------------------------------------------------------------------- what comes (long poll)


def quarantine(site: Site, journal: str = "patterns.feed") -> None:
    """Something that becomes an event of `live` in the next step."""
    there = site.observer.journals.open(journal)
    body = {"input": "snapshots.feed", "position": 1, "scopes": ["source:feed"], "error": "x"}
    operate.append(there, [Note(kind="quarantine", time_ns=NOW, body=body)])
    site.work()


def coming(site: Site, after: str, **query: Any) -> Any:
    response = site.get("/v1/events", params={"after": after, "wait": 0, **query})
    assert response.status_code == 200, response.text
    models.Page[models.RecordItem].model_validate_json(response.content)
    return response.json()


def test_what_comes_is_told_oldest_first_and_once(site: Site) -> None:
    start = coming(site, "now")
    assert start["items"] == []
    quarantine(site)
    quarantine(site, "patterns.host")
    first = coming(site, start["next"], limit=1)
    second = coming(site, first["next"])
    assert [item["ref"] for item in [*first["items"], *second["items"]]] == ["events.live@2", "events.live@3"]
    assert coming(site, second["next"]) == {"items": [], "next": second["next"]}
    assert [item["ref"] for item in coming(site, start["next"])["items"]] == [
        "events.live@2",
        "events.live@3",
    ]


def test_what_is_not_meant_is_passed_over_for_good(site: Site) -> None:
    start = coming(site, "now")
    quarantine(site)
    for query in ({"source": "host"}, {"domain": "desk"}, {"severity": "critical", "type": "feed.*"}):
        found = coming(site, start["next"], **query)
        assert found["items"] == []
    assert coming(site, found["next"]) == {"items": [], "next": found["next"]}
    assert len(coming(site, start["next"], severity="critical")["items"]) == 1


def test_who_waits_hears_of_it_when_it_is_committed(site: Site) -> None:
    start = coming(site, "now")["next"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(coming, site, start, wait=55)
        while not waiting.running():
            pass
        quarantine(site)
        (item,) = waiting.result(30)["items"]
    assert item["record"]["type"] == "io.qts.observer.quarantined"


def test_a_crowd_that_waits_is_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 0)
    response = site.get("/v1/events?after=now&wait=0")
    assert_problem(response, 503, "clients wait for events already")
    assert response.headers["retry-after"] == "1"


def test_a_domain_that_is_new_is_told_from_its_beginning(site: Site) -> None:
    start = coming(site, "now")["next"]
    events = site.observer.journals.open("events.desk")
    head = events.head()
    made: Journal = site.observer.journals.open("events.new", "new")
    old = [entry.record for entry in events.scan()]
    operate.append(made, old)
    found = coming(site, start)
    assert [item["journal"] for item in found["items"]] == ["events.new"] * (head.position - 1)


def test_what_waits_holds_no_thread(site: Site) -> None:
    start = coming(site, "now")["next"]
    with ThreadPoolExecutor(3 * READERS) as pool:
        waiting = [pool.submit(coming, site, start, wait=20) for _ in range(3 * READERS)]
        while not all(one.running() for one in waiting):
            pass
        assert len(items(site, "/v1/events?limit=1")) == 1
        quarantine(site)
        assert all(len(one.result(30)["items"]) == 1 for one in waiting)
