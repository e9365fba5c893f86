"""One HTTP exchange with a place that the configuration names: bounded in time, size, and where it goes."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from observer_core.shared.errors import ConfigError, ObserverError

_CHUNK: Final = 64 * 1024


class OutboundError(ObserverError):
    """No answer was had, or none that may be used. `retry`: whether another attempt is worth it."""

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case. `body` is empty when none was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where an exchange goes. Shown without the path, which often is a secret."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    timeout: float
    allow_private: bool

    @staticmethod
    def parse(url: str, *, timeout: float, allow_private: bool, where: str) -> Target:
        """`ConfigError`, beginning with `where`, when `url` is no address that can be used."""
        if timeout <= 0:
            raise ConfigError(f"{where}: timeout must be more than 0 seconds; found {timeout}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(f"{where}: url cannot be read; expected https://host[:port]/path") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{where}: url must begin with https://host or http://host")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(f"{where}: url must hold no user and password; sign with a secret instead")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return Target(
            host=parts.hostname,
            port=port or (80 if tls is None else 443),
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            tls=tls,
            timeout=timeout,
            allow_private=allow_private,
        )

    def __str__(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None, *, max_bytes: int = 0
    ) -> Answer:
        """The answer, within `timeout` seconds, whatever the other side does; else `OutboundError`.

        The timeout covers everything: name look-up, connection, TLS, request, answer. Redirects are
        not followed and proxies are not used: the address that was checked is the one that is spoken
        to. A target that is (or whose name resolves to) a loopback, private, link-local or otherwise
        not public address is refused unless `allow_private`. A body is read up to `max_bytes` and
        refused beyond; with 0 it is not waited for.
        """
        exchange = _Exchange(self, method, headers, body, max_bytes)
        exchange.start()
        exchange.join(self.timeout)
        if exchange.is_alive():
            exchange.abandon()
            raise self.late()
        if exchange.error is not None:
            raise exchange.error
        assert exchange.answer is not None
        return exchange.answer

    def late(self) -> OutboundError:
        return OutboundError(f"{self} did not answer within {self.timeout:g} s")

    def addresses(self) -> list[str]:
        """Where the target is now; `OutboundError` when any of it is a place we may not go."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [str(item[4][0]) for item in found]
        for address in addresses:
            if not self.allow_private and not _is_public(address):
                raise OutboundError(
                    f"{self} is at {address}, which is not a public address; "
                    "set allow_private = true if that is meant",
                    retry=False,
                )
        return addresses

    def connection(self, sock: socket.socket) -> http.client.HTTPConnection:
        if self.tls is None:
            connection = http.client.HTTPConnection(self.host, self.port)
        else:
            connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls)
        connection.sock = sock
        return connection


class _Exchange(threading.Thread):
    """One request in a thread of its own: nothing else bounds a name look-up or a slow trickle."""

    def __init__(
        self, target: Target, method: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> None:
        super().__init__(name=f"{method} {target.host}", daemon=True)
        self.error: OutboundError | None = None
        self.answer: Answer | None = None
        self._target, self._method, self._max_bytes = target, method, max_bytes
        self._headers, self._body = dict(headers), body
        self._socket: socket.socket | None = None
        self._abandoned = False

    def run(self) -> None:
        try:
            with self._connect() as sock:
                # `abandon` sets the mark first and looks for the socket then; here it is the
                # other way round, so one of the two always sees the other.
                self._socket = sock
                if not self._abandoned:
                    self.answer = self._ask(sock)
        except OutboundError as error:
            self.error = error
        except TimeoutError:  # of the socket itself, just before whoever waits gives up
            self.error = self._target.late()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            self.error = OutboundError(f"{self._target} cannot be reached: {reason}")
        except ValueError as error:
            self.error = OutboundError(f"{self._target}: not a request: {error}", retry=False)

    def abandon(self) -> None:
        """Ends the request from outside: a blocked read or write returns at once."""
        self._abandoned = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> socket.socket:
        target = self._target
        failure = OSError("the name has no address")
        for address in target.addresses():
            try:
                sock = socket.create_connection((address, target.port), timeout=target.timeout)
            except OSError as error:
                failure = error
                continue
            if target.tls is None:
                return sock
            return target.tls.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False)
        raise failure

    def _ask(self, sock: socket.socket) -> Answer:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection = self._target.connection(sock)
        connection.request(self._method, self._target.path, self._body, self._headers)
        with connection.getresponse() as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, self._read(response) if self._max_bytes else b"")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while part := response.read(min(_CHUNK, self._max_bytes + 1 - len(body))):
            body += part
            if len(body) > self._max_bytes:
                raise OutboundError(
                    f"{self._target} answered with more than {self._max_bytes:,} bytes (max_bytes)",
                    retry=False,
                )
        return bytes(body)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast
