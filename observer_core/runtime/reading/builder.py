"""The thread that makes blocks: at once what a request waits for, ahead what nobody has asked for yet.

It works in slices of a millisecond and rests in between, so that no other thread waits for the interpreter
for longer: a fifth of a core when nobody waits, most of one when somebody does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import structlog

from observer_core.runtime.reading.column_store import Need, SourceColumns
from observer_core.runtime.reading.pace import Pace, in_slices
from observer_core.runtime.reading.shelf import Shelf
from observer_core.shared.errors import NotFound, ObserverError

WAITING: Final = 8
"""So many requests wait at most; any other is answered with what there is."""
_AHEAD: Final = 0.2
_FIRST_S: Final = 3.0
_LOOK_S: Final = 5.0
_IDLE_S: Final = 30.0
_ALL: Final = Need(1, 2**62)
_log = structlog.get_logger("observer.series")


@dataclass(eq=False)
class _Order:
    columns: SourceColumns
    need: Need
    moment: int
    done: Future[None] = field(default_factory=Future)


class Builder:
    """`ahead`: the sources to keep built although nobody asks (None: only what is asked for)."""

    def __init__(self, shelf: Shelf, ahead: Callable[[], Sequence[SourceColumns]] | None) -> None:
        self._shelf, self._ahead = shelf, ahead
        self._orders: deque[_Order] = deque()
        self._changed = threading.Condition()
        self._stopped = self._failing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Safe to repeat; a thread that nothing was asked of ends by itself, unless it works ahead."""
        with self._changed:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="series", daemon=True)
                self._thread.start()

    def ask(self, columns: SourceColumns, need: Need) -> Future[None] | None:
        """Done when all of it is built or no more can be; None when too many wait. Cancel it to give up."""
        with self._changed:
            self._orders = deque(order for order in self._orders if not order.done.cancelled())
            if self._stopped or len(self._orders) >= WAITING:
                return None
            order = _Order(columns, need, self._shelf.now())
            self._orders.append(order)
            self._changed.notify()
        self.start()
        return order.done

    def stop(self, timeout: float = 2.0) -> None:
        """Returns when the thread has let go of the storage."""
        with self._changed:
            self._stopped = True
            thread = self._thread
            for order in self._orders:
                order.done.cancel()
            self._orders.clear()
            self._changed.notify()
        if thread is not None:
            thread.join(timeout)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        next_look = time.monotonic() + _FIRST_S
        idle_until = time.monotonic() + _IDLE_S
        while not self._stopped:
            order = self._next()
            if order is not None:
                self._work(order)
                idle_until = time.monotonic() + _IDLE_S
            elif self._ahead is not None and time.monotonic() >= next_look:
                if not self._step_ahead(self._ahead):
                    next_look = time.monotonic() + _LOOK_S
            else:
                until = idle_until if self._ahead is None else next_look
                with self._changed:
                    if not self._orders and not self._stopped:
                        self._changed.wait(max(0.0, until - time.monotonic()))
                    if self._ahead is None and not self._orders and time.monotonic() >= idle_until:
                        self._thread = None
                        return

    def _next(self) -> _Order | None:
        with self._changed:
            while self._orders:
                order = self._orders[0]
                if not order.done.cancelled():
                    self._orders.rotate(-1)
                    return order
                self._orders.popleft()
        return None

    def _work(self, order: _Order) -> None:
        """One block of it."""
        try:
            more = order.columns.build(order.need, in_slices(), order.moment)
            self._shelf.trim()
        except Exception as error:
            _log.warning("a series cannot be built", error=str(error), exc_info=_is_odd(error))
            more = False
        if not more:
            with self._changed:
                if order in self._orders:
                    self._orders.remove(order)
            if order.done.set_running_or_notify_cancel():
                order.done.set_result(None)

    def _step_ahead(self, sources: Callable[[], Sequence[SourceColumns]]) -> bool:
        """A block of each source that lacks one; whether there may be more to do."""
        found, failed = False, self._failing
        try:
            for columns in sources():
                if self._stopped or self._orders:
                    return True
                columns.bring_forward()
                pace = Pace(_AHEAD, wanted=self._is_wanted)
                found |= columns.build(_ALL, pace) or columns.tidy(pace)
                self._shelf.trim()
        except NotFound:
            return False  # another thread's step has not been committed yet
        except Exception as error:
            self._failing = True
            if not failed:  # once, not at every look while a storage is down
                _log.warning("series are not built ahead now", error=str(error), exc_info=_is_odd(error))
            return False
        self._failing = False
        return found

    def _is_wanted(self) -> bool:
        return bool(self._orders) or self._stopped


def _is_odd(error: Exception) -> bool:
    """Whether it is not one that a storage is known to have."""
    return not isinstance(error, ObserverError)
