"""The query parameters that lists share."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

from observer_core.shared.records import Severity

LIMIT: Final = 100
_NAME, _TEXT, _MOMENT = 80, 256, 64

Domain = Annotated[
    str | None, Query(min_length=1, max_length=_NAME, description="only of this domain; else of all")
]
Source = Annotated[str | None, Query(min_length=1, max_length=_NAME, description="only of this source")]
Subject = Annotated[
    str | None,
    Query(min_length=1, max_length=_TEXT, description="only about subjects that match this glob (`BTC/*`)"),
]
MinSeverity = Annotated[Severity | None, Query(description="at least so severe")]
Since = Annotated[
    str | None,
    Query(
        min_length=1, max_length=_MOMENT,
        description="from this time on: RFC 3339, or a span (`2h`) before the domain's newest record",
    ),
]  # fmt: skip
Until = Annotated[
    str | None,
    Query(min_length=1, max_length=_MOMENT, description="up to this time, given as for `since`"),
]
Limit = Annotated[int, Query(ge=1, le=1_000, description="how many at most")]
Next = Annotated[
    str | None, Query(min_length=1, max_length=_TEXT, description="`next` of an earlier answer: what follows")
]


def glob(description: str) -> object:
    """A filter by a glob, of the kind of record's own."""
    return Query(min_length=1, max_length=_TEXT, description=description)
