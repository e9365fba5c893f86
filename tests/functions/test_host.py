"""What a host and its platform do to an app that is well: placeholders, foreign messages, slow receivers."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.storage.queue import QueueServiceClient

from observer_core.shared.clock import SECOND
from observer_core.storage.azure import AzureStorage
from observer_core.storage.journals import Journals
from tests.functions.conftest import CONFIGURATION, configured
from tests.support.functions_host import HOST, FunctionsHost
from tests.support.functions_process import Worker

WEBHOOK = """
[[subscription]]
name = "slow"
stream = "decisions"
start = "beginning"
sink = {{ kind = "webhook", url = "http://127.0.0.1:{port}/", allow_private = true, timeout = "30s" }}
"""


def opened(azurite: str, prefix: str) -> AzureStorage:
    return AzureStorage.connect({"AzureWebJobsStorage": azurite}, prefix=prefix, queues_as_named=True)


def test_a_process_that_was_started_before_its_app_was_known(azurite: str, tmp_path: Path) -> None:
    """Its environment is replaced before the app is indexed: nothing may have been kept of the old one."""
    settings = configured(tmp_path / "app", azurite, "placeholder")
    empty = tmp_path / "empty"
    empty.mkdir()
    worker = Worker(settings, placeholder=empty)
    try:
        assert len(worker.functions) == 24
        worker.timer("collect")
        storage = opened(azurite, "placeholder")
        (message,) = storage.queues.receive("qplaceholder-collect-source")
        worker.message("collect_source", message.body)
        journal = Journals(storage, worker="test").open("snapshots.host")
        assert journal.head().position == 2  # an epoch and a snapshot
    finally:
        worker.stop()


def test_messages_that_are_not_base64_are_put_aside_and_the_others_go_on(
    azurite: str, tmp_path: Path
) -> None:
    client = QueueServiceClient.from_connection_string(azurite, api_version="2024-11-04").get_queue_client
    queue, poison = client("qforeign-recognise"), client("qforeign-recognise-poison")
    queue.create_queue()
    queue.send_message("{ this is not base64 }")
    queue.send_message(base64.b64encode(b'{"source": "nobody"}').decode())
    options = {**HOST["extensions"]["queues"], "visibilityTimeout": "00:00:00", "maxDequeueCount": 2}
    host = FunctionsHost(configured(tmp_path, azurite, "foreign"), options=options)
    try:
        host.start()
        letters = Journals(opened(azurite, "foreign"), worker="test").open("deadletters.live")
        end = time.monotonic() + 30
        while not (host.counts.poisoned == 2 and letters.head().position):
            assert time.monotonic() < end, (host.counts, host.failures)
            time.sleep(0.05)
    finally:
        host.stop()
    # The app has buried the hint; what the host cannot read stays where an operator sees it.
    assert poison.get_queue_properties().approximate_message_count == 1
    assert not queue.get_queue_properties().approximate_message_count


@contextmanager
def silent_receiver() -> Iterator[tuple[int, threading.Event]]:
    """A port that takes connections and says nothing, and whether anybody has come."""
    called, kept = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return
                called.set()

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1], called
        server.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


def test_a_receiver_that_hangs_does_not_hold_up_the_stages(azurite: str, tmp_path: Path) -> None:
    """As many deliveries as the host starts at once wait for one receiver; the others have threads."""
    queues = HOST["extensions"]["queues"]
    crowd = queues["batchSize"] + queues["newBatchThreshold"]
    settings, storage = configured(tmp_path, azurite, "hang"), opened(azurite, "hang")
    with silent_receiver() as (port, called):
        (tmp_path / "config" / "observer.toml").write_text(CONFIGURATION + WEBHOOK.format(port=port))
        worker = Worker(settings)
        with ThreadPoolExecutor(crowd) as threads:
            decide_something(worker, storage)
            hint = b'{"domain": "live", "subscription": "slow"}'
            deliveries = [threads.submit(worker.message, "deliver", hint) for _ in range(crowd)]
            assert called.wait(30)
            started = time.monotonic()
            worker.timer("collect")
            worker.message("recognise", b'{"source": "desk"}')
            worker.timer("clock")
            assert time.monotonic() - started < 10
            assert not all(future.done() for future in deliveries), "one still waits for the receiver"
            worker.kill()


def decide_something(worker: Worker, storage: AzureStorage) -> None:
    start = time.time_ns() // SECOND - 300
    rows: list[dict[str, Any]] = [
        {"subject": "A/USD", "price": 100 + 0.05 * (n * 7 % 11), "time": start + n} for n in range(120)
    ]
    # The second one says that the first was no bad print.
    rows += [{"subject": "A/USD", "price": 150.0, "time": start + n} for n in (120, 121)]
    status, _, _ = worker.http(
        "api", "POST", "/v1/snapshots/desk", body="\n".join(map(json.dumps, rows)).encode(),
        headers={"content-type": "application/x-ndjson"},
    )  # fmt: skip
    assert status == 202
    for stage in ("recognise", "publish", "decide", "route"):
        for message in storage.queues.receive(f"qhang-{stage}", count=32):
            worker.message(stage, message.body)
    assert storage.queues.length("qhang-deliver")
