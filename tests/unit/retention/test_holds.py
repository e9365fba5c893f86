"""A hold is a record; while it stands nothing that it covers goes, whoever was about to remove it."""

from __future__ import annotations

import pytest

from observer_core.retention import holds
from observer_core.shared.errors import InputError
from observer_core.shared.records import Note
from observer_core.storage.recovery import OPERATIONS
from tests.support.ageing import DAY_NS, START_NS, Market
from tests.support.faults import Between
from tests.unit.retention.conftest import Aged


def add(market: Market, *globs: str, **more: int) -> holds.Hold:
    return holds.add(
        market.journals, globs, author="counsel", reason="case 7", now_ns=market.clock.now_ns(), **more
    )  # fmt: skip


def test_it_is_a_record_that_stands_until_another_ends_it(aged: Aged) -> None:
    market = aged()
    made = add(market, "snapshots.*", "decisions.live", from_ns=START_NS, to_ns=START_NS + DAY_NS)
    assert holds.standing(market.journals) == [made]
    ended = holds.end(
        market.journals, made.id, author="counsel", reason="settled", now_ns=market.clock.now_ns()
    )
    assert ended == made
    assert holds.standing(market.journals) == []
    found = [entry.record for entry in market.journals.open(OPERATIONS).scan()]
    first, last = (record for record in found if isinstance(record, Note) and record.kind == "hold")
    assert first.body["action"] == "add"
    assert made.ref.startswith(OPERATIONS)
    assert (first.body["author"], first.body["reason"]) == ("counsel", "case 7")
    assert first.body["journals"] == ["snapshots.*", "decisions.live"]
    assert (last.body["action"], last.body["id"], last.body["reason"]) == ("end", made.id, "settled")


def test_what_cannot_be_meant_is_refused(aged: Aged) -> None:
    market = aged()
    with pytest.raises(InputError, match="no journal fits 'snapshot.one'"):
        add(market, "snapshot.one")
    with pytest.raises(InputError, match="before it begins"):
        add(market, "*", from_ns=2, to_ns=1)
    with pytest.raises(InputError, match="there is no hold 'x'"):
        holds.end(market.journals, "x", author="a", reason="r", now_ns=1)
    assert holds.standing(market.journals) == []


def test_what_it_covers_stays_and_all_behind_it_and_goes_when_it_has_ended(aged: Aged) -> None:
    market = aged()
    third_day = START_NS + 2 * DAY_NS + DAY_NS // 2
    made = add(market, "snapshots.one", from_ns=third_day, to_ns=third_day)
    plain = aged()
    plain.retain()
    done = market.retain()
    assert market.bases()["snapshots.one"] == 48  # two days of hours
    apart = {"snapshots.one": 0, "patterns.one": 0}  # computed again from a state that is of use now
    assert market.bases() | apart == plain.bases() | apart
    (why,) = [kept.why for kept in done.kept if kept.journal == "snapshots.one"]
    assert why == f"{made.text} (counsel: case 7)"
    holds.end(market.journals, made.id, author="counsel", reason="settled", now_ns=1)
    market.retain()
    assert market.bases() == plain.bases()
    market.verified()


def test_one_that_comes_while_a_run_is_under_way_is_in_time(aged: Aged) -> None:
    """Whatever step it comes before: nothing that it covers goes after it is told."""
    steps = counted(aged)
    for turn in range(0, steps, 3):
        market = aged()
        left: list[int] = []

        def act(step: int, turn: int = turn, market: Market = market, left: list[int] = left) -> None:
            if step == turn:
                add(market, "snapshots.*")
                left.extend(market.bases()[f"snapshots.{name}"] for name in ("one", "two"))

        between = Market(market.settings.paths.root, Between(market.storage, act), market.hour)
        between.retention().run()
        assert [market.bases()[f"snapshots.{name}"] for name in ("one", "two")] == left, turn
        market.verified()
    assert steps > 20


def counted(aged: Aged) -> int:
    steps: list[int] = []
    market = aged()
    between = Market(market.settings.paths.root, Between(market.storage, steps.append), market.hour)
    between.retain()
    return len(steps)


def test_it_stands_after_a_power_failure_that_took_its_record(aged: Aged) -> None:
    from observer_core.storage.recovery import _cut

    market = aged()
    made = add(market, "*")
    journal = market.journals.open(OPERATIONS)
    rows = list(journal.rows())
    _cut(market.journals, OPERATIONS, rows, rows[-2] if len(rows) > 1 else None)
    market.journals.forget()
    assert holds.standing(market.journals) == [made]
