from dataclasses import replace

import numpy as np
import pytest

from observer_core.shared.errors import RecordError
from observer_core.shared.records import Snapshot, decode_record
from observer_core.snapshot_engine.normalise import Normaliser, NormaliserConfig, State
from observer_core.snapshot_engine.source import unavailable

SECOND = 1_000_000_000
NAN = float("nan")


def snap(
    event_s: float, subjects: tuple[str, ...] = ("A",), ingest_s: float | None = None, **fields: list[float]
) -> Snapshot:
    event = round(event_s * SECOND)
    return Snapshot(
        source="m", event_ns=event, ingest_ns=event if ingest_s is None else round(ingest_s * SECOND),
        subjects=subjects, fields={name: np.array(column, float) for name, column in fields.items()},
    )  # fmt: skip


def flags(*snapshots: Snapshot, **config: object) -> list[dict[str, tuple[str, ...]]]:
    """The flags of each, and a proof that reading them back leaves the same state."""
    normaliser = Normaliser(NormaliserConfig.model_validate(config))
    state, read_back = normaliser.initial(), normaliser.initial()
    found = []
    for snapshot in snapshots:
        stored = normaliser.apply(state, snapshot)
        decoded = decode_record(stored.encode(1))
        assert isinstance(decoded, Snapshot)
        normaliser.observe(read_back, decoded)
        assert normaliser.dump(read_back) == normaliser.dump(state)
        found.append(dict(stored.quality))
    return found


def test_a_row_before_the_newest_of_its_subject_is_out_of_order_and_leaves_it_newest() -> None:
    assert flags(snap(10, price=[1]), snap(5, price=[2]), snap(7, price=[3]), snap(10, price=[1])) == [
        {}, {"A": ("out_of_order",)}, {"A": ("out_of_order",)}, {"A": ("duplicate",)},
    ]  # fmt: skip


def test_only_the_subjects_concerned_are_flagged() -> None:
    both = snap(10, ("A", "B"), price=[1, 2])
    later = snap(20, ("B",), price=[3])
    between = snap(15, ("A", "B", "C"), price=[1, 2, 3])
    assert flags(both, later, between) == [{}, {}, {"B": ("out_of_order",)}]


def test_the_same_time_and_values_are_a_duplicate_and_other_values_a_correction() -> None:
    both = ("A", "B")
    assert flags(
        snap(10, both, price=[1, NAN], size=[1, 1]),
        snap(10, both, price=[1, NAN], size=[2, 1]),
        snap(10, both, price=[1, NAN]),
        snap(10, both, price=[1, NAN], size=[NAN, NAN]),
    ) == [{}, {"B": ("duplicate",)}, {}, {"A": ("duplicate",), "B": ("duplicate",)}]


def test_a_correction_counts_although_another_subject_is_out_of_order_beside_it() -> None:
    both = ("A", "B")
    given = [
        snap(10, both, price=[1, 1]),
        snap(20, ("B",), price=[1]),
        snap(10, both, price=[2, 2]),
        snap(10, price=[2]),
    ]
    assert flags(*given) == [{}, {}, {"B": ("out_of_order",)}, {"A": ("duplicate",)}]


def test_a_gap_is_more_than_the_tolerance_beyond_the_expected_interval() -> None:
    given = [snap(0, price=[1]), snap(15, price=[1]), snap(30.1, ("A", "B"), price=[1, 1])]
    assert flags(*given, expected_interval="10s") == [{}, {}, {"A": ("gap",)}]
    assert flags(*given, expected_interval="10s", gap_tolerance=1) == [{}, {"A": ("gap",)}, {"A": ("gap",)}]
    assert flags(*given) == [{}, {}, {}]


@pytest.mark.parametrize("field", ["price", "close", "bid", "ask_close"])
def test_a_price_that_is_not_positive_is_flagged(field: str) -> None:
    both = ("A", "B")
    assert flags(snap(1, both, **{field: [0, 1], "size": [0, -1]})) == [{"A": ("non_positive",)}]
    assert flags(snap(1, both, **{field: [NAN, -0.5]})) == [{"B": ("non_positive",)}]
    assert flags(snap(1, **{field: [-1]}), positive_fields=["size"]) == [{}]


@pytest.mark.parametrize("side", ["", "_close"])
def test_a_book_that_bids_more_than_it_asks_is_crossed(side: str) -> None:
    given = snap(1, ("A", "B", "C"), **{f"bid{side}": [2, 1, NAN], f"ask{side}": [1, 1, 1]})
    assert flags(given) == [{"A": ("crossed_book",)}]


def test_what_happened_after_it_was_learnt_shows_clock_skew() -> None:
    assert flags(snap(15, ingest_s=10, price=[1]), snap(15.1, ingest_s=10, price=[1])) == [
        {}, {"*": ("clock_skew",)},
    ]  # fmt: skip
    assert flags(snap(11, ingest_s=10, price=[1]), max_clock_skew="0s") == [{"*": ("clock_skew",)}]


def test_what_is_learnt_long_after_it_happened_is_stale() -> None:
    given = [snap(10, ingest_s=20, price=[1]), snap(20, ingest_s=30.1, price=[2])]
    assert flags(*given, max_delay="10s") == [{}, {"*": ("stale",)}]
    assert flags(*given) == [{}, {}]


def test_a_bar_that_is_learnt_before_its_end_is_partial_and_its_final_values_follow() -> None:
    given = [snap(60, ingest_s=100, close=[1]), snap(60, ingest_s=120, close=[2])]
    assert flags(*given, bar="60s") == [{"*": ("partial_bar",)}, {}]


SEOUL = {"zone": "Asia/Seoul", "weekly": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "09:00-15:30")}
MONDAY_9 = 1_704_067_200 + 0.0  # 2024-01-01 09:00 in Seoul


def test_outside_its_sessions_a_snapshot_is_flagged_as_a_whole_a_failed_one_too() -> None:
    hours = [0, 6.4999, 6.5, 24]
    given = [snap(MONDAY_9 + 3600 * hour, price=[1]) for hour in hours]
    given[2:2] = [unavailable("m", round((MONDAY_9 + 3600 * 7) * SECOND), OSError("closed"))]
    closed = {"*": ("closed_session",)}
    assert flags(*given[:2], *given[3:], session=SEOUL) == [{}, {}, closed, {}]
    assert flags(given[2], session=SEOUL) == [closed]


def test_a_bar_belongs_to_the_session_that_it_begins_in() -> None:
    end = MONDAY_9 + 6.5 * 3600
    last, after = snap(end - 60, ingest_s=end, close=[1]), snap(end, ingest_s=end + 60, close=[1])
    assert flags(last, after, session=SEOUL, bar="1m") == [{}, {"*": ("closed_session",)}]


def test_a_bar_of_a_day_is_open_when_any_session_lies_in_it() -> None:
    midnight = MONDAY_9 - 9 * 3600
    days = [snap(midnight + n * 86_400, ingest_s=midnight + (n + 1) * 86_400, close=[1 + n]) for n in (4, 5)]
    assert flags(*days, session=SEOUL, bar="1d") == [{}, {"*": ("closed_session",)}]


def test_nothing_is_missing_while_the_market_is_closed() -> None:
    given = [snap(MONDAY_9 + 3600 * hour, price=[1]) for hour in (6.4, 24.01, 24.2)]
    assert flags(*given, session=SEOUL, expected_interval="1m") == [{}, {}, {"A": ("gap",)}]
    assert flags(*given[:2], expected_interval="1m") == [{}, {"A": ("gap",)}]


def prices(*values: float, **config: object) -> list[bool]:
    """Which of the prices are outlier prints."""
    found = flags(*(snap(n, price=[value]) for n, value in enumerate(values)), **config)
    return ["outlier_print" in quality.get("A", ()) for quality in found]


@pytest.mark.parametrize(
    ("values", "outliers"),
    [
        ([100, 199, 100], [False, False, False]),
        ([100, 10_000, 101], [False, True, False]),
        ([100, 10_000, 10_100, 101], [False, True, False, True]),
        ([100, 1, 100], [False, True, False]),
        ([100, 10_000, 1, 102], [False, True, True, False]),
        ([100, NAN, 10_000], [False, False, False]),
        ([100, 10_000, NAN, 100], [False, True, False, False]),
        ([0, 100], [False, False]),
        ([100, -1, 100], [False, False, False]),
    ],
)
def test_a_price_far_from_the_one_before_is_an_outlier_until_another_confirms_it(
    values: list[float], outliers: list[bool]
) -> None:
    assert prices(*values) == outliers


def test_how_far_is_far_can_be_said() -> None:
    assert prices(100, 121, max_jump=1.2) == [False, True]
    assert prices(100, 121, max_jump=1.21) == [False, False]
    assert prices(100, 1e9, max_jump=None) == [False, False]


def test_an_outlier_of_one_subject_and_field_is_no_other_ones() -> None:
    both = ("A", "B")
    given = [snap(n, both, bid=[1, 1], ask=[1, ask]) for n, ask in enumerate([1, 9, 1])]
    assert flags(*given) == [{}, {"B": ("outlier_print",)}, {}]


def test_fields_are_recorded_in_one_unit_exactly_where_they_came_exactly() -> None:
    normaliser = Normaliser(
        NormaliserConfig(units={"cpu": "percent", "lag": "ms", "mem": "MiBy", "last": "KRW"})
    )
    given = replace(
        snap(1, cpu=[12.5], lag=[250], mem=[2], last=[7]),
        decimals={"cpu": {"A": "12.50000000000000000001"}, "lag": {"A": "250.00000000000000001"}},
    )
    got = normaliser.apply(normaliser.initial(), given)
    assert {name: column.tolist() for name, column in got.fields.items()} == {
        "cpu": [0.125], "lag": [0.25], "mem": [2 * 1024 * 1024], "last": [7],
    }  # fmt: skip
    assert got.decimals == {"cpu": {"A": "0.1250000000000000000001"}, "lag": {"A": "0.25000000000000000001"}}
    assert decode_record(got.encode(1)).decimals == got.decimals  # type: ignore[union-attr]


def test_a_unit_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"units.cpu\n.*is no unit; expected one of 1, percent, %"):
        NormaliserConfig(units={"cpu": "precent"})


def test_of_moments_gone_by_the_rows_after_what_is_known_of_each_subject_are_new() -> None:
    normaliser = Normaliser()
    state = normaliser.initial()
    moments = [snap(n, ("A", "B"), close=[n, n]) for n in (1, 2, 3)]
    normaliser.apply(state, snap(1, ("A",), close=[1]))
    got = normaliser.newer(state, moments)
    assert [(s.event_ns // SECOND, s.subjects) for s in got] == [(2, ("A",)), (3, ("A", "B"))]
    for snapshot in got:
        normaliser.apply(state, snapshot)
    assert normaliser.newer(state, moments) == []


def test_flags_join_those_there_are_in_one_order() -> None:
    given = replace(snap(1, price=[0], bid=[2], ask=[1]), quality={"A": ("partial_bar", "stale")})
    assert flags(given) == [{"A": ("stale", "crossed_book", "non_positive", "partial_bar")}]


def test_time_of_ingestion_never_goes_back() -> None:
    normaliser = Normaliser()
    state = normaliser.initial()
    normaliser.apply(state, snap(10, price=[1]))
    late = normaliser.apply(state, snap(5, price=[1]))
    assert (late.event_ns, late.ingest_ns) == (5 * SECOND, 10 * SECOND)


def test_nothing_to_flag_gives_the_very_same_object() -> None:
    normaliser = Normaliser()
    state = normaliser.initial()
    for given in (snap(1, price=[1]), snap(2, price=[NAN]), unavailable("m", 3 * SECOND, OSError("x"))):
        assert normaliser.apply(state, given) is given


def test_columns_of_whole_numbers_become_floats() -> None:
    given = replace(snap(1, price=[1]), fields={"price": np.array([1], np.int32)})
    got = Normaliser().apply(State(), given).fields["price"]
    assert (got.dtype, got.tolist()) == (np.float64, [1.0])


def bad(**change: object) -> Snapshot:
    return replace(snap(1, ("A", "B"), price=[1, 2]), **change)  # type: ignore[arg-type]


INF = {"price": np.array([1, np.inf])}


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        (
            bad(fields=INF),
            "snapshot of 'm': field 'price' of 'B' is infinite; expected a number, or NaN for none",
        ),
        (
            bad(fields={"price": np.ones(3)}),
            r"field 'price' has shape \(3,\), expected \(2,\), one value a subject",
        ),
        (bad(fields={"price": np.array(["a", "b"])}), r"field 'price' holds array\(.*\), expected numbers"),
        (bad(fields={"": np.ones(2)}), "the name of field '' is empty"),
        (bad(fields={f"f{i}": np.ones(2) for i in range(5)}), r"5 fields, at most 4 expected \(max_fields\)"),
        (bad(fields={f"g{i}": np.ones(2) for i in range(4)}), r"5 fields in all, at most 4 expected"),
        (bad(subjects=("A", "A")), "subject 'A' stands in it twice; expected one row a subject"),
        (bad(subjects=("B", "")), "subject 2, '', is empty"),
        (bad(subjects=("B", "*")), r"subject 2, '\*', is \*, which stands for all of them"),
        (bad(subjects=("B", 7)), "subject 2, 7, is int, expected text"),
        (bad(subjects=("B", [])), r"subject 2, \[\], is list, expected text"),
        (bad(subjects=("B", "x\n")), r"subject 2, 'x\\n', holds the character '\\n', which cannot be shown"),
        (bad(subjects=("B", "x" * 257)), "has 257 characters, at most 256 were expected"),
        (bad(subjects=("C", "D")), r"4 subjects in all, at most 3 expected \(max_subjects\)"),
        (bad(source=""), "snapshot of '': the source's name is empty"),
        (bad(status="fine"), "status is 'fine', expected one of"),
        (bad(event_ns=2**63), "event_ns is 9223372036854775808, expected whole nanoseconds in 64 bits"),
        (bad(ingest_ns=1.5), "ingest_ns is 1.5, expected whole nanoseconds"),
        (bad(quality={"A": ("odd",)}), "'A' has the unknown quality flag 'odd'; known are stale, gap"),
    ],
)
def test_what_is_no_snapshot_is_refused_and_leaves_the_state_as_it_was(
    snapshot: Snapshot, message: str
) -> None:
    normaliser = Normaliser(NormaliserConfig(max_subjects=3, max_fields=4))
    state = normaliser.initial()
    normaliser.apply(state, bad())
    before = normaliser.dump(state)
    with pytest.raises(RecordError, match=message):
        normaliser.apply(state, snapshot)
    assert normaliser.dump(state) == before


def test_a_state_comes_back_from_its_bytes_whatever_the_nan_was_made_of() -> None:
    normaliser = Normaliser()
    one, two = normaliser.initial(), normaliser.initial()
    odd = np.array([0x7FF8_0000_0000_1234], np.uint64).view(np.float64)
    normaliser.apply(one, replace(snap(1, price=[1]), fields={"price": odd}))
    normaliser.apply(two, snap(1, price=[NAN]))
    assert normaliser.dump(one) == normaliser.dump(two)
    assert normaliser.dump(normaliser.load(normaliser.dump(one))) == normaliser.dump(one)
    assert normaliser.dump(normaliser.load(normaliser.dump(State()))) == normaliser.dump(State())


@pytest.mark.parametrize(
    "blob", [b"", b"{}\n", b"[]\n", b'{"fields":["a"],"ingest_ns":1,"subjects":["b"]}\nshort']
)
def test_bytes_that_are_no_state_are_refused(blob: bytes) -> None:
    with pytest.raises(RecordError, match="expected (JSON|the state of a normaliser)"):
        Normaliser().load(blob)
