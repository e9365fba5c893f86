"""What the recogniser reports, and what it keeps quiet about."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from observer_core.pattern_record.config import RecogniserConfig, Severity, Spike, Stale, TagMatch, TagRule
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.errors import RecordError, StateFormat
from observer_core.shared.records import Note, PatternRecord, Snapshot
from observer_core.shared.stage import Entry, Stage

MINUTE = 60_000_000_000
START = 1_522_886_400_000_000_000
GENERIC = RecogniserConfig(market=Market(prices=()))
"""Prices and volumes are series as any other: no market patterns."""


def noise(seed: int):
    """About normal numbers of a linear congruential generator: mean 0, deviation 1."""
    while True:
        total = 0.0
        for _ in range(12):
            seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
            total += (seed >> 11) / 2**53
        yield total - 6.0


class Feed:
    """A recogniser and what it has said."""

    def __init__(self, config: RecogniserConfig | None = None) -> None:
        self.recogniser = Recogniser("coinbase", config or GENERIC)
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []
        self.position = 0
        self.now = START

    def give(self, columns, subjects=None, *, minutes=1, **more) -> list[PatternRecord]:
        count = len(next(iter(columns.values())))
        self.now += minutes * MINUTE
        return self.take(Snapshot(
            source="coinbase", event_ns=self.now - MINUTE, ingest_ns=self.now,
            subjects=subjects or tuple(f"S{i}" for i in range(count)),
            fields={name: np.array(column, np.float64) for name, column in columns.items()}, **more,
        ))  # fmt: skip

    def unavailable(self, error="timeout") -> list[PatternRecord]:
        self.now += MINUTE
        failed = Snapshot(
            source="coinbase",
            event_ns=self.now,
            ingest_ns=self.now,
            subjects=(),
            fields={},
            status="unavailable",
            error=error,
        )
        return self.take(failed)

    def take(self, record) -> list[PatternRecord]:
        self.position += 1
        found = list(
            self.recogniser.transition(self.state, Entry("snapshots.coinbase", self.position, record))
        )
        self.records += found
        return found

    def patterns(self) -> list[tuple[str, str]]:
        return [(record.pattern, record.direction) for record in self.records]


def market(seed=7, length=900):
    """A price and a volume a minute: calm, a jump at 300, a shifted volume from 500, wild from 700."""
    steps, sizes = noise(seed), noise(seed + 1)
    price = 6800.0
    for minute in range(length):
        price *= (
            1.0 + 0.0004 * (6.0 if minute >= 700 else 1.0) * next(steps) + (0.01 if minute == 300 else 0.0)
        )
        yield round(price, 2), round(20.0 + 3.0 * next(sizes) + (9.0 if minute >= 500 else 0.0), 3)


def test_it_is_a_stage():
    stage: Stage = Recogniser("coinbase", RecogniserConfig())
    assert (stage.name, stage.version) == ("recognise", "3")
    assert stage.config()["source"] == "coinbase"
    assert stage.config()["baseline"]["span"] == 50
    assert stage.advance(stage.initial(), START) == []


def test_the_alarms_of_a_series_stand_where_they_stood():
    feed = Feed()
    seen = []
    for minute, (price, volume) in enumerate(market()):
        found = feed.give({"close": [price], "volume": [volume]})
        seen += [(minute, r.pattern, r.direction, r.series[0][2]) for r in found]
    assert seen == GOLDEN


GOLDEN = [
    (300, "spike", "up", "close"),
    (507, "level_shift", "up", "volume"),
    (703, "spike", "up", "close"),
    (717, "variance_shift", "up", "close"),
]


def test_a_level_shift_names_the_moment_it_began():
    feed = Feed()
    for _, volume in market():
        feed.give({"volume": [volume]})
    (shift,) = [r for r in feed.records if r.pattern == "level_shift"]
    onset_minute = (shift.evidence["onset_ns"] - START) // MINUTE - 1
    assert 495 <= onset_minute <= 500
    assert shift.time_ns > shift.evidence["onset_ns"]
    assert shift.evidence["steps"] == (shift.time_ns - shift.evidence["onset_ns"]) // MINUTE + 1


def test_a_record_says_what_was_expected_and_where_it_was_seen():
    feed = Feed()
    draws = noise(3)
    for _ in range(100):
        feed.give({"load": [10.0 + next(draws)]}, ("host",))
    (record,) = feed.give({"load": [40.0]}, ("host",))
    assert record.series == (("coinbase", "host", "load"),)
    assert (record.pattern, record.direction, record.detector) == ("spike", "up", "ewma_spike/1")
    assert (record.snapshot, record.time_ns, record.event_ns) == (
        "snapshots.coinbase@101",
        feed.now,
        feed.now - MINUTE,
    )
    assert record.cadence_ns == MINUTE
    evidence = record.evidence
    assert evidence["value"] == 40.0
    assert 9.0 < evidence["expected"] < 11.0
    assert evidence["low"] < evidence["expected"] < evidence["high"] < 40.0
    assert record.score == evidence["sigmas"] / (evidence["sigmas"] + evidence["limit"]) > 0.5
    assert all(type(number) in (int, float) for number in evidence.values())


def test_prices_are_judged_by_their_return_and_other_fields_by_their_value():
    feed = Feed()
    draws = noise(3)
    for minute in range(200):
        price = 100.0 * 1.001**minute * (1.0 + 0.0005 * next(draws))
        feed.give({"close": [price], "count": [price]})
    (record,) = [r for r in feed.give({"close": [price * 0.9], "count": [price]}) if r.pattern == "spike"]
    assert record.series[0][2] == "close"
    assert record.evidence["value"] == pytest.approx(-0.1)
    assert record.evidence["observed"] == price * 0.9


def test_transforms_and_ignored_fields_are_configuration():
    config = RecogniserConfig(transforms={"count": "return", "close": "value"}, ignore_fields=("bid_*",))
    feed = Feed(config)
    feed.give({"close": [1.0], "count": [1.0], "bid_size": [1.0]})
    assert feed.state.fields == ["count", "close"]


def test_the_same_series_is_not_blind_after_one_bad_print():
    """Sensitivity: the smallest jump in sigmas that alarms, an hour after a value 1,000 times too large."""
    feed, draws = Feed(), noise(5)
    for _ in range(600):
        feed.give({"load": [10.0 + next(draws)]})
    assert feed.records == []
    (bad,) = feed.give({"load": [10_000.0]})
    assert bad.pattern == "spike"
    assert not feed.give({"load": [10.0 + next(draws)]})
    for _ in range(60):
        feed.give({"load": [10.0 + next(draws)]})
    assert feed.patterns() == [("spike", "up")]
    scale = float(feed.state.values[2, 0])
    assert 0.8 < scale < 1.25
    assert [r.pattern for r in feed.give({"load": [10.0 + 14.0 * scale]})] == ["spike"]


@pytest.mark.parametrize("magnitude", [1e-290, 1e-12, 1.0, 1e12, 1e290])
@pytest.mark.parametrize("name", ["close", "load"])
def test_no_alarm_from_the_start_of_a_series_at_any_magnitude(magnitude, name):
    feed, draws = Feed(), noise(11)
    for _ in range(300):
        feed.give({name: [magnitude * (10.0 + next(draws)), magnitude, -0.0, math.nan]})
    assert feed.records == []


@pytest.mark.parametrize("magnitude", [1e-200, 1e-12, 1e12, 1e200])
def test_alarms_do_not_depend_on_the_unit(magnitude):
    unit = 2.0 ** round(math.log2(magnitude))
    plain, scaled = Feed(), Feed()
    for minute, (_, volume) in enumerate(market()):
        value = volume * (5.0 if minute >= 700 or minute == 300 else 1.0)
        plain.give({"volume": [value]})
        scaled.give({"volume": [value * unit]})
    assert {r.pattern for r in plain.records} == {"spike", "level_shift", "variance_shift"}
    assert [(r.pattern, r.time_ns, r.score) for r in plain.records] == [
        (r.pattern, r.time_ns, r.score) for r in scaled.records
    ]


def test_a_constant_series_that_moves_a_hair_is_no_spike_but_a_real_move_is():
    feed = Feed()
    for _ in range(100):
        feed.give({"load": [50.0]})
    assert feed.give({"load": [50.003]}) == []
    (record,) = feed.give({"load": [51.0]})
    assert (record.pattern, record.severity) == ("spike", "critical")


def test_an_all_zero_series_reports_its_first_error():
    feed = Feed()
    for _ in range(100):
        feed.give({"errors": [0.0]})
    (record,) = feed.give({"errors": [1.0]})
    assert record.pattern == "spike"
    assert record.evidence["sigmas"] == 1e9


def test_a_series_that_keeps_jumping_alarms_ever_more_rarely():
    feed, draws = Feed(), noise(2)
    alarms = []
    for minute in range(6000):
        value = 10.0 + next(draws) + (40.0 if minute % 25 == 0 else 0.0)
        alarms += [minute for r in feed.give({"load": [value]}) if r.pattern == "spike"]
    assert len(alarms) <= 12
    assert np.diff(alarms).min() >= 60


def test_missing_values_change_nothing_and_a_vanished_series_may_return():
    quiet, gappy = Feed(), Feed()
    for (price, volume), absent in zip(market(length=200), itertools.cycle([0, 0, 1]), strict=False):
        quiet.give({"close": [price], "volume": [volume]})
        gappy.give({"close": [price], "volume": [volume]})
        if absent:
            gappy.give({"close": [math.nan], "volume": [math.nan]}, minutes=0)
            gappy.give({"close": [], "volume": []}, minutes=0)
    assert quiet.state.values.tobytes() == gappy.state.values.tobytes()


@pytest.mark.parametrize("flag", ["duplicate", "out_of_order", "non_positive", "stale"])
def test_rows_of_doubtful_quality_feed_no_detector(flag):
    feed, draws = Feed(), noise(5)
    for _ in range(100):
        feed.give({"load": [10.0 + next(draws), 5.0]})
    before = feed.state.values.copy()
    assert feed.give({"load": [1e6, 5.0]}, quality={"S0": (flag,), "unknown": (flag,)}) == []
    assert feed.state.values[:, 0].tobytes() == before[:, 0].tobytes()
    assert feed.state.times[0, 0] == (
        feed.state.clock if flag == "non_positive" else feed.state.clock - MINUTE
    )


def test_a_gap_flag_is_only_a_remark():
    feed, draws = Feed(), noise(5)
    for _ in range(100):
        feed.give({"load": [10.0 + next(draws)]})
    assert len(feed.give({"load": [1e6]}, quality={"S0": ("gap",)})) == 1


def test_silence_is_stale_and_return_is_resumed_per_field():
    feed, draws = Feed(), noise(9)
    for _ in range(60):
        feed.give({"last": [10.0 + next(draws)], "bid": [9.0 + next(draws)]}, ("BTC",))
    for _ in range(5):
        assert not feed.give({"last": [math.nan], "bid": [9.0 + next(draws)]}, ("BTC",))
    (stale,) = feed.give({"bid": [9.0 + next(draws)]}, ("BTC",))
    assert (stale.pattern, stale.series, stale.severity) == (
        "feed_stale",
        (("coinbase", "BTC", "last"),),
        "warning",
    )
    assert stale.evidence["silence_ns"] == 6 * MINUTE
    assert stale.evidence["allowed_ns"] == 5 * MINUTE
    assert feed.recogniser.views(feed.state)["feed"]["stale"] == []
    (resumed,) = feed.give({"last": [10.0], "bid": [9.0]}, ("BTC",))
    assert (resumed.pattern, resumed.severity, resumed.score) == ("feed_resumed", "info", 0.0)
    assert resumed.evidence["silence_ns"] == 7 * MINUTE


def test_a_subject_is_stale_when_all_its_series_are():
    feed = Feed()
    for _ in range(60):
        feed.give({"last": [1.0, 1.0], "bid": [1.0, 1.0]}, ("ETH", "BTC"))
    version = feed.recogniser.views_version(feed.state)
    for _ in range(8):
        feed.give({"last": [1.0], "bid": [1.0]}, ("ETH",))
    assert feed.recogniser.views(feed.state)["feed"]["stale"] == ["BTC"]
    assert feed.recogniser.views(feed.state)["subjects"] == {"subjects": ["BTC", "ETH"]}
    assert feed.recogniser.views_version(feed.state) == version + 1


def test_a_thin_series_may_be_silent_as_long_as_it_is_wont_to():
    feed = Feed()
    for minute in range(1200):
        thin = 5.0 if minute % 30 in (0, 7) else math.nan
        feed.give({"last": [1.0, thin]})
    assert feed.records == []
    for _ in range(80):
        feed.give({"last": [1.0, math.nan]})
    assert feed.patterns() == [("feed_stale", "none")]


def test_a_weekend_without_snapshots_is_no_silence():
    feed = Feed()
    for _ in range(100):
        feed.give({"last": [1.0, 2.0]})
    assert feed.give({"last": [1.0, math.nan]}, minutes=49 * 60) == []
    assert feed.give({"last": [1.0, 2.0]}) == []


def test_an_outage_is_reported_once_with_its_end_and_silences_nothing_else():
    feed = Feed()
    for _ in range(60):
        feed.give({"last": [1.0, 2.0]})
    (lost,) = feed.unavailable("HTTP 503")
    assert (lost.pattern, lost.series, lost.severity) == (
        "feed_unavailable",
        (("coinbase", "*", "*"),),
        "critical",
    )
    feed_view = feed.recogniser.views(feed.state)["feed"]
    assert feed_view == {
        "status": "unavailable", "since_ns": feed.now, "error": "HTTP 503", "closed": [], "stale": [],
    }  # fmt: skip
    assert [feed.unavailable("HTTP 503") for _ in range(30)] == [[]] * 30
    observed = feed.state.clock
    (back,) = feed.give({"last": [1.0, math.nan]})
    assert feed.state.clock == observed
    assert (back.pattern, back.severity) == ("feed_available", "info")
    assert back.evidence["outage_ns"] == 31 * MINUTE
    assert feed.recogniser.views(feed.state)["feed"]["status"] == "ok"


def test_views_of_a_source_never_seen():
    feed = Feed()
    assert feed.recogniser.views(feed.state) == {
        "subjects": {"subjects": []},
        "feed": {"status": "none", "since_ns": 0, "error": None, "closed": [], "stale": []},
    }


def test_a_value_that_stands_still_is_flat_once_until_it_moves():
    feed, draws = Feed(), noise(4)
    for _ in range(200):
        feed.give({"load": [10.0 + next(draws)], "zero": [0.0]})
    for _ in range(100):
        feed.give({"load": [10.5], "zero": [0.0]})
    flat = [r for r in feed.records if r.pattern == "feed_flat"]
    assert [r.series[0][2] for r in flat] == ["load"]
    assert flat[0].evidence["expected_changes"] > 30.0
    feed.records.clear()
    for _ in range(100):
        feed.give({"load": [10.0 + next(draws)], "zero": [0.0]})
    assert "feed_flat" not in [r.pattern for r in feed.records]


def test_a_calm_turned_wild_is_a_variance_shift_up_and_back_down():
    feed, draws = Feed(), noise(6)
    for _ in range(400):
        feed.give({"load": [100.0 + next(draws)]})
    for _ in range(200):
        feed.give({"load": [100.0 + 6.0 * next(draws)]})
    for _ in range(400):
        feed.give({"load": [100.0 + next(draws)]})
    shifts = [direction for pattern, direction in feed.patterns() if pattern == "variance_shift"]
    assert shifts == ["up", "down"]
    onsets = [r.evidence["onset_ns"] for r in feed.records if r.pattern == "variance_shift"]
    up, down = ((onset - START) // MINUTE for onset in onsets)
    assert 400 <= up <= 410
    assert 600 <= down <= 670


def jump_all(config: RecogniserConfig, count: int = 5) -> list[PatternRecord]:
    feed, draws = Feed(config), noise(8)
    for _ in range(100):
        feed.give({"load": [10.0 + next(draws) for _ in range(count)]})
    assert feed.records == []
    return feed.give({"load": [60.0 + 100.0 * at for at in range(count)]})


def test_many_at_once_are_one_record_by_falling_score():
    (record,) = jump_all(RecogniserConfig(group_over=4))
    assert [s[1] for s in record.series] == ["S4", "S3", "S2", "S1", "S0"]
    sigmas = record.evidence["sigmas"]
    assert sigmas == sorted(sigmas, reverse=True)
    assert record.score == sigmas[0] / (sigmas[0] + record.evidence["limit"][0])
    assert len(jump_all(RecogniserConfig(group_over=5))) == 5


def test_ids_are_derived_and_differ():
    records = jump_all(RecogniserConfig())
    assert [r.id for r in records] == [r.id for r in jump_all(RecogniserConfig())]
    assert len({r.id for r in records}) == 5


def test_severity_follows_the_score():
    def severity(cuts: Severity) -> str:
        return jump_all(RecogniserConfig(spike=Spike(severity=cuts)), count=1)[0].severity

    score = jump_all(RecogniserConfig(), count=1)[0].score
    assert severity(Severity(warning=1.0, critical=1.0)) == "info"
    assert severity(Severity(warning=score, critical=1.0)) == "warning"
    assert severity(Severity(warning=0.5, critical=score)) == "critical"


def test_tags_come_from_every_rule_that_matches():
    rules = (
        TagRule(match=TagMatch(subject="S[01]"), add=("major", "watched")),
        TagRule(match=TagMatch(field="lo*", pattern="spike"), add=("watched", "spiky")),
        TagRule(match=TagMatch(pattern="level_shift"), add=("never",)),
    )
    records = {r.series[0][1]: r.tags for r in jump_all(RecogniserConfig(tags=rules))}
    assert records["S0"] == ("major", "spiky", "watched")
    assert records["S3"] == ("spiky", "watched")
    (together,) = jump_all(RecogniserConfig(tags=rules, group_over=1))
    assert together.tags == ("major", "spiky", "watched")


def test_subjects_and_fields_may_come_at_any_time_without_disturbing_the_others():
    alone, crowd = Feed(), Feed()
    for minute, (price, volume) in enumerate(market()):
        alone.give({"close": [price]}, ("BTC",))
        if minute < 100:
            crowd.give({"close": [price]}, ("BTC",))
        elif minute < 200:
            crowd.give({"volume": [1.0, volume], "close": [5.0, price]}, ("ETH", "BTC"))
        else:
            others = tuple(f"N{i}" for i in range(50))
            crowd.give({"close": [price, *[2.0] * 50]}, ("BTC", *others))
    of_btc = [r for r in crowd.records if r.series[0][1:] == ("BTC", "close") and r.detector != "stale/2"]
    assert of_btc == alone.records
    assert crowd.state.size == 1 + 3 + 50
    names = [crowd.state.name(at) for at in range(5)]
    assert names == [
        ("BTC", "close"),
        ("ETH", "close"),
        ("ETH", "volume"),
        ("BTC", "volume"),
        ("N0", "close"),
    ]


def test_ten_thousand_subjects_appearing_at_once_raise_no_alarm():
    feed, draws = Feed(), noise(1)
    feed.give({"load": [1.0]})
    values = [10.0 + next(draws) for _ in range(10_000)]
    for turn in range(60):
        feed.give({"load": values[turn:] + values[:turn]})
    assert feed.records == []


def test_order_of_subjects_and_fields_in_a_snapshot_does_not_matter():
    plain, turned = Feed(), Feed()
    first = {"close": [1.0, 2.0], "volume": [3.0, 4.0]}
    plain.give(first, ("A", "B"))
    turned.give(first, ("A", "B"))
    for price, volume in market(length=400):
        plain.give({"close": [price, 2.0], "volume": [volume, 4.0]}, ("A", "B"))
        turned.give({"volume": [4.0, volume], "close": [2.0, price]}, ("B", "A"))
    assert plain.records == turned.records
    assert plain.recogniser.dump(plain.state) == turned.recogniser.dump(turned.state)


def test_a_subject_named_twice_in_a_snapshot_counts_once():
    once, twice = Feed(), Feed()
    for _, volume in market(length=120):
        once.give({"volume": [volume, 1.0]}, ("A", "B"))
        twice.give({"volume": [volume, 1.0, 999.0]}, ("A", "B", "A"))
    assert once.recogniser.dump(once.state) == twice.recogniser.dump(twice.state)


def test_time_that_stands_or_goes_back_changes_no_clock():
    feed = Feed()
    for minutes in [1] * 40 + [0, -5, 0, 1, 1]:
        feed.give({"load": [1.0, 2.0]}, minutes=minutes)
    assert feed.records == []
    assert feed.state.clock == 39 * MINUTE


def test_records_of_a_prefix_are_the_prefix_of_the_records():
    whole, part = Feed(), Feed()
    stream = list(market())
    for price, volume in stream:
        whole.give({"close": [price], "volume": [volume]})
    for price, volume in stream[:520]:
        part.give({"close": [price], "volume": [volume]})
    assert part.records == whole.records[: len(part.records)]
    assert all(r.time_ns > part.now for r in whole.records[len(part.records) :])


def test_notes_and_other_sources_have_no_effect():
    feed = Feed()
    feed.give({"load": [1.0]})
    before = feed.recogniser.dump(feed.state)
    assert feed.take(Note(kind="epoch", time_ns=feed.now + MINUTE, body={})) == []
    other = Snapshot(
        source="other", event_ns=0, ingest_ns=feed.now, subjects=("A",), fields={"x": np.ones(1)}
    )
    assert feed.take(other) == []
    assert feed.recogniser.dump(feed.state) == before


def test_empty_snapshots_are_observations_too():
    feed = Feed(RecogniserConfig(stale=Stale(min_arrivals=2)))
    for _ in range(20):
        feed.give({"load": [1.0]})
    for _ in range(6):
        feed.give({"load": []})
    assert feed.patterns() == [("feed_stale", "none")]


@pytest.mark.parametrize("blob", [b"", b"{}\n", b'{"format":0}\n', b"[]"])
def test_a_state_that_is_none_is_refused(blob):
    with pytest.raises(RecordError, match=r"expected"):
        Recogniser("coinbase", RecogniserConfig()).load(blob)


def test_a_state_of_another_format_can_be_told_from_one_that_is_broken_elsewhere():
    """The engine computes it again: see `test_engine`."""
    recogniser = Recogniser("coinbase", RecogniserConfig())
    blob = recogniser.dump(recogniser.initial())
    for other in (blob.replace(b'"format":4', b'"format":3'), blob.replace(b'"format":1', b'"format":0')):
        assert other != blob
        with pytest.raises(StateFormat, match=r"format"):
            recogniser.load(other)


def test_what_another_shard_has_now_is_forgotten_once_however_often_a_worker_starts():
    feed = Feed(RecogniserConfig(correlations={"watch": [{"of": ["*", "x"], "against": ["S1", "x"]}]}))
    for step in range(5):
        feed.give({"x": [step % 3, 1.0 - step, 5.0, step % 2]})
    part = Recogniser("coinbase", feed.recogniser._config, (0, 2))
    feed.recogniser, feed.state = part, part.load(feed.recogniser.dump(feed.state))
    mine = tuple(part.views(feed.state)["subjects"]["subjects"])
    assert 0 < len(mine) < 4
    for step in range(3):
        feed.give({"x": [float(step)] * len(mine)}, mine)
        blob = part.dump(feed.state)
        assert part.dump(part.load(blob)) == blob


def test_many_shapes_of_wide_snapshots_are_not_remembered_without_bound():
    feed = Feed()
    names = tuple(map(str, range(50_000)))
    for missing in range(30):
        feed.give({"x": np.ones(50_000 - missing)}, names[missing:])
    assert sum(plan.size for plan in feed.state.plans.values()) < 1_200_000


def test_rows_that_are_flagged_count_for_what_their_flags_say_whatever_their_number():
    flags = ("duplicate", "non_positive", "crossed_book", "non_positive", "out_of_order")
    one, many = Feed(RecogniserConfig()), Feed(RecogniserConfig())
    for step in range(80):
        values = [100.0 + (step * k) % 7 for k in range(1, 6)]
        quality = {f"S{k}": (flag,) for k, flag in enumerate(flags)} if step % 9 == 8 else {}
        many.give({"x": values, "y": values}, quality=quality)
        for k in range(5) if quality else ():
            if flags[k] in ("duplicate", "out_of_order"):
                values[k] = math.nan
        one.give({"x": values, "y": values}, quality={s: f for s, f in quality.items() if s in ("S1", "S3")})
    n = many.state.size
    assert many.state.values[:, :n].tobytes() == one.state.values[:, :n].tobytes()
    assert many.state.times[:, :n].tobytes() == one.state.times[:, :n].tobytes()


def test_a_state_that_was_cut_is_refused():
    feed = Feed()
    feed.give({"load": [1.0]})
    with pytest.raises(RecordError, match=r"state of 1 series: expected \d+ bytes, found \d+"):
        feed.recogniser.load(feed.recogniser.dump(feed.state)[:-1])


def digest() -> str:
    """Everything a long, varied stream leaves behind, hashed."""
    feed, draws, whole = Feed(), noise(21), hashlib.sha256()
    for minute in range(400):
        wild = 8.0 if minute > 250 else 1.0
        values = [50.0 + wild * next(draws) for _ in range(37)]
        prices = [math.nan if minute % 50 == 7 and at < 3 else 100.0 + next(draws) / 7.0 for at in range(37)]
        if minute % 90 == 80:
            values[minute % 37] *= 100.0
        for record in feed.give({"close": prices, "load": values}):
            whole.update(record.encode(1))
    whole.update(feed.recogniser.dump(feed.state))
    return f"{len(feed.records)} {whole.hexdigest()}"


def test_results_do_not_depend_on_the_processor():
    """The same bytes with every SIMD extension that NumPy could dispatch to switched off."""
    from numpy._core import _multiarray_umath as core

    present = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    environment = {
        **os.environ,
        "NPY_DISABLE_CPU_FEATURES": " ".join(present),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = f"import runpy; print(runpy.run_path({__file__!r})['digest']())"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    here = digest()
    assert done.stdout.strip() == here
    assert int(here.split()[0]) > 5
