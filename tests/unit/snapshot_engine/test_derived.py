"""Derived series: the numbers of each kind, when they are given, and what their flags say."""

import math
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from observer_core.shared.clock import SECOND
from observer_core.shared.config import explain
from observer_core.shared.errors import ConfigError, RecordError
from observer_core.shared.records import Note, Snapshot, decode_record
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.derived import DerivedConfig, Deriver, DeriverState

T0 = 1_700_000_000 * SECOND
MINUTE = 60 * SECOND
BTC, ETH = ["a", "BTC", "last"], ["b", "ETH", "last"]
RATIO = {"subject": "BTC/ETH", "kind": "ratio", "of": BTC, "against": ETH}


def config(*series: Mapping[str, Any], **options: Any) -> DerivedConfig:
    return DerivedConfig.model_validate({"series": series, **options})


class Run:
    """A deriver, its state, and the positions of its inputs' journals. Times are seconds after T0."""

    def __init__(self, *series: Mapping[str, Any], **options: Any) -> None:
        self.stage = Deriver("derived", config(*(series or (RATIO,)), **options))
        self.state: DeriverState = self.stage.initial()
        self.positions: dict[str, int] = {}

    def take(self, source: str, record: Any) -> Snapshot | None:
        journal = f"snapshots.{source}"
        self.positions[journal] = self.positions.get(journal, 0) + 1
        given = self.stage.transition(self.state, Entry(journal, self.positions[journal], record))
        assert len(given) <= 1
        return given[0] if given else None

    def tick(
        self, source: str, at: float, rows: Mapping[str, Mapping[str, float]],
        flags: Mapping[str, tuple[str, ...]] | None = None, event: float | None = None,
    ) -> Snapshot | None:  # fmt: skip
        names = sorted({name for row in rows.values() for name in row})
        now = T0 + round(at * SECOND)
        return self.take(source, Snapshot(
            source=source, event_ns=now if event is None else T0 + round(event * SECOND), ingest_ns=now,
            subjects=tuple(rows), quality=flags or {},
            fields={n: np.array([row.get(n, math.nan) for row in rows.values()], np.float64) for n in names},
        ))  # fmt: skip

    def a(self, at: float, value: float, *flags: str, **options: Any) -> Snapshot | None:
        return self.tick("a", at, {"BTC": {"last": value}}, {"BTC": flags} if flags else None, **options)

    def b(self, at: float, value: float, *flags: str, **options: Any) -> Snapshot | None:
        return self.tick("b", at, {"ETH": {"last": value}}, {"ETH": flags} if flags else None, **options)

    def fails(self, source: str, at: float) -> Snapshot | None:
        now = T0 + round(at * SECOND)
        return self.take(source, Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=(), fields={}, status="unavailable",
            error="503",
        ))  # fmt: skip


def cells(snapshot: Snapshot | None) -> dict[tuple[str, str], float]:
    """What was observed."""
    assert snapshot is not None
    return {
        (subject, name): float(column[place])
        for name, column in snapshot.fields.items()
        for place, subject in enumerate(snapshot.subjects)
        if not math.isnan(column[place])
    }


def value(snapshot: Snapshot | None) -> float:
    (found,) = cells(snapshot).values()
    return found


def flags(snapshot: Snapshot | None) -> dict[str, tuple[str, ...]]:
    assert snapshot is not None
    return dict(snapshot.quality)


@pytest.mark.parametrize(
    ("kind", "a", "b", "expected"),
    [
        ("ratio", 3.0, 2.0, 1.5),
        ("difference", 3.0, 5.0, -2.0),
        ("mid", 3.0, 5.0, 4.0),
        ("spread", 101.0, 99.0, 0.02),
        ("spread", 99.0, 101.0, -0.02),
        ("premium", 105.0, 100.0, 105 / 100 - 1),
        ("implied_rate", 60_030.0, 60_000.0, 1.0005),
        ("difference", -3.0, -5.0, 2.0),
        ("mid", -3.0, -5.0, -4.0),
        ("ratio", -3.0, 2.0, -1.5),
    ],
)
def test_the_number_of_each_kind(kind: str, a: float, b: float, expected: float) -> None:
    run = Run({**RATIO, "kind": kind})
    assert run.a(0, a) is None
    derived = run.b(1, b)
    assert cells(derived) == {("BTC/ETH", kind): expected}
    assert flags(derived) == {}


def test_values_of_several_sources_side_by_side() -> None:
    run = Run(
        {"subject": "a:BTC", "field": "last", "kind": "value", "of": BTC},
        {"subject": "b:ETH", "kind": "value", "of": ETH},
    )
    assert cells(run.a(0, -3.0)) == {("a:BTC", "last"): -3.0}
    derived = run.b(1, 5.0, "stale", "clock_skew")
    assert cells(derived) == {("b:ETH", "value"): 5.0}
    assert flags(derived) == {"b:ETH": ("stale", "clock_skew")}
    assert run.a(2, 4.0, "duplicate") is None
    assert flags(run.a(3, -1.0, "non_positive")) == {"a:BTC": ("non_positive",)}
    gone = run.fails("b", 4)
    assert gone is not None
    assert (gone.status, gone.error) == ("unavailable", "input unavailable: b")


def test_a_premium_over_another_currency() -> None:
    run = Run({
        "subject": "BTC", "kind": "premium", "field": "kimchi", "of": ["upbit", "BTC/KRW", "last"],
        "against": ["binance", "BTC/USDT", "last"], "rate": ["fx", "USD/KRW", "mid"],
    })  # fmt: skip
    assert run.tick("upbit", 0, {"BTC/KRW": {"last": 84_000_000.0}}) is None
    assert run.tick("fx", 0, {"USD/KRW": {"mid": 1_250.0}}) is None
    derived = run.tick("binance", 1, {"BTC/USDT": {"last": 64_000.0}})
    assert cells(derived) == {("BTC", "kimchi"): 84_000_000 / 80_000_000 - 1}  # 5 %


def test_a_derived_snapshot_says_what_it_was_made_from() -> None:
    run = Run()
    run.a(0, 3.0, event=-1)
    run.a(1, 4.0, event=0.5)
    derived = run.b(2, 2.0, event=0.25)
    assert derived is not None
    assert (derived.source, derived.status, derived.error) == ("derived", "ok", None)
    assert (derived.event_ns, derived.ingest_ns) == (T0 + SECOND // 2, T0 + 2 * SECOND)
    assert derived.origin == {"inputs": {"snapshots.a": 2, "snapshots.b": 1}}
    assert list(derived.origin["inputs"]) == ["snapshots.a", "snapshots.b"]
    stored = decode_record(derived.encode(3))
    assert isinstance(stored, Snapshot)
    assert stored.encode(3) == derived.encode(3)


def test_only_what_the_entry_concerns_is_computed_in_the_order_of_the_configuration() -> None:
    run = Run(
        {"subject": "Z", "kind": "mid", "of": BTC, "against": ETH},
        {"subject": "Y", "kind": "difference", "of": ETH, "against": ["b", "SOL", "last"]},
        {"subject": "Z", "kind": "ratio", "of": BTC, "against": ["b", "SOL", "last"]},
        {"subject": "A", "kind": "ratio", "of": BTC, "against": ETH},
    )
    run.tick("b", 0, {"ETH": {"last": 2.0}, "SOL": {"last": 4.0}})
    first = run.a(0, 8.0)
    assert first is not None
    assert (first.subjects, list(first.fields)) == (("Z", "A"), ["mid", "ratio"])
    assert cells(first) == {("Z", "mid"): 5.0, ("Z", "ratio"): 2.0, ("A", "ratio"): 4.0}
    assert cells(run.tick("b", 1, {"SOL": {"last": 1.0}})) == {("Y", "difference"): 1.0, ("Z", "ratio"): 8.0}
    assert cells(run.b(1, 4.0)) == {("Z", "mid"): 6.0, ("Y", "difference"): 3.0, ("A", "ratio"): 2.0}


def test_a_row_without_a_value_keeps_the_old_one() -> None:
    run = Run()
    run.a(0, 6.0)
    assert value(run.b(0, 2.0)) == 3.0
    assert value(run.b(1, math.nan)) == 3.0
    assert value(run.tick("b", 2, {"ETH": {"volume": 9.0}})) == 3.0
    assert value(run.tick("b", 3, {"ETH": {"last": math.inf}})) == 3.0
    assert flags(run.b(6, math.nan)) == {"BTC/ETH": ("stale",)}


def test_entries_that_are_not_rows_of_an_operand_have_no_effect() -> None:
    run = Run()
    run.a(0, 6.0)
    run.b(0, 2.0)
    before = run.stage.dump(run.state)
    assert run.take("a", Note(kind="tick", time_ns=T0 + SECOND, body={})) is None
    assert run.tick("c", 1, {"ETH": {"last": 1.0}}) is None
    other = Snapshot(source="a", event_ns=T0, ingest_ns=T0, subjects=("BTC",), fields={"last": np.ones(1)})
    assert run.take("elsewhere", other) is None
    assert run.stage.advance(run.state, T0 + MINUTE) == ()
    assert run.stage.dump(run.state) == before
    assert run.tick("a", 1, {"SOL": {"last": 1.0}}) is None


@pytest.mark.parametrize("flag", ["duplicate", "out_of_order"])
def test_rows_that_are_nothing_new_teach_nothing(flag: str) -> None:
    run = Run()
    run.a(0, 6.0)
    assert run.b(0, 2.0, flag) is None
    assert value(run.b(0, 2.0)) == 3.0
    assert run.b(4, 9.0, flag) is None
    late = run.a(6, 6.0)
    assert value(late) == 3.0
    assert flags(late) == {"BTC/ETH": ("stale",)}


def test_an_operand_is_stale_beyond_the_tolerance() -> None:
    run = Run(tolerance="2s")
    run.a(0, 6.0)
    assert flags(run.b(2, 2.0)) == {}
    assert flags(run.b(2.000000001, 2.0)) == {"BTC/ETH": ("stale",)}
    assert flags(run.a(3, 6.0)) == {}


def test_time_never_goes_back_and_nothing_is_given_before_it_was_known() -> None:
    run = Run()
    run.a(10, 6.0)
    first = run.b(4, 2.0)
    assert first is not None
    assert first.ingest_ns == T0 + 10 * SECOND
    assert flags(first) == {"BTC/ETH": ("stale",)}
    again = run.b(5, 2.0)
    assert again is not None
    assert again.ingest_ns == T0 + 10 * SECOND
    assert flags(again) == {}


def test_a_source_whose_clock_goes_back_is_held_where_it_was() -> None:
    run = Run()
    run.a(10, 6.0)
    run.a(4, 8.0)
    derived = run.b(15, 2.0)
    assert (value(derived), flags(derived)) == (4.0, {})


@pytest.mark.parametrize("kind", ["ratio", "spread", "premium", "implied_rate"])
@pytest.mark.parametrize("b", [0.0, -0.0, -7.0])
def test_a_denominator_that_is_not_positive(kind: str, b: float) -> None:
    run = Run({**RATIO, "kind": kind})
    run.b(0, b)
    derived = run.a(0, 0.0)
    assert cells(derived) == {}
    assert flags(derived) == {"BTC/ETH": ("non_positive",)}


@pytest.mark.parametrize(("b", "rate"), [(1.0, 0.0), (1.0, -1.0), (-1.0, -1.0), (1e-200, 1e-200)])
def test_every_factor_of_a_premium_must_be_positive(b: float, rate: float) -> None:
    run = Run({**RATIO, "kind": "premium", "rate": ["a", "FX", "mid"]})
    run.b(0, b)
    derived = run.tick("a", 0, {"BTC": {"last": 1.0}, "FX": {"mid": rate}})
    assert (cells(derived), flags(derived)) == ({}, {"BTC/ETH": ("non_positive",)})


def test_a_row_that_was_flagged_non_positive_gives_no_value() -> None:
    run = Run({**RATIO, "kind": "difference"})
    run.b(0, 2.0)
    derived = run.a(0, 6.0, "non_positive")
    assert (cells(derived), flags(derived)) == ({}, {"BTC/ETH": ("non_positive",)})
    assert value(run.a(1, 6.0)) == 4.0


@pytest.mark.parametrize("flag", ["stale", "crossed_book", "outlier_print", "clock_skew", "partial_bar"])
def test_flags_that_are_passed_on_with_the_value_they_came_with(flag: str) -> None:
    run = Run()
    run.a(0, 6.0, flag)
    assert flags(run.b(0, 2.0)) == {"BTC/ETH": (flag,)}
    assert flags(run.b(1, 2.0)) == {"BTC/ETH": (flag,)}
    assert flags(run.a(1, 6.0)) == {}


def test_flags_of_all_rows_and_of_several_operands_come_in_one_order() -> None:
    run = Run()
    run.tick("a", 0, {"BTC": {"last": 6.0}}, {"*": ("closed_session",), "BTC": ("gap", "crossed_book")})
    assert flags(run.b(6, 2.0, "partial_bar")) == {
        "BTC/ETH": ("stale", "crossed_book", "partial_bar"), "*": ("closed_session",),
    }  # fmt: skip
    assert run.tick("b", 7, {"ETH": {"last": 1.0}}, {"*": ("duplicate",)}) is None


def test_what_is_closed_for_some_rows_only_is_said_of_these() -> None:
    other = {"subject": "ETH/BTC", "kind": "ratio", "of": ["b", "XYZ", "last"], "against": BTC}
    run = Run(RATIO, other)
    run.a(0, 6.0)
    both = {"ETH": {"last": 2.0}, "XYZ": {"last": 3.0}}
    assert flags(run.tick("b", 0, both, {"XYZ": ("closed_session",)})) == {"ETH/BTC": ("closed_session",)}
    assert flags(run.tick("b", 1, both, {"*": ("closed_session",)})) == {"*": ("closed_session",)}


def test_quality_is_that_of_the_subject() -> None:
    other = {"subject": "ETH/BTC", "kind": "ratio", "of": ["b", "XYZ", "last"], "against": BTC}
    run = Run(RATIO, other)
    run.tick("b", 0, {"ETH": {"last": 2.0}, "XYZ": {"last": 3.0}}, {"XYZ": ("outlier_print",)})
    assert flags(run.a(0, 6.0)) == {"ETH/BTC": ("outlier_print",)}


def test_an_unavailable_input_leaves_its_series_unavailable_until_it_is_back() -> None:
    run = Run()
    run.a(0, 6.0)
    run.b(0, 2.0)
    down = run.fails("b", 1)
    assert down is not None
    assert (down.status, down.error, down.subjects) == ("unavailable", "input unavailable: b", ())
    assert (down.event_ns, down.ingest_ns) == (T0 + SECOND, T0 + SECOND)
    assert down.origin == {"inputs": {"snapshots.b": 2}}
    assert run.fails("b", 2) is None
    still = run.a(2, 7.0)
    assert still is not None
    assert (still.status, still.error) == ("unavailable", "input unavailable: b")
    assert still.origin == {"inputs": {"snapshots.a": 2, "snapshots.b": 3}}
    back = run.b(3, 2.0)
    assert back is not None
    assert (back.status, value(back), flags(back)) == ("ok", 3.5, {})


def test_an_input_that_was_never_there_is_unavailable_when_it_says_so() -> None:
    run = Run()
    assert run.a(0, 6.0) is None
    down = run.fails("b", 1)
    assert down is not None
    assert down.status == "unavailable"
    assert run.tick("b", 2, {"SOL": {"last": 1.0}}) is None
    assert run.a(2, 6.0) is None


def test_one_unavailable_input_of_several_makes_the_snapshot_partial() -> None:
    run = Run(RATIO, {"subject": "BTC", "kind": "mid", "of": BTC, "against": ["c", "BTC", "last"]})
    run.b(0, 2.0)
    run.fails("b", 0)
    run.a(0, 6.0)
    run.tick("c", 0, {"BTC": {"last": 8.0}})
    some = run.a(1, 4.0)
    assert some is not None
    assert (some.status, some.error) == ("partial", "input unavailable: b")
    assert cells(some) == {("BTC/ETH", "ratio"): 2.0, ("BTC", "mid"): 6.0}
    assert flags(some) == {"BTC/ETH": ("stale",)}
    assert some.origin == {"inputs": {"snapshots.a": 2, "snapshots.b": 2, "snapshots.c": 1}}
    run.fails("c", 1)
    none = run.a(2, 4.0)
    assert none is not None
    assert (none.status, none.error, none.subjects) == ("unavailable", "inputs unavailable: b, c", ())


RETURN = {"subject": "BTC", "kind": "return", "of": BTC, "over": "1m"}


def test_a_return_is_measured_from_the_newest_value_that_is_old_enough() -> None:
    run = Run(RETURN)
    assert run.a(0, 100.0) is None
    assert run.a(3, 200.0) is None
    assert run.a(59.999999999, 7.0) is None
    assert cells(run.a(60, 110.0)) == {("BTC", "return"): 110 / 100 - 1}
    assert value(run.a(62.999999999, 110.0)) == 110 / 100 - 1
    assert value(run.a(63, 110.0)) == 110 / 200 - 1
    assert value(run.a(68, 100.0)) == -0.5
    assert run.a(68.000000001, 100.0) is None
    assert value(run.a(119.999999999, 14.0)) == 1.0
    assert value(run.a(120, 55.0)) == -0.5


def test_a_return_that_cannot_be_computed_leaves_its_cell_empty_and_without_a_flag() -> None:
    run = Run(RETURN, {**RATIO, "subject": "BTC"})
    run.b(0, 2.0)
    derived = run.a(1, 6.0)
    assert derived is not None
    assert (cells(derived), flags(derived)) == ({("BTC", "ratio"): 3.0}, {})
    assert list(derived.fields) == ["ratio"]


def test_a_return_needs_a_positive_base_and_keeps_its_flags() -> None:
    run = Run(RETURN)
    run.a(0, 0.0)
    run.a(10, 5.0, "outlier_print")
    bad = run.a(60, 6.0)
    assert (cells(bad), flags(bad)) == ({}, {"BTC": ("non_positive",)})
    odd = run.a(70, 6.0)
    assert (value(odd), flags(odd)) == (6 / 5 - 1, {"BTC": ("outlier_print",)})


def test_a_missing_value_moves_the_window_of_a_return() -> None:
    run = Run(RETURN)
    run.a(0, 100.0)
    run.a(10, 120.0)
    moved = run.a(70, math.nan)
    assert (value(moved), flags(moved)) == (0.0, {"BTC": ("stale",)})
    assert run.a(76, math.nan) is None


def test_returns_over_several_times_do_not_disturb_one_another() -> None:
    run = Run(RETURN, {**RETURN, "field": "return_10s", "over": "10s"})
    for second in range(0, 60, 10):
        run.a(second, 100.0 + second)
    assert cells(run.a(60, 200.0)) == {("BTC", "return"): 1.0, ("BTC", "return_10s"): 200 / 150 - 1}


def test_a_return_keeps_no_more_than_it_can_use() -> None:
    run = Run({**RETURN, "over": "3s"}, tolerance="1s")
    for second in range(100):
        run.a(second, 1.0 + second)
    (kept,) = run.state.pasts.values()
    assert [past.value for past in kept] == [97.0, 98.0, 99.0, 100.0]


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        ("difference", 1e308, -1e308),
        ("mid", 1e308, 1e308),
        ("ratio", 1e308, 1e-308),
        ("spread", 1e308, 1e308),
        ("premium", 1e308, 1e-308),
    ],
)
def test_what_a_float_cannot_hold_is_missing(kind: str, a: float, b: float) -> None:
    run = Run({**RATIO, "kind": kind})
    run.a(0, a)
    derived = run.b(0, b)
    assert (cells(derived), flags(derived)) == ({}, {})


def test_an_overflowing_divisor_is_not_a_total_discount() -> None:
    run = Run({**RATIO, "kind": "premium", "rate": ["b", "FX", "mid"]})
    run.a(0, 1.0)
    assert cells(run.tick("b", 0, {"ETH": {"last": 1e200}, "FX": {"mid": 1e200}})) == {}


SERIES = (
    RATIO, RETURN, {**RETURN, "field": "fast", "over": "2s"},
    {"subject": "x", "kind": "premium", "of": BTC, "against": ETH, "rate": ["c", "FX", "mid"]},
)  # fmt: skip


def _play(run: Run, steps: range) -> list[bytes]:
    given = []
    for step in steps:
        source = "abc"[step % 3]
        if step % 17 == 5:
            derived = run.fails(source, step)
        elif source == "c":
            derived = run.tick("c", step, {"FX": {"mid": 1.0 + step % 7}})
        else:
            derived = (run.a if source == "a" else run.b)(step, 1.0 + step % 11)
        given.append(b"" if derived is None else derived.encode(0))
    return given


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 60, 99])
def test_a_state_that_was_stored_goes_on_as_if_it_had_not_been(stop: int) -> None:
    whole, cut = Run(*SERIES), Run(*SERIES)
    expected = _play(whole, range(120))
    found = _play(cut, range(stop))
    blob = cut.stage.dump(cut.state)
    cut.stage = Deriver("derived", config(*SERIES))
    cut.state = cut.stage.load(blob)
    assert cut.stage.dump(cut.state) == blob
    assert found + _play(cut, range(stop, 120)) == expected
    assert cut.stage.dump(cut.state) == whole.stage.dump(whole.state)
    assert sum(map(bool, expected)) > 60


def test_a_state_serves_another_configuration_as_far_as_that_knows_its_series() -> None:
    run = Run(*SERIES)
    _play(run, range(10))
    other = Deriver("derived", config({**RETURN, "over": "2s"}))
    state = other.load(run.stage.dump(run.state))
    assert list(state.inputs) == ["a"]
    assert len(state.readings) == len(state.pasts) == 1


@pytest.mark.parametrize("blob", [b"{}", b"[]", b'{"time_ns":0,"inputs":{},"readings":[[1]],"pasts":[]}'])
def test_what_is_no_state_is_refused(blob: bytes) -> None:
    with pytest.raises(RecordError, match="expected the state of a deriver"):
        Run().stage.load(blob)


def test_a_deriver_has_no_views() -> None:
    run = Run()
    before = run.stage.views_version(run.state)
    _play(run, range(9))
    assert run.stage.views(run.state) == {}
    assert run.stage.views_version(run.state) == before


def test_the_configuration_comes_back_from_what_is_recorded_of_it() -> None:
    text = """
    tolerance = "1500ms"
    [[series]]
    subject = "BTC"
    kind = "premium"
    of = ["upbit", "BTC/KRW", "last"]
    against = ["binance", "BTC/USDT", "last"]
    rate = ["fx", "USD/KRW", "mid"]
    [[series]]
    subject = "BTC"
    kind = "return"
    of = ["binance", "BTC/USDT", "last"]
    over = "1h30m"
    """
    given = DerivedConfig.model_validate(tomllib.loads(text))
    assert [series.field for series in given.series] == ["premium", "return"]
    assert Deriver.inputs(given) == ["binance", "fx", "upbit"]
    recorded = dict(Deriver("derived", given).config())
    assert recorded.pop("source") == "derived"
    assert recorded["tolerance"] == "1s500ms"
    assert recorded["series"][0]["of"] == ["upbit", "BTC/KRW", "last"]
    assert DerivedConfig.model_validate(recorded) == given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"against": None}, 'kind "ratio" needs against'),
        ({"rate": BTC}, 'kind "ratio" has no rate; remove it'),
        ({"over": "1m"}, 'kind "ratio" has no over; remove it'),
        ({"kind": "premium", "against": None}, 'kind "premium" needs against'),
        ({"kind": "premium", "over": "1m"}, 'kind "premium" has no over; remove it'),
        ({"kind": "return", "against": None}, 'kind "return" needs over'),
        ({"kind": "return", "over": "1m"}, 'kind "return" has no against; remove it'),
        ({"kind": "value"}, 'kind "value" has no against; remove it'),
        ({"kind": "value", "against": None, "over": "1m"}, 'kind "value" has no over; remove it'),
        ({"kind": "value", "against": None, "rate": BTC}, 'kind "value" has no rate; remove it'),
        ({"kind": "return", "over": "0s", "against": None}, "over: Input should be greater than 0"),
        ({"kind": "return", "over": "soon", "against": None}, "'soon' is not a duration"),
        ({"kind": "sum"}, "kind: Input should be"),
        ({"of": ["a", "BTC"]}, "expected .source, subject, field., as .*; found 2 items"),
        ({"of": "a/BTC/last"}, "expected .source, subject, field., as .*; found str"),
        ({"of": ["A b", "BTC", "last"]}, "of.*: String should match pattern"),
        ({"of": ["a", "", "last"]}, "of.*: the name '' is empty"),
        ({"of": ["a", "BTC", "la\nst"]}, "of.*: the name 'la.*st' holds the character"),
        ({"of": ["a", 1, "last"]}, "of.*: Input should be a valid string"),
        ({"subject": "x" * 257}, "subject: the name .* has 257 characters"),
        ({"subject": "*"}, "subject: the name '\\*' is \\*, which stands for all"),
        ({"field": ""}, "field: the name '' is empty"),
        ({"into": 1}, "into: unknown key"),
    ],
)
def test_what_cannot_be_derived_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config({**RATIO, **changes})
    with pytest.raises(ConfigError, match=message):
        raise explain(caught.value, "observer.toml")


def test_a_configuration_derives_each_field_once_and_something_at_all() -> None:
    with pytest.raises(ValidationError, match="'ratio' of subject 'BTC/ETH' is derived twice"):
        config(RATIO, {**RATIO, "of": ETH, "against": BTC})
    with pytest.raises(ValidationError, match="at least 1 item"):
        config()
    with pytest.raises(ValidationError, match="greater than 0"):
        config(RATIO, tolerance="0s")


def test_a_source_is_not_derived_from_itself() -> None:
    with pytest.raises(ConfigError, match="'a' is derived from itself"):
        Deriver("a", config(RATIO))
