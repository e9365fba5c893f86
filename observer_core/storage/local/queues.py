"""Queues in SQLite: visibility timeout and dequeue count as a Storage Queue has them."""

from __future__ import annotations

from observer_core.shared.clock import Clock
from observer_core.storage.local.database import Database
from observer_core.storage.ports import Message, check_message


class LocalQueues:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None:
        check_message(queue, body)
        with self._database.errors("send"):
            self._database.connection().execute(
                "INSERT INTO messages (queue, body, visible_ns) VALUES (?, ?, ?)",
                (queue, body, self._clock.now_ns() + delay_ns),
            )

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        now = self._clock.now_ns()
        with self._database.errors("receive"):
            found = (
                self._database.connection()
                .execute(
                    "UPDATE messages SET visible_ns = ?, dequeue_count = dequeue_count + 1, "
                    "receipt = receipt + 1 WHERE id IN (SELECT id FROM messages WHERE queue = ? "
                    "AND visible_ns <= ? ORDER BY id LIMIT ?) RETURNING id, body, dequeue_count, receipt",
                    (now + visibility_ns, queue, now, count),
                )
                .fetchall()
            )
        return [Message(str(i), body, dequeues, str(receipt)) for i, body, dequeues, receipt in sorted(found)]

    def delete(self, queue: str, message: Message) -> None:
        with self._database.errors("delete"):
            self._database.connection().execute(
                "DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ?",
                (int(message.id), queue, int(message.receipt)),
            )

    def length(self, queue: str) -> int:
        with self._database.errors("count"):
            found = (
                self._database.connection()
                .execute("SELECT count(*) FROM messages WHERE queue = ?", (queue,))
                .fetchone()
            )
        return int(found[0])
