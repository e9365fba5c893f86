"""Alert latencies from the records of deliveries; dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.reports.told import BOUNDS_MS, Spread, Told, told
from observer_core.shared.clock import SECOND
from observer_core.shared.records import DeliveryResult, Note, Notification, Record
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.unit.runtime.reports.conftest import decision

START_NS = 1_772_409_600 * SECOND


def at(second: float) -> int:
    return START_NS + round(second * SECOND)


def result(ref: str, done: float, outcome: str = "delivered", sink: float = 0.5, **more: object) -> Record:
    return DeliveryResult(
        subscription="pager", record="id", ref=ref, attempt=1, outcome=outcome, time_ns=at(done),  # type: ignore[arg-type]
        latency_ns=round(sink * SECOND), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def read(journals: Journals, *, live: bool = True) -> Told:
    period = Period("daily", "UTC", at(0), at(1000), at(1000))
    return told(Stretches(journals, period), "live", live=live)


def journals_with(**found: Sequence[Record]) -> Journals:
    journals = Journals(MemoryStorage(), worker="w")
    for name, records in found.items():
        kind, _, rest = name.partition("__")
        journal = journals.open(f"{kind}.{rest.replace('_', '-')}", "live")
        for one in records:
            journal.commit(journal.head(), Commit(records=[one]))
    return journals


def test_a_latency_runs_from_when_it_was_knowable_to_the_end_of_the_attempt_that_delivered_it() -> None:
    journals = journals_with(
        decisions__live=[decision(1, "block", "*", "x", at(10)), decision(2, "judgment", "*", "x", at(20))],
        results__live_pager=[
            result("decisions.live@1", 11, "failed"), result("decisions.live@1", 17),
            result("decisions.live@2", 21, sink=0.25), result("decisions.live@2", 90, replay=True),
        ],
    )  # fmt: skip
    found = read(journals)
    assert list(found.whole.values) == [7 * SECOND, SECOND]
    assert list(found.before.values) == [6_500_000_000, 750_000_000]
    assert list(found.blocks.values) == [7 * SECOND]
    assert (found.whole.beyond(), found.whole.slowest) == (1, "decisions.live@1")
    (one,) = found.subscribers
    assert (one.name, one.attempts, one.replays) == ("pager", 4, 1)
    assert one.outcomes == {"failed": 1, "delivered": 2}


def test_what_was_told_with_others_waited_on_purpose() -> None:
    notification = Notification(
        id="n", subscription="pager", group={}, refs=("events.live@1",), count=3, severity="info",
        first_ns=at(1), time_ns=at(30),
    )  # fmt: skip
    journals = journals_with(routes__live=[notification], results__live_pager=[result("routes.live@1", 31)])
    found = read(journals)
    assert (found.grouped, len(found.whole)) == (1, 0)


def test_a_recording_has_no_latency() -> None:
    journals = journals_with(
        decisions__live=[decision(1, "block", "*", "x", at(10))],
        results__live_pager=[result("decisions.live@1", 900)],
    )
    found = read(journals, live=False)
    assert len(found.whole) == 0
    assert found.subscribers[0].outcomes == {"delivered": 1}


def test_dead_letters_wait_until_they_are_redriven_or_dropped() -> None:
    letters = [
        Note(kind="dead_letter", time_ns=at(second), body={"id": name, "state": state})
        for second, name, state in [(-5, "a", "buried"), (1, "b", "buried"), (2, "a", "dropped")]
    ]
    found = read(journals_with(deadletters__live=letters))
    assert (found.buried, found.letters) == (1, {"buried": 1, "dropped": 1})


@given(st.lists(st.integers(0, 100 * SECOND), min_size=1, max_size=60))
def test_quantiles_are_values_that_were_measured_and_every_one_is_in_a_bin(values: list[int]) -> None:
    spread = Spread()
    for value in values:
        spread.add(value, f"r@{value}")
    p50, p95, p99, most = spread.quantiles()
    assert {p50, p95, p99, most} <= set(values)
    assert p50 <= p95 <= p99 <= most == max(values) == spread.slowest_ns
    assert 2 * sum(value <= p50 for value in values) >= len(values)
    assert sum(spread.bins()) == len(values)
    edge = BOUNDS_MS.index(5_000) + 1
    assert spread.beyond() == sum(spread.bins()[edge:])
