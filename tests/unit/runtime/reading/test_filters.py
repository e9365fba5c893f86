"""Filters: what is said of the bytes agrees with what the record says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.shared.records import (
    SEVERITIES,
    Decision,
    Event,
    Note,
    PatternRecord,
    Snapshot,
    decode_record,
)

NAMES = ["BTC/USDT", "BTC", "*", 'a"b', "a\\b", "ü[1]", "x?y", "", "feed", "block", "gap", "pattern.spike"]
NAME = st.sampled_from(NAMES)
GLOB = st.sampled_from(
    [
        *NAMES,
        "BTC/*",
        "*USDT",
        "B?C*",
        "[ab]*",
        "a[",
        "*\\*",
        "ü*",
        "bl*k",
        "pattern.*",
        "io.qts.observer.pattern.*",
        "*spike",
        "ga?",
    ]
)
SEVERITY = st.sampled_from(SEVERITIES)
SOURCE = st.sampled_from(["feed", "host"])


@st.composite
def snapshot(draw: Any) -> Snapshot:
    subjects = tuple(draw(st.lists(NAME, unique=True, max_size=3)))
    flags = {name: ("gap", "stale") for name in subjects if draw(st.booleans())}
    return Snapshot(
        source=draw(SOURCE),
        event_ns=1,
        ingest_ns=2,
        subjects=subjects,
        quality=flags,
        fields={"price": np.ones(len(subjects))},
        error=draw(st.sampled_from([None, '"kind":"pattern"'])),
    )


@st.composite
def pattern(draw: Any) -> PatternRecord:
    series = tuple(("feed", name, "price") for name in draw(st.lists(NAME, min_size=1, max_size=3)))
    return PatternRecord(
        id="1",
        pattern=draw(NAME),
        series=series,
        score=0.5,
        severity=draw(SEVERITY),
        direction="none",
        tags=(),
        detector="x",
        evidence={draw(NAME): draw(NAME)},
        snapshot="s",
        event_ns=1,
        time_ns=2,
    )


@st.composite
def event(draw: Any) -> Event:
    kind = draw(
        st.sampled_from(["feed.unavailable", "feed.available", "feed.stale", "pattern.spike", "quarantined"])
    )
    data: dict[str, Any] = {draw(NAME): draw(NAME)}
    if draw(st.booleans()):
        data["series"] = [["feed", name, "price"] for name in draw(st.lists(NAME, max_size=3))]
    prefix = draw(st.sampled_from(["io.qts.observer.", ""]))
    return Event(
        id="1",
        source=f"/qts/observer/live/{draw(SOURCE)}",
        type=prefix + kind,
        subject=draw(NAME),
        time_ns=2,
        data=data,
        partitionkey="p",
        sequence="1",
        causationid="c",
        correlationid="",
        severitytext=draw(SEVERITY),
    )


@st.composite
def decision(draw: Any) -> Decision:
    return Decision(
        id="1",
        verdict=draw(st.sampled_from(["block", "release", "judgment"])),
        scope=draw(st.sampled_from(["*", "source:feed", *(f"subject:{name}" for name in NAMES)])),
        policy=draw(NAME),
        policy_version=1,
        reasons=({"code": draw(NAME)},),
        time_ns=2,
        causation=(),
        severity=draw(SEVERITY),
        evidence=draw(st.sampled_from([{}, {"source": "feed"}, {"scope": "subject:x"}])),
    )


NOTE = st.builds(
    Note, kind=st.just("command"), time_ns=st.just(2), body=st.dictionaries(NAME, NAME, max_size=2)
)
FILTERS = st.builds(
    Filter,
    source=st.one_of(st.none(), SOURCE),
    subject=st.one_of(st.none(), GLOB),
    what=st.one_of(st.none(), GLOB),
    severity=st.one_of(st.none(), SEVERITY),
    notes=st.booleans(),
)
RECORDS = {"snapshots": snapshot(), "patterns": pattern(), "events": event(), "decisions": decision()}


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_no_record_that_is_meant_is_passed_over_by_its_bytes(name: str, data: Any) -> None:
    wanted = data.draw(FILTERS.filter(lambda item: name not in ("events", "decisions") or item.subject != ""))
    sieve = KINDS[name].sieve(wanted)
    raw = data.draw(st.one_of(RECORDS[name], NOTE)).encode(1)
    if sieve.match(decode_record(raw)):
        assert sieve.maybe(raw)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("patterns", Filter(what="level_shift")),
        ("patterns", Filter(what="level_*")),
        ("patterns", Filter(subject="ETH")),
        ("patterns", Filter(subject="*TH")),
        ("patterns", Filter(severity="warning")),
        ("decisions", Filter(what="release")),
        ("decisions", Filter(subject="ETH")),
        ("events", Filter(what="feed.*")),
        ("events", Filter(source="host")),
        ("snapshots", Filter(subject="ETH")),
        ("snapshots", Filter(what="*")),
    ],
)
def test_what_is_asked_for_by_name_costs_no_decoding_of_the_others(name: str, wanted: Filter) -> None:
    other: dict[str, Any] = {
        "patterns": PatternRecord(
            id="1",
            pattern="spike",
            series=(("feed", "BTC", "price"),),
            score=0.5,
            severity="info",
            direction="none",
            tags=(),
            detector="x",
            evidence={},
            snapshot="s",
            event_ns=1,
            time_ns=2,
        ),
        "events": Event(
            id="1",
            source="/qts/observer/live/feed",
            type="io.qts.observer.pattern.spike",
            subject="BTC",
            time_ns=2,
            data={"series": [["feed", "BTC", "price"]]},
            partitionkey="p",
            sequence="1",
            causationid="c",
            correlationid="",
            severitytext="info",
        ),
        "decisions": Decision(
            id="1",
            verdict="block",
            scope="subject:BTC",
            policy="p",
            policy_version=1,
            reasons=(),
            time_ns=2,
            causation=(),
        ),
        "snapshots": Snapshot(
            source="feed", event_ns=1, ingest_ns=2, subjects=("BTC",), fields={"price": np.ones(1)}
        ),
    }
    assert not KINDS[name].sieve(wanted).maybe(other[name].encode(1))
