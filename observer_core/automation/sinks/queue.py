"""Delivery as messages of a storage queue."""

from __future__ import annotations

from typing import Protocol

from observer_core.shared.errors import DeliveryError, LimitExceeded, StorageError


class QueueSender(Protocol):
    """The one thing that this sink needs of a queue service."""

    def send(self, queue: str, body: bytes) -> object:
        """Puts one message into the queue; raises a `StorageError` when it did not."""


class QueueSink:
    """Puts each record into `queue` as one message whose content is the record's bytes.

    At least once and in no promised order, as the queue service is: the consumer drops
    repeats by the record's id.
    """

    def __init__(self, queues: QueueSender, queue: str, *, name: str = "queue") -> None:
        self.name = name
        self._queues, self._queue = queues, queue

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> None:
        try:
            self._queues.send(self._queue, body)
        except LimitExceeded as error:
            raise DeliveryError(f"queue {self._queue!r} refuses the message: {error}", retry=False) from None
        except StorageError as error:
            raise DeliveryError(f"queue {self._queue!r} did not take the message: {error}") from None

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass
