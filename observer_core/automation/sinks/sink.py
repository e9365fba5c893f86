"""The port through which a record leaves the Observer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class Sink(Protocol):
    """One destination. Delivery is at least once; `record_id` lets the receiver drop a repeat.

    A sink is used by one caller at a time and keeps nothing that matters: what was
    delivered stands in the journal of the subscription.
    """

    @property
    def name(self) -> str:
        """How results and logs call this destination. Holds no secret."""

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        """Hands `body` over and returns the receiver's answer code, if it gives one.

        `replay` says that the record was delivered before and is repeated on demand.
        Raises `DeliveryError`: with `retry` when another attempt may succeed. After a
        `retry` the receiver may or may not have the record.
        """

    def already_has(self, record_id: str) -> bool:
        """True when the receiver certainly has the record. Asked before each attempt.

        It tells a delivery that was made and not yet committed from one that never was.
        """

    def close(self) -> None:
        """Lets go of files and connections. May be called twice."""


@runtime_checkable
class Folding(Protocol):
    """A sink that tells what belongs together in one message, which it updates."""

    def thread_of(self, body: bytes) -> str:
        """What the record belongs to (its incident), or empty."""

    def folds(self, body: bytes) -> bool:
        """Whether others tell of it: it is not sent itself."""

    def send_in(self, body: bytes, *, replay: bool, earlier: str | None) -> tuple[int | None, str | None]:
        """As `send`; `earlier` is what it gave as the name of the last message of this thread."""
