"""Stored lines: their times without decoding, and backwards what forwards is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.reading import lines
from observer_core.runtime.reading.lines import Budget, backwards, forwards, line_at, time_of
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import NotFound
from observer_core.shared.records import (
    Decision,
    DeliveryResult,
    Event,
    Note,
    PatternRecord,
    Route,
    Snapshot,
)
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import InputRange

T0 = 1_700_000_000 * SECOND
NASTY = st.sampled_from(
    [
        "a",
        "time_ns",
        "ingest_ns",
        '"time_ns":5',
        '"time":"x","type":"y"}',
        ',"kind":"snapshot",',
        "specversion",
        "time",
        "]}",
        "\\",
        "é\n",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(NASTY, st.integers(-9, 9), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NASTY, inner, max_size=3)),
    max_leaves=6,
)
BODIES = st.dictionaries(NASTY, VALUES, max_size=3)
TIMES = st.integers(0, 2**62)


@given(TIMES, NASTY, BODIES, st.sampled_from(range(7)))
@settings(max_examples=300, deadline=None)
def test_the_time_in_the_bytes_is_the_records_own(time_ns: int, text: str, body: Any, which: int) -> None:
    records: list[Any] = [
        Note(kind="command", time_ns=time_ns, body=body),
        PatternRecord(
            id=text,
            pattern=text,
            series=((text, text, text),),
            score=0.5,
            severity="info",
            direction="none",
            tags=(text,),
            detector=text,
            evidence=body,
            snapshot=text,
            event_ns=1,
            time_ns=time_ns,
        ),
        Decision(
            id=text,
            verdict="block",
            scope=text,
            policy=text,
            policy_version=1,
            reasons=(body,),
            time_ns=time_ns,
            causation=(text,),
            until_ns=None if time_ns % 2 else 7,
            evidence=body,
        ),
        Event(
            id=text,
            source=text,
            type=f"io.{text}",
            subject=text,
            time_ns=time_ns,
            data=body,
            partitionkey=text,
            sequence="1",
            causationid=text,
            correlationid=text,
            severitytext="info",
        ),
        Snapshot(
            source=text,
            event_ns=1,
            ingest_ns=time_ns,
            subjects=(text,),
            fields={text: np.array([1.0])},
            quality={text: ("gap",)},
            decimals={text: {text: "1"}},
            error=text,
            origin=body,
        ),
        Route(ref=text, to=(text,), grouped=(), stopped={text: (text,)}, time_ns=time_ns),
        DeliveryResult(
            subscription=text,
            record=text,
            ref=text,
            attempt=1,
            outcome="failed",
            time_ns=time_ns,
            latency_ns=1,
            detail=text,
        ),
    ]
    assert time_of(records[which].encode(1)) == time_ns


def written(sizes: list[int]) -> Journal:
    """A journal of commits with so many records; without any it consumes only."""
    journal = Journals(MemoryStorage(), worker="w").open("decisions.live", "live")
    head, number = journal.head(), 0
    for place, size in enumerate(sizes):
        records = [
            Note(kind="command", time_ns=T0 + (number + n) // 3, body={"n": number + n}) for n in range(size)
        ]
        inputs = [InputRange("events.live", place + 1, place + 1)]
        head = journal.commit(head, Commit(records=records, inputs=inputs))
        number += size
    return journal


SIZES = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 5, 40]), min_size=1, max_size=60)


@given(SIZES, st.data())
@settings(max_examples=100, deadline=None)
def test_backwards_is_forwards_the_other_way_however_it_was_committed(sizes: list[int], data: Any) -> None:
    journal = written(sizes)
    position = journal.head().position
    first = data.draw(st.integers(1, max(1, position)))
    last = data.draw(st.integers(0, position))
    there = list(forwards(journal, first, last)) if first <= last else []
    assert list(backwards(journal, first, last)) == there[::-1]
    assert [line.position for line in there] == list(range(first, last + 1))
    for line in there:
        assert line == line_at(journal, line.position)
        assert line.time_ns == line.record.time_ns
        assert journal._storage.segments.read(line.segment, line.offset, len(line.raw)) == line.raw


@given(SIZES, st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_what_is_passed_over_is_known_from_what_is_given(sizes: list[int], every: int) -> None:
    journal = written(sizes)
    budget = Budget(10**6, 10**9)
    wanted = [line for line in forwards(journal, 1, journal.head().position) if line.position % every == 0]
    raws = {line.raw for line in wanted}
    found = list(backwards(journal, 1, journal.head().position, raws.__contains__, budget))
    assert [line for line in found if line.raw in raws] == wanted[::-1]
    assert [line.position for line in found] == sorted({line.position for line in found}, reverse=True)
    assert 10**6 - budget.records == journal.head().position
    if found:
        assert found[-1].position == 1


def test_a_quiet_journal_is_not_read_through_for_its_newest_records(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written([1, *[0] * 300, 1, *[0] * 300, 1])
    asked: list[int] = []
    query = journal._storage.tables.query

    def counted(*args: Any) -> Any:
        rows = query(*args)
        asked.append(len(rows))
        return rows

    monkeypatch.setattr(journal._storage.tables, "query", counted)
    assert [line.position for line in backwards(journal, 1, 3)] == [3, 2, 1]
    assert sum(asked) < 300


def test_a_large_record_is_read_in_smaller_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written([1] * 200)
    monkeypatch.setattr(lines, "_STEP_BYTES", 10)
    read: list[int] = []
    raw = journal.raw
    monkeypatch.setattr(
        journal,
        "raw",
        lambda first, last, **more: (read.append(last - first + 1), raw(first, last, **more))[1],
    )
    assert len(list(backwards(journal, 1, 200))) == 200
    assert max(read[1:]) == 1


def test_what_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"decisions.live@3"):
        line_at(written([2]), 3)
    with pytest.raises(NotFound, match=r"decisions.live@9"):
        list(backwards(written([2]), 1, 9))


def test_when_the_budget_is_spent_it_says_behind_which_record_nothing_was_looked_at() -> None:
    journal = written([1] * 300)
    *found, end = backwards(journal, 1, 300, lambda raw: False, Budget(20, 10**9))
    assert end.is_end
    assert (end.position, end.time_ns) == (found[-1].position, found[-1].time_ns)
    assert 1 < end.position <= 280
    assert not any(line.is_end for line in found)
