"""Feeds that fall silent: a series, a channel of a source, a venue; and how they come back."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.pattern_record.config import Halt, RecogniserConfig, Severity, Stale
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.clock import SECOND
from observer_core.shared.ids import shard_of
from observer_core.shared.records import RECOVERIES, PatternRecord, Snapshot
from observer_core.shared.stage import Entry

MINUTE = 60 * SECOND
START = 1_522_800_000 * SECOND
FIVE = ("A", "B", "C", "D", "E")
TRADES = ("close", "volume")
KINDS = frozenset(("feed_stale", "feed_resumed", "venue_halt", "venue_resumed"))

Silent = Collection[str] | Callable[[int], Collection[str]]
"""Subjects, or those of a minute."""


class Feed:
    """A source with trades and quotes, a snapshot a minute, and what it has said of its feeds."""

    def __init__(
        self,
        subjects: Sequence[str] = FIVE,
        config: RecogniserConfig | None = None,
        fields: Sequence[str] = (*TRADES, "bid"),
    ) -> None:
        self.recogniser = Recogniser("venue", config or RecogniserConfig())
        self.state = self.recogniser.initial()
        self.subjects, self.fields = tuple(subjects), tuple(fields)
        self.records: list[tuple[int, PatternRecord]] = []
        self.minute, self.now = 0, START

    def give(
        self, no_trades: Silent = (), no_quotes: Silent = (), *, minutes: float = 1, **more: Any
    ) -> list[PatternRecord]:
        """One snapshot, with what has arrived."""
        self.minute += 1
        self.now += round(minutes * MINUTE)
        dead = {
            False: no_trades(self.minute) if callable(no_trades) else no_trades,
            True: no_quotes(self.minute) if callable(no_quotes) else no_quotes,
        }
        columns = {
            name: np.array([math.nan if s in dead[name == "bid"] else 0.0 for s in self.subjects])
            for name in self.fields
        }
        taken = Snapshot(
            source="venue",
            event_ns=self.now,
            ingest_ns=self.now,
            subjects=self.subjects,
            fields=columns,
            **more,
        )
        found = [r for r in self.take(taken) if r.pattern in KINDS]
        self.records += [(self.minute, record) for record in found]
        return found

    def take(self, snapshot: Snapshot) -> Sequence[PatternRecord]:
        return self.recogniser.transition(self.state, Entry("snapshots.venue", self.minute, snapshot))

    def run(
        self, count: int, no_trades: Silent = (), no_quotes: Silent = (), **more: Any
    ) -> list[PatternRecord]:
        return [record for _ in range(count) for record in self.give(no_trades, no_quotes, **more)]

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.recogniser.views(self.state)["feed"]
        return found

    def counts(self) -> Counter[str]:
        return Counter(record.pattern for _, record in self.records)


def subjects(record: PatternRecord) -> list[str]:
    return sorted({subject for _, subject, _ in record.series})


def fields(record: PatternRecord) -> set[str]:
    return {name for _, _, name in record.series}


def first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def only(records: Iterable[PatternRecord]) -> PatternRecord:
    (record,) = records
    return record


# ---------------------------------------------------------------------- channels


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        *((name, "trades") for name in ("close", "volume", "last", "price", "quote_volume", "trade_count")),
        *((name, "quotes") for name in ("bid", "bid_open", "ask_size", "bid_volume", "mid", "spread")),
        *((name, "") for name in ("cpu_utilization", "midnight", "funding")),
    ],
)  # fmt: skip
def test_fields_arrive_by_the_channel_that_is_usual_for_them(name: str, channel: str) -> None:
    assert RecogniserConfig().channel(name) == channel


def test_the_longest_glob_says_the_channel_in_whatever_order_they_are_given() -> None:
    channels = {"wide": ["bid*", "x"], "narrow": ["bid_depth*"], "also": ["x"]}
    for order in itertools.permutations(channels):
        config = RecogniserConfig.model_validate({"channels": {name: channels[name] for name in order}})
        assert [config.channel(name) for name in ("bid", "bid_depth_5", "x", "ask")] == [
            "wide", "narrow", "also", "",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"halt": {"subjects": 2}}, {"halt": {"share": 0.0}}, {"halt": {"multiple": 1}},
        {"halt": {"each": 0.5}}, {"halt": {"min_arrivals": 1}}, {"channels": {"": ["x"]}},
        {"channels": {"Trades": ["x"]}},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecogniserConfig.model_validate(given)


def test_trades_may_die_while_quotes_live() -> None:
    feed = Feed(("A", "B"))
    feed.run(40)
    assert "channels" not in feed.view()
    stale = only(feed.run(10, no_trades="A"))
    assert (stale.pattern, stale.detector, fields(stale)) == ("feed_stale", "stale/2", set(TRADES))
    assert stale.evidence["channel"] == ["trades", "trades"]
    assert stale.evidence["silence_ns"] == [6 * MINUTE] * 2
    assert (feed.view()["stale"], feed.view()["channels"]) == ([], {"trades": ["A"]})
    more = only(feed.run(10, no_trades="A", no_quotes="A"))
    assert (fields(more), more.evidence["channel"]) == ({"bid"}, "quotes")
    assert (feed.view()["stale"], feed.view()["channels"]) == (["A"], {"quotes": ["A"], "trades": ["A"]})
    back = feed.give()
    assert [(r.pattern, subjects(r), first(r.evidence["channel"])) for r in back] == [
        ("feed_resumed", ["A"], "quotes"), ("feed_resumed", ["A"], "trades"),
    ]  # fmt: skip
    assert "channels" not in feed.view()


def test_one_record_a_subject_and_channel_and_one_of_all_when_there_are_many() -> None:
    feed = Feed(("A", "B"))
    feed.run(40)
    assert [subjects(r) for r in feed.run(10, no_trades="AB")] == [["A"], ["B"]]
    crowd = Feed(("A", "B"), RecogniserConfig(group_over=3))
    crowd.run(40)
    assert subjects(only(crowd.run(10, no_trades="AB"))) == ["A", "B"]


def test_bars_without_volume_are_no_silence() -> None:
    feed = Feed()
    assert feed.run(300) == [], "all values are zero"


# ---------------------------------------------------------------------- a venue halts


def test_a_channel_that_falls_silent_is_one_halt_and_its_return_one_record() -> None:
    feed = Feed()
    feed.run(60)
    halt = only(feed.run(30, no_trades=FIVE))
    assert (halt.pattern, halt.detector, halt.severity, halt.direction) == (
        "venue_halt", "halt/1", "critical", "none",
    )  # fmt: skip
    assert set(halt.series) == {("venue", s, f) for s in FIVE for f in TRADES}
    assert set(halt.evidence["channel"]) == {"trades"}
    assert first(halt.evidence["joint_silence_ns"]) == 6 * MINUTE
    assert first(halt.evidence["allowed_ns"]) == 5 * MINUTE
    assert (first(halt.evidence["subjects"]), first(halt.evidence["living"])) == (5, 5)
    assert feed.view()["channels"] == {"trades": list(FIVE)}
    assert feed.view()["stale"] == [], "quotes are healthy"
    back = only(feed.run(30))
    assert (back.pattern, back.score, back.severity) == (RECOVERIES["venue_halt"], 0.0, "info")
    assert set(back.series) == set(halt.series)
    assert first(back.evidence["silence_ns"]) == 31 * MINUTE
    assert "channels" not in feed.view()


def test_how_grave_a_halt_is_can_be_set() -> None:
    feed = Feed(config=RecogniserConfig(halt=Halt(severity=Severity(warning=0.5, critical=0.9))))
    feed.run(60)
    assert only(feed.run(30, no_trades=FIVE)).severity == "warning"


def test_each_channel_halts_for_itself_however_many_series_there_are() -> None:
    feed = Feed(config=RecogniserConfig(group_over=2), fields=(*TRADES, "bid", "cpu"))
    feed.run(60)
    halts = feed.run(10, no_trades=FIVE, no_quotes=FIVE)
    assert sorted(first(r.evidence["channel"]) for r in halts) == ["", "quotes", "trades"]
    assert {r.pattern for r in halts} == {"venue_halt"}
    assert feed.view()["stale"] == list(FIVE)
    assert [r.pattern for r in feed.give()] == ["venue_resumed"] * 3


@pytest.mark.parametrize("names", [("A",), ("A", "B")])
def test_one_or_two_subjects_are_no_venue(names: tuple[str, ...]) -> None:
    feed = Feed(names)
    feed.run(60)
    feed.run(60, no_trades=names)
    assert feed.counts() == {"feed_stale": len(names)}


def test_subjects_that_were_seen_too_rarely_do_not_count() -> None:
    feed = Feed(("A", "B"))
    feed.run(60)
    feed.subjects = ("A", "B", "C")
    feed.run(5)
    feed.run(30, no_trades="ABC")
    assert feed.counts() == {"feed_stale": 2}


def test_there_is_no_halt_in_what_has_just_begun() -> None:
    feed = Feed()
    feed.run(20)
    feed.run(30, no_trades=FIVE)
    assert feed.counts() == {"feed_stale": 5}


def in_turns(period: int) -> Callable[[int], Collection[str]]:
    """Each subject trades once in `period` minutes, two minutes after the one before."""
    return lambda minute: [s for at, s in enumerate(FIVE) if minute % period != 2 * at]


def test_thin_series_halt_together_before_one_alone_would_be_noticed() -> None:
    feed = Feed()
    assert feed.run(200, no_trades=in_turns(10)) == []
    halt = only(feed.run(40, no_trades=FIVE)[:1])
    assert halt.pattern == "venue_halt"
    silence = dict(zip(halt.series, halt.evidence["silence_ns"], strict=True))
    assert max(silence.values()) < 3 * 10 * MINUTE, (
        "three times its longest silence is a series' own patience"
    )
    assert feed.counts() == {"venue_halt": 1}


def test_thin_markets_are_silent_together_as_a_matter_of_course() -> None:
    def together(minute: int) -> Collection[str]:
        return () if minute % 31 == 0 else FIVE

    feed = Feed()
    assert feed.run(2000, no_trades=together) == []


def test_a_busy_subject_that_dies_among_thin_ones_is_no_halt() -> None:
    """The channel is then silent for longer than it ever was, as it was busy by one subject alone."""

    def thin(minute: int) -> Collection[str]:
        return [s for at, s in enumerate(FIVE) if at and minute % 40 != at]

    feed = Feed()
    feed.run(400, no_trades=thin)
    feed.run(400, no_trades=lambda minute: ["A", *thin(minute)])
    assert [(subjects(r), r.pattern) for _, r in feed.records] == [(["A"], "feed_stale")]


def test_a_channel_that_dies_bit_by_bit_is_a_halt_of_all() -> None:
    feed = Feed(("A", "B", "C", "D"))
    feed.run(60)
    for dead in ("A", "AB", "ABC"):
        feed.run(1, no_trades=dead)
    feed.run(30, no_trades="ABCD")
    assert [(at, r.pattern, subjects(r)) for at, r in feed.records] == [
        (66, "feed_stale", ["A"]), (67, "feed_stale", ["B"]), (68, "venue_halt", ["A", "B", "C", "D"]),
    ]  # fmt: skip
    back = feed.give()
    assert [(r.pattern, subjects(r)) for r in back] == [
        ("feed_resumed", ["A"]),
        ("feed_resumed", ["B"]),
        ("venue_resumed", ["A", "B", "C", "D"]),
    ]  # fmt: skip, every condition that began has ended
    assert "channels" not in feed.view()


EIGHT = tuple("ABCDEFGH")


@pytest.mark.parametrize(("dead", "halts"), [("ABCD", 1), ("ABC", 0)])
def test_half_of_a_channel_is_a_halt_and_less_is_not(dead: str, halts: int) -> None:
    feed = Feed(EIGHT)
    feed.run(60)
    feed.run(60, no_trades=dead)
    assert feed.counts() == ({"venue_halt": 1} if halts else {"feed_stale": 3})
    assert feed.view()["channels"] == {"trades": list(dead)}


def test_the_share_that_makes_a_halt_can_be_set() -> None:
    feed = Feed(EIGHT, RecogniserConfig(halt=Halt(share=0.3)))
    feed.run(60)
    assert only(feed.run(60, no_trades="ABC")).pattern == "venue_halt"


def test_subjects_that_stopped_at_different_times_are_no_halt() -> None:
    feed = Feed()
    feed.run(60)
    for dead in ("A", "AB", "ABC", "ABCD"):
        feed.run(30, no_trades=dead)
    assert feed.counts() == {"feed_stale": 4}


def test_subjects_that_died_long_ago_are_no_part_of_a_halt() -> None:
    feed = Feed()
    feed.run(60)
    feed.run(60, no_trades="A")
    halt = feed.run(60, no_trades=FIVE)
    assert subjects(only(halt)) == ["B", "C", "D", "E"]
    feed.run(60, no_trades="A")
    assert feed.view()["channels"] == {"trades": ["A"]}


def test_what_falls_silent_while_a_halt_stands_is_stale_by_itself() -> None:
    feed = Feed(EIGHT)
    feed.run(60)
    feed.run(20, no_trades="ABCD")
    feed.run(20, no_trades="ABCDE")
    assert [(r.pattern, subjects(r)) for _, r in feed.records] == [
        ("venue_halt", ["A", "B", "C", "D"]), ("feed_stale", ["E"]),
    ]  # fmt: skip


# ---------------------------------------------------------------------- and resumes


@pytest.mark.parametrize("returning", ["A", "AB"])
def test_less_than_half_back_for_a_moment_is_no_end(returning: str) -> None:
    feed = Feed()
    feed.run(60)
    feed.run(20, no_trades=FIVE)
    feed.run(1, no_trades=set(FIVE) - set(returning))
    feed.run(60, no_trades=FIVE)
    assert feed.counts() == {"venue_halt": 1}
    assert feed.view()["channels"] == {"trades": list(FIVE)}


def test_a_few_that_go_on_long_enough_are_an_end_and_the_others_are_stale_from_then_on() -> None:
    feed = Feed()
    feed.run(60)
    feed.run(20, no_trades=FIVE)
    began = feed.minute
    feed.run(30, no_trades="CDE")
    assert [(at - began, r.pattern, subjects(r)) for at, r in feed.records[1:]] == [
        (6, "venue_resumed", list(FIVE)), (12, "feed_stale", ["C"]), (12, "feed_stale", ["D"]),
        (12, "feed_stale", ["E"]),
    ]  # fmt: skip
    assert feed.view()["channels"] == {"trades": ["C", "D", "E"]}


def test_a_part_that_halted_is_over_by_its_own_return_alone() -> None:
    feed = Feed(EIGHT)
    feed.run(60)
    feed.run(120, no_trades="ABCD")
    assert feed.counts() == {"venue_halt": 1}, "the others go on, which is no return"
    back = only(feed.give("CD"))
    assert (back.pattern, subjects(back)) == ("venue_resumed", ["A", "B", "C", "D"])


def test_a_channel_that_dies_and_returns_is_soon_let_be() -> None:
    feed = Feed()
    feed.run(60)
    for _ in range(100):
        feed.run(12, no_trades=FIVE)
        feed.run(4)
    assert 1 <= feed.counts()["venue_halt"] <= 3
    assert feed.counts()["venue_halt"] == feed.counts()["venue_resumed"]
    assert not feed.counts()["feed_stale"]


# ---------------------------------------------------------------------- gaps and sessions


@pytest.mark.parametrize("late", [1, 4])
def test_a_venue_that_is_late_after_a_weekend_has_not_halted(late: int) -> None:
    feed = Feed()
    feed.run(100)
    feed.give(FIVE, minutes=49 * 60)
    feed.run(late - 1, no_trades=FIVE)
    feed.run(20)
    assert not feed.counts()["venue_halt"]


def test_a_venue_that_does_not_come_back_after_a_weekend_has() -> None:
    feed = Feed(config=RecogniserConfig(stale=Stale(multiple=20)))
    feed.run(100)
    feed.give(FIVE, minutes=49 * 60)
    feed.run(20, no_trades=FIVE)
    assert feed.counts() == {"venue_halt": 1}


def test_subjects_whose_market_is_closed_do_not_halt_and_their_night_is_not_learnt() -> None:
    feed = Feed((*FIVE, "index"))
    feed.run(200)
    night = dict.fromkeys(FIVE, ("closed_session",))
    for _ in range(3):
        feed.run(600, no_trades=FIVE, no_quotes=FIVE, quality=night)
        feed.run(200)
    assert feed.records == []
    halt = only(feed.run(10, no_trades=(*FIVE, "index")))
    assert (halt.pattern, first(halt.evidence["allowed_ns"])) == ("venue_halt", 5 * MINUTE)


def test_those_that_are_open_may_halt_while_others_are_closed() -> None:
    feed = Feed(EIGHT)
    feed.run(100)
    quality = dict.fromkeys("ABCD", ("closed_session",))
    feed.run(20, no_trades="ABCD", quality=quality)
    halt = only(feed.run(20, no_trades=EIGHT, quality=quality))
    assert (halt.pattern, subjects(halt)) == ("venue_halt", ["E", "F", "G", "H"])


def test_an_outage_of_the_source_is_no_halt() -> None:
    feed = Feed()
    feed.run(60)
    for _ in range(60):
        feed.now += MINUTE
        feed.minute += 1
        feed.take(Snapshot(source="venue", event_ns=feed.now, ingest_ns=feed.now, subjects=(), fields={},
                           status="unavailable", error="503"))  # fmt: skip
    feed.run(60)
    assert feed.records == []


# ---------------------------------------------------------------------- what is kept


def standing() -> Feed:
    feed = Feed()
    feed.run(60)
    feed.run(20, no_trades=FIVE)
    assert feed.counts() == {"venue_halt": 1}
    return feed


def test_a_halt_outlasts_other_channels_and_ends_all_the_same() -> None:
    feed = standing()
    other = Recogniser("venue", RecogniserConfig.model_validate({"channels": {"tape": ["close"]}}))
    version = feed.recogniser.views_version(feed.state)
    feed.state, feed.recogniser = other.load(feed.recogniser.dump(feed.state)), other
    assert feed.view()["channels"] == {"tape": list(FIVE)}
    assert other.views_version(feed.state) > version
    back = feed.give()
    assert {r.pattern for r in back} == {"venue_resumed"}
    assert {series for r in back for series in r.series} == {("venue", s, f) for s in FIVE for f in TRADES}
    assert "channels" not in feed.view()


def test_subjects_of_another_shard_are_no_part_of_a_halt_any_more() -> None:
    feed = standing()
    mine = [s for s in FIVE if shard_of(s, 2) == 0]
    assert 0 < len(mine) < 5
    shard = Recogniser("venue", RecogniserConfig(), (0, 2))
    state = shard.load(feed.recogniser.dump(feed.state))
    assert shard.views(state)["feed"]["channels"] == {"trades": mine}


# ---------------------------------------------------------------------- against a slow, obvious one

SMALL = RecogniserConfig(stale=Stale(min_arrivals=3), halt=Halt(min_arrivals=6, multiple=2, each=1.0))
CELLS = [(subject, name) for name in ("last", "bid") for subject in FIVE]
Cell = tuple[str, str]


@dataclass
class Series:
    last: float = 0.0
    longest: float = 0.0
    arrivals: int = 0
    stale: bool = False
    halted: bool = False
    back: bool = False


@dataclass
class SlowChannel:
    last: float = 0.0
    longest: float = 0.0
    arrivals: int = 0
    patience: float | None = None
    partial: bool = False
    heard: float | None = None
    since: float = 0.0
    absent: float = -1.0


@dataclass
class SlowFeed:
    """Silence as the docstrings of `stale` and `halt` have it, all worked out at every snapshot."""

    config: RecogniserConfig = SMALL
    series: dict[Cell, Series] = field(default_factory=lambda: {cell: Series() for cell in CELLS})
    channels: dict[str, SlowChannel] = field(
        default_factory=lambda: {name: SlowChannel() for name in ("last", "bid")}
    )
    clock: float = 0.0
    cadence: float = 0.0
    floor: float = 0.0
    intervals: int = 0
    tick: int = 0
    gap_tick: int = 0
    before: int | None = None

    def snapshot(self, now: int, arrived: set[Cell]) -> set[tuple[str, Cell]]:
        self.advance(now)
        found = {("feed_resumed", cell) for cell in arrived if self.series[cell].stale}
        for name, channel in self.channels.items():
            here = {cell for cell in arrived if cell[1] == name}
            if here:
                self.arrive(channel, here)
                found |= {("venue_resumed", cell) for cell in self.ends(name, channel, here)}
        late = {
            cell for cell, s in self.series.items()
            if not (s.stale or s.halted) and s.arrivals >= 3 and s.last + self.allowed(s) < self.clock
        }  # fmt: skip
        for cell in late:
            self.series[cell].stale = True
        for name, channel in self.channels.items():
            members = self.halts(name, channel, {cell for cell in late if cell[1] == name})
            for cell in members:
                self.series[cell].halted, self.series[cell].back = True, False
                self.series[cell].stale = self.series[cell].stale and cell not in late
            found |= {("venue_halt", cell) for cell in members}
            late -= members
        return found | {("feed_stale", cell) for cell in late}

    def advance(self, now: int) -> None:
        step = float(0 if self.before is None else max(0, now - self.before))
        if step:
            if self.intervals >= 8 and step > 5 * max(1, round(self.cadence)):
                step = 5.0 * max(1, round(self.cadence))
                self.gap_tick = self.tick + 1
            self.intervals = min(self.intervals + 1, 16)
            self.cadence += (step - self.cadence) / self.intervals
            self.clock += step
        self.before = now
        self.tick += 1
        if self.tick < 16 or self.tick % 16 == 0:
            self.floor = 5 * self.cadence

    def allowed(self, s: Series) -> float:
        return max(3 * s.longest, self.floor)

    def arrive(self, channel: SlowChannel, here: set[Cell]) -> None:
        gap = self.clock - channel.last if channel.arrivals else 0.0
        channel.longest = max(channel.longest * (1023.0 / 1024.0), gap)
        if channel.patience is not None and not channel.partial:
            channel.longest = min(channel.longest, channel.patience)
        channel.last, channel.arrivals = self.clock, channel.arrivals + 1
        for cell in here:
            s = self.series[cell]
            allowed, silent = self.allowed(s), s.stale or (s.halted and not s.back)
            s.longest = max(s.longest * (1023.0 / 1024.0), self.clock - s.last if s.arrivals else 0.0)
            if silent:
                s.longest = min(s.longest, allowed)
            s.last, s.arrivals, s.stale, s.back = self.clock, s.arrivals + 1, False, s.halted

    def ends(self, name: str, channel: SlowChannel, here: set[Cell]) -> set[Cell]:
        if channel.patience is None:
            return set()
        members = {cell for cell, s in self.series.items() if cell[1] == name and s.halted}
        if channel.partial and not members & here:
            return set()
        if channel.heard is None or self.clock - channel.heard > channel.patience:
            channel.since = self.clock
        channel.heard = self.clock
        back = [cell for cell in members if self.series[cell].back]
        if self.clock - channel.since < channel.patience and 2 * len(back) < len(members):
            return set()
        for cell in members:
            s = self.series[cell]
            if not s.back and not s.stale:
                s.last = math.nextafter(self.clock, math.inf)
            s.halted = s.back = False
        channel.patience, channel.heard, channel.absent = None, None, math.nextafter(self.clock, math.inf)
        return members

    def halts(self, name: str, channel: SlowChannel, late: set[Cell]) -> set[Cell]:
        if channel.patience is not None or channel.arrivals < 6 or self.tick - self.gap_tick < 5:
            return set()
        known = {
            cell: s for cell, s in self.series.items()
            if cell[1] == name and s.arrivals >= 3 and s.last != channel.absent
        }  # fmt: skip
        if not known:
            return set()
        allowed = max(2 * channel.longest, self.floor)
        if channel.last + allowed < self.clock:
            latest = max(s.last for s in known.values())
            living = {cell: s for cell, s in known.items() if s.last + self.allowed(s) >= latest}
            if sum(self.clock > s.last + s.longest for s in living.values()) >= 3 and len(living) >= 3:
                channel.patience, channel.partial = allowed, False
                return set(living)
        stale = {cell: s for cell, s in known.items() if s.stale}
        if not late or not stale:
            return set()
        latest = max(s.last for s in stale.values())
        gone = {cell: s for cell, s in stale.items() if s.last + self.allowed(s) >= latest}
        others = {cell: s for cell, s in known.items() if not s.stale}
        if len(gone) < 3 or len(gone) < 0.5 * (len(gone) + len(others)):
            return set()
        until = min(s.last + self.allowed(s) for s in gone.values())
        quiet = {c for c, s in others.items() if self.clock - s.last > s.longest and s.last <= until}
        channel.patience, channel.partial = max(self.allowed(s) for s in gone.values()), True
        return set(gone) | quiet


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, set[Cell]]]:
    """Seconds since the snapshot before, and what arrived: thin series, deaths of several lengths, gaps."""
    periods = {cell: draw(st.sampled_from([1, 1, 1, 2, 5])) for cell in CELLS}
    dead: st.SearchStrategy[set[Cell]] = st.one_of(
        st.just(set()),
        st.sampled_from([{c for c in CELLS if c[1] == name} for name in ("last", "bid")]),
        st.sets(st.sampled_from([c for c in CELLS if c[1] == "last"]), min_size=3),
        st.sets(st.sampled_from(CELLS), max_size=6),
    )
    some: list[tuple[int, set[Cell]]] = []
    for phase in range(draw(st.integers(2, 7))):
        gone = draw(dead) if phase else set()
        for _ in range(draw(st.integers(8, 30))):
            gap = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2, 0, 40]))
            here = {cell for at, cell in enumerate(CELLS) if (len(some) + at) % periods[cell] == 0}
            some.append((gap, here - gone))
    return some


def snapshots(stream: Sequence[tuple[int, set[Cell]]], *, sparse: bool = False) -> Iterator[Snapshot]:
    """`sparse`: with the subjects and fields alone that have anything to say."""
    now = START
    for gap, here in stream:
        now += gap * SECOND
        rows = [s for s in FIVE if not sparse or any((s, name) in here for name in ("last", "bid"))]
        columns = [n for n in ("last", "bid") if not sparse or any((s, n) in here for s in rows)]
        yield Snapshot(
            source="venue", event_ns=now, ingest_ns=now, subjects=tuple(rows),
            fields={n: np.array([5.0 if (s, n) in here else math.nan for s in rows]) for n in columns},
        )  # fmt: skip


def said(records: Iterable[PatternRecord]) -> set[tuple[str, Cell]]:
    return {(r.pattern, (subject, name)) for r in records for _, subject, name in r.series}


@settings(max_examples=60, deadline=None)
@given(arrivals())
def test_what_is_said_of_feeds_is_what_the_slow_obvious_one_says(stream: list[tuple[int, set[Cell]]]) -> None:
    recogniser, slow = Recogniser("venue", SMALL), SlowFeed()
    state = recogniser.initial()
    for tick, ((_, here), taken) in enumerate(zip(stream, snapshots(stream), strict=True), start=1):
        found = recogniser.transition(state, Entry("j", tick, taken))
        assert said(found) == slow.snapshot(taken.ingest_ns, here)
        for record in found:
            assert 0.0 <= record.score <= 1.0
            record.encode(1)
        view = recogniser.views(state)["feed"]
        silent = {cell for cell, s in slow.series.items() if s.stale or s.halted}
        known = {cell for cell, s in slow.series.items() if s.arrivals}
        for channel, name in (("trades", "last"), ("quotes", "bid")):
            expected = [s for s in FIVE if (s, name) in silent and (s, name) in known]
            assert view.get("channels", {}).get(channel, []) == expected


@settings(max_examples=30, deadline=None)
@given(arrivals(), st.sets(st.integers(1, 200), max_size=6))
def test_neither_the_shape_of_snapshots_nor_a_restart_changes_what_is_said(
    stream: list[tuple[int, set[Cell]]], restarts: set[int]
) -> None:
    recogniser = Recogniser("venue", SMALL)
    dense, sparse = recogniser.initial(), recogniser.initial()
    both = zip(snapshots(stream), snapshots(stream, sparse=True), strict=True)
    for tick, (whole, thin) in enumerate(both, start=1):
        if tick in restarts:
            blob = recogniser.dump(dense)
            dense, sparse = recogniser.load(blob), recogniser.load(recogniser.dump(sparse))
            assert recogniser.dump(dense) == blob
        version, before = recogniser.views_version(dense), recogniser.views(dense)
        found = recogniser.transition(dense, Entry("j", tick, whole))
        assert said(found) == said(recogniser.transition(sparse, Entry("j", tick, thin)))
        after = recogniser.views(dense)
        assert (recogniser.views_version(dense) > version) == (after != before)
        assert after["feed"] == recogniser.views(sparse)["feed"]
