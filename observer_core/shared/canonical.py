"""Record bytes: one value, one spelling.

`encode` gives equal bytes for equal values on every machine and Python version:
UTF-8 JSON, keys sorted, shortest round-trip floats, no NaN and no infinity. The
chain of a journal hashes these bytes as they were stored; nothing is ever
serialised again to be verified.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson

from observer_core.shared.errors import RecordError

_OPTIONS = orjson.OPT_SORT_KEYS
_OPTIONS_NUMPY = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
Fragment = orjson.Fragment


def encode(value: Any) -> bytes:
    """Canonical bytes of plain JSON values.

    Raises `RecordError` for NaN, infinity, integers beyond 64 bits, keys that are
    not strings, and types that JSON does not have.
    """
    data = _dumps(value, _OPTIONS)
    if b"null" in data:  # how orjson spells NaN and infinity; without it there is none to look for
        _refuse_non_finite(value)
    return data


def encode_columns(value: dict[str, Any], columns: dict[str, np.ndarray[Any, np.dtype[np.float64]]]) -> bytes:
    """Canonical bytes of `value` with `fields` = float columns, where NaN means "missing" (null).

    `value` must be free of floats other than finite ones (it is not walked: hot path).
    Infinity in a column raises `RecordError`.
    """
    for name, column in columns.items():
        if np.count_nonzero(np.isinf(column)):
            raise RecordError(f"field {name!r} holds an infinity; a number or null was expected")
    return _dumps({**value, "fields": columns}, _OPTIONS_NUMPY)


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The value of canonical (or any) JSON bytes; `RecordError` when they are not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        head = bytes(data[:60])
        raise RecordError(f"expected JSON, found {head!r}: {error}") from None


def _dumps(value: Any, options: int) -> bytes:
    try:
        return orjson.dumps(value, option=options)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise RecordError(f"cannot be written as a record: {error}") from None


def _refuse_non_finite(value: Any) -> None:
    found = _non_finite(value)
    if found is not None:
        path, number = found
        raise RecordError(f"${path} is {number}; a finite number or null was expected")


def _non_finite(value: Any) -> tuple[str, float] | None:
    """The first number that is not finite, and where it stands."""
    kind = type(value)
    if kind is float:
        return None if math.isfinite(value) else ("", value)
    if kind is dict:
        for key, item in value.items():
            if type(item) in _CONTAINERS_OR_FLOAT and (found := _non_finite(item)) is not None:
                return f".{key}{found[0]}", found[1]
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            if type(item) in _CONTAINERS_OR_FLOAT and (found := _non_finite(item)) is not None:
                return f"[{index}]{found[0]}", found[1]
    return None


_CONTAINERS_OR_FLOAT = frozenset((float, dict, list, tuple))
