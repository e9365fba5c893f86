"""Relations and correlations: what breaks them, what does not, how they end, and what they remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.clock import SECOND
from observer_core.shared.config import explain
from observer_core.shared.errors import RecordError
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry

START = 1_700_000_000 * SECOND
STEP = 60 * SECOND
PEG = {"subject": "USDT/USD", "field": "last", "target": 1.0, "tolerance": "50bp"}
QUICK = {"field": "gap", "span": 50, "warm_up": 20, "accept": 60}
PAIR = {"of": ["ETH", "last"], "against": ["BTC", "last"], "span": 30, "slow_span": 200, "accept": 150}
PATTERNS = frozenset(("relation_break", "relation_restored", "correlation_break", "correlation_restored"))

Rows = Mapping[str, Mapping[str, float]]


def noise(n: int, series: int = 0) -> float:
    """Of scale 1, and never beyond 2; the same in every run."""
    return float((n * 7919 + series * 104_729) * 2_654_435_761 % 4_294_967_296 / 2**30 - 2.0)


class Run:
    """A recogniser with rules, given one snapshot a minute."""

    def __init__(
        self, *relations: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]] = (), learn: bool = False,
        **more: Any,
    ) -> None:  # fmt: skip
        given = {"relations": {"watch": relations, "learn": learn}, "correlations": {"watch": pairs}, **more}
        self.recogniser = Recogniser("x", RecogniserConfig.model_validate(given))
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []
        self.n = 0

    def give(
        self, rows: Rows, at: int | None = None, quality: Mapping[str, tuple[str, ...]] | None = None
    ) -> list[PatternRecord]:
        """The relations' records of one snapshot; `at`: minutes after the start."""
        fields = sorted({name for row in rows.values() for name in row})
        now = START + (self.n if at is None else at) * STEP
        snapshot = Snapshot(
            source="x", event_ns=now, ingest_ns=now, subjects=tuple(rows), quality=quality or {},
            fields={f: np.array([row.get(f, np.nan) for row in rows.values()], np.float64) for f in fields},
        )  # fmt: skip
        self.n += 1
        records = self.recogniser.transition(self.state, Entry("snapshots.x", self.n, snapshot))
        found = [record for record in records if record.pattern in PATTERNS]
        self.records += found
        return found

    def one(self, values: Iterable[float], subject: str = "USDT/USD", field: str = "last") -> list[Any]:
        """(number of the snapshot, pattern, direction) of what was told of one series."""
        told = []
        for value in values:
            at = self.n
            told += [(at, r.pattern, r.direction) for r in self.give({subject: {field: value}})]
        return told


def gaps(count: int, level: float = 0.0, start: int = 0) -> list[float]:
    return [level + noise(n) for n in range(start, start + count)]


# ---------------------------------------------------------------------- relations


def test_a_peg_that_breaks_and_comes_back() -> None:
    run = Run(PEG)
    told = run.one([1.0, 1.001, 0.999, 0.994, 0.993, 0.99, 0.985, 0.996, 0.998, 0.999, 1.0, 1.0])
    assert told == [(5, "relation_break", "down"), (10, "relation_restored", "none")]
    broken, restored = run.records
    assert broken.series == (("x", "USDT/USD", "last"),)
    assert broken.detector == "relation/1"
    known = {
        "value": 0.99, "expected": 1.0, "tolerance": 0.005, "low": 0.995, "onset_ns": START + 3 * STEP,
        "hold": 3,
    }  # fmt: skip
    assert {key: broken.evidence[key] for key in known} == known
    assert broken.score == pytest.approx(0.01 / 0.015)
    assert broken.severity == "warning"
    assert (restored.score, restored.severity) == (0.0, "info")
    assert restored.evidence["lasted_ns"] == 7 * STEP
    assert (restored.evidence["accepted"], restored.evidence["expected"]) == (0, 1.0)


def test_a_peg_needs_no_past() -> None:
    assert Run(PEG).one([0.9, 0.9, 0.9]) == [(2, "relation_break", "down")]


@pytest.mark.parametrize("bad", [0.2, 5.0, 1e-9, 1e299])
def test_one_bad_print_breaks_nothing_and_leaves_nothing_behind(bad: float) -> None:
    assert Run(PEG).one([1.0, 1.0, bad, 1.0, bad, bad, 1.0, 1.0]) == []
    run = Run(QUICK)
    values = gaps(200)
    values[100] = values[150] = values[151] = bad
    assert run.one([*values, *[30.0] * 3], "a", "gap") == [(202, "relation_break", "up")]
    assert abs(run.records[0].evidence["expected"]) < 1.0


def test_prints_on_both_sides_are_no_break() -> None:
    assert Run(PEG).one([1.1, 0.9] * 20) == []


def test_a_break_that_grows_is_told_again_when_it_has_doubled() -> None:
    run = Run(PEG)
    told = run.one([1 + 0.001 * n for n in range(5, 101)])
    assert [(pattern, direction) for _, pattern, direction in told] == [("relation_break", "up")] * len(told)
    distances = [record.evidence["value"] - 1 for record in run.records]
    assert all(after > 2 * before for before, after in pairwise(distances))
    assert len(distances) == 4
    assert [round(r.evidence["told"], 9) for r in run.records] == [
        0.0,
        *(round(d, 9) for d in distances[:-1]),
    ]


def test_a_break_must_last_where_that_is_asked_for() -> None:
    run = Run({**PEG, "lasting": "10m"})
    assert run.one([1.0, *[0.9] * 10, 1.0, *[0.9] * 11]) == [(22, "relation_break", "down")]


def test_restored_only_well_inside() -> None:
    run = Run(PEG)
    assert len(run.one([1.006] * 5 + [1.003] * 50)) == 1
    assert run.one([1.002, 1.002, 1.004, 1.002, 1.002, 1.002]) == [(60, "relation_restored", "none")]


def test_a_learnt_relation_follows_a_slow_drift_and_finds_a_jump() -> None:
    run = Run(QUICK)
    assert run.one([0.02 * n + noise(n) for n in range(5000)], "a", "gap") == []
    assert run.one(gaps(20, level=140.0), "a", "gap") == [(5002, "relation_break", "up")]
    evidence = run.records[0].evidence
    assert 97 < evidence["expected"] < 100
    assert evidence["high"] == pytest.approx(evidence["expected"] + 8 * evidence["scale"])


def test_a_relation_that_never_returns_is_accepted_and_that_is_told() -> None:
    run = Run(QUICK)
    run.one(gaps(200), "a", "gap")
    told = run.one(gaps(400, level=50.0), "a", "gap")
    assert told == [(202, "relation_break", "up"), (262, "relation_restored", "none")]
    accepted = run.records[1].evidence
    assert accepted["accepted"] == 1
    assert accepted["target"] == pytest.approx(50.0, abs=0.5)
    assert accepted["expected"] == pytest.approx(0.0, abs=0.5)
    assert run.one(gaps(20), "a", "gap") == [(602, "relation_break", "down")]


def test_a_stated_target_is_never_given_up() -> None:
    run = Run({**PEG, "accept": 10})
    assert len(run.one([0.9] * 500)) == 1
    assert run.one([1.0] * 3) == [(502, "relation_restored", "none")]


def test_a_target_that_was_learnt_stands_still_during_a_break() -> None:
    run = Run({**QUICK, "accept": 1000})
    run.one(gaps(200), "a", "gap")
    assert len(run.one([20.0] * 500, "a", "gap")) == 1
    (restored,) = run.one(gaps(3), "a", "gap")
    assert restored[1] == "relation_restored"
    assert abs(run.records[-1].evidence["expected"]) < 0.5


def test_what_breaks_away_as_a_matter_of_course_is_told_less_and_less() -> None:
    run = Run({**QUICK, "span": 1000})
    habit = [60.0 if n > 200 and n % 40 < 4 else noise(n) for n in range(4000)]
    told = [at for at, pattern, _ in run.one(habit, "a", "gap") if pattern == "relation_break"]
    assert 1 <= len(told) <= 6  # of 95
    assert max(told) < 1000


def test_a_series_that_stood_still_all_its_life_breaks_when_it_leaves() -> None:
    run = Run(QUICK)
    assert run.one([0.0] * 300 + [1e-6] * 10, "a", "gap") == [(302, "relation_break", "up")]


@pytest.mark.parametrize("field", ["premium", "implied_rate", "ratio", "difference"])
def test_fields_that_are_relations_by_their_name_are_learnt_unasked(field: str) -> None:
    values = [1 + 1e-4 * noise(n) for n in range(300)]
    assert Run(learn=True).one([*values, *[1.1] * 5], "a", field) == [(302, "relation_break", "up")]
    assert Run().one([*values, *[1.1] * 5], "a", field) == []
    assert Run(learn=True).one([*values, *[1.1] * 5], "a", "value") == []


def test_what_is_asked_for_goes_before_what_is_learnt_unasked() -> None:
    run = Run({"subject": "BTC", "field": "premium", "target": 0.0, "tolerance": 0.01}, learn=True)
    for _ in range(3):
        run.give({"BTC": {"premium": 0.02}, "ETH": {"premium": 0.02}})
    assert [record.series[0][1] for record in run.records] == ["BTC"]


def test_globs_watch_many_series_each_by_itself() -> None:
    run = Run({**PEG, "subject": "USD?/USD"})
    for n in range(6):
        run.give({
            "USDT/USD": {"last": 0.9}, "USDC/USD": {"last": 1.0 if n < 3 else 1.2}, "BTC/USD": {"last": 6e4},
        })  # fmt: skip
    assert [(r.series[0][1], r.direction) for r in run.records] == [("USDT/USD", "down"), ("USDC/USD", "up")]


@pytest.mark.parametrize("flag", ["stale", "duplicate", "partial_bar", "closed_session", "outlier_print"])
def test_rows_that_are_no_news_or_may_be_misprints_are_no_observations(flag: str) -> None:
    run = Run(PEG, pairs=[{**PAIR, "of": ["USDT/USD", "last"]}])
    run.one([1.0, 0.9, 0.9])
    for _ in range(20):
        assert run.give({"USDT/USD": {"last": 0.9}, "B": {"last": 1.0}}, quality={"USDT/USD": (flag,)}) == []
    assert run.one([0.9]) == [(23, "relation_break", "down")]


def test_gaps_do_not_count_and_do_not_interrupt() -> None:
    run = Run(PEG)
    assert run.one([0.9, np.nan, 0.9, np.nan, np.nan, 0.9]) == [(5, "relation_break", "down")]


# ---------------------------------------------------------------------- correlations


def walks(count: int, share: Callable[[int], float], seed: int = 5, pairs: int = 1) -> np.ndarray:
    """BTC and `pairs` others, whose changes have a correlation of `share(n)` with its own."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(count)
    own = rng.standard_normal((pairs, count))
    parts = np.array([share(n) for n in range(count)])
    changes = np.vstack([common, parts * common + np.sqrt(1 - parts * parts) * own])
    return 1000.0 + np.cumsum(changes, axis=1)


def paired(run: Run, prices: np.ndarray, start: int = 0) -> list[tuple[int, str, str, str]]:
    told = []
    names = ["BTC", "ETH", *(f"A{n}" for n in range(len(prices) - 2))]
    for column in prices.T:
        at = run.n
        rows = {name: {"last": float(value)} for name, value in zip(names, column, strict=True)}
        told += [(at, r.series[0][1], r.pattern, r.direction) for r in run.give(rows, start + at)]
    return told


def test_series_that_decouple_and_couple_again() -> None:
    run = Run(pairs=[{**PAIR, "accept": 5000}])
    told = paired(run, walks(2400, lambda n: 0.1 if 1000 <= n < 1400 else 0.9))
    assert [(subject, pattern, direction) for _, subject, pattern, direction in told] == [
        ("ETH", "correlation_break", "down"), ("ETH", "correlation_restored", "up"),
    ]  # fmt: skip
    assert 1000 <= told[0][0] < 1060
    assert 1400 <= told[1][0] < 1520
    broken, restored = (record.evidence for record in run.records)
    assert broken["value"] < broken["lowest"] < broken["expected"]
    assert broken["expected"] == pytest.approx(0.85, abs=0.06)
    assert (broken["against"], broken["samples"], broken["expected_samples"]) == ("BTC last", 59, 399)
    assert START + 1000 * STEP <= broken["onset_ns"] <= START + told[0][0] * STEP
    assert restored["accepted"] == 0
    assert restored["onset_ns"] == broken["onset_ns"]
    assert restored["lasted_ns"] == START + told[1][0] * STEP - broken["onset_ns"]


def test_series_that_stay_apart_are_accepted_as_such() -> None:
    run = Run(pairs=[PAIR])
    told = paired(run, walks(3000, lambda n: 0.9 if n < 1000 else 0.0))
    assert [(pattern, direction) for *_, pattern, direction in told] == [
        ("correlation_break", "down"), ("correlation_restored", "none"),
    ]  # fmt: skip
    assert run.records[1].evidence["accepted"] == 1


def test_series_that_went_opposite_ways_decouple_too() -> None:
    told = paired(Run(pairs=[PAIR]), walks(1100, lambda n: -0.9 if n < 1000 else 0.0))
    assert [pattern for _, _, pattern, _ in told] == ["correlation_break"]


def test_nothing_is_told_of_correlations_that_do_not_change_in_20_000_observations() -> None:
    """On 300 pairs of each kind no alarm was seen in 20,000; here on a few."""
    prices = np.vstack([
        walks(20_000, lambda n: 0.0, pairs=2), walks(20_000, lambda n: 0.9, pairs=2)[1:],
        walks(20_000, lambda n: 0.6, pairs=2)[1:],
    ])  # fmt: skip
    run = Run(pairs=[{"of": ["*", "last"], "against": ["BTC", "last"]}])
    assert paired(run, prices) == []
    assert run.state.families["correlations"].size == 6


def test_a_few_bad_prints_are_no_decoupling() -> None:
    prices = walks(2000, lambda n: 0.9)
    prices[1, [1000, 1003]] *= 50.0
    assert paired(Run(pairs=[{**PAIR, "span": 60}]), prices) == []


def test_a_stated_floor() -> None:
    run = Run(pairs=[{**PAIR, "floor": 0.5}])
    told = paired(run, walks(2600, lambda n: 0.9 if n < 1000 or n >= 1600 else 0.1))
    assert [pattern for _, _, pattern, _ in told] == ["correlation_break", "correlation_restored"]
    assert run.records[0].evidence["lowest"] == 0.5
    assert run.records[0].evidence["value"] < 0.5


def test_the_first_series_to_tick_waits_for_the_other() -> None:
    """BTC ticks three times as often: a sample is taken whenever both have ticked."""
    run = Run(pairs=[{**PAIR, "at_least": 0.3, "accept": 5000}])
    prices = walks(6000, lambda n: 0.9 if n < 4500 else 0.0)
    told = []
    for n, (btc, eth) in enumerate(prices.T.tolist()):
        told += run.give({"BTC": {"last": btc}}, 2 * n)
        if n % 3 == 2:
            told += run.give({"ETH": {"last": eth}}, 2 * n + 1)
    assert [record.pattern for record in told] == ["correlation_break"]
    assert START + 9000 * STEP <= told[0].time_ns < START + 9600 * STEP
    assert told[0].evidence["samples"] == 59


def test_changes_over_a_stated_time() -> None:
    """Noise from one observation to the next, but together over ten minutes."""
    rng = np.random.default_rng(3)
    common = np.cumsum(rng.standard_normal(6000))
    prices = 1000 + np.array([common, common]) + 1.5 * rng.standard_normal((2, 6000))
    run = Run(pairs=[{**PAIR, "every": "10m"}, {**PAIR, "of": ["A0", "last"]}])
    paired(run, np.vstack([prices, prices[1:]]))
    slow = run.state.families["correlations"].values[9:12, :2]
    usual = slow[0] / np.sqrt(slow[1] * slow[2])
    assert usual[0] > 0.6
    assert usual[1] < 0.4
    assert run.records == []


def test_observations_without_any_change_are_none() -> None:
    run = Run(pairs=[PAIR])
    prices = walks(600, lambda n: 0.9)
    paired(run, prices)
    before = run.state.families["correlations"].values[6:12].copy()
    paired(run, np.repeat(prices[:, -1:], 500, axis=1))
    assert (run.state.families["correlations"].values[6:12] == before).all()


def test_a_series_that_stands_still_while_the_other_moves_has_decoupled() -> None:
    prices = walks(1400, lambda n: 0.9)
    prices[1, 1000:] = prices[1, 1000]
    assert [t[2] for t in paired(Run(pairs=[{**PAIR, "accept": 9999}]), prices)] == ["correlation_break"]


def test_a_pair_is_known_when_its_sides_come_at_different_times() -> None:
    run = Run(pairs=[PAIR])
    for n in range(5):
        run.give({"BTC": {"last": 100.0 + n}})
    prices = walks(1100, lambda n: 0.9 if n < 1000 else 0.0)
    told = []
    for n, (btc, eth) in enumerate(prices.T.tolist()):
        told += run.give({"ETH": {"last": eth}}, 10 + 2 * n)
        told += run.give({"BTC": {"last": btc}}, 11 + 2 * n)
    assert [record.pattern for record in told] == ["correlation_break"]


# ---------------------------------------------------------------------- state


def story(n: int) -> Rows:
    """Three series that break and are restored at different times, and a pair."""
    prices = _STORY[:, n]
    rows = {
        "USDT/USD": {"last": 0.9 if 300 <= n < 500 else 1.0},
        "a": {"gap": noise(n) + (40 if 350 <= n < 380 else 0)},
        "b": {"gap": noise(n, 1) + (90 if n >= 400 else 0)},
        "BTC": {"last": float(prices[0])},
        "ETH": {"last": float(prices[1])},
    }
    if n % 7 == 3:
        del rows["a"]
    return rows


_STORY = walks(900, lambda n: 0.9 if n < 300 else 0.0)
_RULES = (PEG, {**QUICK, "subject": "?"})


@pytest.mark.parametrize("stop", [0, 1, 299, 301, 303, 340, 352, 403, 461, 700])
def test_a_state_that_was_dumped_goes_on_with_equal_records(stop: int) -> None:
    through, resumed = Run(*_RULES, pairs=[PAIR]), Run(*_RULES, pairs=[PAIR])
    for n in range(900):
        through.give(story(n))
        resumed.give(story(n))
        if n == stop:
            blob = resumed.recogniser.dump(resumed.state)
            resumed.state = resumed.recogniser.load(blob)
            assert resumed.recogniser.dump(resumed.state) == blob
    assert [r.encode(1) for r in resumed.records] == [r.encode(1) for r in through.records]
    assert {r.pattern for r in through.records} == PATTERNS
    assert resumed.recogniser.dump(resumed.state) == through.recogniser.dump(through.state)


def test_what_is_said_of_a_series_does_not_depend_on_the_others_or_their_order() -> None:
    together, alone, pair = Run(*_RULES, pairs=[PAIR]), Run(*_RULES), Run(pairs=[PAIR])
    for n in range(900):
        rows = dict(story(n))
        together.give(dict(reversed(rows.items())) if n % 3 else rows)
        alone.give({"b": rows["b"]})
        pair.give({"BTC": rows["BTC"], "ETH": rows["ETH"]})
    for run, name in ((alone, "b"), (pair, "ETH")):
        own = [(r.time_ns, r.pattern, r.score, r.evidence) for r in run.records]
        assert own == [
            (r.time_ns, r.pattern, r.score, r.evidence) for r in together.records if r.series[0][1] == name
        ]
        assert len(own) == 2


def test_rules_that_are_gone_are_forgotten_and_the_others_go_on() -> None:
    run = Run(*_RULES, pairs=[PAIR])
    for n in range(310):
        run.give(story(n))
    other = Run(PEG, pairs=[{**PAIR, "against": ["USDT/USD", "last"]}])
    other.state = other.recogniser.load(run.recogniser.dump(run.state))
    assert other.state.families["relations"].keys == [("USDT/USD", "last")]
    assert other.state.families["correlations"].size == 0
    other.n = 310
    for n in range(310, 505):
        other.give(story(n))
    assert [record.pattern for record in other.records] == ["relation_restored"]


def test_subjects_of_another_shard_begin_anew() -> None:
    run = Run(*_RULES, pairs=[PAIR])
    for n in range(360):
        run.give(story(n))
    families = {family.name: family for family in run.recogniser._families}
    for name in ("relations", "correlations"):
        own = run.state.families[name]
        families[name].forget(own, ["USDT/USD", "BTC"])
        fresh = families[name].initial()
        for key in own.keys:
            column = fresh.column(key)
            gone = not {"USDT/USD", "BTC"}.isdisjoint(key)
            same = np.array_equal(own.values[:, own.column(key)], fresh.values[:, column], equal_nan=True)
            assert same == gone


def test_bytes_that_are_cut_are_no_state() -> None:
    run = Run(PEG)
    run.one([1.0] * 5)
    family = next(found for found in run.recogniser._families if found.name == "relations")
    blob = family.dump(run.state.families["relations"])
    with pytest.raises(RecordError, match="expected 10 numbers for each of 1 series, found 72 bytes"):
        family.load(blob[:-8])


def test_many_breaks_at_once_share_a_record() -> None:
    run = Run({**PEG, "subject": "*"})
    for n in range(4):
        run.give({f"s{i}": {"last": 1.0 if n == 0 else 0.9} for i in range(100)})
    (record,) = run.records
    assert len(record.series) == 100
    assert record.evidence["onset_ns"] == [START + STEP] * 100


def test_nothing_is_kept_of_series_that_no_rule_is_of() -> None:
    run = Run(PEG, pairs=[PAIR], learn=True)
    for n in range(5):
        run.give({f"s{i}": {"last": 1.0 + n} for i in range(100)})
    assert run.state.families["relations"].size == run.state.families["correlations"].size == 0


# ---------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"subject": "a"}, "field: missing"),
        ({**PEG, "tolerance": "50"}, 'a share of the target is written as "50bp" or "0.5%"'),
        ({**PEG, "tolerance": -1}, "must be a number, in the unit of the series, or a share"),
        ({**PEG, "tolerance": float("nan")}, "must be a number, in the unit of the series, or a share"),
        ({**PEG, "target": 0.0}, 'tolerance "50bp" of a target of 0 is nothing'),
        ({**PEG, "target": float("inf")}, "must be between -1e+300 and 1e+300 (a finite number)"),
        ({"field": "x", "target": 1.0, "sigmas": 0}, "give tolerance or sigmas"),
        ({**PEG, "hold": 0}, "must be between 1 and 10000 observations; found 0"),
        ({**PEG, "leave": 0}, "must be between 0.01 and 1 (a share of what is allowed); found 0"),
        ({**PEG, "span": 1}, "must be between 2 and 1e+06 observations; found 1"),
        ({**PEG, "lasting": "soon"}, "'soon' is not a duration"),
        ({**PEG, "level": 1}, "unknown key; remove it or check its spelling"),
    ],
)
def test_relations_that_cannot_work_are_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecogniserConfig.model_validate({"relations": {"watch": [rule]}})
    explained = str(explain(caught.value, "observer.toml"))
    assert explained.startswith("observer.toml: relations.watch.0")
    assert message in explained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ["ETH"]}, 'expected [subject, field], as ["BTC/USDT", "last"]'),
        ({"against": ["B*", "last"]}, "names one series, without globs"),
        ({"against": ["ETH", "last"]}, "of and against are the same series"),
        ({"slow_span": 30}, "slow_span (30) must be longer than span (30)"),
        ({"floor": 1.0}, "must be between -0.99 and 0.99 (a correlation); found 1"),
        ({"drop": 0}, "must be between 0.01 and 2 (a difference of correlations); found 0"),
        ({"every": "-1s"}, "is not a duration"),
    ],
)
def test_correlations_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecogniserConfig.model_validate({"correlations": {"watch": [{**PAIR, **changes}]}})
    explained = str(explain(caught.value, "observer.toml"))
    assert explained.startswith("observer.toml: correlations.watch.0")
    assert message in explained


@pytest.mark.parametrize(
    ("tolerance", "share", "absolute"),
    [("50bp", 0.005, 0.0), ("0.5%", 0.005, 0.0), (0.005, 0.0, 0.005), (2, 0.0, 2.0)],
)
def test_a_tolerance_in_each_spelling(tolerance: Any, share: float, absolute: float) -> None:
    given = RecogniserConfig.model_validate({"relations": {"watch": [{**PEG, "tolerance": tolerance}]}})
    (rule,) = given.relations.watch
    assert (rule.share, rule.absolute, rule.scales) == (pytest.approx(share), absolute, 0.0)


def test_the_configuration_comes_back_from_what_is_recorded_of_it() -> None:
    rules = {"relations": {"watch": _RULES}, "correlations": {"watch": [PAIR]}}
    given = RecogniserConfig.model_validate(rules)
    assert RecogniserConfig(**given.canonical()) == given
