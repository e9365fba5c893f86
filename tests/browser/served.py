"""The page over a data folder that was made, on a port of its own: in a thread, or in a process.

`python -m tests.browser.served FOLDER NOW_NS [PORT]` serves one until it is killed, and prints the port.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings
from observer_core.shared.errors import StorageUnavailable
from observer_core.storage.local import LocalStorage
from observer_core.web.app import create_app
from observer_core.web.server import WebServer
from tests.browser.chromium import ROOT
from tests.browser.recorder import BUILD, settings_of

_GIB = 1024**3
_TURN_SECONDS = 0.1


class SlowClock:
    """Begins at `start_ns` and goes `speed` times as fast as time does.

    A thousandth is enough for a server that is alive, and all that is shown stays as it was recorded.
    """

    def __init__(self, start_ns: int, speed: float) -> None:
        self._start_ns, self._speed, self._began = start_ns, speed, time.monotonic_ns()

    def now_ns(self) -> int:
        return self._start_ns + int((time.monotonic_ns() - self._began) * self._speed)


@dataclass(slots=True)
class Weather:
    """What stands between the browser and the application: seconds before each answer, and who asked.

    `asked`: method, path and status of each request.
    """

    delay: float = 0.0
    asked: list[tuple[str, str, int]] = field(default_factory=list)


class _UnderWeather:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, weather: Weather) -> None:
        self._app, self._weather = app, weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._weather.asked.append((scope["method"], scope["path"], message["status"]))
            await send(message)

        if scope["type"] == "http" and self._weather.delay:
            await asyncio.sleep(self._weather.delay)
        await self._app(scope, receive, noted)


class Site:
    """Answers from when it is made until `close`. With `running`, stages and time go on as they do live.

    `change` is given the settings before anything is opened.
    """

    def __init__(
        self, folder: Path, now_ns: int, *, running: bool = False, port: int = 0,
        change: Callable[[Settings], Settings] = lambda settings: settings,
    ) -> None:  # fmt: skip
        self.folder, settings = folder, change(settings_of(folder))
        self.clock = SlowClock(now_ns, 1.0 if running else 0.001)
        storage = LocalStorage(settings.paths.data, durability="normal")
        self.observer = Observer(settings, storage, clock=self.clock, build=BUILD)
        self.gate = Gate(self.observer.journals, settings, self.clock)
        # Neither how long it runs nor the disk of this machine shows.
        disk = SimpleNamespace(total=500 * _GIB, used=180 * _GIB, free=320 * _GIB)
        self.health = Health(
            self.observer, self.gate, monotonic=lambda: 0.0, disk_usage=lambda _: disk
        )  # fmt: skip
        self.health.beat()
        metrics = Metrics(self.observer, self.gate)
        app = create_app(self.observer, health=self.health, metrics=metrics, gate=self.gate)
        self.weather = Weather()
        app.add_middleware(_UnderWeather, weather=self.weather)
        self._server = WebServer(app, settings.web.host, port)
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._turn, daemon=True) if running else None
        self.port = self._server.start()
        if self._loop is not None:
            self._loop.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """What the API answers."""
        return _get(f"{self.url}/{path}")

    def close(self) -> None:
        self._stop.set()
        if self._loop is not None:
            self._loop.join()
        self._server.stop()
        self.observer.close()

    def _turn(self) -> None:
        """As the standalone loop: time passes, and what was asked is worked."""
        while not self._stop.wait(_TURN_SECONDS):
            try:
                with self.observer.step():
                    live = self.observer.domain("live")
                    live.tick()
                    live.refresh()
                    live.work(refresh=True)
                    for name in {item.domain for item in self.observer.settings.source} - {"live"}:
                        self.observer.domain(name).decider.pump()
                        self.observer.domain(name).route()
            except StorageUnavailable:
                continue  # a commit of the other side came in between


class Process:
    """The same in a process that can be killed, and started again on the same port."""

    def __init__(self, folder: Path, now_ns: int) -> None:
        self._folder, self._now_ns, self.port = folder, now_ns, 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answers when this returns."""
        words = map(str, (self._folder, self._now_ns, self.port))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.served", *words],
            cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip(), f"the server did not start (exit code {self._process.wait()})"
        self.port = int(line)

    def kill(self) -> None:
        """As a power failure would: nothing is said to anybody."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def copied(master: Path, folder: Path) -> Path:
    """A copy of a data folder that may be changed."""
    shutil.copytree(master, folder)
    return folder


def main() -> None:
    folder, now_ns, *port = sys.argv[1:]
    site = Site(Path(folder), int(now_ns), port=int(port[0]) if port else 0)
    print(site.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
