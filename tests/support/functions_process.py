"""One worker process of the Functions app, as the host has it: indexed, loaded, invoked, killed.

Messages are those of the real protocol; the process behind them is `functions_worker`. Payloads of
triggers are what the host sends: a timer's JSON, a queue message with its metadata, an HTTP request.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.support.functions_worker import receive, rpc, send

ROOT = Path(__file__).resolve().parents[2]
_ANSWER_S = 120


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
    """One worker process, with the app indexed in it.

    `placeholder`: the process was started before anybody knew the app, as a Consumption plan does;
    its settings and folder come later, and whatever was read from the environment before is wrong.
    """

    def __init__(
        self, settings: Mapping[str, str], *, root: Path = ROOT, placeholder: Path | None = None
    ) -> None:
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("OBSERVER_", "AzureWebJobs", "QTS_"))
        }  # fmt: skip
        environment["PYTHONPATH"] = f"{root}:{ROOT}"
        known = {} if placeholder else settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.functions_worker"],
            cwd=placeholder or root, env={**environment, **known},
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
                host_version="4.1041.200", function_app_directory=str(placeholder or root),
                capabilities={"RpcHttpBodyOnly": "True"},
            )
        ).worker_init_response  # fmt: skip
        assert answer.result.status == rpc.StatusResult.Success, answer.result.exception.message
        if placeholder:
            answer = self.ask(
                function_environment_reload_request=rpc.FunctionEnvironmentReloadRequest(
                    environment_variables={**environment, **settings}, function_app_directory=str(root)
                )
            ).function_environment_reload_response
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
            query=dict(parse_qsl(query)),
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
