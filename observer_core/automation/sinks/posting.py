"""Posting to somebody else's API: what its answers mean for another attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from observer_core import __version__
from observer_core.safety.outbound import Answer, OutboundError, Target
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import DeliveryError

_LONGEST_WAIT_S = 3600


def post(
    target: Target, value: Any, headers: Mapping[str, str] | None = None, *, max_bytes: int = 0
) -> Answer:
    """POSTs JSON; the answer where it is 2xx, else a `DeliveryError`: whether to try again, and when."""
    sent = {
        "Content-Type": "application/json; charset=utf-8", "User-Agent": f"qts-observer/{__version__}",
        "Connection": "close", **(headers or {}),
    }  # fmt: skip
    try:
        answer = target.ask("POST", sent, orjson.dumps(value), max_bytes=max_bytes)
    except OutboundError as error:
        raise DeliveryError(str(error), retry=error.retry) from None
    judge(target, answer)
    return answer


def judge(target: Target, answer: Answer) -> None:
    """Another attempt is worth it after 408, 429 and 5xx, not before what `Retry-After` says."""
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryError(
            f"{target} answered {status}, a redirect; redirects are not followed: "
            "give the final address as url",
            status,
            retry=False,
        )
    raise DeliveryError(
        f"{target} answered {status}; 2xx was expected", status,
        retry=status in (408, 429) or status >= 500, wait_ns=retry_after_ns(answer),
    )  # fmt: skip


def retry_after_ns(answer: Answer) -> int:
    """Seconds of `Retry-After`, an hour at most; 0 without one (or with a date, which needs a clock)."""
    text = answer.headers.get("retry-after", "").strip()
    return min(int(text), _LONGEST_WAIT_S) * SECOND if text.isdecimal() and len(text) < 10 else 0
