"""Spans that were blocked, in pages of a bounded walk, against a fold from the first record on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from observer_core.decision_pipeline.history import fold
from observer_core.runtime.reading import blocks as reading
from observer_core.runtime.reading.blocks import History, Place, Wanted, standing
from observer_core.shared.errors import InputError
from observer_core.shared.ids import ref
from observer_core.shared.records import Decision, Json
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

NAME = "decisions.live"
SCOPES = ("*", "source:one", "subject:A", "subject:B")
POLICIES = ("operator", "stale-feed")


def decision(number: int, verdict: Any, scope: str, policy: str, time_ns: int, **more: Any) -> Decision:
    return Decision(
        id=f"d{number:05d}", verdict=verdict, scope=scope, policy=policy, policy_version=1, time_ns=time_ns,
        reasons=({"code": more.pop("code", "command"), "text": f"why {number}", "author": "anna"},),
        causation=(), **more,
    )  # fmt: skip


def history(seed: int, count: int) -> list[Decision]:
    """Blocks, blocks in the place of others, releases, overrides, and decisions that are none of them."""
    chance, made, time_ns = random.Random(seed), list[Decision](), 10
    standing_: dict[tuple[str, str], Decision] = {}
    for number in range(count):
        time_ns += chance.choice([0, 0, 1, 5])
        key = chance.choice(SCOPES), chance.choice(POLICIES)
        match chance.randrange(5):
            case 0 | 1:
                until_ns = chance.choice([None, time_ns + 7])
                made.append(decision(number, "block", *key, time_ns, until_ns=until_ns, severity="critical"))
                standing_[key] = made[-1]
            case 2 | 3 if key in standing_:
                begun = standing_.pop(key)
                code = chance.choice(["expired", "override"])
                evidence = {"since_ns": begun.time_ns, "block": begun.id}
                made.append(
                    decision(
                        number, "release", *key, time_ns, code=code, evidence=evidence, severity="critical"
                    )
                )
            case 4:
                made.append(decision(number, "release", key[0], "override", time_ns, code="override"))
            case _:
                made.append(decision(number, "judgment", *key, time_ns))
    return made


def journals_with(decisions: list[Decision], chance: random.Random) -> Journals:
    journals = Journals(MemoryStorage(), worker="w")
    left = list(decisions)
    while left:
        size = chance.choice([1, 1, 2, 9])
        append(journals, left[:size])
        left = left[size:]
    return journals


def append(journals: Journals, decisions: list[Decision]) -> None:
    journal = journals.open(NAME, "live")
    journal.commit(journal.head(), Commit(records=decisions))


def spans(decisions: list[Decision]) -> list[Json]:
    """All of them, newest first, the slow way."""
    found: list[Json] = []
    last: dict[tuple[str, str], Json] = {}
    for position, record in enumerate(decisions, 1):
        key = record.scope, record.policy
        if record.verdict not in ("block", "release") or record.policy == "override":
            continue
        if key in last:
            lifted = record.verdict == "release" and record.reasons[0]["code"] == "override"
            ended = {"released_ns": record.time_ns, "released_by": ref(NAME, position), "lifted": lifted}
            last.pop(key).update(ended)
        if record.verdict == "block":
            last[key] = {
                "scope": record.scope, "policy": record.policy, "reason": record.reasons[0]["text"],
                "severity": record.severity, "since_ns": record.time_ns, "until_ns": record.until_ns,
                "decision": record.id, "released_ns": None, "released_by": None, "lifted": False,
            }  # fmt: skip
            found.append(last[key])
    return found[::-1]


def views(decisions: list[Decision]) -> list[Json]:
    entries = fold(decisions).blocks
    return [
        {"scope": scope, **entry} for scope, by_policy in entries.items() for entry in by_policy.values()
    ]  # fmt: skip


def pages(read: Callable[[Place | None], Json]) -> Iterator[Json]:
    after: Place | None = None
    for _ in range(1_000):
        page = read(after)
        yield page
        if page["next"] is None:
            return
        after = Place.of(page["next"])
    raise AssertionError("it never ends")


def anything(scope: str) -> bool:
    return True


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 8)
    monkeypatch.setattr(reading, "FRESH", 2)
    monkeypatch.setattr(reading, "MOST", 1_000)
    monkeypatch.setattr(reading, "_KEPT", 1_000)


@pytest.mark.parametrize("seed", range(12))
def test_pages_together_are_all_spans_that_were_blocked_at_some_time(seed: int) -> None:
    chance, decisions = random.Random(seed), history(seed, 120)
    kept, last = History(journals_with(decisions, chance)), decisions[-1].time_ns
    for _ in range(12):
        since_ns, until_ns = sorted((chance.randrange(last + 5), chance.randrange(last + 5)))
        scopes = frozenset(chance.sample(SCOPES, chance.choice([1, 2, 4])))
        wanted = Wanted(scopes.__contains__, since_ns, until_ns, chance.choice([1, 3, 200]))
        found: list[Json] = []
        for page in pages(partial(look, kept, decisions, wanted)):
            assert len(page["items"]) <= wanted.limit
            assert page["reaches_ns"] is None
            found += page["items"]
        meant = [
            span for span in spans(decisions)
            if span["scope"] in scopes and wanted.has(span["scope"], span["since_ns"], span["released_ns"])
        ]  # fmt: skip
        assert all(span in meant for span in found)
        assert all(span in found for span in meant if is_sure(span, decisions, since_ns))
        assert len({span["decision"] for span in found}) == len(found)
        assert [s["since_ns"] for s in found] == sorted((s["since_ns"] for s in found), reverse=True)


def look(kept: History, decisions: list[Decision], wanted: Wanted, after: Place | None) -> Json:
    return kept.read("live", views(decisions), replace(wanted, after=after))


def is_sure(span: Json, decisions: list[Decision], since_ns: int) -> bool:
    """Whether it is bound to be found: it stands, was released, or began not long before the moment."""
    by = span["released_by"]
    if by is None or span["since_ns"] >= since_ns:
        return True
    if decisions[int(by.rpartition("@")[2]) - 1].verdict == "release":
        return True
    before = [d for d in decisions if span["since_ns"] <= d.time_ns < since_ns]
    return len(before) <= 8


def test_newest_come_first_and_what_is_committed_meanwhile_does_not_repeat_or_hide() -> None:
    decisions = history(3, 60)
    journals = journals_with(decisions, random.Random(3))
    kept, found = History(journals), list[Json]()
    before = spans(decisions)
    for page in pages(
        lambda after: kept.read("live", views(decisions), Wanted(anything, limit=2, after=after))
    ):
        found += page["items"]
        time_ns = decisions[-1].time_ns + 1
        more = decision(1_000 + len(decisions), "block", "subject:new", "operator", time_ns)
        decisions.append(more)
        append(journals, [more])
    assert [span["decision"] for span in found] == [span["decision"] for span in before]
    assert [span["since_ns"] for span in found] == sorted((s["since_ns"] for s in found), reverse=True)


def test_a_block_that_stands_since_long_is_found_without_walking_there() -> None:
    first = decision(0, "block", "subject:A", "operator", 5)
    quiet = [decision(number, "judgment", "*", "shock", 100 + number) for number in range(1, 200)]
    decisions = [first, *quiet]
    journals = journals_with(decisions, random.Random(0))
    read = partial(look, History(journals), decisions, Wanted(anything, since_ns=290))
    *_, last = pages(read)
    assert [span["decision"] for span in last["items"]] == ["d00000"]


def test_a_block_that_ended_in_the_span_is_found_with_its_own_reason() -> None:
    first = decision(0, "block", "subject:A", "operator", 5, until_ns=400)
    quiet = [decision(number, "judgment", "*", "shock", 100 + number) for number in range(1, 200)]
    evidence = {"since_ns": 5, "block": "d00000"}
    ended = decision(200, "release", "subject:A", "operator", 400, evidence=evidence, code="expired")
    decisions = [first, *quiet, ended]
    journals = journals_with(decisions, random.Random(0))
    read = partial(look, History(journals), decisions, Wanted(anything, since_ns=350))
    (found,) = [item for page in pages(read) for item in page["items"]]
    assert [found] == spans(decisions)
    assert (found["reason"], found["until_ns"]) == ("why 0", 400)


def test_a_look_reads_little_and_goes_on_at_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = [
        decision(0, "block", "subject:A", "operator", 5),
        *(decision(number, "judgment", "*", "shock", 100 + number) for number in range(1, 60)),
    ]
    journals = journals_with(decisions, random.Random(0))
    kept = History(journals)
    read = list(pages(lambda after: kept.read("live", [], Wanted(anything, after=after))))
    assert [len(page["items"]) for page in read] == [0, 0, 0, 1]


def test_a_walk_that_is_too_long_says_how_far_it_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST", 3)
    monkeypatch.setattr(reading, "FRESH", 9)
    decisions = history(5, 120)
    journals = journals_with(decisions, random.Random(5))
    page = History(journals).read("live", views(decisions), Wanted(anything, limit=1_000))
    reaches_ns = page["reaches_ns"]
    assert page["next"] is None
    assert decisions[0].time_ns < reaches_ns < decisions[-1].time_ns
    sure = [s for s in spans(decisions) if s["released_ns"] is None or s["since_ns"] > reaches_ns]
    assert [span for span in page["items"] if span in sure] == sure


def test_those_that_stand_are_the_views_newest_first_in_pages() -> None:
    decisions = history(7, 80)
    entries = views(decisions)
    found = [
        item
        for page in pages(lambda after: standing(entries, Wanted(anything, limit=2, after=after)))
        for item in page["items"]
    ]
    expected = [span for span in spans(decisions) if span["released_ns"] is None]
    assert sorted(map(str, found)) == sorted(map(str, expected))
    assert [item["since_ns"] for item in found] == sorted((i["since_ns"] for i in found), reverse=True)
    assert standing(entries, Wanted(lambda scope: scope == "none"))["items"] == []


def test_a_journal_that_was_cut_is_read_again() -> None:
    decisions = history(9, 20)
    journals = journals_with(decisions, random.Random(9))
    kept = History(journals)
    kept.read("live", [], Wanted(anything))
    shorter = decisions[:13]
    kept._journals = journals_with(shorter, random.Random(1))
    found = kept.read("live", views(shorter), Wanted(anything, limit=1_000))["items"]
    assert found == spans(shorter)


@pytest.mark.parametrize("text", ["", "x", "MQ", "MSAy", Place(1, 2, "d").text()[:-1] + "!", "LTEgMiBk"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no cursor"):
        Place.of(text)


def test_a_cursor_is_itself_again() -> None:
    place = Place(1_700_000_000_000_000_000, 12, "ab")
    assert Place.of(place.text()) == place
