"""Delivery by HTTP POST."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from observer_core import __version__
from observer_core.shared.errors import ConfigError, DeliveryError


class WebhookSink:
    """POSTs each record; only an answer 2xx counts, and `send` returns within `timeout` seconds.

    The timeout covers everything: name look-up, connection, TLS, request, answer. Redirects
    are not followed and proxies are not used: the address that was checked is the one that
    is spoken to. A target that is (or whose name resolves to) a loopback, private,
    link-local or otherwise not public address is refused unless `allow_private`.

    Headers: `Idempotency-Key` is the record id; `X-QTS-Replay: true` marks a replay; with a
    secret, `X-QTS-Signature` is `signature(…)`. Another attempt is worth it after a timeout,
    a network failure, 408, 429 and 5xx; not after other answers. Neither the secret nor the
    path of the URL (which often is one) appears in errors or `repr`.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        timeout: float = 10.0,
        allow_private: bool = False,
        name: str = "webhook",
    ) -> None:
        if timeout <= 0:
            raise ConfigError(f"webhook {name!r}: timeout must be more than 0 seconds; found {timeout}")
        self.name = name
        self._target = _parse(url, timeout, allow_private, f"webhook {name!r}")
        self._secret = None if secret is None else secret.encode()

    def __repr__(self) -> str:
        return f"WebhookSink({str(self._target)!r}, name={self.name!r})"

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int:
        headers = {
            "Content-Type": content_type,
            "Idempotency-Key": record_id,
            "User-Agent": f"qts-observer/{__version__}",
            "Connection": "close",
        }
        if replay:
            headers["X-QTS-Replay"] = "true"
        if self._secret is not None:
            headers["X-QTS-Signature"] = signature(self._secret, record_id, body)
        exchange = _Exchange(self._target, body, headers)
        exchange.start()
        exchange.join(self._target.timeout)
        if exchange.is_alive():
            exchange.abandon()
            raise DeliveryError(f"{self._target} did not answer within {self._target.timeout:g} s")
        if exchange.error is not None:
            raise exchange.error
        return self._judge(exchange.status)

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass

    def _judge(self, status: int) -> int:
        if 200 <= status < 300:
            return status
        if 300 <= status < 400:
            raise DeliveryError(
                f"{self._target} answered {status}, a redirect; redirects are not followed: "
                "give the final address as url",
                status,
                retry=False,
            )
        raise DeliveryError(
            f"{self._target} answered {status}; 2xx was expected",
            status,
            retry=status in (408, 429) or status >= 500,
        )


def signature(secret: bytes, record_id: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256 (hex) of `<record id>.<body>`.

    The receiver computes it anew from `Idempotency-Key` and the body as it came, and
    compares in constant time. A repeat carries the same signature: what stops replays by
    third parties is the receiver's memory of the ids it has seen.
    """
    return "v1=" + hmac.new(secret, record_id.encode() + b"." + body, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    timeout: float
    allow_private: bool

    def __str__(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

    def addresses(self) -> list[str]:
        """Where the target is now; `DeliveryError` when any of it is a place we may not go."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [str(item[4][0]) for item in found]
        for address in addresses:
            if not self.allow_private and not _is_public(address):
                raise DeliveryError(
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

    def __init__(self, target: _Target, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(name=f"post to {target.host}", daemon=True)
        self.error: DeliveryError | None = None
        self.status = 0
        self._target, self._body, self._headers = target, body, headers
        self._socket: socket.socket | None = None
        self._abandoned = False

    def run(self) -> None:
        try:
            with self._connect() as sock:
                # `abandon` sets the mark first and looks for the socket then; here it is the
                # other way round, so one of the two always sees the other.
                self._socket = sock
                if not self._abandoned:
                    self.status = self._post(sock)
        except DeliveryError as error:
            self.error = error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            self.error = DeliveryError(f"{self._target} cannot be reached: {reason}")
        except ValueError as error:
            self.error = DeliveryError(f"{self._target}: not a request: {error}", retry=False)

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

    def _post(self, sock: socket.socket) -> int:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection = self._target.connection(sock)
        connection.request("POST", self._target.path, self._body, self._headers)
        # The status is the answer; its body is not waited for.
        with connection.getresponse() as response:
            return response.status


def _parse(url: str, timeout: float, allow_private: bool, where: str) -> _Target:
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
    return _Target(
        host=parts.hostname,
        port=port or (80 if tls is None else 443),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        tls=tls,
        timeout=timeout,
        allow_private=allow_private,
    )


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast
