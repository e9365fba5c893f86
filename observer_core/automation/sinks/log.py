"""Delivery into the Observer's own log."""

from __future__ import annotations

import structlog


class LogSink:
    """Writes each record as one line of the logger `observer.delivery`. Never fails, never waits."""

    def __init__(self, name: str = "log") -> None:
        self.name = name
        self._log = structlog.get_logger("observer.delivery")

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> None:
        self._log.info(
            "delivered",
            sink=self.name,
            record=record_id,
            content_type=content_type,
            replay=replay,
            body=body.decode("utf-8", "replace"),
        )

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass
