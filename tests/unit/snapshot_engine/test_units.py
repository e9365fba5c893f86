"""Units: what a field may come in, and that its numbers are recorded in one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine import units
from observer_core.snapshot_engine.normalise import Normaliser, NormaliserConfig
from observer_core.snapshot_engine.units import convert, convert_text, is_recorded_as_it_comes, recorded

CONVERTED = sorted(name for name in units._KNOWN if not is_recorded_as_it_comes(name))
SIGNIFICANT = 60


@pytest.mark.parametrize(
    ("unit", "into", "value", "expected"),
    [
        ("percent", "1", 7.0, 0.07), ("%", "1", 150.0, 1.5), ("permille", "1", 7.0, 0.007),
        ("bp", "1", 25.0, 0.0025), ("ns", "s", 1.0, 1e-9), ("us", "s", 250.0, 0.00025),
        ("ms", "s", 250.0, 0.25), ("min", "s", 1.5, 90.0), ("h", "s", 2.0, 7200.0), ("d", "s", 0.5, 43_200.0),
        ("bit", "By", 12.0, 1.5), ("kBy", "By", 2.0, 2000.0), ("MBy", "By", 2.0, 2e6),
        ("GBy", "By", 2.0, 2e9), ("KiBy", "By", 2.0, 2048.0), ("MiBy", "By", 2.0, 2097152.0),
        ("GiBy", "By", 0.5, 536870912.0),
    ],
)  # fmt: skip
def test_a_field_is_recorded_in_the_unit_of_its_dimension(
    unit: str, into: str, value: float, expected: float
) -> None:
    assert recorded(unit) == into
    assert not is_recorded_as_it_comes(unit)
    np.testing.assert_array_equal(convert(np.array([value, np.nan]), unit), [expected, np.nan])
    assert Decimal(convert_text(repr(value), unit)) == Decimal(repr(expected))


@pytest.mark.parametrize("unit", ["1", "s", "By", "USD", "KRW", "USDT", "{trade}", "{open_orders}"])
def test_some_units_are_recorded_as_they_come(unit: str) -> None:
    assert is_recorded_as_it_comes(unit)
    assert recorded(unit) == unit
    NormaliserConfig(units={"x": unit})


@pytest.mark.parametrize("unit", ["", "usd", "US", "US-D", "Percent", "{}", "{Trade}", "{a b}", "kB", "{a}x"])
def test_what_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(ValidationError, match="is no unit; expected one of 1, percent, %"):
        NormaliserConfig(units={"x": unit})


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("0.07", "percent", "0.0007"),
        ("123456789012345678901234567890", "bp", "12345678901234567890123456.789"),
        ("1.2345678901234567890123456789012345678901", "percent",
         "0.012345678901234567890123456789012345678901"),
        ("9" * 40, "d", str(int("9" * 40) * 86_400)), ("1e-30", "ns", "0." + "0" * 38 + "1"),
        ("0.125", "bit", "0.015625"), ("100", "percent", "1"), ("1E+3", "ms", "1"), ("0", "ms", "0"),
    ],
)  # fmt: skip
def test_a_decimal_is_converted_without_a_rounding(text: str, unit: str, expected: str) -> None:
    assert convert_text(text, unit) == expected


@given(
    digits=st.integers(-(10**SIGNIFICANT), 10**SIGNIFICANT), places=st.integers(0, 20),
    unit=st.sampled_from(CONVERTED),
)  # fmt: skip
def test_every_decimal_stays_exact(digits: int, places: int, unit: str) -> None:
    text = f"{digits}e-{places}"
    _, times, over = units._KNOWN[unit]
    assert Fraction(convert_text(text, unit)) == Fraction(digits, 10**places) * Fraction(times, over)


@given(st.floats(-1e250, 1e250), st.sampled_from(CONVERTED))
def test_a_number_is_rounded_once(value: float, unit: str) -> None:
    _, times, over = units._KNOWN[unit]
    exactly = Fraction(value) * Fraction(times, over)
    assert convert(np.array([value]), unit)[0] == exactly.numerator / exactly.denominator


def test_the_normaliser_converts_columns_and_decimals_and_judges_what_is_recorded() -> None:
    normaliser = Normaliser(NormaliserConfig(units={"change": "percent", "lag": "ms", "price": "USD"}))
    snapshot = Snapshot(
        source="in", event_ns=5, ingest_ns=5, subjects=("a", "b"),
        fields={"change": np.array([7.0, np.nan]), "lag": np.array([250.0, 1e-3]), "price": np.ones(2)},
        decimals={"change": {"a": "7.00000000000000000001"}, "price": {"b": "1.00000000000000000001"}},
    )  # fmt: skip
    found = normaliser.apply(normaliser.initial(), snapshot)
    assert {name: column.tolist()[0] for name, column in found.fields.items()} == {
        "change": 0.07, "lag": 0.25, "price": 1.0,
    }  # fmt: skip
    assert np.isnan(found.fields["change"][1])
    assert found.decimals == {
        "change": {"a": "0.0700000000000000000001"}, "price": {"b": "1.00000000000000000001"},
    }  # fmt: skip
    assert snapshot.fields["change"][0] == 7.0, "what was given stays as it was"


def test_a_stored_snapshot_is_not_converted_again() -> None:
    normaliser = Normaliser(NormaliserConfig(units={"change": "percent"}))
    first = Snapshot(
        source="in", event_ns=5, ingest_ns=5, subjects=("a",), fields={"change": np.array([7.0])}
    )
    writing, reading = normaliser.initial(), normaliser.initial()
    normaliser.observe(reading, normaliser.apply(writing, first))
    assert normaliser.dump(reading) == normaliser.dump(writing)


def test_a_unit_of_a_field_that_does_not_come_changes_nothing() -> None:
    normaliser = Normaliser(NormaliserConfig(units={"change": "percent"}))
    given_ = Snapshot(source="in", event_ns=5, ingest_ns=5, subjects=("a",), fields={"x": np.ones(1)})
    assert dict(normaliser.apply(normaliser.initial(), given_).fields) == {"x": np.ones(1)}
