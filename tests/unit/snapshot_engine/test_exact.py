"""Numbers as sources write them: which are taken, and that no digit of a decimal is lost."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from observer_core.snapshot_engine import exact
from observer_core.snapshot_engine.exact import column


def taken(values: list[Any]) -> tuple[list[float | None], dict[int, str], list[int]]:
    """The column (None for NaN), the exact texts, and the places of what was no number."""
    numbers, texts, refused = column(values)
    assert (numbers.dtype, numbers.shape) == (np.float64, (len(values),))
    return [None if math.isnan(x) else x for x in numbers.tolist()], texts, list(refused)


# ---------------------------------------------------------------------- what is a number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0), ("-0", 0.0), ("1.5", 1.5), ("-2.25", -2.25), ("+7", 7.0), ("007", 7.0),
        ("+00.50", 0.5), (".5", 0.5), ("5.", 5.0), ("-.5", -0.5), ("1e3", 1000.0), ("1E+3", 1000.0),
        ("-2.5e-2", -0.025), ("0e5", 0.0), ("1e300", 1e300),
    ],
)  # fmt: skip
def test_a_decimal_text_is_a_number_alone_and_among_others(text: str, number: float) -> None:
    assert taken([text]) == ([number], {}, [])
    assert taken([text, "1"]) == ([number, 1.0], {}, [])
    assert taken([None, text, 2]) == ([None, number, 2.0], {}, [])


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1_0", " 1", "1 ", "1\n", "\t1", "１", "٣", "1,5", "1,2", ",", "1,", ",1", "1.2.3", "--1",
        "+-1", "1e", "e5", ".", "+", "-", "0x10", "1d", "1e1000", "1e999", "-1e400", "1e0005", "nan", "NaN",
        "inf", "Infinity", "-Infinity", "true", "false", "null", "[1]", "[1],[2", "{}", '"1"', "1]", "]",
        "1],[2", "\\u0031", "1" * 81, "0." + "1" * 80, "1e-99999999999999999999", "\ud800", "1\x00",
    ],
)  # fmt: skip
def test_any_other_text_is_none_alone_and_among_others(text: str) -> None:
    assert taken([text]) == ([None], {}, [0])
    assert taken([text, "1"]) == ([None, 1.0], {}, [0])
    assert taken(["1", text, "2"]) == ([1.0, None, 2.0], {}, [1])
    assert taken([3, text]) == ([3.0, None], {}, [1])


@pytest.mark.parametrize(
    "value", [True, False, math.nan, math.inf, -math.inf, [1], {}, b"1", 10**400, Decimal(1)]
)
def test_any_other_value_is_none(value: Any) -> None:
    assert taken([value]) == ([None], {}, [0])
    assert taken([1, value, 2.5]) == ([1.0, None, 2.5], {}, [1])
    assert taken(["1", value]) == ([1.0, None], {}, [1])


def test_what_was_no_number_is_told_as_it_came() -> None:
    assert column([1, "high", True])[2] == {1: "'high'", 2: "True"}


def test_commas_in_texts_do_not_make_up_for_texts_that_are_missing() -> None:
    """Joined, these would be as many JSON numbers as there are texts."""
    for texts in (["1,2", ""], ["", "1,2"], ["1,2,3", "", ""], [",", "1"], ["1,2", "3", None]):
        assert taken(texts)[0][0] is None


def test_none_is_missing_and_no_fault() -> None:
    assert taken([None]) == ([None], {}, [])
    assert taken([None, "1", None, 2]) == ([None, 1.0, None, 2.0], {}, [])


def test_no_values_are_an_empty_column() -> None:
    assert taken([]) == ([], {}, [])


def test_texts_and_numbers_may_be_mixed() -> None:
    assert taken([1, "2.5", 3.5, "-4", None]) == ([1.0, 2.5, 3.5, -4.0, None], {}, [])


# ---------------------------------------------------------------------- what is kept as text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0.1", False), ("123456789012345", False), ("0.12345678901234", False), ("999999999999999", False),
        ("1234567890123456", False), ("9007199254740993", True), ("0.1234567890123456", False),
        ("9999999999999999", True), ("0.12345678901234567", True), ("12345678901234567", True),
        ("0.30000000000000004", False), ("1.00000000000000000000", False), ("123456789012345678901", True),
        ("0.000000000000000000000001", False), ("-9007199254740993", True), ("18446744073709551617", True),
        ("1" * 80, True), ("0." + "0" * 77 + "1", False),
    ],
)  # fmt: skip
def test_a_text_is_kept_when_its_double_does_not_say_it(text: str, kept: bool) -> None:
    for values in ([text], ["0.5", text], [text, None], [text, 7]):
        assert (text in column(values)[1].values()) == kept
        assert taken(values)[2] == []


@pytest.mark.parametrize("text", ["1e-400", "-1e-400", "4.9e-324", "1.23456e-320", "1E-330", "2e-324"])
def test_a_short_text_that_is_too_small_for_a_double_is_kept(text: str) -> None:
    assert column([text])[1] == {0: text}
    assert column(["1", text])[1] == {1: text}
    assert column([text, None])[1] == {0: text}


def test_a_whole_number_beyond_a_double_is_kept_and_one_that_fits_is_not() -> None:
    values = [2**53, 2**53 + 1, -(2**53) - 1, 10**18, 2**64 - 1, 3, 0.1]
    numbers, texts, _ = column(values)
    assert texts == {1: str(2**53 + 1), 2: str(-(2**53) - 1), 4: str(2**64 - 1)}
    assert numbers[3] == 1e18


def test_a_whole_number_is_kept_when_its_double_is_written_with_fewer_digits() -> None:
    """What is recorded is the shortest decimal of the double: of 2**60 that is another number."""
    assert column([2**60])[1] == {0: str(2**60)}


def test_a_text_is_kept_as_it_was_written() -> None:
    assert column(["+01.2345678901234567890", "1"])[1] == {0: "+01.2345678901234567890"}


# ---------------------------------------------------------------------- whatever comes

decimal_texts = st.from_regex(r"\A[+-]?(\d{1,25}(\.\d{0,25})?|\.\d{1,25})([eE][+-]?\d{1,3})?\Z").filter(
    str.isascii
)
plain_texts = st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,5})?\Z")
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), decimal_texts, plain_texts,
    st.sampled_from(["", ",", "1,2", "[1]", "null", "true", "1_0", " 1 ", "１", "NaN", "-", "1e"]),
)  # fmt: skip


def assert_both_ways_agree(values: list[Any]) -> None:
    numbers, texts, refused = column(values)
    slow_numbers, slow_texts, slow_refused = exact._one_by_one(values)
    np.testing.assert_array_equal(numbers, slow_numbers)
    assert (texts, refused) == (slow_texts, slow_refused)


@settings(max_examples=60)
@given(st.lists(scalars, max_size=5))
def test_the_fast_way_and_the_slow_way_agree_on_any_scalars(values: list[Any]) -> None:
    assert_both_ways_agree(values)


@settings(max_examples=60)
@given(st.lists(plain_texts, min_size=1, max_size=5))
@example(["1e-400"])
@example(["0." + "1" * 90])
@example(["1e00000"])
def test_the_fast_way_and_the_slow_way_agree_on_texts_alone(values: list[str]) -> None:
    assert_both_ways_agree(values)


@given(st.lists(st.one_of(st.integers(), st.integers(2**53 - 9, 2**53 + 9), st.floats()), max_size=5))
def test_the_fast_way_and_the_slow_way_agree_on_numbers_alone(values: list[Any]) -> None:
    assert_both_ways_agree(values)


@settings(max_examples=60)
@given(st.lists(st.one_of(decimal_texts, plain_texts), min_size=1, max_size=5))
def test_every_decimal_text_can_be_had_back_exactly(values: list[str]) -> None:
    numbers, texts, refused = column(values)
    for place, text in enumerate(values):
        if place in refused:
            assert math.isnan(numbers[place])
        elif place in texts:
            assert texts[place] == text
        else:
            assert Decimal(repr(float(numbers[place]))) == Decimal(text)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=8), min_size=1, max_size=6))
def test_prices_with_eight_places_are_never_refused(values: list[Decimal]) -> None:
    texts = [format(value, "f") for value in values]
    assert column(texts)[2] == {}


def test_there_is_a_fast_way() -> None:
    """Else the properties above would compare a thing with itself."""
    assert exact._texts(["1.5", "-0.25"]) is not None
    assert exact._numbers([1, 2.5]) is not None
