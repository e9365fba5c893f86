"""The same history under other policies: equal where they are, and what differs told with its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.policy import Policy
from observer_core.runtime import operate
from observer_core.runtime.audit.replay import digest_of
from observer_core.runtime.observer import Observer
from observer_core.runtime.study.whatif import (
    Blocked,
    acting,
    backtest,
    difference,
    flips,
    redecide,
    standing,
)
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Note
from observer_core.storage.memory import MemoryStorage
from tests.support.market import MINUTE, START_NS, Live, observer, recording, take

FAST = {"spike": {"threshold": 5.0}, "stale": {"min_arrivals": 5}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Observer:
    """The recorded market: B is stale for a while, A jumps."""
    folder = tmp_path_factory.mktemp("desk")
    it = observer(folder, MemoryStorage())
    take(it, recording(folder / "desk.csv"))
    return it


def policy(**given: Any) -> Policy:
    base = {
        "name": "stale-feed", "version": 9, "owner": "risk", "description": "x", "verdict": "block",
        "match": {"types": ["feed.stale"]}, "until": "resumed",
    }  # fmt: skip
    return Policy.model_validate({**base, **given})


def under(it: Observer, *policies: Policy) -> DecisionConfig:
    return it.decisions.model_copy(update={"policies": policies})


def test_under_the_same_policies_nothing_differs(desk: Observer) -> None:
    before = digest_of(desk.journals)
    history = redecide(desk.journals, "desk", desk.decisions)
    assert history.recorded
    assert [d.encode(1) for d in history.decided] == [d.encode(1) for d in history.recorded]
    assert difference(history) == []
    found = flips(history)
    assert (found.flips, found.entries > 0) == ([], True)
    assert digest_of(desk.journals) == before


def test_a_live_history_with_commands_and_ticks_is_decided_anew_as_it_was(tmp_path: Path) -> None:
    live = Live(tmp_path, recognise=FAST)
    for second in range(60):
        live.second()
        live.collect("one", {"a": 10 + second % 3, **({} if 30 <= second < 50 else {"b": 20 + second % 5})})
        if second == 40:
            operate.command(
                live.observer.journals, live.clock, "live", author="kim", reason="drill", command="override",
                scope="*", until_ns=live.clock.now_ns() + 5 * SECOND,
            )  # fmt: skip
    live.observer.domain("live").work(refresh=True, flush=True)
    history = redecide(live.observer.journals, "live", live.observer.decisions)
    assert {"block", "release"} <= {decision.verdict for decision in history.recorded}
    assert difference(history) == []
    assert flips(history).flips == []
    assert history.entries > 60


def test_an_event_that_is_decided_otherwise_is_a_flip(desk: Observer) -> None:
    history = redecide(desk.journals, "desk", under(desk, policy(until="1h")))
    stale = [d for d in history.recorded if d.policy == "stale-feed" and d.verdict == "block"]
    found = {flip.ref: flip for flip in flips(history).flips}
    flip = found[stale[0].causation[-1]]
    assert flip.change == "block → block"
    assert [d.until_ns for d in flip.before] == [None]
    assert [d.until_ns for d in flip.after] == [stale[0].time_ns + 60 * MINUTE]
    assert flip.time_ns == stale[0].time_ns


def test_whose_policy_decides_the_same_is_no_flip(desk: Observer) -> None:
    renamed = [
        one.model_copy(update={"name": f"our-{one.name}", "version": 7}) for one in desk.decisions.policies
    ]
    history = redecide(desk.journals, "desk", under(desk, *renamed))
    assert flips(history).flips == []
    assert {decision.policy for _, decision in difference(history)} >= {"stale-feed", "our-stale-feed"}


def test_without_policies_every_block_is_gone_and_since_leaves_out_what_was_before(desk: Observer) -> None:
    history = redecide(desk.journals, "desk", under(desk))
    gone = [flip for flip in flips(history).flips if flip.before]
    assert all(flip.change.endswith(" → nothing") for flip in gone)
    last = max(flip.time_ns for flip in gone)
    assert [flip.time_ns for flip in flips(history, last).flips] == [last]
    assert flips(history, last + 1).entries == 0
    signs = {sign for sign, _ in difference(history)}
    assert signs == {"-"}


def test_the_difference_has_the_consequences_too_in_order_of_time(desk: Observer) -> None:
    history = redecide(desk.journals, "desk", under(desk, policy(until="9m")))
    lines = [(sign, one) for sign, one in difference(history) if one.policy == "stale-feed"]
    told = [(sign, one.verdict, one.reasons[0]["code"]) for sign, one in lines]
    assert told == [
        ("-", "block", "matched"), ("+", "block", "matched"), ("+", "release", "expired"),
        ("-", "release", "recovered"),
    ]  # fmt: skip
    assert lines[2][1].time_ns == lines[1][1].time_ns + 9 * MINUTE
    assert {one.reasons[0]["code"] for flip in flips(history).flips for one in flip.after} == {"matched"}


# ---------------------------------------------------------------------- backtest


def test_a_backtest_counts_blocks_and_their_time_scope_by_scope(desk: Observer) -> None:
    chosen = (
        policy(),
        policy(name="idle", match={"types": ["pattern.nothing"]}),
        policy(name="watch", shadow=True, scope="source", until="5m"),
        policy(name="note", verdict="judgment", until=None),
    )
    config = under(desk, *chosen)
    found = backtest(redecide(desk.journals, "desk", acting(config)), config.policies)
    stale, idle, watch, note = found.policies
    assert list(stale.scopes) == ["subject:B/USD"]
    assert (stale.total.blocks, idle.total.blocks, watch.total.blocks) == (1, 0, 1)
    assert list(watch.scopes) == ["source:desk"]
    assert watch.total.blocked_ns == 5 * MINUTE
    assert (note.verdicts["judgment"], note.total.blocks) == (1, 0)
    recorded = [d for d in redecide(desk.journals, "desk", config).recorded if d.policy == "stale-feed"]
    block, release = (next(d for d in recorded if d.verdict == verdict) for verdict in ("block", "release"))
    assert stale.total.blocked_ns == stale.total.longest_ns == release.time_ns - block.time_ns
    assert found.total.blocked_ns == stale.total.blocked_ns, "what only watches is not in the sum"
    assert found.since_ns == START_NS + MINUTE, "from the first snapshot on, not from the first event"
    assert found.share(stale.total) == stale.total.blocked_ns / (found.until_ns - found.since_ns)


def decision(verdict: Any, at: int, policy: str = "p", scope: str = "s") -> Decision:
    return Decision(
        id=f"{verdict}{at}", verdict=verdict, scope=scope, policy=policy, policy_version=1,
        reasons=({"code": "x"},), time_ns=at, causation=("e@1",),
    )  # fmt: skip


def test_blocks_are_cut_to_the_period_and_those_that_still_stand_end_with_it() -> None:
    made = [
        decision("block", 10), decision("release", 20), decision("block", 40), decision("block", 45),
        decision("block", 95, "q"), decision("release", 99, "other"),
    ]  # fmt: skip
    assert standing(made, 15, 100) == {("p", "s"): [(15, 20), (40, 100)], ("q", "s"): [(95, 100)]}
    assert standing(made, 20, 50) == {("p", "s"): [(40, 50)]}


def test_overlapping_blocks_count_once() -> None:
    blocked = Blocked()
    blocked.add([(0, 10), (5, 12), (20, 21), (6, 8)])
    assert (blocked.blocks, blocked.blocked_ns, blocked.longest_ns) == (4, 13, 10)


def test_a_domain_in_which_nothing_was_decided_gives_nothing(tmp_path: Path) -> None:
    it = observer(tmp_path)
    it.domain("live")
    history = redecide(it.journals, "live", it.decisions)
    assert (history.recorded, history.decided, history.entries) == ([], [], 0)
    assert backtest(history, it.decisions.policies).total.blocks == 0
    assert not isinstance(history.recorded, Note)
