from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from observer_core.automation.sinks.log import LogSink
from observer_core.automation.sinks.queue import QueueSink
from observer_core.shared.errors import DeliveryError, LimitExceeded, StorageError, StorageUnavailable

BODY = b'{"id":"a1"}'


def test_the_log_sink_writes_the_record_as_one_log_line() -> None:
    with capture_logs() as lines:
        assert LogSink().send("a1", BODY, content_type="application/json", replay=True) is None
    assert lines == [
        {
            "event": "delivered",
            "log_level": "info",
            "sink": "log",
            "record": "a1",
            "content_type": "application/json",
            "replay": True,
            "body": '{"id":"a1"}',
        }
    ]


class RecordingQueues:
    def __init__(self, failure: StorageError | None = None) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self._failure = failure

    def send(self, queue: str, body: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self.sent.append((queue, body))


def test_the_queue_sink_sends_the_bytes_of_the_record_as_they_are() -> None:
    queues = RecordingQueues()
    sink = QueueSink(queues, "risk-desk")
    assert sink.send("a1", BODY, content_type="application/json", replay=False) is None
    assert queues.sent == [("risk-desk", BODY)]
    assert not sink.already_has("a1")


@pytest.mark.parametrize(
    ("failure", "retry"),
    [(StorageUnavailable("busy"), True), (LimitExceeded("64 KiB at most"), False)],
)
def test_a_message_that_is_too_large_is_not_tried_again_and_an_outage_is(
    failure: StorageError, retry: bool
) -> None:
    sink = QueueSink(RecordingQueues(failure), "risk-desk")
    with pytest.raises(DeliveryError, match=f"'risk-desk'.*{failure}") as caught:
        sink.send("a1", BODY, content_type="application/json", replay=False)
    assert caught.value.retry is retry
