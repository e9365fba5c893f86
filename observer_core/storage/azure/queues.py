"""Queues whose messages the Functions host can read: base64 in the text."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import cached_property
from typing import Final

from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient, QueueServiceClient

from observer_core.storage.azure.edge import code, edge
from observer_core.storage.ports import Message, check_message

_AT_ONCE: Final = 32
_FOR_EVER: Final = -1


class AzureQueues:
    """Messages stay until they are deleted. A queue is made by the first `send` to it.

    Times are whole seconds here: they are rounded up, and a message is hidden for at least one.
    """

    def __init__(self, service: Callable[[], QueueServiceClient], prefix: str) -> None:
        self._connect, self._prefix = service, prefix
        self._clients: dict[str, QueueClient] = {}

    @cached_property
    def _service(self) -> QueueServiceClient:
        return self._connect()

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None:
        check_message(queue, body)
        text = base64.b64encode(body).decode("ascii")
        with edge(f"send to queue {queue!r}"):
            client = self._client(queue)
            delay = _seconds(delay_ns)
            try:
                client.send_message(text, visibility_timeout=delay, time_to_live=_FOR_EVER)
            except HttpResponseError as error:
                if code(error) != "QueueNotFound":
                    raise
                self._create(client)
                client.send_message(text, visibility_timeout=delay, time_to_live=_FOR_EVER)

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        found: list[Message] = []
        with edge(f"receive from queue {queue!r}"):
            try:
                while len(found) < count:
                    wanted = min(count - len(found), _AT_ONCE)
                    pages = self._client(queue).receive_messages(
                        messages_per_page=wanted, visibility_timeout=max(1, _seconds(visibility_ns))
                    )
                    page = list(next(pages.by_page(), ()))
                    found += [
                        Message(
                            str(item.id), _body(item.content), item.dequeue_count or 0, item.pop_receipt or ""
                        )
                        for item in page
                    ]
                    if len(page) < wanted:
                        break
            except HttpResponseError as error:
                if code(error) != "QueueNotFound":
                    raise
        return found

    def delete(self, queue: str, message: Message) -> None:
        with edge(f"delete a message of queue {queue!r}"):
            try:
                self._client(queue).delete_message(message.id, message.receipt)
            except HttpResponseError as error:
                if code(error) not in ("MessageNotFound", "PopReceiptMismatch", "QueueNotFound"):
                    raise

    def length(self, queue: str) -> int:
        with edge(f"look at queue {queue!r}"):
            try:
                return self._client(queue).get_queue_properties().approximate_message_count or 0
            except HttpResponseError as error:
                if code(error) != "QueueNotFound":
                    raise
                return 0

    def _client(self, queue: str) -> QueueClient:
        client = self._clients.get(queue)
        if client is None:
            check_message(self._prefix + queue, b"")
            client = self._clients[queue] = self._service.get_queue_client(self._prefix + queue)
        return client

    @staticmethod
    def _create(client: QueueClient) -> None:
        try:
            client.create_queue()
        except HttpResponseError as error:
            if code(error) != "QueueAlreadyExists":
                raise


def _seconds(ns: int) -> int:
    return -(-ns // 1_000_000_000)


def _body(text: str) -> bytes:
    """What was sent; the text itself when somebody sent a message that is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
