"""Wrong credentials by address: so many a minute, then no more are looked into for a while.

In memory and bounded: what is forgotten first is who has not been wrong for longest. Tokens cannot be
guessed at any rate; what this bounds is what a crowd of guesses costs and logs.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from starlette.types import Scope

PER_WINDOW: Final = 10
WINDOW_S: Final = 60.0
ADDRESSES: Final = 1024
_NETWORK: Final = 64
"""Who has an IPv6 address has all of its /64."""


class Failed(NamedTuple):
    """`wait_s`: seconds until wrong ones are looked into again, None while they still are.

    `last`: it was the last one that is.
    """

    wait_s: int | None
    last: bool


class Failures:
    """Counts them. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, address: str) -> Failed:
        """One more from there. Those that are not looked into do not count: the wait has an end."""
        now = self._now()
        times = self._times.setdefault(address, deque())
        self._times.move_to_end(address)
        if len(self._times) > ADDRESSES:
            self._times.popitem(last=False)
        while times and now - times[0] >= WINDOW_S:
            times.popleft()
        if len(times) >= PER_WINDOW:
            return Failed(max(1, math.ceil(times[0] + WINDOW_S - now)), last=False)
        times.append(now)
        return Failed(None, last=len(times) == PER_WINDOW)


def address_of(scope: Scope) -> str:
    """Who is at the other end of the connection (a proxy, where one stands between); never what he says."""
    client = scope.get("client")
    host = str(client[0]) if client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64] or "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NETWORK), strict=False))
