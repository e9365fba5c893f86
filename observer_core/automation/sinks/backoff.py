"""How long to wait before the next attempt."""

from __future__ import annotations

import hashlib

from observer_core.shared.clock import SECOND


def delay_ns(record_id: str, attempt: int, *, base_ns: int = SECOND, cap_ns: int = 300 * SECOND) -> int:
    """Nanoseconds to wait after the failed attempt number `attempt` (1 is the first).

    The wait doubles from `base_ns` up to `cap_ns`, and of that between a half and the
    whole is taken. The part is derived from the record and the attempt: the same in every
    run, yet different from record to record, so that a receiver which comes back is not
    met by all of them at once ("equal jitter", Brooker 2015).

    >>> [delay_ns("a1", attempt) // 1_000_000 for attempt in (1, 2, 3, 60)]
    [999, 1928, 2609, 273988]
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1; found {attempt}")
    # The exponent is bounded so that the thousandth attempt does not compute 2**1000.
    whole = min(cap_ns, base_ns << min(attempt - 1, 62))
    digest = hashlib.sha256(f"{record_id}:{attempt}".encode()).digest()
    half = whole // 2
    return half + int.from_bytes(digest[:8]) * (whole - half) // 2**64
