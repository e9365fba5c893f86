"""The web server: uvicorn in a thread of its own; on this machine only, unless tokens are asked for."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import Final

import structlog
from starlette.applications import Starlette

from observer_core.shared.errors import ConfigError
from observer_core.web.guard import is_loopback

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0
_WAITING: Final = 200
"""Connections that the kernel holds until they are taken."""
_log = structlog.get_logger("observer.web")


def check_host(host: str, tokens: bool) -> None:
    """`ConfigError` where anybody on the network could do everything."""
    if not tokens and not is_loopback(host):
        raise ConfigError(
            f"web.host is {host!r}: listening beyond loopback needs tokens, or whoever reaches it could "
            "do everything: make one with `observer token new NAME --scopes read`, or bind to 127.0.0.1"
        )


class WebServer:
    """Serves `app`. No signal handlers; it never keeps the process alive.

    `tokens`: whether `app` asks for them. Without, it serves a loopback address only.
    """

    def __init__(
        self, app: Starlette, host: str = "127.0.0.1", port: int = 8000, *, tokens: bool = False
    ) -> None:
        check_host(host, tokens)
        if not is_loopback(host):
            _log.warning(
                "listening beyond this machine without TLS: tokens can be read on the way; put a proxy that "
                "has a certificate in front", host=host,
            )  # fmt: skip
        self._app, self._host, self._port = app, host, port
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Answers from when this returns; gives the port. `ConfigError` when it cannot be had."""
        import uvicorn

        from observer_core.web.connections import BoundedConnection

        listener = self._listen()
        self._app.state.stopping = False
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, server_header=False, ws="none",
            # What a client says of its own address and scheme is not believed, wherever it is.
            proxy_headers=False,
            # How many there may be says it, and how many requests under way `web.crowd`.
            http=BoundedConnection, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="web server", daemon=True
        )
        self._thread.start()
        end = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                listener.close()
                raise ConfigError("the web server did not start; the log says why")
            time.sleep(0.005)
        return int(listener.getsockname()[1])

    def stop(self) -> None:
        """Requests under way may end; gone after five seconds at the latest. Safe to repeat."""
        if self._thread is None:
            return
        self._app.state.stopping = True  # streams end by it
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS - 1)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(1)
        self._thread = None

    def _listen(self) -> socket.socket:
        host = self._host.removeprefix("[").removesuffix("]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, self._port), family=family, backlog=_WAITING)
            # Connections inherit it; without it each answer waits 40 ms for the other side's delayed ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
        except OSError as error:
            remedy = (
                "choose another one with OBSERVER_WEB__PORT, or port under [web] in the configuration "
                "(0 takes a free one)"
            )
            if error.errno == errno.EADDRINUSE:
                message = f"port {self._port} on {host} is taken by another program: stop that, or {remedy}"
            elif error.errno == errno.EACCES:
                message = f"port {self._port} on {host} needs more rights than this user has: {remedy}"
            else:
                message = (
                    f"port {self._port} on {host} cannot be opened ({error.strerror or error}): {remedy}"
                )
            raise ConfigError(message) from None
