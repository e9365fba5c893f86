"""What the Functions host does, as far as an app can tell: queues, timers, workers.

Queue triggers, as in Microsoft's extension: base64 bodies; up to `batchSize` + `newBatchThreshold`
messages of a queue at once, and a new batch when no more than the threshold are left; messages hidden
while they are worked, deleted after success, visible again `visibilityTimeout` after a failure,
moved to `<queue>-poison` after `maxDequeueCount`, or at once when they are not base64. What fails in
a poison queue stays hidden there. `%NAME%` in queue names is an app setting.

A test may kill workers and meddle with messages.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from tests.support.functions_process import ROOT, InvocationFailed, Worker, WorkerGone

HOST = json.loads((ROOT / "host.json").read_text())
SETTINGS: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
_WORKING_S: Final = 600
"""The host hides a message for so long while a function works on it."""
_POISON: Final = "-poison"

Fate = Literal["give", "twice", "lose", "delay"]


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
        self._errors: list[BaseException] = []
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
        """Polls every queue as `pollers` instances would; a new message waits for at most a second."""
        for name in self.queues:
            for _ in range(pollers):
                self._run(lambda name=name: self._poll(name))

    def every(self, seconds: float, name: str) -> None:
        """Fires a timer again and again, never twice at once."""

        def fire() -> None:
            due = time.monotonic()
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                with contextlib.suppress(InvocationFailed, WorkerGone):
                    self.some_worker().timer(name, past_due=time.monotonic() - due > seconds)
                due = max(due + seconds, time.monotonic())

        self._run(fire)

    def _run(self, loop: Callable[[], None]) -> None:
        def kept() -> None:
            try:
                loop()
            except BaseException as error:
                self._errors.append(error)

        self._threads.append(threading.Thread(target=kept, daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        """Ends the loops and the workers. Raises what ended a loop before its time."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        for worker in self.running:
            worker.stop()
        if self._errors:
            raise ExceptionGroup(
                "the host failed, not the app", [RuntimeError(repr(e)) for e in self._errors]
            )

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
        size, threshold = self.options["batchSize"], self.options["newBatchThreshold"]
        pause = 0.1
        working: set[Future[None]] = set()
        with ThreadPoolExecutor(size + threshold, f"queue {name}") as threads:
            while not self._stop.is_set():
                if len(working) > threshold:
                    wait(working, timeout=1, return_when=FIRST_COMPLETED)
                else:
                    batch = self._receive(name)
                    working.update(threads.submit(self._give, name, message) for message in batch)
                    pause = 0.1 if batch else min(longest, pause * 2)  # as the host backs off
                    if not batch:
                        self._stop.wait(pause)
                working = {future for future in working if not self._over(future)}
            wait(working)
        for future in working:
            self._over(future)

    def _over(self, future: Future[None]) -> bool:
        """Whether it has ended; an error that is no failure of the app is kept for `stop`."""
        if future.done() and (error := future.exception()) is not None:
            self._errors.append(error)
        return future.done()

    def _receive(self, name: str) -> list[Any]:
        pages = self._client(name).receive_messages(
            messages_per_page=self.options["batchSize"], visibility_timeout=_WORKING_S
        )
        try:
            return list(next(iter(pages.by_page()), ()))
        except ResourceNotFoundError:  # a queue is made by whoever sends first
            return []

    def _give(self, name: str, message: Any) -> None:
        try:
            body = base64.b64decode(message.content, validate=True)
        except ValueError:
            self._put_aside(name, message)
            return
        match self.fate(name, body.decode(errors="replace")):
            case "lose":
                self._count("lost")
                self._delete(name, message)
            case "delay":
                self._hide(name, message, 2)
            case "twice":
                twin = threading.Thread(target=self._invoke, args=(name, message, body))
                twin.start()
                self._finish(name, message, self._invoke(name, message, body))
                twin.join()
            case "give":
                self._finish(name, message, self._invoke(name, message, body))

    def _invoke(self, name: str, message: Any, body: bytes) -> bool:
        """Whether the function has succeeded."""
        try:
            self.some_worker().message(
                self.queues[name], body, message_id=message.id, dequeue_count=message.dequeue_count
            )
        except (InvocationFailed, WorkerGone) as error:
            self._count("failed" if isinstance(error, InvocationFailed) else "died")
            self.failures.append(f"{name}: {error}")
            return False
        self._count("given")
        return True

    def _finish(self, name: str, message: Any, succeeded: bool) -> None:
        if succeeded:
            self._delete(name, message)
        elif name.endswith(_POISON):
            return
        elif message.dequeue_count >= self.options["maxDequeueCount"]:
            self._put_aside(name, message)
        else:
            self._hide(name, message, int(_seconds(self.options["visibilityTimeout"])))

    def _put_aside(self, name: str, message: Any) -> None:
        if name.endswith(_POISON):
            return  # there is no poison queue for it: it stays hidden for as long as work may take
        poison = self._client(name + _POISON)
        with contextlib.suppress(HttpResponseError):
            poison.create_queue()
        poison.send_message(message.content)
        self._delete(name, message)
        self._count("poisoned")

    def _hide(self, name: str, message: Any, seconds: int) -> None:
        with contextlib.suppress(ResourceNotFoundError):  # somebody else has it by now
            self._client(name).update_message(message, visibility_timeout=seconds)

    def _delete(self, name: str, message: Any) -> None:
        with contextlib.suppress(ResourceNotFoundError):
            self._client(name).delete_message(message)

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self.counts, what, getattr(self.counts, what) + 1)


def _seconds(text: str) -> float:
    hours, minutes, seconds = map(float, text.split(":"))
    return 3600 * hours + 60 * minutes + seconds
