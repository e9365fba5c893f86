"""What the Functions host does, as far as an app can tell: workers, queues, timers, HTTP.

Queue triggers: base64 bodies, messages hidden while they are worked, deleted after success, visible
again `visibilityTimeout` after a failure, moved to `<queue>-poison` after `maxDequeueCount`.
`%NAME%` in queue names is an app setting. A test may kill workers and meddle with messages.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient, QueueServiceClient

from tests.support.functions_worker import receive, rpc, send

ROOT = Path(__file__).resolve().parents[2]
HOST = json.loads((ROOT / "host.json").read_text())
SETTINGS: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
_ANSWER_S = 120
_WORKING_S = 600
"""The host hides a message for so long while a function works on it."""

Fate = Literal["give", "twice", "lose", "delay"]


class InvocationFailed(AssertionError):
    """The function raised; the message is the worker's."""


@dataclass(frozen=True)
class Function:
    """One function as the worker has indexed it."""

    id: str
    name: str
    bindings: tuple[dict[str, Any], ...]

    @property
    def trigger(self) -> dict[str, Any]:
        (found,) = [item for item in self.bindings if item["type"].lower().endswith("trigger")]
        return found


class WorkerGone(RuntimeError):
    """The process has died before it answered."""


class Worker:
    """One worker process, with the app indexed in it."""

    def __init__(self, settings: Mapping[str, str], *, root: Path = ROOT) -> None:
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("OBSERVER_", "AzureWebJobs", "QTS_"))
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.functions_worker"],
            cwd=root, env={**environment, **settings, "PYTHONPATH": f"{root}:{ROOT}"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._numbers = itertools.count(1)
        self._waiting: dict[str, queue.SimpleQueue[Any]] = {}
        self._lock = threading.Lock()
        self._gone = False
        self.log: list[str] = []
        self._readers = [threading.Thread(target=run, daemon=True) for run in (self._read, self._keep_log)]
        for thread in self._readers:
            thread.start()
        answer = self.ask(
            worker_init_request=rpc.WorkerInitRequest(
                host_version="4.1041.200", function_app_directory=str(root),
                capabilities={"RpcHttpBodyOnly": "True"},
            )
        ).worker_init_response  # fmt: skip
        assert answer.result.status == rpc.StatusResult.Success, answer.result.exception.message
        self.runtime = answer.worker_metadata
        found = self.ask(
            functions_metadata_request=rpc.FunctionsMetadataRequest(function_app_directory=str(root))
        ).function_metadata_response
        self.functions = {
            item.name: Function(item.function_id, item.name, tuple(map(json.loads, item.raw_bindings)))
            for item in found.function_metadata_results
        }
        for item in self.functions.values():
            loaded = self.ask(function_load_request=rpc.FunctionLoadRequest(function_id=item.id))
            assert loaded.function_load_response.result.status == rpc.StatusResult.Success

    def ask(self, **content: Any) -> Any:
        """The answer to one message; `WorkerGone` when the process dies instead."""
        number = str(next(self._numbers))
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self._gone:
                raise WorkerGone
            self._waiting[number] = answers
            try:
                assert self.process.stdin is not None
                send(self.process.stdin, rpc.StreamingMessage(request_id=number, **content))
            except OSError:
                raise WorkerGone from None
        answer = answers.get(timeout=_ANSWER_S)
        if answer is None:
            raise WorkerGone
        return answer

    def invoke(self, name: str, data: Any, metadata: Mapping[str, Any] | None = None) -> Any:
        """The function's return value; `InvocationFailed` with what it raised."""
        function = self.functions[name]
        request = rpc.InvocationRequest(
            invocation_id=str(uuid.uuid4()), function_id=function.id,
            input_data=[rpc.ParameterBinding(name=function.trigger["name"], data=data)],
            trigger_metadata=metadata or {},
            trace_context=rpc.RpcTraceContext(trace_parent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"),
        )  # fmt: skip
        answer = self.ask(invocation_request=request).invocation_response
        assert answer.invocation_id == request.invocation_id
        if answer.result.status != rpc.StatusResult.Success:
            raise InvocationFailed(answer.result.exception.message)
        return answer.return_value

    def timer(self, name: str, *, past_due: bool = False) -> None:
        now = datetime.now(UTC).isoformat()
        status = {"Last": now, "Next": now, "LastUpdated": now}
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        self.invoke(name, rpc.TypedData(json=json.dumps(info)))

    def message(self, name: str, body: bytes, *, message_id: str = "m", dequeue_count: int = 1) -> None:
        later = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        facts = {
            "Id": message_id, "PopReceipt": "receipt", "ExpirationTime": later, "InsertionTime": later,
            "NextVisibleTime": later,
        }  # fmt: skip
        metadata = {key: rpc.TypedData(json=json.dumps(value)) for key, value in facts.items()}
        metadata["DequeueCount"] = rpc.TypedData(json=str(dequeue_count))
        try:
            data = rpc.TypedData(string=body.decode())
        except UnicodeDecodeError:
            data = rpc.TypedData(bytes=body)
        self.invoke(name, data, metadata)

    def http(
        self, name: str, method: str, path: str, *, body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        """Status, headers and body of what the function answers."""
        where, _, query = path.partition("?")
        request = rpc.RpcHttp(
            method=method, url=f"https://observer.azurewebsites.net{path}",
            headers={"host": "observer.azurewebsites.net", **(headers or {})},
            body=rpc.TypedData(bytes=body), params={"path": where.lstrip("/")},
            query=dict(part.split("=", 1) for part in query.split("&") if part),
        )  # fmt: skip
        answer = self.invoke(name, rpc.TypedData(http=request)).http
        data = getattr(answer.body, answer.body.WhichOneof("data") or "bytes")
        return int(answer.status_code), dict(answer.headers), data.encode() if isinstance(data, str) else data

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._readers:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it may be gone already
            assert self.process.stdin is not None
            send(self.process.stdin, rpc.StreamingMessage(worker_terminate=rpc.WorkerTerminate()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while (message := receive(self.process.stdout)) is not None:
            with self._lock:
                self._waiting.pop(message.request_id).put(message)
        with self._lock:
            self._gone = True
            for answers in self._waiting.values():
                answers.put(None)

    def _keep_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace").rstrip())
            del self.log[:-400]


@dataclass
class Counts:
    given: int = 0
    failed: int = 0
    died: int = 0
    poisoned: int = 0
    lost: int = 0


@dataclass
class FunctionsHost:
    """Workers over one storage account, and the loops that give them messages.

    `fate` decides what becomes of each message: given, given twice at once, lost or put off.
    """

    settings: dict[str, str]
    workers: int = 1
    fate: Callable[[str, str], Fate] = lambda queue, body: "give"
    options: dict[str, Any] = field(default_factory=lambda: dict(HOST["extensions"]["queues"]))
    root: Path = ROOT
    queues_on: str | None = None
    """The account as the host sees it, when the workers see it through something else."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        service = QueueServiceClient.from_connection_string(
            self.queues_on or self.settings["AzureWebJobsStorage"], api_version="2024-11-04"
        )
        self._client: Callable[[str], QueueClient] = service.get_queue_client
        self.running = [Worker(self.settings, root=self.root) for _ in range(self.workers)]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.failures: list[str] = []
        self.queues = {
            self.resolve(item.trigger["queueName"]): name
            for name, item in self.running[0].functions.items()
            if item.trigger["type"] == "queueTrigger"
        }

    def resolve(self, text: str) -> str:
        """`%NAME%` is the app setting NAME; a missing one is an error, as it is for the host."""
        first, *rest = text.split("%")
        return first + "".join(
            part if number % 2 else self.settings[part] for number, part in enumerate(rest)
        )

    def start(self, *, pollers: int = 1) -> None:
        """Begins to poll every queue in `pollers` threads; a new message waits for at most a second."""
        for name in self.queues:
            for _ in range(pollers):
                thread = threading.Thread(target=self._poll, args=(name,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def every(self, seconds: float, name: str) -> None:
        """Fires a timer again and again, never twice at once."""

        def fire() -> None:
            due = time.monotonic()
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                with contextlib.suppress(InvocationFailed, WorkerGone):
                    self.some_worker().timer(name, past_due=time.monotonic() - due > seconds)
                due = max(due + seconds, time.monotonic())

        thread = threading.Thread(target=fire, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        for worker in self.running:
            worker.stop()

    def some_worker(self) -> Worker:
        with self._lock:
            return random.choice(self.running)

    def replace(
        self, number: int, settings: Mapping[str, str] | None = None, root: Path | None = None
    ) -> None:
        """Kills a worker at once, whatever it is doing, and starts another."""
        old = self.running[number]
        old.kill()
        new = Worker(settings or self.settings, root=root or self.root)
        with self._lock:
            self.running[number] = new

    def lengths(self) -> dict[str, int]:
        """Messages of each queue that was ever used, hidden ones included."""
        found = {}
        for name in self.queues:
            with contextlib.suppress(HttpResponseError):
                found[name] = int(self._client(name).get_queue_properties().approximate_message_count or 0)
        return found

    def settled(self, seconds: float = 60) -> bool:
        """Waits until no queue holds anything."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not any(self.lengths().values()):
                time.sleep(0.3)
                if not any(self.lengths().values()):
                    return True
            time.sleep(0.2)
        return False

    # ------------------------------------------------------------------ queues

    def _poll(self, name: str) -> None:
        longest = _seconds(self.options["maxPollingInterval"])
        wait = 0.1
        while not self._stop.is_set():
            given = 0
            for message in self._receive(name):
                given += 1
                self._give(name, message)
            wait = 0.1 if given else min(longest, wait * 2)  # as the host backs off
            if not given:
                self._stop.wait(wait)

    def _receive(self, name: str) -> Iterator[Any]:
        pages = self._client(name).receive_messages(
            messages_per_page=self.options["batchSize"], visibility_timeout=_WORKING_S
        )
        # A queue is made by whoever sends first.
        with contextlib.suppress(HttpResponseError):
            yield from next(iter(pages.by_page()), ())

    def _give(self, name: str, message: Any) -> None:
        client, body = self._client(name), base64.b64decode(message.content)
        match self.fate(name, body.decode(errors="replace")):
            case "lose":
                self.counts.lost += 1
                client.delete_message(message)
                return
            case "delay":
                client.update_message(message, visibility_timeout=2)
                return
            case "twice":
                with contextlib.suppress(InvocationFailed, WorkerGone):
                    self._invoke(name, message, body)
        try:
            self._invoke(name, message, body)
        except (InvocationFailed, WorkerGone) as error:
            with self._lock:
                self.counts.failed += isinstance(error, InvocationFailed)
                self.counts.died += isinstance(error, WorkerGone)
                self.failures.append(f"{name}: {error}")
            self._failed(client, name, message)
            return
        self.counts.given += 1
        client.delete_message(message)

    def _invoke(self, name: str, message: Any, body: bytes) -> None:
        self.some_worker().message(
            self.queues[name], body, message_id=message.id, dequeue_count=message.dequeue_count
        )

    def _failed(self, client: QueueClient, name: str, message: Any) -> None:
        if message.dequeue_count >= self.options["maxDequeueCount"] and not name.endswith("-poison"):
            poison = self._client(f"{name}-poison")
            with contextlib.suppress(HttpResponseError):
                poison.create_queue()
            poison.send_message(message.content)
            client.delete_message(message)
            self.counts.poisoned += 1
        else:
            client.update_message(
                message, visibility_timeout=int(_seconds(self.options["visibilityTimeout"]))
            )


def _seconds(text: str) -> float:
    hours, minutes, seconds = map(float, text.split(":"))
    return 3600 * hours + 60 * minutes + seconds
