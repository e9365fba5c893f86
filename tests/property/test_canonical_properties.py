"""Canonical JSON: equal values give equal bytes, and nothing is lost on the way."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.shared.canonical import decode, encode, encode_columns
from observer_core.shared.errors import RecordError
from observer_core.storage.rows import GENESIS, chain

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, seed: int) -> Any:
    """The same value, its keys inserted in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key], seed) for key in keys}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_reading_gives_the_same_value_and_writing_it_again_the_same_bytes(value: Any) -> None:
    data = encode(value)
    assert repr(decode(data)) == repr(json.loads(data))
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(VALUES, st.integers())
def test_the_order_of_keys_does_not_matter(value: Any, seed: int) -> None:
    assert encode(shuffled(value, seed)) == encode(value)


@given(VALUES, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_hidden_nan_or_infinity_is_always_refused(value: Any, bad: float) -> None:
    with pytest.raises(RecordError, match="a finite number or null was expected"):
        encode({"a": value, "b": [value, {"c": bad}]})


@given(st.lists(st.floats(allow_infinity=False), max_size=40))
def test_columns_keep_every_bit_and_nan_is_null(values: list[float]) -> None:
    data = encode_columns({"kind": "x"}, {"f": np.array(values, np.float64)})
    found = np.array(decode(data)["fields"]["f"], np.float64)
    wanted = np.array(values, np.float64)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    kept = ~np.isnan(wanted)
    assert found[kept].tobytes() == wanted[kept].tobytes()


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, 2**64, {"a": {1, 2}}, "\ud800"])
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(RecordError, match="cannot be written as a record"):
        encode(value)


@given(st.lists(st.binary(max_size=20), max_size=20), st.data())
def test_the_chain_does_not_depend_on_batches(records: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(records)))
    assert chain(chain(GENESIS, records[:cut]), records[cut:]) == chain(GENESIS, records)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=10), st.data())
def test_the_chain_notices_any_change_of_a_record_or_of_their_order(
    records: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    bit = data.draw(st.integers(0, 8 * len(records[index]) - 1))
    changed = bytearray(records[index])
    changed[bit // 8] ^= 1 << bit % 8
    assert chain(GENESIS, [*records[:index], bytes(changed), *records[index + 1 :]]) != chain(
        GENESIS, records
    )
    if len(set(records)) > 1:
        turned = [*records[1:], records[0]]
        assert turned == records or chain(GENESIS, turned) != chain(GENESIS, records)
