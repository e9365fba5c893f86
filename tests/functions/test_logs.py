"""What the app logs reaches whoever collects logs for the host exactly once, as one JSON line."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.support.functions_process import Worker


def said(worker: Worker, event: str) -> list[dict[str, Any]]:
    """All lines that hold the event, wherever in the line; each must be the JSON that was logged."""
    return [json.loads(line[line.index("{") :]) for line in list(worker.log) if event in line]


def test_a_line_comes_once_with_where_it_stands_and_without_secrets(worker: Worker) -> None:
    event = "message could not be worked"
    for number in range(3):
        worker.message(
            "publish_poison", b"AccountKey=c2VjcmV0LWtleQ==;", message_id=f"log {number}", dequeue_count=5
        )
    end = time.monotonic() + 20
    while len(lines := said(worker, event)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert [line["message_id"] for line in lines] == [f"log {number}" for number in range(3)]
    assert {line["level"] for line in lines} == {"error"}
    assert {line["logger"] for line in lines} == {"observer.functions"}
    assert "c2VjcmV0LWtleQ" not in "\n".join(worker.log)
    lagging = said(worker, "lags, hinted again")
    assert len({json.dumps(line, sort_keys=True) for line in lagging}) == len(lagging)
