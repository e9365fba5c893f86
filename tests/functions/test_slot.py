"""config/slot on the app itself: what a deployment pushes to try it becomes a decision, by its own script."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from observer_core.storage.azure import AzureStorage
from observer_core.storage.journals import Journals
from tests.support.functions_host import SETTINGS, FunctionsHost

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def host(azurite: str) -> Iterator[FunctionsHost]:
    """The app as the slot has it: its configuration, without the timers `collect` and `backup`."""
    host = FunctionsHost(
        {
            **SETTINGS, "AzureWebJobsStorage": azurite, "OBSERVER_ROOT": str(ROOT),
            "OBSERVER_CONFIG_DIR": "config/slot", "OBSERVER_STORAGE__PREFIX": "slot",
            "OBSERVER_QUEUE_PREFIX": "qslot",
        }
    )  # fmt: skip
    host.start()
    host.every(1, "clock")
    yield host
    host.stop()


@pytest.fixture(scope="module")
def address(host: FunctionsHost) -> Iterator[str]:
    """The host's HTTP side: a request goes to the function whose route it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = "health" if self.path == "/health" else "api"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, found, data = host.some_worker().http(
                name, self.command, self.path, body=body, headers=headers
            )
            self.send_response(status)
            self.send_header("Content-Type", found.get("content-type", "application/json"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def synthetic(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "ci" / "synthetic.sh"], capture_output=True, text=True, timeout=110, check=False,
        env={"PATH": os.environ["PATH"], "APP_URL": address, "POLL_S": "0.3", "WAIT_S": "60", "HTTP_S": "60"},
    )  # fmt: skip


def test_one_pushed_row_becomes_a_decision_each_time(host: FunctionsHost, address: str, azurite: str) -> None:
    for _ in range(2):
        run = synthetic(address)
        assert run.returncode == 0, (run.stdout, run.stderr, host.failures)
    storage = AzureStorage.connect({"AzureWebJobsStorage": azurite}, prefix="slot", queues_as_named=True)
    journals = Journals(storage, worker="test")
    snapshots = journals.open("snapshots.synthetic").head().position
    assert snapshots == 3  # an epoch, and one snapshot a run
    assert not host.failures


def test_the_slot_is_healthy_and_tells_nobody_of_anything(host: FunctionsHost, address: str) -> None:
    from observer_core.runtime.settings import load

    settings = load(root=ROOT, config_dir=Path("config/slot"))
    assert [(source.name, source.kind) for source in settings.source] == [("synthetic", "push")]
    assert not settings.subscription
    worker = host.some_worker()
    status, _, body = worker.http("api", "GET", "/v1/health?shown=true")
    assert (status, b'"status":"fail"' in body) == (200, False), body
