"""Blocks with their lengths against a count of every second; acts, what was withheld, the risk state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from observer_core.decision_pipeline.history import fold
from observer_core.runtime.reports.decided import Decided, decided, union
from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.unit.runtime.reports.conftest import decision

START_NS = 1_772_409_600 * SECOND
SCOPES, POLICIES = ("*", "source:one", "subject:A", "subject:B"), ("operator", "stale-feed", "kill")


def at(second: float) -> int:
    return START_NS + round(second * SECOND)


def read(decisions: Sequence[Decision], start: float, until: float) -> Decided:
    journals = Journals(MemoryStorage(), worker="w")
    journal = journals.open("decisions.live", "live")
    for one in decisions:
        journal.commit(journal.head(), Commit(records=[one]))
    period = Period("daily", "UTC", at(start), at(until), at(until))
    return decided(Stretches(journals, period), "live")


def history(seed: int) -> list[Decision]:
    chance, made, second = random.Random(seed), list[Decision](), 0
    for number in range(150):
        second += chance.choice([0, 1, 3, 10])
        scope, policy = chance.choice(SCOPES), chance.choice(POLICIES)
        stands = policy in fold(made).blocks.get(scope, {})
        verdict: Any = chance.choice(["block", "release"] if stands else ["block", "judgment"])
        made.append(decision(number, verdict, scope, policy, at(second), code="expired"))
    return made


@pytest.mark.parametrize("seed", range(12))
def test_blocked_time_is_what_a_count_of_every_second_gives(seed: int) -> None:
    made, chance = history(seed), random.Random(seed)
    last = (made[-1].time_ns - START_NS) // SECOND + 5
    start, until = sorted(chance.sample(range(last), 2))
    found = read(made, start, until)
    seconds = {second: fold(made, at(second)).blocks for second in range(start, until)}
    assert found.blocked_ns == sum(bool(blocks) for blocks in seconds.values()) * SECOND
    assert found.domain_ns == sum("*" in blocks for blocks in seconds.values()) * SECOND
    for policy in POLICIES:
        stood = sum(policy in one for blocks in seconds.values() for one in blocks.values())
        total = found.by_policy[policy].total_ns if policy in found.by_policy else 0
        assert total == stood * SECOND
    assert found.standing == sum(map(len, fold(made, at(until) - 1).blocks.values()))
    begun = sum(one.verdict == "block" and at(start) <= one.time_ns < at(until) for one in made)
    assert sum(one.begun for one in found.by_policy.values()) == begun
    assert found.sure


def test_a_block_has_its_whole_length_and_what_ended_it() -> None:
    found = read(
        [decision(1, "block", "subject:A", "shock", at(10)),
         decision(2, "release", "subject:A", "shock", at(100), code="recovered")],
        50, 200,
    )  # fmt: skip
    (one,) = found.shown
    assert (one.length_ns, one.whole_ns) == (50 * SECOND, 90 * SECOND)
    assert (one.ended, one.record, one.ended_by) == ("recovered", "decisions.live@1", "decisions.live@2")
    assert (found.by_policy["shock"].begun, found.by_policy["shock"].stood) == (0, 1)
    assert found.released == {"recovered": 1}


def test_acts_of_people_are_told_with_author_reason_and_record() -> None:
    by = {"author": "mira", "principal": None}
    found = read(
        [decision(1, "block", "*", "kill", at(1), code="kill", reason=by),
         decision(2, "release", "*", "kill", at(2), code="unkill", reason=by),
         decision(3, "release", "subject:A", "override", at(3), code="override", reason=by),
         decision(4, "release", "subject:A", "shock", at(3), code="override", reason=by),
         decision(5, "non_execution", "*", "operator", at(4), code="needs_confirmation", reason=by),
         decision(6, "block", "subject:B", "shock", at(5))],
        0, 10,
    )  # fmt: skip
    assert [(act.what, act.author, act.record) for act in found.acts] == [
        ("kill", "mira", "decisions.live@1"), ("unkill", "mira", "decisions.live@2"),
        ("override", "mira", "decisions.live@3"), ("needs_confirmation", "mira", "decisions.live@5"),
    ]  # fmt: skip
    assert found.withheld == {("operator", "needs_confirmation"): 1}
    assert found.act_count == 4


def test_the_domain_is_at_each_level_of_risk_for_as_long_as_its_records_say() -> None:
    levels = [(10, "elevated"), (30, "critical"), (40, "calm")]
    made = [
        decision(second, "judgment", "*", "risk", at(second), code="risk", reason={"level": level})
        for second, level in levels
    ]
    assert read(made, 20, 100).risk_ns == {
        "elevated": 10 * SECOND, "critical": 10 * SECOND, "calm": 60 * SECOND,
    }  # fmt: skip


def test_nothing_decided_is_nothing_blocked() -> None:
    found = read([], 0, 10)
    assert (found.blocks, found.blocked_ns, found.shown, found.refs) == (0, 0, [], "")


def test_spans_are_joined_where_they_meet() -> None:
    assert union([(5, 7), (1, 2), (2, 4), (6, 6), (6, 9), (20, 20)]) == [(1, 4), (5, 9)]
