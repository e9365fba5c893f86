"""/v1/series over HTTP: what a page is told of a recording, and what it may ask."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from observer_core.shared.clock import format_time
from observer_core.web.api import models
from tests.support.web import JUMP_AT, MINUTE, MINUTES, SILENT_FROM, START_NS, Site, assert_problem

A: dict[str, Any] = {"source": "desk", "subject": "A/USD", "field": "close"}


def at(minute: float) -> str:
    return format_time(START_NS + round(minute * MINUTE))


def points(site: Site, **query: Any) -> dict[str, Any]:
    response = site.get("/v1/series/points", params={**A, **query})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    models.Points.model_validate(body)
    return body


def test_the_series_of_all_sources_are_listed(reading: Site) -> None:
    found = models.SeriesList.model_validate(reading.get("/v1/series").json()).items
    assert [item.source for item in found] == ["desk", "feed", "host"]
    desk = found[0]
    assert (desk.domain, desk.subjects, desk.candles) == ("desk", ["A/USD", "B/USD", "C/USD"], True)
    assert set(desk.fields) == {"open", "high", "low", "close", "volume"}
    assert (desk.first_ns, desk.last_ns) == (START_NS, START_NS + (MINUTES - 1) * MINUTE)
    only = reading.get("/v1/series", params={"domain": "live"}).json()["items"]
    assert [item["source"] for item in only] == ["feed", "host"]


def test_a_line_is_all_there_is_and_ends_where_the_feed_fell_silent(reading: Site) -> None:
    found = points(reading)
    assert (found["rows"], found["complete"], len(found["value"])) == (MINUTES, True, MINUTES)
    silent = points(reading, subject="B/USD")
    assert silent["rows"] == SILENT_FROM
    assert silent["last_ms"] == (START_NS + (SILENT_FROM - 1) * MINUTE) / 1e6


def test_a_line_is_reduced_and_keeps_the_jump(reading: Site) -> None:
    found = points(reading, points=40)
    assert 10 < len(found["value"]) <= 40
    assert max(found["value"]) == max(points(reading)["value"])
    assert found["first_ms"] == START_NS / 1e6


def test_candles_are_made_of_the_bars(reading: Site) -> None:
    found = points(reading, form="candles", points=60)
    assert found["bucket_ms"] == 5 * 60_000
    assert len(found["open"]) == len(found["volume"]) == MINUTES // 5
    assert all(low <= close <= high for low, close, high in zip(found["low"], found["close"], found["high"]))


def test_a_span_may_be_given_as_times_or_back_from_the_newest(reading: Site) -> None:
    assert points(reading, since=at(10), until=at(12))["rows"] == 3
    assert points(reading, since=at(10), until=at(10.5))["rows"] == 1
    assert points(reading, since="10m")["rows"] == 10  # a bar is known a minute after its stamp
    assert points(reading, since=at(10.1), until=at(10.2)) | {"unit": None} == {
        **A, "unit": None, "form": "line", "rows": 0, "bucket_ms": None, "time_ms": [], "value": [],
        "first_ms": None, "last_ms": None, "complete": True,
    }  # fmt: skip


def test_the_jump_is_marked(reading: Site) -> None:
    response = reading.get("/v1/series/markers", params={**A, "all": "true"})
    found = models.Markers.model_validate(response.json())
    times = [item.time_ms for item in found.items]
    assert any(0 <= time - START_NS / 1e6 - JUMP_AT * 60_000 <= 5 * 60_000 for time in times)
    assert times == sorted(times)
    before = reading.get("/v1/series/markers", params={**A, "until": at(JUMP_AT - 60)}).json()
    assert len(before["items"]) < len(times)
    first = found.items[0].ref
    assert first.startswith("patterns.desk@")


@pytest.mark.parametrize("path", ["/v1/series/points", "/v1/series/markers"])
@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ({"source": "nothing"}, ["no source 'nothing'", "desk"]),
        ({"source": "../secret"}, ["no source '../secret'"]),
        ({"since": "yesterday"}, ["'yesterday'"]),
        ({"since": at(5), "until": at(4)}, ["since", "after until"]),
        ({"colour": "red"}, ["colour", "unknown"]),
        ({"subject": "x" * 300}, ["subject"]),
    ],
)
def test_what_cannot_be_answered_is_said(
    reading: Site, path: str, query: dict[str, str], parts: list[str]
) -> None:
    assert_problem(reading.get(path, params={**A, **query}), 400, *parts)


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ({"points": "9"}, "points"), ({"points": "5001"}, "points"), ({"form": "pie"}, "form"),
        ({"subject": "X"}, "no subject 'X'"), ({"field": "x"}, "no field 'x'"),
        ({"field": "volume", "form": "candles"}, "as a line"),
    ],
)  # fmt: skip
def test_points_are_of_what_there_is(reading: Site, query: dict[str, str], part: str) -> None:
    assert_problem(reading.get("/v1/series/points", params={**A, **query}), 400, part)


def test_what_is_missing_in_the_query_is_named(reading: Site) -> None:
    assert_problem(reading.get("/v1/series/points", params={"source": "desk"}), 400, "subject", "field")
    assert_problem(reading.get("/v1/series", params={"domain": "mars"}), 400, "no domain 'mars'")
    assert_problem(reading.get("/v1/series/markers", params={**A, "limit": "501"}), 400, "limit")


def test_a_point_that_was_just_committed_is_in_the_next_answer(site: Site) -> None:
    query = {"source": "feed", "subject": "BTC/USDT", "field": "price"}
    before = points(site, **query)["rows"]
    site.clock.advance(MINUTE)
    site.collect("feed", "BTC/USDT")
    assert points(site, **query)["rows"] == before + 1


def test_what_is_built_ahead_begins_and_ends_with_the_application(site: Site) -> None:
    before = set(threading.enumerate())

    def builds() -> bool:
        return any(thread.name == "series" for thread in set(threading.enumerate()) - before)

    assert not builds()
    with site.client:
        assert builds()
    assert not builds()


def test_an_observer_without_data_has_no_series(empty: Site) -> None:
    assert empty.get("/v1/series").json() == {"items": []}
    assert_problem(empty.get("/v1/series/points", params=A), 400, "known are none yet")
