"""Time: integer nanoseconds since the epoch inside, RFC 3339 with `Z` for people.

Nothing but a `Clock` given from outside tells the time. Transitions never see one:
they get time from their inputs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from observer_core.shared.errors import InputError

SECOND = 1_000_000_000
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
          "d": 86_400 * SECOND, "w": 7 * 86_400 * SECOND}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never less than the previous answer."""


class SystemClock:
    """The machine's clock; where it steps back, half as fast as time until it has caught up.

    It never decreases, as the journals' time never does, and never stands still: what has died meanwhile
    must grow old.
    """

    def __init__(self) -> None:
        self._last, self._elapsed = 0, time.monotonic_ns()

    def now_ns(self) -> int:
        elapsed = time.monotonic_ns()
        slowed = self._last + (elapsed - self._elapsed) // 2 if self._last else 0
        now = max(time.time_ns(), slowed, self._last)
        if now > self._last:  # else the half of a nanosecond would be lost, call after call
            self._last, self._elapsed = now, elapsed
        return now


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now = now_ns

    def now_ns(self) -> int:
        return self._now

    def set(self, now_ns: int) -> None:
        self._now = max(self._now, now_ns)

    def advance(self, by_ns: int) -> None:
        self._now += by_ns


def format_time(ns: int) -> str:
    """RFC 3339 in UTC with as many decimals as are needed: `2018-04-05T00:01:00Z`."""
    seconds, fraction = divmod(ns, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def parse_time(text: str, zone: str | None = None) -> int:
    """Nanoseconds of an ISO 8601 date or time, or of plain epoch s / ms / us / ns.

    A time without an offset needs `zone` (an IANA name such as "UTC"); without one it
    raises `InputError`, because a guessed zone silently moves every bar. A repeated
    local hour (end of summer time) is read as its first occurrence.
    """
    text = text.strip()
    if text.isdecimal() and len(text) >= 9:
        value = int(text)
        for scale in (SECOND, 1_000_000, 1_000, 1):
            if value * scale < 10**19 and value * scale >= 10**17:
                return value * scale
        raise InputError(f"{text!r} is not a time: epoch seconds, ms, us or ns were expected")
    fraction_ns = 0
    match = re.search(r"[.,](\d{1,9})\d*", text)
    if match:
        fraction_ns = int(match.group(1).ljust(9, "0"))
        text = text[: match.start()] + text[match.end() :]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is not a time: ISO 8601 (2018-04-05T00:01:00Z) or epoch s/ms/us/ns was expected"
        ) from None
    if moment.tzinfo is None:
        if zone is None:
            raise InputError(
                f"{text!r} has no zone; write one behind it (Z, +09:00), or say which zone such times are in"
            )
        moment = moment.replace(tzinfo=zone_of(zone))
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + fraction_ns


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(f"{name!r} is not an IANA time zone; for example UTC or Asia/Seoul") from None


def parse_duration(text: str) -> int:
    """Nanoseconds of `90s`, `1m`, `1h30m`, `250ms`; `InputError` otherwise."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InputError(f"{text!r} is not a duration: expected one like 250ms, 30s, 1m, 1h30m, 1d")
    return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)


def moment(text: str, newest: Callable[[], int]) -> int:
    """Nanoseconds of RFC 3339 (UTC where no zone is given), epoch s/ms/us/ns, or `2h` before `newest()`."""
    try:
        back_ns = parse_duration(text)
    except InputError:
        return parse_time(text, "UTC")
    return newest() - back_ns


def format_duration(ns: int) -> str:
    """The shortest exact spelling: 90 s is `1m30s`."""
    if ns == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, ns = divmod(ns, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
